import dataclasses
import threading

import msgpack
import numpy as np
import pytest
from websockets.sync.server import serve

from pi0_ros.policy import NotFiniteError, Observation, PlanPrefix, PolicyError, load_adapter, load_policy
from pi0_ros.policy.backends.remote import Client, RemotePolicy, ServerError, connect_policy
from pi0_ros.policy.backends.wire import pack, unpack
from pi0_ros.robot import load_robot


class Server:
    """An openpi server with scripted answers: a map to send, text for an error, None to stay silent, "close"."""

    def __init__(self, *answers):
        self.answers, self.seen, self.connections, self.released = list(answers), [], 0, threading.Event()
        self._server = serve(self._talk, "127.0.0.1", 0, compression=None, max_size=None)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _talk(self, connection):
        self.connections += 1
        connection.send(pack({"model": "pi0"}))
        for message in connection:
            self.seen.append(unpack(message))
            answer = self.answers.pop(0)
            if answer is None:
                self.released.wait(5)
                return
            if answer == "close":
                return
            connection.send(answer if isinstance(answer, (str, bytes)) else pack(answer))

    def stop(self):
        self.released.set()
        self._server.shutdown()
        self._thread.join(5)


@pytest.fixture
def serving():
    started = []

    def start(*answers):
        started.append(Server(*answers))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def robot():
    return load_robot("aloha")


def observation(robot):
    images = {c.name: np.full((48, 64, 3), i + 1, np.uint8) for i, c in enumerate(robot.cameras)}
    return Observation(0.0, images, {n: i / 10 for i, n in enumerate(robot.channel_names)}, "fold the towel")


CHUNK = np.arange(3 * 14, dtype=np.float32).reshape(3, 14) / 50


def test_an_observation_goes_out_as_openpi_wants_it_and_a_plan_comes_back(serving, robot):
    server = serving({"actions": CHUNK, "policy_timing": {"infer_ms": np.float64(3.0)}})
    policy = load_policy(server.url, robot, adapter="aloha_plain")
    plan = policy.infer(observation(robot), prefix=PlanPrefix(CHUNK, robot.channel_names, 1, 2))
    assert plan.frozen_rows == 0
    sent = server.seen[0]
    assert sent["prompt"] == "fold the towel"
    assert sorted(sent["images"]) == ["cam_high", "cam_left_wrist", "cam_right_wrist"]
    assert sent["images"]["cam_high"].shape == (3, 224, 224) and sent["images"]["cam_high"].dtype == np.uint8
    np.testing.assert_allclose(sent["state"], np.arange(14) / 10)
    assert plan.names == robot.channel_names and plan.period == 0.02
    np.testing.assert_allclose(plan.values, CHUNK)
    assert policy.client.metadata == {"model": "pi0"}
    policy.client.close()


def test_droid_names_are_flat_and_its_gripper_is_turned_around(robot):
    from pi0_ros.policy.backends.remote import packed

    droid = load_adapter("droid")
    state = {n: 0.5 for n in droid.state_channels} | {"gripper": 0.2}
    images = {"exterior": np.zeros((224, 224, 3), np.uint8)}
    message = packed(droid, droid.remote, Observation(0.0, images, state, "go"))
    assert sorted(message) == [
        "observation/exterior_image_1_left", "observation/gripper_position", "observation/joint_position", "prompt",
    ]  # fmt: skip
    np.testing.assert_allclose(message["observation/gripper_position"], [0.8])


def test_a_server_that_fails_is_quoted_and_the_next_call_connects_again(serving, robot):
    server = serving("Traceback (most recent call last):\n  ...\nKeyError: 'state'", {"actions": CHUNK})
    policy = connect_policy(server.url, robot, "aloha_plain")
    with pytest.raises(ServerError, match="KeyError: 'state'"):
        policy.infer(observation(robot))
    assert policy.infer(observation(robot)).values.shape == (3, 14)
    assert server.connections == 2
    policy.client.close()


def test_a_broken_connection_is_made_anew(serving, robot):
    server = serving("close", {"actions": CHUNK})
    policy = connect_policy(server.url, robot, "aloha_plain")
    with pytest.raises(ServerError, match="connection broke"):
        policy.infer(observation(robot))
    assert len(policy.infer(observation(robot)).values) == 3
    policy.client.close()


def test_a_silent_server_is_given_up_after_the_timeout(serving, robot):
    server = serving(None)
    policy = connect_policy(server.url, robot, "aloha_plain", timeout=0.3)
    with pytest.raises(ServerError, match=r"no answer within 0\.3 s"):
        policy.infer(observation(robot))


def test_no_server_at_all_is_one_clear_sentence(robot):
    with pytest.raises(ServerError, match="no openpi server answers"):
        connect_policy("ws://127.0.0.1:1", robot, "aloha_plain", timeout=1.0)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ({"actions": np.full((3, 14), np.nan)}, NotFiniteError, "NaN"),
        ({"actions": np.zeros((3, 7))}, PolicyError, "7 numbers"),
        ({"actions": np.zeros(14)}, ServerError, "no actions"),
        ({"action": CHUNK}, ServerError, "action"),
        (b"\xc1\xc1", PolicyError, "not openpi's msgpack"),
    ],
)
def test_answers_that_are_no_plan_are_refused(serving, robot, answer, error, message):
    policy = connect_policy(serving(answer).url, robot, "aloha_plain")
    with pytest.raises(error, match=message):
        policy.infer(observation(robot))
    policy.client.close()


def test_what_the_protocol_lacks_is_said(robot):
    policy = RemotePolicy(robot, load_adapter("aloha_plain"), Client("ws://127.0.0.1:1"))
    assert not policy.contract.continues
    with pytest.raises(PolicyError, match="no subtasks"):
        policy.subtask(observation(robot), "fold")
    with pytest.raises(PolicyError, match="empty"):
        policy.infer(dataclasses.replace(observation(robot), prompt=" "))


def test_arrays_and_scalars_survive_the_wire_in_openpis_own_layout():
    value = {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b": np.float32(1.5), "c": ["x", 1]}
    again = unpack(pack(value))
    np.testing.assert_array_equal(again["a"], value["a"])
    assert again["a"].flags.writeable and again["b"] == np.float32(1.5) and again["c"] == ["x", 1]
    raw = msgpack.unpackb(pack(value))
    assert raw["a"] == {b"__ndarray__": True, b"data": bytes(range(6)), b"dtype": "|u1", b"shape": [2, 3]}


@pytest.mark.parametrize("bad", [np.array([object()]), np.array([1j]), np.array([(1, 2)], "i4,i4")])
def test_types_that_need_pickle_are_refused_both_ways(bad):
    with pytest.raises(PolicyError, match="cannot be sent"):
        pack({"x": bad})
    forged = msgpack.packb({b"__ndarray__": True, b"data": b"", b"dtype": "|O", b"shape": [0]})
    with pytest.raises(PolicyError, match="refused"):
        unpack(forged)

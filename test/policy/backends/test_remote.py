import dataclasses
import http
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import msgpack
import numpy as np
import pytest
from websockets.sync.server import serve

from pi0_ros.policy import (
    MisfitError,
    NotFiniteError,
    Observation,
    PlanPrefix,
    PolicyError,
    load_adapter,
    load_policy,
)
from pi0_ros.policy.adapter_reading import adapter_of_checkpoint
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.address import server_address
from pi0_ros.policy.backends.remote import (
    RemotePolicy,
    ServerError,
    ServerSettings,
    connect_policy,
    open_policy,
    packed,
)
from pi0_ros.policy.backends.server_errors import LateAnswerError, ServerNotReadyError, error_line
from pi0_ros.policy.backends.wire import pack, unpack
from pi0_ros.robot import load_robot


class Several(list):
    """Several messages in answer to one request."""


class Server:
    """An openpi server with scripted answers: a map or an array to send, text for an error, `Several` messages,
    None to stay silent, "close". Scripted metadata: one for each connection, the last for all others."""

    def __init__(self, *answers, metadata=({"model": "pi0"},), refuse=None):
        self.answers, self.metadata = list(answers), list(metadata)
        self.seen, self.connections, self.released = [], 0, threading.Event()
        self.delivered = threading.Event()
        self._server = serve(self._talk, "127.0.0.1", 0, compression=None, max_size=None, process_request=refuse)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _talk(self, connection):
        self.connections += 1
        told = self.metadata[min(self.connections, len(self.metadata)) - 1]
        connection.send(told if isinstance(told, str | bytes) else pack(told))
        for message in connection:
            self.seen.append(unpack(message))
            answer = self.answers.pop(0)
            if answer is None:
                self.released.wait(5)
                return
            if isinstance(answer, str) and answer == "close":
                return
            for part in answer if isinstance(answer, Several) else [answer]:
                connection.send(part if isinstance(part, str | bytes) else pack(part))
            if isinstance(answer, Several):
                # The client answers when all before it has arrived; one that has gone never does.
                connection.ping(ack_on_close=True).wait(60)
                self.delivered.set()

    def stop(self):
        self.released.set()
        self._server.shutdown()
        self._thread.join(5)


@pytest.fixture
def serving():
    started = []

    def start(*answers, **how):
        started.append(Server(*answers, **how))
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
    assert policy.connection.metadata == {"model": "pi0"}
    policy.connection.close()


def test_droid_names_are_flat_and_its_gripper_is_turned_around(robot):
    droid = load_adapter("droid")
    state = {n: 0.5 for n in droid.state_channels} | {"gripper": 0.2}
    images = {name: np.zeros((224, 224, 3), np.uint8) for name in ("exterior", "wrist")}
    message = packed(droid, droid.remote, Observation(0.0, images, state, "go"))
    assert sorted(message) == [
        "observation/exterior_image_1_left", "observation/gripper_position", "observation/joint_position",
        "observation/wrist_image_left", "prompt",
    ]  # fmt: skip
    np.testing.assert_allclose(message["observation/gripper_position"], [0.8])


def test_a_server_that_fails_is_quoted_and_the_next_call_connects_again(serving, robot):
    server = serving("Traceback (most recent call last):\n  ...\nKeyError: 'state'", {"actions": CHUNK})
    policy = connect_policy(server.url, robot, "aloha_plain")
    with pytest.raises(ServerError, match="KeyError: 'state'"):
        policy.infer(observation(robot))
    assert policy.infer(observation(robot)).values.shape == (3, 14)
    assert server.connections == 2
    policy.connection.close()


def test_a_connection_that_breaks_is_made_again_at_once_and_the_same_observation_is_sent_again(serving, robot):
    server = serving("close", {"actions": CHUNK})
    policy = connect_policy(server.url, robot, "aloha_plain")
    np.testing.assert_allclose(policy.infer(observation(robot)).values, CHUNK)
    assert server.connections == 2 and server.seen[0]["prompt"] == server.seen[1]["prompt"]
    policy.connection.close()


def test_a_connection_that_breaks_twice_is_an_error_that_another_try_may_mend(serving, robot):
    server = serving("close", "close", {"actions": CHUNK})
    policy = connect_policy(server.url, robot, "aloha_plain")
    with pytest.raises(ServerNotReadyError, match="connection broke"):
        policy.infer(observation(robot))
    assert len(policy.infer(observation(robot)).values) == 3
    policy.connection.close()


def test_a_silent_server_is_given_up_after_the_timeout(serving, robot):
    server = serving(None, {"actions": CHUNK})
    policy = connect_policy(server.url, robot, "aloha_plain", ServerSettings(answer=0.3))
    with pytest.raises(LateAnswerError, match=r"no answer within 0\.3 s"):
        policy.infer(observation(robot))
    # The late answer would come on the connection that has been closed.
    assert len(policy.infer(observation(robot)).values) == 3 and server.connections == 2
    policy.connection.close()


def test_no_server_at_all_is_one_clear_sentence(robot):
    with pytest.raises(ServerError, match="no openpi server answers"):
        connect_policy("ws://127.0.0.1:1", robot, "aloha_plain", ServerSettings(connect=1.0))


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ({"actions": np.full((3, 14), np.nan)}, NotFiniteError, "NaN"),
        ({"actions": np.full((3, 14), 1e39)}, NotFiniteError, "beyond float32"),
        ({"actions": np.zeros((3, 7))}, PolicyError, "answers 7 numbers per row and .*aloha_plain.yaml wants 14"),
        ({"actions": np.zeros((3, 16))}, PolicyError, "answers 16 numbers per row .* wants 14.*width: 16"),
        ({"actions": np.zeros(14)}, ServerError, r"float64 \[14\], wanted \[H, D\]: a single row"),
        ({"actions": np.zeros((1, 14))}, ServerError, "1 rows"),
        ({"actions": np.zeros((1001, 14), np.float32)}, ServerError, "1001 rows"),
        ({"actions": np.zeros((3, 1, 14))}, ServerError, r"\[3, 1, 14\], wanted \[H, D\]: the server keeps a batch"),
        ({"actions": np.ones((3, 14), bool)}, ServerError, r"bool \[3, 14\], not numbers"),
        ({"actions": {"left": CHUNK, "right": CHUNK}}, ServerError, r"actions: \[actions/left, actions/right\]"),
        ({"action": CHUNK}, ServerError, r"has no actions, but action \(float32 \[3, 14\]\).*actions: \[action\]"),
        ({"error": "model is loading"}, ServerError, "the server says: model is loading"),
        ({"actions": [[1.0, 2.0], [1.0]]}, ServerError, "different lengths"),
        (b"\xc1\xc1", PolicyError, "not openpi's msgpack"),
        (
            msgpack.packb({b"actions": {b"nd": True, b"type": "O", b"kind": b"O", b"shape": [1], b"data": b"x"}}),
            PolicyError,
            "structured or pickled type, which is refused",
        ),
        (b"\x80" * (4 * 2**20 + 1), ServerError, "more than 4194304 bytes"),
        (json.dumps({"actions": [1]}), ServerError, "sends JSON, and not openpi's msgpack"),
    ],
)
def test_answers_that_are_no_plan_are_refused_and_the_next_comes_over_a_new_connection(
    serving, robot, answer, error, message
):
    server = serving(answer, {"actions": CHUNK})
    policy = connect_policy(server.url, robot, "aloha_plain")
    with pytest.raises(error, match=message) as refused:
        policy.infer(observation(robot))
    assert len(str(refused.value)) < 600 and "\n" not in str(refused.value)
    np.testing.assert_allclose(policy.infer(observation(robot)).values, CHUNK)
    assert server.connections == 2
    policy.connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        {"actions": CHUNK[None]},
        {"actions": CHUNK.tolist()},
        {"actions": CHUNK.astype(">f4")},
        {"actions": CHUNK.astype(np.float64)},
        CHUNK,
        msgpack.packb(
            {b"actions": {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [3, 14], b"data": CHUNK.tobytes()}}
        ),
        msgpack.packb({b"actions": {"__ndarray__": True, "data": CHUNK.tobytes(), "dtype": b"<f4", "shape": [3, 14]}}),
    ],
)
def test_the_same_actions_in_another_dress_are_the_same_plan(serving, robot, answer):
    policy = connect_policy(serving(answer).url, robot, "aloha_plain")
    np.testing.assert_allclose(policy.infer(observation(robot)).values, CHUNK)
    policy.connection.close()


def adapted(**remote):
    plain = load_adapter("aloha_plain")
    return dataclasses.replace(plain, remote=dataclasses.replace(plain.remote, **remote))


def test_actions_in_several_keys_are_joined_in_the_adapters_order(serving, robot):
    parts = {"right": CHUNK[:, 7:], "left": CHUNK[:, :7], "server_timing": {"infer_ms": 1.0}}
    policy = connect_policy(serving(parts).url, robot, adapted(actions=("left", "right")))
    np.testing.assert_allclose(policy.infer(observation(robot)).values, CHUNK)
    policy.connection.close()


def test_padding_is_cut_off_only_where_the_adapter_says_how_wide_it_is(serving, robot):
    padded = np.concatenate([CHUNK, np.full((3, 18), 9.0, np.float32)], axis=1)
    policy = connect_policy(serving({"actions": padded}).url, robot, adapted(width=32))
    np.testing.assert_allclose(policy.infer(observation(robot)).values, CHUNK)
    policy.connection.close()


# Several requests at once.


def test_requests_at_once_have_connections_of_their_own_and_each_plan_is_its_own_observations(robot):
    arrived, released = threading.Semaphore(0), [threading.Event(), threading.Event(), threading.Event()]
    connections = []

    def talk(connection):
        connections.append(connection)
        connection.send(pack({}))
        for message in connection:
            which = round(float(unpack(message)["state"][0]))
            arrived.release()
            assert released[which].wait(60)
            connection.send(pack({"actions": np.tile(unpack(message)["state"], (3, 1)).astype(np.float32)}))

    with serve(talk, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        policy = connect_policy(url, robot, "aloha_plain", ServerSettings(answer=60.0))
        lanes = policy.lanes(3)
        assert lanes[0] is policy and len(lanes) == 3

        def seen(which):
            full = observation(robot)
            return dataclasses.replace(full, state={n: which + i / 100 for i, n in enumerate(robot.channel_names)})

        with ThreadPoolExecutor(3) as pool:
            plans = [pool.submit(lane.infer, seen(which)) for which, lane in enumerate(lanes)]
            for _ in range(3):
                assert arrived.acquire(timeout=60)
            for which in (2, 0, 1):  # answered in another order than they were asked
                released[which].set()
                found = plans[which].result(60).values
                np.testing.assert_allclose(found[0], which + np.arange(14) / 100, atol=1e-6)
        assert len(connections) == 3
        for lane in lanes:
            lane.connection.close()
        server.shutdown()


def test_a_server_that_remembers_is_asked_one_request_after_another(serving, robot):
    server = serving({"actions": CHUNK})
    for remembers in ({"session": "session_id"}, {"reset": {"endpoint": "reset"}}):
        assert len(open_policy(server.url, robot, adapted(**remembers)).lanes(3)) == 1


def test_another_lane_refuses_what_the_first_would_refuse(serving, robot):
    server = serving({"actions": CHUNK}, {"actions": np.zeros((7, 14), np.float32)})
    policy = open_policy(server.url, robot, "aloha_plain")
    policy.rehearse(observation(robot), lambda _: None)
    other = policy.lanes(2)[1]
    assert other.contract.horizon == 3
    with pytest.raises(ServerError, match="7 rows, 3 before"):
        other.infer(observation(robot))
    other.connection.close()
    policy.connection.close()


# Whose plan is it?


def echo(index):
    """A plan whose every number says which request it answers."""
    return {"actions": np.full((3, 14), index / 10, np.float32)}


def plans_of(policy, robot, count):
    made = []
    for _ in range(count):
        try:
            made.append(round(float(policy.infer(observation(robot)).values[0, 0]) * 10))
        except PolicyError:
            made.append(None)
    return made


def test_after_a_progress_message_no_plan_is_an_earlier_observations(serving, robot):
    server = serving(echo(0), Several([{"status": "busy", "queue": 1}, echo(1)]), echo(2), echo(3))
    policy = connect_policy(server.url, robot, "aloha_plain")
    assert plans_of(policy, robot, 4) == [0, None, 2, 3]
    policy.connection.close()


def test_a_plan_that_comes_twice_is_used_once_and_said(serving, robot):
    said = []
    server = serving(echo(0), Several([echo(1), echo(1)]), *map(echo, range(2, 6)))
    policy = connect_policy(server.url, robot, "aloha_plain", warn=said.append)
    first = plans_of(policy, robot, 2)
    # The second copy has arrived before the next observation goes out.
    assert server.delivered.wait(60)
    assert first + plans_of(policy, robot, 4) == [0, 1, 2, 3, 4, 5]
    assert len(said) == 1 and "more than one message for a request" in said[0]
    assert server.connections == 5, "from then on each request has a connection of its own"
    policy.connection.close()


# What a server says of itself.


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"action_dim": 8}, "action_dim 8, the adapter has 14"),
        ({"control_hz": 10}, "control_hz 10, the adapter has a period of 0.02 s, which is 50 a second"),
        ({"action_space": "joint_velocity"}, "action_space joint_velocity, the robot's channels are position"),
        ({"action_space": "cartesian_position"}, "action_space cartesian_position"),
        ({"action_names": ["left_gripper", "left_waist"]}, "action_names left_gripper, left_waist, the adapter has"),
    ],
)
def test_a_server_of_another_robot_is_refused_when_it_connects_and_whenever_it_reconnects(
    serving, robot, metadata, told
):
    server = serving(echo(0), metadata=[metadata])
    with pytest.raises(MisfitError, match=told):
        connect_policy(server.url, robot, "aloha_plain")
    server = serving("close", echo(1), metadata=[{}, metadata])
    policy = connect_policy(server.url, robot, "aloha_plain")
    with pytest.raises(MisfitError, match=told):
        policy.infer(observation(robot))


def test_what_a_server_says_and_does_otherwise_is_a_warning(serving, robot):
    said = []
    told = {"action_horizon": 10, "image_resolution": (180, 320), "needs_session_id": True, "control_hz": 50}
    server = serving(echo(0), metadata=[told])
    policy = connect_policy(server.url, robot, "aloha_plain", warn=said.append)
    policy.rehearse(observation(robot), said.append)
    text = " ".join(said)
    for part in (
        "action_horizon 10 and answers 3 rows",
        "horizon 50 and the server answers 3",
        "180x320",
        "session_id",
    ):
        assert part in text
    assert policy.contract.horizon == 3
    policy.connection.close()


def test_another_number_of_rows_than_at_the_start_is_another_checkpoint(serving, robot):
    server = serving(echo(0), {"actions": np.zeros((4, 14))})
    policy = connect_policy(server.url, robot, "aloha_plain")
    policy.infer(observation(robot))
    with pytest.raises(ServerError, match="4 rows, 3 before"):
        policy.infer(observation(robot))


# Waiting.


def test_a_server_that_is_not_ready_yet_is_waited_for_with_a_word(serving, robot, monkeypatch):
    monkeypatch.setattr("pi0_ros.policy.backends.remote.POLL", 0.0)
    server = serving(echo(0), metadata=["not yet ready: loading", "not yet ready: loading", {}])
    policy, said = open_policy(server.url, robot, "aloha_plain"), []
    policy.rehearse(observation(robot), said.append)
    assert len(said) == 2 and "waiting for the policy server, 0 s" in said[0] and "loading" in said[0]
    policy.connection.close()


def test_a_server_that_never_comes_is_given_up_after_the_time_that_somebody_set(robot):
    policy = open_policy("ws://127.0.0.1:1", robot, "aloha_plain", ServerSettings(wait=0.1))
    with pytest.raises(ServerError, match="server_wait"):
        policy.rehearse(observation(robot), lambda _: None)


def test_the_first_answer_has_a_time_of_its_own_and_the_parameter_is_named(serving, robot):
    policy = open_policy(serving(None).url, robot, "aloha_plain", ServerSettings(first_answer=0.2))
    with pytest.raises(ServerError, match="no answer within 0.2 s .*first_answer_timeout"):
        policy.rehearse(observation(robot), lambda _: None)


# Refusals.


@pytest.mark.parametrize(
    ("status", "key", "error", "told"),
    [
        (401, "", ServerError, "a key is wanted; set the parameter api_key"),
        (403, "wrong", ServerError, "the key was refused"),
        (404, "", ServerError, "/v1/realtime/robot/openpi"),
        (503, "", ServerNotReadyError, "not ready"),
        (302, "", ServerError, "the server is at"),
    ],
)
def test_a_refusal_by_http_says_why_and_what_to_do(serving, robot, status, key, error, told):
    server = serving(refuse=lambda connection, _: connection.respond(http.HTTPStatus(status), '{"detail":"why"}'))
    with pytest.raises(error, match=told) as refused:
        connect_policy(server.url, robot, "aloha_plain", ServerSettings(key=key))
    assert type(refused.value) is error and '{"detail":"why"}' in str(refused.value)


def test_the_key_reaches_the_server(serving, robot):
    keys = []

    def note(_, request):
        keys.append(request.headers.get("Authorization"))

    connect_policy(serving(refuse=note).url, robot, "aloha_plain", ServerSettings(key="right")).connection.close()
    assert keys == ["Api-Key right"]


def test_a_plain_server_asked_for_tls_and_a_missing_certificate_are_one_sentence(serving, robot, tmp_path):
    url = serving().url.replace("ws://", "wss://")
    with pytest.raises(ServerError, match="is it a ws:// server"):
        connect_policy(url, robot, "aloha_plain")
    with pytest.raises(ServerError, match="ca_file .*none.pem"):
        connect_policy(url, robot, "aloha_plain", ServerSettings(ca_file=str(tmp_path / "none.pem")))


def test_the_proxy_of_the_environment_is_left_alone_unless_asked_for(serving, robot, monkeypatch):
    for name in ("all_proxy", "http_proxy", "https_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    url = serving().url
    connect_policy(url, robot, "aloha_plain").connection.close()
    with pytest.raises(ServerError, match="proxy"):
        connect_policy(url, robot, "aloha_plain", ServerSettings(proxy="auto"))


@pytest.mark.parametrize(
    "address",
    ["host:8000", "http://host:8000", "https://host", "ws:/host:8000", "ws://host:99999", "ws://", "ws://h:x"],
)
def test_an_address_that_is_none_is_told_how_one_begins(robot, address):
    with pytest.raises(PolicyError, match="begins with ws:// or wss://"):
        load_policy(address, robot, adapter="aloha_plain")


def test_folders_and_names_are_no_addresses(tmp_path):
    assert server_address("pi05_reach_tiny") is None and server_address(tmp_path) is None
    assert server_address("WS://Host:8000/Path") == "ws://Host:8000/Path"


JAX = (
    'Traceback (most recent call last):\n  File "server.py", line 61, in _handler\n    policy.infer(obs)\n'
    "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.\n"
    "--------------------\nFor simplicity, JAX has removed its internal frames from the traceback.\n"
)
CUDA = (
    'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n'
    "torch.AcceleratorError: CUDA error: device-side assert triggered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call.\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n\n"
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (JAX, "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes."),
        (CUDA, "torch.AcceleratorError: CUDA error: device-side assert triggered"),
        ("Traceback (most recent call last):\n  File x\nAssertionError\n", "AssertionError"),
        ("loading\n", "loading"),
        ("  \n", "no word"),
        ("ValueError: " + "x" * 1000, "ValueError: " + "x" * 285 + "..."),
    ],
)
def test_of_a_servers_traceback_the_line_that_names_the_error_is_quoted(text, line):
    assert error_line(text) == line


# What goes out.


def flat(robot, **remote):
    droid = load_adapter("droid")
    state = {n: 0.5 for n in droid.state_channels}
    images = {"exterior": np.full((360, 640, 3), 7, np.uint8)}
    return packed(droid, dataclasses.replace(droid.remote, **remote), Observation(0.0, images, state, "go"))


def test_an_absent_camera_is_black_for_servers_that_read_every_picture(robot):
    message = flat(robot)
    assert message["observation/wrist_image_left"].shape == (224, 224, 3)
    assert not message["observation/wrist_image_left"].any() and message["observation/exterior_image_1_left"].any()
    assert "observation/wrist_image_left" not in flat(robot, missing="masked")


def test_what_other_servers_ask_for_is_said_in_the_adapter(robot, serving):
    message = flat(robot, size=(180, 320), prompt="instruction", constants={"endpoint": "infer"})
    assert message["observation/exterior_image_1_left"].shape == (180, 320, 3)
    assert message["instruction"] == "go" and message["endpoint"] == "infer" and "prompt" not in message


def test_a_server_with_a_memory_is_reset_once_an_episode_and_hears_whose_it_is(serving, robot):
    server = serving("reset successful", echo(0), echo(1), "reset successful", echo(2))
    adapter = adapted(constants={"endpoint": "infer"}, session="session_id", reset={"endpoint": "reset"})
    policy = connect_policy(server.url, robot, adapter)
    first = plans_of(policy, robot, 2)
    policy.new_episode()
    assert first + plans_of(policy, robot, 1) == [0, 1, 2]
    assert [m["endpoint"] for m in server.seen] == ["reset", "infer", "infer", "reset", "infer"]
    ids = [m["session_id"] for m in server.seen]
    assert ids[0] == ids[1] == ids[2] != ids[3] == ids[4]
    policy.connection.close()


def test_the_remote_section_survives_being_saved_in_a_checkpoint(tmp_path):
    file = tmp_path / "config.json"
    for name in ("aloha_plain", "droid", "libero_fast"):
        adapter = load_adapter(name)
        adapter = dataclasses.replace(
            adapter, remote=dataclasses.replace(adapter.remote, size=(180, 320), reset={"endpoint": "reset"})
        )
        file.write_text(json.dumps({"policy": adapter_to_dict(adapter)}))
        assert adapter_of_checkpoint(file).remote == adapter.remote


def test_what_the_protocol_lacks_is_said(robot):
    policy = RemotePolicy(robot, load_adapter("aloha_plain"), "ws://127.0.0.1:1")
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


@pytest.mark.parametrize(
    ("second", "told"), [({"model": "pi0"}, []), ({"model": "pi05"}, ["another policy is served now"])]
)
def test_another_policy_behind_the_same_address_is_told_and_the_same_one_again_is_not(serving, robot, second, told):
    said = []
    server = serving(echo(0), "close", echo(1), metadata=[{"model": "pi0"}, second])
    policy = connect_policy(server.url, robot, "aloha_plain", warn=said.append)
    for _ in range(2):
        policy.infer(observation(robot))
    found = [text for text in said if "is served now" in text]
    assert server.connections == 2 and len(found) == len(told) and all(t in f for t, f in zip(told, found, strict=True))
    policy.connection.close()


def test_a_server_that_breaks_off_its_first_answer_is_asked_again_until_it_plans(serving, robot, monkeypatch):
    monkeypatch.setattr("pi0_ros.policy.backends.remote.POLL", 0.0)
    server, said = serving("close", "close", echo(4)), []
    policy = open_policy(server.url, robot, "aloha_plain")
    policy.rehearse(observation(robot), said.append)
    assert policy.contract.horizon == 3 and len(said) == 1 and "the connection broke" in said[0]
    assert len(server.seen) == 3
    policy.close()

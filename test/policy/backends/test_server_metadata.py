"""What a server says of itself, what is quoted of it, and how long it is waited for: both sides of every bound."""

import socket
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("websockets")
msgpack = pytest.importorskip("msgpack")

from websockets.exceptions import InvalidStatus, ProxyError

from pi0_ros.policy.backends import connection, handshake
from pi0_ros.policy.backends.connection import Connection
from pi0_ros.policy.backends.metadata import _names, _rate, _space, _width, misfits, notes
from pi0_ros.policy.backends.server_errors import LateAnswerError, ServerError, ServerNotReadyError, error_line, quote
from pi0_ros.policy.backends.wire import MAX_BYTES, MAX_ITEMS, _numpy_packed, pack, unpack
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.server_settings import ServerSettings
from pi0_ros.robot.spec import Kind


def robot_of(*kinds):
    names = [f"j{k}" for k in range(len(kinds))]
    channels = [SimpleNamespace(name=n, kind=kind) for n, kind in zip(names, kinds, strict=True)]
    return SimpleNamespace(channels=channels, index={n: k for k, n in enumerate(names)}), tuple(names)


@pytest.mark.parametrize(
    ("space", "kinds", "wrong"),
    [
        ("joint_velocity", (Kind.VELOCITY, Kind.GRIPPER), False),
        ("joint_velocity", (Kind.POSITION, Kind.GRIPPER), True),
        ("joint_position", (Kind.POSITION, Kind.GRIPPER), False),
        ("JOINT_POSITION", (Kind.VELOCITY, Kind.GRIPPER), True),
        ("joint_position", (Kind.VELOCITY, Kind.POSITION), False),
        ("joint_velocity", (Kind.VELOCITY, Kind.POSITION), False),
    ],
)
def test_a_server_that_gives_positions_to_joints_that_take_velocities_is_of_another_robot(space, kinds, wrong):
    robot, names = robot_of(*kinds)
    said = _space({"action_space": space}, SimpleNamespace(action_channels=names), robot)
    assert bool(said) == wrong and (not wrong or said.startswith(f"action_space {space}, the robot's channels are "))
    assert _space({}, SimpleNamespace(action_channels=names), robot) == ""


@pytest.mark.parametrize(("rate", "fits"), [(10.0, True), (10.19, True), (9.81, True), (10.21, False), (9.79, False)])
def test_a_servers_rate_is_the_adapters_within_two_percent(rate, fits):
    adapter = SimpleNamespace(period=0.1)
    key = next(
        k for k in ("action_rate", "control_frequency", "control_hz", "fps", "hz", "rate") if _rate({k: 3.0}, adapter)
    )
    assert (_rate({key: rate}, adapter) == "") == fits and _rate({}, adapter) == _rate({key: True}, adapter) == ""


def test_names_in_another_order_are_of_another_robot_and_names_that_nobody_has_say_nothing():
    adapter = SimpleNamespace(action_channels=("a", "b"))
    from pi0_ros.policy.backends.metadata import NAMES

    for key in NAMES:
        assert _names({key: ["b", "a"]}, adapter) == f"{key} b, a, the adapter has a, b"
        assert (
            _names({key: ["a", "b"]}, adapter)
            == _names({key: ["x", "y"]}, adapter)
            == _names({key: [1]}, adapter)
            == ""
        )


def test_a_width_counts_the_padding_that_the_adapter_knows_of():
    from pi0_ros.policy.backends.metadata import WIDTH

    adapter = SimpleNamespace(action_channels=("a", "b", "c"))
    for width, wanted in ((0, 3), (32, 32)):
        remote = SimpleNamespace(width=width)
        assert _width({WIDTH[0]: wanted}, adapter, remote) == "" and _width({}, adapter, remote) == ""
        assert _width({WIDTH[0]: wanted + 1}, adapter, remote).endswith(f"the adapter has {wanted} numbers per row")


def test_a_session_that_the_server_wants_and_the_adapter_has_not_is_a_note():
    adapter = SimpleNamespace(horizon=16, file="p.yaml")
    plain, sessions = (SimpleNamespace(session=s, size=(224, 224)) for s in ("", "session_id"))
    assert notes({"needs_session_id": True}, adapter, plain, 16) == [
        "the server wants a session: remote: {session: session_id}"
    ]
    assert notes({"needs_session_id": True}, adapter, sessions, 16) == notes({}, adapter, plain, 16) == []
    assert notes({}, adapter, plain, 15) == ["p.yaml says horizon 16 and the server answers 15 rows"]


def test_three_hundred_characters_are_quoted_and_longer_lines_are_cut_to_them():
    assert quote("a" * 300) == "a" * 300 and quote("a" * 301) == "a" * 297 + "..."
    assert quote(" a\n b\t c ") == "a b c"


def test_scalars_and_arrays_of_msgpack_numpy_are_read():
    row = np.array([[1.5, -2.0, 3.0]], np.float32)
    assert _numpy_packed({"nd": True, "type": "<f4", "shape": [1, 3], "data": row.tobytes()}).tolist() == row.tolist()
    one = _numpy_packed({"nd": False, "type": "<f4", "data": row[0, :1].tobytes()})
    assert one == np.float32(1.5) and np.ndim(one) == 0
    with pytest.raises(PolicyError, match="structured or pickled"):
        _numpy_packed({"nd": True, "kind": "O", "type": "<f4", "shape": [1], "data": b""})


class Silent:
    """A socket on which nothing comes for a while; each wait moves the clock on."""

    def __init__(self, clock, until):
        self.clock, self.until, self.waits, self.closed = clock, until, [], []

    def recv(self, timeout):
        self.waits.append(timeout)
        self.clock[0] += timeout
        if self.clock[0] < self.until:
            raise TimeoutError
        return b"answer"

    def close(self, code, reason):
        self.closed.append((code, reason))


@pytest.mark.parametrize(("limit", "answered"), [(8.0, True), (7.0, False)])
def test_an_answer_is_waited_for_to_its_limit_with_a_word_every_five_seconds(monkeypatch, limit, answered):
    """It comes after 7.5 s."""
    clock, told = [100.0], []
    monkeypatch.setattr(connection.time, "monotonic", lambda: clock[0])
    socket = Silent(clock, 107.5)
    made = Connection("ws://x", _socket=socket)
    if answered:
        assert made._receive(100.0 + limit, limit, told.append) == b"answer" and not socket.closed
    else:
        with pytest.raises(LateAnswerError, match="no answer within 7 s"):
            made._receive(100.0 + limit, limit, told.append)
        assert socket.closed == [(1001, "no answer in time")]
    assert socket.waits == [5.0, limit - 5.0] and told == [5.0]
    assert Connection("ws://x", _socket=Silent([0.0], 0.0))._receive(200.0, 5.0, None) == b"answer"


@pytest.mark.parametrize(("limit", "given"), [(7.5, 7.5), (0.001, 0.01), (-3.0, 0.01)])
def test_a_handshake_has_the_time_that_is_left_and_at_least_a_moment(monkeypatch, limit, given):
    asked = []
    monkeypatch.setattr(handshake, "connect", lambda url, **how: asked.append(how) or "open")
    assert handshake.handshake("ws://x", ServerSettings(), limit) == "open"
    assert asked[0]["open_timeout"] == given and asked[0]["ping_interval"] is None


def test_a_reset_is_answered_by_whatever_but_a_traceback(monkeypatch):
    made, socket = Connection("ws://x"), Silent([0.0], 0.0)
    made._socket = socket
    for reply, fails in (
        ("reset done", False),
        (b"\x80", False),
        ("Traceback (most recent call last):\nValueError: no", True),
    ):
        monkeypatch.setattr(Connection, "_exchange", lambda self, *_, reply=reply: reply)
        if fails:
            with pytest.raises(ServerError, match="ws://x: the server failed: ValueError: no"):
                made.tell({"reset": True})
        else:
            made.tell({"reset": True})
    assert socket.closed == [(1008, "this message cannot be used")] and made._socket is None


def test_a_connection_ends_normally_and_once():
    socket = Silent([0.0], 0.0)
    made = Connection("ws://x", _socket=socket)
    made.close()
    made.close()
    assert socket.closed == [(1000, "")]


def test_a_server_that_connects_and_says_nothing_is_given_up_after_the_time_that_was_left(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(connection.time, "monotonic", lambda: clock[0])
    made = Connection("ws://x", _socket=Silent(clock, 1e9))
    with pytest.raises(ServerNotReadyError, match="ws://x: connected, and no metadata within 0.75 s"):
        made._read_metadata(100.75)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Traceback:\n  File x\nKeyError: 'a'\nDuring handling\nValueError: b\n", "ValueError: b"),
        ("jax.errors.X: first\nnote: second\n", "note: second"),
        ("first\n\n last \n", "last"),
        ("only", "only"),
        (" \n", "no word"),
    ],
)
def test_of_what_a_server_says_the_newest_error_counts_or_else_its_last_line(text, line):
    assert error_line(text) == line


ADAPTER = SimpleNamespace(horizon=0, file="p.yaml", action_channels=("j0", "j1"), period=0.05)
PLAIN = SimpleNamespace(session="", size=(180, 320), width=0)


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ({"action_horizon": 15}, "the server says action_horizon 15 and answers 16 rows"),
        ({"chunk_size": np.int64(17)}, "the server says chunk_size 17 and answers 16 rows"),
        ({"action_horizon": 16, "chunk_size": 3}, None),  # the first key that says a number counts
        ({"action_horizon": "15", "n_action_steps": 16}, None),
        ({"action_horizon": True, "open_loop_horizon": 12.0}, "the server says open_loop_horizon 12 and answers 16 rows"),
        ({"action_horizon": float("nan"), "chunk_size": float("inf")}, None),
        ({"image_resolution": [180, 320]}, None),
        ({"image_size": (320, 180)}, "the server wants pictures of 320x180: remote: {size: [320, 180]}"),
        ({"image_resolution": [[224, 224]]}, "the server wants pictures of 224x224: remote: {size: [224, 224]}"),
        ({"image_resolution": [180.5, 320.5]}, None),
        ({"image_resolution": [3, 224, 224]}, None),
        ({"image_size": 224}, None),
        ({"needs_session_id": 1}, None),
    ],
)  # fmt: skip
def test_what_a_server_says_otherwise_is_one_note(said, note):
    assert notes(said, ADAPTER, PLAIN, 16) == ([note] if note else [])


def test_rows_are_those_that_the_adapter_says_if_it_says_any():
    for horizon, rows, told in ((16, 16, 0), (16, 17, 1), (0, 17, 0)):
        adapter = SimpleNamespace(horizon=horizon, file="p.yaml")
        assert len(notes({}, adapter, PLAIN, rows)) == told


@pytest.mark.parametrize("word", ["cartesian", "EEF", "end_effector", "ee_pose_delta", "joint_delta", "relative_joint"])
def test_a_server_that_plans_anything_but_joints_is_of_another_robot(word):
    robot, names = robot_of(Kind.POSITION, Kind.GRIPPER)
    said = _space({"action_space": word}, SimpleNamespace(action_channels=(*names, "not there")), robot)
    assert said == f"action_space {word}, the robot's channels are position of joints"
    robot, names = robot_of(Kind.VELOCITY, Kind.POSITION)
    said = _space({"action_space": word}, SimpleNamespace(action_channels=names), robot)
    assert said.endswith("position and velocity of joints")
    assert _space({"action_space": 3}, SimpleNamespace(action_channels=names), robot) == ""


def test_every_side_of_a_misfit_is_a_sentence_of_its_own():
    robot, names = robot_of(Kind.POSITION, Kind.POSITION)
    assert names == ADAPTER.action_channels and misfits({}, ADAPTER, PLAIN, robot) == []
    agreed = {"action_dim": 2, "fps": 20, "action_space": "joint_position", "action_names": list(names)}
    assert misfits(agreed, ADAPTER, PLAIN, robot) == []
    other = {"action_size": 3, "control_hz": 10, "action_space": "eef", "action_keys": ("j1", "j0")}
    assert misfits(other, ADAPTER, PLAIN, robot) == [
        "action_size 3, the adapter has 2 numbers per row",
        "control_hz 10, the adapter has a period of 0.05 s, which is 20 a second",
        "action_space eef, the robot's channels are position of joints",
        "action_keys j1, j0, the adapter has j0, j1",
    ]


# --- the wire ---


def test_a_message_of_four_megabytes_is_read_and_no_longer_one():
    assert MAX_BYTES == 4 * 1024 * 1024
    with pytest.raises(PolicyError, match="is not openpi's msgpack"):
        unpack(b"\x80" * MAX_BYTES)  # many messages, and so none
    with pytest.raises(PolicyError, match=f"{MAX_BYTES + 1} bytes is refused; {MAX_BYTES} are the most"):
        unpack(b"\x80" * (MAX_BYTES + 1))
    assert len(unpack(msgpack.packb([0] * MAX_ITEMS))) == MAX_ITEMS == 65536
    assert len(unpack(msgpack.packb(dict.fromkeys(range(MAX_ITEMS))))) == MAX_ITEMS
    for more in ([0] * (MAX_ITEMS + 1), dict.fromkeys(range(MAX_ITEMS + 1))):
        with pytest.raises(PolicyError, match="is not openpi's msgpack"):
            unpack(msgpack.packb(more))


@pytest.mark.parametrize(
    "forged",
    [
        {"__ndarray__": True, "data": "abcd", "dtype": "<f4", "shape": [1]},
        {"__ndarray__": True, "data": b"abcd", "dtype": 4, "shape": [1]},
        {"__ndarray__": True, "data": b"abcd", "dtype": "<f4", "shape": 1},
        {"__ndarray__": True, "data": b"abcd", "dtype": "<f4", "shape": [1.0]},
        {"__ndarray__": True, "data": b"abcd", "dtype": "<f4", "shape": [2]},
        {"__ndarray__": True, "data": b"abcd", "dtype": "<c8", "shape": [1]},
        {"__ndarray__": True, "data": b"abcd", "dtype": "bfloat16", "shape": [2]},
        {"__npgeneric__": True, "data": 1, "dtype": "O"},
        {"nd": True, "type": "<f4", "kind": b"V", "shape": [1], "data": b"abcd"},
    ],
)
def test_arrays_that_are_none_are_errors_of_the_policy(forged):
    with pytest.raises(PolicyError):
        unpack(msgpack.packb(forged))


def test_a_map_is_an_array_only_with_all_of_its_marks():
    for plain in ({"nd": True, "type": "<f4"}, {"data": b"x", "shape": [1]}):
        assert unpack(msgpack.packb(plain)) == plain
    scalar = unpack(msgpack.packb({b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f4"}))
    assert scalar == 1.5 and scalar.dtype == np.float32 and scalar.ndim == 0
    assert unpack(msgpack.packb({b"\xff": 1, 3: b"\xff"})) == {"�": 1, 3: b"\xff"}
    for refused in (object(), {1, 2}):
        with pytest.raises(PolicyError, match="cannot be sent"):
            pack({"x": refused})


# --- a connection ---


class Talking:
    """A socket with scripted messages: bytes or text to receive, an error to raise; nothing left: silence."""

    def __init__(self, *messages):
        self.messages, self.sent, self.closed = list(messages), [], []

    def recv(self, timeout):
        if not self.messages:
            raise TimeoutError
        message = self.messages.pop(0)
        if isinstance(message, BaseException):
            raise message
        return message

    def send(self, message):
        if self.messages and self.messages[0] == "broken":
            raise OSError("gone")
        self.sent.append(unpack(message))

    def close(self, code, reason):
        self.closed.append(code)


@pytest.fixture
def connecting(monkeypatch):
    """A connection to scripted sockets, and the seconds that each of their handshakes was given."""

    def make(*sockets, clock=(100.0,), **how):
        given, waiting = [], list(sockets)

        class Open:
            def __enter__(self):
                return waiting.pop(0)

            def __exit__(self, *_):
                return False

        monkeypatch.setattr(connection, "handshake", lambda url, settings, limit: given.append(limit) or Open())
        monkeypatch.setattr(connection.time, "monotonic", lambda: clock[0])
        return Connection("ws://x", **how), given

    return make


@pytest.mark.parametrize(("connect", "limit", "given"), [(5.0, 2.0, 2.0), (3.0, 9.0, 3.0)])
def test_a_connection_for_a_request_has_the_shorter_of_its_own_time_and_the_requests(connecting, connect, limit, given):
    socket = Talking(pack({"model": "a"}), pack([1]))
    made, limits = connecting(socket, settings=ServerSettings(connect=connect))
    assert made._exchange(pack({"x": 1}), 100.0, limit, None) == pack([1])
    assert limits == pytest.approx([given]) and made.metadata == {"model": "a"} and socket.sent == [{"x": 1}]
    late, limits = connecting(Talking(pack({}), pack([1])))
    late._exchange(pack({}), 90.0, 1.0, None)
    assert limits == pytest.approx([0.01]), "at least a moment"


def test_a_connection_alone_has_its_own_time_unless_another_is_given(connecting):
    made, limits = connecting(Talking(pack({})), Talking(pack({})), settings=ServerSettings(connect=4.0))
    made.connect()
    made.connect()
    made.close()
    made.connect(1.5)
    assert limits == pytest.approx([4.0, 1.5])


def test_a_server_that_is_not_accepted_is_left_and_the_reason_is_raised(connecting):
    socket, seen = Talking(pack({"model": "a"})), []

    def accept(metadata):
        seen.append(metadata)
        raise PolicyError("another robot")

    made, _ = connecting(socket, accept=accept)
    with pytest.raises(PolicyError, match="^another robot$"):
        made.connect()
    assert seen == [{"model": "a"}] and socket.closed == [1000] and made._socket is None


def test_a_request_is_sent_once_more_within_its_time_and_not_after_it(connecting):
    clock = [100.0]
    first, second = Talking(pack({}), OSError("gone")), Talking(pack({}), pack([2]))
    made, _ = connecting(first, second, clock=clock)
    assert made.ask({"x": 1}, 3.0) == [2] and first.sent == second.sent == [{"x": 1}]

    class Slow(Talking):
        def send(self, message):
            clock[0] += 3.0
            super().send(message)

    made, _ = connecting(Slow(pack({}), OSError("gone")), Talking(pack({}), pack([2])), clock=clock)
    with pytest.raises(ServerNotReadyError, match=r"ws://x: the connection broke \(gone\)"):
        made.ask({"x": 1}, 3.0)


def test_what_cannot_be_read_names_the_server_once(connecting):
    for message, words in (
        ("Traceback:\nValueError: no", "ws://x: the server failed: ValueError: no"),
        (' {"a": 1}', 'ws://x: sends JSON, and not openpi\'s msgpack: {"a": 1}'),
        ("[1]", "ws://x: sends JSON, and not openpi's msgpack: [1]"),
        (b"\xc1", "ws://x: a message of 1 bytes is not openpi's msgpack"),
    ):
        socket = Talking(pack({}), message)
        made, _ = connecting(socket)
        with pytest.raises(ServerError) as refused:
            made.ask({})
        assert str(refused.value).startswith(words) and socket.closed == [1008] and made._socket is None
        assert refused.value.details == (message if isinstance(message, str) else "")


@pytest.mark.parametrize("first", [b"old", "old text"])
def test_a_message_that_nobody_asked_for_ends_the_connection_and_from_then_on_each_request_has_its_own(
    connecting, first
):
    told = []
    sockets = [Talking(), Talking(pack({}), pack([2])), Talking(pack({}), pack([3]))]
    made, _ = connecting(*sockets[1:], warn=told.append)
    made._socket = sockets[0]
    sockets[0].messages.append(first)
    assert made.ask({}) == [2] and sockets[0].closed == [1008] and sockets[0].sent == []
    assert len(told) == 1 and "more than one message for a request" in told[0]
    assert made.ask({}) == [3] and sockets[1].closed == [1000] and len(told) == 1


def test_a_connection_that_has_broken_meanwhile_is_made_again_before_anything_is_sent(connecting):
    gone, fresh = Talking(OSError("gone")), Talking(pack({}), pack([2]))
    made, _ = connecting(fresh)
    made._socket = gone
    assert made.ask({}) == [2] and gone.closed == [1000] and gone.sent == []


def test_metadata_that_are_no_map_and_a_server_that_is_not_ready_are_told_apart(connecting):
    socket = Talking(pack([1]))
    made, _ = connecting(socket)
    with pytest.raises(ServerError, match="its first message is a list, not a map of metadata") as refused:
        made.connect()
    assert type(refused.value) is ServerError and socket.closed == [1008]
    socket = Talking("loading the weights")
    made, _ = connecting(socket)
    with pytest.raises(ServerNotReadyError, match="^ws://x: the server is not ready: loading the weights$") as waiting:
        made.connect()
    assert waiting.value.details == "loading the weights" and socket.closed == [1000]


# --- the handshake ---


def failing(monkeypatch, error, **settings):
    def connect(url, **how):
        raise error

    monkeypatch.setattr(handshake, "connect", connect)
    with pytest.raises(ServerError) as refused:
        handshake.handshake("ws://far:1", ServerSettings(**settings), 1.0)
    return type(refused.value), str(refused.value)


def test_an_unknown_computer_a_silent_one_and_an_address_that_is_none_are_told_apart(monkeypatch):
    kind, said = failing(monkeypatch, socket.gaierror(-2, "Name or service not known"))
    assert (kind, said) == (ServerNotReadyError, "ws://far:1: no computer is known as far (Name or service not known)")
    kind, said = failing(monkeypatch, TimeoutError())
    assert (kind, said) == (ServerNotReadyError, "ws://far:1: no openpi server answers (in time); is it running?")
    kind, said = failing(monkeypatch, OSError("refused"), proxy="http://p:1")
    assert said == "ws://far:1: no openpi server answers (refused, proxy http://p:1); is it running?"
    kind, said = failing(monkeypatch, ValueError("odd"))
    assert (kind, said) == (ServerError, "ws://far:1: odd")
    for error, kind in ((ProxyError("p"), ServerNotReadyError), (ImportError("p"), ServerError)):
        found, said = failing(monkeypatch, error, proxy="auto")
        assert found is kind and said.startswith(
            "ws://far:1: not through the proxy of 'auto' (p); set the parameter proxy"
        )


def test_a_handshake_takes_key_proxy_and_certificate_from_the_settings(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(handshake, "connect", lambda url, **how: asked.append(how))
    for proxy, key in (("none", ""), ("auto", "k"), ("http://p:1", "")):
        handshake.handshake("ws://far:1", ServerSettings(proxy=proxy, key=key, ca_file="nothing"), 1.0)
    assert [a["proxy"] for a in asked] == [None, True, "http://p:1"]
    assert [a["additional_headers"] for a in asked] == [None, {"Authorization": "Api-Key k"}, None]
    for how in asked:
        assert how["ssl"] is None and how["compression"] is None and how["ping_interval"] is None
        assert (how["max_size"], how["max_queue"], how["close_timeout"]) == (MAX_BYTES, 4, 0.05)
    handshake.handshake("wss://far:1", ServerSettings(), 1.0)
    assert asked[-1]["ssl"] is None, "the computer's own authorities"
    with pytest.raises(ServerError, match="ca_file .*none.pem: no certificate can be read"):
        handshake.handshake("wss://far:1", ServerSettings(ca_file=str(tmp_path / "none.pem")), 1.0)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (299, ServerError, "the server refuses the connection"),
        (300, ServerError, "the server is at ws://there"),
        (399, ServerError, "the server is at ws://there"),
        (400, ServerError, "the server refuses the connection"),
        (429, ServerNotReadyError, "the server is not ready"),
        (499, ServerError, "the server refuses the connection"),
        (500, ServerNotReadyError, "the server is not ready"),
        (404, ServerError, "no policy at this path; "),
    ],
)
def test_each_refusal_by_http_is_worth_another_try_or_not(monkeypatch, status, kind, words):
    response = SimpleNamespace(status_code=status, body=b"x" * 201, headers={"Location": "ws://there"})
    found, said = failing(monkeypatch, InvalidStatus(response))
    assert found is kind and said.startswith(f"ws://far:1: HTTP {status} ({'x' * 200}): {words}")


def test_a_server_has_five_seconds_to_connect_one_to_answer_and_five_minutes_for_its_first_answer():
    usual = ServerSettings()
    assert (usual.connect, usual.answer, usual.first_answer, usual.wait) == (5.0, 1.0, 300.0, 0.0)
    assert (usual.key, usual.ca_file, usual.proxy) == ("", "", "none")

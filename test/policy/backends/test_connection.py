"""One connection to a policy server, on a socket and a clock that are a few lines: every message, bound and code."""

from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from pi0_ros.policy.backends import connection as module
from pi0_ros.policy.backends.connection import Connection
from pi0_ros.policy.backends.server_errors import LateAnswerError, ServerError, ServerNotReadyError
from pi0_ros.policy.backends.wire import MAX_BYTES, pack, unpack
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.server_settings import ServerSettings

URL = "ws://arm:8000"
SILENCE = None
METADATA = pack({"model": "pi0"})
BROKEN = ConnectionClosedError(None, None)


class Socket:
    """What arrives of a server, in order; `SILENCE` lasts as long as is waited. `unread` waits before it is asked for."""

    def __init__(self, clock, arrives, unread=(), sends=()):
        self.clock, self.arrives, self.unread, self.sends = clock, list(arrives), list(unread), list(sends)
        self.sent, self.waited, self.closed = [], [], []

    def send(self, message):
        self.sent.append(unpack(message))
        if self.sends:
            self._say(self.sends.pop(0))

    def recv(self, timeout):
        if timeout == 0:
            if not self.unread:
                raise TimeoutError
            return self._say(self.unread.pop(0))
        self.waited.append(timeout)
        found = self.arrives.pop(0)
        if found is SILENCE:
            self.clock.now += timeout
            raise TimeoutError
        return self._say(found)

    @staticmethod
    def _say(what):
        if isinstance(what, Exception):
            raise what
        return what

    def close(self, code, reason):
        self.closed.append((code, reason))


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def made(monkeypatch):
    """Makes a Connection to these sockets, one after the other; `limits` are those of the handshakes."""

    def make(*sockets, takes=0.0, **settings):
        clock, limits, left = Clock(), [], []
        waiting = [Socket(clock, **s) if isinstance(s, dict) else Socket(clock, s) for s in sockets]
        every = list(waiting)

        @contextmanager
        def handshake(url, given, limit):
            assert url == URL and given is connection.settings
            limits.append(limit)
            clock.now += takes
            socket = waiting.pop(0)
            yield socket
            left.append(socket)

        monkeypatch.setattr(module, "handshake", handshake)
        monkeypatch.setattr(module, "time", clock)
        connection = Connection(URL, ServerSettings(**settings))
        return connection, every, limits, left, clock

    return make


def test_it_connects_once_within_its_time_and_hands_the_metadata_on(made):
    connection, (socket,), limits, left, _ = made([METADATA], connect=7.0)
    seen = []
    connection.accept = seen.append
    assert connection.connect() == connection.connect() == connection.metadata == {"model": "pi0"}
    assert limits == [7.0] and seen == [{"model": "pi0"}] and socket.waited == [5.0] and socket.closed == []
    connection.close()
    assert socket.closed == [(1000, "")] and left == [socket]
    connection.close()
    assert socket.closed == [(1000, "")]  # nothing is open any more


def test_it_connects_within_the_time_that_is_given(made):
    connection, (socket,), limits, _, _ = made([METADATA], takes=0.75)
    connection.connect(2.0)
    assert limits == [2.0] and socket.waited == [1.25]


def test_a_server_that_is_not_accepted_is_left_and_the_next_time_connected_to_again(made):
    connection, (first, second), limits, left, _ = made([METADATA], [METADATA])

    def refuse(metadata):
        raise PolicyError("of another robot")

    connection.accept = refuse
    with pytest.raises(PolicyError, match="of another robot"):
        connection.connect()
    assert first.closed == [(1000, "")] and left == [first]
    connection.accept = lambda _: None
    connection.connect()
    assert len(limits) == 2 and second.closed == []


@pytest.mark.parametrize(
    ("first", "takes", "error", "words", "closed"),
    [
        ("Traceback\n  x\nKeyError: 'a'", 0.0, ServerNotReadyError, "the server is not ready: KeyError: 'a'", (1000, "")),
        (pack([1]), 0.0, ServerError, "its first message is a list, not a map of metadata", (1008, "metadata must be a map")),
        (b"\xc1", 0.0, ServerError, "is not openpi's msgpack", (1008, "this message cannot be used")),
        (SILENCE, 0.0, ServerNotReadyError, "connected, and no metadata within 4 s", (1001, "no answer in time")),
        (SILENCE, 1.25, ServerNotReadyError, "connected, and no metadata within 2.75 s", (1001, "no answer in time")),
        (SILENCE, 9.0, ServerNotReadyError, "connected, and no metadata within 0.01 s", (1001, "no answer in time")),
        (BROKEN, 0.0, ServerNotReadyError, "the connection broke", (1000, "")),
    ],
)  # fmt: skip
def test_what_is_no_metadata_ends_the_connection(made, first, takes, error, words, closed):
    connection, (socket, _), _, _, _ = made([first], [METADATA], connect=4.0, takes=takes)
    with pytest.raises(error, match=words) as problem:
        connection.connect()
    assert type(problem.value) is error and str(problem.value).startswith(f"{URL}: ")
    assert socket.closed == [closed]
    assert problem.value.details == (first if isinstance(first, str) else "")
    if takes < 4.0:
        assert connection.connect() == {"model": "pi0"}


def test_a_request_goes_out_and_its_answer_comes_back_within_the_settings_time(made):
    connection, (socket,), limits, _, _ = made([METADATA, pack({"a": 1}), pack({"b": 2})], answer=3.0, connect=2.0)
    assert connection.ask({"x": 1}) == {"a": 1} and connection.ask({"x": 2}, 0.5) == {"b": 2}
    assert socket.sent == [{"x": 1}, {"x": 2}] and limits == [2.0] and socket.waited == [2.0, 3.0, 0.5]


def test_a_connection_that_a_request_makes_takes_no_more_than_the_requests_time(made):
    connection, (socket,), limits, _, _ = made([METADATA, pack({})], answer=1.0, connect=5.0, takes=0.25)
    connection.ask({})
    assert limits == [1.0] and socket.waited == [0.75, 0.75]


def test_who_waits_long_is_told_every_five_seconds_and_then_that_it_was_too_long(made):
    connection, (socket, _), _, left, clock = made([METADATA, *[SILENCE] * 3], [METADATA])
    connection.connect()
    told = []
    with pytest.raises(LateAnswerError, match=rf"^{URL}: no answer within 12 s$"):
        connection.ask({}, 12.0, told.append)
    assert told == [5.0, 10.0] and socket.waited[1:] == [5.0, 5.0, 2.0] and clock.now == 1012.0
    assert socket.closed == [(1001, "no answer in time")] and left == [socket]
    assert connection.connect() == {"model": "pi0"}


def test_five_seconds_are_waited_for_in_one_piece_and_nobody_has_to_be_told(made):
    connection, (socket, _), _, _, _ = made([METADATA, SILENCE], [METADATA, SILENCE, SILENCE])
    connection.connect()
    told = []
    with pytest.raises(LateAnswerError, match="within 5 s"):
        connection.ask({}, 5.0, told.append)
    assert told == [] and socket.waited[1:] == [5.0]
    connection.connect()
    with pytest.raises(LateAnswerError, match="within 6 s"):
        connection.ask({}, 6.0)


@pytest.mark.parametrize("broken", [BROKEN, OSError("reset by peer")])
@pytest.mark.parametrize("when", ["sends", "arrives"])
def test_a_connection_that_breaks_is_made_again_at_once_and_the_request_sent_once_more(made, broken, when):
    first = {"arrives": [METADATA, broken], "sends": [broken] if when == "sends" else []}
    connection, sockets, limits, _, _ = made(first, [METADATA, pack({"a": 1})])
    assert connection.ask({"x": 1}) == {"a": 1}
    assert [socket.sent for socket in sockets] == [[{"x": 1}], [{"x": 1}]] and len(limits) == 2
    assert sockets[0].closed == [(1000, "")]


def test_a_connection_that_breaks_twice_or_too_late_is_an_error(made):
    connection, sockets, limits, _, _ = made([METADATA, BROKEN], [METADATA, OSError("gone")], [METADATA])
    with pytest.raises(ServerNotReadyError, match=rf"^{URL}: the connection broke \(gone\)$"):
        connection.ask({})
    assert len(limits) == 2
    connection, sockets, limits, _, clock = made([METADATA, BROKEN], [METADATA, pack({})])
    connection.connect()
    recv = sockets[0].recv

    def late(timeout):
        clock.now += 1.0 if timeout else 0.0
        return recv(timeout)

    sockets[0].recv = late
    with pytest.raises(ServerNotReadyError, match="the connection broke"):
        connection.ask({}, 1.0)
    assert len(limits) == 1


def test_an_answer_that_is_longer_than_is_read_is_told_and_not_asked_for_again(made):
    too_long = ConnectionClosedError(None, Close(1009, "too big"))
    connection, (socket,), limits, _, _ = made([METADATA, too_long])
    with pytest.raises(ServerError, match=f"an answer of more than {MAX_BYTES} bytes is refused") as problem:
        connection.ask({})
    assert type(problem.value) is ServerError and len(limits) == 1 and socket.closed == [(1000, "")]
    other = ConnectionClosedError(None, Close(1011, "oh"))
    connection, _, limits, _, _ = made([METADATA, other], [METADATA, pack({})])
    assert connection.ask({}) == {} and len(limits) == 2


@pytest.mark.parametrize(
    ("answer", "words", "details"),
    [
        ("Traceback\n  x\nKeyError: 'state'", "the server failed: KeyError: 'state'", True),
        ('  {"a": 1}', r"sends JSON, and not openpi's msgpack: \{\"a\": 1\}", True),
        ("[1]", r"sends JSON, and not openpi's msgpack: \[1\]", True),
        (b"\xc1", "a message of 1 bytes is not openpi's msgpack", False),
    ],
)
def test_an_answer_that_cannot_be_used_ends_the_connection(made, answer, words, details):
    connection, (socket, _), _, _, _ = made([METADATA, answer], [METADATA, pack({"a": 1})])
    with pytest.raises(ServerError, match=f"^{URL}: {words}") as problem:
        connection.ask({})
    assert problem.value.details == (answer if details else "")
    assert socket.closed == [(1008, "this message cannot be used")]
    assert connection.ask({}) == {"a": 1}


def test_a_message_that_nobody_asked_for_ends_the_connection_and_every_request_has_its_own_from_then_on(made):
    answers = [[METADATA, pack({"a": k})] for k in range(3)]
    connection, sockets, limits, _, _ = made({"arrives": answers[0], "unread": []}, answers[1], answers[2])
    told = []
    connection.warn = told.append
    assert connection.ask({}) == {"a": 0}
    sockets[0].unread.append(b"old")
    assert connection.ask({}) == {"a": 1} and len(told) == 1 and told[0].startswith(f"{URL} sent more than one message")
    assert sockets[0].closed == [(1008, "a message that was not asked for")] and sockets[1].closed == []
    assert connection.ask({}) == {"a": 2} and len(told) == 1 and len(limits) == 3
    assert sockets[1].closed == [(1000, "")]


@pytest.mark.parametrize("broken", [BROKEN, OSError("gone")])
def test_a_connection_that_was_closed_meanwhile_is_made_anew_without_a_word(made, broken):
    connection, sockets, _, _, _ = made([METADATA, pack({"a": 0})], [METADATA, pack({"a": 1})], [METADATA])
    told = []
    connection.warn = told.append
    connection.ask({})
    sockets[0].unread.append(broken)
    assert connection.ask({}) == {"a": 1} and told == [] and sockets[0].closed == [(1000, "")]
    assert sockets[0].sent == [{}] and sockets[1].closed == []


@pytest.mark.parametrize(
    ("reply", "words"),
    [(pack({"ok": 1}), ""), ("done", ""), ("Traceback\nValueError: no", "the server failed: ValueError: no")],
)
def test_what_is_no_observation_is_told_and_its_one_reply_is_read(made, reply, words):
    connection, (socket, _), _, _, _ = made([METADATA, reply, pack({"a": 1})], [METADATA], answer=2.0)
    if words:
        with pytest.raises(ServerError, match=f"^{URL}: {words}"):
            connection.tell({"reset": True})
        assert socket.closed == [(1008, "this message cannot be used")]
    else:
        connection.tell({"reset": True})
        assert connection.ask({}) == {"a": 1} and socket.closed == []
    assert socket.sent[0] == {"reset": True} and socket.waited[1] == 2.0


def test_a_reason_has_at_most_a_hundred_bytes_of_whole_characters(made):
    connection, (socket,), _, _, _ = made([METADATA])
    connection.connect()
    connection.refuse("x" + "é" * 60)
    assert socket.closed == [(1008, "x" + "é" * 49)]


def test_a_connection_that_cannot_even_be_closed_is_given_up(made):
    for broken in (BROKEN, OSError("gone")):
        connection, (socket, _), _, left, _ = made([METADATA], [METADATA])
        connection.connect()

        def close(code, reason, broken=broken):
            raise broken

        socket.close = close
        connection.close()
        assert left == [socket]
        assert connection.connect() == {"model": "pi0"}

"""What a recorder's connection to its writing process keeps of what it hears, and sends of what it is given."""

from __future__ import annotations

import subprocess
import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av")

from pi0_ros.data.episode_saver import EpisodeSaved, Problem
from pi0_ros.data.errors import DataError
from pi0_ros.data.recording_client import RecordingClient
from pi0_ros.data.recording_process import Begin, Close, Discard, EpisodeEnded, Frame, Label, Report, SlotsFreed

NUMBERS = {"pose": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]}}


class Line:
    """A connection: keeps what is sent, and gives what is to be heard, then its end."""

    def __init__(self, *heard, broken=False, quiet=False):
        self.sent, self.heard, self.broken, self.quiet, self.closed = [], list(heard), broken, quiet, False

    def send(self, what):
        if self.broken:
            raise BrokenPipeError
        self.sent.append(what)

    def poll(self, seconds):
        return not self.quiet

    def recv(self):
        if not self.heard:
            raise EOFError
        return self.heard.pop(0)

    def close(self):
        self.closed = True


class Process:
    """A process that has ended, or is still at it."""

    pid = 17

    def __init__(self, busy=False):
        self.busy, self.done = busy, []

    def wait(self, patience=None):
        self.done.append(("wait", patience))
        if self.busy and patience is not None:
            raise subprocess.TimeoutExpired("p", patience)

    def kill(self):
        self.done.append("kill")

    def poll(self):
        return None if self.busy else 0


class Slots:
    count = 2

    def __init__(self, *free):
        self.free_ones, self.freed, self.closed = list(free), [], False
        self.free, self.used = self.freed.append, 5

    def put(self, pictures):
        return self.free_ones.pop(0) if self.free_ones else None

    def close(self):
        self.closed = True


def client(line, slots=None, process=None):
    one = object.__new__(RecordingClient)
    one.settings, one._numbers = SimpleNamespace(folder="set"), NUMBERS
    one._connection, one._slots, one._process = line, slots or Slots(), process or Process()
    one._lock, one._thread = threading.Lock(), threading.Thread(target=lambda: None)
    one._thread.start()
    one.report, one.problem, one.ended, one.saved = Report(), "", "", []
    one.changes = []
    one._changed = lambda: one.changes.append((one.report.frames, one.problem, one.ended, len(one.saved)))
    return one


def test_news_are_kept_by_their_kind_and_each_is_told_and_so_is_the_end():
    line = Line(
        Report(frames=3), SlotsFreed((1, 0)), EpisodeSaved(4, 9, False), EpisodeSaved(5, 2, True),
        EpisodeEnded("the disk is full"), Problem("no room"), Problem(""), Report(frames=0),
    )  # fmt: skip
    one = client(line)
    one._listen()
    assert one._slots.freed == [1, 0] and one.saved == [EpisodeSaved(4, 9, False), EpisodeSaved(5, 2, True)]
    ended = "the disk is full"
    assert one.changes == [
        (3, "", "", 0), (3, "", "", 0), (3, "", "", 1), (3, "", "", 2), (3, "", ended, 2), (3, "no room", ended, 2),
        (3, "", ended, 2), (0, "", ended, 2), (0, "", ended, 2),
    ]  # fmt: skip


def test_requests_are_sent_with_copies_of_their_notes_and_a_beginning_forgets_the_end_before():
    one, note = client(Line()), {"task": "fold"}
    one.ended = "the disk was full"
    one.begin(note)
    note["task"] = "wave"
    one.close_episode({"why": "operator"})
    one.discard()
    one.label({"outcome": "success"})
    one.label({"outcome": "failure"}, 3)
    assert one.ended == "" and one._connection.sent == [
        Begin({"task": "fold"}), Close({"why": "operator"}), Discard(), Label({"outcome": "success"}, None),
        Label({"outcome": "failure"}, 3),
    ]  # fmt: skip


def test_a_frame_goes_with_the_slot_of_its_pictures_and_not_at_all_if_none_is_free():
    one, row = client(Line(), Slots(1)), {"pose": [1, -2], "task": "fold"}
    assert one.frame(row, {"eye": "picture"}, False) is True
    assert one.frame(row, None) is True
    assert one.frame(row, {"eye": "picture"}) is False
    assert [(f.slot, f.write) for f in one._connection.sent] == [(1, False), (None, True)]
    assert all(type(f) is Frame and f.row["pose"].dtype == np.float32 for f in one._connection.sent)
    one._slots.free_ones = [0]
    with pytest.raises(DataError, match="set: 'pose' has shape"):
        one.frame({"pose": [1], "task": "fold"}, {"eye": "picture"})
    assert one._slots.free_ones == [0], "what does not fit takes no slot"


def test_a_process_that_has_gone_is_a_problem_and_no_error():
    one = client(Line(broken=True))
    one.discard()
    assert "the process that writes has ended" in one.problem and not one.changes


def test_the_process_is_known_by_its_number_and_its_backlog():
    one = client(Line())
    assert (one.pid, one.alive, one.backlog) == (17, False, 5)
    assert client(Line(), process=Process(busy=True)).alive is True


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (Line(DataError("set: another recorder writes into it")), "set: another recorder writes into it"),
        (Line("what?"), "set: the process that writes did not start"),
        (Line(), "did not start"),
        (Line(Report(), quiet=True), "did not start"),
    ],
)
def test_a_process_that_does_not_start_is_ended_and_its_reason_given(line, said):
    one = client(line)
    with pytest.raises(DataError, match=said):
        one._open()
    assert one._process.done == ["kill", ("wait", None)] and line.sent == [one.settings]


def test_a_process_that_starts_reports_at_once():
    one = client(Line(Report(expected=4)))
    one._open()
    assert one.report == Report(expected=4) and one._process.done == []


def test_at_the_end_everything_shared_is_closed_once_the_process_has_ended():
    one = client(Line())
    one._socket_end = lambda: one._process.done.append("end")
    assert one.close(2.5) is True
    assert one._process.done == ["end", ("wait", 2.5), ("wait", None)]
    assert one._connection.closed and one._slots.closed


def test_a_process_that_is_still_at_it_goes_on_and_what_is_shared_is_closed_later():
    one, may = client(Line(), process=Process(busy=True)), threading.Event()
    closed = threading.Event()
    wait = one._process.wait
    one._process.wait = lambda patience=None: wait(patience) or may.wait(20.0)
    one._slots.close = closed.set

    def gone():
        raise OSError

    one._socket_end = gone
    assert one.close(0.5) is False and not closed.is_set()
    may.set()
    assert closed.wait(20.0) and one._connection.closed

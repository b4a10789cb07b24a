"""What a recording process says of the disk, on both sides of its bounds."""

from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("av")

from pi0_ros.data import recording_process
from pi0_ros.data.recording_process import Close, Discard, EpisodeEnded, Frame, RecordingProcess, Report, SlotsFreed

Usage = namedtuple("Usage", "total used free")


class Told:
    """A connection that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, what: object) -> None:
        self.sent.append(what)


def process(folder: Path, stream: object = None) -> RecordingProcess:
    """One with a reserve of 1000 bytes, none of its threads and files."""
    one = object.__new__(RecordingProcess)
    one._settings = SimpleNamespace(folder=folder, min_free=1000)
    one._running, one._saver = folder / "running", SimpleNamespace(expected=7)
    one._connection, one._stream = Told(), stream
    one._sending = recording_process.threading.Lock()
    one._note, one._report, one._encoding, one._due = {}, Report(), 2.5, 0.0
    one.ended = []
    one._close = one.ended.append
    return one


@pytest.mark.parametrize(
    ("waiting", "free", "low", "full"),
    [
        (0, 4000, False, False),  # four reserves are enough
        (0, 3999, True, False),
        (0, 1000, True, False),
        (0, 999, True, True),
        (300, 4300, False, False),  # what waits to be saved is written once more
        (300, 4299, True, False),
        (300, 1300, True, False),
        (300, 1299, True, True),
    ],
)
def test_the_disk_is_low_at_four_reserves_and_full_at_one(tmp_path, monkeypatch, waiting, free, low, full):
    monkeypatch.setattr(recording_process.shutil, "disk_usage", lambda folder: Usage(9999, 0, free))
    one = process(tmp_path)
    one._running.mkdir()
    (one._running / "video").write_bytes(bytes(waiting))
    one._watch()
    (report,) = one._connection.sent
    assert (report.disk_free, report.disk_low, report.disk_full) == (free, low, full)
    assert (report.frames, report.expected, report.encoding) == (0, 7, 2.5)
    assert not one.ended


@pytest.mark.parametrize("free", [999, 1000])
def test_a_full_disk_ends_the_episode_that_runs(tmp_path, monkeypatch, free):
    monkeypatch.setattr(recording_process.shutil, "disk_usage", lambda folder: Usage(9999, 0, free))
    one = process(tmp_path, SimpleNamespace(frames=31, seconds=0.25, journal=object()))
    one._watch()
    *ends, report = one._connection.sent
    why = f"the disk of {tmp_path} is nearly full"
    assert ends == ([EpisodeEnded(why)] if free < 1000 else [])
    assert one.ended == ([{"why": why}] if free < 1000 else [])
    assert (report.frames, report.encoding) == (31, 2.75)


def test_an_episode_without_a_journal_is_not_ended_by_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_process.shutil, "disk_usage", lambda folder: Usage(9999, 0, 0))
    one = process(tmp_path, SimpleNamespace(frames=0, seconds=0.0, journal=None))
    one._watch()
    assert [type(told) for told in one._connection.sent] == [Report]
    assert not one.ended


def test_the_next_look_is_half_a_second_later(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_process.time, "monotonic", lambda: 100.0)
    one = process(tmp_path)
    one._watch()
    assert one._due == 100.5


def test_the_processor_time_and_memory_of_the_process_itself_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_process.time, "process_time", lambda: 12.5)
    monkeypatch.setattr(recording_process, "_memory", lambda: 4096)
    one = process(tmp_path)
    one._watch()
    (report,) = one._connection.sent
    assert (report.cpu, report.memory) == (12.5, 4096)


def test_a_label_without_a_number_is_of_the_newest_episode(tmp_path):
    one = process(tmp_path)
    labels = []
    one._saver.label = lambda episode, label: labels.append((episode, label))
    one._do(recording_process.Label({"good": True}))
    one._do(recording_process.Label({"good": False}, 0))
    assert labels == [(6, {"good": True}), (0, {"good": False})]


def test_a_request_is_done_by_its_kind(tmp_path):
    one = process(tmp_path)
    one._do(None)
    one._do(Close({"why": "operator"}))
    one._do(recording_process.Begin({"task": "fold"}))
    assert one.ended == [{"why": "operator"}]
    assert one._note == {"task": "fold"}


def test_nobody_listening_is_no_failure(tmp_path):
    one = process(tmp_path)

    def gone(what: object) -> None:
        raise BrokenPipeError

    one._connection.send = gone
    one._tell(Report())


def test_a_process_begins_with_what_an_earlier_one_left(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_process.shutil, "disk_usage", lambda folder: Usage(9999, 5, 321))
    made, added, told = {}, [], Told()
    for name in ("FrameSlots", "DatasetFiles", "EpisodeSaver"):
        saver = SimpleNamespace(add=added.append, expected=2)
        monkeypatch.setattr(
            recording_process, name, lambda *given, name=name, saver=saver: made.update({name: given}) or saver
        )
    left = [tmp_path / recording_process.RUNNING / name for name in ("02", "01")]
    for folder in left:
        folder.mkdir(parents=True)
    settings = recording_process.RecordingSettings(tmp_path, 30, {}, "arm", 4, 1000)
    one = RecordingProcess(settings, 17, told)
    assert made["FrameSlots"] == ({}, 4, 17)
    assert made["DatasetFiles"] == (tmp_path, 30, {}, "arm", recording_process.LIMITS)
    assert made["EpisodeSaver"][1] == one._tell
    assert added == left[::-1]
    assert (one.expected, one._encoding, one._due, one._report) == (2, 0.0, 0.0, Report(disk_free=321))
    assert Report() == Report(0, 0, 0, False, False, 0.0, 0.0, 0)


class Stream:
    """An episode that runs: notes its frames. `journal`: of so many frames, None before the first."""

    def __init__(self, *made, frames=None):
        self.made, self.added, self.seconds, self.problem = made, [], 0.25, None
        self.statistics = {"eye": SimpleNamespace(result=lambda: "levels")}
        self.journal = None if frames is None else SimpleNamespace(frames=frames, folder="its folder", wait="its end")
        self.ended = []
        if self.journal is not None:
            self.journal.end, self.journal.drop = self.ended.append, lambda: self.ended.append("dropped")

    def add(self, row, pictures, write):
        if self.problem is not None:
            raise self.problem
        self.added.append((row, pictures, write))


def taking(folder: Path, monkeypatch, **report) -> RecordingProcess:
    """One that takes frames, of which slot n holds "pictures n"."""
    one = process(folder)
    one._settings = SimpleNamespace(folder=folder, features="features", fps=15, lead=4, min_free=0)
    one._slots = SimpleNamespace(views=lambda slot: f"pictures {slot}")
    one._report, one._note = Report(**report), {"task": "fold"}
    monkeypatch.setattr(recording_process, "EpisodeStream", Stream)
    monkeypatch.setattr(recording_process.time, "time_ns", lambda: 17)
    return one


def test_the_first_frame_begins_an_episode_and_every_slot_is_free_again(tmp_path, monkeypatch):
    one = taking(tmp_path, monkeypatch)
    one._do(Frame("row 0", 3))
    one._do(Frame("row 1", None, False))
    stream = one._stream
    assert stream.made == (tmp_path / "running" / "00000000000000000017", "features", 15, {"task": "fold"}, 4)
    assert stream.added == [("row 0", "pictures 3", True), ("row 1", None, False)]
    assert one._connection.sent == [SlotsFreed((3,))] and one._stream is stream
    stream.problem = OSError(28, "full")
    with pytest.raises(OSError, match="full"):
        one._do(Frame("row 2", 1))
    assert one._connection.sent[-1] == SlotsFreed((1,)), "also of a frame that could not be written"


def test_on_a_full_disk_frames_are_dropped_and_their_slots_are_free_again(tmp_path, monkeypatch):
    one = taking(tmp_path, monkeypatch, disk_full=True)
    one._do(Frame("row 0", 2))
    assert one._stream.added == [] and one._connection.sent == [SlotsFreed((2,))]


@pytest.mark.parametrize(
    ("frames", "saved", "waited"),
    [(5, [("its folder", {"eye": "levels"}, "its end")], []), (0, [], ["its end"]), (None, [], [])],
)
def test_an_episode_that_ends_is_saved_if_it_has_frames_and_waited_for_if_not(tmp_path, frames, saved, waited):
    one = process(tmp_path, Stream(frames=frames))
    del one._close
    added, held = [], []
    one._saver = SimpleNamespace(add=lambda *what: added.append(what), wait_for=held.append)
    stream = one._stream
    one._do(Close({"why": "operator"}))
    assert one._stream is None and one._encoding == 2.75
    assert (added, held) == (saved, waited) and stream.ended == ([] if frames is None else [{"why": "operator"}])
    one._do(Close({"why": "again"}))
    assert one._encoding == 2.75 and added == saved


@pytest.mark.parametrize("frames", [5, None])
def test_an_episode_that_is_discarded_is_dropped_and_its_end_waited_for(tmp_path, frames):
    one = process(tmp_path, Stream(frames=frames))
    held = []
    one._saver = SimpleNamespace(wait_for=held.append)
    stream = one._stream
    one._do(Discard())
    one._do(Discard())
    assert one._stream is None and one._encoding == 2.75
    assert stream.ended == (["dropped"] if frames else []) and held == (["its end"] if frames else [])


def test_requests_are_done_until_the_recorder_is_gone_and_a_full_disk_ends_the_episode_alone(tmp_path, monkeypatch):
    """Nothing, then a frame that the disk has no room for, then a word of its end; the last is that nobody is there."""
    one, done, looked = process(tmp_path), [], []
    answers = iter([None, "frame", "end", EOFError()])

    class Connection(Told):
        def poll(self, seconds):
            assert seconds == 0.5
            self.next = next(answers)
            return self.next is not None

        def recv(self):
            if isinstance(self.next, Exception):
                raise self.next
            return self.next

    def do(request):
        if request == "frame":
            raise OSError(28, "No space left on device")
        done.append(request)

    clock = iter([0.0, 9.0])
    one._connection, one._do, one._watch = Connection(), do, lambda: looked.append(len(done))
    one._due = 5.0
    one._sync = lambda: None
    monkeypatch.setattr(recording_process.time, "monotonic", lambda: next(clock))
    one._saver = SimpleNamespace(finish=lambda: done.append("finished"))
    one.run()
    assert done == [None, "end", "finished"] and looked == [2], "behind the time at which a look is due"
    assert one.ended == [{"why": "No space left on device"}, {"why": "the recorder ended"}]
    assert one._connection.sent == [EpisodeEnded("No space left on device")]


def test_the_memory_of_a_process_is_what_is_resident(monkeypatch):
    """As /proc/self/status says it, in kB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident = 1024 * int(status["VmRSS"].split()[0])
    assert recording_process._memory() == pytest.approx(resident, rel=0.2)

    def unknown(self):
        raise OSError

    monkeypatch.setattr(Path, "read_text", unknown)
    assert recording_process._memory() == 0


def test_the_running_journal_is_synced_once_a_second_though_it_was_closed_meanwhile(tmp_path, monkeypatch):
    one, slept, synced = process(tmp_path), [], []

    class Over(Exception):
        pass

    def closed():
        synced.append("closed")
        raise ValueError("I/O operation on closed file")

    streams = iter(
        [None, SimpleNamespace(journal=None), SimpleNamespace(journal=SimpleNamespace(sync=closed)),
         SimpleNamespace(journal=SimpleNamespace(sync=lambda: synced.append("open")))]
    )  # fmt: skip

    def sleep(seconds):
        slept.append(seconds)
        try:
            one._stream = next(streams)
        except StopIteration:
            raise Over from None

    monkeypatch.setattr(recording_process.time, "sleep", sleep)
    with pytest.raises(Over):
        one._sync()
    assert slept == [1.0] * 5 and synced == ["closed", "open"]

"""What a recording process says of the disk, on both sides of its bounds."""

from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("av")

from pi0_ros.data import recording_process
from pi0_ros.data.recording_process import Close, EpisodeEnded, RecordingProcess, Report

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

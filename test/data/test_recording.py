"""Recording into a dataset by a process of its own: whatever ends it, what was recorded is there."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import tracemalloc
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("av")

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.episode_stream import EpisodeStream
from pi0_ros.data.errors import DataError
from pi0_ros.data.features import checked_features, with_standard
from pi0_ros.data.frame_clock import FrameClock
from pi0_ros.data.frame_selection import FrameSelection, Keep, RecordMode
from pi0_ros.data.frame_slots import FrameSlots
from pi0_ros.data.journal import EncodedFrame, JournalWriter, read_journal
from pi0_ros.data.journal_queue import JournalQueue
from pi0_ros.data.recording_client import RecordingClient
from pi0_ros.data.recording_process import Frame, RecordingProcess, RecordingSettings, bytes_in, lock_dataset

EYE = "observation.images.eye"
FEATURES = with_standard(
    checked_features(
        {
            EYE: {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
            "action": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
            "driver": {"dtype": "string", "shape": (1,), "names": None},
        }
    )
)
FPS = 10


def picture(k):
    return np.full((48, 64, 3), 40 + 3 * (k % 60), np.uint8)


def row(k, task="touch"):
    return {"action": np.array([k, -2 * k], np.float32), "driver": "hold", "task": task}


class Recording:
    """A client whose news can be waited for."""

    def __init__(self, folder, **settings):
        self.changed = threading.Condition()
        known = {"slots": 8, "min_free": 1_000_000, "lead": 6, **settings}
        self.client = RecordingClient(RecordingSettings(folder, FPS, FEATURES, "robot", **known), self.notify)

    def notify(self):
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition, timeout=40.0):
        with self.changed:
            assert self.changed.wait_for(condition, timeout)

    def send(self, numbers, write=True):
        for k in numbers:
            self.wait(lambda: self.client.backlog < self.client.settings.slots)
            assert self.client.frame(row(k), {EYE: picture(k)}, write)

    def end(self):
        assert self.client.close(40.0)
        assert self.client._process.returncode == 0


@pytest.fixture
def recording(tmp_path):
    made = []

    def make(**settings):
        made.append(Recording(tmp_path / "set", **settings))
        return made[-1]

    yield make
    for one in made:
        if one.client.alive:
            one.end()


def numbers(folder, episode):
    read = Dataset(folder)
    return read.column("action")[read.column("episode_index") == episode][:, 0].tolist()


def test_episodes_are_saved_discarded_and_labelled(recording, tmp_path):
    one = recording()
    one.client.begin({"robot": "arm"})
    one.send(range(7))
    one.client.close_episode({"outcome": "success"})
    one.send(range(50, 53))
    one.client.discard()
    one.send(range(20, 25))
    one.client.label({"score": 0.5}, 0)
    one.end()
    folder = tmp_path / "set"
    assert numbers(folder, 0) == list(range(7)) and numbers(folder, 1) == list(range(20, 25))
    shown = [int(p.mean()) for p in Dataset(folder).pictures("eye", 1)]
    assert np.abs(np.array(shown) - [100, 103, 106, 109, 112]).max() <= 2
    notes = EpisodeLog(folder).read()
    assert notes[0]["outcome"] == "success" and notes[0]["score"] == 0.5 and notes[0]["robot"] == "arm"
    assert "outcome" not in notes[1]
    stats = Dataset(folder).stats
    assert stats["action"]["max"].tolist() == [24.0, 0.0] and stats["action"]["count"].tolist() == [12]


def test_where_the_recorder_is_killed_the_running_episode_is_saved(tmp_path):
    code = (
        "import os, signal, sys, time; sys.path.insert(0, sys.argv[1]); import test_recording as t; from pathlib import Path\n"
        "one = t.Recording(Path(sys.argv[2])); one.send(range(9))\n"
        "one.wait(lambda: one.client.backlog == 0); os.kill(os.getpid(), signal.SIGKILL)"
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "set")]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    lock_dataset(tmp_path / "set", 40.0).close()  # as soon as the process that writes has saved it
    assert numbers(tmp_path / "set", 0) == list(range(9))


def test_where_everything_is_killed_the_episode_is_recovered_at_the_next_start(recording, tmp_path):
    one = recording()
    one.send(range(5))
    one.client.close_episode({})
    one.wait(lambda: one.client.saved)
    one.send(range(30, 41))
    rows = (tmp_path / "set/.recording").glob
    one.wait(lambda: sum(file.read_bytes().count(b"\n") for file in rows("*/rows.jsonl")) == 11)
    os.kill(one.client.pid, signal.SIGKILL)
    one.client.close(40.0)
    assert numbers(tmp_path / "set", 0) == list(range(5))  # readable as it lies there
    two = recording()
    two.wait(lambda: two.client.saved)
    assert two.client.saved[0].recovered
    two.send(range(60, 62))
    two.end()
    assert numbers(tmp_path / "set", 1) == list(range(30, 41)) and numbers(tmp_path / "set", 2) == [60, 61]
    assert len(list(Dataset(tmp_path / "set").pictures("eye", 1))) == 11
    assert EpisodeLog(tmp_path / "set").read()[1]["recovered"]


@pytest.mark.parametrize("cut", ["rows", "half a row", "pictures"])
def test_a_journal_that_is_cut_anywhere_gives_its_whole_frames(tmp_path, cut):
    stream = EpisodeStream(tmp_path / "j", FEATURES, FPS, {})
    for k in range(6):
        stream.add(row(k) | {"driver": ["hold"]}, {EYE: picture(k)}, True)
    stream.journal.end({})
    assert stream.journal.wait()
    rows, video = tmp_path / "j/rows.jsonl", tmp_path / "j" / f"{EYE}.h264"
    lines = rows.read_bytes().splitlines(keepends=True)
    if cut == "rows":
        rows.write_bytes(b"".join(lines[:4]))
    elif cut == "half a row":
        rows.write_bytes(b"".join(lines[:4]) + lines[4][:30])
    else:
        os.truncate(video, video.stat().st_size - 1)
    journal = read_journal(tmp_path / "j")
    expected = 5 if cut == "pictures" else 4
    assert journal.columns["action"][:, 0].tolist() == list(range(expected)) and journal.frames == expected
    assert video.stat().st_size == sum(json.loads(line)["bytes"][EYE] for line in lines[:expected])


def test_a_lead_is_written_before_a_correction_and_nothing_else(recording, tmp_path):
    one = recording()
    one.send(range(20), write=False)
    one.send(range(20, 24))
    one.client.close_episode({})
    one.send(range(24, 27), write=False)
    one.client.close_episode({})
    one.end()
    found = numbers(tmp_path / "set", 0)
    assert found == list(range(int(found[0]), 24)) and 6 <= 20 - found[0] <= 7
    read = Dataset(tmp_path / "set")
    assert len(read.episodes) == 1
    shown = [int(p.mean()) for p in read.pictures("eye", 0)]
    assert np.abs(np.array(shown) - [40 + 3 * (k % 60) for k in found]).max() <= 2


def test_held_pictures_are_those_before(recording, tmp_path):
    one = recording()
    one.send([3])
    assert one.client.frame(row(4), None)
    one.send([5])
    one.end()
    shown = [int(p.mean()) for p in Dataset(tmp_path / "set").pictures("eye", 0)]
    assert np.abs(np.array(shown) - [49, 49, 55]).max() <= 2


def test_two_recorders_do_not_write_into_one_dataset(recording, tmp_path):
    recording()
    with pytest.raises(DataError, match="another recorder writes into it"):
        lock_dataset(tmp_path / "set", 0.1)


def held_open():
    """Sockets and shared frames of this process."""
    links = [os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink() and f.exists()]
    return sorted(link for link in links if link.startswith(("socket:", "/memfd:pi0_frames")))


def test_a_recorder_that_does_not_wait_for_the_end_keeps_nothing_of_it_open(recording, tmp_path):
    before = held_open()
    one = recording()
    assert len(held_open()) > len(before)
    one.send(range(5))
    os.kill(one.client.pid, signal.SIGSTOP)
    assert not one.client.close(0.0)
    ending = next(t for t in threading.enumerate() if t.name == "recording's end")
    os.kill(one.client.pid, signal.SIGCONT)
    ending.join(40.0)
    assert not ending.is_alive() and not one.client.alive
    assert held_open() == before
    assert numbers(tmp_path / "set", 0) == list(range(5))


def test_the_size_of_what_waits_is_read_while_it_is_being_saved_and_removed(tmp_path):
    (tmp_path / "stays").mkdir()
    (tmp_path / "stays" / "frames").write_bytes(b"1234567")
    ending = threading.Event()

    def saver():
        while not ending.is_set():
            folders = [tmp_path / f"goes{k}" for k in range(8)]
            for folder in folders:
                folder.mkdir()
                (folder / "frames").write_bytes(b"123")
            for folder in folders:
                shutil.rmtree(folder)

    thread = threading.Thread(target=saver)
    thread.start()
    try:
        found = {bytes_in(tmp_path) for _ in range(500)}
    finally:
        ending.set()
        thread.join()
    assert min(found) >= 7 and max(found) <= 7 + 8 * 3
    assert bytes_in(tmp_path) == 7 and bytes_in(tmp_path / "goes0") == 0


def test_a_dataset_that_goes_on_tells_how_many_episodes_it_has(recording):
    one = recording()
    one.send(range(3))
    one.end()
    assert recording().client.report.expected == 1


def test_a_value_that_does_not_fit_is_refused_before_it_is_sent(recording):
    one = recording()
    with pytest.raises(DataError, match="'action' has a value that is no finite number"):
        one.client.frame({**row(0), "action": np.array([0.0, np.nan])}, {EYE: picture(0)})


def test_another_kind_of_dataset_is_refused_with_what_differs(recording, tmp_path):
    recording().end()
    other = {**FEATURES, "action": {**FEATURES["action"], "names": ["a", "c"]}}
    with pytest.raises(
        DataError, match=r"names of action is \['a', 'c'\], and \['a', 'b'\] in the dataset.*new folder"
    ):
        RecordingClient(RecordingSettings(tmp_path / "set", FPS, other, "robot", 8, 1))


def test_another_robots_numbers_are_not_put_behind_though_they_are_called_the_same(recording, tmp_path):
    one = recording()
    one.send(range(3))
    one.end()
    with pytest.raises(DataError, match="the robot is twin, and robot in the dataset.*new folder"):
        RecordingClient(RecordingSettings(tmp_path / "set", FPS, FEATURES, "twin", 8, 1))
    unnamed = RecordingClient(RecordingSettings(tmp_path / "set", FPS, FEATURES, "unknown", 8, 1))
    assert unnamed.close(40.0)
    assert Dataset(tmp_path / "set").layout.robot_type == "robot" and numbers(tmp_path / "set", 0) == [0, 1, 2]


def test_a_disk_that_becomes_full_ends_the_episode_and_loses_nothing(recording, tmp_path):
    one = recording()
    one.send(range(4))
    one.client.close_episode({})
    one.wait(lambda: one.client.saved)
    one.end()
    everything = recording(min_free=shutil.disk_usage(tmp_path).total * 2)
    everything.wait(lambda: everything.client.report.disk_full)
    everything.send(range(3))
    everything.end()
    assert numbers(tmp_path / "set", 0) == [0, 1, 2, 3] and len(Dataset(tmp_path / "set").episodes) == 1


def test_a_disk_that_is_full_before_the_first_frame_ends_that_episode_and_not_the_process(tmp_path, monkeypatch):
    begun = []

    class FullAtFirst(JournalQueue):
        def __init__(self, *described):
            super().__init__(*described, begin=no_space if not begun else JournalWriter)
            begun.append(self)
            if len(begun) == 1:  # the disk is quicker than the encoder
                with self._changed:
                    assert self._changed.wait_for(lambda: self._failure is not None, 40.0)

    monkeypatch.setattr("pi0_ros.data.episode_stream.JournalQueue", FullAtFirst)
    slots, (ours, theirs) = FrameSlots(FEATURES, 4), Pipe()
    process = RecordingProcess(RecordingSettings(tmp_path / "set", FPS, FEATURES, "robot", 4, 1), slots.fd, theirs)
    for k in range(3):
        ours.send(Frame(row(k) | {"driver": ["hold"]}, slots.put({EYE: picture(k)})))
    ours.close()
    process.run()
    slots.close()
    assert len(begun) == 2 and numbers(tmp_path / "set", 0) == [1, 2]
    assert list((tmp_path / "set/.recording").iterdir()) == []


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_files_that_cannot_grow_keep_the_frames_until_they_can(tmp_path):
    """A write that fails half-way, as on a full disk: the journal keeps its whole frames."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_recording as t; from pathlib import Path\n"
        "import signal, resource; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "s = t.EpisodeStream(Path(sys.argv[2]), t.FEATURES, 10, {}); add = lambda k: s.add(\n"
        "    t.row(k) | {'driver': ['hold']}, {t.EYE: t.picture(k)}, True)\n"
        "add(0); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); k = 1\n"
        "try:\n"
        "    while k < 10**6: add(k); k += 1\n"
        "except OSError: s.journal.end({}); print(s.journal.wait())"
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "j")]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False"]
    taken = read_journal(tmp_path / "j").columns["action"][:, 0].tolist()
    assert len(taken) > 3 and taken == list(range(len(taken)))


def test_a_disk_that_stands_still_holds_up_no_encoder(tmp_path):
    """A second of such frames more than the recorder has slots for; the disk takes none until all have been given."""
    goes_on = threading.Event()

    class Standing(JournalWriter):
        def add(self, frame):
            assert goes_on.wait(60.0)
            super().add(frame)

    journal = JournalQueue(tmp_path / "j", FEATURES, FPS, {}, Standing)
    for k in range(60):
        journal.add(encoded(k))
    goes_on.set()
    journal.end({"outcome": "success"})
    assert journal.wait() and journal.frames == 60
    read = read_journal(tmp_path / "j")
    assert read.columns["action"][:, 0].tolist() == list(range(60)) and read.note["outcome"] == "success"


def test_what_waits_for_a_disk_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("pi0_ros.data.journal_queue.ROOM", 5 * encoded(0).size)
    goes_on, added = threading.Event(), []

    class Standing(JournalWriter):
        def add(self, frame):
            assert goes_on.wait(60.0)
            super().add(frame)

    journal = JournalQueue(tmp_path / "j", FEATURES, FPS, {}, Standing)
    giver = threading.Thread(target=lambda: [(journal.add(encoded(k)), added.append(k)) for k in range(30)])
    giver.start()
    giver.join(0.5)
    assert giver.is_alive() and len(added) <= 6, "five wait, and one is being written"
    goes_on.set()
    giver.join(60.0)
    journal.end({})
    assert journal.wait() and read_journal(tmp_path / "j").frames == 30


def test_an_episode_of_which_nothing_could_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    journal = JournalQueue(tmp_path / "file" / "j", FEATURES, FPS, {})
    with pytest.raises(OSError, match=r"[Nn]ot a directory"):
        for k in range(10**6):
            journal.add(encoded(k))
    journal.end({})
    assert not journal.wait() and (tmp_path / "file").read_text() == "in the way"


def encoded(k):
    return EncodedFrame(row(k) | {"driver": ["hold"]}, {EYE: bytes([k % 256]) * 900}, {})


def test_a_long_episode_is_read_in_little_memory(tmp_path):
    """Eleven minutes of 30 Hz; as Python's objects the rows are 50 MB, as arrays 0.5."""
    journal = JournalQueue(tmp_path / "j", FEATURES, FPS, {})
    journal.add(encoded(7))
    journal.end({})
    assert journal.wait()
    (tmp_path / "j/rows.jsonl").write_bytes((tmp_path / "j/rows.jsonl").read_bytes() * 20_000)
    os.truncate(tmp_path / "j" / f"{EYE}.h264", 900 * 20_000)
    tracemalloc.start()
    read = read_journal(tmp_path / "j")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read.frames == 20_000 and read.columns["driver"][19_999, 0] == "hold" and read.tasks[17] == "touch"
    assert peak < 25e6  # of it 16 are a buffer for the header


def test_orphans_of_a_broken_save_are_taken_away_before_the_next_episode(recording, tmp_path):
    one = recording()
    one.send(range(4))
    one.client.close_episode({})
    one.wait(lambda: one.client.saved)
    one.end()
    folder = tmp_path / "set"
    info = (folder / "meta/info.json").read_text()
    two = recording()
    two.send(range(10, 13))
    two.end()
    (folder / "meta/info.json").write_text(info)  # as if the power had gone just before it was replaced
    three = recording()
    three.send(range(70, 72))
    three.end()
    assert numbers(folder, 0) == [0, 1, 2, 3] and numbers(folder, 1) == [70, 71]
    rows = [v for f in (folder / "data").rglob("*.parquet") for v in pq.read_table(f)["episode_index"].to_pylist()]
    assert sorted(rows) == [0] * 4 + [1] * 2
    assert len(list((folder / "videos").rglob("*.mp4"))) == 2


# --- the pure parts ---


def test_one_missing_frame_is_filled_and_two_end_the_episode():
    clock = FrameClock(30)
    clock.begin(100.0)
    assert clock.take() == 0 and not clock.miss() and clock.take() == 1
    assert clock.moment == pytest.approx(100.1) and clock.frames == 3
    assert not clock.miss() and clock.miss()


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        # hold, autonomy x2, teleop x2, hold, teleop, autonomy, stopped
        (RecordMode.EVERYTHING, "wwwwwwwww"),
        (RecordMode.CORRECTIONS, "lllwwllll"),
        (RecordMode.POLICY, "swwssssws"),
    ],
)
def test_what_is_kept_depends_on_who_drives(mode, kept):
    chosen = FrameSelection(mode)
    drivers = ["hold", "autonomy", "autonomy", "teleop", "teleop", "hold", "teleop", "autonomy", "stopped"]
    choices = [chosen.choose(driver) for driver in drivers]
    assert "".join({Keep.WRITE: "w", Keep.LEAD: "l", Keep.SKIP: "s"}[c.keep] for c in choices) == kept
    ends = [k for k, c in enumerate(choices) if c.ends]
    assert ends == {"everything": [], "corrections": [5], "policy": [3, 8]}[mode]
    assert [c.intervention for c in choices][:5] == [False, False, False, True, True]

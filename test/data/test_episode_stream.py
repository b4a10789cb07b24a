"""Frames on their way to a journal, and episodes on their way to the dataset."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av")

from pi0_ros.data import episode_saver, episode_stream
from pi0_ros.data.episode_saver import EpisodeSaved, EpisodeSaver, Problem, content_of
from pi0_ros.data.episode_stream import EpisodeStream
from pi0_ros.data.errors import DataError

FEATURES = {
    "eye": {"dtype": "video", "shape": (2, 2, 3)},
    "hand": {"dtype": "video", "shape": (4, 2, 3)},
    "pose": {"dtype": "float32", "shape": (1,)},
}


class Journal:
    """Notes what is written; `full`: it cannot be."""

    def __init__(self, *what, full=False):
        self.made, self.written, self.full = what, [], full

    @property
    def frames(self):
        return len(self.written)

    def add(self, frame):
        if self.full:
            raise OSError(28, "No space left on device")
        self.written.append(frame)


class Encoder:
    """Bytes that say which camera's which picture they are."""

    def __init__(self, fps, shape):
        self.size, self.count, self.fps = shape[0], 0, fps

    def add(self, picture):
        self.count += 1
        return f"{self.size}.{self.count}:{int(picture[0, 0, 0])}".encode()


@pytest.fixture
def stream(monkeypatch):
    def made(lead=0):
        monkeypatch.setattr(episode_stream, "StreamEncoder", Encoder)
        monkeypatch.setattr(episode_stream, "JournalQueue", Journal)
        return EpisodeStream(Path("j"), FEATURES, 15, {"by": "me"}, lead)

    return made


def shown(shade):
    return {"eye": np.full((2, 2, 3), shade, np.uint8), "hand": np.full((4, 2, 3), shade + 100, np.uint8)}


def rows(stream):
    return [frame.row["k"] for frame in stream.journal.written]


def test_each_frame_has_its_own_pictures_or_those_before_and_their_levels_are_counted(stream):
    one = stream()
    assert one.journal is None and one.frames == 0
    for k, pictures in enumerate((shown(5), None, shown(7))):
        one.add({"k": k}, pictures, True)
    assert one.journal.made == (Path("j"), FEATURES, 15, {"by": "me"}) and one.frames == 3
    assert rows(one) == [0, 1, 2]
    assert [f.pictures for f in one.journal.written] == [
        {"eye": b"2.1:5", "hand": b"4.1:105"}, {"eye": b"2.2:5", "hand": b"4.2:105"}, {"eye": b"2.3:7", "hand": b"4.3:107"},
    ]  # fmt: skip
    eye, hand = one.statistics["eye"], one.statistics["hand"]
    assert (eye.frames, hand.frames) == (3, 3)
    assert eye.counts[1, [5, 7]].tolist() == [8, 4] and hand.counts[2, [105, 107]].tolist() == [16, 8]


def test_pictures_are_those_of_the_moment_though_their_memory_is_used_again(stream):
    one, pictures = stream(), shown(5)
    one.add({"k": 0}, pictures, True)
    pictures["eye"][:] = 9
    one.add({"k": 1}, None, True)
    assert one.journal.written[1].pictures["eye"] == b"2.2:5"


@pytest.mark.parametrize(("lead", "kept"), [(0, [8]), (1, [6, 7, 8]), (3, [4, 5, 6, 7, 8]), (20, list(range(9)))])
def test_a_lead_begins_with_a_key_frame_and_is_written_before_the_first_frame_that_is(stream, lead, kept):
    """Every second picture is a key frame: of eight frames, so many as asked for and at most one more."""
    one = stream(lead)
    for k in range(8):
        one.add({"k": k}, shown(k), False)
    assert one.journal is None and one.frames == 0 and one.statistics["eye"].frames == 0
    one.add({"k": 8}, shown(8), True)
    assert rows(one) == kept and one.statistics["eye"].frames == len(kept)
    one.add({"k": 9}, None, False)
    one.add({"k": 10}, None, True)
    assert rows(one) == [*kept, 10], "what is not to be written behind a beginning is none"


def test_time_that_encoding_takes_is_added_up(stream, monkeypatch):
    one, clock = stream(), iter([1.0, 1.5, 7.0, 7.25])
    monkeypatch.setattr("time.thread_time", lambda: next(clock))
    one.add({"k": 0}, shown(1), True)
    one.add({"k": 1}, shown(1), True)
    assert one.seconds == 0.75


def test_a_frame_that_could_not_be_written_is_not_in_the_statistics(stream):
    one = stream()
    one.add({"k": 0}, shown(1), True)
    one.journal.full = True
    with pytest.raises(OSError, match="No space"):
        one.add({"k": 1}, shown(1), True)
    assert one.statistics["eye"].frames == 1


class Files:
    """A dataset that takes episodes, as long as it is not told not to."""

    features, fps = FEATURES, 15

    def __init__(self, episodes=3, notes=None):
        self.episodes, self.content, self.labels = episodes, [], []
        self.notes, self.problems = notes or {}, []
        self.log = SimpleNamespace(read=lambda: self.notes, label=lambda *what: self.labels.append(what))

    def append(self, content):
        if self.problems and (problem := self.problems.pop(0)):
            raise problem
        self.content.append(content)
        self.episodes += 1
        return self.episodes - 1


@pytest.fixture
def saver(monkeypatch):
    """A saver of journals of so many frames as their names say; it does not wait between two tries."""
    dropped, told = [], []
    monkeypatch.setattr(episode_saver, "RETRY", 0.0)
    monkeypatch.setattr(episode_saver, "drop_journal", lambda folder: dropped.append(folder.name))
    monkeypatch.setattr(episode_saver, "content_of", lambda journal, pictures: (journal.folder.name, pictures))
    monkeypatch.setattr(episode_saver.EpisodeSaver, "_look", lambda self, journal, key: f"looked at {key}")

    def journal(folder, features, fps):
        assert (features, fps) == (FEATURES, 15)
        frames, _, how = folder.name.partition("-")
        return SimpleNamespace(folder=folder, features=features, frames=int(frames), note={"recovered": how == "r"})

    monkeypatch.setattr(episode_saver, "checked_journal", journal)

    def made(**more):
        files = Files(**more)
        return EpisodeSaver(files, told.append), files, told, dropped

    return made


def folder(place: Path, name: str) -> Path:
    (place / name).mkdir()
    return place / name


def test_episodes_are_saved_in_their_order_with_their_numbers_and_journals_go(saver, tmp_path):
    one, files, told, dropped = saver()
    assert one.expected == 3
    assert [one.add(folder(tmp_path, n), {"eye": "known"}) for n in ("5", "7-r")] == [3, 4] and one.expected == 5
    assert one.add(folder(tmp_path, "2")) == 5
    one.label(4, {"outcome": "success"})
    done: list[str] = []
    one.wait_for(lambda: done.append("waited") or 3)
    assert one.finish(60.0) is True
    assert files.content == [
        ("5", {"eye": "known"}), ("7-r", {"eye": "known"}), ("2", {"eye": "looked at eye", "hand": "looked at hand"}),
    ]  # fmt: skip
    saved = [t for t in told if isinstance(t, EpisodeSaved)]
    assert saved == [EpisodeSaved(3, 5, False), EpisodeSaved(4, 7, True), EpisodeSaved(5, 2, False)]
    assert files.labels == [(4, {"outcome": "success"})] and done == ["waited"] and dropped == ["5", "7-r", "2"]
    assert {t.text for t in told if isinstance(t, Problem)} == {""}


def test_pictures_are_looked_at_again_if_not_every_frame_was_written(saver, tmp_path):
    one, files, *_ = saver()
    one.add(folder(tmp_path, "5"), {"eye": "known"}, lambda: True)
    one.add(folder(tmp_path, "6"), {"eye": "known"}, lambda: False)
    one.finish(60.0)
    assert [pictures["eye"] for _, pictures in files.content] == ["known", "looked at eye"]


def test_what_was_saved_before_is_not_saved_again_and_what_has_no_frame_is_said(saver, tmp_path):
    one, files, told, dropped = saver(notes={1: {"journal": "5"}, 2: {}})
    one.add(folder(tmp_path, "5"), {})
    one.add(folder(tmp_path, "0"), {})
    one.add(tmp_path / "4", {})
    one.add(folder(tmp_path, "8"), {})
    one.finish(60.0)
    assert [name for name, _ in files.content] == ["8"] and dropped == ["5", "0", "8"]
    assert one.expected == files.episodes == 4, "those three are none"
    problems = [t.text for t in told if isinstance(t, Problem) and t.text]
    assert len(problems) == 2 and "it has not one whole frame" in problems[0]
    assert "could not be saved, its files are kept: not one frame of it could be written" in problems[1]


def test_an_episode_that_was_saved_before_is_not_counted_twice(saver, tmp_path):
    one, files, *_ = saver(notes={2: {"journal": "5"}})
    one.add(folder(tmp_path, "5"), {})
    one.finish(60.0)
    assert one.expected == files.episodes == 3


def test_a_disk_that_is_full_is_tried_again_and_an_odd_episode_keeps_no_other_from_being_saved(saver, tmp_path):
    one, files, told, _ = saver()
    files.problems = [*[OSError(28, "No space left on device")] * 2, None, DataError("odd")]
    hold = threading.Event()
    one.wait_for(hold.wait)
    for name in ("5", "6", "7"):
        one.add(folder(tmp_path, name), {})
    one.label(3, {"outcome": "success"})  # which is no episode that is waited for
    one.wait_for(threading.Event().is_set)
    hold.set()
    until = threading.Event()
    one.wait_for(until.set)
    assert until.wait(60.0)
    assert [name for name, _ in files.content] == ["5", "7"], "5 is saved at the third try, 6 is odd"
    assert one.expected == files.episodes == 5 == one.add(folder(tmp_path, "9"), {})
    said = [t.text for t in told if isinstance(t, Problem)]
    assert [text.partition(":")[0] for text in said if text] == [
        "an episode is not in the dataset yet", "an episode is not in the dataset yet",
        "an episode could not be saved, its files are kept",
    ]  # fmt: skip
    assert "No space left on device; it is kept and tried again" in said[1] and said[-1] == ""
    assert one.finish(60.0)


def test_at_the_end_a_full_disk_is_tried_once_more(saver, tmp_path):
    one, files, *_ = saver()
    files.problems = [OSError(28, "full")] * 9
    hold = threading.Event()
    one.wait_for(hold.wait)
    one.add(folder(tmp_path, "5"), {})
    one.add(folder(tmp_path, "6"), {})
    one._ending.set()
    hold.set()
    assert one.finish(60.0) and len(files.problems) == 7 and not files.content


def test_a_saver_that_is_still_at_it_says_so(saver):
    one, *_ = saver()
    hold = threading.Event()
    one.wait_for(hold.wait)
    assert one.finish(0.0) is False
    hold.set()
    assert one.finish(60.0) is True


def test_a_journal_is_an_episode_with_the_name_of_its_folder_in_its_note(tmp_path):
    features = {"pose": {"dtype": "float32", "shape": (1,), "names": None}, "eye": FEATURES["eye"]}
    journal = SimpleNamespace(
        folder=tmp_path / "0017", frames=2, features=features, columns={"pose": np.array([[1.0], [2.0]], np.float32)},
        tasks=["a", "b"], note={"by": "me"}, video=lambda key: tmp_path / f"{key}.h264",
    )  # fmt: skip
    content = content_of(journal, {"eye": "statistics"})
    assert content.note == {"by": "me", "journal": "0017"} and content.tasks == ["a", "b"] and content.length == 2
    assert [(k, p.file.name, p.frames, p.start) for k, p in content.videos.items()] == [("eye", "eye.h264", 2, 0)]
    assert content.pictures == {"eye": "statistics"} and content.table.column("pose").to_pylist() in (
        [1.0, 2.0],
        [[1.0], [2.0]],
    )


def test_a_saver_that_waits_for_room_on_the_disk_ends_at_once_when_it_is_to(saver, tmp_path, monkeypatch):
    """It would try again in an hour."""
    monkeypatch.setattr(episode_saver, "RETRY", 3600.0)
    one, files, told, _ = saver()
    files.problems = [OSError(28, "full")] * 9
    one.add(folder(tmp_path, "5"), {})
    assert one.finish(20.0) is True
    assert len(files.problems) == 7 and [type(t) for t in told] == [Problem, Problem]


@pytest.mark.parametrize("broken", [False, True])
def test_a_recovered_video_is_looked_at_in_a_file_of_its_own_that_goes_again(tmp_path, monkeypatch, broken):
    made = []

    def concatenated(parts, target, fps):
        made.append(([(p.file.name, p.frames, p.start) for p in parts], target.parent, fps))
        target.write_bytes(b"film")

    def looked_at(file, frames, fps):
        assert file.read_bytes() == b"film" and (frames, fps) == (7, 15)
        if broken:
            raise DataError("cannot be decoded")
        return {"mean": 3}

    monkeypatch.setattr("pi0_ros.data.video.concatenate", concatenated)
    monkeypatch.setattr(episode_saver, "sampled_statistics", looked_at)
    journal = SimpleNamespace(folder=tmp_path, frames=7, fps=15, video=lambda key: tmp_path / f"{key}.h264")
    if broken:
        with pytest.raises(DataError):
            EpisodeSaver._look(None, journal, "eye")
    else:
        assert EpisodeSaver._look(None, journal, "eye") == {"mean": 3}
    assert made == [([("eye.h264", 7, 0)], tmp_path, 15)] and list(tmp_path.iterdir()) == []

"""The files of an episode while it is recorded."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from pi0_ros.data import journal, journal_queue
from pi0_ros.data.errors import DataError
from pi0_ros.data.journal import EncodedFrame, JournalWriter, checked_journal, drop_journal, end_journal, read_journal
from pi0_ros.data.recording_process import bytes_in, left_behind

FEATURES = {
    "eye": {"dtype": "video", "shape": [4, 6, 3], "names": None},
    "pose": {"dtype": "float32", "shape": [2], "names": ["x", "y"]},
    "word": {"dtype": "string", "shape": [1], "names": None},
}


def frame(k, size=10):
    row = {"pose": np.array([k, -k], np.float32), "word": [f"w{k % 3}"], "task": "go" if k < 4 else "stop"}
    return EncodedFrame(row, {"eye": bytes([k % 256] * size)}, {})


def written(folder, count, **header):
    writer = JournalWriter(folder, FEATURES, header.get("fps", 10), header.get("note", {}))
    for k in range(count):
        writer.add(frame(k, 3 + k % 5))
    writer.close()
    return writer


def test_a_frame_counts_as_its_pictures_and_a_thousand_bytes():
    assert EncodedFrame({}, {"eye": b"x" * 30, "wrist": b"y" * 12}, {}).size == 1042


def test_what_was_written_is_read_in_order_whatever_the_number_of_blocks(tmp_path):
    """Rows are put together in blocks of 500."""
    for count in (1, 499, 500, 501, 1003):
        writer = written(tmp_path / str(count), count, note={"robot": "arm"})
        end_journal(tmp_path / str(count), {"outcome": "success"})
        found = read_journal(tmp_path / str(count))
        assert found.frames == writer.frames == count and found.note == {"robot": "arm", "outcome": "success"}
        assert found.columns["pose"][:, 1].tolist() == [-k for k in range(count)]
        assert found.columns["word"][:, 0].tolist() == [f"w{k % 3}" for k in range(count)]
        assert found.tasks == ["go" if k < 4 else "stop" for k in range(count)]
        assert found.video("eye").stat().st_size == sum(3 + k % 5 for k in range(count))


def test_an_episode_whose_end_was_not_noted_is_a_recovered_one(tmp_path):
    written(tmp_path / "j", 3, note={"robot": "arm"})
    assert read_journal(tmp_path / "j").note == {"robot": "arm", "recovered": True}


def test_the_bytes_of_a_journal_are_those_of_lines_and_pictures(tmp_path):
    writer = written(tmp_path / "j", 6)
    lines = (tmp_path / "j/rows.jsonl").read_bytes()
    assert writer.bytes == len(lines) - 6 + sum(3 + k % 5 for k in range(6))
    assert bytes_in(tmp_path / "j") == sum(f.stat().st_size for f in (tmp_path / "j").iterdir())


def test_a_journal_of_another_rate_or_of_other_features_does_not_fit(tmp_path):
    written(tmp_path / "j", 2, fps=30)
    assert checked_journal(tmp_path / "j", FEATURES, 30).frames == 2
    for features, fps in ((FEATURES, 10), ({k: f for k, f in FEATURES.items() if k != "word"}, 30)):
        with pytest.raises(DataError, match="was recorded with other features or another rate"):
            checked_journal(tmp_path / "j", features, fps)


def test_journals_that_were_left_are_saved_in_the_order_in_which_they_were_begun(tmp_path):
    numbers = [f"{n:020d}" for n in np.random.default_rng(3).permutation(40)]
    for number in numbers:
        (tmp_path / number).mkdir()
    (tmp_path / "lock").touch()
    assert [f.name for f in left_behind(tmp_path)] == sorted(numbers)


def test_a_journal_that_is_gone_already_can_be_dropped(tmp_path):
    written(tmp_path / "j", 2)
    for _ in range(2):
        drop_journal(tmp_path / "j")
        assert not (tmp_path / "j").exists()


def test_a_journal_is_begun_in_a_folder_that_is_not_there_yet(tmp_path):
    written(tmp_path / "deep/j", 1)
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path / "deep/j", FEATURES, 10, {})
    assert read_journal(tmp_path / "deep/j").frames == 1


@pytest.mark.parametrize(
    ("rows", "film", "frames"),
    [
        (b"", 0, 3),
        (b'{"row": {}', 0, 3),  # a line that was not ended
        (b"no json\n", 0, 3),
        (b"", -1, 2),  # the last picture lacks a byte
        (b"", 7, 3),  # more of a picture than a line says
    ],
)
def test_a_frame_counts_if_its_line_is_whole_and_its_pictures_are_there(tmp_path, rows, film, frames):
    written(tmp_path / "j", 3)
    with (tmp_path / "j/rows.jsonl").open("ab") as lines:
        lines.write(rows)
    file = tmp_path / "j/eye.h264"
    file.write_bytes(file.read_bytes()[:film] if film < 0 else file.read_bytes() + bytes(film))
    found = read_journal(tmp_path / "j")
    assert found.frames == frames and file.stat().st_size == sum(3 + k for k in range(frames))


def test_a_journal_without_a_picture_file_or_a_row_has_no_frame(tmp_path):
    written(tmp_path / "j", 2)
    (tmp_path / "j/eye.h264").unlink()
    assert read_journal(tmp_path / "j").frames == 0
    written(tmp_path / "k", 2)
    (tmp_path / "k/rows.jsonl").unlink()
    found = read_journal(tmp_path / "k")
    assert found.frames == 0 and found.columns["pose"].shape[0] == 0 and found.video("eye").stat().st_size == 0


def test_what_is_synced_is_every_file_and_after_the_end_none(tmp_path, monkeypatch):
    synced = []
    writer = JournalWriter(tmp_path / "j", FEATURES, 10, {})
    names = {writer._files["eye"].fileno(): "eye", writer._rows.fileno(): "rows"}
    monkeypatch.setattr(journal.os, "fdatasync", lambda number: synced.append(names[number]))
    writer.sync()
    writer.close()
    writer.sync()
    assert synced == ["eye", "rows"]


class Blocked(JournalWriter):
    """Begins when it may."""

    may = threading.Event()

    def __init__(self, *what):
        assert self.may.wait(60.0)
        super().__init__(*what)


def test_frames_wait_for_the_disk_while_a_byte_of_room_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_queue, "ROOM", 2 * frame(0).size + 1)
    monkeypatch.setattr(Blocked, "may", threading.Event())
    queue, added = journal_queue.JournalQueue(tmp_path / "j", FEATURES, 10, {}, Blocked), []
    giver = threading.Thread(target=lambda: [(queue.add(frame(k)), added.append(k)) for k in range(4)], daemon=True)
    giver.start()
    with queue._changed:
        assert queue._changed.wait_for(lambda: len(queue._waiting) == 3, 10.0), "two, and one for the last byte"
    giver.join(0.05)
    assert added[-1] == 2 and giver.is_alive()
    Blocked.may.set()
    giver.join(60.0)
    queue.end({"outcome": "success"})
    assert queue.wait() is True and queue.frames == 4
    found = read_journal(tmp_path / "j")
    assert found.frames == 4 and found.note == {"outcome": "success"}


@pytest.mark.parametrize(("count", "how", "left"), [(0, "end", False), (2, "end", True), (2, "drop", False)])
def test_of_a_journal_without_a_frame_or_that_is_dropped_nothing_is_left(tmp_path, count, how, left):
    queue = journal_queue.JournalQueue(tmp_path / "j", FEATURES, 10, {})
    for k in range(count):
        queue.add(frame(k))
    queue.end({}) if how == "end" else queue.drop()
    assert queue.wait() is True and (tmp_path / "j").exists() == left
    assert queue._journal._rows.closed


def test_a_failure_to_write_is_raised_by_the_next_frame_and_what_was_written_stays(tmp_path):
    class Full(JournalWriter):
        def add(self, frame):
            if self.frames == 2:
                raise OSError(28, "No space left on device")
            super().add(frame)

    queue = journal_queue.JournalQueue(tmp_path / "j", FEATURES, 10, {}, Full)
    with pytest.raises(OSError, match="No space left"):
        for k in range(10**6):
            queue.add(frame(k))
    queue.end({})
    assert queue.wait() is False and read_journal(tmp_path / "j").frames == 2


def test_a_queue_syncs_the_journal_that_it_has_begun(tmp_path):
    queue = journal_queue.JournalQueue(tmp_path / "j", FEATURES, 10, {})
    queue.end({})
    queue.wait()
    synced = []
    queue._journal = SimpleNamespace(sync=lambda: synced.append(True))
    queue.sync()
    queue._journal = None
    queue.sync()
    assert synced == [True]

"""The files of an episode while it is recorded."""

import numpy as np
import pytest

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

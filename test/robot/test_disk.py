"""A full disk is one sentence that names what was being written, whichever library noticed it."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError

from pi0_ros.cli import one_line
from pi0_ros.robot import disk
from pi0_ros.robot.disk import (
    DiskFull,
    check_writable,
    disk_full,
    full_disk_line,
    full_place,
    is_disk_full,
    naming_full_disk,
)
from pi0_ros.robot.errors import UserError

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")


# Libraries get the device opened and never its name: pyarrow removes what it could not write, safetensors renames onto it.
def by_python():
    with FULL.open("w") as file:
        file.write("x" * 10)


def by_numpy():
    with FULL.open("wb") as file:
        np.save(file, np.arange(10_000.0))


def by_arrow():
    with FULL.open("wb", buffering=0) as file:
        pq.write_table(pa.table({"a": [1.5, 2.5]}), file)


def by_safetensors():
    raise SafetensorError("I/O error: No space left on device (os error 28)")


@needs_full
@pytest.mark.parametrize("write", [by_python, by_numpy, by_arrow, by_safetensors])
def test_a_full_disk_is_told_with_the_place_and_the_way_out(write):
    with pytest.raises(DiskFull) as full, naming_full_disk(Path("/data/runs/seven")):
        write()
    told = one_line(full.value)
    assert told.startswith("/d") and " MB free); make room, or give a place on another disk" in told
    assert "/data/runs/seven" in told or str(FULL) in told
    assert isinstance(full.value, UserError) and isinstance(full.value, OSError)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_the_system_names_goes_before_the_folder(number, tmp_path):
    with pytest.raises(DiskFull, match=f"^{tmp_path}/two: the disk is full"), naming_full_disk(tmp_path):
        raise OSError(number, os.strerror(number), "/source/one", None, str(tmp_path / "two"))


def test_who_names_the_file_first_is_not_corrected(tmp_path):
    with (
        pytest.raises(DiskFull, match="info.json: the disk is full"),
        naming_full_disk(tmp_path),
        naming_full_disk(tmp_path / "info.json"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied", "/a"), ValueError("nothing of the kind")])
def test_other_errors_stay_what_they_are(error):
    assert not is_disk_full(error)
    with pytest.raises(type(error)) as same, naming_full_disk(Path("/b")):
        raise error
    assert same.value is error


def test_a_full_disk_that_no_command_names_is_still_a_sentence():
    told = one_line(OSError(errno.ENOSPC, "No space left on device"))
    assert told.startswith("the disk is full: make room where this command writes, or in /")
    assert full_disk_line(OSError(errno.ENOSPC, "No space left on device", "/a/b")).startswith("/a/b: the disk is full")


def test_whether_a_file_can_be_written_is_found_out_without_leaving_one(tmp_path):
    check_writable(tmp_path / "made" / "inside" / "result.json")
    assert not list((tmp_path / "made" / "inside").iterdir())
    (tmp_path / "kept").write_text("kept")
    check_writable(tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "kept"
    with pytest.raises(OSError):
        check_writable(tmp_path)


def test_the_room_that_is_left_is_that_of_the_nearest_folder_that_is_there(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        disk.shutil, "disk_usage", lambda place: (asked.append(place), SimpleNamespace(free=12_345_678))[1]
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").mkdir()
    for place in (tmp_path / "made", tmp_path / "made" / "a" / "b", Path("made") / "c", Path("d")):
        assert str(disk_full(place)).startswith(f"{place}: the disk is full (12.3 MB free); make room")
    assert asked == [tmp_path / "made"] * 3 + [tmp_path]


@pytest.mark.parametrize(
    ("error", "full", "place"),
    [
        (OSError(errno.ENOSPC, "x", "/a"), True, Path("/a")),
        (OSError(errno.EDQUOT, "x", "/a", None, "/b"), True, Path("/b")),
        (OSError(errno.ENOSPC, "x", b"/a"), True, Path("/a")),
        (OSError(errno.ENOSPC, "x", Path("/a")), True, Path("/a")),
        (OSError(errno.ENOSPC, "x", 3), True, None),  # a file descriptor
        (OSError(errno.ENOSPC, "x"), True, None),
        (disk_full(Path("/a")), True, Path("/a")),
        (DiskFull("somewhere"), True, None),
        (ValueError("10 requested and 5 written"), True, None),
        (RuntimeError("IO: Disk quota exceeded (os error 122)"), True, None),
        (OSError(errno.EACCES, "x", "/a"), False, Path("/a")),
        (ValueError("requested and written"), False, None),
    ],
)
def test_an_error_says_whether_a_disk_is_full_and_what_was_written(error, full, place):
    assert is_disk_full(error) is full and full_place(error) == place


def test_of_a_full_disk_without_a_name_the_place_of_the_block_is_told():
    for error in (OSError(errno.ENOSPC, "x"), ValueError("10 requested and 5 written")):
        with pytest.raises(DiskFull, match="^/b: the disk is full") as full, naming_full_disk(Path("/b")):
            raise error
        assert full.value.place == Path("/b") and full.value.__cause__ is error
    first = disk_full(Path("/a"))
    with pytest.raises(DiskFull) as same, naming_full_disk(Path("/b")):
        raise first
    assert same.value is first

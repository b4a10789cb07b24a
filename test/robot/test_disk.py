"""A full disk is one sentence that names what was being written, whichever library noticed it."""

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError

from pi0_ros.cli import one_line
from pi0_ros.robot.disk import DiskFull, check_writable, full_disk_line, is_disk_full, naming_full_disk
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

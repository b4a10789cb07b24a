"""What is written beside and then put in its place: whatever ends the writing, the old file or folder is still whole."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pi0_ros.robot import replacing as module
from pi0_ros.robot.disk import DiskFull
from pi0_ros.robot.replacing import put_in_place, replacing, replacing_folder, write_whole

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")

KILLED = """
import os, signal, sys
from pathlib import Path
from pi0_ros.robot.replacing import replacing, replacing_folder
target = Path(sys.argv[2])
if sys.argv[1] == "file":
    with replacing(target) as new:
        new.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
with replacing_folder(target) as partial:
    partial.mkdir()
    (partial / "a").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(kind, target):
    done = subprocess.run([sys.executable, "-c", KILLED, kind, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL


def names(folder):
    return sorted(f.name for f in folder.iterdir())


def folder_of(place, text):
    with replacing_folder(place) as partial:
        partial.mkdir()
        (partial / "a").write_text(text)


def test_a_process_killed_before_the_file_is_in_its_place_leaves_the_old_one(tmp_path):
    file = tmp_path / "state.json"
    write_whole(file, "old")
    killed_while_writing("file", file)
    assert file.read_text() == "old"
    write_whole(file, "new π")
    assert file.read_text(encoding="utf-8") == "new π" and names(tmp_path) == ["state.json"]


def test_a_process_killed_before_the_folder_is_in_its_place_leaves_the_old_one(tmp_path):
    target = tmp_path / "checkpoint"
    folder_of(target, "old")
    killed_while_writing("folder", target)
    assert (target / "a").read_text() == "old" and names(tmp_path) == ["checkpoint", "checkpoint.partial"]
    folder_of(target, "new")
    assert (target / "a").read_text() == "new" and names(tmp_path) == ["checkpoint"]


@needs_full
def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path):
    file = tmp_path / "report.json"
    write_whole(file, "old")
    (tmp_path / ".report.new.json").symlink_to(FULL)
    with pytest.raises(DiskFull, match=f"^{file}: the disk is full") as full:
        write_whole(file, "new")
    assert full.value.place == file
    assert file.read_text() == "old" and names(tmp_path) == ["report.json"]


def test_a_full_disk_within_a_folder_names_the_folder_that_the_user_knows(tmp_path):
    target = tmp_path / "kept"
    folder_of(target, "old")
    for error in (OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded")):
        with (
            pytest.raises(DiskFull, match=f"^{target}: the disk is full"),
            replacing_folder(target) as partial,
            replacing(partial / "meta" / "info.json"),
        ):
            raise error
    assert (target / "a").read_text() == "old" and names(tmp_path) == ["kept"]


def test_a_full_disk_elsewhere_is_named_as_what_it_is(tmp_path):
    with pytest.raises(DiskFull, match="^/tmp/between: the disk is full"), replacing_folder(tmp_path / "kept"):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/between")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError("no number"), KeyboardInterrupt()])
def test_any_other_end_leaves_the_old_one_and_nothing_beside_it(tmp_path, error):
    file, folder = tmp_path / "f.json", tmp_path / "d"
    write_whole(file, "old")
    folder_of(folder, "old")
    with pytest.raises(type(error)) as same, replacing(file) as new:
        new.write_text("half")
        raise error
    assert same.value is error
    with pytest.raises(type(error)) as same, replacing_folder(folder) as partial:
        partial.mkdir()
        raise error
    assert same.value is error
    assert file.read_text() == (folder / "a").read_text() == "old" and names(tmp_path) == ["d", "f.json"]


def test_what_is_written_is_on_the_disk_before_it_gets_its_name_and_has_the_ending_of_it(tmp_path, monkeypatch):
    done, file = [], tmp_path / "made" / "film.part.mp4"
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(module.os, "fsync", lambda fd: (done.append("on the disk"), fsync(fd)))
    monkeypatch.setattr(module.os, "replace", lambda a, b: (done.append("named"), replace(a, b)))
    with replacing(file) as new:
        assert new.parent == file.parent and new.suffix == ".mp4" and new.name.startswith(".")
        new.write_bytes(b"12")
    assert done == ["on the disk", "named"] and file.read_bytes() == b"12"


def test_a_folder_given_as_a_relative_path_is_replaced_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(Path("here"), "one")
    folder_of(Path("here"), "two")
    assert (tmp_path / "here" / "a").read_text() == "two" and names(tmp_path) == ["here"]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_a_killed_replacement_has_left_is_no_part_of_the_next(tmp_path, monkeypatch, at_once):
    if not at_once:
        monkeypatch.setattr(module, "_exchange", lambda one, other: False)
    partial, target = tmp_path / "d.partial", tmp_path / "d"
    for place, text in ((partial, "new"), (target, "old"), (tmp_path / "d.old", "oldest")):
        place.mkdir()
        (place / text).write_text(text)
    put_in_place(partial, target)
    assert names(tmp_path) == ["d"] and names(target) == ["new"]


def test_two_folders_change_their_names_at_once_so_that_a_whole_one_is_there_at_every_moment(tmp_path, monkeypatch):
    partial, target = tmp_path / "d.partial", tmp_path / "d"
    for place, text in ((partial, "new"), (target, "old")):
        place.mkdir()
        (place / text).write_text(text)
    if not exchanges_names(tmp_path):
        pytest.skip("needs a file system that exchanges names (ext4, XFS, Btrfs, tmpfs)")
    monkeypatch.setattr(Path, "rename", lambda *names: pytest.fail("one name after the other"))
    put_in_place(partial, target)
    assert names(tmp_path) == ["d"] and names(target) == ["new"]
    monkeypatch.chdir(tmp_path)  # names may be relative too
    folder_of(Path("d"), "newer")
    assert names(tmp_path) == ["d"] and (target / "a").read_text() == "newer"


def exchanges_names(folder):
    """Whether renameat2(2) exchanges two names there: AT_FDCWD is -100, RENAME_EXCHANGE 2 (linux/fcntl.h, linux/fs.h)."""
    one, other = folder / "probe_one", folder / "probe_other"
    one.mkdir()
    other.mkdir()
    try:
        rename = ctypes.CDLL(None).renameat2
        return rename(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0
    except (AttributeError, OSError):
        return False
    finally:
        one.rmdir()
        other.rmdir()


def test_the_folders_of_a_file_are_made_with_it(tmp_path):
    write_whole(tmp_path / "a" / "b" / "c" / "f.json", "new")
    assert (tmp_path / "a" / "b" / "c" / "f.json").read_text() == "new"
    write_whole(tmp_path / "a" / "f.json", "beside")
    assert names(tmp_path / "a") == ["b", "f.json"]

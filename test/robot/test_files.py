"""Files that others wrote: only regular ones, never more than expected, in the encoding that they say."""

import os
import socket
from pathlib import Path

import pytest

from pi0_ros.robot.errors import RobotError, UserError
from pi0_ros.robot.files import (
    check_regular,
    decode,
    encoding_of,
    is_file,
    is_folder,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    short,
)
from pi0_ros.robot.yaml_nodes import read_plain


def of(folder, data, name="a.bin"):
    file = folder / name
    file.write_bytes(data)
    return file


def test_as_many_bytes_as_are_allowed_are_read_and_not_one_more(tmp_path):
    assert read_bytes(of(tmp_path, b"12345"), 5) == b"12345" and check_regular(tmp_path / "a.bin") == 5
    with pytest.raises(RobotError, match=r"a\.bin: has 6 bytes; more than 5 are not read"):
        read_bytes(of(tmp_path, b"123456"), 5)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux has files that say they are empty")
def test_a_file_that_has_more_than_it_says_is_not_read_on():
    assert check_regular(Path("/proc/self/status")) == 0
    with pytest.raises(RobotError, match="/proc/self/status: more than 10 bytes are not read"):
        read_bytes(Path("/proc/self/status"), 10)


def test_what_is_no_regular_file_is_told_as_what_it_is_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        kinds = (("pipe", "a pipe"), ("socket", "a socket"), (".", "a folder"), ("/dev/null", "a device"))
        for name, kind in kinds:
            with pytest.raises(RobotError, match=f"is {kind}; a regular file is needed"):
                check_regular(tmp_path / name)
    for name, words in (("gone", "gone: cannot be read: No such file or directory"), ("a\0b", "is no file name")):
        with pytest.raises(RobotError, match=words):
            read_bytes(tmp_path / name, 9)


def test_the_error_is_of_the_kind_that_was_asked_for(tmp_path):
    class Damaged(UserError):
        pass

    for data in (b"123456", b"version https://git-lfs.github.com/spec/v1"):
        with pytest.raises(Damaged):
            read_bytes(of(tmp_path, data), 5 if data.startswith(b"1") else 99, Damaged)
    with pytest.raises(Damaged, match=r"is not text in UTF-8 \(byte 2\)"):
        read_text(of(tmp_path, b"ab\xffc"), 9, Damaged)
    with pytest.raises(Damaged, match="not valid JSON"):
        parse_json(tmp_path / "a.json", "[1,", Damaged)
    assert read_text(of(tmp_path, b"\xef\xbb\xbf\xc3\xa9"), 9, Damaged) == "é"


def test_whether_there_is_a_file_is_asked_of_any_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert is_file(of(tmp_path, b"")) and is_file(tmp_path / "pipe")
    assert not any(is_file(tmp_path / name) for name in (".", "gone", "x" * 300, "a\0b"))


def test_whether_there_is_a_folder_is_asked_of_any_name(tmp_path):
    of(tmp_path, b"")
    (tmp_path / "inside").mkdir()
    assert is_folder(tmp_path) and is_folder(tmp_path / "inside")
    assert not any(is_folder(tmp_path / name) for name in ("gone", "é" * 140, "a\0b"))
    assert not any(is_folder(entry) for entry in tmp_path.iterdir() if entry.name != "inside")


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"robot: r", "utf-8"),
        (b"\xef\xbb\xbfrobot", "utf-8-sig"),
        ("<a/>".encode("utf-16"), "utf-16"),
        (b"\xfe\xff\0<\0a", "utf-16"),
        ("<a/>".encode("utf-16-le"), "utf-16-le"),
        ("<a/>".encode("utf-16-be"), "utf-16-be"),
        (b"<?xml version='1.0' encoding='windows-1252'?><a/>", "windows-1252"),
        (b'\n <?xml encoding = "ISO-8859-1" ?>', "ISO-8859-1"),
        (b"<a encoding='latin-1'/>", "utf-8"),
        (b"<?xml version='1.0'?>" + b" " * 600 + b"<?xml encoding='latin-1'?>", "utf-8"),
    ],
)
def test_the_encoding_is_what_the_first_bytes_say(data, encoding):
    assert encoding_of(data) == encoding


def test_the_first_byte_that_is_no_text_is_told_with_its_line_and_place():
    file = Path("a.yaml")
    assert decode(file, b"a\xe9b", "latin-1") == "aéb"
    with pytest.raises(RobotError, match=r"^a\.yaml:3: is not text in UTF-8 \(byte 0xe9 at 5\); save it as UTF-8$"):
        decode(file, b"a\nb\nc\xe9\n\xe9", "utf-8")
    with pytest.raises(RobotError, match=r"^a\.yaml:1: is not text in UTF-8 \(byte 0xff at 0\)"):
        decode(file, b"\xff\n", "utf-8")
    with pytest.raises(RobotError, match="its encoding 'klingon' is not known"):
        decode(file, b"a", "klingon")


def test_a_text_for_a_message_is_one_line_of_at_most_so_many_characters():
    assert short("  two\n\twords ") == "two words" and short(12.5) == "12.5"
    assert short("x" * 80) == "x" * 80 and short("x" * 81) == "x" * 79 + "…"
    assert short("abcdef", 6) == "abcdef" and short("abcdefg", 6) == "abcde…"


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="only Linux has files that are there and cannot be read"
)
def test_a_file_that_is_there_and_cannot_be_read_is_told_with_the_reason():
    with pytest.raises(RobotError, match="/proc/self/mem: cannot be read: Input/output error"):
        read_bytes(Path("/proc/self/mem"), 10)


def test_of_a_json_file_at_most_sixteen_mebibytes_are_read(tmp_path):
    file = of(tmp_path, b"[1]", "a.json")
    assert read_json(file) == [1]
    os.truncate(file, 16 * 1024 * 1024 + 1)
    with pytest.raises(RobotError, match=r"a\.json: has 16777217 bytes; more than 16777216 are not read"):
        read_json(file)


def test_a_yaml_file_that_is_wrong_is_an_error_of_the_kind_that_was_asked_for(tmp_path):
    class Damaged(UserError):
        pass

    assert read_plain(of(tmp_path, b"a: [1, {b: x}]", "a.yaml"), Damaged) == {"a": [1, {"b": "x"}]}
    for text in (b"a: [1", b"a: 1\na: 2"):
        with pytest.raises(Damaged, match=r"a\.yaml:"):
            read_plain(of(tmp_path, text, "a.yaml"), Damaged)

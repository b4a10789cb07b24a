"""What the process that expands a xacro says of what went wrong in it."""

import json
import os
import resource
import sys
import xml.dom.minidom

import pytest

from pi0_ros.robot import xacro_child
from pi0_ros.robot.xacro_child import _any_encoding, _chain, _problem, expand


class XacroError(Exception):
    """As xacro's: the cause is an attribute of its own."""

    def __init__(self, text, exc=None):
        super().__init__(text)
        self.exc = exc


class PackageNotFoundError(KeyError):
    """As ament_index_python's."""


class ArgException(Exception):
    """As roslaunch's, whose text may be anything."""


def raised(inner, outer):
    """`outer`, raised while `inner` was handled."""
    try:
        try:
            raise inner
        except type(inner):
            raise outer  # noqa: B904 - whatever is raised there has a context
    except type(outer) as error:
        return error


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (XacroError("macro m", RecursionError("deep")), "recursion", ""),
        (XacroError("macro m", XacroError("inside", MemoryError())), "memory", ""),
        (ModuleNotFoundError("no", name="ament_index_python"), "no_ros", ""),
        (ModuleNotFoundError("no module yaml", name="yaml"), "other", "no module yaml"),
        (raised(PackageNotFoundError("arm"), XacroError("include")), "package", "arm"),
        (PackageNotFoundError(), "package", ""),
        (PackageNotFoundError("arm", "/opt/ros"), "package", "arm"),
        (ArgException("speed"), "argument", "speed"),
        (XacroError("Undefined substitution argument speed"), "argument", "speed"),
        (FileNotFoundError(2, "No such file", "/a/gone.xacro"), "file", "/a/gone.xacro: No such file"),
        (OSError("nothing named"), "other", "nothing named"),
        (raised(KeyError("k"), ValueError("outer")), "other", "'k'"),
        (ValueError(), "other", "ValueError"),
    ],
)
def test_the_first_cause_that_is_known_is_told(error, kind, detail):
    assert _problem(error) == (kind, detail)


def test_causes_are_followed_inward_and_never_round_in_a_circle():
    inner = ValueError("inner")
    outer = XacroError("outer", inner)
    assert _chain(outer) == [outer, inner] and _chain(None) == []
    inner.__cause__ = outer
    assert _chain(outer) == [outer, inner]
    by_cause = RuntimeError("by cause")
    by_cause.__cause__ = KeyError("cause")
    assert [type(e) for e in _chain(by_cause)] == [RuntimeError, KeyError]


def test_a_file_that_is_no_utf_8_is_read_as_it_declares_and_a_text_without_a_file_is_refused(tmp_path):
    def parse(source, filename):
        raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "no")

    file = tmp_path / "f.xacro"
    file.write_bytes('<?xml version="1.0" encoding="ISO-8859-1"?><a v="é"/>'.encode("latin-1"))
    found = _any_encoding(parse)(None, str(file))
    assert found.documentElement.getAttribute("v") == "é"
    with pytest.raises(UnicodeDecodeError):
        _any_encoding(parse)("<a/>")
    plain = _any_encoding(lambda source, filename: (source, filename))
    assert plain("text", "name") == ("text", "name") and plain("text") == ("text", None)
    assert isinstance(found, xml.dom.minidom.Document)


XACRO = '<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro">{}</robot>'


@pytest.fixture
def xacro(monkeypatch):
    """The real one as of a new process."""
    module = pytest.importorskip("xacro")
    monkeypatch.setattr(module, "parse", module.parse)
    monkeypatch.setattr(module, "all_includes", [])
    return module


def test_what_is_wrong_is_told_of_the_innermost_file_that_was_being_read(tmp_path, xacro):
    for name, body in (
        ("outer", '<xacro:include filename="middle.xacro"/>'),
        ("middle", '<xacro:include filename="inner.xacro"/>'),
        ("inner", '<a v="${nothing}"/>'),
    ):
        (tmp_path / f"{name}.xacro").write_text(XACRO.format(body))
    files = [str(tmp_path / f"{name}.xacro") for name in ("outer", "middle", "inner")]
    found = expand(files[0], {}, 1000)
    assert (found["problem"], found["file"], found["files"]) == ("other", files[2], files)
    assert "nothing" in found["detail"]


def test_a_text_may_be_as_long_as_is_allowed_and_no_longer(tmp_path, xacro):
    file = tmp_path / "r.xacro"
    file.write_text(XACRO.format('<a v="$(arg size)"/>'))
    found = expand(str(file), {"size": "7"}, 10_000)
    assert '<a v="7"/>' in found["text"] and found["files"] == [str(file)]
    long = len(found["text"])
    assert "text" in expand(str(file), {"size": "7"}, long)
    refused = expand(str(file), {"size": "7"}, long - 1)
    assert refused == {"problem": "size", "detail": str(long), "file": str(file), "files": [str(file)]}


def test_of_a_problem_that_is_told_at_length_the_beginning_is_kept(tmp_path, xacro):
    file = tmp_path / "r.xacro"
    file.write_text(XACRO.format('<a v="${' + "no" * 900 + '}"/>'))
    assert expand(str(file), {}, 10_000)["detail"].startswith("name 'nono")
    file.write_text(XACRO.format("<" + "a" * 900 + "/>" + '<xacro:include filename="' + "b" * 900 + '"/>'))
    assert len(expand(str(file), {}, 10_000)["detail"]) == 500


def test_of_the_files_that_were_read_the_first_thousand_are_told_each_once(tmp_path, xacro, monkeypatch):
    file = tmp_path / "r.xacro"
    file.write_text(XACRO.format("<a/>"))
    many = [str(tmp_path / f"{k}.xacro") for k in range(1001)]
    monkeypatch.setattr(xacro, "all_includes", [many[0], *many])
    assert expand(str(file), {}, 10_000)["files"] == [str(file), *many[:999]]


@pytest.mark.parametrize("stack", [None, []])
def test_what_goes_wrong_before_any_file_is_read_is_told_of_the_file_that_was_given(xacro, monkeypatch, stack):
    def fail(*_, **__):
        xacro.filestack = stack
        raise ValueError("no such luck")

    monkeypatch.setattr(xacro, "process_file", fail)
    found = expand("/a/r.xacro", {}, 10_000)
    assert found == {"problem": "other", "detail": "no such luck", "file": "/a/r.xacro", "files": ["/a/r.xacro"]}


def test_a_xacro_in_the_encoding_that_it_declares_is_expanded(tmp_path, xacro):
    file = tmp_path / "r.xacro"
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + XACRO.format('<a v="é${2 + 1}"/>')
    file.write_bytes(text.encode("latin-1"))
    assert '<a v="é3"/>' in expand(str(file), {}, 10_000)["text"]


def test_it_is_bounded_before_it_expands_and_told_of_its_time_before_it_is_killed(tmp_path, xacro, monkeypatch):
    """The first bound of the time sends SIGXCPU, which can be told from the SIGKILL of the second (setrlimit(2))."""
    file, bounds = tmp_path / "r.xacro", {}
    file.write_text(XACRO.format('<a v="$(arg size)$(arg sum)"/>'))
    monkeypatch.setattr(xacro_child.resource, "setrlimit", bounds.__setitem__)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w"))
    answers = sys.stdout
    assert xacro_child.main([str(file), "7", "1000000000", "5000", "size=3", "sum=a=b"]) == 0
    assert '<a v="3a=b"/>' in json.loads(os.read(reader, 1 << 16))["text"]  # it is out, and waits in no buffer
    answers.close()
    os.close(reader)
    told, killed = bounds.pop(resource.RLIMIT_CPU)
    assert told == 7 < killed
    assert bounds == {resource.RLIMIT_AS: (1_000_000_000, 1_000_000_000), resource.RLIMIT_CORE: (0, 0)}

"""What the process that expands a xacro says of what went wrong in it."""

import xml.dom.minidom

import pytest

from pi0_ros.robot.xacro_child import _any_encoding, _chain, _problem


class XacroError(Exception):
    """As xacro's: the cause is an attribute of its own."""

    def __init__(self, text, exc=None):
        super().__init__(text)
        self.exc = exc


class PackageNotFoundError(KeyError):
    """As ament_index_python's."""


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

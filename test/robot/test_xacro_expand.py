"""A xacro is a program: it runs apart from us, and not for ever."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pi0_ros.robot import RobotError, xacro_expand
from pi0_ros.robot.xacro_expand import Bounds, _refuse_unknown, _sentence, expand_xacro

QUICK = Bounds(seconds=1.0, patience=120.0, memory=1 << 29, text=1 << 16)
DOUBLING = "".join(f'<xacro:macro name="m{i}"><xacro:m{i + 1}/><xacro:m{i + 1}/></xacro:macro>' for i in range(40))


def written(folder, body, name="r.urdf.xacro", encoding="utf-8", head="", root=""):
    file = folder / name
    text = f'{head}<robot name="r" {root} xmlns:xacro="http://www.ros.org/wiki/xacro">{body}</robot>'
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<a v="${9**9**9}"/>', "was stopped after 1 s of processor time; a macro or expression never ends"),
        (DOUBLING + '<xacro:macro name="m40"><a/></xacro:macro><xacro:m0/>', "was stopped after 1 s of processor time"),
        ('<xacro:include filename="r.urdf.xacro"/>', r"does not end: .*r\.urdf\.xacro includes itself"),
        ('<xacro:macro name="m"><xacro:m/></xacro:macro><xacro:m/>', "or a macro in it calls itself"),
        ("<a v=\"${len('a'*2**36)}\"/>", "needs more memory than it is given"),
        ("<a v=\"${'a'*2**17}\"/>", "more than any URDF has"),
        ('<xacro:include filename="$(find nobody_has_this)/a.xacro"/>', "package nobody_has_this is not in AMENT_PREFIX_PATH"),
        ('<xacro:include filename="gone.xacro"/>', r"gone\.xacro: No such file"),
        ('<a v="${nothing}"/>', "cannot expand it: .*nothing"),
        ('<a v="$(arg speed)"/>', r"xacro argument speed has no value; write urdf_args: \{speed: \.\.\.\}.*xacro r\.urdf\.xacro speed:="),
        ("<a>", "cannot expand it: "),
    ],
)  # fmt: skip
def test_a_xacro_that_does_not_come_to_an_end_is_one_sentence_with_the_file(tmp_path, body, words):
    with pytest.raises(RobotError, match=rf"r\.urdf\.xacro.*{words}") as problem:
        expand_xacro(written(tmp_path, body), {}, QUICK)
    assert "\n" not in str(problem.value)


def test_where_there_is_no_ros_a_package_cannot_be_found_and_that_is_said(tmp_path, monkeypatch):
    missing = "raise ModuleNotFoundError(\"No module named 'ament_index_python'\", name='ament_index_python')"
    (tmp_path / "ament_index_python").mkdir()
    (tmp_path / "ament_index_python" / "__init__.py").write_text(missing)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        RobotError, match=r"r\.urdf\.xacro: \$\(find PACKAGE\) needs a ROS, whose ament_index_python is missing"
    ):
        expand_xacro(written(tmp_path, '<xacro:include filename="$(find somebody)/a.xacro"/>'), {}, QUICK)


def test_an_include_that_waits_for_ever_is_ended(tmp_path):
    os.mkfifo(tmp_path / "pipe.xacro")
    with pytest.raises(
        RobotError, match=r"r\.urdf\.xacro: xacro was not done after 1 s and was stopped; it waits for"
    ) as problem:
        expand_xacro(written(tmp_path, '<xacro:include filename="pipe.xacro"/>'), {}, replace(QUICK, patience=1.0))
    # It used hardly any processor time: nothing is said against the file, which a busy computer would make as late.
    assert "this computer is too busy" in str(problem.value)
    assert "macro" not in str(problem.value)


def test_all_arguments_that_lack_a_value_are_named_at_once(tmp_path):
    body = '<xacro:arg name="prefix" default=""/><a v="$(arg name)$(arg prefix)$(arg ur_type)"/>'
    with pytest.raises(RobotError, match="xacro argument name, ur_type has no value"):
        expand_xacro(written(tmp_path, body), {}, QUICK)


def test_arguments_are_given(tmp_path):
    body = '<xacro:arg name="name" default="x"/><a v="$(arg name)"/><b v="${xacro.arg(\'size\')}"/>'
    text = expand_xacro(written(tmp_path, body), {"name": "ur5e", "size": "3"}, QUICK)
    assert 'v="ur5e"' in text
    assert 'v="3"' in text


def test_an_argument_that_nothing_asks_for_is_a_typing_mistake(tmp_path):
    file = written(tmp_path, '<xacro:arg name="ur_type" default="ur5"/><a v="$(arg ur_type)"/>')
    with pytest.raises(RobotError, match="xacro argument ur_typ is not used in it; its arguments are ur_type"):
        expand_xacro(file, {"ur_typ": "ur10"}, QUICK)


def test_other_encodings_are_read_as_they_are_declared(tmp_path):
    head = '<?xml version="1.0" encoding="ISO-8859-1"?><!-- für -->'
    assert "<a" in expand_xacro(written(tmp_path, "<a/>", encoding="latin-1", head=head), {}, QUICK)


def test_a_change_of_an_included_file_is_seen(tmp_path):
    file = written(tmp_path, '<xacro:include filename="inner.xacro"/>')
    for value in ("one", "three"):
        written(tmp_path, f'<a v="{value}"/>', name="inner.xacro")
        assert f'v="{value}"' in expand_xacro(file, {}, QUICK)


def test_a_xacro_without_a_change_is_not_expanded_again(tmp_path, monkeypatch):
    file = written(tmp_path, "<a/>")
    first = expand_xacro(file, {}, QUICK)
    monkeypatch.setattr("pi0_ros.robot.xacro_expand._run", lambda *_: pytest.fail("expanded again"))
    assert expand_xacro(file, {}, QUICK) == first


@pytest.mark.parametrize("before", ["", "far away " * 400 + "\\n"])
def test_an_expansion_that_dies_is_told_with_its_code_and_the_last_thing_that_it_said(tmp_path, monkeypatch, before):
    child = tmp_path / "child.py"
    child.write_text(f"import sys\nprint('{before}no room\\nout of paper', file=sys.stderr)\nsys.exit(3)\n")
    monkeypatch.setattr(xacro_expand, "CHILD", child)
    with pytest.raises(RobotError, match=r"r\.urdf\.xacro: xacro ended with code 3: out of paper$"):
        expand_xacro(written(tmp_path, "<a/>"), {}, QUICK)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("SIGXCPU", "was stopped after 1 s of processor time; a macro or expression never ends, or is far too large"),
        ("SIGKILL", "was killed; this computer ran out of memory, or a macro or expression never ends"),
    ],
)
def test_an_expansion_that_the_system_ends_is_told_with_what_may_have_ended_it(tmp_path, monkeypatch, number, words):
    child = tmp_path / "child.py"
    child.write_text(f"import os, signal\nos.kill(os.getpid(), signal.{number})\n")
    monkeypatch.setattr(xacro_expand, "CHILD", child)
    with pytest.raises(RobotError, match=rf"r\.urdf\.xacro: xacro {words}$"):
        expand_xacro(written(tmp_path, "<a/>"), {}, QUICK)


def test_unless_said_otherwise_an_expansion_has_ten_seconds_of_computing_five_minutes_by_the_clock_and_a_gigabyte():
    assert Bounds() == Bounds(seconds=10.0, patience=300.0, memory=1 << 30, text=16 << 20)


def test_where_python_cannot_be_started_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(xacro_expand.sys, "executable", str(tmp_path / "no_python"))
    with pytest.raises(RobotError, match=r"r\.urdf\.xacro: xacro could not be started: .*no_python"):
        expand_xacro(written(tmp_path, "<a/>"), {}, QUICK)


def test_a_mistake_in_an_included_file_is_told_with_that_file(tmp_path):
    written(tmp_path, '<a v="${nothing}"/>', name="inner.xacro")
    with pytest.raises(RobotError, match=r"r\.urdf\.xacro: xacro cannot expand it \(in .*inner\.xacro\): .*nothing"):
        expand_xacro(written(tmp_path, '<b/><xacro:include filename="inner.xacro"/>'), {}, QUICK)


def test_a_xacro_is_expanded_once_for_its_arguments_in_any_order_and_anew_for_others(tmp_path, monkeypatch):
    file = written(tmp_path, '<a v="$(arg size)$(arg name)"/>')
    asked = []

    def run(_, arguments, __):
        asked.append(arguments)
        return {"text": f"text {len(asked)}", "files": [str(file)]}

    monkeypatch.setattr(xacro_expand, "_run", run)
    assert expand_xacro(file, {"size": "3", "name": "x"}) == "text 1"
    assert expand_xacro(file, {"name": "x", "size": "3"}) == "text 1"
    assert expand_xacro(file, {"name": "3", "size": "x"}) == "text 2"
    assert len(asked) == 2


def test_the_arguments_of_a_file_in_any_encoding_are_found(tmp_path, monkeypatch):
    file = written(tmp_path, '<!-- für --><xacro:arg name="size" default="1"/><a v="$(arg size)"/>', encoding="latin-1")
    monkeypatch.setattr(xacro_expand, "_run", lambda *_: {"text": "expanded", "files": [str(file)]})
    assert expand_xacro(file, {"size": "3"}) == "expanded"
    with pytest.raises(RobotError, match="xacro argument length is not used in it; its arguments are size"):
        expand_xacro(file, {"length": "3"})


@pytest.mark.parametrize(("length", "told"), [(200, "n" * 200), (201, "n" * 199 + "…")])
def test_of_the_last_thing_that_an_expansion_said_two_hundred_characters_are_told(tmp_path, monkeypatch, length, told):
    done = subprocess.CompletedProcess([], 3, b"", b"before\n" + b"n" * length + b"\n")
    monkeypatch.setattr(xacro_expand.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RobotError, match=rf" code 3: {told}$"):
        expand_xacro(written(tmp_path, "<a/>"), {}, QUICK)


def test_what_an_expansion_said_is_told_even_if_it_is_no_utf_8(tmp_path, monkeypatch):
    done = subprocess.CompletedProcess([], 3, b"", "für Arme".encode("latin-1"))
    monkeypatch.setattr(xacro_expand.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RobotError, match=r" code 3: f.r Arme$"):
        expand_xacro(written(tmp_path, "<a/>"), {}, QUICK)


def test_a_file_that_was_missing_and_is_there_now_is_a_change(tmp_path, monkeypatch):
    file, late = written(tmp_path, "<a/>"), tmp_path / "late.xacro"
    texts = iter(("without", "with"))
    monkeypatch.setattr(xacro_expand, "_run", lambda *_: {"text": next(texts), "files": [str(file), str(late)]})
    assert [expand_xacro(file, {}), expand_xacro(file, {})] == ["without", "without"]
    late.write_text("<b/>")
    assert [expand_xacro(file, {}), expand_xacro(file, {})] == ["with", "with"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"problem": "package", "detail": "package 'arm' not found in '/opt'"}, "package arm is not in AMENT_PREFIX_PATH"),
        ({"problem": "package", "detail": "'arm'"}, "package arm is not in AMENT_PREFIX_PATH"),
        ({"problem": "package", "detail": "the arm's"}, "package the arm's is not in AMENT_PREFIX_PATH"),
        ({"problem": "no_ros", "detail": ""}, "$(find PACKAGE) needs a ROS, whose ament_index_python is missing"),
        ({"problem": "recursion", "detail": "", "file": "/a/b.xacro"}, "xacro does not end: /a/b.xacro includes itself"),
        ({"problem": "import", "detail": "x"}, "reading xacro needs the Python package xacro"),
        ({"problem": "memory", "detail": "", "file": "/a/b.xacro"}, "more memory than it is given (in /a/b.xacro)"),
        ({"problem": "size", "detail": "77"}, "xacro made 77 characters of it"),
        ({"problem": "other", "detail": "x" * 300}, "xacro cannot expand it: " + "x" * 300),
        ({"problem": "file", "detail": "x" * 301, "file": "/b"}, "cannot expand it (in /b): " + "x" * 299 + "…"),
    ],
)  # fmt: skip
def test_what_was_wrong_is_told_with_the_file_in_which_it_was(answer, told):
    file = Path("/a/r.xacro")
    sentence = _sentence(file, {}, {"file": str(file), "files": []} | answer)
    assert sentence.startswith("/a/r.xacro: ") and told in sentence
    assert ("(in " in sentence) is ("file" in answer and answer["problem"] != "recursion")


def test_the_arguments_that_lack_a_value_are_told_with_those_that_are_given(tmp_path):
    file = written(
        tmp_path,
        '<xacro:arg name="side" default="left"/><a v="$(arg side)$(arg size)$(arg speed)$(arg reach)$(arg speed)"/>'
        "<b v=\"${xacro.arg('hand')}\"/>",
    )
    answer = {"problem": "argument", "detail": "speed", "file": str(file), "files": [str(tmp_path / "gone"), str(file)]}
    sentence = _sentence(file, {"reach": "1", "speed": "2"}, answer)
    assert "xacro argument speed, size, hand has no value;" in sentence
    assert "urdf_args: {reach: ..., speed: ..., size: ..., hand: ...}" in sentence
    assert sentence.endswith("xacro r.urdf.xacro speed:=VALUE size:=VALUE hand:=VALUE > my_robot.urdf")


def test_the_arguments_of_two_hundred_files_are_looked_for(tmp_path):
    files = []
    for k in range(201):
        files.append(str(tmp_path / f"{k}.xacro"))
        Path(files[-1]).write_text(f'<xacro:arg name="a{k}"/>')
    _refuse_unknown(tmp_path, {"a0": "1", "a199": "1"}, files)
    with pytest.raises(RobotError, match="xacro argument a200 is not used in it"):
        _refuse_unknown(tmp_path, {"a200": "1"}, files)
    with pytest.raises(RobotError, match="xacro argument a is not used in it; its arguments are none$"):
        _refuse_unknown(tmp_path, {"a": "1"}, [])


@pytest.mark.parametrize(
    ("body", "arguments", "changed", "anew"),
    [
        ('<a v="$(env PI0_HAND)"/>', {}, "PI0_HAND", True),
        ('<a v="$(optenv PI0_HAND none)"/>', {}, "PI0_HAND", True),
        ('<a v="$(optenv PI0_HAND none)"/>', {}, "PI0_FOOT", False),
        ('<a v="$(find hands)"/>', {}, "AMENT_PREFIX_PATH", True),
        ("<a/>", {}, "PI0_FOOT", False),
        ("<a v='$(arg a)'/>", {"a": "$(env PI0_HAND)"}, "PI0_HAND", True),
        ('<a v="$(env $(arg a))"/>', {"a": "PI0_HAND"}, "PI0_HAND", True),
        ('<a v="$(optenv PI0_HAND x)"/>', {}, None, True),  # the working directory
    ],
)
def test_only_a_change_of_what_a_xacro_reads_of_the_environment_has_it_expanded_again(
    tmp_path, monkeypatch, body, arguments, changed, anew
):
    file = written(tmp_path, body)
    asked = []
    monkeypatch.setattr(
        xacro_expand, "_run", lambda *_: asked.append(1) or {"text": f"text {len(asked)}", "files": [str(file)]}
    )
    for name in ("PI0_HAND", "PI0_FOOT"):
        monkeypatch.setenv(name, "left")
    assert expand_xacro(file, arguments) == expand_xacro(file, arguments) == "text 1"
    if changed is None:
        monkeypatch.chdir(tmp_path)
    else:
        monkeypatch.setenv(changed, "right")
    assert expand_xacro(file, arguments) == ("text 2" if anew else "text 1")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_of_a_xacro_in_another_encoding_any_change_of_the_environment_counts(tmp_path, monkeypatch, encoding):
    file = written(tmp_path, "<a/>", encoding=encoding, head=f'<?xml version="1.0" encoding="{encoding}"?>')
    first = expand_xacro(file, {})
    assert "<a/>" in first
    monkeypatch.setattr(xacro_expand, "_run", lambda *_: {"text": "anew", "files": [str(file)]})
    monkeypatch.setenv("PI0_FOOT", "right")
    assert expand_xacro(file, {}) == (first if encoding == "utf-8" else "anew")

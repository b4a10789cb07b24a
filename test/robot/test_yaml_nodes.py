"""YAML is read strictly, with the line of everything that is wrong."""

import os

import pytest
import yaml as pyyaml

from pi0_ros.robot import RobotError
from pi0_ros.robot.files import parse_json
from pi0_ros.robot.yaml_nodes import MAX_BYTES, read_yaml


def node(tmp_path, text, *path):
    """The node under these keys and positions."""
    file = tmp_path / "f.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read_yaml(file)
    for step in path:
        found = found.entries()[step] if isinstance(step, int) else dict(found.items())[step]
    return found


def refusal(tmp_path, text, read, *path):
    with pytest.raises(RobotError) as problem:
        read(node(tmp_path, text, *path))
    return str(problem.value).removeprefix(f"{tmp_path}/")


def test_an_exponent_needs_no_dot(tmp_path):
    assert node(tmp_path, "margin: 2e-2", "margin").number() == 0.02


def test_quotes_and_tags_make_text_of_a_number(tmp_path):
    assert node(tmp_path, "a: ['1', !!str 2, on]", "a").texts() == ("1", "2", "on")


def test_yes_and_off_still_mean_true_and_false_where_truth_is_asked_for(tmp_path):
    assert [n.truth() for n in node(tmp_path, "a: [yes, off, true, !!bool no]", "a").entries()[:3]] == [
        True,
        False,
        True,
    ]
    assert "'yes'" in refusal(tmp_path, "a: 'yes'", lambda n: n.truth(), "a")


@pytest.mark.parametrize(
    ("text", "read", "words"),
    [
        ("x: 1\na:\n", lambda n: n.text(), "f.yaml:2: a: has no value"),
        ("a:\nb: 1\n", lambda n: n.number(), "f.yaml:1: a: has no value"),
        ("a:", lambda n: n.entries(), "f.yaml:1: a: has no value"),
        ("a:", lambda n: n.section("b"), "f.yaml:1: a: has no value"),
        ("x: 1\n\na: 010", lambda n: n.number(), "f.yaml:3: a: 010 looks like octal; write 8 or 10"),
        (
            "a: 1:30",
            lambda n: n.number(),
            "f.yaml:1: a: must be a number, not '1:30'; 1:30 looks like minutes or hours",
        ),
        ("a: [1, -pi]", lambda n: n.numbers(2), "f.yaml:1: a[1]: must be a number, not '-pi'; write -3.14159"),
        ("a: .inf", lambda n: n.number(), "must be a number, not '.inf'"),
        ("a: " + "9" * 5000, lambda n: n.number(), "must be a number, not '999"),
        ("a: 1.5", lambda n: n.whole(), "must be a whole number, not 1.5"),
        ("a: 5", lambda n: n.text(), "must be text, not 5; put it in quotes"),
        ("a: !foo x", lambda n: n.text(), "f.yaml:1: a: tag !foo is not known here; write a plain value"),
        ("a: !!python/name:os.system x", lambda n: n.text(), "tag !!python/name:os.system is not known here"),
        ("a: !!set {x}", lambda n: n.section("x"), "tag !!set is not known here"),
        ("a: !bar [x]", lambda n: n.texts(), "tag !bar is not known here"),
        ('a: !!int ""', lambda n: n.value(), "'' is not a plain value of type !!int"),
        ("a: !!float true", lambda n: n.value(), "'true' is not a plain value of type !!float"),
        ("a: !!bool maybe", lambda n: n.truth(), "'maybe' is not a plain value of type !!bool"),
        ('a: "two\\nlines"', lambda n: n.text(), "must be text in one line"),
        ('a: "\\e[31mred"', lambda n: n.text(), "must be text in one line, not '\\x1b[31mred'"),
        ("a: {? [b] : c}", lambda n: n.section("b"), "a key must be plain text"),
    ],
)
def test_a_value_of_another_kind_is_told_with_file_line_and_key(tmp_path, text, read, words):
    assert words in refusal(tmp_path, text, read, "a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: " + "[" * 2000 + "]" * 2000, "f.yaml:1: is nested more than 40 deep"),
        ("a: 1\nb: &x [1, *x]", "f.yaml:2: *x stands inside of what it refers to"),
        ("a: &x {<<: *x}", "f.yaml:1: *x stands inside of what it refers to"),
        ("a: 1\nb: {<<: 3}", "f.yaml:2: << needs a mapping"),
        ("a: 1\n---\nb: 2", "f.yaml:2: is not YAML: but found another document"),
        ("a: 1\nb: \x01", "f.yaml:2: has a character that YAML does not allow: U+0001"),
        ("a: 1\n\tb: 2", "f.yaml:2: is not YAML"),
        ('a: "\\UFFFFFFFF"', "f.yaml:1: is not YAML"),
        ("# nothing\n", "f.yaml: is empty"),
        (b"a: 1\nb: caf\xe9\n", "f.yaml:2: is not text in UTF-8 (byte 0xe9 at 11); save it as UTF-8"),
        ("version https://git-lfs.github.com/spec/v1\n", "f.yaml: is a Git LFS pointer, not the file itself"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line(tmp_path, text, words):
    assert words in refusal(tmp_path, text, lambda n: n)


def test_utf_16_and_a_byte_order_mark_are_read(tmp_path):
    for encoding in ("utf-16", "utf-8-sig"):
        assert node(tmp_path, "a: é".encode(encoding), "a").text() == "é"


def test_a_merge_key_gives_what_is_not_given_itself_as_pyyaml_does(tmp_path):
    text = """
one: &one {a: 1, b: 2}
two: &two {b: 3, c: 4}
own: {b: 5, <<: *one}
both: {<<: [*two, *one], d: 6}
nested: {<<: {<<: *two, e: 7}}
"""
    expected = pyyaml.safe_load(text)
    for name in ("own", "both", "nested"):
        assert {key: n.number() for key, n in node(tmp_path, text, name).items()} == expected[name]


def test_a_mistake_in_what_was_merged_or_aliased_names_the_line_where_it_is_used(tmp_path):
    text = "limits: &l\n  margin: wide\none:\n  <<: *l\ntwo: *l\n"
    assert refusal(tmp_path, text, lambda n: n.number(), "one", "margin") == (
        "f.yaml:2: one.margin: must be a number, not 'wide' (used in line 4)"
    )
    assert refusal(tmp_path, text, lambda n: n.number(), "two", "margin").endswith("(used in line 5)")
    assert refusal(tmp_path, text, lambda n: n.number(), "limits", "margin").endswith("not 'wide'")


def test_a_quoted_merge_key_is_an_ordinary_key(tmp_path):
    assert "a.<<: unknown key" in refusal(tmp_path, "a: {'<<': {b: 1}}", lambda n: n.section("b"), "a")


def test_aliases_of_aliases_cost_nothing(tmp_path):
    layers = "\n".join(f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}], k{i}: 1}}" for i in range(9))
    assert len(dict(node(tmp_path, f"a0: &a0 {{k: 1}}\n{layers}", "a9").items())) == 10


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    pipe, large = tmp_path / "pipe.yaml", tmp_path / "large.yaml"
    os.mkfifo(pipe)
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    for file, words in ((pipe, "is a pipe"), (tmp_path, "is a folder"), (large, "more than 1048576 are not read")):
        with pytest.raises(RobotError, match=words):
            read_yaml(file)
    with pytest.raises(RobotError, match="cannot be read"):
        read_yaml(tmp_path / ("x" * 300))


@pytest.mark.parametrize(("levels", "good"), [(39, True), (40, False)])
def test_what_is_nested_side_by_side_is_not_deep(levels, good):
    """The mapping is one level, and its brackets are one each; what was closed before does not count."""
    from pi0_ros.robot.yaml_compose import ComposeError, compose

    text = "".join(f"k{i}: [[[[]]]]\n" for i in range(50)) + "deep: " + "[" * levels + "]" * levels
    if good:
        assert compose(text) is not None
    else:
        with pytest.raises(ComposeError, match="nested more than 40 deep"):
            compose(text)


SEQUENCES = "\n".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(9))
MAPPINGS = "\n".join(f"a{i + 1}: &a{i + 1} {{{', '.join(f'k{k}: *a{i}' for k in range(9))}}}" for i in range(9))
MERGED = "\n".join(
    f"a{i + 1}: &a{i + 1} {{<<: *a{i}, {', '.join(f'l{i}k{k}: {{<<: *a{i}}}' for k in range(3))}}}" for i in range(30)
)


@pytest.mark.parametrize(("first", "layers"), [("[1]", SEQUENCES), ("{k: 1}", MAPPINGS), ("{k: 1}", MERGED)])
def test_aliases_of_aliases_that_stand_for_millions_are_refused_in_the_line_where_it_is_too_much(
    tmp_path, first, layers
):
    with pytest.raises(RobotError, match=r"f\.yaml:\d+: stands for more than 100000 values, counted with its aliases"):
        node(tmp_path, f"a0: &a0 {first}\n{layers}")


@pytest.mark.parametrize(
    ("text", "read", "words"),
    [
        ("a: 1\nb: 2\na: 3", lambda n: dict(n.items()), "f.yaml:3: a: given twice, first in line 1"),
        ("x:\n  b: 2\n  b: 3", lambda n: n.section("b"), "f.yaml:3: x.b: given twice, first in line 2"),
        ("'': 1", lambda n: n.section("b"), "f.yaml:1: a key must be plain text"),
        ('"a\\x07": 1', lambda n: n.section("b"), "f.yaml:1: a key must be plain text"),
        ("x: [1]", lambda n: n.value(), "x: must be a single value"),
        ("x: {a: 1}", lambda n: n.text(), "x: must be a single value"),
        ("x: !!int 1.5", lambda n: n.number(), "'1.5' is not a plain value of type !!int"),
        ("x: !!int true", lambda n: n.number(), "'true' is not a plain value of type !!int"),
        ("x: !!null 0", lambda n: n.value(), "'0' is not a plain value of type !!null"),
        ("x: true", lambda n: n.number(), "must be a number, not 'true'"),
        ("x: true", lambda n: n.text(), "must be text, not True"),
        ("x: ''", lambda n: n.text(), "must be text in one line, not ''"),
        ("x: ' a'", lambda n: n.text(), "must be text in one line, not ' a'"),
        ("x: 'a '", lambda n: n.text(), "must be text in one line, not 'a '"),
        ("x: red", lambda n: n.choice("green", "blue"), "must be one of green, blue, not 'red'"),
        ("x: 2.0", lambda n: n.number(2.0, 3.0), "must be above 2 and at most 3, not 2"),
        ("x: 3.01", lambda n: n.number(2.0, 3.0), "must be above 2 and at most 3, not 3.01"),
        ("x: 4", lambda n: n.whole(1, 3), "must be above 1 and at most 3, not 4"),
        ("x: 1", lambda n: n.numbers(2, 1.0), "must be above 1"),
        ("x: [2, 1]", lambda n: n.numbers(2, 1.0), "x[1]: must be above 1"),
        ("x: [1, 2, 3]", lambda n: n.numbers(2), "needs 2 numbers, one a channel (or a single one for all), and has 3"),
        ("x: []", lambda n: n.texts(), "x: needs at least one name"),
        ("x: [a, b, a]", lambda n: n.texts(), "x[0]: a is named twice"),
        ("x: a", lambda n: n.texts(), "x: must be a list"),
        ("x: [a]", lambda n: n.section("a"), "x: must be a mapping of keys to values"),
        ("x: {}", lambda n: n.section("a").need("a"), "f.yaml:1: x: key a is missing"),
    ],
)
def test_each_reader_refuses_what_is_none_of_its_values(tmp_path, text, read, words):
    path = ("x",) if text.startswith("x:") else ()
    assert words in refusal(tmp_path, text, read, *path)


def test_each_reader_takes_its_values_up_to_both_ends(tmp_path):
    one, two, three, four = node(tmp_path, "[!!int 2, !!float 3, !!bool true, !!null ~]").entries()
    assert (one.value(), two.value(), three.value(), four.value()) == (2, 3, True, None)
    assert one.number(1.9, 2.0) == 2.0 and one.whole(1, 2) == 2 and type(two.whole()) is int and three.truth() is True
    assert one.numbers(3, 1.0) == [2.0] * 3 and node(tmp_path, "[4, 5.5]").numbers(2, 3.9) == [4.0, 5.5]
    assert node(tmp_path, "blue").choice("green", "blue") == "blue"
    assert node(tmp_path, "[b, a c]").texts() == ("b", "a c")
    assert one.number() == 2.0 and node(tmp_path, "-7").whole() == -7 and node(tmp_path, "-7").numbers(1) == [-7.0]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", "null"),
        ("~", "null"),
        ("null", "null"),
        ("'null'", ""),
        ("''", ""),
        ("0", ""),
        ("{}", "mapping"),
        ("[]", "list"),
    ],
)
def test_what_a_node_is_can_be_asked_of_any_node(tmp_path, text, kinds):
    found = node(tmp_path, f"a: {text}", "a")
    names = [name for name in ("mapping", "list", "null") if getattr(found, f"is_{name}")]
    assert " ".join(names) == kinds


def test_the_keys_of_a_section_are_told_apart_from_those_that_are_absent(tmp_path):
    section = node(tmp_path, "{a: 1, b: 2.5}").section("a", "b", "c")
    assert ("a" in section, "c" in section, section.get("c")) == (True, False, None)
    assert section.need("b").number() == 2.5 and section.at.key == "" and section.need("b").key == "b"
    number = type(section.at).number
    assert (section.optional("b", number, 7.0), section.optional("c", number, 7.0)) == (2.5, 7.0)


@pytest.mark.parametrize("before", ["", "\n", "\n\n# comment\n"])
def test_a_character_that_yaml_does_not_allow_is_told_with_its_line(tmp_path, before):
    line = before.count("\n") + 2
    assert f"f.yaml:{line}: has a character" in refusal(tmp_path, f"{before}a: 1\nb: \x01", lambda n: n)


def test_a_number_of_very_many_digits_is_no_json(tmp_path):
    """Python itself takes up to 4,300; a float64 has 309."""
    assert parse_json(tmp_path / "f.json", "[1" + "0" * 299 + "]") == [10**299]
    with pytest.raises(RobotError, match=r"f\.json: not valid JSON: a number of 301 digits"):
        parse_json(tmp_path / "f.json", "[1" + "0" * 300 + "]")


@pytest.mark.parametrize(("more", "good"), [(89, True), (90, False)])
def test_a_file_stands_for_a_hundred_thousand_values_and_not_for_one_more(tmp_path, more, good):
    """a stands for 100, b for 99 * 100 + 1: 100 + 10 * 9901 + 8 * 100 + 89 + 1 is 100,000."""
    entries = [
        f"&a [{', '.join(['0'] * 99)}]",
        f"&b [{', '.join(['*a'] * 99)}]",
        *["*b"] * 9,
        *["*a"] * 8,
        *["0"] * more,
    ]
    text = f"[{', '.join(entries)}]"
    if good:
        assert len(node(tmp_path, text).entries()) == len(entries)
    else:
        assert "f.yaml:1: stands for more than 100000 values" in refusal(tmp_path, text, lambda n: n)

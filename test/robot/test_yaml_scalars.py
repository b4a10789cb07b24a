"""What a single YAML value means, by the core schema of YAML 1.2 (section 10.3.2 of its specification)."""

import math

import pytest

from pi0_ros.robot.yaml_scalars import ambiguous_number, number_hint, plain_truth, plain_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("True", True), ("TRUE", True),
        ("false", False), ("False", False), ("FALSE", False), ("tRUE", "tRUE"),
        ("0", 0), ("-7", -7), ("0o14", 12), ("0x3A", 58), ("2e-2", 0.02), ("-.5", -0.5), ("1.", 1.0), ("+12e03", 12000.0),
        ("-.inf", -math.inf), ("-.Inf", -math.inf), ("+.inf", math.inf), (".INF", math.inf), ("-.nan", "-.nan"), ("9" * 400, math.inf),
        # Texts in YAML 1.2, though YAML 1.1 has other ideas of most of them:
        ("yes", "yes"), ("off", "off"), ("1_000", "1_000"), ("1:30", "1:30"), ("2024-13-45", "2024-13-45"), ("1e", "1e"),
        (".", "."), ("j1", "j1"), ("NULLED", "NULLED"),
    ],
)  # fmt: skip
def test_a_plain_value_means_what_the_core_schema_says(text, value):
    found = plain_value(text)
    assert (type(found), found) == (type(value), value)


def test_not_a_number_is_a_number():
    assert math.isnan(plain_value(".nan"))


def test_truth_is_also_read_as_yaml_1_1_wrote_it():
    assert [plain_truth(t) for t in ("true", "Yes", "on", "FALSE", "no", "Off", "maybe", "1")] == [
        True, True, True, False, False, False, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("010", "010 looks like octal; write 8 or 10"),
        ("-0755", "looks like octal; write 493 or 755"),
        ("08", "starts with 0; write 8"), ("07", "07 starts with 0; write 7"), ("0189", "0189 starts with 0; write 189"), ("-0012", "looks like octal; write 10 or 12"),
        ("1:30", "looks like minutes or hours"),
        ("10", ""), ("0.10", ""), ("0", ""), ("0o10", ""), ("j:1", ""),
    ],
)  # fmt: skip
def test_a_number_that_can_be_read_in_two_ways_is_told(text, words):
    assert words in ambiguous_number(text) if words else ambiguous_number(text) == ""


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1_000", "write 1000"), ("0,25", "write 0.25"), ("−1.5", "write -1.5"), ("-pi", "write -3.14159"),
        ("2*pi", "write 6.28319"), ("pi/2", "write 1.57080"), ("pi/0", ""), ("fast", ""), ("_fast", ""), ("1,x", ""), ("1,2,3", ""), ("..pi", ""),
        ("1,5", "write 1.5"), ("1.000,5", ""), ("1_0,5", "write 10.5"), ("1.5", ""), ("9" * 400, ""), (" pi ", "write 3.14159"), ("+3pi/4", "write 2.35619"),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them_come_with_a_hint(text, hint):
    assert number_hint(text) == hint


@pytest.mark.parametrize(("digits", "kind"), [(18, int), (19, float), (308, float)])
def test_a_whole_number_of_nineteen_digits_is_a_float(digits, kind):
    for sign in ("", "-", "+"):
        text = sign + "7" * (digits - len(sign))
        found = plain_value(text)
        assert type(found) is kind and found == pytest.approx(float(text), rel=1e-15)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0" + "1" * 17, f"looks like octal; write {int('1' * 17, 8)} or {'1' * 17}"),
        ("0" + "1" * 18, f"starts with 0; write {'1' * 18}"),
        ("0" * 25, "starts with 0; write 0"),
        ("00", "starts with 0; write 0"),
        ("-00012", "looks like octal; write 10 or 12"),
        ("+0" + "9" * 30, f"starts with 0; write {'9' * 30}"),
    ],
)
def test_a_number_of_any_length_that_starts_with_0_comes_with_what_to_write(text, words):
    assert ambiguous_number(text) == f"{text} {words}"

"""Text from outside can neither steer a terminal nor forge or flood a log."""

import pytest

from pi0_ros.robot.quoting import MAX_QUOTED, escape, quote, quote_names, quote_value, shorten


@pytest.mark.parametrize(
    "text", ["\x1b[2Jjoint\n[INFO] all is well", "a\rb", "\u202eevil", "x" * 400_000, "\n" * 79, "'\"" * 60, "\udc80"]
)
def test_a_quoted_text_is_one_short_printable_line(text):
    shown = quote(text)
    assert shown.isprintable() and len(shown) <= MAX_QUOTED
    assert shown[0] == shown[-1] and shown[0] in "'\""
    sentence = escape(f"encoding {text} is not known")
    assert sentence.isprintable() and len(sentence) <= 400


def test_a_harmless_text_stays_as_it_is():
    assert quote("left_joint1") == "'left_joint1'" and quote("größer 0") == "'größer 0'"
    assert escape("camera base: empty picture") == "camera base: empty picture"


def test_of_many_names_a_few_are_shown_and_the_others_counted():
    assert quote_names(["a", "b"]) == "'a', 'b'"
    assert quote_names(f"j{k}" for k in range(2000)).endswith("'j7' and 1992 more")


def test_a_sentence_of_just_the_length_that_is_allowed_is_whole_and_a_longer_one_ends_in_dots():
    assert escape("x" * 12, 12) == "x" * 12 and escape("x" * 13, 12) == "x" * 11 + "…"
    assert escape("\n" * 6, 12) == "\\n" * 6 and escape("\n" * 7, 12) == "\\n" * 5 + "\\…"


def test_eighty_characters_with_their_quotes_are_shown_and_one_more_is_cut():
    assert quote("x" * 78) == "'" + "x" * 78 + "'"
    assert quote("x" * 79) == "'" + "x" * 77 + "…'"


def test_a_value_is_quoted_as_it_is_written_and_one_that_cannot_be_as_what_it_is():
    assert [quote_value(v) for v in (0, "0", [1, "b"], None)] == ["0", "'0'", "[1, 'b']", "None"]
    assert quote_value(10**5000) == "a int" and quote_value("a\nb") == "'a\\nb'"
    assert quote_value(list(range(99))) == repr(list(range(99)))[:79] + "…"


@pytest.mark.parametrize(("length", "cut"), [(12, False), (13, True)])
def test_a_long_error_loses_its_middle_and_keeps_its_last_third(length, cut):
    text = "abcdefghijklmnop"[:length]
    assert shorten(text, 12) == ("abcdefg…jklm" if cut else text)
    assert shorten("a\tb", 12) == "a\\tb"


@pytest.mark.parametrize(("count", "more"), [(7, ""), (8, ""), (9, " and 1 more")])
def test_eight_names_are_shown(count, more):
    assert quote_names(range(count)) == ", ".join(f"'{k}'" for k in range(min(count, 8))) + more


def test_an_error_may_have_twelve_hundred_characters():
    assert shorten("x" * 1200) == "x" * 1200 and len(shorten("x" * 1201)) == 1200

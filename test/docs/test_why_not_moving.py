"""docs/howto/why_not_moving.md has every reason that the code can give."""

import ast
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="needs requirements/docs.lock")

from pi0_docs.reasons import Reason, _parts, reasons

from pi0_ros.control.chunk import Cause
from pi0_ros.control.modes import REQUESTS, Trigger

ROOT = Path(__file__).resolve().parents[2]
PAGE = " ".join((ROOT / "docs" / "howto" / "why_not_moving.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("trigger", [t for t in Trigger if t not in REQUESTS.values()], ids=lambda t: t.value)
def test_everything_that_ends_a_mode_is_on_the_page(trigger):
    assert f"| `{trigger.value}` |" in PAGE


@pytest.mark.parametrize("cause", list(Cause), ids=lambda c: c.value)
def test_every_cause_of_a_refused_plan_is_on_the_page(cause):
    assert f"| `{cause.value}` |" in PAGE


def test_every_sentence_that_says_why_nothing_moves_is_on_the_page():
    found = reasons(ROOT / "pi0_ros")
    assert len(found) > 80
    missing = [f"{r.place}: {r.text!r}: add a row with {r.fragment!r}" for r in found if r.fragment not in PAGE]
    assert missing == []


def test_a_sentence_is_known_by_its_longest_fixed_part():
    node = ast.parse('f"{name} is {value:.2f}, far beyond its limit {limit}"', mode="eval").body
    reason = Reason("here", tuple(_parts(node)))
    assert reason.text == "… is …, far beyond its limit …"
    assert reason.fragment == "far beyond its limit"

"""Who decides where several files may say a value, and who contradicts whom."""

import pytest

from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.resolution import Claim, Setting, agreed, first, shown


def test_the_first_that_says_something_decides_and_is_named():
    found = first("horizon", Claim(None, "a.json"), Claim(0, "b.json"), Claim(50, "c.json"))
    assert found == Setting("horizon", 0, "b.json") and found.line() == "horizon: 0 (b.json)"
    with pytest.raises(ValueError, match="nothing says horizon"):
        first("horizon", Claim(None, "a.json"))


def test_who_says_something_else_is_refused_with_both_and_the_way_out():
    same = (Claim(50, "a.json"), Claim(None, "b.json"), Claim(50, "c.json"))
    assert agreed("horizon", *same, way_out="choose") == Setting("horizon", 50, "a.json")
    with pytest.raises(PolicyError) as caught:
        agreed("horizon", *same, Claim(False, "d.json"), way_out="set horizon:=50")
    assert str(caught.value) == "horizon: a.json says 50, d.json says False; set horizon:=50"


def test_values_are_shown_as_people_write_them():
    assert [shown(v) for v in (0.1, 2.0, 3, "x", (), ("a", 0.5), True)] == [
        "0.1",
        "2",
        "3",
        "x",
        "none",
        "a, 0.5",
        "True",
    ]

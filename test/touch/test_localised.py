"""Which of a dataset's instructions say where their thing is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from pi0_ros.touch.localised import unknown_things

NAMES = [f"base.{thing}.{kind}" for thing in ("red", "green") for kind in ("x", "y", "visible")]


def dataset(*tasks: str, aim: bool = False) -> SimpleNamespace:
    features = {"localisation": {"names": NAMES}} | ({"aim": {"names": None}} if aim else {})
    return SimpleNamespace(folder=Path("d"), features=features, episodes=[SimpleNamespace(tasks=(t,)) for t in tasks])


def test_words_for_a_thing_without_a_colour_are_named_where_no_column_says_what_is_meant():
    told = ("touch the red block", "touch every block", "done", "touch the tomato block", "touch the plum block")
    (remark,) = unknown_things(dataset(*told))
    assert remark.startswith("d: 'touch the tomato block' and others names none of red, green, and no column `aim`")
    assert unknown_things(dataset(*told, aim=True)) == [] and unknown_things(dataset(*told[:3])) == []


def test_a_dataset_without_places_says_nothing_of_them():
    plain = dataset("touch the tomato block")
    plain.features.clear()
    assert unknown_things(plain) == []

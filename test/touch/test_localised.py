"""Which of a dataset's instructions say where their thing is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pi0_ros.touch.grounding import LIT, UNLIT, grounding_of
from pi0_ros.touch.localised import WAY, localised, unknown_things

NAMES = [f"base.{thing}.{kind}" for thing in ("red", "green") for kind in ("x", "y", "visible")]


def dataset(*tasks: str, aim: bool = False) -> SimpleNamespace:
    features = {"localisation": {"names": NAMES}} | ({"aim": {"names": None}} if aim else {})
    return SimpleNamespace(folder=Path("d"), features=features, episodes=[SimpleNamespace(tasks=(t,)) for t in tasks])


def test_words_for_a_thing_without_a_colour_are_named_where_no_column_says_what_is_meant():
    told = ("touch the red block", "touch every block", "done", "touch the tomato block", "touch the plum block")
    (remark,) = unknown_things(dataset(*told))
    assert remark.startswith("d: 'touch the tomato block' and others names none of red, green, and no column `aim`")
    assert unknown_things(dataset(*told, aim=True)) == [] and unknown_things(dataset(*told[:3])) == []


def recorded(text: str = "the red block goes to the box on the right, please", **columns):
    """One row: base and right wrist see two things; `columns` come beside the places."""
    places = {"base.red": (0.25, 0.5, 1), "base.green": (0.75, 0.1, 1), "right_wrist.red": (0.5, 0.9, 1)}
    cameras, spot = ("base", "left_wrist", "right_wrist"), ("x", "y", "visible")
    names = [f"{c}.{thing}.{n}" for c in cameras for thing in ("red", "green") for n in spot]
    values = [places.get(name.rpartition(".")[0], (0, 0, 0))[spot.index(name.rpartition(".")[2])] for name in names]
    features = {"localisation": {"names": names}} | {n: {"names": names_of} for n, (names_of, _) in columns.items()}
    stored = {"localisation": [values]} | {n: [row] for n, (_, row) in columns.items()}
    return SimpleNamespace(
        features=features, column=lambda name: np.array(stored[name], np.float32), task_of=lambda row: text
    )


GOAL = [f"{c}.{n}" for c in ("base", "left_wrist", "right_wrist") for n in ("x", "y", "visible")] + list(WAY)


def test_the_named_thing_and_the_wrist_are_found_behind_signs():
    known = grounding_of(localised(recorded(), 0), kinds=2)
    assert known.target.tolist() == [516, 260] and known.wrist.tolist() == [924, 516]
    assert known.way.tolist() == [-1, -1, -1] and known.lamps.tolist() == [-1, -1]


def test_where_the_fingertips_go_next_and_what_is_held_take_the_place_of_target_and_lamps():
    goal = [0.125, 0.0625, 1, 0, 0, 0, 0.375, 0.25, 1, 0.2, -0.39, 0.0]
    row = recorded(goal=(GOAL, goal), held=(["red", "green"], [1.0, 0.0]))
    known = grounding_of(localised(row, 0), kinds=2)
    assert known.target.tolist() == [68, 132] and known.wrist.tolist() == [260, 388]
    assert known.way.tolist() == [644, 260, 516], "0.8 m are half of the numbers"
    assert known.lamps.tolist() == [LIT, UNLIT] and known.blocks.tolist() == [[516, 260], [100, 772]]


def test_a_dataset_without_places_says_nothing_of_them():
    plain = dataset("touch the tomato block")
    plain.features.clear()
    assert unknown_things(plain) == []

"""Rubrics: what counts as progress in a task, step by step, and the score of trials by it.

A rubric is a YAML file (config/rubrics). A trial is the points that it got in each step; its score is their sum as a share of
the most that can be had, as in the π0 paper (arXiv 2410.24164).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from pi0_ros.robot.errors import RobotError, UserError
from pi0_ros.robot.files import read_bytes
from pi0_ros.robot.resources import config_file, config_names
from pi0_ros.robot.yaml_nodes import YamlNode, read_yaml

MOST_STEPS, MOST_POINTS, MOST_TRIALS = 100, 1000, 100_000
MAX_BYTES = 1 << 24


class RubricError(UserError):
    """A rubric or a table of trials cannot be used; the message names file, line and key."""


@dataclass(frozen=True)
class RubricStep:
    """A sub-goal: its name, the most points it gives, and what has to be seen."""

    name: str
    points: int
    text: str


@dataclass(frozen=True)
class Rubric:
    """ordered: whoever reached a step has reached those before it."""

    name: str
    source: str
    steps: tuple[RubricStep, ...]
    ordered: bool = False

    @property
    def total(self) -> int:
        """The most points of a trial."""
        return sum(step.points for step in self.steps)

    def points_of(self, reached: str | None) -> int:
        """Points of a trial whose farthest step is `reached`, of an ordered rubric; None is no step.

        Raises RubricError for a step that does not exist, and for a rubric without an order.
        """
        names = [step.name for step in self.steps]
        if not self.ordered or (reached is not None and reached not in names):
            raise RubricError(f"rubric {self.name}: {reached!r} is not one of its ordered steps")
        done = 0 if reached is None else names.index(reached) + 1
        return sum(step.points for step in self.steps[:done])


def load_rubric(name: str) -> Rubric:
    """The rubric of a YAML file, or of a name under config/rubrics. Raises RubricError naming file, line and key."""
    file = config_file("rubrics", name)
    if not file.is_file():
        known = ", ".join(config_names("rubrics"))
        raise RubricError(f"there is no rubric {name!r}: give a YAML file, or one of {known or 'config/rubrics'}")
    try:
        return _rubric(read_yaml(file))
    except RobotError as problem:
        raise RubricError(str(problem)) from None


def _rubric(root: YamlNode) -> Rubric:
    found = root.section("rubric", "source", "ordered", "steps")
    listed = found.need("steps").entries()
    if not 1 <= len(listed) <= MOST_STEPS:
        raise found.need("steps").error(f"needs 1 to {MOST_STEPS} steps, and has {len(listed)}")
    steps = tuple(_step(entry) for entry in listed)
    for entry, step in zip(listed, steps, strict=True):
        if sum(other.name == step.name for other in steps) > 1:
            raise entry.error(f"step {step.name} is named twice")
    ordered = found.optional("ordered", YamlNode.truth, False)
    return Rubric(found.need("rubric").text(), found.optional("source", YamlNode.text, ""), steps, ordered)


def _step(entry: YamlNode) -> RubricStep:
    step = entry.section("name", "points", "text")
    points = step.optional("points", lambda node: node.whole(0, MOST_POINTS), 1)
    return RubricStep(step.need("name").text(), points, step.need("text").text())


def read_trials(file: Path, rubric: Rubric) -> list[int]:
    """Points of each trial of a table (CSV): a column for each step, whole numbers; other columns are for people.

    Raises RubricError naming file, line and column.
    """
    try:
        text = read_bytes(file, MAX_BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(StringIO(text)))
    except (RobotError, UnicodeDecodeError, csv.Error) as problem:
        raise RubricError(f"{file}: cannot be read as CSV in UTF-8: {problem}") from None
    if not 1 <= len(rows) <= MOST_TRIALS:
        raise RubricError(f"{file}: needs 1 to {MOST_TRIALS} trials below its header, and has {len(rows)}")
    lost = [step.name for step in rubric.steps if step.name not in rows[0]]
    if lost:
        raise RubricError(f"{file}: there is no column {lost[0]!r}; rubric {rubric.name} needs {_columns(rubric)}")
    return [_points(row, rubric, f"{file}: trial {number}") for number, row in enumerate(rows, 1)]


def _points(row: Mapping[str, str | None], rubric: Rubric, where: str) -> int:
    return sum(_cell(row[step.name], step, f"{where}: {step.name}") for step in rubric.steps)


def _cell(value: str | None, step: RubricStep, where: str) -> int:
    text = (value or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= step.points):
        raise RubricError(f"{where}: {text[:20]!r} has to be a whole number from 0 to {step.points}")
    return int(text)


def _columns(rubric: Rubric) -> str:
    return ",".join(step.name for step in rubric.steps)


def mean_score(points: Sequence[int], rubric: Rubric) -> float:
    """Mean share of the rubric's points over trials."""
    return sum(points) / (len(points) * rubric.total)

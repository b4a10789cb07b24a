"""Every sentence by which the code says why nothing moves, found in its source: `…` stands for what is filled in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILES = (
    "control/*.py",
    "policy/subtask_choice.py",
    "ros/inference_failure.py",
    "ros/plan_loop.py",
    "ros/policy_lanes.py",
    "ros/policy_health.py",
    "ros/subtask_health.py",
    "ros/subtask_loop.py",
    "ros/subtask_watch.py",
    "ros/withheld.py",
    "ros/executor_health.py",
    "ros/lifecycle.py",
    "ros/matching.py",
    "ros/camera_pictures.py",
    "ros/camera_watch.py",
    "ros/clock_monitor.py",
    "ros/observation.py",
    "ros/picture_watch.py",
    "ros/second_publishers.py",
    "ros/observation_source.py",
    "ros/sim_time.py",
    "ros/source_clock.py",
    "ros/state_history.py",
    "ros/teleop_devices.py",
    "ros/topic_check.py",
    "robot/agreement.py",
)
"""Where sentences about a robot that does not move are made."""
JUDGES = ("audit.py",)
"""Modules that judge finished commands: what they say keeps nothing from moving."""
CALLS = (
    "Verdict",
    "Answer",
    "Health",
    "InferenceFailure",
    "_fire",
    "fire",
    "Withheld",
    "_off_course",
    "_ask",
    "_ask_off_course",
)
NAMES = ("text", "why", "told", "reason", "unfound", "waits", "clamped", "slowed", "_refusal")
"""Variables and attributes that hold such a sentence."""
SHORTEST = 10
"""Letters that a fragment needs to be known by."""


@dataclass(frozen=True)
class Reason:
    """One sentence: where it is made, and its fixed parts."""

    place: str
    parts: tuple[str, ...]

    @property
    def fragment(self) -> str:
        """The longest fixed part, by which the page is searched."""
        return " ".join(max(self.parts, key=len).split()).strip(" ;:,")

    @property
    def text(self) -> str:
        """All of it."""
        return "…".join(self.parts)


def reasons(package: Path) -> list[Reason]:
    """All reasons in the source of the package."""
    found: dict[str, Reason] = {}
    for pattern in FILES:
        for file in sorted(set(package.glob(pattern)) - {package / "control" / name for name in JUDGES}):
            for node in _sentences(ast.parse(file.read_text(encoding="utf-8"))):
                reason = Reason(f"{file.relative_to(package)}:{node.lineno}", tuple(_parts(node)))
                if len(reason.fragment) >= SHORTEST and " " in reason.fragment:
                    found.setdefault(reason.fragment, reason)
    return list(found.values())


def _sentences(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "str":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield from _texts(inner.value)
        if isinstance(node, ast.Call) and _called(node) in CALLS:
            for argument in node.args:
                yield from _texts(argument)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
            node.value, ast.JoinedStr | ast.Constant | ast.IfExp
        ):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if _name(target) in NAMES:
                yield from _texts(node.value)


def _name(target: ast.expr) -> str:
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _texts(node: ast.expr) -> Iterator[ast.expr]:
    """The literal texts that an expression may be."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            yield node
        case ast.IfExp():
            yield from (*_texts(node.body), *_texts(node.orelse))
        case ast.BoolOp():
            for value in node.values:
                yield from _texts(value)
        case ast.Tuple():
            for value in node.elts:
                yield from _texts(value)
        case ast.BinOp(op=ast.Add()):
            yield from (*_texts(node.left), *_texts(node.right))


def _parts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
        return
    assert isinstance(node, ast.JoinedStr)
    text = ""
    for value in node.values:
        if isinstance(value, ast.Constant):
            text += str(value.value)
        else:
            yield text
            text = ""
    yield text

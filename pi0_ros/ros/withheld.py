"""Why no plan is made: a cause for code, and a sentence for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pi0_ros.control.planning import Situation
from pi0_ros.ros.prompt_source import PromptSource

EXECUTOR_TIMEOUT_S = 0.5
"""Seconds without `executor_state` after which nothing is planned."""


class Wait(Enum):
    """What a policy waits for."""

    FIRST_OBSERVATION = "first observation"
    PROMPT = "prompt"
    FRESH_SUBTASK = "fresh subtask"
    EXECUTOR = "executor"
    RESET = "reset"
    OBSERVATION = "observation"


@dataclass(frozen=True)
class Withheld:
    """`about`: names of the cameras that are not there."""

    wait: Wait
    sentence: str
    about: tuple[str, ...] = ()

    def is_as(self, other: Withheld | None) -> bool:
        """Whether nothing has changed but numbers in the sentence."""
        return other is not None and (self.wait, self.about) == (other.wait, other.about)


START = Withheld(Wait.FIRST_OBSERVATION, "waiting for the first observation")


@dataclass(frozen=True)
class PromptRules:
    """topic: `subtask` or `task`. max_age [s]: of a subtask; 0 is any age."""

    topic: str
    max_age: float


def withheld(
    words: PromptSource, rules: PromptRules, high_level: str, executor: Situation, steady: float
) -> Withheld | None:
    """Why no plan is made at `steady` [s] whatever is seen, None if nothing is in the way.

    `high_level`: why that node gives no subtask, "" if it has not said.
    """
    if not words.text:
        why = f"no subtask: {high_level}" if rules.topic == "subtask" and high_level else nothing_said(rules.topic)
        return Withheld(Wait.PROMPT, why)
    age = words.age(steady)
    if rules.topic == "subtask" and 0.0 < rules.max_age < age:
        why = high_level or "is high_level running?"
        return Withheld(Wait.FRESH_SUBTASK, f"the subtask is {age:.0f} s old; {why}")
    if steady - executor.received > EXECUTOR_TIMEOUT_S:
        return Withheld(Wait.EXECUTOR, "no executor_state; is the executor active?")
    if executor.mode == "stopped":
        return Withheld(Wait.RESET, "the executor is stopped")
    return None


def nothing_said(topic: str) -> str:
    """The sentence for nobody having said a `task` or `subtask`, with the way out."""
    return f'no {topic} yet; give a task with pi0 task "WORDS", or publish on {topic}'

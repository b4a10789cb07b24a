"""The texts that the policy node reads: its prompt, an operator's override, and why high_level gives no subtask."""

from __future__ import annotations

from collections.abc import Callable

from pi0_ros.control.planning import Situation
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.prompt_source import OVERRIDE, PromptSource
from pi0_ros.ros.texts import LONGEST_PROMPT, subscribe_to_texts
from pi0_ros.ros.withheld import PromptRules, Withheld, withheld


class PromptInputs:
    """The subscriptions, as long as `node` owns them; `changed` is called when other words are to be followed."""

    def __init__(self, node: ManagedNode, rules: PromptRules, changed: Callable[[], None]) -> None:
        self._rules, self._clocks, self._logger, self._changed = rules, node.clocks, node.get_logger(), changed
        self.words = PromptSource(rules.topic)
        self._high_level = ""
        prompts = {rules.topic: self.update_prompt, OVERRIDE: self.update_override}
        subscriptions = subscribe_to_texts(node, prompts, LONGEST_PROMPT)
        for subscription in (*subscriptions, *subscribe_to_texts(node, {"high_level_state": self.update_high_level})):
            node.own(subscription)

    def update_prompt(self, text: str) -> None:
        """The prompt's topic says `text`."""
        if not text and self.words.text and not self.words.overridden:
            self._logger.warning(f"empty {self._rules.topic}: planning pauses until there is one")
        self.words.hear(text, self._clocks.steady())
        self._changed()

    def update_override(self, text: str) -> None:
        """An operator says `text`; "" takes it back."""
        if not text and not self.words.overridden:
            return
        self.words.override(text)
        self._logger.info(f"{OVERRIDE}: {text}" if text else f"{OVERRIDE} released: {self.words.topic} again")
        self._changed()

    def update_high_level(self, text: str) -> None:
        """high_level says why it gives no subtask."""
        self._high_level = text

    def withheld(self, executor: Situation, steady: float) -> Withheld | None:
        """Why nothing is planned at `steady` [s] whatever is seen; None if nothing is in the way."""
        return withheld(self.words, self._rules, self._high_level, executor, steady)

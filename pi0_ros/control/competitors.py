"""Others who publish where one owner alone may: on the command topics, or beside one another on a topic of teleop."""

from __future__ import annotations

from pi0_ros.control.journal import Now
from pi0_ros.control.mode_keeper import ModeEvent
from pi0_ros.control.modes import Mode, Trigger
from pi0_ros.control.parts import Parts

AGAIN = 10.0  # [s] between two log lines about the same others


def take_competitors(parts: Parts, now: Now, trigger: Trigger, text: str) -> None:
    """Note who competes: `text` names them, "" for nobody. Two devices of teleop end what a person drives, not autonomy."""
    before = parts.inputs.competitors.pop(trigger, "")
    if not text:
        return
    warn = parts.settings.second_publisher == "warn"
    throttle = AGAIN if warn or text == before else 0.0
    parts.journal.note(now, "warn" if warn else "error", trigger.value, text, throttle)
    if warn:
        return
    parts.inputs.competitors[trigger] = text
    event = ModeEvent(trigger, text)
    if trigger is Trigger.SECOND_PUBLISHER or parts.modes.mode is Mode.TELEOP:
        parts.modes.fire(now, event)
    parts.modes.explain(event)  # a new node's name comes a moment after its publishers

"""What is known of the policy besides its chunks: whether there is one, and why it does not plan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pi0_ros.robot.wording import leave_one, listed


@dataclass(frozen=True)
class PolicyWatch:
    """`nodes`: names of those that publish chunks, None if nobody looked. `reason`: what the policy says it waits for."""

    nodes: tuple[str, ...] | None = None
    reason: str = ""

    def seen(self, nodes: tuple[str, ...]) -> PolicyWatch:
        """The nodes of these names publish chunks, one name for each publisher."""
        return replace(self, nodes=nodes, reason=self.reason if nodes else "")

    def says(self, reason: str) -> PolicyWatch:
        """The policy's newest word: why it does not plan, "" if it does."""
        return replace(self, reason=reason)

    def objection(self) -> str:
        """Why autonomy makes no sense, "" if it may."""
        return "no policy is alive: nobody publishes action_chunk" if self.nodes == () else ""

    def competition(self) -> str:
        """Which nodes publish chunks beside one another, "" for one. Two of one name may be one that was restarted, which the
        network remembers for a while: the chunks themselves say whether both are there."""
        names = sorted(set(self.nodes or ()))
        if len(names) < 2:
            return ""
        return f"{listed(names)} publish action_chunk, and one policy can drive; {leave_one(len(names))}"

    def waiting(self, refusal: str) -> str:
        """What autonomy waits for before its first plan; `refusal`: why the newest chunk was not taken, "" for none."""
        if self.reason:
            return f"waiting for the policy: {self.reason}"
        why = f"; the last was refused: {refusal}" if refusal else ""
        return f"waiting for a fresh chunk that starts near the robot{why}"

    def lost(self, limit: float, refusal: str) -> str:
        """Why autonomy ends when no usable chunk has come for `limit` [s]."""
        why = f"; the last was refused: {refusal}" if refusal else self._own_reason()
        return f"no usable chunk within {limit:g} s{why}"

    def silent(self, lost: float) -> str:
        """Why autonomy ends when no plan has come for `lost` [s] after the last one."""
        return f"policy silent for {lost:g} s after the plan ran out{self._own_reason()}"

    def underrun(self) -> str:
        """What autonomy waits for when its plan has run out."""
        return f"UNDERRUN: the plan ran out, holding until the next chunk{self._own_reason()}"

    def _own_reason(self) -> str:
        return f"; the policy: {self.reason}" if self.reason else ""

"""What a policy expects of a robot, and whether a robot has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pi0_ros.model.kinds import traits
from pi0_ros.policy.adapter import SURE_ENOUGH, Adapter
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.robot.measurement import observable, readings_of
from pi0_ros.robot.spec import Kind, Robot


@dataclass(frozen=True)
class Contract:
    """The two sides of a policy.

    channels: what a plan commands, in plan order. state_channels: what it must measure. cameras: robot camera -> the
    model's picture slot; high_level_cameras the same for subtasks; empty_slots: slots no robot camera fills. horizon
    rows, period s. prompt: kind, with the dialect. delta_channels: planned as offsets from the state at chunk start.
    continues: whether `infer` takes a plan prefix; if not, it is ignored and the plan has no frozen rows. finished:
    subtasks that say that nothing is left to do. subtasks: the form of an answer of the text head, None if it was not
    trained to give any; subtask_log_probability: the least that its tokens have on average for it to be believed.
    """

    name: str
    source: str
    origin: str
    kind: str
    prompt: str
    channels: tuple[str, ...]
    state_channels: tuple[str, ...]
    delta_channels: tuple[str, ...]
    held_channels: tuple[str, ...]
    cameras: Mapping[str, str]
    high_level_cameras: Mapping[str, str]
    empty_slots: tuple[str, ...]
    horizon: int
    period: float
    has_text_head: bool
    continues: bool
    resampler: str
    normalisation: str
    finished: tuple[str, ...] = ()
    subtasks: str | None = None
    subtask_log_probability: float = SURE_ENOUGH

    @property
    def gives_subtasks(self) -> bool:
        """Whether the network was trained to say what to do next: it has a text head, and its adapter says in which form."""
        return self.has_text_head and self.subtasks is not None

    @property
    def plan_seconds(self) -> float:
        """From a plan's first row to its last [s]."""
        return (self.horizon - 1) * self.period

    def needed_state(self, robot: Robot) -> tuple[str, ...]:
        """What has to be known before a plan is made: what the policy measures, and positions that it holds."""
        held = [n for n in self.held_channels if robot.channels[robot.index[n]].kind is not Kind.VELOCITY]
        return tuple(dict.fromkeys((*self.state_channels, *held)))


@dataclass(frozen=True)
class Fit:
    """Whether robot and policy fit, and what was compared, a line each; lines of what does not fit begin with "no"."""

    ok: bool
    lines: tuple[str, ...]


def plan_channels(adapter: Adapter, robot: Robot) -> tuple[str, ...]:
    """What a plan commands: in the robot's order, then what the robot lacks."""
    wanted = (*adapter.action_channels, *adapter.hold)
    order = {name: i for i, name in enumerate(robot.channel_names)}
    return tuple(sorted(wanted, key=lambda n: order.get(n, len(order) + wanted.index(n))))


def contract_of_remote(adapter: Adapter, url: str, robot: Robot) -> Contract:
    """The contract of a policy on a server, which does everything around its network itself."""
    return Contract(
        name=adapter.name,
        source=str(adapter.file),
        origin="openpi server",
        kind="remote",
        prompt="as it is",
        channels=plan_channels(adapter, robot),
        state_channels=adapter.state_channels,
        delta_channels=(),
        held_channels=adapter.hold,
        cameras={camera: key for key, camera in adapter.remote.images.items()} if adapter.remote else {},
        high_level_cameras={},
        empty_slots=(),
        horizon=adapter.horizon,
        period=adapter.period,
        has_text_head=False,
        continues=False,
        resampler="pil",
        normalisation=f"the server's ({url})",
        finished=adapter.finished,
    )


def contract_of(adapter: Adapter, pipeline: Pipeline, robot: Robot) -> Contract:
    """The contract of a checkpoint read through an adapter, channels in the robot's order if it has them."""
    high = adapter.question_cameras
    return Contract(
        name=adapter.name,
        source=str(adapter.file),
        origin=pipeline.origin,
        kind=pipeline.style.kind,
        prompt=f"{pipeline.style.kind} ({pipeline.style.dialect})",
        channels=plan_channels(adapter, robot),
        state_channels=adapter.state_channels,
        delta_channels=tuple(n for n, d in zip(adapter.action_channels, pipeline.delta, strict=False) if d),
        held_channels=adapter.hold,
        cameras=_inverted(adapter.cameras),
        high_level_cameras=_inverted(high),
        empty_slots=tuple(s for s in pipeline.cameras if adapter.cameras.get(s) is None),
        horizon=pipeline.horizon,
        period=adapter.period,
        has_text_head=traits(pipeline.style.kind).has_text_head,
        continues=not traits(pipeline.style.kind).acts_in_tokens,
        resampler=pipeline.resampler,
        normalisation=pipeline.action_norm.method,
        finished=adapter.finished,
        subtasks=adapter.subtasks,
        subtask_log_probability=adapter.subtask_log_probability,
    )


def _inverted(cameras: Mapping[str, str | None]) -> dict[str, str]:
    return {camera: slot for slot, camera in cameras.items() if camera is not None}


def check_fit(robot: Robot, contract: Contract) -> Fit:
    """Compare by name: commanded channels, measured channels, cameras. A channel that nobody commands does not fit."""
    measured = {r.name for r in observable(robot) if r.measured or r.commanded}
    cameras = tuple(c.name for c in robot.cameras)
    uncommanded = tuple(n for n in robot.channel_names if n not in contract.channels)
    wrong_hold = tuple(c.name for c in robot.channels if c.name in contract.held_channels and c.kind is Kind.GRIPPER)
    checks = [
        _check("channels the policy commands", contract.channels, robot.channel_names, "robot has"),
        _check("channels the policy measures", contract.state_channels, sorted(measured), "robot measures"),
        _unmeasured(robot, contract.state_channels),
        _check("cameras the policy sees with", tuple(contract.cameras), cameras, "robot has"),
        _check("cameras of the subtask question", tuple(contract.high_level_cameras), cameras, "robot has"),
        _nothing("robot channels no one would command", uncommanded, f"name them under hold: in {contract.source}"),
        _nothing("grippers under hold", wrong_hold, "only positions and velocities can be held"),
    ]
    unmeasured = [r.name for r in readings_of(robot) if not (r.measured or r.commanded)]
    resting = (f"ok  not measured by anything, starting from the last command: {', '.join(unmeasured)}",)
    facts = (
        f"ok  {contract.kind} from {contract.origin}, adapter {contract.name}",
        f"ok  {contract.horizon} rows of {contract.period:g} s, normalised by {contract.normalisation}",
        f"ok  subtasks by the network, of the form {contract.subtasks}, with a mean log-probability of "
        f"{contract.subtask_log_probability:g} or more"
        if contract.gives_subtasks
        else "ok  no subtasks: not trained to give any, so the task goes to the policy as it is (high_level passes it on)",
    )
    lines = tuple(line for _, lines in checks for line in lines)
    return Fit(all(ok for ok, _ in checks), (*facts, *lines, *(resting if unmeasured else ())))


def _check(what: str, wanted: Sequence[str], there: Sequence[str], whose: str) -> tuple[bool, tuple[str, ...]]:
    lost = [n for n in wanted if n not in there]
    if not lost:
        return True, (f"ok  {what}: {', '.join(wanted) or 'none'}",)
    lines = (f"no  {what}: {', '.join(lost)} not there", f"    policy wants: {', '.join(wanted)}")
    return False, (*lines, f"    {whose}: {', '.join(there)}")


def _unmeasured(robot: Robot, wanted: Sequence[str]) -> tuple[bool, tuple[str, ...]]:
    """The way out for velocities that the robot has and nobody reports."""
    silent = [r.name for r in readings_of(robot) if r.name in wanted and not (r.measured or r.commanded)]
    if not silent:
        return True, ()
    advice = "no source of type odometry under state; measured: false in the group lets the last command stand for it"
    return False, (f"no  measured by nothing: {', '.join(silent)}; {advice}",)


def _nothing(what: str, names: Sequence[str], advice: str) -> tuple[bool, tuple[str, ...]]:
    return (True, ()) if not names else (False, (f"no  {what}: {', '.join(names)}; {advice}",))

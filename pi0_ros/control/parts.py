"""The pieces that the control core is put together from."""

from __future__ import annotations

from dataclasses import dataclass

from pi0_ros.control.blackbox import BlackBox
from pi0_ros.control.chunk_gate import ChunkGate
from pi0_ros.control.drive import Drive
from pi0_ros.control.engage import Engage
from pi0_ros.control.failsafe import Failsafe
from pi0_ros.control.inputs import Inputs
from pi0_ros.control.journal import Journal
from pi0_ros.control.mode_keeper import ModeKeeper
from pi0_ros.control.pace import Pace
from pi0_ros.control.plan_making import Planner
from pi0_ros.control.plans import Plans
from pi0_ros.control.sensing import Measurements
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.start_up import StartUp
from pi0_ros.control.teleop import Teleop
from pi0_ros.robot.spec import Robot


@dataclass(frozen=True)
class Parts:
    """One of each; who decides what is said in its own module."""

    settings: ExecutorSettings
    journal: Journal
    inputs: Inputs
    pace: Pace
    modes: ModeKeeper
    failsafe: Failsafe
    start_up: StartUp
    engage: Engage
    plans: Plans
    gate: ChunkGate
    drive: Drive


def assemble(robot: Robot, settings: ExecutorSettings, epoch: int, planner: Planner, blackbox: BlackBox) -> Parts:
    """The parts for one robot, wired together."""
    period = 1.0 / robot.control_rate
    journal, inputs = Journal(blackbox), Inputs(Measurements(robot, settings), Teleop(robot, settings))
    plans, engage = Plans(robot, settings, period, planner), Engage(settings, period)
    drive = Drive(robot, settings, period, inputs, plans, engage)
    start_up = StartUp(robot, inputs, journal)
    modes = ModeKeeper(epoch, journal)
    gate = ChunkGate(robot, settings, inputs, modes, plans, drive, engage, journal)
    modes.on_change = (
        lambda _: plans.forget(),
        inputs.teleop.restart,
        engage.change_owner,
        drive.change_owner,
        gate.change_owner,
        start_up.change_owner,
    )
    return Parts(
        settings=settings,
        journal=journal,
        inputs=inputs,
        pace=Pace(period, settings.clock_jump),
        modes=modes,
        failsafe=Failsafe(robot, settings, period),
        start_up=start_up,
        engage=engage,
        plans=plans,
        gate=gate,
        drive=drive,
    )

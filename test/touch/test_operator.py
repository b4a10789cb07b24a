from __future__ import annotations

import numpy as np

from pi0_ros.sim.tasks import make_task
from pi0_ros.touch.operator import Operator
from pi0_ros.touch.words import DONE


def episode(sim, operator, task, seed):
    """All commands [T, D] until the task is decided."""
    task.reset(sim, seed)
    operator.sync()
    commands = []
    while not (task.success(sim) or task.failed(sim)):
        commands.append(operator.act(task.subtask(sim)))
        sim.set_command(sim.robot.channel_names, commands[-1])
        sim.advance(operator.period)
    return np.array(commands)


def test_it_reaches_in_nearly_every_scene_and_in_a_few_seconds(sim):
    operator, task = Operator(sim.robot, sim), make_task("reach")
    done, seconds = 0, []
    for seed in range(5000, 5015):
        episode(sim, operator, task, seed)
        done += task.success(sim)
        seconds.append(sim.time)
    assert done >= 14
    assert np.median(seconds) < 5.0


def test_it_touches_every_block(sim):
    operator, task = Operator(sim.robot, sim), make_task("touch_all")
    done = 0
    for seed in range(5000, 5003):
        episode(sim, operator, task, seed)
        done += task.progress(sim)[0]
    assert done >= 11


def test_its_arms_meet_neither_each_other_nor_the_table(sim):
    operator, task = Operator(sim.robot, sim), make_task("touch_all")
    for seed in (7000, 7001):
        task.reset(sim, seed)
        operator.sync()
        while not (task.success(sim) or task.failed(sim)):
            sim.set_command(sim.robot.channel_names, operator.act(task.subtask(sim)))
            sim.advance(operator.period)
            for pair in sim.arm_contacts():
                assert any(name.endswith("_body") for name in pair), set(pair)  # a block


def test_its_commands_are_smooth_and_inside_the_limits(sim):
    operator, task = Operator(sim.robot, sim), make_task("touch_all")
    commands = episode(sim, operator, task, 12)
    limits = [c.limits for c in sim.robot.channels]
    assert (commands >= [x.lower for x in limits]).all() and (commands <= [x.upper for x in limits]).all()
    position = [i for i, c in enumerate(sim.robot.channels) if c.kind.value != "velocity"]
    velocity = np.diff(commands[:, position], axis=0) / operator.period
    assert (np.abs(velocity) <= [limits[i].velocity * 1.001 for i in position]).all()
    acceleration = np.diff(velocity, axis=0) / operator.period
    assert np.abs(acceleration).max() <= operator.settings.acceleration * 1.01
    assert not commands[:, [sim.robot.index[c] for c in ("base_vx", "base_vy", "base_wz")]].any()


def test_the_same_scene_gives_the_same_commands(sim):
    operator, task = Operator(sim.robot, sim), make_task("reach")
    assert episode(sim, operator, task, 8).tobytes() == episode(sim, operator, task, 8).tobytes()


def test_without_a_block_both_arms_go_home(sim):
    operator = Operator(sim.robot, sim)
    task = make_task("reach")
    episode(sim, operator, task, 4)
    for _ in range(250):
        sim.set_command(sim.robot.channel_names, operator.act(DONE))
        sim.advance(operator.period)
    home = operator.command.copy()
    episode(sim, operator, task, 5)
    for _ in range(250):
        sim.set_command(sim.robot.channel_names, operator.act(DONE))
        sim.advance(operator.period)
    assert np.abs(operator.command - home).max() < 0.05, "the same posture whatever came before"
    assert sim.measured()["left_gripper"] > 0.9 and sim.measured()["right_gripper"] > 0.9


def test_a_plan_is_what_it_then_sends_and_leaves_it_as_it_was(sim):
    operator, task = Operator(sim.robot, sim), make_task("reach")
    task.reset(sim, 6)
    operator.sync()
    before = operator.command.copy()
    plan = operator.plan(task.instruction, rows=8, period=0.1)
    assert (operator.command == before).all()
    sent = []
    for tick in range(36):
        command = operator.act(task.instruction)
        if tick % 5 == 0:
            sent.append(command)
    assert np.allclose(plan, sent, atol=1e-12)


def test_it_recovers_from_a_displaced_command(sim):
    operator, task = Operator(sim.robot, sim), make_task("reach")
    done = 0
    for seed in range(6000, 6006):
        rng = np.random.default_rng(seed)
        task.reset(sim, seed)
        operator.sync()
        while not (task.success(sim) or task.failed(sim)):
            if 0.8 <= sim.time < 1.1:
                pushed = operator.displaced(
                    task.side, rng.uniform(-0.2, 0.2, 3) + (0, 0, 0.1), rng.uniform(-0.3, 0.3, 6)
                )
                operator.set_command(pushed)
            sim.set_command(sim.robot.channel_names, operator.act(task.instruction))
            sim.advance(operator.period)
        done += task.success(sim)
    assert done >= 5

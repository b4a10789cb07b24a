"""The scripted person sees what anybody sees, takes over where it goes wrong, and drives to the end."""

from __future__ import annotations

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco")

from pi0_ros.sim.robot import SimRobot
from pi0_ros.touch.bystander import Bystander, Patience, goes_wrong
from pi0_ros.touch.tasks import Reach

PATIENCE = Patience(grace=1.0, window=1.0, progress=0.03, low=0.03, beside=0.06, there=0.2)


def seen(*rows):
    return [tuple(map(float, row)) for row in rows]


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ([], ""),
        ([(0.5, 0.4, 0.3, 0.2), (1.4, 0.4, 0.3, 0.2)], ""),  # the executor starts gently
        ([(1.1, 0.4, 0.3, 0.2), (2.2, 0.39, 0.3, 0.2)], "came 1 cm closer in 1 s"),
        ([(1.1, 0.4, 0.3, 0.2), (2.2, 0.35, 0.3, 0.2)], ""),
        ([(0.2, 0.2, 0.15, 0.02)], "sinks 15 cm beside the block"),
        ([(0.2, 0.05, 0.04, 0.02)], ""),  # at the block
        ([(0.2, 0.5, 0.4, 0.02)], ""),  # low, but not there yet
    ],
)
def test_what_goes_wrong_is_told_from_the_fingertips_way(history, why):
    assert why in goes_wrong(seen(*history), PATIENCE) and bool(goes_wrong(seen(*history), PATIENCE)) == bool(why)


def base_of(sim):
    return sim.odometry()[:3]


def test_it_keeps_in_step_with_a_robot_that_it_only_hears_of(bimanual):
    played, task = SimRobot(bimanual), Reach()
    watcher = Bystander(bimanual)
    told = task.reset(played, 77)
    assert watcher.begin("reach", 77) == told
    played.set_command(("base_vx", "left_joint1"), (0.2, 0.4))
    played.advance(0.6)
    mujoco.mj_forward(played.model, played.data)  # places of bodies are of one step before
    names, positions, _ = played.joint_state()
    watcher.see(played.time, dict(zip(names, positions, strict=True)), base_of(played))
    for side in ("left", "right"):
        ours, theirs = (s.data.body(f"{side}_tip").xpos for s in (watcher.sim, played))
        assert np.allclose(ours, theirs, atol=1e-6)
    assert watcher.sim.data.qpos[watcher.sim.world.qpos["base_x"]] != pytest.approx(0.0, abs=1e-3)


def test_it_drives_from_where_the_robot_is_until_the_block_is_touched(bimanual):
    played, task = SimRobot(bimanual), Reach()
    watcher = Bystander(bimanual, period=0.02)
    task.reset(played, 78)
    watcher.begin("reach", 78)
    watcher.take(np.array([played.measured()[c] for c in bimanual.channel_names]))
    while not watcher.solved and played.time < task.time_limit:
        names, positions, _ = played.joint_state()
        watcher.see(played.time, dict(zip(names, positions, strict=True)), base_of(played))
        measured = np.array([played.measured()[c] for c in bimanual.channel_names])
        goal = watcher.lead(measured)
        arms = [i for i, c in enumerate(bimanual.channels) if c.group.endswith("_arm")]
        assert np.abs(goal - measured)[arms].max() <= 0.15 + 1e-9  # a leader is never far ahead
        played.set_command(bimanual.channel_names, goal)
        played.advance(0.02)
    assert watcher.solved and task.success(played)

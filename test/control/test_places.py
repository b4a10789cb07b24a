"""Where the robot is, and when: all kinds of channels of one plan against a few lines of numpy on its rows."""

import numpy as np
import pytest
from story import Story, make_robot, middle

from pi0_ros.control import ExecutorSettings

ARM, OTHER, LIFT, BASE, TURN, GRIP = "left_joint2", "right_joint5", "lift", "base_vx", "base_wz", "left_gripper"


def rows_of(robot, count, period):
    """Rows [H, D] in which every named channel does something of its own, from rest to rest."""
    s = np.clip(np.arange(count) / (count - 6), 0.0, 1.0)
    smooth = s * s * (3.0 - 2.0 * s)
    bump = np.sin(np.pi * s) ** 2
    rows = np.tile(np.where([c.kind.value == "velocity" for c in robot.channels], 0.0, middle(robot)), (count, 1))
    for name, change in ((ARM, -0.35 * smooth), (OTHER, 0.22 * smooth), (LIFT, 0.05 * smooth)):
        rows[:, robot.index[name]] += change
    rows[:, robot.index[BASE]], rows[:, robot.index[TURN]] = 0.15 * bump, -0.30 * bump
    rows[:, robot.index[GRIP]] = np.where(np.arange(count) < count // 2, 1.0, 0.2)
    return rows


@pytest.mark.parametrize("strategy", ["auto", "replace", "wait", "ensemble"])
@pytest.mark.parametrize(("rate", "delay"), [(10.0, 0.12), (25.0, 0.3)])
def test_every_channel_is_where_its_rows_say_and_arrives_when_they_do(strategy, rate, delay):
    robot = make_robot()
    story = Story(robot, ExecutorSettings(strategy=strategy, engage_scale=1.0, engage_time=0.0)).run(0.1)
    start = story.values.copy()
    count = round(3.5 * rate)
    rows = rows_of(robot, count, 1.0 / rate)
    rows[:, [robot.index[GRIP]]] = np.where(rows[:, [robot.index[GRIP]]] == 1.0, start[robot.index[GRIP]], 0.2)
    assert story.ask("autonomy").ok
    story.tick()
    observed = story.ros
    story.run(delay)
    assert story.send(story.chunk(values=rows, period=1.0 / rate, start=observed)).accepted
    before = len(story.runs[-1])
    story.run(5.0)
    sent = np.array(story.runs[-1][before:])
    # It stood when the chunk came: row 0 is executed first, a period or two after that.
    time = story.period * np.arange(len(sent))
    places = rows[:, robot.index[ARM]]
    reached = int(np.argmax(np.abs(sent[:, robot.index[ARM]] - places[-1]) < 0.01))
    wanted = int(np.argmax(np.abs(places - places[-1]) < 0.01)) / rate
    late = time[reached] - wanted
    assert -0.15 <= late <= 0.15
    at = np.clip((time - late) * rate, 0.0, count - 1.0)
    for name in (ARM, OTHER, LIFT):
        i = robot.index[name]
        expected = np.interp(at, np.arange(count), rows[:, i])
        assert np.abs(sent[:, i] - expected).max() < 0.05 * np.ptp(rows[:, i]) + 0.004, name
        assert sent[-1, i] == pytest.approx(rows[-1, i], abs=1e-3)
    for name in (BASE, TURN):
        i = robot.index[name]
        assert sent[:, i].sum() * story.period == pytest.approx(rows[:, i].sum() / rate, rel=0.05), name
        assert sent[-1, i] == 0.0
    grip = sent[:, robot.index[GRIP]]
    closing = time[int(np.argmax(grip < start[robot.index[GRIP]] - 1e-6))]
    assert closing == pytest.approx((count // 2) / rate + late, abs=0.12)
    assert grip[-1] == pytest.approx(0.2)
    story.sound()

"""The bench of public robots: what it judges by."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy")

from bench.robots import (
    ROBOTS,
    Independent,
    data_folder,
    goals_of,
    independent_limits,
    main,
    plan,
    steps_too_fast,
    worst_difference,
    yaml_of,
)
from pi0_ros.robot import load_robot

ARM = """
arm:
  kind: position
  channels: [j1, wrist, slide]
  command: {topic: arm/commands, type: joint_state}
  limits: {source: urdf, acceleration: 3.0}
"""
OTHER = {
    "j1": Independent(-2.0, 2.0, 2.5),
    "wrist": Independent(-math.inf, math.inf, 2.5),
    "slide": Independent(0.0, 0.4, 0.3),
}


def test_another_readers_limits_are_compared_joint_by_joint(small_robot):
    robot = small_robot(ARM)
    assert worst_difference(robot, OTHER) == 0.0
    assert worst_difference(robot, OTHER | {"slide": Independent(0.0, 0.4, 0.25)}) == pytest.approx(0.05)
    assert worst_difference(robot, OTHER | {"j1": Independent(-2.0, 1.9, 2.5)}) == pytest.approx(0.1)
    assert math.isinf(worst_difference(robot, OTHER | {"j1": Independent(-math.inf, math.inf, 2.5)}))


def test_every_joint_goes_towards_its_further_end(small_robot):
    goal = goals_of(small_robot(ARM), {"j1": 1.0, "wrist": 0.0, "slide": 0.1})
    assert goal == pytest.approx({"j1": 0.5, "wrist": 0.5, "slide": 0.19})


def test_a_plan_takes_as_long_as_the_slowest_joint_needs(small_robot):
    start, goal = {"j1": 0.0, "wrist": 0.2, "slide": 0.1}, {"j1": 0.5, "wrist": -0.2, "slide": 0.16}
    rows = plan(small_robot(ARM), start, goal)
    # 0.5 rad at 3 rad/s2 takes 2.5 sqrt(0.5 / 3) s, longer than at half of 2.5 rad/s
    share = 10 * 0.04 / (2.5 * math.sqrt(0.5 / 3.0))
    share = 3.0 * share**2 - 2.0 * share**3
    np.testing.assert_allclose(rows[10], (0.5 * share, 0.2 - 0.4 * share, 0.1 + 0.06 * share))
    rows = plan(small_robot(ARM), start, {"j1": 0.0, "wrist": 0.2, "slide": 0.22})
    share = 10 * 0.04 / (0.12 / 0.15)
    np.testing.assert_allclose(rows[10], (0.0, 0.2, 0.1 + 0.12 * (3.0 * share**2 - 2.0 * share**3)))


def test_a_step_may_be_as_long_as_the_periods_between_two_commands_allow():
    speeds = np.array([1.0, 0.5])
    commands = [(0.0, (0.0, 0.0)), (0.02, (0.02, 0.01)), (0.06, (0.06, 0.03)), (0.08, (0.06, 0.041))]
    assert steps_too_fast(commands, speeds, 0.02) == 1


def test_public_robots_load_with_the_limits_of_another_reader(tmp_path):
    data = data_folder("")
    if data is None:
        pytest.skip("needs the robots of example-robot-data: pip install example-robot-data")
    pytest.importorskip("urdf_parser_py", reason="needs another reader: pip install urdf-parser-py")
    for public in ROBOTS:
        (tmp_path / "r.yaml").write_text(yaml_of(public, data / public.urdf))
        robot = load_robot(tmp_path / "r.yaml")
        assert worst_difference(robot, independent_limits(data / public.urdf, public.speed)) < 1e-9, public.name


def test_a_folder_that_is_not_there_is_an_error_and_no_folder_is_a_sentence(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "none")]) == 1
    assert "pip install example-robot-data urdf-parser-py" in capsys.readouterr().err

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.robot.urdf import read_urdf
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.robot import WATCHDOG, SimRobot
from pi0_ros.sim.scene import REGION_X, REGION_Y, SPACING, Scene, sample_scene
from pi0_ros.sim.world import COLOURS, build_world

APART = Scene({"red": (0.5, 0.2, 0.0), "green": (0.7, 0.2, 0.0), "blue": (0.5, -0.2, 0.0), "yellow": (0.7, -0.2, 0.0)})


def wild_drive(sim, seed, seconds=1.0):
    """Random commands far beyond every limit; yields after each 20 ms."""
    rng = np.random.default_rng(seed)
    for _ in range(round(seconds / 0.02)):
        sim.set_command(sim.robot.channel_names, rng.uniform(-4, 4, len(sim.robot.channels)))
        sim.advance(0.02)
        yield


def test_the_same_seed_and_commands_give_the_same_bits(bimanual):
    def run(sim):
        sim.reset(5)
        for _ in wild_drive(sim, 2, 0.5):
            pass
        return sim.data.qpos.tobytes() + sim.data.qvel.tobytes() + sim.render("base", 64).tobytes()

    first, second = SimRobot(bimanual, seed=9), SimRobot(bimanual, seed=10)
    assert run(first) == run(second)
    assert run(first) == run(second), "a reset after use starts from the same bits"
    first.close(), second.close()


def test_other_seeds_give_other_scenes(sim):
    places = []
    for seed in (1, 2):
        sim.reset(seed)
        places.append(sim.block_positions["red"])
    assert np.linalg.norm(places[0] - places[1]) > 1e-3


def test_sampled_blocks_lie_in_the_region_and_apart():
    for seed in range(100):
        places = np.array([p[:2] for p in sample_scene(np.random.default_rng(seed)).blocks.values()])
        assert (places >= (REGION_X[0], REGION_Y[0])).all() and (places <= (REGION_X[1], REGION_Y[1])).all()
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(4, 1)]
        assert gaps.min() >= SPACING


def test_every_colour_turns_up_on_both_sides():
    left = dict.fromkeys(COLOURS, 0)
    for seed in range(200):
        for colour, (_, y, _) in sample_scene(np.random.default_rng(seed)).blocks.items():
            left[colour] += y > 0
    assert all(60 < count < 140 for count in left.values())


def test_joints_stay_inside_the_urdf_limits_whatever_is_commanded(sim):
    joints = read_urdf(sim.robot.urdf).joints
    sim.load(APART)
    for _ in wild_drive(sim, 3, 3.0):
        names, positions, velocities = sim.joint_state()
        assert np.isfinite(positions).all() and np.isfinite(velocities).all()
        for name, position in zip(names, positions, strict=True):
            slack = 0.02 if joints[name].type == "revolute" else 0.002
            assert joints[name].lower - slack <= position <= joints[name].upper + slack, name


def test_a_robot_at_rest_stays_at_rest(sim):
    before = sim.measured()
    sim.advance(2.0)
    after = sim.measured()
    assert max(abs(after[c] - before[c]) for c in before) < 2e-3
    assert np.abs(sim.odometry()[:3]).max() < 1e-3


def test_arms_follow_their_commands(sim):
    sim.set_command(["left_joint1", "right_joint5", "lift"], [0.6, 0.9, 0.2])
    for _ in range(10):
        sim.set_command(["left_joint1", "right_joint5", "lift"], [0.6, 0.9, 0.2])
        sim.advance(0.2)
    measured = sim.measured()
    assert measured["left_joint1"] == pytest.approx(0.6, abs=0.01)
    assert measured["right_joint5"] == pytest.approx(0.9, abs=0.01)
    assert measured["lift"] == pytest.approx(0.2, abs=0.002)


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_gripper_channel_is_0_closed_and_1_open_and_both_fingers_move(sim, value):
    sim.set_command(["left_gripper"], [value])
    sim.advance(1.5)
    names, positions, _ = sim.joint_state()
    fingers = dict(zip(names, positions, strict=True))
    assert sim.measured()["left_gripper"] == pytest.approx(value, abs=0.03)
    assert fingers["left_finger_joint"] == pytest.approx(0.04 * value, abs=0.0015)
    assert fingers["left_finger2_joint"] == pytest.approx(fingers["left_finger_joint"], abs=0.001)


def test_base_velocity_is_in_the_base_frame_and_the_pose_in_the_odom_frame(sim):
    sim.load(replace(APART, base=(0.1, -0.2, 0.5)))
    for _ in range(20):
        sim.set_command(["base_vx", "base_vy", "base_wz"], [-0.2, 0.1, 0.0])
        sim.advance(0.1)
    x, y, yaw, vx, vy, wz = sim.odometry()
    assert (vx, vy, wz) == pytest.approx((-0.2, 0.1, 0.0), abs=0.01)
    assert x < -0.3 and y > 0.15 and abs(yaw) < 0.02
    assert y / x == pytest.approx(-0.5, abs=0.05)


def test_base_speed_ramps_within_its_acceleration(sim):
    speeds = [0.0]
    for _ in range(30):
        sim.set_command(["base_vx"], [-0.4])
        sim.advance(0.02)
        speeds.append(sim.measured()["base_vx"])
    limit = sim.robot.channels[sim.robot.index["base_vx"]].limits.acceleration
    assert np.abs(np.diff(speeds)).max() / 0.02 < limit * 1.3
    assert speeds[-1] == pytest.approx(-0.4, abs=0.02)


def test_without_commands_the_base_ramps_to_zero_and_arms_hold(sim):
    sim.set_command(["base_vx", "left_joint1"], [-0.4, 0.5])
    sim.advance(WATCHDOG)
    assert sim.measured()["base_vx"] == pytest.approx(-0.4, abs=0.03)
    sim.advance(1.5)
    assert sim.measured()["base_vx"] == pytest.approx(0.0, abs=1e-3)
    held = sim.measured()["left_joint1"]
    sim.advance(1.0)
    assert held == pytest.approx(0.5, abs=0.01)
    assert sim.measured()["left_joint1"] == pytest.approx(held, abs=1e-3)


def test_the_state_covers_every_channel_in_order(sim):
    assert tuple(sim.measured()) == sim.robot.channel_names


def test_time_is_kept_over_calls_that_do_not_fill_a_tick(sim):
    for _ in range(300):
        sim.advance(1 / 30)
    assert sim.time == pytest.approx(10.0, abs=0.011)


@pytest.mark.parametrize(
    ("names", "values", "says"),
    [
        (["left_joint9"], [0.0], "left_joint9"),
        (["lift"], [float("nan")], "lift is nan"),
        (["lift", "base_vx"], [0.1], "3 names and 2 values"),
    ],
)
def test_a_bad_command_is_refused_whole(sim, names, values, says):
    before = sim.data.ctrl.copy()
    with pytest.raises(SimError, match=says):
        sim.set_command(["left_joint1", *names], [1.0, *values])
    assert (sim.data.ctrl == before).all()


def test_cameras_show_what_they_should(sim):
    sim.load(APART)
    picture = sim.render("base")
    assert picture.shape == (224, 224, 3) and picture.dtype == np.uint8
    red, green, blue = (picture[..., i].astype(int) for i in range(3))
    seen = {
        "red": (red > 120) & (green < 50) & (blue < 50),
        "green": (green > 80) & (red < 50) & (blue < 60),
        "blue": (blue > 110) & (red < 60) & (green < 80),
        "yellow": (red > 130) & (green > 100) & (blue < 50),
    }
    centres = {c: np.argwhere(mask).mean(0) for c, mask in seen.items()}
    assert all(mask.sum() > 100 for mask in seen.values())
    assert centres["red"][1] + 24 < centres["blue"][1], "y > 0 is left in the picture"
    assert centres["green"][0] < centres["red"][0], "far is up in the picture"


def test_a_lit_lamp_is_white_and_an_unlit_one_is_not(sim):
    sim.load(APART)
    off = (sim.render("base").min(axis=-1) > 230).sum()
    sim.load(replace(APART, lit=frozenset({"green"})))
    on = (sim.render("base").min(axis=-1) > 230).sum()
    assert off == 0 and on > 50


def test_an_unknown_camera_is_named(sim):
    with pytest.raises(SimError, match="ceiling"):
        sim.render("ceiling")


def test_missing_egl_is_one_sentence_with_the_package(sim, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco.egl", None)
    with pytest.raises(SimError, match="apt-get install -y libegl1"):
        sim.render("base")


def test_a_urdf_that_lacks_what_the_robot_names_is_an_error_that_names_it(bimanual, tmp_path):
    file = tmp_path / "small.urdf"
    file.write_text('<robot name="r"><link name="base_link"/></robot>')
    with pytest.raises(SimError, match="left_joint1"):
        build_world(replace(bimanual, urdf=file))
    file.write_text('<robot name="r"><link name="trunk"/></robot>')
    with pytest.raises(SimError, match="base_link"):
        build_world(replace(bimanual, urdf=file))
    file.write_text('<robot name="r"><link name="base_link"')
    with pytest.raises(SimError, match="small.urdf"):
        build_world(replace(bimanual, urdf=file))
    camera = replace(bimanual.cameras[0], name="ceiling")
    with pytest.raises(SimError, match="ceiling_camera_optical_frame"):
        build_world(replace(bimanual, cameras=(camera,)))

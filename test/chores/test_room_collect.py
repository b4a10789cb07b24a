"""Recorded episodes in a room: what both levels are to learn stands beside every frame, and pushes of the base are mended."""

import mujoco
import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores.drive_task import DriveTo
from pi0_ros.chores.recording import ChoreSettings
from pi0_ros.chores.room import place_of
from pi0_ros.chores.room_collect import PUSHED, RoomCollector
from pi0_ros.chores.room_words import SEEN_DRIVES, SEEN_WISHES, Wish, drive_text, wish_text
from pi0_ros.chores.tidy_task import Tidy
from pi0_ros.robot import load_robot
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.world import BASE_JOINTS
from pi0_ros.touch.disturbance import Disturbance, DisturbedOperator

WHEELS = ("base_vx", "base_vy", "base_wz")


@pytest.fixture(scope="module")
def collector():
    return RoomCollector(
        load_robot("mobile_bimanual"), DriveTo(), ChoreSettings(("base",), size=32, fps=5, push_rate=0.3)
    )


@pytest.fixture
def near(collector, monkeypatch):
    """Every start is a few centimetres before the end."""
    sim, task = collector.sim, collector.task
    reset = DriveTo.reset

    def start(self, sim, seed):
        reset(self, sim, seed)
        place = place_of(sim, task.side)
        x, y, _ = place.point((-0.2, 0.0, 0.0))
        for joint, value in zip(BASE_JOINTS, (x, y, place.yaw), strict=True):
            sim.data.qpos[sim.world.qpos[joint]] = value
        mujoco.mj_forward(sim.model, sim.data)
        task._start = place
        return task.instruction

    monkeypatch.setattr(DriveTo, "reset", start)
    return sim


def test_an_episode_of_driving_ends_at_its_table_and_says_so_in_seen_words(collector, near):
    recorded = collector.episode(3)
    first, last = recorded.rows[0], recorded.rows[-1]
    assert {*first} == {*collector.features, "task"}
    assert first["task"] == first["high_level_task"] == collector.task.instruction
    words = ("left", "right", "wooden", "white", "other")
    assert first["task"] in [drive_text(word, phrase) for word in words for phrase in SEEN_DRIVES]
    assert first["high_level_target"] == drive_text(collector.task.side)
    assert last["progress"][0] == 4 and last["aim"] == ""
    ways = [dict(zip(collector.features["goal"]["names"], row["goal"], strict=True)) for row in recorded.rows]
    assert ways[0]["forward"] > 0.1 > abs(ways[-1]["forward"]) and ways[0]["base.visible"] == 1.0
    actions = np.stack([row["action"] for row in recorded.rows])
    assert actions[:, collector.sim.robot.index["base_vx"]].max() > 0.1


def test_a_base_that_is_pushed_goes_with_the_push_and_then_on_from_there(collector):
    collector.task.reset(collector.sim, 1)
    collector.operator.sync()
    twist = np.array([-0.2, 0.1, 0.3])
    pushes = [Disturbance(0.05, twist=twist)]
    disturbed = DisturbedOperator(
        collector.operator, collector.sim, np.random.default_rng(0), 50, 50.0,
        disturb=lambda _: pushes.pop() if pushes else Disturbance(), look=lambda _: {},
    )  # fmt: skip
    wheels = [collector.sim.robot.index[name] for name in WHEELS]
    meant = [disturbed.step("stand still")["action"][wheels] for _ in range(3)]
    assert np.array_equal(meant[0], (0.0, 0.0, 0.0)), "what it means to do does not go with the push"
    assert collector.operator.command[wheels] == pytest.approx(twist)
    assert (np.abs(meant[1]) < np.abs(twist)).all() and (np.sign(meant[1]) == np.sign(twist)).all()


def test_pushes_of_the_base_are_bounded_and_never_into_a_table(collector):
    collector.task.reset(collector.sim, 1)
    rng = np.random.default_rng(5)
    twists = np.stack([collector._disturb(rng, collector.task.instruction).twist for _ in range(60)])
    assert (np.abs(twists) <= PUSHED).all() and (twists[:, 0] <= 0).all()
    assert twists[:, 1].min() < -0.2 < 0.2 < twists[:, 1].max() and np.ptp(twists[:, 2]) > 0.9


def test_what_both_levels_learn_of_tidying_stands_in_a_frame(collector):
    tidy = RoomCollector(collector.sim.robot, Tidy(), collector.settings)
    tidy.task.reset(tidy.sim, 100_000_024)
    assert tidy.task.wish == Wish(colour="blue")
    said = [tidy.task.say(number) for number in range(4)]
    assert said == [wish_text(Wish(colour="blue"), SEEN_WISHES, number) for number in range(4)] and len(set(said)) == 4

    words = ("pick up the blue can with the left arm", "tidy", "put it into the bin")
    row = tidy._look(words)
    assert (row["task"], row["high_level_task"], row["high_level_target"]) == words and row["aim"] == "blue_can"
    goal = dict(zip(tidy.features["goal"]["names"], row["goal"], strict=True))
    seen = dict(zip(tidy.features["localisation"]["names"], row["localisation"], strict=True))
    assert (goal["base.x"], goal["base.y"]) == pytest.approx((seen["base.blue_can.x"], seen["base.blue_can.y"]))
    assert goal["up"] < -0.05, "the hand is above it"
    present = {name for name in tidy.features["held"]["names"] if name in tidy.sim.scene.objects}
    assert not any(value for name, value in seen.items() if name.split(".")[1] not in present)
    assert not np.any(tidy._look(("done", "tidy", "done"))["goal"])


def test_a_camera_that_the_robot_lacks_is_named(collector):
    with pytest.raises(SimError, match="has no camera 'nose'"):
        RoomCollector(collector.sim.robot, Tidy(), ChoreSettings(cameras=("nose",)))

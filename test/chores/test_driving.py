"""Driving to a table: where the base goes next is a function of where it stands, and brings it there past the tables."""

import math

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores.driving import DriveSettings, drive_velocity, slewed
from pi0_ros.chores.plane import PlanarPose
from pi0_ros.chores.room import SHELF, floor_between
from pi0_ros.chores.room_layout import FARTHEST, NEAREST, UNSEEN_FARTHEST, sample_room_layout
from pi0_ros.chores.room_words import SEEN_DRIVES, UNSEEN_DRIVES, drive_text, parse_drive
from pi0_ros.chores.unseen import Unseen
from pi0_ros.robot import load_robot
from pi0_ros.sim.world import SIDES

S = DriveSettings()
GOAL, FAR_OFF = PlanarPose(2.0, -1.0, 0.7), PlanarPose(-50.0, 0.0, 0.0)
BASE = np.array([(x, y) for x in (-0.30, 0.22) for y in (-0.26, 0.26)])  # corners of the URDF's base_link box


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


def at(x, y, yaw):
    """A pose given in the frame of GOAL, in the world."""
    px, py, _ = GOAL.point((x, y, 0.0))
    return PlanarPose(float(px), float(py), GOAL.yaw + yaw)


def twist(x, y, yaw, others=(FAR_OFF,)):
    return drive_velocity(at(x, y, yaw), GOAL, others, S)


def test_a_pose_takes_points_there_and_back():
    pose = PlanarPose(1.0, 2.0, math.pi / 2)
    assert pose.point((3.0, 0.5, 7.0)) == pytest.approx([0.5, 5.0, 7.0])
    assert pose.local_point(np.array([0.5, 5.0, 7.0])) == pytest.approx([3.0, 0.5, 7.0])
    assert pose.local_vector(pose.vector((3.0, 0.5, 7.0))) == pytest.approx([3.0, 0.5, 7.0])
    seen = pose.local(PlanarPose(0.5, 5.0, -math.pi))
    assert (seen.x, seen.y, seen.yaw) == pytest.approx((3.0, 0.5, math.pi / 2))
    assert pose.local(PlanarPose(0.0, 0.0, 4.0)).yaw == pytest.approx(
        4.0 - math.pi / 2 - math.tau * (4.0 - math.pi / 2 > math.pi)
    )


def test_a_pose_moves_with_its_own_velocity():
    went = PlanarPose(1.0, 2.0, 0.3).moved((0.4, -0.2, 0.5), 0.1)
    exact, turn = np.array([1.0, 2.0]), 0.3
    for _ in range(1000):
        c, s = math.cos(turn), math.sin(turn)
        exact += 1e-4 * np.array([c * 0.4 + s * 0.2, s * 0.4 - c * 0.2])
        turn += 1e-4 * 0.5
    assert (went.x, went.y, went.yaw) == pytest.approx((*exact, 0.35), abs=1e-5)


def test_at_its_place_the_base_stands():
    assert twist(0.0, 0.0, 0.0) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_base_in_line_goes_in_and_one_that_is_askew_stays_back_and_gets_in_line(sign):
    ahead, aside, turn = twist(-S.back, 0.0, 0.0)
    assert ahead > 0.3 and aside == pytest.approx(0.0) and turn == pytest.approx(0.0)
    ahead, aside, turn = twist(-S.back, sign * 0.2, 0.0)
    assert ahead == pytest.approx(0.0, abs=1e-9) and aside * sign < -0.2 and turn == pytest.approx(0.0)
    ahead, aside, turn = twist(-S.back, 0.0, sign * 0.5)
    assert math.hypot(ahead, aside) == pytest.approx(0.0, abs=1e-9) and turn * sign < -0.5
    ahead, _, _ = twist(0.0, sign * 0.3, 0.0)
    assert ahead < -0.1, "it backs out before it gets in line"


def test_near_its_place_it_is_as_slow_as_it_has_to_be_to_stop():
    for left in (0.02, 0.05, 0.1, 0.2, 0.4):
        ahead, _, _ = twist(-left, 0.0, 0.0)
        assert 0 < ahead <= min(S.speed, math.sqrt(2 * S.braking * left)) + 1e-9
        _, _, turn = twist(0.0, 0.0, left)
        assert 0 > turn >= -min(S.turn, math.sqrt(2 * S.turn_braking * left)) - 1e-9


def test_before_another_table_it_only_backs_away_and_turns_once_it_is_clear():
    other = at(-1.5, 0.0, math.pi)
    before = lambda back: drive_velocity(PlanarPose(*(other.point((-back, 0.1, 0.0))[:2]), other.yaw), GOAL, [other], S)
    ahead, aside, turn = before(0.0)
    assert (ahead, aside, turn) == pytest.approx((-S.speed, 0.0, 0.0), abs=1e-9)
    assert abs(before(0.1)[2]) < abs(before(0.25)[2]) < abs(before(S.clear)[2]) == S.turn
    beside = PlanarPose(*(other.point((0.0, 1.2, 0.0))[:2]), other.yaw)
    assert abs(drive_velocity(beside, GOAL, [other], S)[2]) == S.turn, "nothing is before it there"


def test_velocity_changes_no_faster_than_the_accelerations_in_either_direction():
    assert slewed((0.1, -0.1, 0.2), (1.0, -1.0, 1.0), 0.05, S) == pytest.approx((0.13, -0.13, 0.27))
    assert slewed((0.1, -0.1, 0.2), (0.0, 0.0, -1.0), 0.05, S) == pytest.approx((0.07, -0.07, 0.13))
    assert slewed((0.1, -0.1, 0.2), (0.11, -0.09, 0.21), 0.05, S) == pytest.approx((0.11, -0.09, 0.21))


def test_the_settings_are_within_the_limits_of_the_robot(robot):
    limits = {c.name: c.limits for c in robot.channels}
    assert S.speed < limits["base_vx"].velocity and S.speed < limits["base_vy"].velocity
    assert S.turn < limits["base_wz"].velocity and S.turn_acceleration < limits["base_wz"].acceleration
    assert S.acceleration < limits["base_vx"].acceleration and S.acceleration < limits["base_vy"].acceleration


def goes_there(base, goal, other, push=None):
    """Drive without physics; seconds until it stands there, and the least distance of a corner of the base from a table's leg line."""
    now, period, least = (0.0, 0.0, 0.0), 0.05, math.inf
    for step in range(400):
        if step == 40 and push is not None:
            x, y, _ = base.point((*push, 0.0))
            base = PlanarPose(float(x), float(y), base.yaw + 0.4)
        now = slewed(now, drive_velocity(base, goal, [other], S), period, S)
        base = base.moved(now, period)
        for place in (goal, other):
            corners = np.array([place.local_point(base.point((*corner, 0.0))) for corner in BASE])
            over = corners[(np.abs(corners[:, 1]) < 0.64)]
            least = min([least, *(0.395 - over[:, 0])])
        off = goal.local(base)
        if math.hypot(off.x, off.y) < 0.01 and abs(off.yaw) < 0.01 and math.hypot(*now) < 0.02:
            return step * period, least
    return math.inf, least


@pytest.mark.parametrize("seed", range(5))
def test_it_reaches_either_table_from_any_start_without_meeting_one(seed):
    layout = sample_room_layout(np.random.default_rng(seed))
    for side in SIDES:
        goal, other = layout.room.places[side], layout.room.places[SIDES[1 - SIDES.index(side)]]
        seconds, least = goes_there(PlanarPose(*layout.scene.base), goal, other, push=(-0.1, 0.1 + 0.02 * seed))
        assert seconds < 16.0 and least > 0.02


def test_every_phrase_means_its_table_by_each_of_its_words():
    looks = {"left": "white", "right": "wooden"}
    for phrase in (*SEEN_DRIVES, *UNSEEN_DRIVES):
        for word, side in (("left", "left"), ("wooden", "right"), ("white", "left"), ("right", "right")):
            assert parse_drive(drive_text(word, phrase).upper() + "!", looks) == side, phrase
        for before, side in (("left", "right"), ("right", "left")):
            assert parse_drive(drive_text("other", phrase), looks, before) == side
        assert parse_drive(drive_text("other", phrase), looks) is None, "there is no other one without a first"
    assert not set(SEEN_DRIVES) & set(UNSEEN_DRIVES)
    assert parse_drive(drive_text(SHELF), looks, "left") == SHELF


@pytest.mark.parametrize(
    "text",
    [
        "bring everything to the left table",
        "drive to the table",
        "drive to the left bin",
        "drive to the shelf or the left table",
        "go to the left, wooden table",
        "",
    ],
)
def test_other_texts_send_the_base_nowhere(text):
    assert parse_drive(text, {"left": "white", "right": "wooden"}, "left") is None


def test_the_floor_between_two_tables_is_the_least_distance_of_their_tops():
    place = PlanarPose(0.0, 0.0, 0.0)  # its table covers x 0.36 .. 1.00, y -0.62 .. 0.62
    assert floor_between(place, PlanarPose(-1.0, 0.0, math.pi)) == pytest.approx(1.72)
    assert floor_between(PlanarPose(-1.0, 0.3, math.pi), place) == pytest.approx(1.72)
    assert floor_between(place, PlanarPose(0.0, 1.74, 0.0)) == pytest.approx(0.5)
    assert floor_between(place, PlanarPose(0.3, 0.4, 0.2)) == 0.0
    shelf = PlanarPose(0.0, 2.0, math.pi / 2)  # it covers x -0.50 .. 0.50, y 2.40 .. 2.80
    assert floor_between(place, shelf, ("left", SHELF)) == pytest.approx(2.4 - 0.62)
    assert floor_between(shelf, place, (SHELF, "left")) == pytest.approx(2.4 - 0.62)
    assert floor_between(place, PlanarPose(-1.0, 3.0, math.pi)) == pytest.approx(math.hypot(1.72, 1.76))


def test_rooms_differ_and_those_kept_for_evaluation_are_none_of_those_that_are_recorded():
    seen = [sample_room_layout(np.random.default_rng(seed)) for seed in range(60)]
    kept = [
        sample_room_layout(np.random.default_rng(seed), frozenset({Unseen.PLACES, Unseen.OBJECTS}))
        for seed in range(20)
    ]
    gaps, kept_gaps = (
        [floor_between(*(layout.room.places[side] for side in SIDES)) for layout in some] for some in (seen, kept)
    )
    assert NEAREST == 1.5 and NEAREST <= min(gaps) < 1.7 and 2.4 < max(gaps) <= FARTHEST
    assert min(kept_gaps) >= FARTHEST and max(kept_gaps) <= UNSEEN_FARTHEST == 3.0
    looks = [{look for layout in some for look in layout.room.looks.values()} for some in (seen, kept)]
    assert looks == [{"wooden", "white"}, {"black", "grey"}]
    assert {layout.before for layout in seen} == {"", "left", "right"}
    assert len({len(layout.on) for layout in seen}) > 3
    assert {len(layout.on) for layout in seen} <= {2, 3, 4, 5, 6, 7, 8}
    assert {sum(piece == SHELF for piece in layout.on.values()) for layout in seen} == {0, 1, 2}
    assert all({*layout.on.values()} >= set(SIDES) and set(layout.on) == set(layout.shapes) for layout in seen)


def test_left_and_right_are_so_for_whoever_comes_in_by_the_door():
    for seed in range(20):
        room = sample_room_layout(np.random.default_rng(seed)).room
        assert room.places["left"].y > 0.3 and room.places["right"].y < -0.3
        assert room.places[SHELF].x > 0.6 and abs(room.places[SHELF].yaw) < 0.11
        assert set(room.looks) == set(SIDES) and len(set(room.looks.values())) == 2

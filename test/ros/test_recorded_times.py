"""Times of a recording against the publishers' own log, in virtual time: cameras of 15, 30 and 60 Hz, an outage, a clock that is set.

What is under test is the memory that recorder and policy share, and the session; publishers, delays and clocks are scripted.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("av")

from pi0_ros.data.recording_process import RecordingSettings, Report
from pi0_ros.robot import load_robot
from pi0_ros.ros.camera_pictures import MAX_SKEW
from pi0_ros.ros.frame_source import DropCause, Missing, SourceFrame
from pi0_ros.ros.observation import Synchroniser
from pi0_ros.ros.recording_session import RecordingSession, SessionSettings

ROBOT = load_robot("mobile_bimanual")
RATES = {"base": 15, "left_wrist": 60, "right_wrist": 30}
DELAYS = {"base": 0.055, "left_wrist": 0.02, "right_wrist": 0.035}
STATE_RATE, TICK, BEGIN = 100, 0.004, 1_790_000_000.0
JOINTS = [n for n, joint in ROBOT.joint_of_channel.items() if n == joint]
FINGERS = {joint: 0.02 for n, joint in ROBOT.joint_of_channel.items() if n != joint}


def position(index, ros):
    """Joint `index` at ROS time `ros`: every one moves in its own way, at up to 0.7 rad/s."""
    return 0.3 * math.sin((1.0 + 0.1 * index) * (ros - BEGIN) + index)


@dataclass
class World:
    """Publishers with a log, and the recorder's memory. The ROS clock is steady time and `set_by`."""

    outage: tuple[float, float] = (math.inf, math.inf)
    set_at: float = math.inf
    set_by: float = 0.0
    stalls: tuple[tuple[float, float], ...] = ()
    """Times in which no picture arrives: all come at the end."""

    def __post_init__(self):
        self.memory, self.now = Synchroniser(ROBOT), 0.0
        self.log = {name: [] for name in RATES}
        self.events, self.rng = [], np.random.default_rng(3)

    def ros(self, steady):
        return BEGIN + steady + (self.set_by if steady >= self.set_at else 0.0)

    def publish(self, seconds):
        """All that is published in that time, in order of arrival: (steady arrival, kind, stamp, content)."""
        for name, rate in RATES.items():
            for k in range(round(seconds * rate)):
                taken = (k + 0.31) / rate
                self.log[name].append(self.ros(taken))
                if not self.outage[0] < taken < self.outage[1]:
                    late = DELAYS[name] + self.rng.uniform(0.0, 0.015)
                    arrived = next((end for begin, end in self.stalls if begin < taken + late < end), taken + late)
                    self.events.append((arrived, name, self.ros(taken), k))
        for k in range(round(seconds * STATE_RATE)):
            at = k / STATE_RATE
            if not self.outage[0] < at < self.outage[1]:
                self.events.append((at + 0.002 + self.rng.uniform(0.0, 0.004), "state", self.ros(at), None))
        self.events.sort(key=lambda e: (e[0], e[2]), reverse=True)

    def step(self):
        self.now += TICK
        while self.events and self.events[-1][0] <= self.now:
            arrived, kind, stamp, number = self.events.pop()
            ros = self.ros(arrived)
            if kind == "state":
                positions = {n: position(i, stamp) for i, n in enumerate(JOINTS)}
                self.memory.add_joints(arrived, stamp, ros, positions | FINGERS)
                self.memory.add_odometry(arrived, stamp, ros, (0.0, 0.0, 0.0))
            else:
                self.memory.add_picture(kind, arrived, stamp, ros, number)

    # the session's source

    @property
    def restarts(self):
        return self.memory.clock.restarts

    def _take(self, moment):
        found = self.memory.take(self.now, self.ros(self.now), RATES, moment=moment)
        return found if found.complete else Missing(DropCause.OBSERVATION, "; ".join(found.missing))

    def newest(self):
        found = self._take(self._reached())
        return found if isinstance(found, Missing) else found.stamp

    def _reached(self):
        return self.memory.reached(self.now, self.ros(self.now), RATES)

    def reaches(self, moment):
        return self._reached() >= moment

    def at(self, moment, features):
        found = self._take(moment)
        if isinstance(found, Missing):
            return found
        state = np.array([found.state[n] for n in JOINTS], np.float32)
        row = {"stamp": np.array([moment]), "observation.state": state, "action": state, "task": "touch"}
        row["picture_offset"] = np.array([found.pictures[n].stamp - moment for n in RATES], np.float32)
        return SourceFrame(row, {n: found.pictures[n].message for n in RATES}, "hold")


class Written:
    """The process that writes: it keeps what it is sent."""

    def __init__(self, folder, fps):
        self.settings, self.report = RecordingSettings(folder, fps, {}, "robot", 4, 0), Report()
        self.ended, self.backlog, self.episodes = "", 0, [[]]

    def begin(self, note):
        """Nothing is kept of it here."""

    def frame(self, row, pictures, write=True):
        self.episodes[-1].append((row, pictures))

    def close_episode(self, note):
        self.episodes.append([])


def recorded(world, folder, fps, seconds):
    world.publish(seconds)
    client, session = Written(folder, fps), RecordingSession(SessionSettings(fps), world, lambda text: None)
    session.episodes.attach(client)
    session.start()
    for _ in range(round(seconds / TICK)):
        world.step()
        session.tick(world.ros(world.now))
    session.stop()
    return [e for e in client.episodes if e]


def errors(world, episodes, fps):
    """The largest errors: of the frames' times, of joints, and by how much a nearer picture of the camera was published."""
    grid = joints = nearer = 0.0
    for episode in episodes:
        stamps = np.array([row["stamp"].item() for row, _ in episode])
        grid = max(grid, float(np.abs(stamps - stamps[0] - np.arange(len(stamps)) / fps).max()))
        for row, pictures in episode:
            at = row["stamp"].item()
            truth = np.array([position(i, at) for i in range(len(JOINTS))])
            joints = max(joints, float(np.abs(row["observation.state"] - truth).max()))
            for k, name in enumerate(RATES):
                if pictures is None:  # filled in
                    continue
                beside = world.log[name][pictures[name]] - at
                if abs(beside) > 0.5:  # it was on its way while the clock was set, and counts as taken when it came
                    shown = abs(float(row["picture_offset"][k]) + at - world.log[name][pictures[name]] - world.set_by)
                    assert shown < DELAYS[name] + 0.016
                    continue
                assert row["picture_offset"][k] == pytest.approx(beside, abs=2e-6)  # the picture's own time, exactly
                nearer = max(nearer, abs(beside) - 0.5 / RATES[name])
    return grid, joints, nearer


@pytest.mark.parametrize("fps", [10, 30, 50])
def test_every_frame_has_the_nearest_picture_of_each_camera_and_the_joints_of_its_moment(tmp_path, fps):
    world = World()
    episodes = recorded(world, tmp_path, fps, 12.0)
    assert len(episodes) == 1 and len(episodes[0]) >= 11.5 * fps
    grid, joints, nearer = errors(world, episodes, fps)
    assert grid < 1e-6  # float64 seconds since 1970 resolve 0.24 µs
    assert joints < 2e-5  # a sine of 1.9 rad/s between samples 10 ms apart: 0.3 * 1.9² * 0.01² / 8
    assert nearer < 1e-6  # none is further than half its camera's period


def test_an_outage_of_six_seconds_stays_six_seconds(tmp_path):
    world = World(outage=(4.0, 10.0))
    episodes = recorded(world, tmp_path, 10, 16.0)
    assert len(episodes) == 2
    before, after = (np.array([row["stamp"].item() for row, _ in e]) - BEGIN for e in episodes)
    assert before[-1] <= 4.0 + MAX_SKEW and after[0] >= 10.0 - MAX_SKEW
    grid, joints, nearer = errors(world, episodes, 10)
    assert (
        grid < 1e-6 and joints < 0.7 * MAX_SKEW and nearer <= MAX_SKEW
    )  # at the edges what was last seen is held so long


def test_pictures_that_come_late_belong_to_their_moments_all_the_same(tmp_path):
    """A busy computer delivers them up to 0.45 s late, which is more than max_age: too old for the policy, not for a recording."""
    stalls = ((3.0, 3.45), (5.2, 5.6), (5.9, 6.3), (8.0, 8.4))
    assert min(end - begin for begin, end in stalls) > max(c.max_age for c in ROBOT.cameras)
    world = World(stalls=stalls)
    episodes = recorded(world, tmp_path, 10, 12.0)
    assert len(episodes) == 1 and len(episodes[0]) >= 114
    assert all(pictures is not None for _, pictures in episodes[0]), "none is filled in"
    grid, joints, nearer = errors(world, episodes, 10)
    assert grid < 1e-6 and joints < 2e-5 and nearer < 1e-6


@pytest.mark.parametrize("by", [-3.0, 2.5, -0.7, -0.06])
def test_a_clock_that_is_set_gives_each_episode_the_times_of_its_own_clock(tmp_path, by):
    world = World(set_at=6.0, set_by=by)
    episodes = recorded(world, tmp_path, 10, 12.0)
    assert len(episodes) == 2 and min(map(len, episodes)) >= 45
    first, second = ([row["stamp"].item() - BEGIN for row, _ in e] for e in episodes)
    assert first[-1] <= 6.0 and second[0] >= 6.0 + by and second[-1] <= 12.0 + by
    grid, joints, nearer = errors(world, episodes, 10)
    assert grid < 1e-6 and joints < 2e-5
    assert nearer < max(DELAYS.values())  # pictures that were on their way

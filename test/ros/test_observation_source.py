"""What a node sees of its robot, on a real graph: wrong types, two cameras on one topic, frozen and blank pictures."""

import threading
import time
from array import array
from types import SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from nav_msgs.msg import Odometry
from pi0_ros.msg import ExecutorState
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from pi0_ros.robot import load_robot
from pi0_ros.ros.bounded import MAX_BYTES, listen
from pi0_ros.ros.clock import Clocks, time_message
from pi0_ros.ros.images import image_message
from pi0_ros.ros.observation_source import ObservationSource
from pi0_ros.ros.qos import RELIABLE, SENSOR
from pi0_ros.ros.run import Spinner

PATIENCE = 60.0
URDF = """<robot name="two"><link name="a"/><link name="b"/><link name="c"/>
<joint name="j1" type="revolute"><parent link="a"/><child link="b"/>
  <limit lower="-1" upper="2" velocity="3" effort="1"/></joint>
<joint name="j2" type="revolute"><parent link="b"/><child link="c"/>
  <limit lower="-2" upper="1" velocity="3" effort="1"/></joint></robot>"""
YAML = """robot: two
urdf: two.urdf
cameras:
  front: {topic: front/image_raw, type: image, max_age: 0.5}
  side: {topic: side/image_raw, type: image, max_age: 0.5, required: false, rotate: 90}
state:
  - {topic: joint_states, type: joint_state, max_age: 0.5}
groups:
  arm:
    kind: position
    channels: [j1, j2]
    command: {topic: arm/commands, type: float64_multi_array}
    limits: {source: urdf, acceleration: 10.0}
"""
NAMES = ("front", "side")


class Robot:
    """Drivers at 25 Hz that look and move as `sees` and `at` say."""

    def __init__(self, node):
        self.node, self.draw = node, np.random.default_rng(0)
        self.at, self.stamp = [0.1, -0.4], time.time
        self.sees = {"front": self.noise, "side": self.noise}
        self.publishers = {name: node.create_publisher(Image, f"{name}/image_raw", SENSOR) for name in NAMES}
        self.states = node.create_publisher(JointState, "joint_states", SENSOR)
        node.create_timer(0.04, self.tick)

    def noise(self):
        return self.draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)

    def tick(self):
        stamp = time_message(self.stamp())
        message = JointState(name=["j1", "j2"], position=array("d", self.at))
        message.header.stamp = stamp
        self.states.publish(message)
        for name, look in self.sees.items():
            if look is not None:
                self.publishers[name].publish(image_message(look(), stamp))


@pytest.fixture
def context():
    rclpy.init()
    made = []

    def node(name):
        found, spinner = rclpy.create_node(name), Spinner()
        spinner.add(found)
        spinner.start()
        made.append((found, spinner))
        return found

    yield node
    for _, spinner in made:
        assert spinner.stop(PATIENCE)
    for found, _ in made:
        found.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def another_process():
    """A node as of another process: Fast DDS allows one type a topic in a participant."""
    own = rclpy.Context()
    rclpy.init(context=own)
    node = rclpy.create_node("web_camera", context=own)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=own)


@pytest.fixture
def robot(context):
    return Robot(context("driver"))


@pytest.fixture
def observations(context, tmp_path):
    (tmp_path / "two.urdf").write_text(URDF)
    (tmp_path / "two.yaml").write_text(YAML)
    node = context("reader")
    made = ObservationSource(node, load_robot(tmp_path / "two.yaml"), Clocks(node), frozen=0.3)
    yield made
    made.close()


def until(observations, condition, what):
    """Wait for pictures until `condition` holds of something; returns it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        observations.arrivals.wait(0.05)
    raise AssertionError(
        f"{what}: {observations.view(NAMES).missing} {observations.warnings(NAMES)} {observations.values(NAMES)}"
    )


def complaint(observations, *words):
    """The observation that is missing for a reason with these words."""
    return until(
        observations,
        lambda: next((w for w in observations.view(NAMES).missing if all(x in w for x in words)), None),
        words,
    )


def seen(observations, *cameras):
    return until(
        observations, lambda: (v := observations.view(NAMES)) and set(v.pictures) == set(cameras) and v, cameras
    )


def test_an_observation_has_the_pictures_as_the_cameras_are_mounted(robot, observations):
    upright = np.zeros((24, 32, 3), np.uint8)
    upright[:12] = 200

    def tilted():
        return np.rot90(upright).copy() | robot.draw.integers(0, 4, (32, 24, 3), dtype=np.uint8)  # turned left

    robot.sees["side"] = tilted
    observations.clear()  # on a busy computer there was a picture before
    view = seen(observations, "front", "side")
    assert view.pictures["side"].shape == (24, 32, 3)
    assert view.pictures["side"][:12].min() >= 200 and view.pictures["side"][12:].max() < 4
    assert view.state == {"j1": 0.1, "j2": -0.4}


def test_a_topic_of_another_type_is_named_with_the_type_it_has(another_process, robot, observations):
    robot.sees["front"] = None
    robot.node.destroy_publisher(robot.publishers["front"])
    another_process.create_publisher(CompressedImage, "front/image_raw", SENSOR)
    why = complaint(observations, "front/image_raw carries")
    assert "sensor_msgs/CompressedImage" in why and "/web_camera" in why and "say type: compressed_image" in why


def test_a_state_topic_of_another_type_is_named_too(another_process, robot, observations):
    robot.node.destroy_publisher(robot.states)
    robot.states = robot.node.create_publisher(JointState, "elsewhere", SENSOR)
    another_process.create_publisher(Odometry, "joint_states", SENSOR)
    assert "nav_msgs/Odometry" in complaint(observations, "joint_states carries", "say type: odometry")


def test_nobody_on_a_topic_is_told_from_a_silent_driver(robot, observations):
    robot.sees["front"] = None
    observations.clear()  # on a busy computer there was a picture before
    complaint(observations, "no picture yet on front/image_raw")
    robot.node.destroy_publisher(robot.publishers["front"])
    complaint(observations, "nobody publishes front/image_raw")


def test_two_cameras_on_one_topic_end_planning_and_both_are_named(context, robot, observations):
    seen(observations, "front", "side")
    other = context("second_camera")
    publisher = other.create_publisher(Image, "front/image_raw", SENSOR)
    timer = other.create_timer(0.03, lambda: publisher.publish(image_message(robot.noise(), time_message(time.time()))))
    why = complaint(observations, "2 publishers on front/image_raw")
    assert "/driver" in why and "/second_camera" in why
    # One that was killed stays in the graph for a while, but its silence is heard.
    other.destroy_timer(timer)
    seen(observations, "front", "side")


def test_an_optional_camera_with_two_publishers_is_left_out(context, robot, observations):
    seen(observations, "front", "side")
    other = context("second_camera")
    publisher = other.create_publisher(Image, "side/image_raw", SENSOR)
    other.create_timer(0.03, lambda: publisher.publish(image_message(robot.noise(), time_message(time.time()))))
    seen(observations, "front")
    assert "/second_camera" in observations.stale(NAMES)["side"]


def test_a_frozen_camera_ends_planning_as_soon_as_the_robot_moves(robot, observations):
    seen(observations, "front", "side")
    last = robot.noise()
    robot.sees["front"] = lambda: last
    until(observations, lambda: any("front: the same picture" in w for w in observations.warnings(NAMES)), "a warning")
    assert not observations.view(NAMES).missing  # a simulation without noise looks like this while nothing moves
    robot.at = [0.1, -0.37]
    why = complaint(observations, "camera front: frozen")
    assert "front/image_raw" in why and "picture_frozen:=0" in why
    robot.sees["front"] = robot.noise
    seen(observations, "front", "side")


def test_a_black_camera_is_a_warning(robot, observations):
    robot.sees["front"] = lambda: robot.draw.integers(4, 7, (24, 32, 3), dtype=np.uint8)
    black = "camera front: the picture is black"
    until(
        observations,
        lambda: observations.view(NAMES) and any(black in w for w in observations.warnings(NAMES)),
        "a warning",
    )
    robot.sees["front"] = robot.noise
    until(observations, lambda: observations.view(NAMES) and not observations.warnings(NAMES), "no warning")


def test_clocks_that_differ_are_in_the_values_with_their_sign(robot, observations):
    robot.stamp = lambda: time.time() - 0.2
    seen(observations, "front", "side")
    until(observations, lambda: observations.values(NAMES).get("joint_states offset_ms", 0.0) >= 200.0, "an offset")

    def told():
        return any("joint_states" in w and "behind this computer" in w for w in observations.warnings(NAMES))

    until(observations, told, "a warning, which takes several messages")
    robot.stamp = lambda: time.time() + 0.7
    until(observations, lambda: any("ahead of this computer" in w for w in observations.warnings(NAMES)), "ahead")
    assert -700.0 <= observations.values(NAMES)["joint_states offset_ms"] < -500.0


def test_a_message_that_is_too_large_is_refused_by_its_size(robot, observations):
    seen(observations, "front", "side")
    names = [f"joint{k}" for k in range(200_000)]
    robot.states.publish(JointState(name=names, position=array("d", range(len(names)))))
    until(observations, lambda: observations.refusals.count, "a refusal")
    assert "joint_states: JointState of" in observations.refusals.last
    assert f"at most {MAX_BYTES[JointState]} are parsed" in observations.refusals.last
    seen(observations, "front", "side")


def test_an_encoding_cannot_write_to_the_terminal_nor_flood_the_log(robot, observations):
    seen(observations, "front", "side")
    evil = image_message(robot.noise(), time_message(0.0))
    evil.encoding = "\x1b[2J\n[INFO] all is well" + "x" * 400_000

    def publish():
        evil.header.stamp = time_message(time.time())
        robot.publishers["front"].publish(evil)

    robot.sees["front"] = None
    robot.node.create_timer(0.03, publish)
    complaint(observations, "is not a colour picture")
    until(observations, lambda: "encoding" in observations.refusals.last, "a refusal")
    assert observations.refusals.last.isprintable() and len(observations.refusals.last) <= 400


def test_a_text_of_ten_megabytes_reaches_nobody(context):
    heard, node, speaker = [], context("listener"), context("speaker")
    changed = threading.Event()
    listen(node, String, "words", lambda m: (heard.append(len(m.data)), changed.set()), RELIABLE)
    publisher = speaker.create_publisher(String, "words", RELIABLE)
    deadline = time.monotonic() + PATIENCE
    while not changed.wait(0.1) and time.monotonic() < deadline:
        publisher.publish(String(data="x" * 10_000_000))
        publisher.publish(String(data="abc"))
    assert heard and set(heard) == {3}


# --- without a graph: what comes in by hand, at times of one's own ---


@pytest.fixture
def quiet(observations):
    """Observations whose clocks are set by hand: `at(steady, ros)`; `see(camera, stamp, picture)` and `feel(stamp, **joints)`."""
    now = [5.0, 100.0]
    observations._clocks = SimpleNamespace(steady=lambda: now[0], ros=lambda: now[1])
    source = observations._robot.state[0]

    def see(camera, stamp, picture, number=1, **change):
        message = image_message(picture, time_message(stamp))
        for name, value in change.items():
            setattr(message, name, value)
        observations._on_picture(
            observations._cameras[camera], serialize_message(message), {"publication_sequence_number": number}
        )

    observations.at = lambda steady, ros: now.__setitem__(slice(None), (steady, ros))
    observations.see = see
    observations.feel = lambda stamp, **found: observations._on_joints(source, stamp, found, {})
    return observations


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_a_moment_is_judged_by_what_was_fresh_then(quiet):
    for camera, stamp in (("front", 99.95), ("side", 99.875)):
        quiet.see(camera, stamp, noise(1))
    quiet.feel(99.75, j1=0.1, j2=0.5)
    quiet.feel(100.0, j1=0.2, j2=0.25)
    view = quiet.view(NAMES)
    assert view.stamp == pytest.approx(99.875) and view.missing == view.about == ()
    assert view.state == pytest.approx({"j1": 0.15, "j2": 0.375}) and view.stamps == pytest.approx(
        {"front": 99.95, "side": 99.875}
    )
    assert quiet.reached(NAMES) == pytest.approx(99.875) and quiet.restarts == 0
    quiet.at(5.75, 100.75)
    assert set(quiet.stale(NAMES)) == {"front", "side"}
    silent = quiet.view(NAMES)
    assert silent.about == ("front",) and "front/image_raw" in silent.missing[0] and not silent.pictures
    assert quiet.stale(NAMES, moment=100.0) == {} and quiet.view(NAMES, moment=100.0).stamp == 100.0
    assert quiet.view((), state=()).missing == ()


def test_what_was_seen_is_in_the_values_in_milliseconds(quiet):
    quiet.see("front", 99.9, noise(1))
    quiet.see("side", 99.95, noise(2))
    quiet.feel(99.75, j1=0.1, j2=0.5)
    quiet._memory.skew = 0.0125
    values = quiet.values(("side",))
    assert values["joint_states offset_ms"] == pytest.approx(250.0) and values["camera_skew_ms"] == 12.5
    assert values["front/image_raw offset_ms"] == pytest.approx(100.0)
    assert values["camera side hz"] == 0.5 and "camera front hz" not in values  # one within the last two seconds


def test_a_clock_that_was_set_forgets_what_was_seen_and_is_logged_with_the_next_view(quiet, capfd):
    quiet.feel(100.0, j1=0.1, j2=0.5)
    quiet.at(5.02, 60.0)
    quiet.feel(60.0, j1=0.3, j2=0.5)
    assert quiet.restarts == 1 and quiet.view((), state=("j1",)).state["j1"] == 0.3
    assert "observations start anew" in capfd.readouterr().err
    quiet.view((), state=("j1",))
    assert "observations start anew" not in capfd.readouterr().err
    quiet.clear()
    assert quiet.view((), state=("j1",)).missing


def test_a_jump_of_the_ros_clock_forgets_what_was_seen(quiet):
    quiet.feel(100.0, j1=0.1, j2=0.5)
    quiet._node.set_parameters([rclpy.parameter.Parameter("use_sim_time", value=True)])
    assert quiet.view((), state=("j1",)).missing


def test_what_a_source_is_late_is_logged_once_for_each(quiet, capfd):
    quiet._log_once(["odom arrives 1 s late", "odom arrives 2 s late", "eye arrives 3 s late"])
    quiet._log_once(["odom arrives 4 s late"])
    said = capfd.readouterr().err
    assert (
        "odom arrives 1 s" in said and "eye arrives 3 s" in said and "2 s late" not in said and "4 s late" not in said
    )


def test_what_the_executor_commands_is_known_by_channel(quiet):
    assert quiet.command() == {}
    quiet.update_command(ExecutorState(channels=["j2", "j1"], command=[0.5, -0.25]))
    assert quiet.command() == {"j2": 0.5, "j1": -0.25}


def test_bytes_that_are_no_picture_are_refused_by_their_topic(quiet):
    quiet._on_picture(quiet._cameras["front"], b"\0\1", {"publication_sequence_number": 1})
    assert quiet.refusals.count == 1 and "front/image_raw" in quiet.refusals.last
    assert "front" in quiet.stale(("front",))


def test_a_picture_that_cannot_be_decoded_is_missing_if_its_camera_is_required_and_else_left_out(quiet):
    quiet.feel(99.9, j1=0.1, j2=0.5)
    quiet.see("front", 99.95, noise(1))
    quiet.see("side", 99.95, noise(2), encoding="rubbish")
    view = quiet.view(NAMES)
    assert set(view.pictures) == {"front"} == set(view.stamps) and not view.missing and quiet.refusals.count == 1
    quiet.see("front", 99.975, noise(3), 2, encoding="rubbish")
    quiet.see("side", 99.975, noise(4), 2)
    view = quiet.view(NAMES)
    (why,) = view.missing
    assert why.startswith("camera front on front/image_raw: ") and "rubbish" in why and view.about == ("front",)


def test_of_a_picture_that_shows_nothing_there_is_a_warning_until_one_shows_something(quiet):
    quiet.feel(99.9, j1=0.1, j2=0.5)
    quiet.see("side", 99.9, noise(0))
    quiet.see("front", 99.9, np.zeros((24, 32, 3), np.uint8))
    assert quiet.view(NAMES).stamp and [w[:32] for w in quiet.warnings(NAMES)] == ["camera front: the picture is bla"]
    assert quiet.warnings(("side",)) == []
    quiet.see("front", 99.95, noise(5), 2)
    quiet.see("side", 99.95, noise(6), 2)
    assert quiet.view(NAMES).stamp and quiet.warnings(NAMES) == []

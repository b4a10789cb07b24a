"""A run of the simulated robot, written in the formats of other people's recordings, imported, and commanded again: the robot
moves as it did, and the numbers are those that it had."""

import io
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("av")
h5py = pytest.importorskip("h5py", reason="needs the extra `import`")
pytest.importorskip("google_crc32c", reason="needs the extra `import`")

from tfrecords import example, record

from pi0_ros.cli import main
from pi0_ros.closed_loop.episode_replay import motion_in, replay_motion
from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.closed_loop.latency import Latency
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.data.features import difference
from pi0_ros.data.writer import DatasetWriter
from pi0_ros.robot import load_robot
from pi0_ros.robot.measurement import joint_value
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.tasks import make_task
from pi0_ros.touch.planners import OperatorPlanner

RATE, WALL, SEED = 50, 1_790_000_000.0, 5
LATE = 0.043  # [s] that pictures come behind their stamps
ARMS = [f"{side}_{n}" for side in ("left", "right") for n in (*(f"joint{i}" for i in range(1, 7)), "gripper")]
VIPER = [f"{side}_{n}" for side in ("left", "right") for n in (
    "waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What the robot measured and what it was commanded, 50 times a second from `begin` on, and the scene it was in."""

    robot: object
    scene: object
    measured: np.ndarray
    commands: np.ndarray

    def of(self, channels):
        return [self.robot.index[c] for c in channels]


@pytest.fixture(scope="module")
def run():
    robot = load_robot("mobile_bimanual")
    body, task = SimRobot(robot), make_task("reach")
    episode = Harness(body, OperatorPlanner, Trial(latency=Latency(0.1, 0.1), rtc="none")).run(task, SEED)
    task.reset(body, SEED)
    first = next(k for k, step in enumerate(episode.steps) if step.command is not None)
    commands = np.array([step.command.values for step in episode.steps[first:]])
    measured = episode.measured[first:]
    moved = np.ptp(measured, axis=0)
    assert moved[robot.index["left_joint1"]] + moved[robot.index["right_joint1"]] > 0.1, (
        "a run in which nothing moves says nothing"
    )
    return Run(robot, body.scene, measured, commands)


def replayed(run, folder, names=None):
    """The dataset's first episode, by a robot that stands in the run's scene as its first row says."""
    motion = motion_in(Dataset(folder), 0, run.robot, names)
    start = dict(zip(motion.channels, motion.measured[0].tolist(), strict=True))
    body = SimRobot(run.robot)
    body.load(replace(run.scene, start={**run.scene.start, **{c: v for c, v in start.items() if c in run.scene.start}}))
    return replay_motion(body, motion)


def compare(run, folder, channels, names=None, begin=0, atol=1e-6):
    """Numbers of the dataset and joints of the replay beside those of the run, from its row `begin` on; the largest error."""
    motion, again = motion_in(Dataset(folder), 0, run.robot, names), replayed(run, folder, names)
    assert set(motion.channels) == set(channels)
    rows, columns = slice(begin, begin + len(motion.measured)), run.of(motion.channels)
    np.testing.assert_allclose(motion.measured, run.measured[rows][:, columns], atol=atol)
    np.testing.assert_allclose(motion.commanded, run.commands[rows][:, columns], atol=atol)
    return np.abs(again.measured - run.measured[rows][:, columns]).max(axis=0), motion.channels


def picture(k):
    return np.full((16, 16, 3), 20 + k % 200, np.uint8)


def png(k):
    out = io.BytesIO()
    Image.fromarray(picture(k)).save(out, "PNG")
    return out.getvalue()


def test_a_recording_of_our_own_moves_the_robot_as_it_moved(run, tmp_path):
    names = list(run.robot.channel_names)
    vector = {"dtype": "float32", "shape": (len(names),), "names": names}
    with DatasetWriter(
        tmp_path / "set", RATE, {"observation.state": vector, "action": vector}, "mobile_bimanual"
    ) as written:
        for state, action in zip(run.measured, run.commands, strict=True):
            written.add_frame({"observation.state": state, "action": action, "task": "reach"})
        written.save_episode()
    errors, _ = compare(run, tmp_path / "set", names)
    assert errors.max() < 2e-4


def test_an_aloha_file_moves_the_robot_as_it_moved(run, tmp_path):
    columns = run.of(ARMS)
    with h5py.File(tmp_path / "episode_0.hdf5", "w") as root:
        observations = root.create_group("observations")
        observations.create_dataset("qpos", data=run.measured[:, columns])
        root.create_dataset("action", data=run.commands[:, columns])
        pictures = np.stack([picture(k) for k in range(len(run.measured))])
        observations.create_group("images").create_dataset("cam_high", data=pictures)
    assert main(["data", "import", "aloha", str(tmp_path), "--task", "reach", "--out", str(tmp_path / "set")]) == 0
    errors, _ = compare(run, tmp_path / "set", ARMS, dict(zip(VIPER, ARMS, strict=True)))
    assert errors.max() < 2e-4


def test_a_tfrecord_moves_the_robot_as_it_moved(run, tmp_path):
    steps = {
        "steps/observation/joints": run.measured,
        "steps/action": run.commands,
        "steps/observation/image": [png(k) for k in range(len(run.measured))],
        "steps/language_instruction": [b"reach"] * len(run.measured),
        "steps/is_first": [1] + [0] * (len(run.measured) - 1),
    }
    (tmp_path / "x.tfrecord-00000-of-00001").write_bytes(record(example(steps)))
    words = ["data", "import", "rlds", str(tmp_path), "--fps", str(RATE), "--map", "state=observation/joints"]
    assert main([*words, "--out", str(tmp_path / "set")]) == 0
    names = {f"{what}_{k}": name for what in ("state", "action") for k, name in enumerate(run.robot.channel_names)}
    errors, _ = compare(run, tmp_path / "set", run.robot.channel_names, names)
    assert errors.max() < 2e-4


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_moves_the_robot_as_it_moved(run, tmp_path, storage):
    """Joint states, odometry and the controllers' commands, on topics that the robot YAML knows; 25 frames a second."""
    pytest.importorskip("rclpy")
    pytest.importorskip("rosbags", reason="needs the extra `import`")
    write_bag(run, tmp_path / "bag", storage)
    words = ["data", "import", "rosbag", str(tmp_path / "bag"), "--robot", "mobile_bimanual", "--fps", "25"]
    assert main([*words, "--task", "reach", "--out", str(tmp_path / "set")]) == 0
    read = Dataset(tmp_path / "set")
    from pi0_ros.ros.frame_source import features_of

    own = features_of(run.robot, {c.name: (16, 16) for c in run.robot.cameras})
    assert difference(read.features, own) == "", "it can be merged with what the recorder records"
    begin = round((read.column("stamp")[0].item() - WALL) * RATE)
    motion = motion_in(read, 0, run.robot)
    rows, columns = slice(begin, begin + 2 * len(motion.measured), 2), run.of(motion.channels)
    assert set(motion.channels) == set(run.robot.channel_names) and len(motion.measured) > 0.4 * len(run.measured)
    np.testing.assert_allclose(motion.measured, run.measured[rows][:, columns], atol=1e-5)
    np.testing.assert_allclose(motion.commanded, run.commands[rows][:, columns], atol=1e-5)
    errors = np.abs(replayed(run, tmp_path / "set").measured - run.measured[rows][:, columns]).max(axis=0)
    assert errors.max() < 5e-3


def test_joints_of_the_wrong_sign_are_seen(run, tmp_path):
    """The measure measures: one joint's command turned around takes the arm elsewhere."""
    names = list(run.robot.channel_names)
    vector = {"dtype": "float32", "shape": (len(names),), "names": names}
    moved = int(np.argmax(np.ptp(run.measured[:, run.of(ARMS[:6])], axis=0)))
    wrong = run.commands.copy()
    wrong[:, run.robot.index[ARMS[moved]]] *= -1.0
    with DatasetWriter(tmp_path / "set", RATE, {"observation.state": vector, "action": vector}) as written:
        for state, action in zip(run.measured, wrong, strict=True):
            written.add_frame({"observation.state": state, "action": action, "task": "reach"})
        written.save_episode()
    assert replayed(run, tmp_path / "set").largest()[ARMS[moved]] > 0.1


def test_a_dataset_of_another_robot_is_refused_with_both_lists_of_names(run, tmp_path):
    vector = {"dtype": "float32", "shape": (2,), "names": ["a", "b"]}
    with DatasetWriter(tmp_path / "set", RATE, {"observation.state": vector, "action": vector}) as written:
        written.add_frame({"observation.state": np.zeros(2), "action": np.zeros(2), "task": "reach"})
        written.save_episode()
    with pytest.raises(
        DataError, match=r"name no channel of robot mobile_bimanual; they have a, b, the robot left_joint1"
    ):
        motion_in(Dataset(tmp_path / "set"), 0, run.robot)


def test_the_command_prints_how_far_each_joint_is_off(run, tmp_path, capsys):
    names = list(run.robot.channel_names)
    vector = {"dtype": "float32", "shape": (len(names),), "names": names}
    with DatasetWriter(tmp_path / "set", RATE, {"observation.state": vector, "action": vector}) as written:
        for state, action in zip(run.measured[:40], run.commands[:40], strict=True):
            written.add_frame({"observation.state": state, "action": action, "task": "reach"})
        written.save_episode()
    assert main(["replay", str(tmp_path / "set"), "--json", str(tmp_path / "n.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["channel", "unit", "moved", "rms", "largest"] and len(lines) == 1 + len(names)
    found = json.loads((tmp_path / "n.json").read_text())
    assert found["left_joint2"]["moved"] == pytest.approx(
        np.ptp(run.measured[:40, run.robot.index["left_joint2"]]), abs=1e-6
    )
    assert max(n["largest"] for n in found.values()) < 2e-3
    assert main(["replay", str(tmp_path / "set"), "--episode", "7"]) == 1
    assert "has no episode 7; there are 0 to 0" in capsys.readouterr().err


# --- the formats ---


class Messages:
    """The messages of a recorded robot, of rosbags' types."""

    def __init__(self, types):
        self.types = types

    def header(self, at):
        return self.types["std_msgs/msg/Header"](
            self.types["builtin_interfaces/msg/Time"](int(at), round(at % 1 * 1e9)), ""
        )

    def joint_state(self, at, joints):
        values = np.array(list(joints.values()))
        return self.types["sensor_msgs/msg/JointState"](self.header(at), list(joints), values, np.zeros(0), np.zeros(0))

    def floats(self, values):
        layout = self.types["std_msgs/msg/MultiArrayLayout"]([], 0)
        return self.types["std_msgs/msg/Float64MultiArray"](layout, np.array(values))

    def twist(self, x, y, w):
        vector = self.types["geometry_msgs/msg/Vector3"]
        return self.types["geometry_msgs/msg/Twist"](vector(x, y, 0.0), vector(0.0, 0.0, w))

    def stamped_twist(self, at, *values):
        return self.types["geometry_msgs/msg/TwistStamped"](self.header(at), self.twist(*values))

    def odometry(self, at, *values):
        place = self.types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0)
        turn = self.types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
        pose = self.types["geometry_msgs/msg/PoseWithCovariance"](
            self.types["geometry_msgs/msg/Pose"](place, turn), np.zeros(36)
        )
        moving = self.types["geometry_msgs/msg/TwistWithCovariance"](self.twist(*values), np.zeros(36))
        return self.types["nav_msgs/msg/Odometry"](self.header(at), "base_link", pose, moving)

    def image(self, at, pixels):
        return self.types["sensor_msgs/msg/Image"](self.header(at), 16, 16, "rgb8", 0, 48, pixels.reshape(-1))


def bag_events(run, make):
    """When, on which topic, what: measurements and commands of every period, pictures of every other one, a little late."""
    robot = run.robot
    for k, (state, action) in enumerate(zip(run.measured, run.commands, strict=True)):
        at = WALL + k / RATE
        value = lambda name, row=state: float(row[robot.index[name]])
        joints = {
            robot.joint_of_channel[c.name]: joint_value(group, value(c.name))
            for group in robot.groups
            for c in group.channels
            if c.name in robot.joint_of_channel
        }
        yield at, "joint_states", make.joint_state(at, joints)
        yield at, "odom", make.odometry(at, value("base_vx"), value("base_vy"), value("base_wz"))
        for group in robot.groups:
            sent = [float(action[robot.index[c.name]]) for c in group.channels]
            if group.command.type == "float64_multi_array":
                sent = sent if group.gripper is None else [joint_value(group, v) for v in sent]
                yield at, group.command.topic, make.floats(sent)
            else:
                assert group.command.type == "twist_stamped"
                yield at, group.command.topic, make.stamped_twist(at, *sent)
        for camera in robot.cameras if k % 2 == 0 else ():
            yield at + LATE, camera.topic, make.image(at, picture(k))


def write_bag(run, folder, storage):
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    events = bag_events(run, Messages(store.types))
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        known = {}
        for at, topic, message in sorted(events, key=lambda e: e[0]):
            if topic not in known:
                known[topic] = writer.add_connection(f"/{topic}", message.__msgtype__, typestore=store)
            writer.write(known[topic], round(at * 1e9), store.serialize_cdr(message, message.__msgtype__))

"""Small robots for tests of every layer, made of a few lines; and Triton in its interpreter if there is no GPU."""

import os
import shutil
import signal
import textwrap

import pytest
from hypothesis import HealthCheck, settings

# Read where torch is imported. Of tiny networks more threads only wait for one another: beside other processes, ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A graph of its own for each process that runs tests: they neither hear nor disturb other robots, and do not hear each other.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)

# An example that takes long on a busy machine is no failure; what hangs is ended by pytest's own timeout.
settings.register_profile("no wall clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no wall clock")

# Read where Triton is imported, which torch does on its own.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")

HEAD = """robot: small
urdf: small.urdf
cameras:
  front: {topic: front/image_raw, type: image, max_age: 0.3}
"""
STATE = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
"""
JOINTS = {
    "j1": ("revolute", -2.0, 2.0, 2.5),
    "j2": ("revolute", -1.5, 1.9, 2.0),
    "j3": ("revolute", -2.5, 1.0, 3.0),
    "wrist": ("continuous", None, None, 2.5),
    "slide": ("prismatic", 0.0, 0.4, 0.3),
    "finger": ("prismatic", 0.0, 0.04, 0.2),
    "finger_r": ("prismatic", 0.0, 0.08, 0.2),
}
MIMICS = {"finger_r": ("finger", 2.0, 0.01)}


def urdf_of(joints, mimics):
    links = ['<link name="base"/>']
    text = []
    for name, (kind, lower, upper, velocity) in joints.items():
        ends = "" if lower is None else f'lower="{lower}" upper="{upper}" '
        mimic = '<mimic joint="{}" multiplier="{}" offset="{}"/>'.format(*mimics[name]) if name in mimics else ""
        limit = "" if velocity is None else f'<limit {ends}velocity="{velocity}" effort="10"/>'
        links.append(f'<link name="{name}_link"/>')
        text.append(
            f'<joint name="{name}" type="{kind}"><parent link="base"/><child link="{name}_link"/>'
            f'<axis xyz="0 0 1"/>{limit}{mimic}</joint>'
        )
    return f'<robot name="small">{"".join(links + text)}</robot>'


@pytest.fixture
def small_robot(tmp_path):
    """A robot of these `groups` (and `state`), in YAML, on a URDF with the joints above unless others are given."""
    from pi0_ros.robot import load_robot

    def make(groups, state=STATE, joints=None, mimics=MIMICS, head=HEAD):
        (tmp_path / "small.urdf").write_text(urdf_of(JOINTS if joints is None else joints, mimics))
        file = tmp_path / "small.yaml"
        file.write_text(head + state + "groups:\n" + textwrap.indent(textwrap.dedent(groups).strip("\n"), "  ") + "\n")
        return load_robot(file)

    return make


# Processes that tests start are sent these signals. Where the test run itself was started with one of them ignored (nohup,
# a background job of a shell), they would inherit that, and rightly stay.
for _number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


def _end_the_run(number, _):
    """SIGTERM ends a test run as Ctrl-C does: what a test has started is ended too. rclpy, which would only shut its graph
    down, calls the handler that was there before."""
    raise KeyboardInterrupt(signal.Signals(number).name)


signal.signal(signal.SIGTERM, _end_the_run)


@pytest.fixture(scope="session")
def bimanual():
    """The shipped robot with two arms."""
    from pi0_ros.robot import load_robot

    return load_robot("mobile_bimanual")


@pytest.fixture
def sim(bimanual):
    """It simulated, in the scene of seed 1."""
    from pi0_ros.sim.robot import SimRobot

    robot = SimRobot(bimanual, seed=1)
    yield robot
    robot.close()


@pytest.fixture(scope="session")
def make_checkpoint():
    """What makes a small checkpoint with random weights for the policy tests."""
    from small_checkpoint import make_checkpoint as made

    return made


@pytest.fixture(scope="session")
def exported(make_checkpoint, tmp_path_factory):
    """A small π0.5 checkpoint for mobile_bimanual with its graphs, which take ten seconds to write."""
    pytest.importorskip("onnxscript", reason="exporting needs the packages onnx and onnxscript")
    pytest.importorskip("onnxruntime", reason="running graphs needs the package onnxruntime")
    from pi0_ros.model import GemmaConfig, load
    from pi0_ros.policy.backends.onnx_export import export

    tower = GemmaConfig(width=16, depth=2, heads=2, kv_heads=1, head_dim=8, mlp=16)
    folder = make_checkpoint(tmp_path_factory.mktemp("exported"), kind="pi05", language=tower, expert=tower)
    export(load(folder), folder / "onnx")
    return folder

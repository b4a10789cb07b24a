"""Whether a robot has what a policy measures and commands."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pi0_ros.policy.adapter import Block
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.contract import check_fit, contract_of, contract_of_remote, plan_channels
from pi0_ros.robot import load_robot

FRANKA = {f"panda_joint{k}": ("revolute", -2.8, 2.8, 2.0 + 0.1 * k) for k in range(1, 8)}
ARM = """
arm:
  kind: velocity
  channels: [joint1_velocity, joint2_velocity, joint3_velocity, joint4_velocity, joint5_velocity, joint6_velocity, joint7_velocity]
  joints: [panda_joint1, panda_joint2, panda_joint3, panda_joint4, panda_joint5, panda_joint6, panda_joint7]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0, margin: 0.1}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: panda_finger_joint1, closed: 0.0, open: 0.04}
  command: {topic: hand, type: float64_multi_array}
"""
HEAD = """robot: franka
urdf: small.urdf
cameras:
  exterior: {topic: a, type: image, max_age: 0.3}
  wrist: {topic: b, type: image, max_age: 0.3}
"""


def franka(small_robot, groups=ARM):
    joints = FRANKA | {"panda_finger_joint1": ("prismatic", 0.0, 0.04, 0.2)}
    return small_robot(groups, joints=joints, mimics={}, head=HEAD)


@pytest.mark.parametrize("name", ["droid", "droid_fast"])
def test_a_franka_that_takes_velocities_fits_droid_and_its_positions_are_state(small_robot, name):
    robot = franka(small_robot)
    fit = check_fit(robot, contract_of_remote(load_adapter(name), "ws://x", robot))
    assert fit.ok, fit.lines
    assert contract_of_remote(load_adapter(name), "ws://x", robot).needed_state(robot)[:1] == ("panda_joint1",)


def test_without_the_joints_that_the_velocities_move_it_does_not_fit(small_robot):
    lines = [line for line in ARM.splitlines() if "joints:" not in line]
    text = "\n".join(lines).replace("source: urdf, acceleration: 5.0, margin: 0.1", "velocity: 1.0, acceleration: 5.0")
    robot = franka(small_robot, text)
    fit = check_fit(robot, contract_of_remote(load_adapter("droid"), "ws://x", robot))
    assert not fit.ok and any("panda_joint1" in line and line.startswith("no") for line in fit.lines)


BASE = """
arm:
  kind: position
  channels: [j1]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.0], acceleration: 1.0}
"""
POLICY = """policy: small
cameras: {base: front}
period: 0.05
state:
  - channels: [j1MORE]
actions:
  - channels: [j1, base_vx, base_wz]
remote:
  images: {image: front}
  state: {state: COUNT}
"""


@pytest.mark.parametrize(
    ("measures", "group", "ok"),
    [(", base_vx", "", False), ("", "", True), (", base_vx", "  measured: false\n", True)],
    ids=["measures the base", "does not", "the last command stands for it"],
)
def test_a_base_without_odometry_fits_unless_the_policy_measures_it(small_robot, tmp_path, measures, group, ok):
    robot = small_robot(BASE + group)
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.replace("MORE", measures).replace("COUNT", str(1 + bool(measures))))
    fit = check_fit(robot, contract_of_remote(load_adapter(file), "ws://x", robot))
    assert fit.ok is ok, fit.lines
    said = any("measured by nothing: base_vx; no source of type odometry under state" in line for line in fit.lines)
    assert said is not ok
    resting = any("starting from the last command: base_vx, base_wz" in line for line in fit.lines)
    assert resting is not bool(group)


MOBILE = load_robot("mobile_bimanual")
SEVERAL = replace(
    load_adapter("mobile_bimanual"),
    cameras={"base": "base", "left_wrist": None, "third": "right_wrist"},
    high_level_cameras={"question": "left_wrist", "none": None},
    hold=("lift", "base_vy"),
    finished=("done", "over"),
    subtasks="touch .*",
    subtask_log_probability=-0.3,
    period=0.04,
)


def pipeline_of(kind="pi05", **other):
    """What a contract is told of a checkpoint: every field another."""
    style = SimpleNamespace(kind=kind, dialect="openpi")
    names = SEVERAL.action_channels
    given = {
        "origin": "openpi", "style": style, "delta": [name in names[:2] for name in names], "horizon": 12,
        "cameras": ("base", "left_wrist", "third"), "resampler": "pil", "action_norm": SimpleNamespace(method="quantile"),
    }  # fmt: skip
    return SimpleNamespace(**(given | other))


def test_a_contract_says_what_checkpoint_adapter_and_robot_are():
    found = contract_of(SEVERAL, pipeline_of(), MOBILE)
    assert (found.name, found.origin, found.kind, found.prompt) == (
        "mobile_bimanual", "openpi", "pi05", "pi05 (openpi)",
    )  # fmt: skip
    assert found.source == str(SEVERAL.file)
    assert found.state_channels == SEVERAL.state_channels and found.held_channels == ("lift", "base_vy")
    assert found.delta_channels == SEVERAL.action_channels[:2]
    assert found.cameras == {"base": "base", "right_wrist": "third"} and found.empty_slots == ("left_wrist",)
    assert found.high_level_cameras == {"left_wrist": "question"}
    assert (found.horizon, found.period, found.resampler, found.normalisation) == (12, 0.04, "pil", "quantile")
    assert found.finished == ("done", "over") and found.subtasks == "touch .*" and found.subtask_log_probability == -0.3
    assert found.plan_seconds == pytest.approx(11 * 0.04)
    plain = contract_of(replace(SEVERAL, high_level_cameras=None), pipeline_of(), MOBILE)
    assert plain.high_level_cameras == {"base": "base", "right_wrist": "third"}


@pytest.mark.parametrize(
    ("kind", "head", "continues"), [("pi0", False, True), ("pi05", True, True), ("pi0_fast", True, False)]
)
def test_who_has_a_text_head_and_who_takes_a_plan_prefix(kind, head, continues):
    found = contract_of(SEVERAL, pipeline_of(kind), MOBILE)
    assert (found.has_text_head, found.continues, found.gives_subtasks) == (head, continues, head)
    assert not contract_of(replace(SEVERAL, subtasks=None), pipeline_of(kind), MOBILE).gives_subtasks


def test_a_plan_has_the_robots_order_and_what_the_robot_lacks_last():
    names = SEVERAL.action_channels
    mixed = replace(SEVERAL, actions=(Block(("tail", *names[5:8], names[0], "horn"), (1.0,) * 6),), hold=("lift",))
    assert plan_channels(mixed, MOBILE) == (names[0], *names[5:8], "lift", "tail", "horn")


def test_before_a_plan_is_made_what_the_policy_measures_has_to_be_known_and_positions_that_it_holds():
    less = replace(
        SEVERAL, state=(Block(("right_joint2", "lift"), (1.0, 1.0)),), hold=("left_joint1", "base_vy", "lift")
    )
    found = contract_of(less, pipeline_of(), MOBILE)
    assert found.needed_state(MOBILE) == ("right_joint2", "lift", "left_joint1")


def lines_of(adapter, **other):
    return check_fit(MOBILE, contract_of(adapter, pipeline_of(**other), MOBILE))


def test_every_side_of_a_misfit_is_told_alone():
    whole = replace(SEVERAL, hold=(), high_level_cameras=None)
    assert lines_of(whole).ok
    for changed, words in (
        ({"actions": (*whole.actions, Block(("tail",), (1.0,)))}, "no  channels the policy commands: tail not there"),
        ({"state": (*whole.state, Block(("nose",), (1.0,)))}, "no  channels the policy measures: nose not there"),
        ({"cameras": {"base": "eye"}}, "no  cameras the policy sees with: eye not there"),
        ({"high_level_cameras": {"base": "ear"}}, "no  cameras of the subtask question: ear not there"),
        ({"actions": whole.actions[:-1]}, f"no  robot channels no one would command: lift; name them under hold: in {whole.file}"),
        ({"actions": (*whole.actions[:1], *whole.actions[2:]), "hold": ("left_gripper",)}, "no  grippers under hold: left_gripper; only positions and velocities can be held"),
    ):  # fmt: skip
        fit = lines_of(replace(whole, **changed))
        assert not fit.ok and [line for line in fit.lines if line.startswith("no")][:1] == [words]


def test_a_fit_tells_kind_rows_and_whether_subtasks_are_the_networks():
    lines = lines_of(replace(SEVERAL, hold=(), high_level_cameras=None)).lines
    assert lines[0] == "ok  pi05 from openpi, adapter mobile_bimanual"
    assert lines[1] == "ok  12 rows of 0.04 s, normalised by quantile"
    assert lines[2] == "ok  subtasks by the network, of the form touch .*, with a mean log-probability of -0.3 or more"
    none = lines_of(replace(SEVERAL, hold=(), high_level_cameras=None, subtasks=None)).lines
    assert none[2].startswith("ok  no subtasks")


def test_a_servers_contract_is_its_yaml_and_nothing_of_a_network():
    found = contract_of_remote(load_adapter("droid"), "ws://x:8000", MOBILE)
    droid = load_adapter("droid")
    assert (found.kind, found.origin, found.normalisation) == ("remote", "openpi server", "the server's (ws://x:8000)")
    assert (found.horizon, found.period, found.source) == (droid.horizon, droid.period, str(droid.file))
    assert found.cameras == {camera: key for key, camera in droid.remote.images.items()}
    assert not found.has_text_head and not found.continues and not found.delta_channels and not found.empty_slots

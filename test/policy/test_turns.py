"""A policy that knows one turn of a joint, on a robot that counts turns."""

import math

import numpy as np
import pytest

from pi0_ros.policy import PolicyError
from pi0_ros.policy.adapter_reading import adapter_from, load_adapter
from pi0_ros.policy.adapter_vectors import state_to_model
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.turns import rows_beside_robot, rows_beside_state
from pi0_ros.robot.yaml_nodes import read_yaml

TEXT = (
    "policy: small\ncameras: {{base: front}}\nperiod: 0.05\nstate:\n  - channels: [lift]\n"
    "  - {{channels: [wrist], signs: [-1]{state}}}\nactions:\n  - channels: [lift]\n"
    "  - {{channels: [wrist], signs: [-1]{action}}}\n"
)


def adapter_of(tmp_path, state=", wrap: true", action=""):
    file = tmp_path / "small.yaml"
    file.write_text(TEXT.format(state=state, action=action))
    return load_adapter(file)


@pytest.mark.parametrize(
    ("wrap", "angle", "seen"),
    [
        ("true", 3.5, -3.5 + 2.0 * math.pi),
        ("true", -9.0, 9.0 - 2.0 * math.pi),
        ("[0, 6.2832]", 3.5, 2.0 * math.pi - 3.5),
        ("[0, 6.2832]", -1.0, 1.0),
        ("false", -9.0, 9.0),
    ],
)
def test_the_policy_sees_the_angle_within_its_turn(tmp_path, wrap, angle, seen):
    adapter = adapter_of(tmp_path, f", wrap: {wrap}")
    np.testing.assert_allclose(state_to_model(adapter, {"lift": 7.0, "wrist": angle}), [7.0, seen])
    assert adapter_from(read_yaml(tmp_path / "small.yaml")) == adapter


@pytest.mark.parametrize("turns", [-2, 0, 1, 3])
def test_a_plan_begins_on_the_turn_where_the_robot_is_and_goes_on_over_the_seam(tmp_path, turns):
    adapter = adapter_of(tmp_path)
    rows = np.array([[9.0, 3.05], [9.0, 3.12], [0.0, -3.09], [0.0, -3.0]])
    at = 3.0 + 2.0 * math.pi * turns
    found = rows_beside_robot(adapter, rows, {"lift": 0.0, "wrist": at})
    seam = 2.0 * math.pi
    np.testing.assert_allclose(found[:, 1] - at, [0.05, 0.12, seam - 6.09, seam - 6.0], atol=1e-12)
    np.testing.assert_array_equal(found[:, 0], rows[:, 0])  # what is no angle stays


def test_rows_of_many_chunks_lie_each_beside_its_own_state(tmp_path):
    adapter = adapter_of(tmp_path)
    rows = np.array([[[0.0, 3.1], [0.0, -3.1]], [[0.0, 0.2], [0.0, 6.4]]])
    found = rows_beside_state(adapter, rows, np.array([[0.0, -3.0], [0.0, 0.1]]))
    expected = [[3.1 - 2 * math.pi, -3.1], [0.2, 6.4 - 2 * math.pi]]
    np.testing.assert_allclose(found[..., 1], expected)


@pytest.mark.parametrize(
    ("state", "action", "words"),
    [
        (", wrap: [0, 3]", "", "is no whole turn"),
        (", wrap: true, range: [0, 1]", "", "wrap.*is for angles"),
        (", wrap: true", ", scale: 2.0", "wrist: scale, range and convert do not go together with wrap"),
        ("", ", wrap: true", "wrap"),
        ("", ", delta: start, follows: 0.5", "follows.*belongs to delta: current"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, state, action, words):
    with pytest.raises(PolicyError, match=words):
        adapter_of(tmp_path, state, action)


def test_what_is_said_is_kept_in_the_checkpoint(tmp_path):
    adapter = adapter_of(tmp_path, action=", delta: current, follows: 0.5")
    values = adapter_to_dict(adapter)
    assert values["state"][1]["wrap"] == pytest.approx([-math.pi, math.pi])
    assert values["actions"][1] | {"delta": "current", "follows": 0.5} == values["actions"][1]
    assert adapter.step_shares == (0.0, 0.5)

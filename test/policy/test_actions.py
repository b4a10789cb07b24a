"""What becomes of a model's actions: scales, clips, steps, and grippers that are open or closed."""

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.policy import PolicyError, transforms
from pi0_ros.policy.adapter import Delta
from pi0_ros.policy.adapter_reading import adapter_from, load_adapter
from pi0_ros.policy.adapter_vectors import actions_from_model, actions_to_model
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.normalize import Normalizer, Statistics
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.prompts import PromptStyle

JOINTS = tuple(f"joint{k}_velocity" for k in range(1, 8))
HEAD = "policy: small\ncameras: {base: front}\nperiod: 0.05\nstate:\n  - channels: [j1, j2, j3]\n  - channels: [gripper]\nactions:\n"


def adapter_of(tmp_path, actions):
    file = tmp_path / "small.yaml"
    file.write_text(HEAD + actions)
    return load_adapter(file)


@pytest.mark.parametrize("name", ["droid", "droid_fast"])
def test_half_of_what_droid_can_move_is_one_and_a_half_rad_a_second_and_more_than_all_is_clipped(name):
    adapter = load_adapter(name)
    model = np.array([[0.5, -0.5, 1.0, 1.7, -3.0, 0.0, 0.1, 0.9]])
    found = dict(zip(adapter.action_channels, actions_from_model(adapter, model)[0], strict=True))
    assert [found[j] for j in JOINTS] == pytest.approx([1.5, -1.5, 3.0, 3.0, -3.0, 0.0, 0.3])
    back = actions_to_model(adapter, actions_from_model(adapter, model), adapter.action_channels)
    np.testing.assert_allclose(back[0, :7], np.clip(model[0, :7], -1.0, 1.0))


@pytest.mark.parametrize("name", ["droid", "droid_fast", "droid_joint_position"])
@pytest.mark.parametrize(("model", "channel"), [(0.35, 1.0), (0.62, 0.0), (0.9, 0.0)])
def test_droids_gripper_is_closed_above_one_half_and_open_below(name, model, channel):
    adapter = load_adapter(name)
    rows = np.zeros((3, 8))
    rows[:, 7] = model
    assert actions_from_model(adapter, rows)[:, 7].tolist() == [channel] * 3


@pytest.mark.parametrize(("before", "kept"), [(1.0, 1.0), (0.0, 0.0), (0.3, 0.0)])
def test_a_gripper_that_hovers_about_its_threshold_stays_as_it_was(before, kept):
    adapter = load_adapter("droid")
    rows = np.zeros((40, 8))
    rows[:, 7] = 0.5 + 0.08 * np.sin(np.arange(40))
    assert set(actions_from_model(adapter, rows, {"gripper": before})[:, 7]) == {kept}


def test_a_gripper_closes_once_and_holds_on_a_noisy_way_through_its_threshold():
    adapter = load_adapter("droid")
    rows = np.zeros((60, 8))
    rows[:, 7] = np.linspace(0.0, 1.0, 60) + 0.05 * np.sin(2.0 * np.arange(60))
    found = actions_from_model(adapter, rows, {"gripper": 1.0})[:, 7]
    assert np.abs(np.diff(found)).sum() == 1.0 and found[0] == 1.0 and found[-1] == 0.0


STATE = np.array([0.5, -0.2, 0.1, 1.0])


def pipeline(adapter):
    plain = Normalizer("identity", Statistics({}))
    return Pipeline(
        "test", PromptStyle("pi0"), ("base",), (224, 224), "pil", plain, plain, 4, 20,
        action_size=4, delta=adapter.delta_mask, steps=adapter.step_shares,
    )  # fmt: skip


@pytest.mark.parametrize("word", ["step", "previous", "cumulative", "current"])
def test_twenty_steps_of_a_hundredth_are_a_fifth(tmp_path, word):
    adapter = adapter_of(tmp_path, f"  - {{channels: [j1, j2, j3], delta: {word}}}\n  - channels: [gripper]\n")
    rows = np.tile([0.01, -0.02, 0.0, 0.4], (20, 1))
    found = pipeline(adapter).actions(rows, STATE)
    np.testing.assert_allclose(found[0], [0.51, -0.22, 0.1, 0.4])
    np.testing.assert_allclose(found[-1], [0.7, -0.6, 0.1, 0.4])
    np.testing.assert_allclose(pipeline(adapter).normalised_actions(found, STATE), rows, atol=1e-12)


def test_each_channel_is_counted_from_what_its_block_says(tmp_path):
    text = (
        "  - {channels: [j1], delta: step}\n  - {channels: [j2], delta: start}\n  - {channels: [j3], delta: absolute}\n"
    )
    adapter = adapter_of(tmp_path, text + "  - channels: [gripper]\n")
    assert [b.delta for b in adapter.actions] == [Delta.STEP, Delta.START, Delta.ABSOLUTE, Delta.ABSOLUTE]
    rows = np.array([[0.01, 0.01, 0.01, 0.0], [0.02, 0.02, 0.02, 0.0], [0.03, 0.03, 0.03, 0.0]])
    found = pipeline(adapter).actions(rows, STATE)
    np.testing.assert_allclose(found[:, :3], [[0.51, -0.19, 0.01], [0.53, -0.18, 0.02], [0.56, -0.17, 0.03]])


def test_steps_of_a_batch_are_summed_in_each_chunk_alone():
    rng = np.random.default_rng(3)
    actions, state = rng.normal(size=(4, 6, 5)), rng.normal(size=(4, 5))
    mask = (True, False, True)
    steps = transforms.step_delta(actions, state, mask)
    np.testing.assert_allclose(steps[2, 0, 0], actions[2, 0, 0] - state[2, 0])
    np.testing.assert_allclose(steps[1, 3, 2], actions[1, 3, 2] - actions[1, 2, 2])
    np.testing.assert_array_equal(steps[..., [1, 3, 4]], actions[..., [1, 3, 4]])
    np.testing.assert_allclose(transforms.step_absolute(steps, state, mask), actions)


def test_a_chunk_of_one_row_is_one_step_from_the_state():
    one = transforms.step_delta([[1.0, 5.0, 2.5]], [0.25, 7.0, 0.5], (0.5, 0.0, 1.0))
    np.testing.assert_allclose(one, [[0.75, 5.0, 2.0]])
    np.testing.assert_allclose(transforms.step_absolute(one, [0.25, 7.0, 0.5], (0.5, 0.0, 1.0)), [[1.0, 5.0, 2.5]])


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ("  - {channels: [j1], delta: sometimes}\n", "must be true, false or one of absolute, start"),
        ("  - {channels: [gripper], delta: step}\n", "gripper is an offset, so the state needs it in the same place 0"),
        ("  - {channels: [j1], scale: 0.0}\n", "a scale of 0 moves nothing"),
        ("  - {channels: [j1], scale: 2.0, delta: true}\n", "does not go together with delta"),
        ("  - {channels: [j1], clip: [1, -1]}\n", "needs a smaller and a larger number"),
        ("  - {channels: [j1, j2], threshold: 0.5}\n", "only a gripper has a threshold"),
        ("  - {channels: [gripper], hysteresis: 0.2}\n", "belongs to a threshold"),
        ("  - {channels: [gripper], range: [1, -1], threshold: 1.5}\n", "is not inside -1 .. 1"),
        ("  - {channels: [gripper], threshold: 0.5, hysteresis: 1.0}\n", "is not inside 0 .. 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_line_and_key(tmp_path, actions, words):
    with pytest.raises(PolicyError) as problem:
        adapter_of(tmp_path, actions)
    assert words in str(problem.value) and "small.yaml:" in str(problem.value)


def test_an_adapter_survives_the_way_into_a_checkpoint(tmp_path):
    import json

    from pi0_ros.robot.yaml_nodes import read_yaml

    text = "  - {channels: [j1], delta: step}\n  - {channels: [j2], delta: true}\n  - {channels: [j3], scale: 3.0, clip: [-1, 1]}\n"
    adapter = adapter_of(tmp_path, text + "  - {channels: [gripper], range: [1, 0], threshold: 0.5, hysteresis: 0.2}\n")
    file = tmp_path / "config.json"
    file.write_text(json.dumps(adapter_to_dict(adapter)))
    assert replace(adapter_from(read_yaml(file)), file=adapter.file) == adapter

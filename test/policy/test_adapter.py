import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi0_ros.policy import PolicyError, load_adapter
from pi0_ros.policy.adapter import Adapter, Block, Delta
from pi0_ros.policy.adapter_reading import adapter_names, adapter_of_checkpoint
from pi0_ros.policy.adapter_vectors import actions_from_model, actions_to_model, state_to_model
from pi0_ros.policy.adapter_writing import adapter_to_dict

GOOD = """policy: arm
cameras: {base_0_rgb: top}
period: 0.1
state:
  - {channels: [a, b], signs: [1, -1]}
  - {channels: [grip], range: [1, 0]}
actions:
  - {channels: [a, b], signs: [1, -1], delta: true}
  - {channels: [grip], range: [1, 0]}
"""


def written(folder, text):
    file = folder / "arm.yaml"
    file.write_text(text)
    return file


def test_the_shipped_adapters_cover_the_named_robots():
    expected = {"aloha", "droid", "libero", "mobile_bimanual", "mobile_manipulator", "ur5e"}
    assert expected <= set(adapter_names())


@pytest.mark.parametrize("name", adapter_names())
def test_every_shipped_adapter_survives_a_checkpoints_config(name, tmp_path):
    adapter = load_adapter(name)
    (tmp_path / "config.json").write_text(json.dumps({"policy": adapter_to_dict(adapter)}, indent=1))
    again = adapter_of_checkpoint(tmp_path / "config.json")
    for field in (f for f in fields(adapter) if f.name != "file"):
        assert getattr(again, field.name) == getattr(adapter, field.name), field.name


@pytest.mark.parametrize("name", [n for n in adapter_names() if not n.startswith("aloha")])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_actions_come_back_from_the_model_as_they_went_in(name, seed):
    adapter = load_adapter(name)
    values = np.random.default_rng(seed).uniform(0, 1, (4, len(adapter.action_channels)))
    binary = [b.binary is not None for b in adapter.actions for _ in b.channels]
    values[:, binary] = np.random.default_rng(seed).integers(0, 2, (4, sum(binary)))
    model = actions_to_model(adapter, values, adapter.action_channels)
    wide = np.pad(model, ((0, 0), (0, 14)))
    np.testing.assert_allclose(actions_from_model(adapter, wide), values, atol=1e-12)


def test_signs_and_ranges_apply_by_name(tmp_path):
    adapter = load_adapter(written(tmp_path, GOOD))
    state = {"grip": 0.25, "b": 2.0, "a": 1.0, "other": 9.0}
    np.testing.assert_allclose(state_to_model(adapter, state), [1.0, -2.0, 0.75])
    found = actions_to_model(adapter, [[0.25, 9.0, 2.0, 1.0]], ("grip", "other", "b", "a"))
    np.testing.assert_allclose(found, [[1.0, -2.0, 0.75]])


def test_a_missing_measurement_is_named(tmp_path):
    adapter = load_adapter(written(tmp_path, GOOD))
    with pytest.raises(PolicyError, match="no measured value for b, grip"):
        state_to_model(adapter, {"a": 1.0, "b": float("nan")})


def test_actions_without_a_channel_are_refused(tmp_path):
    adapter = load_adapter(written(tmp_path, GOOD))
    with pytest.raises(PolicyError, match="lack b"):
        actions_to_model(adapter, np.zeros((2, 2)), ("a", "grip"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("period: 0.1", "perod: 0.1", r"arm.yaml:3: perod: unknown key"),
        ("period: 0.1\n", "", r"key period is missing"),
        ("period: 0.1", "period: 0", r"arm.yaml:3: period: must be above 0"),
        ("{base_0_rgb: top}", "{base_0_rgb: null}", r"arm.yaml:2: cameras: needs at least one camera"),
        ("period: 0.1", "period: 0.1\nnoise: 2", r"arm.yaml:4: noise: has to be between 0"),
        ("signs: [1, -1]}", "signs: [1, 2]}", r"arm.yaml:5: state\[0\].signs: must be 1 or -1"),
        ("signs: [1, -1]}", "signs: [1]}", r"needs 2 numbers"),
        ("signs: [1, -1]}", "delta: true}", r"state\[0\].delta: unknown key"),
        ("{channels: [grip], range: [1, 0]}", "{channels: [grip], range: [1, 1]}", r"two different numbers"),
        ("[grip], range: [1, 0]}", "[grip], convert: magic}", r"one of aloha_gripper"),
        ("[grip], range: [1, 0]}", "[grip], range: [1, 0], convert: aloha_gripper}", r"keep one"),
        ("{channels: [grip]", "{channels: [a]", r"a is there more than once"),
        ("state:\n  - {channels: [a, b]", "state:\n  - {channels: [b, a]", r"a is an offset, so the state needs it"),
    ],
)
def test_mistakes_are_named_with_file_line_and_key(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(PolicyError, match=message):
        load_adapter(written(tmp_path, GOOD.replace(old, new, 1)))


def test_an_unknown_name_lists_the_adapters_there_are():
    with pytest.raises(PolicyError, match="aloha, "):
        load_adapter("no_such_robot")


def test_what_a_policy_yaml_does_not_say_is_left_to_the_checkpoint_or_the_usual(tmp_path):
    found = load_adapter(written(tmp_path, GOOD))
    assert (found.period, found.noise, found.horizon, dict(found.horizons)) == (0.1, 1.0, 0, {})
    assert (found.hold, found.asset, found.normalisation, found.resampler) == ((), "", "", "")
    assert (found.prompt, found.high_level_cameras, found.remote, found.dataset) == (None, None, None, None)
    assert (found.finished, found.subtasks, found.subtask_log_probability) == ((), None, -1.0)
    assert found.missing == "masked"
    block = found.actions[1]
    assert (block.delta, block.scale, block.clip, block.binary, block.follows, block.wrap, block.convert) == (
        Delta.ABSOLUTE, 1.0, None, None, 1.0, None, "",
    )  # fmt: skip
    assert Adapter("a", tmp_path, {}, (), ()).noise == 1.0 and Block(("a",), (1.0,)).follows == 1.0


def test_a_row_goes_through_every_block_with_its_own_sign_scale_range_and_clip(tmp_path):
    """By hand: b is 2 (-1) 0.25; the gripper is closed at the model's 0.9 and open at 0.1; wide is clipped to 1.5."""
    text = """policy: arm
cameras: {base_0_rgb: top}
period: 0.1
state:
  - {channels: [a, b], signs: [1, -1]}
  - {channels: [grip], range: [0.9, 0.1]}
actions:
  - {channels: [wide], clip: [-1, 1.5]}
  - {channels: [b], signs: [-1], scale: 2.0}
  - {channels: [grip], range: [0.9, 0.1]}
"""
    found = load_adapter(written(tmp_path, text))
    assert state_to_model(found, {"a": 0.3, "b": 0.4, "grip": 0.25}).tolist() == pytest.approx([0.3, -0.4, 0.7])
    rows = actions_from_model(found, [[1.7, 0.25, 0.7, 99.0], [-3.0, -0.5, 0.5, 99.0]])
    np.testing.assert_allclose(rows, [[1.5, -0.5, 0.25], [-1.0, 1.0, 0.5]])
    back = actions_to_model(found, [[0.25, -0.5, 9.0, 1.2]], ["grip", "b", "other", "wide"])
    np.testing.assert_allclose(back, [[1.2, 0.25, 0.7]])

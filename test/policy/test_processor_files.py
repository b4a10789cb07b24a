"""LeRobot's processor files, field by field."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.lerobot_files import RelativeActions, has_processors, read_processors
from pi0_ros.policy.normalize import Statistics, write_norm_stats

STATE = {"mean": [1.0, 2.0, 3.0], "std": [0.5, 0.25, 4.0]}
ACTION = {"min": [-1.0, -2.0], "max": [3.0, 5.0]}
MODES = {"STATE": "MEAN_STD", "ACTION": "MIN_MAX", "VISUAL": "IDENTITY"}


def step(name, state_file=None, **config):
    return {"registry_name": name, "config": config} | ({"state_file": state_file} if state_file else {})


def write(folder, before=(), after=(), norm=(), tensors=True, **told):
    """Both files with a normaliser step each, `before` and `after` in front of it; `norm`: more of its configuration."""
    if tensors:
        values = {f"observation.state.{k}": np.array(v, np.float32) for k, v in STATE.items()}
        values |= {f"action.{k}": np.array(v, np.float32) for k, v in ACTION.items()}
        save_file(values | {"observation.state.count": np.array([7])}, folder / "numbers.safetensors")
    how = {"norm_map": MODES, "eps": 0.125} | dict(norm)
    for name, steps, own in (
        ("policy_preprocessor", before, "normalizer_processor"),
        ("policy_postprocessor", after, "unnormalizer_processor"),
    ):
        content = {"steps": [*steps, step(own, **({"state_file": "numbers.safetensors"} | told), **how)]}
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_state_and_actions_have_each_their_mode_statistics_and_epsilon(tmp_path):
    assert not has_processors(tmp_path)
    write(tmp_path)
    found = read_processors(tmp_path)
    assert has_processors(tmp_path)
    assert (found.state.method, found.actions.method) == ("lerobot_mean_std", "lerobot_min_max")
    assert found.state.epsilon == found.actions.epsilon == 0.125
    for norm, values in ((found.state, STATE), (found.actions, ACTION)):
        assert {k: norm.statistics[k].tolist() for k in values} == values
    assert found.state.statistics.source == f"{tmp_path / 'numbers.safetensors'}: observation.state"
    assert found.actions.statistics.source.endswith(": action")
    assert (found.rename, found.prompt_length, found.delta) == ({}, 0, None)


def test_an_epsilon_that_is_not_said_is_lerobots(tmp_path):
    write(tmp_path)
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        content = json.loads((tmp_path / name).read_text())
        del content["steps"][-1]["config"]["eps"]
        (tmp_path / name).write_text(json.dumps(content))
    assert read_processors(tmp_path).state.epsilon == 1e-8


@pytest.mark.parametrize(
    ("eps", "good"), [(0, True), (0.999, True), (1, False), (-1e-9, False), (True, False), ("0", False)]
)
def test_an_epsilon_is_a_small_number(tmp_path, eps, good):
    write(tmp_path, norm={"eps": eps})
    if good:
        assert read_processors(tmp_path).actions.epsilon == eps
    else:
        with pytest.raises(PolicyError, match="eps of the normalisation is .*, no small number"):
            read_processors(tmp_path)


@pytest.mark.parametrize(
    ("length", "found"), [(1, 1), (4096, 4096), (4097, 0), (0, 0), (-1, 0), (True, 0), (48.0, 0), ("48", 0), (None, 0)]
)
def test_a_prompt_is_as_long_as_the_file_says_if_that_is_a_length(tmp_path, length, found):
    write(tmp_path, before=[step("tokenizer_processor", max_length=length)])
    assert read_processors(tmp_path).prompt_length == found


def test_pictures_are_renamed_as_the_first_file_says(tmp_path):
    write(tmp_path, before=[step("rename_observations_processor", rename_map={"a": "b", "c": 3})])
    assert read_processors(tmp_path).rename == {"a": "b", "c": "3"}
    write(tmp_path, before=[step("rename_observations_processor", rename_map=None)])
    assert read_processors(tmp_path).rename == {}
    write(tmp_path, before=[step("rename_observations_processor", rename_map=["a"])])
    with pytest.raises(PolicyError, match="rename_map is .*, no map of names"):
        read_processors(tmp_path)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, RelativeActions(False)),
        ({"enabled": True}, RelativeActions(True)),
        (
            {"enabled": True, "exclude_joints": ["jaw"], "action_names": ["a", 2]},
            RelativeActions(True, ("jaw",), ("a", "2")),
        ),
        ({"enabled": True, "exclude_joints": None, "action_names": []}, RelativeActions(True, (), ())),
    ],
)
def test_relative_actions_are_what_their_step_says(tmp_path, config, found):
    write(tmp_path, before=[step("relative_actions_processor", **config)])
    assert read_processors(tmp_path).delta == found


def test_of_two_steps_of_one_name_the_first_counts(tmp_path):
    later = step("normalizer_processor", "numbers.safetensors", norm_map={"STATE": "IDENTITY", "ACTION": "IDENTITY"})
    write(tmp_path, before=[
        step("relative_actions_processor", enabled=True, exclude_joints=["jaw"]), step("relative_actions_processor"),
        step("tokenizer_processor", max_length=31), step("tokenizer_processor", max_length=32),
    ])  # fmt: skip
    content = json.loads((tmp_path / "policy_preprocessor.json").read_text())
    (tmp_path / "policy_preprocessor.json").write_text(json.dumps({"steps": [*content["steps"], later]}))
    found = read_processors(tmp_path)
    assert found.delta == RelativeActions(True, ("jaw",)) and found.prompt_length == 31
    assert found.state.method == "lerobot_mean_std"


def test_a_joint_is_left_out_of_relative_actions_by_a_part_of_its_name(tmp_path):
    relative = RelativeActions(True, ("Jaw", ""), ("left_jaw.pos", "ELBOW", "jaws", "arm"))
    assert relative.mask(6) == (False, True, False, True, True, True) and relative.mask(2) == (False, True)
    assert RelativeActions(True, ("jaw",)).mask(2) == (True, True) and RelativeActions(False).mask(2) == (False, False)


@pytest.mark.parametrize(("key", "value"), [("exclude_joints", "jaw"), ("action_names", {"a": 1})])
def test_names_that_are_no_list_are_refused(tmp_path, key, value):
    write(tmp_path, before=[step("relative_actions_processor", enabled=True, **{key: value})])
    with pytest.raises(PolicyError, match=rf"policy_preprocessor.json: {key} is .*, no list of names"):
        read_processors(tmp_path)


@pytest.mark.parametrize(
    ("norm", "methods"),
    [
        ({"norm_map": {}}, ("identity", "identity")),
        ({"norm_map": None}, ("identity", "identity")),
        ({"norm_map": {"ACTION": "MIN_MAX"}}, ("identity", "lerobot_min_max")),
        ({"norm_map": {"STATE": "MEAN_STD"}}, ("lerobot_mean_std", "identity")),
        ({"normalize_observation_keys": ["observation.state"]}, ("lerobot_mean_std", "lerobot_min_max")),
        ({"normalize_observation_keys": []}, ("identity", "lerobot_min_max")),
        ({"normalize_observation_keys": ["action"]}, ("identity", "lerobot_min_max")),
    ],
)
def test_a_vector_without_a_mode_or_left_out_of_the_keys_passes_as_it_is(tmp_path, norm, methods):
    write(tmp_path, norm=norm)
    found = read_processors(tmp_path)
    assert (found.state.method, found.actions.method) == methods
    assert all(n.statistics.size == 0 for n in (found.state, found.actions) if n.method == "identity")


@pytest.mark.parametrize(
    ("norm", "match"),
    [
        ({"norm_map": ["MEAN_STD"]}, "norm_map is .*, no map of modes"),
        ({"norm_map": MODES | {"VISUAL": "MEAN_STD"}}, "pictures are normalised by 'MEAN_STD'"),
        ({"norm_map": MODES | {"STATE": "SOFTMAX"}}, "normalisation mode 'SOFTMAX' of STATE is unknown"),
        ({"norm_map": MODES | {"ACTION": 3}}, "normalisation mode 3 of ACTION is unknown"),
        ({"normalize_observation_keys": "observation.state"}, "normalize_observation_keys is .*, no list of names"),
    ],
)
def test_normalisation_that_is_not_known_is_refused(tmp_path, norm, match):
    write(tmp_path, norm=norm)
    with pytest.raises(PolicyError, match=match):
        read_processors(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("[]", "no list of processor steps"),
        ('{"steps": {}}', "no list of processor steps"),
        ('{"steps": [3]}', "no list of processor steps"),
        ('{"steps": [{"registry_name": "x", "config": [1]}]}', "the config of the step 'x' is no object"),
        ('{"steps": []}', "no unnormalizer_processor step, so nothing says"),
        ('{"steps": [{"registry_name": "normalizer_processor"}]}', "no unnormalizer_processor step"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, content, match):
    write(tmp_path)
    (tmp_path / "policy_postprocessor.json").write_text(content)
    with pytest.raises(PolicyError, match=f"policy_postprocessor.json: {match}"):
        read_processors(tmp_path)
    (tmp_path / "policy_postprocessor.json").unlink()
    with pytest.raises(PolicyError, match=r"policy_postprocessor.json: missing; LeRobot >= 0.4 writes it"):
        read_processors(tmp_path)


@pytest.mark.parametrize("name", ["../numbers.safetensors", "a/b", "x" * 256, "a\0b"])
def test_a_file_outside_of_the_folder_is_not_read(tmp_path, name):
    write(tmp_path, state_file=name)
    with pytest.raises(PolicyError, match="state_file .* points out of the checkpoint's folder"):
        read_processors(tmp_path)


def test_lost_statistics_are_taken_from_a_norm_stats_beside_them_each_by_its_key(tmp_path):
    write(tmp_path, tensors=False, state_file="gone.safetensors")
    with pytest.raises(PolicyError, match="no statistics of observation.state: .*gone.safetensors, which is not there"):
        read_processors(tmp_path)
    beside = {"state": STATE, "actions": ACTION}
    write_norm_stats(
        tmp_path, {k: Statistics({n: np.array(v) for n, v in values.items()}) for k, values in beside.items()}
    )
    found = read_processors(tmp_path)
    assert found.state.statistics["std"].tolist() == STATE["std"]
    assert found.actions.statistics["max"].tolist() == ACTION["max"]
    write_norm_stats(tmp_path, {"state": found.state.statistics})
    with pytest.raises(PolicyError, match="no statistics of action: "):
        read_processors(tmp_path)


def test_a_step_that_names_no_file_and_a_file_without_the_feature_say_what_there_is(tmp_path):
    write(tmp_path)
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        content = json.loads((tmp_path / name).read_text())
        del content["steps"][-1]["state_file"]
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(PolicyError, match="no statistics of observation.state: no step of it names a file"):
        read_processors(tmp_path)
    write(tmp_path)
    save_file({f"k{i}": np.zeros(1, np.float32) for i in range(9)}, tmp_path / "numbers.safetensors")
    with pytest.raises(PolicyError, match="numbers.safetensors has k0, k1, k2, k3, k4, k5, k6, k7;"):
        read_processors(tmp_path)
    save_file({}, tmp_path / "numbers.safetensors")
    with pytest.raises(PolicyError, match="numbers.safetensors has nothing in it"):
        read_processors(tmp_path)
    heads = ("so100.buffer.observation_state.mean", "aloha.buffer.observation.state.std", "x.buffer.action.mean")
    save_file(dict.fromkeys(heads, np.zeros(3, np.float32)), tmp_path / "numbers.safetensors")
    with pytest.raises(PolicyError, match="for the datasets aloha, so100 apart .*; save those of one .*state.mean"):
        read_processors(tmp_path)


def test_statistics_of_one_number_or_of_whole_numbers_are_vectors_of_floats(tmp_path):
    write(tmp_path)
    numbers = {"observation.state.mean": np.array(2, np.int64), "observation.state.std": np.array(0.5, np.float64)}
    save_file(
        numbers | {f"action.{k}": np.array(v, np.float32) for k, v in ACTION.items()}, tmp_path / "numbers.safetensors"
    )
    found = read_processors(tmp_path).state.statistics
    assert found["mean"].tolist() == [2.0] and found["mean"].dtype == np.float64
    assert found["std"].tolist() == [0.5] and read_processors(tmp_path).actions.statistics["min"].dtype == np.float32

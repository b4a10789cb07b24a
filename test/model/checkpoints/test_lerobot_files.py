"""The JSON files of a LeRobot checkpoint, beside those that LeRobot itself wrote of the same policy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pi0_ros.model import Pi0
from pi0_ros.model.checkpoints import CheckpointError, open_checkpoint
from pi0_ros.model.checkpoints.lerobot import (
    FAST_STEPS,
    Vectors,
    lerobot_config,
    lerobot_weights,
    postprocessor_steps,
    preprocessor_steps,
    relative_fields,
    save_lerobot,
    write_processors,
)
from pi0_ros.model.conventions import Conventions, conventions_for

FIXTURES = Path(__file__).parents[2] / "fixtures"
CASES = ("golden/lerobot_pi0", "golden/lerobot_pi05", "recorded/lerobot_pi0_odd", "recorded/lerobot_pi05_odd")
HABITS = Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_quantiles")


def statistics(state, actions):
    """State and action of so many dimensions, every number another one."""
    table = lambda size, first: {
        "count": np.array([9]),
        "mean": first + np.arange(size),
        "std": 2.0 * first + np.arange(size),
    }
    return {"state": table(state, 1.0), "actions": table(actions, 50.0)}


def resized(value, side):
    """The same with the shape of every picture as the network's, which is what is written here."""
    if isinstance(value, dict):
        if value.get("type") == "VISUAL":
            return value | {"shape": [3, side, side]}
        return {key: resized(item, side) for key, item in value.items() if "empty_camera" not in key}
    return [resized(item, side) for item in value] if isinstance(value, list) else value


def recorded(case):
    """The opened checkpoint, LeRobot's own files, and the vectors of the robot."""
    folder = FIXTURES / case
    opened = open_checkpoint(folder)
    config = json.loads((folder / "config.json").read_text())
    sizes = config["input_features"]["observation.state"]["shape"][0], config["output_features"]["action"]["shape"][0]
    return opened, config, Vectors(statistics(*sizes), names=config["action_feature_names"] or ())


@pytest.mark.parametrize("case", (*CASES, "recorded/lerobot_pi0_fast"))
def test_a_config_says_what_lerobots_own_says(case):
    opened, right, vectors = recorded(case)
    relative = relative_fields(opened.conventions, vectors)
    found = lerobot_config(opened.config, opened.conventions, vectors, relative, torch.float32)
    side, written = opened.config.vision.image_size, json.loads(json.dumps(found))
    left = {"push_to_hub", "empty_cameras", "input_features"}
    if right["type"] != "pi0":  # whose state is no input of the network, but words of the prompt
        assert written["max_state_dim"] == opened.config.state_dim
        left.add("max_state_dim")
    assert {k: v for k, v in written.items() if k not in left} == {k: right[k] for k in found if k not in left}
    cameras = dict(resized(right["input_features"], side))
    assert {k: v for k, v in written["input_features"].items() if "empty" not in k} == cameras
    assert (written["push_to_hub"], written["empty_cameras"]) == (False, 0)  # an empty one is a camera like others
    assert ("min_period" in found) is ("fast" not in case)
    half = lerobot_config(opened.config, opened.conventions, vectors, relative, torch.bfloat16)
    assert half["dtype"] == "bfloat16" and half | {"dtype": "float32"} == found


@pytest.mark.parametrize("case", CASES)
def test_the_steps_before_and_after_a_network_are_lerobots_own(case, tmp_path):
    opened, _, vectors = recorded(case)
    relative = relative_fields(opened.conventions, vectors)
    write_processors(tmp_path, opened.config, opened.conventions, vectors, relative)
    side = opened.config.vision.image_size
    for name in ("policy_preprocessor", "policy_postprocessor"):
        found, right = (json.loads((f / f"{name}.json").read_text()) for f in (tmp_path, FIXTURES / case))
        assert resized(found, side) == resized(right, side)
        (state,) = (step["state_file"] for step in right["steps"] if "state_file" in step)
        numbers = load_file(tmp_path / state)
        wanted = {"observation.state": vectors.statistics["state"], "action": vectors.statistics["actions"]}
        assert numbers.keys() == {f"{k}.{n}" for k, table in wanted.items() for n in table}
        for key, table in wanted.items():
            for stat, values in table.items():
                np.testing.assert_array_equal(numbers[f"{key}.{stat}"], values.astype(np.float32))


def test_tokens_of_actions_are_made_before_the_device_in_a_network_of_tokens_alone():
    config = open_checkpoint(FIXTURES / "recorded/lerobot_pi0_fast").config
    steps = preprocessor_steps(config, HABITS, Vectors(), relative_fields(HABITS, Vectors()))
    names = [step["registry_name"] for step in steps]
    assert names == [
        "rename_observations_processor", "to_batch_processor", "relative_actions_processor", "normalizer_processor",
        "pi0_fast_prepare_state_tokenizer_processor_step", "tokenizer_processor", "action_tokenizer_processor", "device_processor",
    ]  # fmt: skip
    (tokens,) = (step["config"] for step in steps if step["registry_name"] == "action_tokenizer_processor")
    right = json.loads((FIXTURES / "recorded/lerobot_pi0_fast/config.json").read_text())
    assert {k: tokens[k] for k in ("max_action_tokens", "action_tokenizer_name")} == {
        k: right[k] for k in ("max_action_tokens", "action_tokenizer_name")
    }
    assert FAST_STEPS[0][1]["trust_remote_code"] is True


def test_without_statistics_sizes_are_the_networks_and_no_numbers_are_written(tmp_path):
    config = open_checkpoint(FIXTURES / "golden/lerobot_pi05").config
    write_processors(tmp_path, config, HABITS, Vectors(), relative_fields(HABITS, Vectors()))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["policy_postprocessor.json", "policy_preprocessor.json"]
    (norm,) = (
        s["config"]
        for s in postprocessor_steps(config, HABITS, Vectors(), relative_fields(HABITS, Vectors()))
        if "norm" in s["registry_name"]
    )
    assert norm["features"] == {"action": {"type": "ACTION", "shape": [config.action_dim]}}
    assert norm["norm_map"] == {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "QUANTILES"}
    counted = Vectors({"state": {"count": np.array([3]), "mean": np.zeros(6)}})
    assert (counted.size("state", 9), counted.size("actions", 9)) == (6, 9)


def test_openpis_formulas_have_lerobots_names():
    found = {}
    for kind in ("pi0", "pi05"):
        own = conventions_for("openpi", kind, {})
        config = open_checkpoint(FIXTURES / "golden/lerobot_pi05").config
        found[kind] = lerobot_config(config, own, Vectors(), relative_fields(own, Vectors()), torch.float32)[
            "normalization_mapping"
        ]
    assert found["pi0"] == {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    assert found["pi05"] == {"VISUAL": "IDENTITY", "STATE": "QUANTILES", "ACTION": "QUANTILES"}


def test_offsets_are_said_by_the_names_of_the_joints_that_have_none():
    names = ("arm_1", "Arm_2", "gripper", "lift")
    found = relative_fields(HABITS, Vectors(delta=(True, True, False, False), names=names))
    assert found == {
        "use_relative_actions": True,
        "relative_exclude_joints": ["gripper", "lift"],
        "action_feature_names": list(names),
    }
    none = relative_fields(HABITS, Vectors(delta=(False, False), names=names))
    assert none == {
        "use_relative_actions": False,
        "relative_exclude_joints": ["gripper"],
        "action_feature_names": list(names),
    }
    own = Conventions("torch", "lerobot", "identity", "identity", relative_actions=True, absolute_joints=("hand",))
    assert relative_fields(own, Vectors()) == {
        "use_relative_actions": True,
        "relative_exclude_joints": ["hand"],
        "action_feature_names": None,
    }
    more = Vectors(delta=(True, False), names=("a", "b", "c"))
    assert relative_fields(HABITS, more)["relative_exclude_joints"] == ["b"]


@pytest.mark.parametrize(
    ("delta", "names", "words"),
    [((True, False), ("left_Lift", "lift"), "from offsets: lift;"), ((False, True), ("ARM", "arm_2"), "from offsets: ARM;"), ((True, False), ("arm",), "names are missing")],
)  # fmt: skip
def test_offsets_that_no_part_of_a_name_tells_are_refused(delta, names, words):
    with pytest.raises(CheckpointError, match=words):
        relative_fields(HABITS, Vectors(delta=delta, names=names))


@pytest.mark.parametrize(("case", "expert"), [("golden/lerobot_pi05", True), ("recorded/lerobot_pi0_fast", False)])
def test_weights_have_every_key_that_lerobot_wants_and_both_heads(case, expert):
    config = open_checkpoint(FIXTURES / case).config
    with torch.device("meta"):
        model = Pi0(config)
    found = lerobot_weights(model)
    own = load_file(FIXTURES / case / "model.safetensors")
    prefix = "model." if all(key.startswith("model.") for key in own) else ""
    assert {key.removeprefix("model.") for key in found} == {key.removeprefix(prefix) for key in own} | {
        key.removeprefix("model.") for key in found if "lm_head" in key or "embed_tokens" in key
    }
    head = "model.paligemma_with_expert.gemma_expert.lm_head.weight"
    assert (head in found) is expert and (not expert or found[head].shape == (config.vocab, config.expert.width))
    table = found["model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"]
    assert found["model.paligemma_with_expert.paligemma.lm_head.weight"].shape == table.shape
    assert {t.dtype for t in lerobot_weights(model, torch.bfloat16).values()} == {torch.bfloat16}


def test_a_folder_of_lerobots_is_made_with_those_above_it_and_may_be_written_again(tmp_path):
    config = open_checkpoint(FIXTURES / "golden/lerobot_pi05").config
    model, folder = Pi0(config), tmp_path / "runs" / "first"
    for _ in range(2):
        assert save_lerobot(model, folder, HABITS) == folder
    found = open_checkpoint(folder)
    assert (found.origin, found.config.horizon, found.config.action_dim) == (
        "lerobot",
        config.horizon,
        config.action_dim,
    )

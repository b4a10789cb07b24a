"""Whole pipelines of checkpoints that are only described: every value, and which file said it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_processor_files import step, write

from pi0_ros.model.conventions import Conventions
from pi0_ros.policy.adapter import Adapter, Block, Delta
from pi0_ros.policy.checkpoint import Overrides, build_pipeline
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.normalize import Statistics, write_norm_stats
from pi0_ros.policy.prompts import PromptStyle

OPENPI = Conventions("pil", "openpi", "openpi_quantile", "openpi_zscore")
LEROBOT = Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_min_max")
NAMES = ("mean", "std", "q01", "q99", "min", "max")


def statistics(size, source):
    """Every kind of statistics of a vector, none of which is out of order."""
    return Statistics({n: np.linspace(1.0 + k, 2.0 + k, size) for k, n in enumerate(NAMES)}, source)


STATE, ACTIONS = statistics(3, "a: state"), statistics(2, "b: actions")
GIVEN = Overrides({"state": STATE, "actions": ACTIONS})


def checkpoint(origin="openpi", kind="pi05", habits=OPENPI, folder="weights", assumed=("horizon",), **settings):
    vision = SimpleNamespace(image_size=56)
    config = SimpleNamespace(
        kind=kind, cameras=("base", "left"), vision=vision, action_dim=8, horizon=12, state_dim=7, prompt_length=99
    )
    return SimpleNamespace(
        origin=origin, config=config, folder=Path(folder), conventions=habits, settings=settings, assumed=assumed
    )


def adapter(delta=(Delta.ABSOLUTE, Delta.ABSOLUTE), **values):
    """A robot with three measured and two commanded channels."""
    actions = tuple(Block((name,), (1.0,), delta=kind) for name, kind in zip(("lift", "grip"), delta, strict=True))
    state = (Block(("lift", "grip", "turn"), (1.0,) * 3),)
    cameras = {"base": "front", "left": None}
    return Adapter("arm", Path("arm.yaml"), **{"cameras": cameras, "state": state, "actions": actions} | values)


def settings_of(pipeline):
    return {s.key: (s.value, s.source) for s in pipeline.settings}


USUAL = {
    "prompt.kind": ("pi05", "the network"),
    "prompt.dialect": ("openpi", "as openpi does"),
    "prompt.length": (99, "the checkpoint"),
    "prompt.state": (True, "as openpi does"),
    "prompt.pad_state_to": (0, "as openpi does"),
    "resampler": ("pil", "as openpi does"),
    "horizon": (12, "a guess: no file says how many rows it was trained with"),
    "normalisation of state": ("openpi_quantile", "as openpi does for pi05"),
    "normalisation of actions": ("openpi_zscore", "as openpi does for pi05"),
    "offsets": ((), "none are"),
    "statistics of state": ("3 dimensions", "a: state"),
    "statistics of actions": ("2 dimensions", "b: actions"),
    "cameras": (("base <- nothing", "left <- nothing"), "no policy YAML"),
}


def test_without_a_policy_yaml_openpis_habits_count():
    found = build_pipeline(checkpoint(), overrides=GIVEN)
    assert settings_of(found) == USUAL and [s.key for s in found.settings] == list(USUAL)
    assert found.style == PromptStyle("pi05", "openpi", 99, True)
    assert (found.origin, found.cameras, found.image_size, found.resampler) == (
        "openpi",
        ("base", "left"),
        (56, 56),
        "pil",
    )
    assert (found.state_norm.method, found.action_norm.method) == ("openpi_quantile", "openpi_zscore")
    assert found.state_norm.statistics is STATE and found.action_norm.statistics is ACTIONS
    assert (found.action_width, found.horizon, found.action_size, found.state_input) == (8, 12, 0, 0)
    assert (found.delta, found.steps, found.missing, dict(found.rename), found.empty_slots) == ((), (), "masked", {}, 0)


def test_what_the_policy_yaml_says_counts_before_openpis_habits():
    prompt = {
        "kind": "pi05",
        "dialect": "lerobot",
        "length": 77,
        "state": False,
        "pad_state_to": 9,
        "control_mode": "joint",
        "lowercase": True,
    }
    robot = adapter(
        (Delta.START, Delta.ABSOLUTE),
        prompt=prompt,
        resampler="jax",
        horizon=12,
        normalisation="zscore",
        missing="black",
    )
    found = build_pipeline(checkpoint(), robot, GIVEN)
    assert settings_of(found) == USUAL | {
        "prompt.dialect": ("lerobot", "arm.yaml"),
        "prompt.length": (77, "arm.yaml"),
        "prompt.state": (False, "arm.yaml"),
        "prompt.pad_state_to": (9, "arm.yaml"),
        "prompt.control_mode": ("joint", "arm.yaml"),
        "prompt.lowercase": (True, "arm.yaml"),
        "resampler": ("jax", "arm.yaml"),
        "horizon": (12, "arm.yaml"),
        "normalisation of state": ("openpi_zscore", "arm.yaml"),
        "normalisation of actions": ("openpi_zscore", "arm.yaml"),
        "offsets": ((True, False), "arm.yaml"),
        "cameras": (("base <- front", "left <- nothing"), "arm.yaml"),
    }
    assert found.style == PromptStyle("pi05", "lerobot", 77, False, 9, "joint", True)
    assert (found.resampler, found.missing, found.action_size) == ("jax", "black", 2)
    assert (found.delta, found.steps) == ((True, False), (0.0, 0.0))
    assert (found.state_norm.method, found.action_norm.method) == ("openpi_zscore", "openpi_zscore")


def test_one_word_of_a_prompt_is_enough_and_one_of_another_type_says_nothing():
    for key, value in (("control_mode", "joint"), ("lowercase", True)):
        found = settings_of(build_pipeline(checkpoint(), adapter(prompt={key: value}), GIVEN))
        assert found[f"prompt.{key}"] == (value, "arm.yaml")
        assert sum(name.startswith("prompt.") for name in found) == 6
    odd = {"dialect": 3, "length": "long", "state": "yes", "lowercase": "no"}
    found = settings_of(build_pipeline(checkpoint(), adapter(prompt=odd), GIVEN))
    assert {key: found[f"prompt.{key}"][0] for key in odd} == {
        "dialect": "openpi",
        "length": 99,
        "state": True,
        "lowercase": False,
    }
    with pytest.raises(PolicyError, match=r"arm.yaml: prompt.kind is pi0, the network is a pi05"):
        build_pipeline(checkpoint(), adapter(prompt={"kind": "pi0"}), GIVEN)


def test_the_state_is_a_vector_of_pi0_and_words_of_the_others():
    pi0 = build_pipeline(checkpoint(kind="pi0"), overrides=GIVEN)
    assert (pi0.state_input, pi0.style.state) == (7, False)
    remembers = build_pipeline(checkpoint(use_proprioceptive_memory=True), overrides=GIVEN)
    assert (remembers.state_input, remembers.style.state) == (0, False)
    padded = build_pipeline(checkpoint(), overrides=Overrides(GIVEN.statistics, pad_state_to=5))
    assert settings_of(padded)["prompt.pad_state_to"] == (5, "the parameter pad_state_to")
    both = build_pipeline(checkpoint(), adapter(prompt={"pad_state_to": 6}), Overrides(GIVEN.statistics, "", 5))
    assert both.style.pad_state_to == 5


def test_rows_that_the_checkpoint_records_have_to_be_the_policy_yamls():
    recorded = checkpoint(assumed=())
    assert settings_of(build_pipeline(recorded, adapter(), GIVEN))["horizon"] == (12, "weights")
    assert build_pipeline(recorded, adapter(horizon=12), GIVEN).horizon == 12
    with pytest.raises(PolicyError, match=r"horizon: weights says 12, arm.yaml says 13; .*correct or remove `horizon`"):
        build_pipeline(recorded, adapter(horizon=13), GIVEN)
    guessed = settings_of(build_pipeline(checkpoint(), adapter(horizon=13), GIVEN))["horizon"]
    assert guessed[0] == 12 and guessed[1].startswith("a guess")


def test_steps_and_offsets_are_of_different_dimensions():
    steps = adapter((Delta.ABSOLUTE, Delta.STEP))
    assert build_pipeline(checkpoint(), steps, GIVEN).steps == (0.0, 1.0)
    converted = Conventions("torch", "lerobot", *("lerobot_mean_std",) * 2, relative_mask=(True, False))
    assert build_pipeline(checkpoint(habits=converted), steps, GIVEN).delta == (True, False)
    both = Conventions("torch", "lerobot", *("lerobot_mean_std",) * 2, relative_mask=(True, True))
    with pytest.raises(
        PolicyError, match="arm.yaml calls grip steps from the row before, the checkpoint's config.json"
    ):
        build_pipeline(checkpoint(habits=both), steps, GIVEN)


def test_what_was_converted_from_lerobot_keeps_its_method_size_and_offsets():
    for habits, adapted, delta in (
        (Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_quantiles"), None, ()),
        (Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_quantiles", relative_mask=(False, True)), None,
         (False, True)),
        (Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_quantiles", relative_actions=True,
                     absolute_joints=("grip",)), adapter(), (True, False)),
        (Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_quantiles", relative_actions=True,
                     absolute_joints=("grip",)), None, (True, True)),
    ):  # fmt: skip
        found = build_pipeline(checkpoint(habits=habits), adapted, GIVEN)
        said = settings_of(found)
        assert (found.action_size, found.delta, found.style.dialect) == (2, delta, "lerobot")
        assert said["normalisation of state"] == ("lerobot_mean_std", "the checkpoint's files")
        assert said["normalisation of actions"] == ("lerobot_quantiles", "the checkpoint's files")
        assert said["offsets"][1] == ("the checkpoint's config.json" if delta else "none are")
    with pytest.raises(PolicyError, match="normalisation of actions: the checkpoint's files says quantile"):
        build_pipeline(checkpoint(habits=habits), adapter(normalisation="zscore"), GIVEN)
    more = Overrides({"state": STATE, "actions": statistics(3, "c")})
    with pytest.raises(PolicyError, match=r"the checkpoint has 3 actions, arm.yaml has 2 \(lift, grip\)"):
        build_pipeline(checkpoint(habits=habits), adapter(), more)


def test_picture_slots_are_the_networks_or_those_of_openpis_fast():
    both = {"base_0_rgb": "front", "wrist_0_rgb": "hand"}
    fast = build_pipeline(checkpoint(kind="pi0_fast"), adapter(cameras=both), GIVEN)
    assert fast.cameras == ("base_0_rgb", "base_1_rgb", "wrist_0_rgb")
    assert settings_of(fast)["cameras"][0] == ("base_0_rgb <- front", "base_1_rgb <- nothing", "wrist_0_rgb <- hand")
    assert build_pipeline(checkpoint(kind="pi0_fast"), adapter(cameras={"left": "x"}), GIVEN).cameras == (
        "base",
        "left",
    )
    for kind, cameras in (("pi05", both), ("pi0_fast", {"base_0_rgb": "front", "up": "hand"})):
        with pytest.raises(PolicyError, match="picture slots are base, left, the adapter fills base_0_rgb, "):
            build_pipeline(checkpoint(kind=kind), adapter(cameras=cameras), GIVEN)


def test_statistics_are_those_given_or_those_of_a_file_or_of_the_asset_that_is_asked_for(tmp_path):
    for name, size in (("arms/left", 3), ("right", 4)):
        (tmp_path / "assets" / name).mkdir(parents=True)
        write_norm_stats(tmp_path / "assets" / name, {k: statistics(size, "") for k in ("state", "actions")})
    opened = checkpoint(folder=tmp_path)
    for overrides, asset, size, name in (
        (Overrides(asset="right"), "arms/left", 4, "right"),
        (Overrides(), "arms/left", 3, "arms/left"),
        (Overrides(tmp_path / "assets" / "right"), "arms/left", 4, "right"),
        (Overrides(str(tmp_path / "assets" / "right" / "norm_stats.json")), "", 4, "right"),
    ):
        found = build_pipeline(opened, adapter(asset=asset), overrides)
        assert found.state_norm.statistics.size == size
        assert settings_of(found)["statistics of state"][1].startswith(str(tmp_path / "assets" / name))
    with pytest.raises(PolicyError, match="statistics for arms/left, right; choose one"):
        build_pipeline(opened, adapter(), Overrides())
    for lost in ("state", "actions"):
        with pytest.raises(PolicyError, match=f"the statistics given: statistics of {lost} are missing"):
            build_pipeline(opened, overrides=Overrides({k: v for k, v in GIVEN.statistics.items() if k != lost}))


# LeRobot


def lerobot(folder="weights", **settings):
    return checkpoint("lerobot", "pi05", LEROBOT, folder, (), **settings)


def test_lerobots_processor_files_say_all_of_its_vectors(tmp_path):
    rename = {"observation.images.front": "observation.images.base", "observation.state": "observation.state"}
    write(tmp_path, before=[
        step("rename_observations_processor", rename_map=rename),
        step("relative_actions_processor", enabled=True, exclude_joints=["grip"], action_names=["Lift.pos", "Grip.pos"]),
        step("tokenizer_processor", max_length=33),
    ])  # fmt: skip
    features = {f"observation.images.{name}": {"type": "VISUAL"} for name in ("base", "left", "up")}
    found = build_pipeline(lerobot(tmp_path, input_features=features, empty_cameras=1), None)
    said = settings_of(found)
    assert said["prompt.length"] == (33, "policy_preprocessor.json")
    assert said["prompt.dialect"] == ("lerobot", "as lerobot does") and said["resampler"] == (
        "torch",
        "as lerobot does",
    )
    assert said["horizon"] == (12, str(tmp_path))
    assert said["normalisation of state"] == ("lerobot_mean_std", "the checkpoint's files")
    assert said["normalisation of actions"] == ("lerobot_min_max", "the checkpoint's files")
    assert said["offsets"] == ((True, False), "policy_preprocessor.json")
    assert said["statistics of state"][0] == "3 dimensions" and said["statistics of actions"][0] == "2 dimensions"
    assert said["cameras"] == (("base <- nothing", "left <- nothing"), "no policy YAML")
    assert (found.delta, found.action_size, found.empty_slots, found.steps) == ((True, False), 2, 2, ())
    assert dict(found.rename) == {"front": "base"} and found.origin == "lerobot"
    assert found.state_norm.statistics["std"].tolist() == [0.5, 0.25, 4.0]
    assert found.action_norm.statistics["max"].tolist() == [3.0, 5.0]
    assert found.state_norm.epsilon == found.action_norm.epsilon == 0.125


def test_without_processor_files_lerobots_config_and_the_statistics_given_count(tmp_path):
    habits = Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_min_max", 0, True, ("grip",))
    opened = checkpoint("lerobot", "pi05", habits, tmp_path, (), action_feature_names=["lift.pos", "grip.pos"])
    found = build_pipeline(opened, adapter(), GIVEN)
    said = settings_of(found)
    assert said["offsets"] == ((True, False), "config.json") and said["prompt.length"] == (99, "the checkpoint")
    assert said["normalisation of state"] == ("lerobot_mean_std", "as lerobot does for pi05")
    assert found.state_norm.statistics is STATE and found.action_norm.statistics is ACTIONS
    quantile = build_pipeline(opened, adapter(normalisation="quantile"), GIVEN)
    assert (quantile.state_norm.method, quantile.action_norm.method) == ("openpi_quantile", "openpi_quantile")
    with pytest.raises(PolicyError, match="no normalisation statistics"):
        build_pipeline(opened, adapter())
    write_norm_stats(tmp_path, {"state": STATE, "actions": ACTIONS})
    beside = build_pipeline(opened, adapter())
    assert settings_of(beside)["statistics of actions"][1].endswith("norm_stats.json: norm_stats.actions")
    with pytest.raises(PolicyError, match="actions are grip, lift, arm.yaml has them in another order: lift, grip"):
        build_pipeline(
            checkpoint("lerobot", habits=habits, action_feature_names=["grip.pos", "lift.pos"]), adapter(), GIVEN
        )


def test_the_sizes_that_lerobots_features_say_are_those_of_the_vectors():
    for section, key, size, words in (
        ("output_features", "action", 4, "the checkpoint has 4 actions, arm.yaml has 2"),
        ("input_features", "observation.state", 5, "the checkpoint has 5 state, arm.yaml has 3"),
    ):
        with pytest.raises(PolicyError, match=words):
            build_pipeline(lerobot(**{section: {key: {"shape": [size]}}}), adapter(), GIVEN)
        for shape in ([2, 2], "2", None, 2):
            assert build_pipeline(lerobot(**{section: {key: {"shape": shape}}}), adapter(), GIVEN).action_size == 2
        assert build_pipeline(lerobot(**{section: ["action"]}), adapter(), GIVEN).action_size == 2
    wide = build_pipeline(lerobot(output_features={"action": {"shape": [6]}}), None, GIVEN)
    assert wide.action_size == 6


def test_lerobots_cameras_are_called_as_the_network_or_as_before_they_are_renamed(tmp_path):
    rename = {
        "observation.images.front": "observation.images.base",
        "observation.images.side": "observation.images.left",
    }
    write(tmp_path, before=[step("rename_observations_processor", rename_map=rename)])
    for cameras in (
        {"base": "x", "left": "y"},
        {"front": "x", "side": "y"},
        {"front": "x", "left": "y"},
        {"side": "y"},
    ):
        assert build_pipeline(lerobot(tmp_path), adapter(cameras=cameras)).cameras == ("base", "left")
    with pytest.raises(PolicyError, match="slots are base, left, the adapter fills up; name the slots"):
        build_pipeline(lerobot(tmp_path), adapter(cameras={"up": "x"}))
    back = {"observation.images.base": "observation.images.front", "observation.images.left": "observation.images.side"}
    write(tmp_path, before=[step("rename_observations_processor", rename_map=back)])
    with pytest.raises(
        PolicyError, match=r"the adapter fills front, side \(its rename_map is written the other way round\)"
    ):
        build_pipeline(lerobot(tmp_path), adapter(cameras={"front": "x", "side": "y"}))
    one = lerobot(tmp_path)
    one.config.cameras = ("top",)
    assert build_pipeline(one, adapter(cameras={"up": "x"})).cameras == ("up",)
    assert build_pipeline(one, adapter(cameras={"top": "x"})).cameras == ("top",)
    with pytest.raises(PolicyError, match="slots are top, the adapter fills up, down"):
        build_pipeline(one, adapter(cameras={"up": "x", "down": "y"}))
    one.config.cameras = ()
    assert build_pipeline(one, adapter(cameras={"up": "x"})).cameras == ()


def test_checkpoints_of_old_lerobots_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(PolicyError, match="adapt_to_pi_aloha is true, LeRobot 0.3's conversion"):
        build_pipeline(lerobot(adapt_to_pi_aloha=True), None, GIVEN)
    assert build_pipeline(lerobot(adapt_to_pi_aloha=False), None, GIVEN).origin == "lerobot"
    with pytest.raises(PolicyError, match="written by LeRobot 0.3 or older"):
        build_pipeline(lerobot(resize_imgs_with_padding=[224, 224]), None, GIVEN)
    write(tmp_path)
    assert build_pipeline(lerobot(tmp_path, resize_imgs_with_padding=[224, 224])).action_size == 2

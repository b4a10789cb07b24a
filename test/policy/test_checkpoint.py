import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pi0_ros.model import load
from pi0_ros.model.checkpoints import open_checkpoint
from pi0_ros.policy import PolicyError, load_adapter, load_policy
from pi0_ros.policy.backends.torch_backend import TorchBackend
from pi0_ros.policy.checkpoint import Overrides, build_pipeline
from pi0_ros.policy.lerobot_files import RelativeActions
from pi0_ros.policy.normalize import write_norm_stats
from pi0_ros.policy.tokenizer import load_tokenizer
from pi0_ros.robot import load_robot

CASES = ["lerobot_pi0", "lerobot_pi05"]
WEIGHTS = {"lerobot_pi0": 6, "lerobot_pi05": 3}  # number of the normaliser step, which LeRobot puts into its file name


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.fixture
def copy(golden, tmp_path):
    def make(case):
        return shutil.copytree(golden.folder(case), tmp_path / case, ignore=shutil.ignore_patterns("*.md"))

    return make


def observations(golden, case):
    io = golden(case, "e2e")
    for i, words in enumerate(golden.json(case, "e2e")):
        own = {k.removeprefix(f"obs{i}."): v for k, v in io.items() if k.startswith(f"obs{i}.")}
        head = "observation.images."
        yield own, {k.removeprefix(head): v for k, v in own.items() if k.startswith(head)}, words


@pytest.mark.parametrize("case", CASES)
def test_lerobot_from_raw_observation_to_robot_actions_equals_lerobot(golden, case):
    loaded = load(golden.folder(case))
    pipeline, words = build_pipeline(loaded), load_tokenizer(golden.folder(case))
    backend = TorchBackend(loaded.model)
    for own, images, text in observations(golden, case):
        state = own["observation.state"]
        inputs = pipeline.inputs(images, state, text["task"], words)
        assert inputs.prompt.text == text["tokenized_text"]
        assert list(inputs.prompt.ids) == text["token_ids"]
        np.testing.assert_allclose(inputs.normalised_state, own["pre.observation.state"][0], rtol=0, atol=2e-5)
        for i, (picture, present) in enumerate(pipeline.slots(inputs)):
            np.testing.assert_allclose(picture, own[f"model.image.{i}"][0], rtol=0, atol=2e-5)
            assert present == own[f"model.image_mask.{i}"][0]
        if "model.state" in own:
            np.testing.assert_allclose(inputs.state, own["model.state"][0], rtol=0, atol=2e-5)
        trained = pipeline.normalised_actions(own["train_action"], state)[:, : pipeline.action_size]
        np.testing.assert_allclose(trained, own["train_action_normalized"][0], rtol=0, atol=2e-5)
        normalised = backend.actions(inputs, own["noise"][0], None)
        np.testing.assert_allclose(pipeline.actions(normalised, state), own["action_chunk"][0], rtol=0, atol=1e-4)


def test_a_missing_lerobot_camera_comes_last_and_masked(golden):
    pipeline = build_pipeline(open_checkpoint(golden.folder("lerobot_pi05")))
    own, images, text = next(observations(golden, "lerobot_pi05"))
    del images["top"]
    inputs = pipeline.inputs(
        images, own["observation.state"], text["task"], load_tokenizer(golden.folder("lerobot_pi05"))
    )
    slots = pipeline.slots(inputs)
    assert [present for _, present in slots] == [True, True, False]
    np.testing.assert_allclose(slots[0][0], own["model.image.1"][0], atol=2e-5)
    assert np.all(slots[2][0] == -1.0)


def test_empty_cameras_are_slots_that_no_picture_fills(copy):
    folder = copy("lerobot_pi05")
    edit(folder / "config.json", lambda c: c.update(empty_cameras=2))
    (folder / "sizes.json").write_text(
        json.dumps({k: v for k, v in json.loads((folder / "sizes.json").read_text()).items() if k != "cameras"})
    )
    pipeline = build_pipeline(open_checkpoint(folder))
    assert pipeline.cameras == ("top", "left_wrist", "right_wrist", "empty_camera_0", "empty_camera_1")
    picture = np.zeros((48, 64, 3), np.uint8)
    filled = pipeline.pictures(dict.fromkeys(("top", "left_wrist", "right_wrist"), picture))
    assert [p is None for p in filled.values()] == [False, False, False, True, True]


def relative(folder, names, exclude=("gripper",)):
    def change(content):
        step = next(s for s in content["steps"] if s["registry_name"] == "relative_actions_processor")
        step["config"] = {"enabled": True, "exclude_joints": list(exclude), "action_names": names}

    edit(folder / "policy_preprocessor.json", change)


def test_lerobots_relative_actions_leave_out_the_named_joints(copy, golden):
    folder = copy("lerobot_pi05")
    relative(folder, [f"joint_{i}.pos" for i in range(6)] + ["Gripper.pos"])
    pipeline = build_pipeline(open_checkpoint(folder))
    assert pipeline.delta == (True,) * 6 + (False,)
    own, *_ = next(observations(golden, "lerobot_pi05"))
    state = own["observation.state"]
    there = pipeline.normalised_actions(own["train_action"], state)
    np.testing.assert_allclose(pipeline.actions(there, state), own["train_action"], atol=2e-5)
    plain = build_pipeline(open_checkpoint(golden.folder("lerobot_pi05")))
    offset = own["train_action"] - np.append(state[:6], 0)
    np.testing.assert_allclose(there, plain.normalised_actions(offset, state), atol=2e-5)


def test_lerobots_relative_actions_without_names_take_all_dimensions():
    assert RelativeActions(True, ("gripper",), None).mask(3) == (True, True, True)
    assert RelativeActions(True, (), ("gripper",)).mask(2) == (True, True)
    assert RelativeActions(False, (), ("a",)).mask(2) == (False, False)


def test_the_early_padding_of_lerobot_is_a_setting(golden):
    opened = open_checkpoint(golden.folder("lerobot_pi05"))
    pipeline = build_pipeline(opened, overrides=Overrides(pad_state_to=12))
    own, images, text = next(observations(golden, "lerobot_pi05"))
    words = load_tokenizer(golden.folder("lerobot_pi05"))
    found = pipeline.inputs(images, own["observation.state"], text["task"], words).prompt.text
    assert found == text["tokenized_text"].replace(";\n", " 128 128 128 128;\n")


def test_lost_lerobot_statistics_are_refused_until_norm_stats_are_beside(copy, golden):
    folder = copy("lerobot_pi0")
    name = "policy_preprocessor_step_6_normalizer_processor.safetensors"
    lost = load_file(folder / name)
    (folder / name).unlink()
    with pytest.raises(PolicyError, match="norm_stats.json"):
        build_pipeline(open_checkpoint(folder))
    from pi0_ros.policy.normalize import Statistics

    def of(feature):
        head = f"{feature}."
        return Statistics({k[len(head) :]: v for k, v in lost.items() if k.startswith(head) and "count" not in k})

    write_norm_stats(folder, {"state": of("observation.state"), "actions": of("action")})
    pipeline = build_pipeline(open_checkpoint(folder))
    own, *_ = next(observations(golden, "lerobot_pi0"))
    found = pipeline.normalised_state(own["observation.state"])
    np.testing.assert_allclose(found, own["pre.observation.state"][0], atol=2e-5)


def test_a_state_file_outside_the_folder_is_refused(copy):
    folder = copy("lerobot_pi0")

    def change(content):
        content["steps"][-1]["state_file"] = "../../secrets.safetensors"

    edit(folder / "policy_preprocessor.json", change)
    with pytest.raises(PolicyError, match="out of the checkpoint"):
        build_pipeline(open_checkpoint(folder))


def test_a_damaged_statistics_file_is_named(copy):
    folder = copy("lerobot_pi0")
    name = "policy_preprocessor_step_6_normalizer_processor.safetensors"
    (folder / name).write_bytes(b"\x00" * 20)
    with pytest.raises(PolicyError, match=name):
        build_pipeline(open_checkpoint(folder))


def test_statistics_that_are_nan_are_refused(copy):
    folder = copy("lerobot_pi0")
    name = folder / "policy_preprocessor_step_6_normalizer_processor.safetensors"
    values = load_file(name)
    values["observation.state.std"][2] = np.nan
    save_file(values, name)
    with pytest.raises(PolicyError, match="observation.state: std is nan in dimension 2"):
        build_pipeline(open_checkpoint(folder))


def test_an_orbax_checkpoint_finds_its_statistics_under_assets(golden):
    pipeline = build_pipeline(open_checkpoint(golden.folder("orbax_pi05")))
    assert pipeline.action_norm.method == "openpi_quantile" and pipeline.resampler == "pil"
    assert build_pipeline(open_checkpoint(golden.folder("orbax_pi0"))).action_norm.method == "openpi_zscore"


def test_an_openpi_checkpoint_without_statistics_is_refused(golden):
    with pytest.raises(PolicyError, match="no normalisation statistics"):
        build_pipeline(open_checkpoint(golden.folder("openpi_pi05")))


def test_statistics_of_another_robot_are_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    edit(folder / "norm_stats.json", lambda c: c["norm_stats"]["state"].update(
        {k: v[:7] for k, v in c["norm_stats"]["state"].items()}))  # fmt: skip
    with pytest.raises(PolicyError, match="state have 7 dimensions.*different robots"):
        load_policy(folder, load_robot("mobile_bimanual"))


def test_a_tokenizer_larger_than_the_network_is_refused(checkpoint, tmp_path):
    from pi0_ros.policy.tiny_tokenizer import to_json

    content = json.loads(to_json())
    content["model"]["vocab"] += [[f"word{i}", -9.0] for i in range(5)]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(PolicyError, match="do not belong together"):
        load_policy(checkpoint, load_robot("mobile_bimanual"), tokenizer=tmp_path)


def test_openpis_chain_runs_through_a_pipeline_as_recorded(golden):
    io, aloha = golden("transforms"), replace(load_adapter("aloha"), horizon=0)
    opened = open_checkpoint(golden.folder("orbax_pi0"))
    with pytest.raises(PolicyError, match="different robots|dimensions"):
        build_pipeline(opened, aloha)
    overrides = Overrides(statistics=golden.folder("transforms"))
    for method in ("zscore", "quantile"):
        pipeline = _wide(build_pipeline(opened, overrides=overrides), aloha, method)
        state, actions = io["aloha.adapt_true.in.state"], io["aloha.adapt_true.in.actions"]
        found = pipeline.normalised_actions(actions, state)
        np.testing.assert_allclose(found, io[f"chain.{method}.in.actions"], atol=2e-5)
        back = pipeline.actions(io[f"chain.{method}.in.actions"] + 0.01, state)
        from pi0_ros.policy.adapter_vectors import actions_from_model

        np.testing.assert_allclose(actions_from_model(aloha, back), io[f"chain.{method}.out.actions"], atol=2e-5)


def _wide(pipeline, adapter, method):
    """The recorded chain pads to 32, wider than the tiny network of the case."""
    from pi0_ros.policy.normalize import Normalizer

    norms = {
        key: Normalizer(f"openpi_{method}", getattr(pipeline, key).statistics) for key in ("state_norm", "action_norm")
    }
    return replace(pipeline, action_width=32, action_size=14, delta=adapter.delta_mask, **norms)


def test_lerobot_weights_in_our_layout_act_as_before(golden, tmp_path):
    from pi0_ros.model import save
    from pi0_ros.policy.normalize import Statistics

    loaded = load(golden.folder("lerobot_pi05"))
    before = build_pipeline(loaded)
    save(loaded.model, tmp_path, conventions=loaded.conventions)
    norms = {"state": before.state_norm, "actions": before.action_norm}
    plain = {k: Statistics({s: v for s, v in n.statistics.values.items() if s != "count"}) for k, n in norms.items()}
    write_norm_stats(tmp_path, plain)
    after, words = build_pipeline(load(tmp_path)), load_tokenizer(golden.folder("lerobot_pi05"))
    own, images, text = next(observations(golden, "lerobot_pi05"))
    state, task = own["observation.state"], text["task"]
    found, expected = after.inputs(images, state, task, words), before.inputs(images, state, task, words)
    assert found.prompt == expected.prompt
    for key, picture in expected.images.items():
        np.testing.assert_array_equal(found.images[key], picture)
    np.testing.assert_allclose(after.actions(np.zeros((10, 12)), state), before.actions(np.zeros((10, 12)), state))


def test_empty_cameras_outside_the_networks_own_list_are_blank_slots_behind(copy, golden):
    folder = copy("lerobot_pi05")
    edit(folder / "config.json", lambda c: c.update(empty_cameras=1))
    pipeline, words = build_pipeline(open_checkpoint(folder)), load_tokenizer(folder)
    own, images, text = next(observations(golden, "lerobot_pi05"))
    slots = pipeline.slots(pipeline.inputs(images, own["observation.state"], text["task"], words))
    assert [present for _, present in slots] == [True, True, True, False]
    assert np.all(slots[3][0] == -1.0)

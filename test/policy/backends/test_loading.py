"""What is loaded of a checkpoint, and with what it is run."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from pi0_ros.model.errors import CheckpointError
from pi0_ros.policy import MisfitError, PolicyError, load_adapter, load_policy
from pi0_ros.policy.backends import loading, onnx_backend, torch_backend
from pi0_ros.policy.errors import WeightsError
from pi0_ros.policy.fp8_scales import Fp8Scales, save_scales, weights_mark
from pi0_ros.robot import load_robot

ROBOT = load_robot("mobile_bimanual")


@pytest.fixture
def networks(monkeypatch):
    """What a network would be made with, in place of one."""
    made = []

    def network(folder, opened, adapter, device, mode, steps, sizes, fp8):
        made.append(
            {"device": device, "mode": mode, "steps": steps, "sizes": sizes, "fp8": fp8, "adapter": adapter.name}
        )

    monkeypatch.setattr(loading, "_torch_network", network)
    return made


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("recorded", "given", "steps"),
    [(None, None, 10), (7, None, 7), ("6", None, 6), (0, None, 10), (7, 3, 3), ([5], None, 10)],
)
def test_steps_of_the_flow_are_those_given_then_those_recorded_then_ten(folder, networks, recorded, given, steps):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"num_inference_steps": recorded}))
    load_policy(folder, ROBOT, steps=given)
    assert networks[0] == {
        "device": "cpu", "mode": None, "steps": steps, "sizes": None, "fp8": True, "adapter": "mobile_bimanual",
    }  # fmt: skip


@pytest.mark.parametrize("threads", [None, 3])
def test_graphs_get_as_many_threads_as_were_asked_for_or_as_many_as_the_runtime_likes(folder, monkeypatch, threads):
    made = []

    def graphs(place, config, steps, threads, device):
        made.append((place, steps, threads, device))

    monkeypatch.setattr(onnx_backend, "OnnxBackend", graphs)
    load_policy(folder, ROBOT, steps=4, threads=threads, backend="onnx", device="cuda:1")
    assert made == [(folder / "onnx", 4, threads or 0, "cuda:1")]  # onnxruntime takes 0 for its own choice


def test_what_is_said_of_a_network_reaches_it(folder, networks):
    adapter = replace(load_adapter("mobile_bimanual"), name="mine")
    load_policy(folder, ROBOT, mode="eager", fp8=False, adapter=adapter)
    assert (networks[0]["mode"], networks[0]["fp8"], networks[0]["adapter"]) == ("eager", False, "mine")


def test_a_robot_that_does_not_fit_and_an_unknown_backend_are_refused_before_a_weight_is_read(folder, networks):
    adapter = load_adapter("mobile_bimanual")
    with pytest.raises(MisfitError, match=rf"(?s)^robot mobile_bimanual and {folder} do not fit:\n.*lift"):
        load_policy(folder, ROBOT, adapter=replace(adapter, actions=adapter.actions[:-1]))
    with pytest.raises(PolicyError, match="backend 'jax' is unknown"):
        load_policy(folder, ROBOT, backend="jax")
    assert networks == []


def test_weights_that_cannot_be_read_are_an_error_of_the_weights(folder):
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="model.safetensors") as refused:
        load_policy(folder, ROBOT)
    assert isinstance(refused.value.__cause__, CheckpointError)


def test_scales_are_of_use_where_products_are_in_8_bits(folder, monkeypatch):
    from pi0_ros.model.checkpoints import open_checkpoint

    opened = open_checkpoint(folder)
    layers = opened.config.language.depth - 1
    model = type("Model", (), {"config": opened.config, "gemma": type("Gemma", (), {"dtype": torch.bfloat16})})
    asked = []

    def narrows(config, dtype, mode, device):
        asked.append((dtype, mode, device.type))
        return mode == "kernels"

    monkeypatch.setattr(torch_backend, "narrows", narrows)
    assert loading._scales(opened, model, "cuda", "kernels") is None, "it has none"
    pairs = tuple((1.0 + k, 2.0) for k in range(layers))
    save_scales(folder, Fp8Scales(pairs, weights_mark(folder), "shown", 3))
    assert loading._scales(opened, model, "cuda", "graph") is None
    assert loading._scales(opened, model, "cuda", "kernels") == pairs
    assert asked == [(torch.bfloat16, "graph", "cuda"), (torch.bfloat16, "kernels", "cuda")]
    save_scales(folder, Fp8Scales((*pairs, (9.0, 9.0)), weights_mark(folder), "shown", 3))
    with pytest.raises(PolicyError, match=f"has scales of {layers + 1} layers and the network has {layers}"):
        loading._scales(opened, model, "cuda", "kernels")


def test_what_the_cameras_of_a_robot_fill_is_recorded_when_it_is_loaded(folder, monkeypatch):
    prepared = []
    monkeypatch.setattr(torch_backend.TorchBackend, "prepare", lambda self, seen, progress: prepared.append(seen))
    adapter = load_adapter("mobile_bimanual")
    first, _, third = adapter.cameras.items()
    some = replace(adapter, cameras=dict([first, ("left_wrist", None), third]), high_level_cameras=None)
    load_policy(folder, ROBOT, adapter=some)
    assert prepared == [[0, 2]]

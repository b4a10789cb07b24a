from dataclasses import replace

import numpy as np
import pytest
import torch

from pi0_ros.model import Pi0, preset
from pi0_ros.model.inference import modes, sampler
from pi0_ros.policy import Observation, PlanPrefix, PolicyError, load_policy
from pi0_ros.policy.backends import torch_backend
from pi0_ros.robot import load_robot


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"mode": "quick"}, "mode 'quick' is unknown; there are eager, compile"),
        ({"mode": "graph"}, "mode graph records CUDA graphs and the device is cpu; use eager or compile"),
        ({"mode": "kernels"}, "mode kernels runs on CUDA and the device is cpu; use eager or compile"),
        ({"device": "gpu"}, "device 'gpu' is unknown; use cpu or cuda"),
    ],
)
def test_a_way_to_run_that_does_not_exist_is_refused_before_anything_is_read(robot, asked, why):
    with pytest.raises(PolicyError, match=why):
        load_policy("/no/such/checkpoint", robot, **asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused(robot):
    with pytest.raises(PolicyError, match="device cuda: no CUDA device here; use cpu"):
        load_policy("/no/such/checkpoint", robot, device="cuda")


def test_without_a_compiler_the_mode_compile_is_refused(robot, monkeypatch):
    monkeypatch.setattr(modes.shutil, "which", lambda _: None)
    with pytest.raises(PolicyError, match=r"mode compile needs a C\+\+ compiler"):
        load_policy("/no/such/checkpoint", robot, mode="compile")


@pytest.mark.skipif(not modes.has_compiler(), reason="torch.compile needs a C++ compiler")
def test_a_compiled_policy_plans_what_the_eager_one_plans(checkpoint, robot):
    black = np.zeros((224, 224, 3), np.uint8)
    middle = {c.name: (c.limits.lower + c.limits.upper) / 2.0 for c in robot.channels}
    observation = Observation(0.0, {c.name: black for c in robot.cameras}, middle, "touch the red block")
    eager, compiled = (
        load_policy(checkpoint, robot, mode=mode).infer(observation, seed=1) for mode in (None, "compile")
    )
    np.testing.assert_allclose(compiled.values, eager.values, atol=1e-5)


@pytest.mark.parametrize("mode", ["graph", "kernels"])
def test_everything_is_recorded_while_the_policy_is_loaded_and_nothing_later(checkpoint, robot, mode, monkeypatch):
    made = []

    class Replayed:
        """A CUDA graph's rules without one: fixed inputs that calls are copied into."""

        def __init__(self, run, example, device, pool):
            self.run, self.inputs = run, [tensor.clone() for tensor in example]
            made.append(self)

        def __call__(self, *tensors):
            for own, now in zip(self.inputs, tensors, strict=True):
                own.copy_(now)
            return self.run(*self.inputs).clone()

    monkeypatch.setattr(sampler, "CapturedGraph", Replayed)
    monkeypatch.setattr(sampler, "records", lambda mode, device: mode != "eager")
    monkeypatch.setattr(sampler, "check_mode", lambda mode, device: None)
    monkeypatch.setattr(torch_backend, "check_mode", lambda mode, device: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None, raising=False)
    eager, policy = load_policy(checkpoint, robot), load_policy(checkpoint, robot, mode=mode)
    recorded = len(made)
    assert recorded == 5 * (2 if mode == "graph" else 1)  # 16, 32, 48, 64 and 80 tokens
    black = np.zeros((224, 224, 3), np.uint8)
    middle = {c.name: (c.limits.lower + c.limits.upper) / 2.0 for c in robot.channels}
    cameras = [c.name for c in robot.cameras]
    for words, seen in (
        ("go", cameras),
        ("touch the red block with the left hand", cameras[:1]),
        ("wave", cameras[1:]),
    ):
        observation = Observation(0.0, dict.fromkeys(seen, black), middle, words)
        plans = [p.infer(observation, seed=1) for p in (eager, policy)]
        np.testing.assert_allclose(plans[1].values, plans[0].values, atol=1e-5)
        left = PlanPrefix(plans[0].values[3:], plans[0].names, 2, 6)
        plans = [p.infer(observation, seed=2, prefix=left) for p in (eager, policy)]
        np.testing.assert_allclose(plans[1].values, plans[0].values, atol=1e-5)
    assert len(made) == recorded


@pytest.mark.parametrize(
    ("changes", "dtype", "best"),
    [
        ({}, torch.bfloat16, "kernels"),
        ({}, torch.float32, "graph"),
        ({"head_dim": 48}, torch.bfloat16, "graph"),
    ],
)
def test_on_cuda_kernels_are_taken_where_they_fit(changes, dtype, best, monkeypatch):
    monkeypatch.setattr(torch_backend, "has_triton", lambda: True)
    config = preset("tiny")
    language, expert = (replace(part, **changes) for part in (config.language, config.expert))
    with torch.device("meta"):
        model = Pi0(replace(config, language=language, expert=expert)).to(dtype)
    assert torch_backend.best_mode(model, torch.device("cuda")) == best
    assert torch_backend.best_mode(model, torch.device("cpu")) == "eager"
    monkeypatch.setattr(torch_backend, "has_triton", lambda: False)
    assert torch_backend.best_mode(model, torch.device("cuda")) == "graph"


@pytest.mark.parametrize(
    ("device", "capability", "mode", "fits", "triton", "narrow"),
    [
        ("cuda", (8, 9), "kernels", False, False, True),
        ("cuda", (9, 0), None, True, True, True),
        ("cuda", (8, 6), "kernels", True, True, False),
        ("cuda", (9, 0), "graph", True, True, False),
        ("cuda", (9, 0), None, False, True, False),
        ("cuda", (9, 0), None, True, False, False),
        ("cpu", (9, 0), "kernels", True, True, False),
    ],
)
def test_products_are_in_8_bits_by_kernels_on_a_card_that_has_them(
    monkeypatch, device, capability, mode, fits, triton, narrow
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch_backend, "suits_kernels", lambda *_: fits)
    monkeypatch.setattr(torch_backend, "has_triton", lambda: triton)
    assert torch_backend.narrows(preset("tiny"), torch.bfloat16, mode, torch.device(device)) is narrow


@pytest.mark.parametrize(
    ("mode", "bucket"), [("eager", 1), ("compile_graph", 64), ("graph", 16), ("kernels", 16), (None, 1)]
)
def test_prompts_of_sixteen_lengths_share_a_graph_and_all_of_them_what_is_compiled(monkeypatch, mode, bucket):
    """tiny: 64 tokens are the longest prompt."""
    made, narrowed, prepared = [], [], []

    class Sampler:
        def __init__(self, model, **how):
            made.append(how)

        def narrow(self, scales):
            narrowed.append(scales)

        def prepare(self, *what):
            prepared.append(what[:3])

    monkeypatch.setattr(torch_backend, "FastSampler", Sampler)
    with torch.device("meta"):
        model = Pi0(preset("tiny"))
    monkeypatch.setattr(model, "to", lambda device: model)
    backend = torch_backend.TorchBackend(model, steps=7, mode=mode, release=True, scales=[(1.0, 2.0)])
    assert made == [{"mode": mode or "eager", "bucket": bucket, "release": True}] and narrowed == [[(1.0, 2.0)]]
    backend.prepare([0, 2], lambda *_: None)
    assert prepared == [(7, [0, 2], (None, "identity", "prefix"))]
    torch_backend.TorchBackend(model, fast=False, scales=[(1.0, 2.0)]).prepare([0], lambda *_: None)
    torch_backend.TorchBackend(model)
    assert len(made) == 2 and made[1]["release"] is False and len(narrowed) == len(prepared) == 1

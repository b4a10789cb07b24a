import numpy as np
import pytest
import torch

from pi0_ros.model import GemmaConfig, Inputs, load
from pi0_ros.policy import Observation, PlanPrefix, PolicyError, load_policy
from pi0_ros.policy.backends.onnx_backend import OnnxBackend
from pi0_ros.policy.backends.onnx_export import Step, Trunk, Vision, export
from pi0_ros.robot import load_robot

pytestmark = pytest.mark.timeout(600)  # tracing takes seconds alone and minutes on a machine at work
TOWER = GemmaConfig(width=16, depth=2, heads=2, kv_heads=1, head_dim=8, mlp=16)


@pytest.mark.parametrize("kind", ["pi05", "pi0"])
def test_the_modules_that_are_traced_compute_what_the_network_does(kind, tmp_path, maker):
    model = load(maker(tmp_path, kind=kind, language=TOWER, expert=TOWER)).model
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(1, 3, 32, 32, generator=generator) for _ in range(2)]
    ids, state = torch.tensor([[2, 40, 50, 60]]), torch.randn(1, 18, generator=generator)
    x, t = torch.randn(1, 16, 18, generator=generator), torch.tensor([0.7])
    inputs = Inputs([*images, None], [torch.tensor([True])] * 3, ids, torch.ones_like(ids, dtype=torch.bool), state)
    with torch.no_grad():
        expected = model.velocity(x, t, model.prefix(inputs), state)
        pictures = Vision(model)(torch.cat(images)).reshape(1, -1, TOWER.width)
        cache = Trunk(model)(pictures, ids)
        found = Step(model)(x, t, *cache, *([state] if kind == "pi0" else []))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture(scope="module", params=["pi05"])
def exported(request, tmp_path_factory, maker):
    pytest.importorskip("onnxscript", reason="exporting needs the packages onnx and onnxscript")
    pytest.importorskip("onnxruntime", reason="running graphs needs the package onnxruntime")
    folder = maker(tmp_path_factory.mktemp(request.param), kind=request.param, language=TOWER, expert=TOWER)
    export(load(folder).model, folder / "onnx")
    return folder


def test_graphs_give_the_networks_own_plans_with_any_cameras_and_words(exported):
    robot = load_robot("mobile_bimanual")
    graphs, network = (load_policy(exported, robot, threads=1, backend=b) for b in ("onnx", "torch"))
    rng = np.random.default_rng(0)
    pictures = {c.name: rng.integers(0, 256, (60, 80, 3), dtype=np.uint8) for c in robot.cameras}
    state = dict.fromkeys(robot.channel_names, 0.2)
    for cameras, task in ((3, "touch the red block"), (1, "stop"), (2, "touch the blue block with the left arm")):
        some = {name: pictures[name] for name in list(graphs.contract.cameras)[:cameras]}
        obs = Observation(0.0, some, state, task)
        plan, expected = graphs.infer(obs, seed=1), network.infer(obs, seed=1)
        np.testing.assert_allclose(plan.values, expected.values, atol=1e-4)
        prefix = PlanPrefix(plan.values[2:], plan.names, 2, 6, "identity")
        led = [p.infer(obs, seed=2, prefix=prefix).values for p in (graphs, network)]
        np.testing.assert_allclose(*led, atol=1e-3)
    with pytest.raises(PolicyError, match="use identity, or torch"):
        graphs.infer(obs, seed=2, prefix=PlanPrefix(plan.values, plan.names, 2, 6, "vjp"))


def test_missing_graphs_say_how_to_write_them(checkpoint):
    with pytest.raises(PolicyError, match="pi0 export"):
        OnnxBackend(checkpoint / "onnx", load(checkpoint).config)


def test_a_graph_that_is_none_is_named(checkpoint, tmp_path):
    for name in ("vision", "prefix", "step"):
        (tmp_path / f"{name}.onnx").write_bytes(b"nonsense")
    with pytest.raises(PolicyError, match="vision.onnx: onnxruntime cannot read it"):
        OnnxBackend(tmp_path, load(checkpoint).config)


def test_an_unknown_backend_is_refused_with_the_known_ones(checkpoint):
    with pytest.raises(PolicyError, match="torch and onnx"):
        load_policy(checkpoint, load_robot("mobile_bimanual"), backend="jax")

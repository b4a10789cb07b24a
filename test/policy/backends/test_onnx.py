import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pi0_ros.model import CheckpointError, GemmaConfig, Inputs, generate_text, load, preset
from pi0_ros.model.description import read_description, write_description
from pi0_ros.policy import Observation, PlanPrefix, PolicyError, load_policy, read_policy
from pi0_ros.policy.backends import onnx_export
from pi0_ros.policy.backends.onnx_backend import OnnxBackend
from pi0_ros.policy.backends.onnx_export import Step, Trunk, Vision, Word, export
from pi0_ros.policy.backends.torch_backend import TorchBackend
from pi0_ros.policy.pipeline import ModelInputs
from pi0_ros.policy.prompts import Prompt
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


def test_the_word_module_says_what_the_network_does(tmp_path, maker):
    model = load(maker(tmp_path, kind="pi05", language=TOWER, expert=TOWER)).model
    generator = torch.Generator().manual_seed(0)
    image, ids = torch.randn(1, 3, 32, 32, generator=generator), torch.tensor([[2, 40, 50, 60]])
    present = [torch.tensor([True]), torch.tensor([False]), torch.tensor([False])]
    inputs = Inputs([image, None, None], present, ids, torch.ones_like(ids, dtype=torch.bool))
    expected, word = generate_text(model, inputs, 4, stop=())[0], Word(model)
    with torch.no_grad():
        keys, values = Trunk(model)(Vision(model)(image), ids)
        length, found = keys.shape[3], []
        logits, _, _ = word(ids[:, -1:], torch.tensor([[length - 1]]), keys[..., :-1, :], values[..., :-1, :])
        for k in range(4):
            found.append(int(logits.argmax()))
            logits, key, value = word(torch.tensor([found[-1:]]), torch.tensor([[length + k]]), keys, values)
            keys, values = torch.cat([keys, key], dim=3), torch.cat([values, value], dim=3)
    assert found == expected


def test_what_a_step_and_a_word_are_traced_with_has_the_sizes_that_do_not_change():
    config = replace(preset("tiny"), kind="pi05", action_dim=6, state_dim=9, horizon=5)
    trunk = config.language
    kept = (trunk.depth, 1, trunk.kv_heads, 11, trunk.head_dim)
    step = [(1, 5, 6), (1,), kept, kept]
    for numbers, state in ((config, []), (replace(config, kind="pi0"), [(1, 9)])):
        example, changes = onnx_export._EXAMPLES["step"](numbers)
        assert [tuple(x.shape) for x in example] == step + state
        assert [list(axes) for axes in changes] == [[], [], [3], [3], *[[] for _ in state]]
    example, changes = onnx_export._EXAMPLES["word"](config)
    assert [tuple(x.shape) for x in example] == [(1, 1), (1, 1), kept, kept]
    assert [list(axes) for axes in changes] == [[], [], [3], [3]]
    assert [x.dtype for x in example[:2]] == [torch.int64, torch.int64]  # an id and its position


def test_pictures_and_prompts_are_traced_with_any_number_of_them_and_the_sizes_that_do_not_change():
    config = preset("tiny")
    side = config.vision.image_size
    (pictures,), changes = onnx_export._EXAMPLES["vision"](config)
    assert pictures.shape[1:] == (3, side, side) and [list(axes) for axes in changes] == [[0]]
    (tokens, ids), changes = onnx_export._EXAMPLES["prefix"](config)
    assert (tokens.shape[0], tokens.shape[2], ids.shape[0]) == (1, config.language.width, 1)
    assert [list(axes) for axes in changes] == [[1], [1]] and (tokens.ndim, ids.ndim) == (3, 2)
    assert tokens.dtype == torch.float32 and ids.dtype == torch.int64
    assert min(pictures.shape[0], tokens.shape[1], ids.shape[1]) >= 2  # of one, a size would be taken for fixed


def test_graphs_of_two_networks_never_lie_in_one_folder_whenever_an_export_ends(tmp_path, maker, monkeypatch):
    pytest.importorskip("onnxscript", reason="exporting needs the packages onnx and onnxscript")
    loaded = load(maker(tmp_path / "network", kind="pi05", language=TOWER, expert=TOWER))
    place, graphs = tmp_path / "onnx", [f"{name}.onnx" for name in ("prefix", "step", "vision", "word")]

    def export_of(network, ends_after=9):
        written = []

        def write(module, example, shapes, file, inputs, outputs):
            if len(written) == ends_after:
                raise KeyboardInterrupt
            written.append(file.name)
            file.write_text(network)

        monkeypatch.setattr(onnx_export, "_write", write)
        export(replace(loaded, assumed=(network,)), place)

    def networks():
        found = {f.name: f.read_text() for f in place.iterdir()}
        described = json.loads(found.pop("network.json"))
        return found | {"network.json": described["assumed"][0]}

    export_of("old")
    (place / "word.onnx.data").write_text("old")  # the new network is small enough for one file
    with pytest.raises(KeyboardInterrupt):
        export_of("new", ends_after=2)
    assert networks() == dict.fromkeys([*graphs, "word.onnx.data", "network.json"], "old")
    export_of("new")
    assert networks() == dict.fromkeys([*graphs, "network.json"], "new")


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
        assert graphs.subtask(obs, task) == network.subtask(obs, task)
    with pytest.raises(PolicyError, match="use identity, or torch"):
        graphs.infer(obs, seed=2, prefix=PlanPrefix(plan.values, plan.names, 2, 6, "vjp"))


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it raises ImportError, as where it is not installed
import numpy as np
from pi0_ros.policy import Observation, PlanPrefix, load_policy
from pi0_ros.policy.lerobot_files import read_processors
from pi0_ros.policy.resize import model_image
from pi0_ros.robot import load_robot

folder, golden, out = sys.argv[1:]
robot = load_robot("mobile_bimanual")
policy = load_policy(folder, robot, threads=1, backend="onnx")
picture = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)
camera = next(iter(policy.contract.cameras))
obs = Observation(0.0, {camera: picture}, dict.fromkeys(robot.channel_names, 0.2), "touch the red block")
plan = policy.infer(obs, seed=1)
led = policy.infer(obs, seed=2, prefix=PlanPrefix(plan.values[2:], plan.names, 2, 6, "identity"))
statistics = read_processors(__import__("pathlib").Path(golden)).state.statistics  # LeRobot's files, and its resizer
np.savez(out, plan=plan.values, led=led.values, words=policy.subtask(obs, "tidy up"), mean=statistics["mean"],
         picture=model_image(picture, (32, 32), "torch"))
"""


def test_graphs_need_no_torch(exported, golden, tmp_path):
    out, lerobot = tmp_path / "found.npz", golden.folder("lerobot_pi0")
    words = [sys.executable, "-c", WITHOUT_TORCH, str(exported), str(lerobot), str(out)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found, robot = np.load(out), load_robot("mobile_bimanual")
    network = load_policy(exported, robot, threads=1)
    picture = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)
    camera = next(iter(network.contract.cameras))
    obs = Observation(0.0, {camera: picture}, dict.fromkeys(robot.channel_names, 0.2), "touch the red block")
    np.testing.assert_allclose(found["plan"], network.infer(obs, seed=1).values, atol=1e-4)
    prefix = PlanPrefix(found["plan"][2:], robot.channel_names, 2, 6, "identity")
    np.testing.assert_allclose(found["led"], network.infer(obs, seed=2, prefix=prefix).values, atol=1e-3)
    assert str(found["words"]) == network.subtask(obs, "tidy up")
    file = lerobot / "policy_preprocessor_step_6_normalizer_processor.safetensors"
    np.testing.assert_allclose(found["mean"], load_file(file)["observation.state.mean"].numpy(), rtol=1e-6)
    planes = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(planes, size=(24, 32), mode="bilinear", align_corners=False)[0] * 2 - 1
    np.testing.assert_allclose(found["picture"][:, 4:28], expected, atol=1e-6)
    assert np.all(found["picture"][:, :4] == -1)


def test_graphs_written_for_another_number_of_rows_are_refused_with_the_way_out(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "network")
    (folder / "onnx").mkdir()
    write_description(replace(load(checkpoint), assumed=("horizon",)), folder / "onnx")
    robot = load_robot("mobile_bimanual")
    adapter = replace(read_policy(checkpoint, robot)[1], horizon=7)
    with pytest.raises(PolicyError, match=r"chunks of 16 rows and .* says 7; write .*horizon.* and export again"):
        load_policy(folder, robot, adapter=adapter, backend="onnx")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "write them again with `pi0 export"),
        ({"origin": None}, "origin, model or assumed is missing"),
        ({"assumed": "horizon"}, "origin, model or assumed is missing"),
        ({"model": {"kind": "pi0"}}, "network.json: model configuration"),
        ({"conventions": {"resampler": "cubic"}}, "network.json: 'conventions' is malformed"),
    ],
)
def test_a_damaged_description_of_graphs_is_named(checkpoint, tmp_path, change, words):
    file = write_description(load(checkpoint), tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=words):
        read_description(file, checkpoint)


def test_a_network_that_answers_in_action_tokens_says_the_same_from_graphs(tmp_path, maker):
    pytest.importorskip("onnxscript", reason="exporting needs the packages onnx and onnxscript")
    pytest.importorskip("onnxruntime", reason="running graphs needs the package onnxruntime")
    loaded = load(maker(tmp_path, kind="pi0_fast", language=TOWER, expert=None))
    graphs = OnnxBackend(export(loaded, tmp_path / "onnx"), loaded.config, threads=1)
    picture = np.random.default_rng(0).standard_normal((3, 32, 32), np.float32)
    inputs = ModelInputs({"base": picture, "left": None, "right": None}, Prompt("", (2, 40, 50, 60)), None, np.zeros(0))
    found, expected = graphs.text(inputs, 6, ()), TorchBackend(loaded.model).text(inputs, 6, ())
    assert found.ids == expected.ids and found.log_probability == pytest.approx(expected.log_probability, abs=1e-4)


def test_missing_graphs_say_how_to_write_them(checkpoint):
    with pytest.raises(PolicyError, match="pi0 export"):
        OnnxBackend(checkpoint / "onnx", load(checkpoint).config)


def test_a_graph_that_is_none_is_named(checkpoint, tmp_path):
    for name in ("vision", "prefix", "step", "word"):
        (tmp_path / f"{name}.onnx").write_bytes(b"nonsense")
    with pytest.raises(PolicyError, match="vision.onnx: onnxruntime cannot read it"):
        OnnxBackend(tmp_path, load(checkpoint).config)


def test_a_device_that_onnxruntime_lacks_is_named(checkpoint):
    runtime = pytest.importorskip("onnxruntime", reason="devices are those of the package onnxruntime")
    if "CUDAExecutionProvider" in runtime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA; the refusal needs one without")
    with pytest.raises(PolicyError, match="device cuda:0: .* install onnxruntime-gpu"):
        load_policy(checkpoint, load_robot("mobile_bimanual"), "cuda:0", backend="onnx")


def test_an_unknown_backend_is_refused_with_the_known_ones(checkpoint):
    with pytest.raises(PolicyError, match="torch and onnx"):
        load_policy(checkpoint, load_robot("mobile_bimanual"), backend="jax")

"""`pi0 quantise`: scales from recorded observations, and a policy that runs by them."""

import json

import numpy as np
import pytest
import torch

from pi0_ros.cli import main
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.writer import DatasetWriter
from pi0_ros.model import FastSampler, GemmaConfig, Pi0, VisionConfig, initialise, load, preset, save
from pi0_ros.model.inference import sampler
from pi0_ros.policy import Observation, PolicyError, load_adapter, load_policy, tiny_tokenizer
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.backends import torch_backend
from pi0_ros.policy.backends.torch_backend import narrows, tensors
from pi0_ros.policy.fp8_scales import FILE
from pi0_ros.policy.normalize import Statistics, write_norm_stats
from pi0_ros.policy.reading import load_words, read_policy
from pi0_ros.robot import load_robot
from pi0_ros.train.recorded_inputs import recorded_inputs

TOWER = GemmaConfig(width=64, depth=3, heads=2, kv_heads=1, head_dim=32, mlp=128)
CUDA = torch.device("cuda")


def make_checkpoint(folder, dtype=torch.bfloat16):
    adapter = load_adapter("mobile_bimanual")
    sizes = {
        "vision": VisionConfig(width=32, depth=1, heads=2, mlp=64, image_size=32, patch=16),
        "language": TOWER,
        "expert": TOWER,
        "vocab": tiny_tokenizer.build().vocab_size,
    }
    generator = torch.Generator().manual_seed(0)
    model = initialise(Pi0(preset("tiny", **sizes)), generator)
    for parameter in model.parameters():  # a fresh network has closed gates, so nothing it sees would matter
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    save(model.to(dtype), folder, policy=adapter_to_dict(adapter))
    tiny_tokenizer.save(folder / "tokenizer.json")
    unit = Statistics({"mean": np.zeros(18), "std": np.ones(18), "q01": -np.ones(18), "q99": np.ones(18)})
    write_norm_stats(folder, {"state": unit, "actions": unit})
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    return make_checkpoint(tmp_path / "checkpoint")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder, robot = tmp_path_factory.mktemp("recording") / "d", load_robot("mobile_bimanual")
    picture = {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]}
    names = list(robot.channel_names)
    vector = {"dtype": "float32", "shape": (18,), "names": names}
    features = {f"observation.images.{c.name}": picture for c in robot.cameras}
    rng = np.random.default_rng(3)
    with DatasetWriter(folder, 10, features | {"observation.state": vector, "action": vector}) as writer:
        for k in range(10):
            row = {key: rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for key in features}
            state = np.linspace(-0.5, 0.5, 18, dtype=np.float32) * k / 10
            writer.add_frame({**row, "observation.state": state, "action": state, "task": "touch the red block"})
        writer.save_episode()
    return folder


def quantise(*arguments):
    return main(["quantise", *map(str, arguments)])


def test_recorded_frames_are_what_the_policy_makes_of_the_same_observation(checkpoint, recording):
    robot = load_robot("mobile_bimanual")
    opened, adapter, pipeline = read_policy(checkpoint, robot)
    words, _ = load_words(opened, pipeline)
    with Dataset(recording) as dataset:
        found = list(recorded_inputs(dataset, adapter, pipeline, words, 3))
        assert len(found) == 3
        frame = 9  # the last one: they are spread over all
        state = dataset.column("observation.state")[frame]
        images = {slot: dataset.picture(camera, frame) for slot, camera in adapter.cameras.items()}
    expected = pipeline.inputs(images, state.astype(float), "touch the red block", words)
    assert found[-1].prompt.ids == expected.prompt.ids
    for slot, picture in expected.images.items():
        np.testing.assert_array_equal(found[-1].images[slot], picture)


def test_scales_are_what_goes_into_each_product_with_room_for_twice_as_much(checkpoint, recording, capsys):
    assert quantise(checkpoint, recording, "--observations", 4) == 0
    told = json.loads((checkpoint / FILE).read_text())
    assert told["observations"] == 4 and str(checkpoint / FILE) in capsys.readouterr().out
    assert len(told["layers"]) == TOWER.depth - 1  # the last layer's MLP is not part of the prefix
    opened, adapter, pipeline = read_policy(checkpoint, load_robot("mobile_bimanual"))
    words, _ = load_words(opened, pipeline)
    with Dataset(recording) as dataset:
        seen = [tensors(i) for i in recorded_inputs(dataset, adapter, pipeline, words, 4)]
    # The same network by its own modules: what enters gate and up (the norm's weight is part of these products, so
    # the bare norm counts) and what enters down.
    model, largest = load(checkpoint).model, np.zeros((TOWER.depth, 2))

    def note(layer, which):
        def hook(module, given):
            value = given[0].float()
            if which == 0:
                value = value * torch.rsqrt(value.pow(2).mean(-1, keepdim=True) + 1e-6)
            largest[layer, which] = max(largest[layer, which], value.abs().max().item())

        return hook

    for index, layer in enumerate(model.gemma.layers):
        layer.post_attention_layernorm.register_forward_pre_hook(note(index, 0))
        layer.mlp.down_proj.register_forward_pre_hook(note(index, 1))
    with torch.no_grad():
        for inputs in seen:
            model.prefix(inputs)
    np.testing.assert_allclose(told["layers"], largest[:-1] * 2.0 / 448.0, rtol=0.03)


def test_with_8_bits_a_call_is_what_it_was_but_for_a_percent(checkpoint, recording):
    quantise(checkpoint, recording)
    pairs = json.loads((checkpoint / FILE).read_text())["layers"]
    opened, adapter, pipeline = read_policy(checkpoint, load_robot("mobile_bimanual"))
    words, _ = load_words(opened, pipeline)
    with Dataset(recording) as dataset:
        inputs = tensors(next(recorded_inputs(dataset, adapter, pipeline, words, 1)))
    noise = torch.randn(1, pipeline.horizon, pipeline.action_width, generator=torch.Generator().manual_seed(1))
    wide = FastSampler(load(checkpoint).model, mode="kernels")
    narrow = FastSampler(load(checkpoint).model, mode="kernels")
    narrow.narrow(pairs)
    expected, found = wide(inputs, noise), narrow(inputs, noise)
    off = ((found - expected).norm() / expected.norm()).item()
    assert 0.0 < off < 0.02


@pytest.fixture
def card(monkeypatch):
    """A machine whose card computes in 8 bits, as far as the choice goes; the products run on the CPU."""
    capability = [(9, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability[0])
    monkeypatch.setattr(torch_backend, "has_triton", lambda: True)
    return capability


def test_a_card_that_computes_in_8_bits_is_asked_for(card):
    config = preset("tiny", language=TOWER, expert=TOWER)
    assert narrows(config, torch.bfloat16, None, CUDA) and narrows(config, torch.bfloat16, "kernels", CUDA)
    assert not narrows(config, torch.bfloat16, "graph", CUDA)
    assert not narrows(config, torch.float32, None, CUDA)
    assert not narrows(config, torch.bfloat16, "kernels", torch.device("cpu"))
    card[0] = (8, 0)
    assert not narrows(config, torch.bfloat16, "kernels", CUDA)


def plan(policy, robot):
    black = np.zeros((48, 64, 3), np.uint8)
    state = {c.name: (c.limits.lower + c.limits.upper) / 2.0 for c in robot.channels}
    return policy.infer(Observation(0.0, {c.name: black for c in robot.cameras}, state, "touch"), seed=1).values


def test_a_policy_takes_the_scales_where_it_can_and_leaves_them_where_told(checkpoint, recording, monkeypatch):
    quantise(checkpoint, recording)
    robot, taken = load_robot("mobile_bimanual"), []
    own = FastSampler.narrow
    monkeypatch.setattr(FastSampler, "narrow", lambda self, scales: (taken.append(scales), own(self, scales)))
    assert plan(load_policy(checkpoint, robot), robot).shape and not taken  # a CPU has no use for them
    monkeypatch.setattr(torch_backend, "narrows", lambda config, dtype, mode, device: mode == "kernels")
    monkeypatch.setattr(torch_backend, "check_mode", lambda mode, device: None)
    monkeypatch.setattr(sampler, "records", lambda mode, device: False)
    wide = plan(load_policy(checkpoint, robot, mode="kernels", fp8=False), robot)
    assert not taken
    narrow = plan(load_policy(checkpoint, robot, mode="kernels"), robot)
    assert len(taken) == 1 and len(taken[0]) == TOWER.depth - 1
    assert not np.array_equal(narrow, wide)
    np.testing.assert_allclose(narrow, wide, atol=0.1 * np.abs(wide).max())


def test_scales_of_other_weights_are_refused_before_a_plan_is_made(checkpoint, recording, tmp_path):
    quantise(checkpoint, recording)
    other = make_checkpoint(tmp_path / "other", torch.float16)
    (other / FILE).write_bytes((checkpoint / FILE).read_bytes())
    with pytest.raises(PolicyError, match="was measured with other weights"):
        load_policy(other, load_robot("mobile_bimanual"))
    load_policy(other, load_robot("mobile_bimanual"), fp8=False)


def test_a_network_that_stays_wide_is_refused_with_the_reason(tmp_path, recording, capsys):
    folder = make_checkpoint(tmp_path / "wide", torch.float32)
    assert quantise(folder, recording) == 1
    assert "16-bit weights" in capsys.readouterr().err and not (folder / FILE).exists()

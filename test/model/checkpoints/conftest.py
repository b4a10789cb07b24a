"""Recorded checkpoints, and ways to write variants of them."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pi0_ros.model.checkpoints.tensorfile import read_all, write

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The recorded models are tiny: one thread is fastest."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Path]:
    """variant(case, change): a copy of a recorded folder whose tensors went through `change(tensors) -> tensors`."""

    def make(case: str, change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]], name: str = "copy") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in ("config.json", "sizes.json"):
            shutil.copy(GOLDEN / case / file, folder / file)
        write(folder / "model.safetensors", change(read_all(GOLDEN / case / "model.safetensors")))
        return folder

    return make

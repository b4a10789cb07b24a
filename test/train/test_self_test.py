"""The test that a person with a card runs, dry on a processor."""

from __future__ import annotations

import math

import pytest
import torch

from pi0_ros.cli import main
from pi0_ros.train.errors import TrainError
from pi0_ros.train.self_test import WAYS, self_test


def test_every_way_to_train_takes_its_steps_and_says_time_and_plan():
    said = []
    found = self_test("cpu", said.append)
    assert [m.way for m in found] == list(WAYS) and len(said) == len(WAYS)
    for measured in found:
        assert len(measured.losses) == 2 and all(map(math.isfinite, measured.losses)) and measured.seconds > 0
        assert measured.planned > 0 and measured.used >= 0
    lora, whole = found[0], found[-1]
    assert lora.losses[0] != lora.losses[1] and whole.losses[0] != whole.losses[1]
    assert "examples/s" in said[0] and "by the plan" in said[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here: the refusal is for machines without")
def test_without_a_gpu_it_says_what_is_missing(capsys):
    with pytest.raises(TrainError, match="sees no GPU here.*--self-test cpu"):
        self_test("gpu")
    assert main(["train", "--self-test", "gpu"]) == 1
    assert "sees no GPU" in capsys.readouterr().err


def test_a_run_without_a_folder_is_refused_by_the_option(capsys):
    assert main(["train", "--sim-episodes", "1"]) == 1
    assert "give --out FOLDER" in capsys.readouterr().err

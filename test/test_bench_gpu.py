"""`python -m bench gpu`: the plan, and every step at a tiny size on the CPU."""

import importlib
import json
import math

import pytest
import torch

gpu = importlib.import_module("bench.gpu")
steps = importlib.import_module("bench._gpu_steps")
work = importlib.import_module("bench._gpu_work")

TINY = work.Machine(torch.device("cpu"), torch.float32, 1e11, 1e10)


def results(shown: str) -> dict[str, float]:
    return {line["metric"]: line["value"] for line in map(json.loads, shown.splitlines())}


def test_every_step_of_the_plan_is_there_and_ends_before_its_limit():
    assert [step.name for step in gpu.PLAN] == list(steps.STEPS)
    assert all(0 < step.expected < step.limit for step in gpu.PLAN)


@pytest.mark.parametrize("name", sorted(steps.STEPS))
def test_a_step_runs_at_a_tiny_size(name, capsys):
    steps.STEPS[name](TINY)
    found = results(capsys.readouterr().out)
    assert all(math.isfinite(value) for value in found.values())
    if name == "check":
        assert found["pi05_eager_to_plain_largest"] < 1e-5
        assert found["pi0_eager_to_plain_largest"] < 1e-5
        assert found["pi0_fast_words"] == 8


def test_results_are_written_as_they_come_and_a_step_that_is_cut_is_a_failure(tmp_path, monkeypatch, capsys):
    out = tmp_path / "gpu.jsonl"
    monkeypatch.setattr(gpu, "PLAN", (gpu.Step("card", 1, 60), gpu.Step("check", 1, 0)))
    assert gpu.main(["--dry-run", "--out", str(out), "--only", "card"]) == 0
    shown = capsys.readouterr()
    assert results(out.read_text()) == results(shown.out)
    assert "copy" in results(shown.out)
    assert "   0 s  card (limit 60 s)" in shown.err
    assert gpu.main(["--dry-run", "--within", "1"]) == 1
    assert "no time left for card" in capsys.readouterr().err


def test_a_step_that_does_not_exist_is_told_with_those_that_do():
    with pytest.raises(SystemExit, match="there is no step crad; there are card, kernels, check"):
        gpu.main(["--only", "crad"])

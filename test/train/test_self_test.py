"""The test that a person with a card runs, dry on a processor."""

from __future__ import annotations

import math
import resource
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pi0_ros.cli import main
from pi0_ros.train import self_test as module
from pi0_ros.train.errors import TrainError
from pi0_ros.train.self_test import WAYS, Measurement, self_test
from pi0_ros.train.settings import TrainSettings


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


def test_a_measurement_is_told_with_its_speed_and_the_memory_that_was_counted():
    measured = Measurement("LoRA", 8, (2.5, 1.25), 4.0, 3_000_000_000, 2_200_000_000)
    assert measured.line() == "LoRA: batch 8, loss 2.5 -> 1.25, 2.00 examples/s, 2.2 GB used, 3.0 GB by the plan"
    assert replace(measured, used=0).line() == "LoRA: batch 8, loss 2.5 -> 1.25, 2.00 examples/s, 3.0 GB by the plan"


@pytest.mark.parametrize(
    ("where", "device", "batches", "compiled"),
    [("cpu", "cpu", [2, 2, 2], [False] * 3), ("gpu", "cuda", [8, 8, 32], [False, True, False])],
)
def test_a_card_is_asked_with_full_batches_and_once_compiled_and_a_processor_with_two_rows(
    monkeypatch, where, device, batches, compiled
):
    asked, said = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=80e9))

    def measure(way, config, settings, compiled):
        asked.append((way, config, settings, compiled))
        return SimpleNamespace(line=lambda: f"measured {way}")

    monkeypatch.setattr(module, "measure", measure)
    monkeypatch.setattr(module, "preset", lambda name: f"preset {name}")
    monkeypatch.setattr(module, "small", lambda: "small")
    found = self_test(where, said.append)
    ways = ["LoRA", "LoRA, compiled", "everything"]
    assert said == [*["A card, 80 GB"] * (where == "gpu"), *(f"measured {way}" for way in ways)] and len(found) == 3
    assert [(way, config, settings.batch, how) for way, config, settings, how in asked] == [
        (way, "preset pi05" if where == "gpu" else "small", batch, how)
        for way, batch, how in zip(ways, batches, compiled, strict=True)
    ]
    for _, _, settings, _ in asked:
        assert settings.device == device and settings.gradient_checkpointing
        assert (settings.draws, settings.word_batch) == (1, 0), "what the plan of memory is told to compare with"
    lora, again, whole = (settings for _, _, settings, _ in asked)
    assert lora == again and (lora.lora_trunk, lora.lora_expert, lora.ema) == (16, 32, 0.0)
    assert (whole.lora_trunk, whole.lora_expert) == (0, 0) and whole.ema > 0 and whole.ema_device == "cpu"


def test_a_gradient_that_is_not_finite_is_told_by_the_way_that_had_it(monkeypatch):
    settings = TrainSettings(batch=2, draws=1, word_batch=0, ema=0.0)
    monkeypatch.setattr(module.optim, "advance", lambda *_: (torch.tensor(1.0), False))
    with pytest.raises(TrainError, match=r"--self-test: LoRA: the gradient is not finite \(loss [0-9.e]+\)"):
        module.measure("LoRA", module.small(), settings)


def test_batches_are_of_the_longest_rows_there_are_each_of_its_own_numbers():
    config, settings = module.small(), TrainSettings(batch=3)
    found = list(module._batches(config, settings))
    assert len(found) == 2
    for examples, flow in found:
        inputs = examples.inputs
        assert len(inputs.images) == len(config.cameras) and all(bool(m.all()) for m in inputs.image_masks)
        assert all(i.shape == (3, 3, 32, 32) and -1.0 <= float(i.min()) < -0.9 for i in inputs.images)
        assert all(0.9 < float(i.max()) <= 1.0 for i in inputs.images)
        assert inputs.tokens.shape == (3, 12) and int(inputs.tokens.min()) >= 4 and int(inputs.tokens.max()) < 300
        assert bool(inputs.token_mask.all())
        assert examples.counts.tolist() == [[False] * 11 + [True]] * 3, "a word a row"
        assert flow.actions.shape == (3, 4, config.action_dim) and flow.noise.shape == (3, 1, 4, config.action_dim)
        assert flow.t.shape == (3, 1) and torch.equal(flow.actions, examples.actions)
    one, other = found
    assert not torch.equal(one[0].inputs.tokens, other[0].inputs.tokens) and not torch.equal(one[1].t, other[1].t)
    again = next(module._batches(config, settings))
    assert torch.equal(again[1].noise, one[1].noise)


@pytest.mark.parametrize(("changes", "kept"), [({"ema": 0.9}, True), ({"ema": 0.0}, False)])
def test_a_network_is_as_the_settings_say_with_an_average_if_there_is_one(changes, kept):
    settings = TrainSettings(lora_trunk=2, lora_expert=2, gradient_checkpointing=True, **changes)
    objective, ema = module._network(module.small(), settings)
    model = objective.model
    assert [stack.gradient_checkpointing for stack in (model.siglip, model.gemma, model.expert)] == [True] * 3
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert any("lora" in n for n in learning) and "gemma.layers.0.mlp.up_proj.weight" not in learning
    assert set(ema.average) == (learning if kept else set()) and (not kept or ema.decay == 0.9)


def test_what_a_process_holds_is_counted_in_bytes_and_its_peak_begins_anew_if_the_kernel_can():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux")
    now, most = module.status_bytes("VmRSS"), module.status_bytes("VmHWM")
    pages = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    assert now == pytest.approx(pages, rel=0.02) and most >= 0.98 * now
    assert module.reset_peak() == pytest.approx(pages, rel=0.1)


def test_a_kernel_that_does_not_count_anew_leaves_the_memory_untold(monkeypatch):
    def refuse(*_, **__):
        raise OSError("read only")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert module.reset_peak() == 0
    settings = TrainSettings(batch=2, draws=1, word_batch=0, ema=0.0, precision="float32")
    assert module.measure("LoRA", module.small(), settings).used == 0


@pytest.mark.parametrize(("before", "most", "used"), [(1000, 5000, 4000), (1000, 900, 0), (0, 5000, 0)])
def test_what_a_way_uses_is_its_peak_beyond_what_the_process_held_before(monkeypatch, before, most, used):
    plan, clock = SimpleNamespace(device=77), iter([10.0, 12.0, 20.0, 21.5])
    objective = SimpleNamespace(model="network")
    total = lambda k: SimpleNamespace(total=torch.tensor(float(k)))
    averaged, asked = [], []
    monkeypatch.setattr(module, "memory_plan", lambda *_: plan)
    monkeypatch.setattr(module, "reset_peak", lambda: before)
    monkeypatch.setattr(module, "status_bytes", lambda key: asked.append(key) or most)
    monkeypatch.setattr(module, "_network", lambda *_: (objective, SimpleNamespace(update=averaged.append)))
    monkeypatch.setattr(module, "_batches", lambda *_: iter([("rows 1", "flow 1"), ("rows 2", "flow 2")]))
    monkeypatch.setattr(
        module, "in_precision", lambda how, run, batch, device: total(batch[0][-1]) if run is objective else None
    )
    monkeypatch.setattr(module.optim, "make_optimizer", lambda *_: "optimizer")
    monkeypatch.setattr(module.optim, "advance", lambda *_: (0.0, True))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    found = module.measure("LoRA", "config", TrainSettings(batch=3))
    assert found == Measurement("LoRA", 3, (1.0, 2.0), 1.5, 77, used), "the seconds are those of the last step"
    assert averaged == ["network"] * 2 and asked == (["VmHWM"] if before else [])

"""Errors of several parts of the held-out frames as one."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi0_ros.train import reporter
from pi0_ros.train.objective import StepLoss
from pi0_ros.train.reporter import Reporter, together
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.so_far import SoFar


def test_parts_count_by_their_rows_and_errors_of_chunks_by_their_squares():
    found = together(
        [(3, {"val_loss": 1.0, "chunk_near": 3.0, "subtasks": 0.5}), (1, {"val_loss": 5.0, "chunk_near": 5.0})]
    )
    assert found["val_loss"] == 2.0 and found["subtasks"] == 0.5
    assert found["chunk_near"] == pytest.approx(math.sqrt((3 * 9 + 25) / 4))


def test_a_part_without_a_number_does_not_count_and_none_at_all_is_no_number():
    found = together([(2, {"chunk_far": math.nan, "tokens": math.nan}), (1, {"chunk_far": 4.0, "tokens": math.nan})])
    assert found["chunk_far"] == pytest.approx(4.0) and math.isnan(found["tokens"])


def test_a_large_network_is_validated_in_parts_of_a_batch_with_noise_of_their_own(monkeypatch):
    seen = []

    def loss(model, maker, rows, settings, recipe, part):
        seen.append((rows.tolist(), part))
        return float(len(rows))

    class Maker:
        frames = type("F", (), {"has_subtask": np.zeros(9, bool)})

    def network(size):
        return torch.nn.Linear(size, 1, bias=False, device="meta")

    monkeypatch.setattr(reporter, "held_out_loss", loss)
    monkeypatch.setattr(reporter, "measured", lambda *_: {})
    made = Reporter.__new__(Reporter)
    made.job = type("J", (), {"settings": type("S", (), {"batch": 4}), "recipe": None})
    assert made._errors(network(10), Maker, np.arange(9)) == {"val_loss": 9.0}
    assert made._errors(network(200_000_000), Maker, np.arange(9)) == {"val_loss": 3.0}
    assert together([(7, {"chunk_far": 2.5, "subtasks": math.nan})])["chunk_far"] == pytest.approx(2.5)
    assert [rows for rows, _ in seen[1:]] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]] and [p for _, p in seen] == [0, 0, 1, 2]


def test_subtasks_are_counted_on_the_rows_that_have_one(monkeypatch):
    class Maker:
        frames = type("F", (), {"has_subtask": np.arange(9) % 3 == 0})

    asked = []
    monkeypatch.setattr(reporter, "held_out_loss", lambda *_: 1.0)
    monkeypatch.setattr(reporter, "measured", lambda *_: {"tokens": 0.5})
    monkeypatch.setattr(reporter, "subtask_accuracy", lambda model, maker, rows: asked.append(rows.tolist()) or 0.75)
    made = Reporter.__new__(Reporter)
    made.job = type("J", (), {"settings": type("S", (), {"batch": 4}), "recipe": None})
    found = made._errors(torch.nn.Linear(1, 1), Maker, np.arange(2, 8))
    assert found == {"val_loss": 1.0, "tokens": 0.5, "subtasks": 0.75} and asked == [[3, 6]]
    assert "subtasks" not in made._errors(torch.nn.Linear(1, 1), Maker, np.array([1, 2]))


class Told:
    """A logger, and a progress line, that keep what they are given."""

    def __init__(self):
        self.lines = []

    def write(self, step, values):
        self.lines.append((step, values))

    def tick(self, *what):
        self.lines.append(what)

    def close(self):
        self.lines.append("closed")


class Lots:
    def __init__(self):
        self.held, self.shares = np.arange(3), {"home": 0.75, "lab": 0.25}

    def drawn_shares(self):
        return self.shares

    def held_out(self, count):
        assert count == 96
        return [("home", "maker 1", np.arange(2)), ("lab", "maker 2", np.arange(1))]


def reporter_of(monkeypatch, folder, rank=0, lots=None) -> Reporter:
    """One of which the network, the clock and the rates are known."""
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    recipe = SimpleNamespace(rate=lambda settings, step, progress: step / 1000 + progress)
    job = SimpleNamespace(rank=rank, folder=folder, recipe=recipe, settings=TrainSettings(steps=50))
    made = Reporter(job, lots or Lots(), 3)
    made.ticker, made.loggers = Told(), (Told(), Told())
    return made


def losses(total, flow) -> StepLoss:
    parts = (torch.tensor(float(v), requires_grad=True) for v in (total, flow, 0.25, 0.5))
    return StepLoss(*parts, more={"seen": torch.tensor(2.0 * flow)})


@contextmanager
def network(opened):
    opened.append("open")
    yield "network"
    opened.append("closed")


def test_a_report_has_the_means_of_its_steps_the_rate_of_now_and_what_each_source_gave(tmp_path, monkeypatch, capsys):
    made, opened = reporter_of(monkeypatch, tmp_path), []
    errors = {"maker 1": {"val_loss": 1.0, "chunk_near": 0.2}, "maker 2": {"val_loss": 2.0, "subtasks": 0.75}}
    monkeypatch.setattr(made, "_errors", lambda model, maker, rows: errors[maker])
    made.note(losses(3.0, 1.0), 7, 0.125)
    made.note(losses(6.0, 2.0), 8, 0.25)
    assert made.ticker.lines == [(100.0, 7, 3.0, 0.132, 0.125), (100.0, 8, 6.0, 0.258, 0.25)]
    made.waited(5.0, None)
    monkeypatch.setattr("time.monotonic", lambda: 120.0)
    assert made.report(SoFar(8, 61.26, 24), 0.25, 5, network(opened)) == 4.5 and opened == ["open", "closed"]
    line = json.loads((tmp_path / "record.jsonl").read_text())
    assert line == {
        "step": 8, "seconds": 61.3, "examples": 24, "rate": 0.258,
        "loading": 0.25, "step_s": 20.0, "data_s": 5.0, "pictures_per_s": 0.0,
        "flow": 1.5, "answer": 0.25, "words": 0.5, "seen": 3.0, "skipped": 5, "drawn home": 0.75, "drawn lab": 0.25,
        "val_loss": 1.5, "chunk_near": 0.2, "subtasks": 0.75,
        "val_loss home": 1.0, "chunk_near home": 0.2, "val_loss lab": 2.0, "subtasks lab": 0.75,
    }  # fmt: skip
    assert made.val_loss == 1.5 and "step 8" in capsys.readouterr().out
    (step, values), *more = made.loggers[0].lines
    assert step == 8 and values["flow"] == 1.5 and not more and made.loggers[0].lines == made.loggers[1].lines
    made.close()
    assert [logger.lines[-1] for logger in made.loggers] == ["closed"] * 2


def test_what_was_reported_is_not_counted_again_and_without_steps_nothing_is_told(tmp_path, monkeypatch):
    made = reporter_of(monkeypatch, tmp_path)
    made.lots.held, made.lots.shares = np.zeros(0, int), {}
    made.note(losses(3.0, 1.0), 7, 0.125)
    made.report(SoFar(7), 0.125, 0, network([]))
    made.val_loss = 0.5
    assert made.report(SoFar(7), 0.125, 0, network([])) is None and math.isnan(made.val_loss)
    made.note(losses(9.0, 5.0), 8, 0.25)
    assert made.report(SoFar(8), 0.25, 0, network([])) == 9.0 and math.isnan(made.val_loss)
    lines = [json.loads(text) for text in (tmp_path / "record.jsonl").read_text().splitlines()]
    assert [line["flow"] for line in lines] == [1.0, 5.0]
    assert not any("skipped" in line or any(k.startswith("drawn") for k in line) for line in lines)


def test_a_loss_that_is_no_number_is_told_without_a_validation(tmp_path, monkeypatch):
    made, opened = reporter_of(monkeypatch, tmp_path), []
    made.note(losses(math.nan, 1.0), 7, 0.1)
    assert math.isnan(made.report(SoFar(7), 0.1, 1, network(opened)))
    assert not opened and "val_loss" not in json.loads((tmp_path / "record.jsonl").read_text())


def test_the_processes_beside_the_first_add_up_and_tell_nothing(tmp_path, monkeypatch):
    made, opened = reporter_of(monkeypatch, tmp_path, rank=1), []
    made.note(losses(3.0, 1.0), 7, 0.1)
    made.note(losses(5.0, 1.0), 8, 0.1)
    assert made.report(SoFar(8), 0.1, 0, network(opened)) == 4.0
    assert not made.ticker.lines and not opened and not any(tmp_path.iterdir())


def test_a_single_source_is_validated_without_its_name(tmp_path, monkeypatch):
    made = reporter_of(monkeypatch, tmp_path)
    made.lots.held_out = lambda count: [("", "maker 1", np.arange(3))]
    monkeypatch.setattr(made, "_errors", lambda *_: {"val_loss": 1.23456, "chunk_far": math.nan})
    assert made._validated(network([])) == {"val_loss": 1.2346, "chunk_far": pytest.approx(math.nan, nan_ok=True)}
    assert made.val_loss == 1.23456


def test_a_run_that_goes_on_forgets_what_was_recorded_after_its_step_in_the_first_process_alone(tmp_path, monkeypatch):
    lines = "".join(json.dumps({"step": s}) + "\n" for s in (1, 3, 4))
    (tmp_path / "record.jsonl").write_text(lines)
    reporter_of(monkeypatch, tmp_path, rank=1)
    assert (tmp_path / "record.jsonl").read_text() == lines
    reporter_of(monkeypatch, tmp_path)
    assert [json.loads(text)["step"] for text in (tmp_path / "record.jsonl").read_text().splitlines()] == [1, 3]


def test_a_record_is_rounded_to_what_can_be_read(tmp_path, monkeypatch):
    """Losses to five places; shares, and errors of one source or of several, to four; seconds to a tenth."""
    made = reporter_of(monkeypatch, tmp_path)
    made.lots.shares = {"home": 2 / 3, "lab": 1 / 3}
    monkeypatch.setattr(
        made, "_errors", lambda model, maker, rows: {"val_loss": 1 / 3 if maker == "maker 1" else 0.123456}
    )
    made.note(losses(3.0, 0.123456789), 7, 0.125)
    made.report(SoFar(7, 7.654321), 0.125, 0, network([]))
    made.lots.held_out = lambda count: [("home", "maker 1", np.arange(2))]
    made.note(losses(3.0, 0.123456789), 8, 0.125)
    made.report(SoFar(8, 7.654321), 0.125, 0, network([]))
    several, one = (json.loads(text) for text in (tmp_path / "record.jsonl").read_text().splitlines())
    assert several["flow"] == 0.12346 and several["seconds"] == 7.7
    assert (several["drawn home"], several["drawn lab"]) == (0.6667, 0.3333)
    assert (several["val_loss"], several["val_loss home"], several["val_loss lab"]) == (0.2284, 0.3333, 0.1235)
    assert one["val_loss"] == 0.3333 and "val_loss home" not in one

"""Errors of several parts of the held-out frames as one."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi0_ros.train import reporter
from pi0_ros.train.reporter import Reporter, together


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

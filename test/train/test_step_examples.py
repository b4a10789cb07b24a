"""What a step draws, and what of it travels between processes."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi0_ros.train import ahead
from pi0_ros.train.ahead import StepExamples, _Travelling
from pi0_ros.train.draw import step_streams
from pi0_ros.train.examples import Examples
from pi0_ros.train.hooks import Row


def row(size):
    return Row(
        np.ones((2, size, size, 3), np.uint8),
        ("a", "b"),
        np.zeros(1),
        np.zeros((2, 1)),
        ("x",),
        "go",
        "",
        "",
        np.zeros(0),
    )


class Maker:
    """Notes what it is asked for, and what the next draw of its generator would be."""

    def __init__(self):
        self.asked = []

    def actions(self, rows, rng):
        self.asked.append(("actions", rows.tolist(), float(rng.random())))
        return Examples(None, None, rows=(row(4), row(4)))

    def words(self, rows, rng):
        self.asked.append(("words", rows.tolist()))
        return Examples(None, None, rows=(row(6),))


class Lots:
    word_rows = np.array([8, 9])

    def draw_actions(self, rng, count):
        return rng.integers(0, 100, count)

    def draw_words(self, rng, count):
        return rng.integers(100, 200, count)


def steps_of(monkeypatch, seed=3, rank=2, **changes):
    monkeypatch.setattr(
        ahead, "flow_targets", lambda acting, settings, rng, generator, recipe: int(generator.initial_seed())
    )
    settings = SimpleNamespace(
        **{"seed": seed, "batch": 3, "word_batch": 2, "language_steps": 5, "steps": 9, "loaders": 0, **changes}
    )
    job = SimpleNamespace(settings=settings, rank=rank, maker=Maker(), recipe=None)
    return StepExamples(job, Lots()), job.maker


def test_a_step_draws_by_seed_process_and_number_in_this_order(monkeypatch):
    steps, maker = steps_of(monkeypatch)
    made = steps[7]
    rng, generator = step_streams(3, 2, 7)
    acting = rng.integers(0, 100, 3)
    assert maker.asked[0] == ("actions", acting.tolist(), float(rng.random()))
    words = rng.integers(100, 200, 2)
    assert maker.asked[1] == ("words", words.tolist()) and made.drawn.tolist() == [*acting, *words]
    assert made.flow == generator.initial_seed()
    draws = [
        tuple(steps_of(monkeypatch, seed, rank)[0][step].drawn)
        for seed, rank, step in ((3, 2, 7), (2, 3, 7), (7, 2, 3))
    ]
    assert len(set(draws)) == 3


def test_flow_begins_behind_the_steps_of_language_alone_and_words_need_rows_and_a_batch(monkeypatch):
    steps, _ = steps_of(monkeypatch)
    assert [steps[n].flow is None for n in (4, 5)] == [True, False]
    assert steps_of(monkeypatch, word_batch=0)[0][1].words is None
    nobody = steps_of(monkeypatch)[0]
    nobody._lots.word_rows = np.zeros(0, int)
    assert nobody[1].words is None and len(nobody[1].drawn) == 3


def test_steps_go_from_the_first_to_the_last_and_a_run_that_is_over_has_none(monkeypatch):
    steps, _ = steps_of(monkeypatch)
    assert len(list(steps.steps(6))) == 3 and len(list(steps.steps(9))) == len(list(steps.steps(12))) == 0


def test_what_travels_has_no_pictures_of_acting_nor_of_words(monkeypatch):
    made = _Travelling(steps_of(monkeypatch)[0])[6]
    shapes = [one.pictures.shape for one in (*made.acting.rows, *made.words.rows)]
    assert shapes == [(0, 4, 4, 3)] * 2 + [(0, 6, 6, 3)]
    assert _Travelling(steps_of(monkeypatch, word_batch=0)[0])[6].words is None

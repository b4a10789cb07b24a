"""What patches are taught to tell, and numbers that begin in order."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.touch.ordinal import number_ids, ordered_rows, place_ids
from pi0_ros.touch.vision import (
    UNKNOWN,
    held_patches,
    labels_of,
    looking_loss,
    matching_loss,
    objects_of,
    pointing_loss,
    reading_loss,
)
from pi0_ros.train.hooks import Purpose
from pi0_ros.train.record import read_lines
from pi0_ros.train.session import make_job, run
from pi0_ros.train.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from test_training import COUNT, folder, maker, plan

__all__ = ["folder", "maker"]
OBJECTS = ("red", "green", "blue", "yellow")


def test_numbers_start_with_neighbours_alike():
    rows = ordered_rows(257, 64, torch.Generator().manual_seed(0))
    near, far = (rows[100] * rows[101]).mean(), (rows[100] * rows[180]).mean()
    assert near > 0.9 and abs(far) < 0.6
    assert len(number_ids(build())) == 257 and len(place_ids(build())) == 1024


def test_objects_are_labelled_only_where_something_is_known(maker):
    rows = maker.rows(np.arange(COUNT), Purpose.ACT, None)
    labels = objects_of(rows, OBJECTS, token_of)
    assert labels.known[:, 0].all() and labels.known[:, 1, 0].all() and not labels.known[:, 2].any()
    assert not labels.place[labels.known].isnan().any() and (labels.lit != UNKNOWN).all()
    nothing = [replace(row, facts=np.zeros(0, np.int16)) for row in rows[:2]]
    assert labels_of(nothing[0], OBJECTS) is None and objects_of(nothing, OBJECTS, token_of) is None
    mixed = objects_of([nothing[0], rows[0]], OBJECTS, token_of)
    assert not mixed.known[0].any() and mixed.lit[0].eq(UNKNOWN).all() and mixed.known[1, 0].all()


@pytest.mark.parametrize(
    ("task", "word"),
    [
        ("touch the red block with the left arm", "red"),
        ("touch the tomato block with the left arm", "tomato"),
        ("with the left arm touch the tomato", "tomato"),
        ("touch it with the right arm", None),
    ],
)
def test_the_word_of_the_object_is_the_one_that_the_instruction_has_for_it(maker, task, word):
    places = [80, 90, 160, 170, 240, 250, 320, 330]  # the target lies where the first object does
    facts = np.r_[80, 90, 300, 400, 614, 717, 410, places, -1, -1, -1, -1].astype(np.int16)
    (row,) = maker.rows(np.arange(1), Purpose.ACT, None)
    labels = objects_of([replace(row, task=task, facts=facts)], OBJECTS, token_of)
    assert labels.named.tolist() == [0]
    assert labels.word.tolist() == [UNKNOWN if word is None else token_of(word)]
    hidden = np.r_[-1, -1, facts[2:]].astype(np.int16)
    if word != "red":
        nothing = objects_of([replace(row, task=task, facts=hidden)], OBJECTS, token_of)
        assert nothing.word.tolist() == [UNKNOWN]


def token_of(word: str) -> int:
    """A number for each word."""
    return sum(map(ord, word))


def test_reading_loss_falls_to_almost_nothing_when_patches_say_the_truth():
    place = torch.tensor([[[0.25, 0.75], [0.75, 0.25]]])
    said, alike = torch.zeros(1, 4, 4), torch.zeros(1, 4, 2)
    said[..., 0] = -20.0
    said[0, 1], said[0, 2] = torch.tensor([20.0, 0.25, 0.75, 20.0]), torch.tensor([20.0, 0.75, 0.25, -20.0])
    alike[0, 1, 0] = alike[0, 2, 1] = 20.0
    known, lit = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[1, 0]])
    assert reading_loss(said, alike, place, known, lit) < 1e-3
    assert reading_loss(said.flip(1), alike, place, known, lit) > 1
    assert reading_loss(said, alike.flip(2), place, known, lit) > 1


def test_every_camera_is_labelled_where_the_frames_say_so(maker):
    told = np.random.default_rng(0).integers(0, 1024, (COUNT, 35)).astype(np.int16)
    rows = [replace(r, facts=f) for r, f in zip(maker.rows(np.arange(COUNT), Purpose.ACT, None), told, strict=True)]
    labels = objects_of(rows, OBJECTS, token_of)
    assert labels.known.all() and np.allclose(labels.place[:, 2, 3], told[:, 33:35] / 1024)
    assert [OBJECTS[k] for k in labels.named] == ["red"] * COUNT  # all are told "touch the red block with the left arm"
    assert np.allclose(labels.way, told[:, 4:7] / 1024)


def test_labels_go_to_the_device_of_what_the_network_saw(maker):
    labels = objects_of(maker.rows(np.arange(2), Purpose.ACT, None), OBJECTS, token_of).to("meta")
    assert {getattr(labels, f.name).device.type for f in fields(labels)} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_all_losses_are_trained_on_a_gpu_and_a_stopped_run_goes_on_there(folder):
    run(plan(folder, steps=2, device="cuda"))
    run(plan(folder, steps=4, device="cuda"))
    last = read_lines(folder / "run" / "record.jsonl")[-1]
    assert last["step"] == 4 and all(np.isfinite(last[name]) for name in ("flow", "matching", "looking", "pointing"))


def test_matching_loss_falls_to_almost_nothing_when_only_the_named_patch_looks_at_its_word():
    place, named = torch.tensor([[[0.25, 0.75], [0.75, 0.25]]]), torch.tensor([1])
    looked = torch.full((1, 4), -9.0)
    looked[0, 2] = 0.0
    assert matching_loss(looked, place, named) < 1e-3
    assert matching_loss(looked, place, 1 - named) > 1


def test_looking_loss_counts_only_rows_that_have_a_patch_to_look_at():
    place = torch.full((2, 2, 3, 2), torch.nan)
    place[0, 1, 2] = torch.tensor([0.75, 0.25])
    held = held_patches(place, torch.tensor([2, UNKNOWN]), 4)
    assert held.nonzero().tolist() == [[0, 6]]
    shares = torch.full((2, 3, 10), -9.0)
    shares[0, :, 6] = 0.0
    assert looking_loss(shares, held) == 0 < looking_loss(shares.roll(1, 2), held)
    assert looking_loss(shares, held & False) == 0


def test_the_trunk_learns_which_object_the_prompt_names(folder):
    """A few steps on two frames are enough to see that the gradient reaches queries and keys of the early layer."""
    run(plan(folder, steps=1))
    trainer = Trainer(make_job(0, plan(folder)))
    acting = trainer.job.maker.actions([0, 1])
    trainer.learner.loss(acting, None, None).more["matching"].backward()
    attention = trainer.job.model.gemma.layers[0].self_attn
    assert attention.q_proj.weight.grad.abs().sum() > 0 and attention.k_proj.weight.grad.abs().sum() > 0


def test_pointing_loss_falls_to_almost_nothing_when_the_named_patch_is_told():
    place, way = torch.tensor([[0.25, 0.75]]), torch.tensor([[0.5, 0.6, 0.4]])
    said = torch.zeros(1, 4, 4)
    said[..., 0] = -20.0
    said[0, 1] = torch.tensor([20.0, 0.0, 0.1, -0.1])
    truth = pointing_loss(said, place, torch.ones(1, dtype=torch.bool), way)
    wrong = pointing_loss(said.flip(1), place, torch.ones(1, dtype=torch.bool), way)
    assert truth < 1e-3 < wrong
    unseen = torch.full_like(place, torch.nan)
    assert pointing_loss(said * 0 - 20, unseen, torch.ones(1, dtype=torch.bool), way) < 1e-3

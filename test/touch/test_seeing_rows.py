"""Which positions are asked to look at the named object."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pi0_ros.touch.seeing import SeeingLoss, _at, _shares
from pi0_ros.touch.vision import UNKNOWN, Objects, held_patches, looking_loss, matching_loss
from pi0_ros.train.objective import Watch

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from model_cases import random_model, small_config
from test_objective import examples, seeded

OBJECTS = {"red": 4, "green": 5, "blue": 6}
"""Objects and their tokens."""


def watched(share):
    """A small network, examples, the layer of its trunk at that share, and what the layer was given for them."""
    config = small_config("pi05")
    model, given = random_model(config, seeded(1)), examples(config, seeded(2))
    layer = _at(model.gemma.layers, share)
    with Watch(layer) as watch:
        model.prefix(given.inputs)
    (inputs,) = watch.given
    return model, given, layer, inputs


@torch.no_grad()
def test_the_positions_that_say_the_counted_tokens_look_and_not_the_tokens_themselves():
    model, given, layer, inputs = watched(2 / 3)
    config = model.config
    length, cameras = given.counts.shape[1], (inputs[0].shape[1] - given.counts.shape[1]) // config.vision.tokens
    place = torch.rand(2, cameras, 3, 2, generator=seeded(3))
    known = Objects(
        place, torch.ones(2, cameras, 3, dtype=torch.bool), torch.ones(2, 3), torch.tensor([2, 0]), place[:, 0, 0],
        torch.tensor([6, 4]),
    )  # fmt: skip
    loss = SeeingLoss(model, tuple(OBJECTS), OBJECTS.__getitem__, 1.0)
    # The first counted token of the two rows is the second of the text: it is said at the position before it.
    start = inputs[0].shape[1] - length
    rows = [start + k - 1 for k in range(1, length)]
    held = held_patches(place, known.named, config.vision.tokens)
    shares = _shares(layer, inputs, slice(None))
    expected = looking_loss(shares[:, rows], held)
    assert loss.looked(model, inputs, (), given.counts, known).item() == pytest.approx(expected.item(), rel=1e-6)
    later = looking_loss(shares[:, [r + 1 for r in rows]], held)
    assert abs(later.item() - expected.item()) > 1e-4


def test_patches_are_matched_with_the_word_that_an_instruction_uses_whatever_word_that_is():
    """Without it nothing ties "tomato" to the red block but the plans that follow it."""
    model, given, layer, inputs = watched(1 / 3)
    config = model.config
    tokens = given.inputs.tokens
    cameras = (inputs[0].shape[1] - tokens.shape[1]) // config.vision.tokens
    place = torch.rand(2, cameras, 3, 2, generator=seeded(3))
    used = torch.stack([tokens[0, 1], tokens[1, 2]])  # words that no object has
    assert not set(OBJECTS.values()) & set(used.tolist())
    everywhere = torch.ones(2, cameras, 3, dtype=torch.bool)
    known = Objects(place, everywhere, torch.ones(2, 3), torch.tensor([2, 0]), place[:, 0, 0], used)
    loss = SeeingLoss(model, tuple(OBJECTS), OBJECTS.__getitem__, 1.0)
    shares, pictures = _shares(layer, inputs, slice(None)), cameras * config.vision.tokens
    columns = [pictures + int((tokens[row] == used[row]).long().argmax()) for row in range(2)]
    attended = torch.stack([shares[row, :pictures, columns[row]] for row in range(2)])
    expected = matching_loss(
        attended.reshape(2 * cameras, -1), place.flatten(0, 1), torch.tensor([2, 0]).repeat_interleave(cameras)
    )
    assert loss.matched(model, inputs, tokens, known).item() == pytest.approx(expected.item(), rel=1e-6)
    unknown = replace(known, word=torch.tensor([UNKNOWN, UNKNOWN]))
    assert loss.matched(model, inputs, tokens, unknown).item() == 0.0

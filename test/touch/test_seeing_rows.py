"""Which positions are asked to look at the named object."""

import sys
from pathlib import Path

import pytest
import torch

from pi0_ros.touch.seeing import SeeingLoss, _at, _shares
from pi0_ros.touch.vision import Objects, held_patches, looking_loss
from pi0_ros.train.objective import Watch

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from model_cases import random_model, small_config
from test_objective import examples, seeded


@torch.no_grad()
def test_the_positions_that_say_the_counted_tokens_look_and_not_the_tokens_themselves():
    config = small_config("pi05")
    model, given = random_model(config, seeded(1)), examples(config, seeded(2))
    layer = _at(model.gemma.layers, 2 / 3)
    with Watch(layer) as watched:
        model.prefix(given.inputs)
    (inputs,) = watched.given
    length, cameras = given.counts.shape[1], (inputs[0].shape[1] - given.counts.shape[1]) // config.vision.tokens
    place = torch.rand(2, cameras, 3, 2, generator=seeded(3))
    known = Objects(
        place, torch.ones(2, cameras, 3, dtype=torch.bool), torch.ones(2, 3), torch.tensor([2, 0]), place[:, 0, 0]
    )
    loss = SeeingLoss(model, ("red", "green", "blue"), (4, 5, 6), 1.0)
    # The first counted token of the two rows is the second of the text: it is said at the position before it.
    start = inputs[0].shape[1] - length
    rows = [start + k - 1 for k in range(1, length)]
    held = held_patches(place, known.named, config.vision.tokens)
    shares = _shares(layer, inputs, slice(None))
    expected = looking_loss(shares[:, rows], held)
    assert loss.looked(model, inputs, (), given.counts, known).item() == pytest.approx(expected.item(), rel=1e-6)
    later = looking_loss(shares[:, [r + 1 for r in rows]], held)
    assert abs(later.item() - expected.item()) > 1e-4

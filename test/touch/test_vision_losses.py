"""Each loss that teaches patches to tell, against loops over the numbers of a tiny batch."""

import math

import numpy as np
import pytest
import torch

from pi0_ros.touch.vision import (
    PRESENCE_WEIGHT,
    UNKNOWN,
    held_patches,
    looking_loss,
    matching_loss,
    pointing_loss,
    reading_loss,
)

# Two pictures of 9 patches and three objects: unseen ones, two in one patch, one on the border.
PLACE = torch.tensor(
    [
        [[0.10, 0.95], [0.50, 0.34], [math.nan, math.nan]],
        [[0.99, 0.10], [0.97, 0.30], [0.34, 1.00]],
    ]
)
PATCHES = [[2, 4, None], [6, 6, 5]]
KNOWN = torch.tensor([[True, True, True], [True, True, False]])
LIT = torch.tensor([[1, UNKNOWN, 0], [0, 1, 1]])


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seen():
    return [(b, k, p) for b, row in enumerate(PATCHES) for k, p in enumerate(row) if p is not None]


def entropy(logit, wanted):
    """Binary cross-entropy of a logit."""
    share = 1.0 / (1.0 + math.exp(-float(logit)))
    return -(wanted * math.log(share) + (1.0 - wanted) * math.log(1.0 - share))


def huber(found, wanted, beta=0.02):
    off = abs(float(found) - float(wanted))
    return 0.5 * off * off / beta if off < beta else off - 0.5 * beta


def presence(logits, held, told):
    """Mean over all patches of all pictures; patches that hold something count more, pictures not known not at all."""
    terms = [
        entropy(logits[b, p], float(p in held[b])) * (PRESENCE_WEIGHT if p in held[b] else 1.0) * told[b]
        for b in range(logits.shape[0])
        for p in range(logits.shape[1])
    ]
    return sum(terms) / len(terms)


def test_reading_is_presence_and_five_times_the_place_and_the_lamp_and_the_kind():
    said, alike = drawn(2, 9, 4, seed=1), drawn(2, 9, 3, seed=2)
    said[0, 2, 1:3] = PLACE[0, 0] + torch.tensor([0.005, -0.3])  # near in the rows, far in the columns
    there = presence(said[..., 0], [{2, 4}, {6, 5}], [1.0, 0.0])
    where = np.mean([sum(huber(said[b, p, 1 + i], PLACE[b, k, i]) for i in (0, 1)) for b, k, p in seen()])
    lamp = np.mean([entropy(said[b, p, 3], float(LIT[b, k])) for b, k, p in seen() if LIT[b, k] != UNKNOWN])
    kind = np.mean([-(alike[b, p, k] - torch.logsumexp(alike[b, p], 0)) for b, k, p in seen()])
    found = reading_loss(said, alike, PLACE, KNOWN, LIT)
    assert found.item() == pytest.approx(there + 5.0 * where + lamp + kind, rel=1e-5)


def test_matching_is_looking_at_the_word_from_the_named_patch_and_away_from_it_from_the_others():
    looked, named = -drawn(2, 9, seed=3).abs() - 0.1, torch.tensor([1, 2])
    near = np.mean([-looked[b, p] for b, k, p in seen() if k == named[b]])
    away = np.mean([-math.log(1.0 - math.exp(looked[b, p])) for b, k, p in seen() if k != named[b]])
    assert matching_loss(looked, PLACE, named).item() == pytest.approx(near + away, rel=1e-5)


def test_looking_is_the_share_on_all_patches_that_hold_the_object_over_rows_that_have_one():
    shares = drawn(3, 2, 14, seed=4).log_softmax(-1)  # 12 patches, 2 words
    held = torch.zeros(3, 12, dtype=torch.bool)
    held[0, [3, 7]] = held[2, 11] = True
    terms = [
        -math.log(sum(math.exp(shares[b, q, p]) for p in ps)) for b, ps in ((0, (3, 7)), (2, (11,))) for q in (0, 1)
    ]
    assert looking_loss(shares, held).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_pointing_is_presence_and_twenty_times_the_way_at_the_patch_that_holds_it():
    said, way = drawn(2, 9, 4, seed=5), torch.tensor([[0.6, 0.45, 0.51], [0.3, 0.9, math.nan]])
    place, known = PLACE[:, 1], torch.tensor([True, False])
    there = presence(said[..., 0], [{4}, {6}], [1.0, 0.0])
    off = sum(huber(said[0, 4, 1 + i], way[0, i] - 0.5) for i in range(3))  # of the second the way is not known
    found = pointing_loss(said, place, known, way)
    assert found.item() == pytest.approx(there + 20.0 * off, rel=1e-5)


def test_held_patches_are_those_of_the_named_object_in_every_camera():
    place = torch.full((2, 2, 3, 2), math.nan)
    place[0, 0, 1] = torch.tensor([0.9, 0.1])  # row 2, column 0 of 3
    place[0, 1, 1] = torch.tensor([0.1, 0.6])
    place[0, 1, 2] = torch.tensor([0.5, 0.5])
    place[1, 0, 0] = torch.tensor([0.5, 0.5])
    held = held_patches(place, torch.tensor([1, UNKNOWN]), 9)
    assert held.nonzero().tolist() == [[0, 6], [0, 9 + 1]]

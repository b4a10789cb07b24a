"""Pictures disturbed as openpi does it: what is seen where, and what is left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pi0_ros.train.augment import CropAndTurn, as_openpi, augment_for, coloured, draw_view, seen_from
from pi0_ros.train.errors import TrainError
from pi0_ros.train.settings import Augment, TrainSettings

SIZE = 40  # a crop of 38


def noise(count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


def view(across=0.5, down=0.5, angle=0.0) -> CropAndTurn:
    return CropAndTurn(*(torch.tensor([v], dtype=torch.float32) for v in (across, down, angle)))


@pytest.mark.parametrize(("across", "down", "left", "top"), [(0.0, 0.0, 0, 0), (0.5, 0.1, 1, 0), (0.99, 0.99, 2, 2)])
def test_a_crop_begins_at_a_whole_pixel_and_is_brought_back_to_size(across, down, left, top):
    found = seen_from(noise(), view(across, down))
    crop = noise()[:, :, top : top + 38, left : left + 38]
    wanted = F.interpolate(crop, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # the crop's neighbours are seen at its very edge
    assert torch.allclose(found[inner], wanted[inner], atol=1e-5)


def test_a_turn_is_clockwise_about_the_middle_and_black_where_nothing_was():
    picture = torch.zeros(1, 3, SIZE, SIZE)
    picture[..., 4:6, 19:21] = 1.0  # above the middle
    found = seen_from(picture + 0.2, view(angle=math.radians(5.0)))[0, 0]
    at = torch.nonzero(found == found.max())[0].tolist()
    # 15 pixels above the middle, seen 40 / 38 as large, turned by 5 degrees: 1.4 pixels to the right.
    assert at[1] in (20, 21) and (found[:, at[1]].max() > found[:, 18].max())
    assert found[0, -1] == 0.0 and found[-1, 0] == 0.0 and found[20, 20] == pytest.approx(0.2)


def test_colour_is_brightness_then_contrast_about_the_mean_then_saturation():
    x = np.array([[[[0.2, 0.4]], [[0.6, 0.8]], [[0.1, 0.3]]]], np.float32)  # [1, 3, 1, 2]
    bright = x * 0.9
    clear = (bright - bright.mean()) * 1.2 + bright.mean()
    grey = clear.mean(1, keepdims=True)
    wanted = np.clip(grey + (clear - grey) * 0.6, 0.0, 1.0)
    found = coloured(torch.from_numpy(x), torch.tensor([[0.9, 1.2, 0.6]]))
    assert np.allclose(found.numpy(), wanted, atol=1e-6)


def test_a_wrist_camera_keeps_its_geometry_and_every_picture_has_a_draw_of_its_own():
    edge = torch.full((4, 3, SIZE, SIZE), -1.0)
    edge[..., 20:] = 0.2
    wrist = as_openpi(edge, True, np.random.default_rng(0))
    assert all(torch.equal(one[0, 0], one[0, r]) and len(one[0, 0].unique()) == 2 for one in wrist for r in (7, 39))
    base = as_openpi(edge, False, np.random.default_rng(0))
    assert any(not torch.equal(one[0, 5], one[0, 34]) for one in base)
    assert len({round(float(one[0, 20, 35]), 4) for one in base}) == 4
    assert float(base.min()) >= -1.0 and float(base.max()) <= 1.0


def test_draws_fill_their_ranges():
    drawn = draw_view(np.random.default_rng(1), 4000)
    assert float(drawn.angle.min()) < math.radians(-4.98) and float(drawn.angle.max()) > math.radians(4.98)
    assert float(drawn.angle.abs().max()) <= math.radians(5.0)
    assert abs(float(drawn.across.mean()) - 0.5) < 0.02 and abs(float(drawn.down.mean()) - 0.5) < 0.02


def test_openpis_starts_are_disturbed_as_openpi_does_it_and_others_lightly():
    assert augment_for("", "openpi") is Augment.OPENPI
    assert augment_for("", "pi0_ros") is augment_for("", "lerobot") is Augment.LIGHT
    assert augment_for("none", "openpi") is Augment.NONE
    with pytest.raises(TrainError, match="--augment 'heavy' is not known; choose none, light, openpi"):
        TrainSettings(augment="heavy")

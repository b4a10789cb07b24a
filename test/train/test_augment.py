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


def by_hand(picture: np.ndarray, across: int, down: int, angle: float) -> np.ndarray:
    """A picture [S, S] cropped to 38 pixels that begin at a whole pixel, brought back to size and turned, pixel by pixel."""
    seen = np.zeros_like(picture)
    for i in range(SIZE):
        for j in range(SIZE):
            x, y = (j + 0.5) / SIZE - 0.5, (i + 0.5) / SIZE - 0.5  # from the middle, a picture is 1 wide
            x, y = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
            if abs(x) <= 0.5 and abs(y) <= 0.5:
                column, row = across + 38 * (x + 0.5) - 0.5, down + 38 * (y + 0.5) - 0.5
                left, top = math.floor(column), math.floor(row)
                for k, m in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    share = (1 - abs(row - top - k)) * (1 - abs(column - left - m))
                    seen[i, j] += share * picture[min(max(top + k, 0), 39), min(max(left + m, 0), 39)]
    return seen


def test_each_picture_is_cropped_and_turned_as_it_was_drawn_for_it_alone():
    angles = (math.radians(4.0), math.radians(-2.5))
    seen = seen_from(noise(2), CropAndTurn(torch.tensor([0.1, 0.9]), torch.tensor([0.6, 0.0]), torch.tensor(angles)))
    for found, picture, across, down, angle in zip(seen, noise(2), (0, 2), (1, 0), angles, strict=True):
        wanted = by_hand(picture[1].double().numpy(), across, down, angle)
        np.testing.assert_allclose(found[1].numpy(), wanted, atol=1e-4)
        assert 5 < int((wanted == 0).sum()) < 400


def test_where_a_crop_begins_across_is_drawn_apart_from_where_it_begins_down_and_from_the_turn():
    drawn = draw_view(np.random.default_rng(4), 4000)
    together = np.corrcoef([drawn.across.numpy(), drawn.down.numpy(), drawn.angle.numpy()])
    assert np.abs(together - np.eye(3)).max() < 0.06


def test_brightness_contrast_and_saturation_are_drawn_in_openpis_ranges_for_each_picture():
    """Two pixels of two greys and one colour: what they were times, read back from their mean, their greys and the colour."""
    plain = torch.tensor([[0.42, 0.52], [0.40, 0.50], [0.38, 0.48]]).reshape(1, 3, 1, 2).expand(3000, -1, -1, -1)
    found = (as_openpi(plain * 2.0 - 1.0, True, np.random.default_rng(6)).numpy() + 1.0)[:, :, 0] / 2.0  # [B, 3, 2]
    grey = found.mean(1)
    brightness = grey.mean(1) / 0.45
    contrast = (grey[:, 1] - grey[:, 0]) / (0.1 * brightness)
    saturation = (found[:, 0] - found[:, 2])[:, 0] / (0.04 * brightness * contrast)
    for factor, width in ((brightness, 0.3), (contrast, 0.4), (saturation, 0.5)):
        low, high = 1.0 - width, 1.0 + width
        assert low - 1e-3 <= factor.min() < low + 0.01 and high - 0.01 < factor.max() <= high + 1e-3
        assert abs(factor.mean() - 1.0) < 0.02
    assert np.abs(np.corrcoef([brightness, contrast, saturation]) - np.eye(3)).max() < 0.06


def test_colour_is_brightness_then_contrast_about_the_mean_then_saturation():
    x = np.array([[[[0.2, 0.4]], [[0.6, 0.8]], [[0.1, 0.3]]]], np.float32)  # [1, 3, 1, 2]
    bright = x * 0.9
    clear = (bright - bright.mean()) * 1.2 + bright.mean()
    grey = clear.mean(1, keepdims=True)
    wanted = np.clip(grey + (clear - grey) * 0.6, 0.0, 1.0)
    found = coloured(torch.from_numpy(x), torch.tensor([[0.9, 1.2, 0.6]]))
    assert np.allclose(found.numpy(), wanted, atol=1e-6)
    both = torch.from_numpy(np.concatenate([x, 0.5 * x[:, ::-1]]))
    pair = coloured(both, torch.tensor([[0.9, 1.2, 0.6], [1.1, 0.7, 1.4]]))
    assert torch.equal(pair[:1], found) and torch.equal(pair[1:], coloured(both[1:], torch.tensor([[1.1, 0.7, 1.4]])))
    dark_and_light = coloured(both[:1], torch.tensor([[2.5, 1.4, 1.5]]))
    assert float(dark_and_light.min()) == 0.0 and float(dark_and_light.max()) == 1.0


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

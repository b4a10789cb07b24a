import numpy as np
import pytest

from pi0_ros.policy import PolicyError
from pi0_ros.policy.resize import camera_bytes, fitted, jax_linear, model_image, pil_bilinear, torch_bilinear


def cases(io, kind):
    for key, expected in io.items():
        if key.startswith(f"{kind}."):
            _, shape, size = key.split(".")
            yield io[f"image.{shape}"], (int(size),) * 2, expected


def test_pil_resizer_equals_openpis_to_the_bit(golden):
    found = list(cases(golden("resize"), "pil_uint8"))
    assert len(found) >= 5
    for image, size, expected in found:
        np.testing.assert_array_equal(pil_bilinear(image, size), expected)


def test_torch_resizer_equals_openpis_float_path(golden):
    found = list(cases(golden("resize"), "torch_float"))
    assert len(found) >= 5
    for image, size, expected in found:
        signed = image.astype(np.float32) / np.float32(255) * 2 - 1
        np.testing.assert_allclose(torch_bilinear(signed, size, -1.0), expected, atol=1e-6)


def test_jax_resizer_differs_from_jax_only_where_rounding_ties(golden):
    for image, size, expected in cases(golden("resize"), "jax_uint8"):
        difference = np.abs(jax_linear(image, size).astype(int) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.002


def test_a_picture_of_the_right_size_passes_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    for resize in (pil_bilinear, jax_linear):
        np.testing.assert_array_equal(resize(image, (56, 56)), image)


@pytest.mark.parametrize("resampler", ["pil", "torch", "jax"])
@pytest.mark.parametrize("size", [(6, 6), (3, 3)])
def test_bytes_become_numbers_from_minus_one_to_one_with_every_resampler(resampler, size):
    picture = np.broadcast_to(np.array([0, 51, 255], np.uint8), (6, 6, 3))
    found = model_image(picture, size, resampler)
    assert found.shape == (3, *size) and found.dtype == np.float32
    np.testing.assert_allclose(found, np.broadcast_to([[[-1.0]], [[-0.6]], [[1.0]]], (3, *size)), atol=1e-6)


def test_padding_is_black_and_its_odd_row_comes_after():
    white = np.full((10, 57, 3), 255, np.uint8)
    resized = model_image(white, (56, 56), "pil")
    rows = np.flatnonzero(resized[0, :, 0] > 0)
    assert fitted((10, 57), (56, 56)) == (9, 56)
    assert (rows[0], 55 - rows[-1]) == (23, 24)
    assert resized[0, 0, 0] == -1.0


def test_a_thin_picture_keeps_at_least_one_row():
    assert model_image(np.zeros((1, 500, 3), np.uint8), (56, 56), "torch").shape == (3, 56, 56)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_anything_but_a_colour_picture_of_bytes_is_refused(image):
    with pytest.raises(PolicyError, match="uint8"):
        model_image(image, (56, 56), "pil")


def test_an_unknown_resampler_is_refused_with_the_known_ones():
    with pytest.raises(PolicyError, match="pil, torch, jax"):
        model_image(np.zeros((4, 4, 3), np.uint8), (56, 56), "cubic")


def test_recorded_float_pictures_are_cut_to_bytes_as_openpi_does(golden):
    io = golden("transforms")
    found = camera_bytes(io["image.base_float_chw"])
    np.testing.assert_array_equal(found, io["aloha.adapt_true.in.image_from_float"])
    np.testing.assert_array_equal(camera_bytes(io["image.base"]), io["droid.pi0.in.image.base_0_rgb"])

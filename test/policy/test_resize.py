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
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
    ],
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


def test_only_colours_first_is_turned_around_and_floats_are_cut_to_bytes():
    flat = np.zeros((3, 4), np.uint8)
    assert camera_bytes(flat) is not None and camera_bytes(flat).shape == (3, 4)
    turned = camera_bytes(np.array([[[0.999, 0.5]], [[0.0, 1.0]], [[0.25, 0.1]]]))
    assert turned.dtype == np.uint8 and turned.tolist() == [[[254, 0, 63], [127, 255, 25]]]
    last = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(camera_bytes(last), last)


def bilinear(image, height, width):
    """A pixel's centre lies at (i + 0.5) * before / after - 0.5, and its value between its neighbours'."""
    found = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            y = max((i + 0.5) * image.shape[0] / height - 0.5, 0.0)
            x = max((j + 0.5) * image.shape[1] / width - 0.5, 0.0)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, image.shape[0] - 1), min(x0 + 1, image.shape[1] - 1)
            above = image[y0, x0] * (1 - (x - x0)) + image[y0, x1] * (x - x0)
            below = image[y1, x0] * (1 - (x - x0)) + image[y1, x1] * (x - x0)
            found[i, j] = above * (1 - (y - y0)) + below * (y - y0)
    return found


def triangles(image, height, width):
    """Each pixel is a mean of those around it, weighted by a triangle that is as wide as the scale, or 1."""
    scale = (image.shape[0] / height, image.shape[1] / width)
    found = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            y, x = (i + 0.5) * scale[0] - 0.5, (j + 0.5) * scale[1] - 0.5
            down = [max(0.0, 1.0 - abs(k - y) / max(scale[0], 1.0)) for k in range(image.shape[0])]
            across = [max(0.0, 1.0 - abs(k - x) / max(scale[1], 1.0)) for k in range(image.shape[1])]
            weights = np.outer(down, across)
            found[i, j] = (image * weights[..., None]).sum((0, 1)) / weights.sum()
    return found


@pytest.mark.parametrize(
    ("shape", "size", "inside"),
    [((5, 8), (7, 7), (4, 7)), ((9, 4), (6, 5), (6, 2)), ((3, 4), (9, 12), (9, 12)), ((4, 3), (12, 10), (12, 9))],
)
def test_every_pixel_is_a_mean_of_its_neighbours_between_black_bars(shape, size, inside):
    image = np.random.default_rng(7).integers(0, 256, (*shape, 3), dtype=np.uint8)
    above, left = (size[0] - inside[0]) // 2, (size[1] - inside[1]) // 2
    place = np.s_[above : above + inside[0], left : left + inside[1]]
    wanted = np.full((*size, 3), -1.0)
    wanted[place] = bilinear(image / 255.0, *inside) * 2.0 - 1.0
    assert fitted(shape, size) == inside
    np.testing.assert_allclose(model_image(image, size, "torch"), wanted.transpose(2, 0, 1), atol=1e-5)
    bytes_ = np.zeros((*size, 3))
    bytes_[place] = triangles(image.astype(float), *inside)
    np.testing.assert_allclose(jax_linear(image, size), bytes_, atol=0.5001)
    np.testing.assert_allclose(
        model_image(image, size, "jax"), (jax_linear(image, size) / 127.5 - 1.0).transpose(2, 0, 1), atol=1e-6
    )


@pytest.mark.parametrize("black", [0.0, -1.0])
def test_floats_beyond_black_and_white_are_cut_to_them(black):
    image = np.full((2, 4, 3), 1.5, np.float32)
    image[:, :2] = -2.0
    found = torch_bilinear(image, (4, 4), black)
    assert (found[:, -1] == [[black] * 3, [1.0] * 3, [1.0] * 3, [black] * 3]).all()
    assert (found[:, 0] == black).all() and found.min() == black and found.max() == 1.0

"""Encoded pictures are measured before they are decoded, and read whole or not at all."""

import io
import resource
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from pi0_ros.data import encoded_pictures
from pi0_ros.data.encoded_pictures import MAX_PIXELS, PictureError, decode_pixels, decode_rgb, read_header

DRAW = np.random.default_rng(0)
SCENE = np.zeros((120, 160, 3), int)
SCENE[:60], SCENE[60:] = (200, 30, 10), (10, 60, 220)
SCENE = np.clip(SCENE + DRAW.integers(-20, 20, SCENE.shape), 0, 255).astype(np.uint8)


def encoded(kind, pixels=SCENE, *options):
    data = pixels[..., ::-1] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels
    return cv2.imencode(kind, data, list(options))[1].tobytes()


JPEG = encoded(".jpg", SCENE, cv2.IMWRITE_JPEG_QUALITY, 95)
PROGRESSIVE = encoded(".jpg", SCENE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = encoded(".jpg", SCENE, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
PNG = encoded(".png")
HALF = len(JPEG) // 2


def without_huffman_tables(data):
    """As the MJPEG streams of many USB cameras are: the tables of the standard are understood."""
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += data[at : at + length] if data[at + 1] != 0xC4 else b""
        at += length
    return kept + data[at:]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))


def png_bomb(side):
    row, pack = bytes(1 + side // 8), zlib.compressobj(9)
    data = b"".join(pack.compress(row) for _ in range(side)) + pack.flush()
    return png_header(side, side) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_bomb(width, height):
    data = bytearray(encoded(".jpg", np.zeros((16, 16, 3), np.uint8)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        JPEG[:HALF] + JPEG[HALF + 900 :],
        JPEG[:HALF],
        JPEG[:HALF] + b"\xff\xd9",
        JPEG[:HALF] + bytes(900) + JPEG[HALF + 900 :],
        JPEG[:-2],
        RESTARTS[: len(RESTARTS) // 2] + RESTARTS[len(RESTARTS) // 2 + 900 :],
        PROGRESSIVE[: len(PROGRESSIVE) // 2] + b"\xff\xd9",
        PROGRESSIVE[: len(PROGRESSIVE) // 2],
    ],
    ids=["hole", "cut", "cut and ended", "zeros", "no end", "restarts", "progressive ended", "progressive cut"],
)
def test_a_damaged_jpeg_is_refused(data):
    with pytest.raises(PictureError, match="damaged JPEG"):
        decode_rgb(data)


@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        JPEG + bytes(1000),
        JPEG + JPEG[:300],
        JPEG[:-2] + b"\x12\x34\x56" + JPEG[-2:],
        without_huffman_tables(encoded(".jpg", SCENE, cv2.IMWRITE_JPEG_QUALITY, 95)),
        PROGRESSIVE,
        RESTARTS,
    ],
    ids=[
        "plain",
        "zeros behind",
        "rest of a buffer behind",
        "bytes before the end",
        "no tables",
        "progressive",
        "restarts",
    ],
)
def test_an_odd_but_whole_jpeg_is_read(data):
    decoded = decode_rgb(data)
    assert decoded.dtype == np.uint8
    for rows, colour in ((slice(0, 56), (200, 30, 10)), (slice(64, None), (10, 60, 220))):
        np.testing.assert_allclose(decoded[rows].reshape(-1, 3).mean(axis=0), colour, atol=4)


@pytest.mark.parametrize("data", [PNG[: len(PNG) // 2], PNG[:-12], PNG[:-40] + bytes([PNG[-40] ^ 1]) + PNG[-39:]])
def test_a_damaged_png_is_refused(data):
    with pytest.raises(PictureError, match="damaged PNG"):
        decode_rgb(data)


@pytest.mark.parametrize("kind", [".png", ".tiff", ".bmp"])
def test_pictures_without_loss_are_read_as_they_were(kind):
    np.testing.assert_array_equal(decode_rgb(encoded(kind)), SCENE)


def test_sixteen_bits_stay_sixteen_until_they_are_scaled():
    wide = DRAW.integers(0, 65536, (5, 7), dtype=np.uint16)
    data = encoded(".png", wide)
    np.testing.assert_array_equal(decode_pixels(data), wide)
    np.testing.assert_array_equal(decode_rgb(data)[..., 1], wide // 257)
    colours = DRAW.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    np.testing.assert_array_equal(decode_pixels(encoded(".png", colours)), colours)


def test_transparency_and_palettes_become_plain_rgb():
    rgba = np.dstack([SCENE[..., ::-1], SCENE[..., 0]])
    np.testing.assert_array_equal(decode_rgb(encoded(".png", rgba)), SCENE)
    file = io.BytesIO()
    two = np.where(SCENE[..., :1] > 100, np.uint8([[[9, 80, 200]]]), np.uint8([[[200, 30, 10]]]))
    Image.fromarray(two).quantize(2).save(file, "PNG")
    np.testing.assert_allclose(decode_rgb(file.getvalue()).astype(int), two, atol=1)


def test_a_picture_of_a_format_that_is_not_read_is_none(tmp_path):
    """Pillow would open a GIF."""
    Image.new("RGB", (4, 6), (9, 99, 200)).save(tmp_path / "a.gif")
    with pytest.raises(PictureError, match=r"bytes are no picture \(JPEG, PNG, TIFF, WEBP, BMP are read\)"):
        read_header((tmp_path / "a.gif").read_bytes())


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", bytes(100), PNG[:20]])
def test_bytes_that_are_no_picture_are_refused(data):
    with pytest.raises(PictureError):
        decode_rgb(data)


def test_the_size_is_read_from_the_header_alone():
    assert read_header(jpeg_bomb(4096, 8192)).width == 4096  # 2^25 pixels are still allowed
    assert read_header(png_header(4096, 8192) + chunk(b"IDAT", b"x")).height == 8192
    for data in (
        jpeg_bomb(4097, 8192),
        jpeg_bomb(30000, 30001),
        png_header(8192, 4097) + chunk(b"IDAT", b"x"),
        png_bomb(30000),
    ):
        with pytest.raises(PictureError, match=f"{MAX_PIXELS} pixels"):
            read_header(data)


def test_a_picture_of_thirty_thousand_pixels_a_side_costs_no_memory(tmp_path):
    for name, data in (("jpeg", jpeg_bomb(30000, 30000)), ("png", png_bomb(30000))):
        (tmp_path / name).write_bytes(data)
    script = (
        "import pathlib, resource, sys\n"
        "from pi0_ros.data.encoded_pictures import PictureError, decode_rgb\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for file in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    try: sys.exit(f'{file} was decoded to {decode_rgb(file.read_bytes()).shape}')\n"
        "    except PictureError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30,) * 2),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000  # kB


def test_a_thousand_damaged_pictures_are_read_or_refused():
    sources = [JPEG, PROGRESSIVE, PNG, encoded(".webp"), encoded(".tiff"), encoded(".bmp")]
    read = 0
    for k in range(1000):
        data = bytearray(sources[k % len(sources)])
        for at in DRAW.integers(0, len(data), DRAW.integers(1, 6)):
            data[at] = DRAW.integers(256)
        kept = len(data) if k % 4 else DRAW.integers(len(data) // 2, len(data) + 1)
        try:
            picture = decode_rgb(bytes(data[:kept]))
        except PictureError as error:
            assert str(error)
            continue
        read += 1
        assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
    assert read > 10


def test_a_picture_that_is_decoded_to_another_size_than_it_says_is_damaged(monkeypatch):
    data = PNG
    header = read_header(data)
    for shape in ((header.width + 1, header.height, 3), None):
        found = None if shape is None else np.zeros(shape, np.uint8)
        monkeypatch.setattr(encoded_pictures.cv2, "imdecode", lambda *_, found=found: found)
        with pytest.raises(PictureError, match="damaged PNG: it cannot be decoded"):
            decode_pixels(data)

"""Pictures on their way to the encoder's process: each in its place, and no more of them than there is room for."""

import numpy as np
import pytest

from pi0_ros.data.frame_slots import FrameSlots, frame_bytes

FEATURES = {
    "observation.images.wide": {"dtype": "video", "shape": [4, 6, 3]},
    "observation.state": {"dtype": "float32", "shape": [2]},
    "observation.images.wrist": {"dtype": "video", "shape": [2, 5, 3]},
}


def pictures(seed):
    draw = np.random.default_rng(seed)
    return {k: draw.integers(0, 256, f["shape"], np.uint8) for k, f in FEATURES.items() if f["dtype"] == "video"}


@pytest.fixture
def slots():
    made = FrameSlots(FEATURES, 3)
    yield made
    made.close()


def test_a_frame_is_as_large_as_its_pictures():
    assert frame_bytes(FEATURES) == 4 * 6 * 3 + 2 * 5 * 3


def test_every_slot_holds_its_own_pictures_and_another_process_reads_them(slots):
    numbers = [slots.put(pictures(seed)) for seed in range(3)]
    assert sorted(numbers) == [0, 1, 2] and slots.used == 3
    other = FrameSlots(FEATURES, 3, slots.fd)
    for seed, number in enumerate(numbers):
        for key, picture in pictures(seed).items():
            np.testing.assert_array_equal(other.views(number)[key], picture)


def test_where_all_slots_are_taken_nothing_is_overwritten_until_one_is_free_again(slots):
    numbers = [slots.put(pictures(seed)) for seed in range(3)]
    assert slots.put(pictures(9)) is None
    np.testing.assert_array_equal(slots.views(numbers[1])["observation.images.wrist"],
                                  pictures(1)["observation.images.wrist"])  # fmt: skip
    slots.free(numbers[1])
    assert slots.used == 2 and slots.put(pictures(9)) == numbers[1] and slots.put(pictures(8)) is None

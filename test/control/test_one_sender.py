"""Of several senders on one topic the first is followed, for as long as it is there."""

import numpy as np
import pytest

from pi0_ros.control.one_sender import LATELY, OneSender


def test_the_first_is_followed_and_the_second_only_after_the_first_has_been_silent():
    one = OneSender()
    assert one.hear(10.0, b"leader") and not one.hear(10.01, b"joystick")
    assert one.hear(10.02, b"leader") and one.senders(10.02) == (b"leader", b"joystick")
    for k in range(1, 120):
        followed = one.hear(10.02 + 0.01 * k, b"joystick")
        assert followed is (0.01 * k > LATELY)
    assert one.senders(10.02 + 1.19) == (b"joystick",)


@pytest.mark.parametrize("seed", range(8))
def test_however_they_take_turns_what_is_followed_never_alternates(seed):
    """Messages at random times from three senders: another one is followed a second after the last message of the one before."""
    rng, one, now = np.random.default_rng(seed), OneSender(), 0.0
    followed, at, changes, count = None, 0.0, 0, 0
    for _ in range(3000):
        now += float(rng.exponential(0.05))
        sender = bytes([int(rng.integers(3))])
        if one.hear(now, sender):
            assert followed in (None, sender) or now - at > LATELY
            changes += followed not in (None, sender)
            followed, at, count = sender, now, count + 1
    assert count > 900 and changes < now / LATELY


def test_a_crowd_of_senders_takes_no_more_room_and_no_turn():
    one = OneSender()
    assert one.hear(0.0, b"leader")
    assert not any(one.hear(0.001 * k, k.to_bytes(2, "big")) for k in range(1, 900))
    assert one.hear(0.9, b"leader") and len(one.senders(0.9)) == 16

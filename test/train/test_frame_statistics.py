"""Normalisation statistics against numpy."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy.errors import PolicyError
from pi0_ros.train.frames import Frames
from pi0_ros.train.session import moving
from pi0_ros.train.statistics import frame_statistics, shown_rows, statistics_of


def test_what_moves_has_its_own_moments_and_quantiles():
    rows = np.random.default_rng(2).normal([1.0, -3.0], [0.5, 2.0], (500, 2))
    found = statistics_of(rows, 0.1).values
    np.testing.assert_allclose(found["mean"], rows.mean(0))
    np.testing.assert_allclose(found["std"], rows.std(0))
    np.testing.assert_allclose(found["q01"], np.quantile(rows, 0.01, axis=0))
    np.testing.assert_allclose(found["q99"], np.quantile(rows, 0.99, axis=0))


def test_what_hardly_moves_is_widened_about_its_middle_and_not_blown_up():
    rows = np.stack([np.linspace(2.0, 2.02, 101), np.linspace(-1.0, 1.0, 101)], axis=1)
    found = statistics_of(rows, 0.4).values
    assert (found["q01"][0], found["q99"][0]) == pytest.approx((2.01 - 0.2, 2.01 + 0.2))
    assert found["std"][0] == pytest.approx(0.1) and found["mean"][0] == pytest.approx(2.01)
    assert (found["q01"][1], found["q99"][1]) == pytest.approx((-0.98, 0.98))
    assert found["std"][1] == pytest.approx(rows[:, 1].std())


def frames_of_two() -> Frames:
    """Two frames of a joint and a wheel, H = 4: of the second one row was shown, the others repeat the episode's last."""
    chunk = np.array(
        [[[1.0, 0.1], [1.2, 0.2], [1.4, 0.3], [1.6, 0.4]], [[3.0, 9.0], [3.0, 9.0], [3.0, 9.0], [3.0, 9.0]]], np.float32
    )
    none = np.zeros(2, np.int32)
    return Frames(
        cameras=("base",),
        channels=("joint", "wheel"),
        period=0.1,
        texts=("go",),
        images=np.zeros((2, 1, 4, 4, 3), np.uint8),
        state=np.array([[0.5, 0.0], [2.5, 0.0]], np.float32),
        chunk=chunk,
        task=none,
        high_task=none - 1,
        high_target=none - 1,
        facts=np.zeros((2, 0), np.int16),
        episode=none,
        valid=np.array([4, 1], np.int32),
    )


def test_rows_that_nobody_showed_do_not_count():
    """By hand: the joint as offsets from its frame's state, the wheel as it is; five rows, and not eight."""
    found = frame_statistics(frames_of_two(), (True, False))["actions"].values
    shown = np.array([[0.5, 0.1], [0.7, 0.2], [0.9, 0.3], [1.1, 0.4], [0.5, 9.0]])
    np.testing.assert_allclose(found["mean"], shown.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found["std"], shown.std(0), rtol=1e-5)
    np.testing.assert_allclose(found["q99"], np.quantile(shown, 0.99, axis=0), rtol=1e-6)


def test_how_lively_a_chunk_is_is_told_by_the_rows_that_were_shown():
    chunk = np.zeros((3, 4, 1), np.float32)
    chunk[0, :, 0], chunk[1, :, 0], chunk[2, :, 0] = [0, 1, 2, 3], [0, 0.5, 3, 3], [0, 3, 3, 3]
    assert moving(chunk, (True,), np.array([4, 2, 1])).tolist() == pytest.approx(
        [1.0, 0.4, 0.0]
    )  # of half of 2.5, the liveliest tenth


def ramp(count: int, horizon: int = 3) -> Frames:
    """Frames whose state is their number and whose chunk goes on from there by 1, 2, 3; a tenth of that in the wheel."""
    two = frames_of_two()
    state = np.arange(float(count))[:, None] * np.array([1.0, 0.1])
    chunk = state[:, None] + np.arange(1.0, horizon + 1)[None, :, None] * np.array([1.0, 0.1])
    none = np.zeros(count, np.int32)
    return replace(two, state=state, chunk=chunk, task=none, episode=none, valid=none + horizon)


def test_statistics_are_of_evenly_spaced_frames_from_the_first_to_the_last():
    found = frame_statistics(ramp(101), (False, False), limit=5)
    rows = np.array([0.0, 25.0, 50.0, 75.0, 100.0])
    np.testing.assert_allclose(found["state"]["mean"], [rows.mean(), rows.mean() / 10])
    np.testing.assert_allclose(found["state"]["std"], [rows.std(), rows.std() / 10])
    every = frame_statistics(ramp(101), (False, False))["state"]
    np.testing.assert_allclose(every["std"][0], np.arange(101).std())
    assert frame_statistics(ramp(101), (False, False), limit=101)["state"]["q99"][0] == pytest.approx(99.0)


def test_actions_are_as_they_are_or_counted_from_the_state_at_the_chunks_start():
    plain = frame_statistics(ramp(11), (False, False))["actions"]
    assert plain["mean"].tolist() == pytest.approx([5.0 + 2.0, 0.5 + 0.2])
    found = frame_statistics(ramp(11), (True, False))["actions"]
    assert found["mean"].tolist() == pytest.approx([2.0, 0.7]) and found["std"][0] == pytest.approx(np.std([1, 2, 3]))


def test_steps_are_counted_from_where_the_robot_will_be_by_the_share_that_it_follows():
    """Ends at 1, 2 and 3 from a state of 0 that goes half of the way: it is at 0, 0.5 and 1.25, and steps are 1, 1.5, 1.75."""
    found = frame_statistics(ramp(9), (False, False), (0.5, 0.0))["actions"]
    assert found["mean"][0] == pytest.approx((1.0 + 1.5 + 1.75) / 3) and found["mean"][1] == pytest.approx(0.4 + 0.2)


@pytest.mark.parametrize("span", [0.2, 0.02])
def test_a_channel_that_hardly_moves_is_a_tenth_wide_unless_another_width_is_asked_for(span):
    rows = np.full((40, 1), 3.0)
    plain, other = statistics_of(rows), statistics_of(rows, span)
    assert plain["q99"][0] - plain["q01"][0] == pytest.approx(0.1) and plain["std"][0] == pytest.approx(0.025)
    assert other["q99"][0] - other["q01"][0] == pytest.approx(span) and other["std"][0] == pytest.approx(span / 4)


def test_which_rows_were_shown_is_told_by_their_number():
    assert shown_rows(np.array([2, 0, 3]), 3).tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_a_robot_may_have_more_actions_than_states_if_those_are_no_offsets():
    """A gripper that is commanded and not measured."""
    frames = replace(ramp(9), state=ramp(9).state[:, :1])
    found = frame_statistics(frames, (True, False))["actions"]
    assert found["mean"].tolist() == pytest.approx([2.0, 0.4 + 0.2])
    stepped = frame_statistics(frames, (False, False), (0.5, 0.0))["actions"]
    assert stepped["mean"].tolist() == pytest.approx([(1.0 + 1.5 + 1.75) / 3, 0.4 + 0.2])
    with pytest.raises(PolicyError, match="the state has 1, the actions 2"):
        frame_statistics(frames, (True, True))

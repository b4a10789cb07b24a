"""Angles that jump by a turn, and actions that count from the state of their own row, are trained on as what they mean."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from small_lerobot import CHANNELS, write

from pi0_ros.data.dataset import Dataset
from pi0_ros.policy.adapter import Delta
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.transforms import delta, step_absolute, step_delta
from pi0_ros.train.errors import TrainError
from pi0_ros.train.from_dataset import frames_of
from pi0_ros.train.recorded_motion import _by_a_turn, _by_more, _pairs, check_motion, planned_rows

ADAPTER = load_adapter("mobile_bimanual")
WRIST = CHANNELS.index("left_joint6")
IN_MODEL = ADAPTER.state_channels.index("left_joint6")
LENGTHS = (25, 28, 31)


def frames(folder: Path, adapter, horizon: int = 5):
    dataset = Dataset(folder)
    return frames_of(dataset, adapter, 16, horizon, range(len(dataset.episodes)))


def angles(position: int, length: int):
    """A wrist that turns on: 0.13 rad a frame, and its command 0.05 rad ahead."""
    truth = 2.0 + 0.3 * position + 0.13 * np.arange(length)
    return truth, truth + 0.05


def within_a_turn(values, low=-math.pi):
    return low + np.mod(values - low, 2.0 * math.pi)


def with_wrist(low_state, low_action):
    """An edit that records the wrist within one turn that begins there, None: as it turned."""

    def edit(position, columns):
        state, action = angles(position, len(columns["index"]))
        columns["observation.state"][:, WRIST] = state if low_state is None else within_a_turn(state, low_state)
        columns["action"][:, WRIST] = action if low_action is None else within_a_turn(action, low_action)
        return columns

    return edit


def saying(adapter, **changes):
    """The adapter with these values in the block of the left arm: wrap for its state, others for its action."""
    key = "state" if "wrap" in changes else "actions"
    first = replace(getattr(adapter, key)[0], **changes)
    return replace(adapter, **{key: (first, *getattr(adapter, key)[1:])})


@pytest.mark.parametrize("recorded", [(-math.pi, -math.pi), (-math.pi, None), (0.0, -math.pi), (0.0, 0.0)])
def test_an_angle_that_was_recorded_within_a_turn_is_refused_until_the_policy_says_so(tmp_path, recorded):
    folder = write(tmp_path / "d", lengths=LENGTHS, edit=with_wrist(*recorded))
    with pytest.raises(TrainError, match=r"left_joint6 jumps by a whole turn .* say `wrap: true` in the state block"):
        frames(folder, ADAPTER)
    found = frames(folder, saying(ADAPTER, wrap=-math.pi))
    moves = delta(found.chunk, found.state, ADAPTER.delta_mask)[..., IN_MODEL]
    whole = found.valid == 5
    np.testing.assert_allclose(moves[whole], np.tile(0.05 + 0.13 * np.arange(5), (whole.sum(), 1)), atol=1e-5)
    assert found.state[:, IN_MODEL].min() >= -math.pi and found.state[:, IN_MODEL].max() < math.pi


def test_an_angle_that_was_counted_on_is_learnt_as_it_is(tmp_path):
    found = frames(write(tmp_path / "d", lengths=LENGTHS, edit=with_wrist(None, None)), ADAPTER)
    assert found.state[:, IN_MODEL].max() == pytest.approx(2.6 + 0.13 * 30)


def test_a_gripper_in_percent_that_jumps_by_six_is_no_angle(tmp_path):
    def edit(position, columns):
        columns["observation.state"][:, WRIST] = 6.3 * (np.arange(len(columns["index"])) // 10 % 2)
        columns["observation.state"][::7, WRIST] = 40.0
        columns["action"][:, WRIST] = columns["observation.state"][:, WRIST]
        return columns

    assert len(frames(write(tmp_path / "d", lengths=LENGTHS, edit=edit), ADAPTER)) == sum(LENGTHS)


def follower(share: float):
    """An edit with a wrist that goes `share` of the way to its action in a frame."""

    def edit(position, columns):
        action = 0.4 * np.sin(0.3 * np.arange(len(columns["index"])) + position)
        state = np.zeros_like(action)
        for k in range(len(state) - 1):
            state[k + 1] = state[k] + share * (action[k] - state[k])
        columns["action"][:, WRIST], columns["observation.state"][:, WRIST] = action, state
        for k in (i for i in range(6) if i != WRIST):  # the rest of the arm stands, at its action
            columns["observation.state"][:, k] = columns["action"][:, k] = 0.1 * k
        return columns

    return edit


@pytest.mark.parametrize("share", [1.0, 0.6, 0.35])
def test_actions_against_the_state_of_their_row_are_learnt_and_planned_as_they_were_shown(tmp_path, share):
    folder = write(tmp_path / "d", lengths=LENGTHS, edit=follower(share))
    found = frames(folder, saying(ADAPTER, delta=Delta.CURRENT, follows=share))
    shares = saying(ADAPTER, delta=Delta.CURRENT, follows=share).step_shares
    learnt = step_delta(found.chunk, found.state, shares)[..., IN_MODEL]
    raw = Dataset(folder)
    state, action = (raw.column(k).reshape(-1, 18)[:, WRIST] for k in ("observation.state", "action"))
    rows = np.flatnonzero(found.valid == 5)
    assert len(found) == sum(LENGTHS)  # frame for row
    for k in range(5):
        np.testing.assert_allclose(learnt[rows, k], (action - state)[rows + k], atol=1e-5)
    planned = step_absolute(learnt[..., None], found.state[:, [IN_MODEL]], (share,))[..., 0]
    for k in range(5):
        np.testing.assert_allclose(planned[rows, k], action[rows + k], atol=1e-5)


def test_a_robot_that_follows_its_actions_less_than_the_policy_says_is_refused_with_the_share(tmp_path):
    folder = write(tmp_path / "d", lengths=LENGTHS, edit=follower(0.5))
    with pytest.raises(TrainError, match=r"go 0\.50 of the way .* plans would go 2 times as far.* `follows: 0\.50`"):
        frames(folder, saying(ADAPTER, delta=Delta.CURRENT))


def test_a_robot_that_hardly_follows_is_told_of_another_way_to_say_its_actions(tmp_path):
    """From a fiftieth of the way on, `follows` can be said."""
    for share, said in (
        (0.03, r"go 0\.03 of the way .* write `follows: 0\.03`"),
        (0.01, r"do not follow .*`delta: start`"),
    ):
        folder = write(tmp_path / str(share), lengths=LENGTHS, edit=follower(share))
        with pytest.raises(TrainError, match=said):
            frames(folder, saying(ADAPTER, delta=Delta.CURRENT))


@pytest.mark.parametrize(
    ("step", "turn", "more"),
    [
        (0.0, False, False),
        (3.1, False, False),
        (3.2, False, True),  # more than half a turn, and no whole one
        (-3.2, False, True),
        (2 * math.pi - 0.61, False, True),
        (2 * math.pi - 0.59, True, False),
        (-2 * math.pi - 0.59, True, False),
        (2 * math.pi + 0.61, False, True),
    ],
)
def test_a_jump_is_a_turn_within_a_seam_and_something_else_beyond_half_a_turn(step, turn, more):
    assert _by_a_turn(np.array([step])).tolist() == [turn]
    assert _by_more(np.array([0.1, step])) == more


def test_a_turn_back_between_two_rows_is_no_way_that_the_robot_went():
    """Over the seam in either direction; pairs end with their episode, and what is no number is no pair."""
    state = np.array([[3.0], [-3.1], [3.0], [0.0], [0.2], [math.nan]])
    action = np.array([[-3.05], [2.9], [3.1], [0.3], [0.1], [0.0]])
    dataset = SimpleNamespace(episodes=[SimpleNamespace(start=0, stop=3), SimpleNamespace(start=3, stop=6)])
    gone, commanded = _pairs(dataset, state, action, 1)
    seam = 2 * math.pi
    np.testing.assert_allclose(gone, [-6.1 + seam, 6.1 - seam, 0.2])
    np.testing.assert_allclose(commanded, [-6.05 + seam, 6.0 - seam, 0.3])
    assert [len(v) for v in _pairs(dataset, state, action, 2)] == [1, 1]


def dataset_of(*lengths: int) -> SimpleNamespace:
    starts = np.cumsum([0, *lengths])
    episodes = [SimpleNamespace(index=k, start=int(starts[k]), stop=int(starts[k + 1])) for k in range(len(lengths))]
    of = lambda row: next(e for e in episodes if row < e.stop)
    return SimpleNamespace(folder=Path("mine"), episodes=episodes, episode_of=of)


def block(*channels: str, **changes):
    usual = {
        "channels": channels,
        "range": None,
        "convert": None,
        "wrap": None,
        "delta": Delta.ABSOLUTE,
        "follows": 1.0,
    }
    return SimpleNamespace(**{**usual, **changes})


def of_blocks(state, actions=()) -> SimpleNamespace:
    names = lambda blocks: tuple(c for b in blocks for c in b.channels)
    return SimpleNamespace(
        state=state, actions=actions, state_channels=names(state), action_channels=names(actions), file="p.yaml"
    )


def test_a_turn_is_told_with_its_first_frame_and_how_often_it_is_found(tmp_path):
    """The second channel turns between frames 6 and 7, and 7 and 8: of episode 1, that begins with frame 4, frames 2 and 3."""
    adapter = of_blocks((block("a", "b"),), (block("b"),))
    state = np.zeros((10, 2))
    state[:, 1] = [0.0, 0.1, 0.2, 0.3, 3.0, 3.1, 3.1, -3.1, 3.1, 3.0]
    action = state[:, 1:].copy()
    with pytest.raises(
        TrainError,
        match=r"mine: b jumps by a whole turn in 2 frames, first in episode 1, frame 2: .* block of b in p\.yaml",
    ):
        check_motion(dataset_of(4, 6), adapter, state, action, 1)
    action[5] -= 2 * math.pi  # an action beside its state on another turn, before the first jump
    with pytest.raises(TrainError, match="in 2 frames, first in episode 1, frame 1:"):
        check_motion(dataset_of(4, 6), adapter, state, action, 1)


@pytest.mark.parametrize("changes", [{"range": (0.0, 1.0)}, {"convert": "pose"}, {"wrap": 0.0}])
def test_what_is_no_plain_angle_may_jump(changes):
    state = np.array([[3.1], [-3.1], [3.1]])
    check_motion(dataset_of(3), of_blocks((block("a", **changes),)), state, np.zeros((3, 0)), 1)
    with pytest.raises(TrainError, match="a jumps by a whole turn"):
        check_motion(dataset_of(3), of_blocks((block("a"),)), state, np.zeros((3, 0)), 1)


def test_a_jump_from_one_episode_to_the_next_is_none_and_one_that_is_no_turn_makes_it_no_angle():
    adapter = of_blocks((block("a"),))
    check_motion(dataset_of(2, 2), adapter, np.array([[3.0], [3.1], [-3.1], [-3.0]]), np.zeros((4, 0)), 1)
    jumps = np.array([[3.1], [-3.1], [1.2], [1.1]])  # a turn, and 4.3
    check_motion(dataset_of(4), adapter, jumps, np.zeros((4, 0)), 1)
    with pytest.raises(TrainError, match="a jumps by a whole turn in 1 frames"):
        check_motion(dataset_of(2, 2), adapter, jumps, np.zeros((4, 0)), 1)


def following(shares, moving=60, still=20, stride=1):
    """Two blocks against the state of their row, of which each goes its share of the way in `stride` frames, up and down."""
    rows = np.arange(moving + still + stride)
    commanded = np.where(rows[:, None] < moving, 0.2 * np.where(rows[:, None] % 2, -1.0, 1.0), 0.0) * [1.0, 0.5]
    state = np.zeros((len(rows), 2))
    for k in rows[:-stride]:
        state[k + stride] = state[k] + np.asarray(shares) * commanded[k]
    return state, state + commanded


def follows(said, shares, **changes):
    blocks = tuple(block(n, delta=Delta.CURRENT, follows=f) for n, f in zip("ab", said, strict=True))
    state, action = following(shares, **changes)
    check_motion(dataset_of(len(state)), of_blocks(blocks, blocks), state, action, changes.get("stride", 1))


@pytest.mark.parametrize(
    ("said", "shares", "match"),
    [
        ((1.0, 0.5), (1.0, 0.5), None),
        ((0.59, 0.5), (0.5, 0.59), None),
        ((0.41, 0.5), (0.5, 0.41), None),
        (
            (0.61, 0.5),
            (0.5, 0.5),
            r"mine: a go 0\.50 of the way .* p\.yaml says 0\.61: .* 1\.2 times .* `follows: 0\.50`",
        ),
        ((0.39, 0.5), (0.5, 0.5), r"a go 0\.50 of the way .* go 0\.78 times"),
        ((0.5, 0.9), (0.5, 0.3), r"b go 0\.30 of the way .* says 0\.9: .* go 3 times .* write `follows: 0\.30`"),
        ((0.5, 0.9), (0.5, 0.0), r"mine: b do not follow their actions \(0\.00 of .*`delta: current` in p\.yaml"),
    ],
)
def test_each_block_follows_its_actions_to_a_tenth_as_the_policy_says(said, shares, match):
    if match is None:
        follows(said, shares)
    else:
        with pytest.raises(TrainError, match=match):
            follows(said, shares)


def test_how_a_robot_follows_is_told_from_fifty_frames_that_move_a_period_apart():
    follows((0.9, 0.9), (0.3, 0.3), moving=49)
    with pytest.raises(TrainError, match=r"a go 0\.30"):
        follows((0.9, 0.9), (0.3, 0.3), moving=50)
    follows((0.3, 0.6), (0.3, 0.6), stride=3)
    with pytest.raises(TrainError, match=r"b go 0\.60"):
        follows((0.3, 0.9), (0.3, 0.6), stride=3)


def test_blocks_that_count_from_elsewhere_are_not_asked_how_they_follow_and_keep_their_columns():
    """Three numbers that count from the start, and then one against the state of its row that does not follow as it says."""
    blocks = (block("x", "y", "z", delta=Delta.START), block("a", delta=Delta.CURRENT, follows=0.9))
    state, action = following((0.3, 0.3))
    still = np.zeros((len(state), 3))
    wide = [np.hstack([still, v[:, :1]]) for v in (state, action)]
    with pytest.raises(TrainError, match=r"a go 0\.30"):
        check_motion(dataset_of(len(state)), of_blocks((block(*"pqrs"),), blocks), *wide, 1)
    turned = [np.hstack([v[:, :1], still]) for v in (state, action)]
    check_motion(dataset_of(len(state)), of_blocks((block(*"pqrs"),), blocks), *turned, 1)


@pytest.mark.parametrize("width", [2, 3, 5])
def test_what_counts_from_the_state_of_its_row_is_summed_up_whatever_else_the_state_holds(width):
    """An angle that goes over the seam and follows at once, a way that is followed by half, and a number that is as it is.

    Offsets of the angle are 0.1, 0.05 and 0.12 from 3 rad on, of the way 0.4, 0.3 and 0.1 from 0 on.
    """
    over = 2 * math.pi
    blocks = (
        block("a", delta=Delta.CURRENT, follows=1.0),
        block("b", delta=Delta.CURRENT, follows=0.5),
        block("c", delta=Delta.START),
    )
    names = "abcde"[:width]
    adapter = of_blocks(tuple(block(n, wrap=-math.pi if n == "a" else None) for n in names), blocks)
    states = np.full((1, 3, width), 40.0)
    states[0, :, 0], states[0, :, 1] = [3.0, 3.2 - over, 3.3 - over], [0.0, 0.2, 0.5]
    rows = np.stack([[3.1, 3.25 - over, 3.42 - over], [0.4, 0.5, 0.6], [7.0, 8.0, 9.0]], axis=-1)[None]
    found = planned_rows(adapter, rows, states)
    np.testing.assert_allclose(found[0, :, 0], [3.1, 3.15, 3.27], atol=1e-9)
    np.testing.assert_allclose(found[0, :, 1], [0.4, 0.5, 0.45], atol=1e-9)
    np.testing.assert_allclose(found[0, :, 2], [7.0, 8.0, 9.0], atol=1e-9)
    plain = of_blocks(adapter.state, tuple(block(n, delta=Delta.START) for n in "abc"))
    np.testing.assert_allclose(planned_rows(plain, rows, states)[0, :, 0], [3.1, 3.25, 3.42], atol=1e-9)

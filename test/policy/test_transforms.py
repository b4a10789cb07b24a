import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi0_ros.policy import PolicyError, load_adapter, transforms
from pi0_ros.policy.adapter_vectors import actions_from_model, actions_to_model, state_to_model
from pi0_ros.policy.normalize import Normalizer, read_norm_stats


def test_masks_are_written_as_run_lengths(golden):
    assert list(transforms.mask_of(6, -1, 6, -1)) == golden("transforms")["mask_6_-1_6_-1"].tolist()


def test_offsets_and_absolute_actions_equal_openpis(golden):
    io = golden("transforms")
    mask = transforms.mask_of(6, -1, 6, -1)
    np.testing.assert_array_equal(transforms.delta(io["x.actions"], io["x.state"], mask), io["delta.actions"])
    np.testing.assert_array_equal(transforms.absolute(io["x.actions"], io["x.state"], mask), io["absolute.actions"])
    short = transforms.delta(io["x.actions32"], io["x.state32"], transforms.mask_of(7, -1))
    np.testing.assert_array_equal(short, io["delta7.actions32"])


def test_padding_equals_openpis_and_never_cuts(golden):
    io = golden("transforms")
    np.testing.assert_array_equal(transforms.pad(io["x.actions"], 32), io["pad32.actions"])
    np.testing.assert_array_equal(transforms.pad(io["x.state"], 32), io["pad32.state"])
    assert transforms.pad(np.ones(5), 3).shape == (5,)


def aloha(values, gripper):
    """Aloha's 14 dimensions with openpi's joint directions, and `gripper` applied to dimensions 6 and 13."""
    found = values[..., :14] * np.array((1, -1, -1, 1, 1, 1, 1) * 2)
    found[..., [6, 13]] = gripper(found[..., [6, 13]])
    return found


def test_aloha_arithmetic_equals_openpis_also_at_its_edges(golden):
    io = golden("transforms")
    pairs = {
        "in.state": aloha(io["aloha.state"], transforms.aloha_gripper_to_model),
        "in.state_edge": aloha(io["aloha.state_edge"], transforms.aloha_gripper_to_model),
        "in.actions": aloha(io["aloha.actions"], transforms.aloha_gripper_action_to_model),
        "out.actions": aloha(io["aloha.model_actions"], transforms.aloha_gripper_from_model),
    }
    for key, found in pairs.items():
        np.testing.assert_allclose(found, io[f"aloha.adapt_true.{key}"], rtol=0, atol=1e-12)


def test_the_aloha_yaml_does_the_same_arithmetic_by_name(golden):
    io, aloha = golden("transforms"), load_adapter("aloha")
    names = aloha.state_channels
    state = dict(zip(names, io["aloha.state"], strict=True))
    np.testing.assert_allclose(state_to_model(aloha, state), io["aloha.adapt_true.in.state"], atol=1e-12)
    shuffled = np.random.default_rng(0).permutation(14)
    found = actions_to_model(aloha, io["aloha.actions"][:, shuffled], [names[i] for i in shuffled])
    np.testing.assert_allclose(found, io["aloha.adapt_true.in.actions"], atol=1e-12)
    found = actions_from_model(aloha, io["aloha.model_actions"])
    np.testing.assert_allclose(found, io["aloha.adapt_true.out.actions"], atol=1e-12)


def test_a_gripper_beyond_what_its_crank_reaches_is_at_a_quarter_turn():
    """Beyond -1 .. 1 an angle has no sine: half a turn apart, on the scale from 0.5476 to 1.6296 rad."""
    found = transforms.aloha_gripper_to_model([-0.2, 1.2])
    np.testing.assert_allclose(found, [(a - 0.5476) / (1.6296 - 0.5476) for a in (-np.pi / 2, np.pi / 2)])


def test_aloha_arithmetic_of_commands_is_a_line_and_back():
    """0.5476 more, then -0.6213 is closed and 1.4910 open."""
    np.testing.assert_allclose(
        transforms.aloha_gripper_from_model([-1.1689, 0.9434, -0.1]), [0, 1, (0.4476 + 0.6213) / 2.1123], atol=1e-12
    )
    np.testing.assert_allclose(transforms.aloha_gripper_action_to_model([0.0, 1.0]), [-1.1689, 0.9434])


@pytest.mark.parametrize("name", ["droid", "libero"])
def test_droid_and_libero_vectors_pass_in_openpis_order(golden, name):
    io, adapter = golden("transforms"), load_adapter(name)
    kept = io[f"{name}.out.actions"]
    assert kept.shape[1] == len(adapter.action_channels)
    np.testing.assert_array_equal(kept, io[f"{name}.model_actions"][:, : kept.shape[1]])
    assert len(adapter.state_channels) == io[f"{name}.pi05.in.state"].size
    masks = {slot: bool(io[f"{name}.pi05.in.image_mask.{slot}"][0]) for slot in adapter.cameras}
    assert masks == {slot: camera is not None for slot, camera in adapter.cameras.items()}


def test_droid_fast_has_other_slots_and_a_black_picture_that_counts(golden):
    io, adapter = golden("transforms"), load_adapter("droid_fast")
    for slot, camera in adapter.cameras.items():
        assert bool(io[f"droid.pi0_fast.in.image_mask.{slot}"][0])
        assert (camera is None) == (not io[f"droid.pi0_fast.in.image.{slot}"].any())
    assert adapter.missing == "black"


@pytest.mark.parametrize("method", ["zscore", "quantile"])
def test_the_whole_aloha_chain_equals_openpis_in_both_directions(golden, method):
    io, stats, aloha = golden("transforms"), read_norm_stats(golden.folder("transforms")), load_adapter("aloha")
    norm = {key: Normalizer(f"openpi_{method}", stats[key]) for key in ("state", "actions")}
    state = state_to_model(aloha, dict(zip(aloha.state_channels, io["aloha.state"], strict=True)))
    actions = actions_to_model(aloha, io["aloha.actions"], aloha.action_channels)
    offsets = transforms.delta(actions, state, aloha.delta_mask)
    packed_state = transforms.pad(norm["state"].forward(state), 32)
    packed = transforms.pad(norm["actions"].forward(offsets), 32)
    np.testing.assert_allclose(packed_state, io[f"chain.{method}.in.state"], atol=2e-5)
    np.testing.assert_allclose(packed, io[f"chain.{method}.in.actions"], atol=2e-5)
    back = norm["actions"].inverse(io[f"chain.{method}.in.actions"] + 0.01)
    back_state = norm["state"].inverse(io[f"chain.{method}.in.state"])
    found = actions_from_model(aloha, transforms.absolute(back, back_state, aloha.delta_mask))
    np.testing.assert_allclose(found, io[f"chain.{method}.out.actions"], atol=2e-5)


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_absolute_undoes_offsets_for_any_mask(size, seed):
    rng = np.random.default_rng(seed)
    actions, state, mask = rng.normal(size=(5, size)), rng.normal(size=size + 2), rng.random(size) < 0.5
    before = actions.copy()
    back = transforms.absolute(transforms.delta(actions, state, mask), state, mask)
    np.testing.assert_allclose(back, actions, atol=1e-12)
    np.testing.assert_array_equal(actions, before)


def test_a_state_shorter_than_the_mask_is_refused():
    with pytest.raises(PolicyError, match="state has 2"):
        transforms.delta(np.zeros((3, 4)), np.zeros(2), [True] * 3)


def test_actions_of_which_none_is_an_offset_need_no_state():
    actions = np.arange(6.0).reshape(3, 2)
    for mask in ((False, False), ()):
        for apply in (transforms.delta, transforms.absolute):
            np.testing.assert_array_equal(apply(actions, np.zeros(0), mask), actions)
    found = transforms.delta(actions, [10.0, 20.0, 30.0], (True,))
    np.testing.assert_array_equal(found, actions - [10.0, 0.0])
    with pytest.raises(PolicyError, match="covers 2 dimensions, the state has 3, the actions 1"):
        transforms.delta(np.zeros((3, 1)), np.zeros(3), (False, True))


@pytest.mark.parametrize("high", [True, False])
def test_a_gripper_changes_sides_where_it_is_beyond_the_threshold_by_half_of_the_hysteresis(high):
    for value, side in ((0.61, True), (0.59, high), (0.41, high), (0.39, False)):
        assert transforms.binarise([value], 0.5, 0.2, high).tolist() == [side]
    found = transforms.binarise([0.45, 0.55, 0.62, 0.45, 0.38, 0.55], 0.5, 0.2, high)
    assert found.tolist() == [high, high, True, True, False, False]


def test_steps_are_from_where_the_robot_will_be_at_each_row_and_whole_numbers_stay_whole():
    """next = state + share * (row - state), by hand: the first dimension goes all of the way, the second half of it."""
    rows, state = np.array([[1.0, 2.0, 7.0], [4.0, 3.0, 8.0], [5.0, 7.0, 9.0]]), np.array([0.5, 1.0, 100.0])
    at, wanted = state.copy(), rows.copy()
    for k, row in enumerate(rows):
        wanted[k, :2] = row[:2] - at[:2]
        at[:2] += np.array([1.0, 0.5]) * (row - at)[:2]
    found = transforms.step_delta(rows, state, (1.0, 0.5, 0.0))
    np.testing.assert_allclose(found, wanted)
    np.testing.assert_allclose(transforms.step_absolute(found, state, (1.0, 0.5, 0.0)), rows)
    batch = np.stack([rows, rows[::-1]])
    both = transforms.step_delta(batch, np.stack([state, state]), (1.0, 0.5, 0.0))
    np.testing.assert_allclose(both[0], wanted)
    np.testing.assert_allclose(transforms.step_absolute(both, np.stack([state, state]), (1.0, 0.5, 0.0)), batch)
    assert transforms.step_delta(rows.astype(np.float32), state, (1.0,)).dtype == np.float32

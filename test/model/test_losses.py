"""What the mean of a flow loss counts, by a few lines of numpy, and where flow times lie."""

import numpy as np
import pytest
import torch

from pi0_ros.model.losses import FlowTargets, delayed_times, flow_mean, flow_times

LOSS = torch.tensor(np.random.default_rng(3).uniform(0.1, 2.0, (3, 4, 5)))
DRAWS = torch.tensor(np.random.default_rng(4).uniform(0.1, 2.0, (3, 2, 4, 5)))
WEIGHT = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("dims", [None, 2, 5])
def test_without_weights_every_row_counts_and_of_it_the_first_dimensions(dims):
    for loss in (LOSS, DRAWS):
        assert flow_mean(loss, None, dims).item() == pytest.approx(loss.numpy()[..., :dims].mean())


def test_rows_of_no_weight_do_not_count_and_one_weight_is_for_all_draws():
    rows = LOSS.numpy()[..., :3].mean(-1)
    kept = WEIGHT.numpy() > 0
    assert flow_mean(LOSS, WEIGHT, 3).item() == pytest.approx(rows[kept].mean())
    rows = DRAWS.numpy().mean(-1)
    assert flow_mean(DRAWS, WEIGHT).item() == pytest.approx(rows[np.repeat(kept[:, None], 2, 1)].mean())
    each = torch.stack([WEIGHT, WEIGHT.flip(1)], dim=1)
    assert flow_mean(DRAWS, each).item() == pytest.approx(rows[each.numpy() > 0].mean())
    assert flow_mean(LOSS, torch.zeros(3, 4, dtype=torch.float64)).item() == 0.0
    alone = torch.zeros(3, 4, dtype=torch.float64)
    alone[1, 2] = 1.0
    assert flow_mean(LOSS, alone).item() == pytest.approx(LOSS.numpy()[1, 2].mean())


def test_each_robot_of_a_batch_has_its_own_dimensions():
    dims = torch.tensor([2, 5, 3])
    for loss in (LOSS, DRAWS):
        each = np.stack([loss.numpy()[b][..., :d].mean(-1) for b, d in enumerate(dims.tolist())])
        assert flow_mean(loss, None, dims).item() == pytest.approx(each.mean())
        kept = WEIGHT.numpy() if loss is LOSS else np.repeat(WEIGHT.numpy()[:, None], 2, 1)
        assert flow_mean(loss, WEIGHT, dims).item() == pytest.approx(each[kept > 0].mean())
    short = np.stack([np.zeros(4), LOSS.numpy()[1, :, 0], LOSS.numpy()[2, :, :2].mean(-1)])
    found = flow_mean(LOSS, None, torch.tensor([0, 1, 2])).item()
    assert found == pytest.approx(short.mean()), "one of no dimension is 0, and one of one is that number"


def test_times_lie_between_a_thousandth_and_one_and_most_of_them_are_late():
    """Beta(1.5, 1): half of it is below 0.5 ** (1 / 1.5)."""
    found = flow_times(torch.tensor([0.0, 0.5, 1.0]))
    assert found.tolist() == pytest.approx([0.001, 0.001 + 0.999 * 0.5 ** (2.0 / 3.0), 1.0])


def test_given_rows_are_at_time_0_and_count_for_nothing():
    t, delay = torch.tensor([0.4, 0.9]), torch.tensor([0, 3])
    times, weight = delayed_times(t, delay, 4)
    torch.testing.assert_close(times, torch.tensor([[0.4] * 4, [0.0, 0.0, 0.0, 0.9]]))
    assert weight.tolist() == [[1.0] * 4, [0.0, 0.0, 0.0, 1.0]] and weight.dtype == t.dtype


def test_targets_go_to_a_device_as_a_whole():
    on = FlowTargets(LOSS, LOSS, torch.zeros(3), WEIGHT, torch.tensor([1, 2, 3])).to("meta")
    assert {t.device.type for t in (on.actions, on.noise, on.t, on.weight, on.dims)} == {"meta"}
    plain = FlowTargets(LOSS, LOSS, torch.zeros(3), None, 4).to("meta")
    assert plain.weight is None and plain.dims == 4 and plain.t.device.type == "meta"

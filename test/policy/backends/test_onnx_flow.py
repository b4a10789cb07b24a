"""How a running plan has its say in a new one, by hand."""

import numpy as np
import pytest

from pi0_ros.policy.backend import NormalisedPrefix
from pi0_ros.policy.backends.onnx_flow import continued


@pytest.mark.parametrize(
    ("delay", "execution", "weights"),
    [
        (2, 5, [1, 1, 0.75, 0.5, 0.25, 0]),
        (0, 3, [0.75, 0.5, 0.25, 0, 0, 0]),
        (3, 3, [1, 1, 1, 0, 0, 0]),
        (5, 9, [1, 1, 1, 1, 0, 0]),  # the plan has four rows
    ],
)
def test_rows_that_will_have_run_count_whole_and_the_others_less_and_less(delay, execution, weights):
    values = np.arange(12.0).reshape(4, 3) if execution == 9 else np.arange(18.0).reshape(6, 3)
    previous, found = continued(NormalisedPrefix(values, delay, execution, "guided"), (1, 6, 2))
    np.testing.assert_allclose(found[:, 0], weights)
    expected = np.zeros((6, 2))
    expected[: len(values)] = values[:6, :2]
    assert found.dtype == previous.dtype == np.float32 and previous[0].tolist() == expected.tolist()

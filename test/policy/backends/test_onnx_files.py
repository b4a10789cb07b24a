"""Which graphs a kind of network needs in its folder."""

import pytest

from pi0_ros.policy import PolicyError
from pi0_ros.policy.backends.onnx_files import check_graphs


@pytest.mark.parametrize(
    ("kind", "needs"),
    [("pi0", "vision prefix step"), ("pi05", "vision prefix step word"), ("pi0_fast", "vision prefix word")],
)
def test_a_kind_of_network_needs_its_own_graphs_and_the_first_that_is_missing_is_named(tmp_path, kind, needs):
    graphs = tmp_path / "onnx"
    graphs.mkdir()
    for name in needs.split():
        (graphs / f"{name}.onnx.data").write_bytes(b"")  # the weights beside a graph are none
        with pytest.raises(PolicyError, match=rf"{graphs}/{name}\.onnx is missing; .* `pi0 export {tmp_path}`"):
            check_graphs(graphs, kind)
        (graphs / f"{name}.onnx").write_bytes(b"")
    check_graphs(graphs, kind)

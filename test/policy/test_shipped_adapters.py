"""Shipped adapters against openpi's training configurations of the checkpoints they name (commit 15a9616)."""

import pytest

from pi0_ros.policy import load_adapter
from pi0_ros.policy.adapter_reading import adapter_from, adapter_names
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.robot.yaml_nodes import read_yaml

ARMS = (True,) * 6 + (False,) + (True,) * 6 + (False,)
NONE, JOINTS = (False,) * 8, (True,) * 7 + (False,)
HAND, LIBERO = (True,) * 6 + (False,), (False,) * 7
TRI = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
FAST_DROID = ("base_0_rgb", "base_1_rgb", "wrist_0_rgb")

# Configuration, adapter, kind, action_horizon, mask of DeltaActions, use_quantile_norm, picture slots, mask of padding
# images, discrete_state_input, asset_id.
RELEASED = [
    ("pi0_aloha", "aloha", "pi0", 50, ARMS, "zscore", TRI, "masked", None, "trossen"),
    ("pi05_aloha", "aloha", "pi05", 50, ARMS, "quantile", TRI, "masked", True, "trossen"),
    ("pi0_droid", "droid", "pi0", 10, NONE, "zscore", TRI, "masked", None, "droid"),
    ("pi05_droid", "droid", "pi05", 15, NONE, "quantile", TRI, "masked", True, "droid"),
    ("pi0_fast_droid", "droid_fast", "pi0_fast", 10, NONE, "quantile", FAST_DROID, "black", True, "droid"),
    ("pi0_droid_jointpos_polaris", "droid_joint_position", "pi0", 10, JOINTS, "zscore", TRI, "masked", None, "droid"),
    ("pi05_droid_jointpos_polaris", "droid_joint_position", "pi05", 15, JOINTS, "quantile", TRI, "masked", True, "droid"),
    ("pi05_libero", "libero", "pi05", 10, LIBERO, "quantile", TRI, "masked", False, "physical-intelligence/libero"),
    ("pi0_libero", "libero_delta", "pi0", 50, HAND, "zscore", TRI, "masked", None, "physical-intelligence/libero"),
    ("pi0_fast_libero", "libero_fast", "pi0_fast", 10, HAND, "zscore", TRI, "black", True, "physical-intelligence/libero"),
]  # fmt: skip


@pytest.mark.parametrize("released", RELEASED, ids=lambda row: row[0])
def test_a_shipped_adapter_says_what_its_checkpoint_was_trained_with(released):
    _, name, kind, rows, mask, method, slots, missing, state, asset = released
    adapter = load_adapter(name)
    assert adapter.rows(kind) == rows
    assert adapter.delta_mask == mask
    assert (adapter.normalisation or ("zscore" if kind == "pi0" else "quantile")) == method
    assert tuple(adapter.cameras) == slots and adapter.missing == missing
    assert state is None or (adapter.prompt or {}).get("state", True) is state
    assert adapter.asset == asset


def test_the_table_knows_every_shipped_adapter():
    ours = {"mobile_bimanual", "mobile_bimanual_chores", "mobile_manipulator", "aloha_plain", "ur5e"}
    assert set(adapter_names()) == {row[1] for row in RELEASED} | ours


def test_rows_by_kind_survive_being_saved_in_a_checkpoint(tmp_path):
    import json

    file = tmp_path / "policy.json"
    file.write_text(json.dumps(adapter_to_dict(load_adapter("droid"))))
    again = adapter_from(read_yaml(file))
    assert (again.rows("pi0"), again.rows("pi05"), again.rows("pi0_fast")) == (10, 15, 0)

"""The habits of the projects that checkpoints come from, and what cannot be one."""

import pytest

from pi0_ros.model.conventions import Conventions, conventions_for, pads_state, recorded_conventions
from pi0_ros.model.errors import CheckpointError

HABITS = {"resampler": "pil", "dialect": "openpi", "state_norm": "openpi_zscore", "action_norm": "identity"}


@pytest.mark.parametrize(
    ("values", "good"),
    [
        ({}, True), ({"resampler": "cv2"}, False), ({"dialect": "jax"}, False), ({"state_norm": "zscore"}, False),
        ({"pad_state_to": 4096}, True), ({"pad_state_to": 4097}, False), ({"pad_state_to": -1}, False), ({"pad_state_to": 32.0}, False),
        ({"absolute_joints": ("a",) * 4096}, True), ({"absolute_joints": ("a",) * 4097}, False), ({"absolute_joints": (1,)}, False),
        ({"absolute_joints": ["a"]}, False), ({"relative_mask": (True, False)}, True), ({"relative_mask": (1,)}, False),
    ],
)  # fmt: skip
def test_habits_are_those_that_there_are(values, good):
    if good:
        assert vars(Conventions(**(HABITS | values))).items() >= values.items()
    else:
        with pytest.raises(ValueError, match=next(iter(values))):
            Conventions(**(HABITS | values))


def test_who_says_no_more_pads_nothing_and_acts_absolutely():
    plain = Conventions(**HABITS)
    assert (plain.pad_state_to, plain.relative_actions, plain.absolute_joints, plain.relative_mask) == (
        0,
        False,
        (),
        (),
    )


@pytest.mark.parametrize(
    ("version", "pads"), [("0.4.0", True), ("v0.4.4", True), ("0.4", True), ("0.5.1", False), ("0.3.4", False), ("1.4.0", False), ("0.40.1", False), (None, False)]
)  # fmt: skip
def test_lerobot_pads_the_state_in_one_release_alone(version, pads):
    assert pads_state(version) is pads


@pytest.mark.parametrize(
    ("kind", "norm"), [("pi0", "openpi_zscore"), ("pi05", "openpi_quantile"), ("pi0_fast", "openpi_quantile")]
)
@pytest.mark.parametrize("origin", ["openpi", "openpi_jax", "pi0_ros"])
def test_openpis_habits_and_ours(origin, kind, norm):
    assert conventions_for(origin, kind, {"use_relative_actions": True}, "0.4.1") == Conventions(
        "pil", "openpi", norm, norm
    )


@pytest.mark.parametrize(
    ("kind", "config", "version", "expected"),
    [
        ("pi0", {}, "0.4.1", ("lerobot_mean_std", "lerobot_mean_std", 0, False, ("gripper",))),
        ("pi05", {}, None, ("lerobot_quantiles", "lerobot_quantiles", 0, False, ("gripper",))),
        ("pi05", {}, "0.4.1", ("lerobot_quantiles", "lerobot_quantiles", 32, False, ("gripper",))),
        ("pi05", {"max_state_dim": 14}, "0.4.1", ("lerobot_quantiles", "lerobot_quantiles", 14, False, ("gripper",))),
        ("pi0_fast", {"use_relative_actions": True, "relative_exclude_joints": ["hand", 3]}, "0.4.1",
         ("lerobot_mean_std", "lerobot_mean_std", 0, True, ("hand", "3"))),
        ("pi0", {"normalization_mapping": {"STATE": "MIN_MAX", "ACTION": "IDENTITY"}}, None,
         ("lerobot_min_max", "identity", 0, False, ("gripper",))),
        ("pi05", {"normalization_mapping": {"ACTION": "QUANTILE10", "STATE": "ODD"}, "relative_exclude_joints": []}, None,
         ("lerobot_quantiles", "lerobot_quantile10", 0, False, ())),
        ("pi0", {"normalization_mapping": "MIN_MAX"}, None, ("lerobot_mean_std", "lerobot_mean_std", 0, False, ("gripper",))),
    ],
)  # fmt: skip
def test_lerobots_habits_are_what_its_config_records(kind, config, version, expected):
    found = conventions_for("lerobot", kind, config, version)
    assert (found.resampler, found.dialect) == ("torch", "lerobot")
    assert (
        found.state_norm,
        found.action_norm,
        found.pad_state_to,
        found.relative_actions,
        found.absolute_joints,
    ) == expected


def test_recorded_habits_are_read_back_and_damaged_ones_are_refused():
    assert recorded_conventions(HABITS | {"relative_mask": [True, False]}, "pi0").relative_mask == (True, False)
    assert recorded_conventions(None, "pi05") == conventions_for("openpi", "pi05", {})
    for wrong in ({"resampler": "cv2"}, {"colour": 1}, {"pad_state_to": "x"}):
        with pytest.raises(CheckpointError, match="'conventions' is malformed"):
            recorded_conventions(HABITS | wrong, "pi0")

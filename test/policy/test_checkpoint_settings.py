"""What a checkpoint's files and a policy YAML settle between them, one setting at a time."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pi0_ros.policy.checkpoint import _asset_file, _check_sizes, _check_vectors, _methods, _offsets, _picture_slots
from pi0_ros.policy.errors import PolicyError

FILE = Path("arm.yaml")


def checkpoint(**settings: object) -> SimpleNamespace:
    config = SimpleNamespace(kind="pi05", action_dim=8)
    return SimpleNamespace(origin="openpi", folder=Path("weights"), config=config, settings=settings)


def adapter(**values: object) -> SimpleNamespace:
    usual = {"file": FILE, "normalisation": None, "delta_mask": (False, False), "action_channels": ("lift", "grip")}
    return SimpleNamespace(**{**usual, "state_channels": ("lift", "grip", "turn"), **values})


@pytest.mark.parametrize(
    ("word", "fixed", "values", "source"),
    [
        (None, False, ("openpi_zscore", "openpi_quantile"), "as openpi does for pi05"),
        ("zscore", False, ("openpi_zscore", "openpi_zscore"), "arm.yaml"),
        ("quantile", False, ("openpi_quantile", "openpi_quantile"), "arm.yaml"),
        (None, True, ("openpi_zscore", "openpi_quantile"), "the checkpoint's files"),
    ],
)
def test_state_and_actions_have_each_their_normalisation(word, fixed, values, source):
    state, actions = _methods(checkpoint(), adapter(normalisation=word), ("openpi_zscore", "openpi_quantile"), fixed)
    assert (state.value, actions.value) == values
    assert (state.key, actions.key) == ("normalisation of state", "normalisation of actions")
    assert state.source == actions.source == source


def test_without_an_adapter_the_checkpoint_has_the_word():
    state, actions = _methods(checkpoint(), None, ("lerobot_quantiles", "lerobot_mean_std"), False)
    assert (state.value, actions.value) == ("lerobot_quantiles", "lerobot_mean_std")


@pytest.mark.parametrize(
    ("word", "own", "key"),
    [
        ("zscore", ("lerobot_mean_std", "lerobot_quantiles"), "actions"),
        ("quantile", ("lerobot_mean_std", "lerobot_quantiles"), "state"),
        ("zscore", ("identity", "lerobot_mean_std"), "state"),
    ],
)
def test_an_adapter_has_to_agree_with_fixed_files_and_the_way_out_is_said(word, own, key):
    with pytest.raises(
        PolicyError, match=rf"normalisation of {key}: the checkpoint's files says .*arm\.yaml says"
    ) as e:
        _methods(checkpoint(), adapter(normalisation=word), own, True)
    assert str(e.value).endswith(
        "the statistics were made for the checkpoint's; correct or remove it in the policy YAML"
    )


@pytest.mark.parametrize(("word", "method"), [("zscore", "lerobot_mean_std"), ("quantile", "lerobot_quantiles")])
def test_an_adapter_that_agrees_leaves_the_checkpoints_own_method(word, method):
    for setting in _methods(checkpoint(), adapter(normalisation=word), (method, method), True):
        assert (setting.value, setting.source) == (method, "the checkpoint's files")


def test_offsets_are_the_checkpoints_then_the_adapters_then_none():
    both = adapter(delta_mask=(True, False))
    found = [
        _offsets(adapter(), (True, False), "config.json"),
        _offsets(None, (False, True), "config.json"),
        _offsets(both, None, "config.json"),
        _offsets(adapter(), None, "config.json"),
        _offsets(None, None, "config.json"),
        _offsets(both, (True, False), "config.json"),
    ]
    assert [(s.key, s.value, s.source) for s in found] == [
        ("offsets", (True, False), "config.json"),
        ("offsets", (False, True), "config.json"),
        ("offsets", (True, False), "arm.yaml"),
        ("offsets", (), "none are"),
        ("offsets", (), "none are"),
        ("offsets", (True, False), "config.json"),
    ]


def test_offsets_that_differ_are_refused_with_the_dimensions_named():
    with pytest.raises(PolicyError, match=r"^offsets: config\.json says .*dimensions are those of lift, grip; correct"):
        _offsets(adapter(delta_mask=(True, False)), (False, True), "config.json")


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        ({}, 0),
        ({"input_features": ["observation.images.top"]}, 0),
        ({"input_features": {"a": {"type": "VISUAL"}, "b": {"type": "STATE"}, "c": "VISUAL"}}, 1),
        ({"input_features": {"a": {"type": "VISUAL"}}, "empty_cameras": 2}, 3),
        ({"input_features": {"observation.images.empty_camera_0": {"type": "VISUAL"}}, "empty_cameras": 2}, 2),
        ({"empty_cameras": 64}, 64),
        ({"empty_cameras": 65}, 0),
        ({"empty_cameras": 0}, 0),
        ({"empty_cameras": -1}, 0),
        ({"empty_cameras": "2"}, 0),
    ],
)
def test_pictures_are_the_visual_features_and_empty_cameras_not_among_them(settings, slots):
    assert _picture_slots(checkpoint(**settings)) == slots


def norm(size: int, method: str = "openpi_zscore") -> SimpleNamespace:
    return SimpleNamespace(method=method, statistics=SimpleNamespace(size=size, mean=np.zeros(size)))


@pytest.mark.parametrize(
    ("state", "actions", "sentence"),
    [
        (norm(3), norm(2), None),
        (norm(9), norm(8), None),  # wider than the robot, as wide as the network
        (norm(2), norm(2), r"statistics of state have 2 dimensions, arm\.yaml has 3; they belong to different robots"),
        (norm(3), norm(1), r"statistics of actions have 1 dimensions, arm\.yaml has 2; they belong"),
        (norm(2, "identity"), norm(2), None),
        (norm(3), norm(9), r"statistics of actions have 9 dimensions, the network 8"),
    ],
)
def test_statistics_are_as_wide_as_the_robot_and_no_wider_than_the_network(state, actions, sentence):
    pipeline = SimpleNamespace(state_norm=state, action_norm=actions)
    _check_sizes(checkpoint(), pipeline, None)
    if sentence is None:
        _check_sizes(checkpoint(), pipeline, adapter())
    else:
        with pytest.raises(PolicyError, match=sentence):
            _check_sizes(checkpoint(), pipeline, adapter())


@pytest.mark.parametrize(
    ("state", "actions", "names", "sentence"),
    [
        (3, 2, (), None),
        (0, 0, (), None),  # nothing is said
        (3, 2, ("lift.pos", "grip.pos"), None),
        (3, 2, ("a", "b"), None),  # other names are no other order
        (2, 2, ("lift", "grip"), r"the checkpoint has 2 state, arm\.yaml has 3 \(lift, grip, turn\); every number"),
        (3, 3, ("a", "b", "c"), r"the checkpoint has 3 actions \(a, b, c\), arm\.yaml has 2 \(lift, grip\); every"),
        (3, 1, (), r"the checkpoint has 1 actions, arm\.yaml has 2"),
        (3, 2, ("grip.pos", "lift.pos"), r"actions are grip, lift, arm\.yaml has them in another order: lift, grip"),
    ],
)
def test_the_robots_channels_are_those_of_the_checkpoint_in_its_order(state, actions, names, sentence):
    _check_vectors(checkpoint(), None, state, actions, names)
    if sentence is None:
        _check_vectors(checkpoint(), adapter(), state, actions, names)
    else:
        with pytest.raises(PolicyError, match=sentence):
            _check_vectors(checkpoint(), adapter(), state, actions, names)


def test_the_asset_chosen_comes_before_the_adapters_and_that_before_the_only_one(tmp_path):
    for name in ("left", "right"):
        (tmp_path / "assets" / name).mkdir(parents=True)
        (tmp_path / "assets" / name / "norm_stats.json").write_text("{}")
    assert _asset_file(tmp_path, "left", "right").parent.name == "left"
    assert _asset_file(tmp_path, "", "right").parent.name == "right"
    with pytest.raises(PolicyError):
        _asset_file(tmp_path, "", "middle")  # two are there, neither is preferred
    (tmp_path / "assets" / "right" / "norm_stats.json").unlink()
    assert _asset_file(tmp_path, "", "right").parent.name == "left"

"""State and action of a recorded dataset by the names of their dimensions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy.adapter import RecordedKeys
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.train.errors import TrainError
from pi0_ros.train.recorded_vectors import model_vectors, names_of, unusable

ADAPTER = load_adapter("mobile_bimanual")
CHANNELS = list(ADAPTER.state_channels)


class Recorded:
    """Two frames; column k of feature f is 100 f + k, and half more in the second frame."""

    folder = Path("mine")

    def __init__(self, **features):
        self.features, self._columns = {}, {}
        for number, (key, given) in enumerate(features.items()):
            names, width = given if isinstance(given, tuple) else (given, len(given))
            key = key.replace("__", ".")
            self.features[key] = {"dtype": "float32", "shape": [width], "names": names}
            row = 100.0 * number + np.arange(width)
            self._columns[key] = np.stack([row, row + 0.5]).astype(np.float32)
        self.features["observation.state.picture"] = {"dtype": "video", "shape": [4, 4, 3], "names": None}
        self.features["task"] = {"dtype": "string", "shape": [1], "names": None}

    def __len__(self):
        return 2

    def column(self, key):
        return self._columns[key]


def shuffled(seed: int, *more: str) -> list[str]:
    return [str(n) for n in np.random.default_rng(seed).permutation([*CHANNELS, *more])]


def test_each_channel_is_found_by_its_name_wherever_it_stands():
    states, actions = shuffled(1, "battery"), shuffled(2, "lamp", "horn")
    state, action = model_vectors(Recorded(observation__state=states, action=actions), ADAPTER)
    assert state.dtype == action.dtype == np.float64
    np.testing.assert_allclose(state[0], [states.index(c) for c in CHANNELS])
    np.testing.assert_allclose(action[1], [100.5 + actions.index(c) for c in ADAPTER.action_channels])


def test_keys_of_the_policy_yaml_are_joined_in_their_order_and_its_names_go_before_the_files():
    first, second = CHANNELS[:11], CHANNELS[11:]
    dataset = Recorded(arms=(None, 11), base=(["?"] * 7, 7), action=CHANNELS)
    keys = RecordedKeys(state=("base", "arms"), state_names=(*second, *first))
    state, _ = model_vectors(dataset, replace(ADAPTER, dataset=keys))
    np.testing.assert_allclose(state[0], [*np.arange(11), *(100 + np.arange(7))])


def test_parts_stand_for_a_key_that_is_not_there_without_pictures():
    dataset = Recorded(observation__state__arm=CHANNELS[:11], observation__state__base=CHANNELS[11:], action=CHANNELS)
    state, _ = model_vectors(dataset, ADAPTER)
    np.testing.assert_allclose(state[1], [*(np.arange(11) + 0.5), *(100.5 + np.arange(7))])


@pytest.mark.parametrize(
    ("features", "match"),
    [
        ({"observation__state": CHANNELS[1:], "action": CHANNELS}, f"mine: no channel {CHANNELS[0]}; its states"),
        ({"observation__state": CHANNELS, "action": CHANNELS[:-1]}, f"mine: no channel {CHANNELS[-1]}; its states"),
        ({"observation__state": ([], 18), "action": CHANNELS}, "the joint of each number is unknown"),
        ({"observation__state": ([], 17), "action": CHANNELS}, "0 names for 17 numbers"),
        ({"observation__state": ([*CHANNELS, "x"], 18), "action": CHANNELS}, "19 names for 18 numbers"),
        (
            {"observation__state": [*CHANNELS[:-1], CHANNELS[3]], "action": CHANNELS},
            f"{CHANNELS[3]} is at 3, 17; give each",
        ),
        ({"state": CHANNELS, "action": CHANNELS}, r"mine: no feature 'observation.state'; it has state, action\."),
        ({"observation__state": CHANNELS}, r"mine: no feature 'action'; it has observation.state\."),
    ],
)
def test_what_cannot_be_told_apart_is_refused_by_name(features, match):
    with pytest.raises(TrainError, match=match):
        model_vectors(Recorded(**features), ADAPTER)


def test_two_dimensions_of_one_name_are_no_harm_if_the_robot_has_none_of_it():
    names = [*CHANNELS, "pad", "pad"]
    state, _ = model_vectors(Recorded(observation__state=names, action=CHANNELS), ADAPTER)
    np.testing.assert_allclose(state[0], np.arange(18))


@pytest.mark.parametrize(
    ("names", "shape", "found"),
    [
        (["a", "b"], [2], ["a", "b"]),
        ({"motors": ["a", "b"]}, [2], ["a", "b"]),
        ({}, [2], []),
        (None, [2], []),
        (["state"], [2], []),
        (["state"], [1], ["state"]),
        (["a", "b"], [3], ["a", "b"]),
        ([1, 2], [2], ["1", "2"]),
        (["a", "b", "c", "d", "e", "f"], [2, 3], ["a", "b", "c", "d", "e", "f"]),
        ("ab", [2], []),
    ],
)
def test_names_are_those_of_the_file_if_there_are_as_many_or_several(names, shape, found):
    features = {"k": {"names": names, "shape": shape, "dtype": "float32"}}
    assert names_of(SimpleNamespace(features=features), "k") == found


def test_a_value_that_is_no_number_is_told_by_frame_and_by_its_first_channel():
    adapter = SimpleNamespace(state_channels=("a", "b", "c"), action_channels=("d", "e"))
    state, action = np.zeros((4, 3)), np.zeros((4, 2))
    bad, what = unusable(state, action, adapter)
    assert bad.tolist() == [False] * 4 and what == ""
    action[2, 1] = np.inf
    bad, what = unusable(state, action, adapter)
    assert bad.tolist() == [False, False, True, False] and what == "action of e"
    state[3, 0] = np.nan
    assert unusable(state, action, adapter)[1] == "action of e"
    state[2, 1:] = np.nan
    bad, what = unusable(state, action, adapter)
    assert bad.tolist() == [False, False, True, True] and what == "observation.state of b"

"""Features of a dataset that is written, and the frames that fit them."""

import numpy as np
import pytest

from pi0_ros.data.errors import DataError
from pi0_ros.data.features import checked_features, checked_frame, columns_of, difference, own_features, with_standard

FEATURES = with_standard(
    checked_features(
        {
            "eye": {"dtype": "video", "shape": (4, 6, 3), "names": ["height", "width", "channels"]},
            "pose": {"dtype": "float32", "shape": (3,), "names": ("x", "y", "yaw")},
            "grip": {"dtype": "float64", "shape": (1,), "names": None},
            "open": {"dtype": "bool", "shape": (1,)},
            "word": {"dtype": "string", "shape": (1,)},
        }
    )
)
FRAME = {
    "eye": np.zeros((4, 6, 3), np.uint8), "pose": [1.0, -2.0, 0.25], "grip": 0.5, "open": True, "word": "b", "task": "go"
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "feature", "match"),
    [
        ("timestamp", {"dtype": "float32", "shape": (1,)}, "name is taken"),
        ("task", {"dtype": "string", "shape": (1,)}, "name is taken"),
        ("a/b", {"dtype": "float32", "shape": (1,)}, "has a '/'"),
        ("x", {"dtype": "float16", "shape": (1,)}, "'float16' is not one of float32, float64, int32, int64, bool"),
        ("x", {"shape": (1,)}, "dtype None is not one of"),
        ("x", {"dtype": "float32", "shape": ()}, r"shape \[\] does not fit float32"),
        ("x", {"dtype": "video", "shape": (4, 6)}, r"shape \[4, 6\] does not fit video"),
        ("x", {"dtype": "video", "shape": (4,)}, "does not fit video"),
        ("x", {"dtype": "string", "shape": (2,)}, r"shape \[2\] does not fit string"),
    ],
)
def test_a_feature_that_cannot_be_written_is_refused_by_name(key, feature, match):
    with pytest.raises(DataError, match=f"feature '{key}': .*{match}"):
        checked_features({key: feature})


def test_a_frame_is_stored_in_the_types_of_its_features():
    found = checked_frame("set", FEATURES, FRAME)
    assert list(found) == ["eye", "pose", "grip", "open", "word", "task"]
    assert found["pose"].dtype == np.float32 and found["pose"].tolist() == [1.0, -2.0, 0.25]
    assert found["grip"].dtype == np.float64 and found["grip"].tolist() == [0.5] and found["word"] == ["b"]
    assert found["open"].dtype == bool and found["open"].tolist() == [True] and found["task"] == "go"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"word": 3}, "'word' is int; give text"),
        ({"word": None}, "'word' is NoneType; give text"),
        ({"grip": "x"}, "'grip' has a value that is no finite number"),
        ({"grip": 1j}, "'grip' has a value that is no finite number"),
        ({"pose": [1.0, float("inf"), 0.0]}, "'pose' has a value that is no finite number"),
        ({"pose": [1.0, 2.0]}, r"'pose' has shape \[2\]; give \[3\]"),
        ({"pose": 1.0}, r"'pose' has shape \[\]; give \[3\]"),
        ({"eye": np.zeros((4, 6, 3), np.uint16)}, r"'eye' is uint16 \[4, 6, 3\]; give a uint8 picture of \[4, 6, 3\]"),
        ({"eye": np.zeros((6, 4, 3), np.uint8)}, r"'eye' is uint8 \[6, 4, 3\]"),
        ({"task": "  "}, "a frame's task is '  '; give its instruction in words"),
        ({"task": 5}, "a frame's task is 5"),
        ({"other": 1}, "has an unknown 'other'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_dataset_and_feature(change, match):
    with pytest.raises(DataError, match=f"set: .*{match}"):
        checked_frame("set", FEATURES, FRAME | change)


def test_a_value_that_is_missing_is_named_with_all_that_a_frame_needs():
    frame = {k: v for k, v in FRAME.items() if k != "grip"}
    with pytest.raises(DataError, match="set: a frame lacks 'grip'; it needs eye, pose, grip, open, word, task"):
        checked_frame("set", FEATURES, frame)


def test_columns_are_frames_behind_one_another_without_pictures():
    rows = [checked_frame("set", FEATURES, FRAME | {"grip": g, "word": w}) for g, w in ((0.5, "b"), (0.75, "a"))]
    columns = columns_of(rows, FEATURES)
    assert list(columns) == ["pose", "grip", "open", "word"] and columns["pose"].shape == (2, 3)
    assert columns["grip"].tolist() == [[0.5], [0.75]] and columns["word"].tolist() == [["b"], ["a"]]
    assert [columns[k].dtype for k in columns] == [np.float32, np.float64, bool, object]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"grip": None}, "grip is only in the new frames"),
        ({"more": {"dtype": "bool", "shape": [1], "names": None}}, "more is only in the dataset"),
        (
            {"grip": {"dtype": "float32", "shape": [1], "names": None}},
            "dtype of grip is float64, and float32 in the dataset",
        ),
        ({"open": {"dtype": "bool", "shape": [2], "names": None}}, r"shape of open is [1], and [2] in the dataset"),
        (
            {"pose": {"dtype": "float32", "shape": [3], "names": ["x", "y", "z"]}},
            "names of pose is ['x', 'y', 'yaw'], and ['x', 'y', 'z'] in the dataset",
        ),
        ({"timestamp": {"dtype": "float64", "shape": [1], "names": None}}, ""),  # every dataset has its own
    ],
)
def test_the_first_difference_of_two_datasets_is_said(change, words):
    theirs = {k: v for k, v in {**FEATURES, **change}.items() if v is not None}
    assert difference(FEATURES, theirs) == words
    assert "timestamp" not in own_features(FEATURES)

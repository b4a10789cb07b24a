"""Statistics of all frames together, and where they are written."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av")

from pi0_ros.data.curation.exact import exact_statistics, replace_statistics
from pi0_ros.data.curation.rerun_file import _tab, names_of, numbers_in

SHARES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


class Recorded:
    """Seven frames of two episodes: a pose, a flag, words, and a camera of one grey a frame."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.columns = {"pose": rng.normal(size=(7, 2)), "flag": np.array([0, 1, 1, 0, 1, 1, 1], bool)}
        self.features = {
            "pose": {"dtype": "float32", "shape": [2], "names": ("x", "y")}, "flag": {"dtype": "bool"},
            "word": {"dtype": "string"}, "film": {"dtype": "video"}, "still": {"dtype": "image"},
            "observation.state": {"dtype": "float64", "names": None}, "stamp": {"dtype": "float64"},
            "timestamp": {"dtype": "float32"}, "action": {"dtype": "float32"},
        }  # fmt: skip
        self.columns |= {k: np.zeros(7) for k in ("observation.state", "stamp", "timestamp", "action")}
        self.cameras, self.episodes = ("eye",), [SimpleNamespace(index=4), SimpleNamespace(index=9)]
        self.layout = SimpleNamespace(cameras={"eye": "film"})

    def __len__(self):
        return 7

    def column(self, key):
        return self.columns[key]

    def pictures(self, camera, position):
        assert camera == "eye"
        return (np.full((2, 2, 3), shade, np.uint8) for shade in ((51, 102, 0), (255,))[position])


def test_statistics_of_all_frames_are_numpys_and_pictures_are_fractions():
    dataset = Recorded()
    found = exact_statistics(dataset)
    assert set(found) == {"pose", "flag", "film", "observation.state", "stamp", "timestamp", "action"}
    for key in ("pose", "flag"):
        rows = dataset.columns[key].reshape(7, -1).astype(float)
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(found[key][name], getattr(rows, name)(0), err_msg=name)
        for name, share in SHARES.items():
            np.testing.assert_allclose(found[key][name], np.quantile(rows, share, axis=0), err_msg=name)
        assert found[key]["count"].tolist() == [7]
    film = found["film"]
    assert film["count"].tolist() == [4] and film["mean"].shape == (3, 1, 1)
    np.testing.assert_allclose(film["mean"].ravel(), [0.4] * 3)
    np.testing.assert_allclose(film["max"].ravel(), [1.0] * 3)
    assert "film" not in exact_statistics(dataset, pictures=False)


def test_statistics_that_are_replaced_stay_in_a_copy_with_the_next_number(tmp_path):
    (tmp_path / "meta").mkdir()
    file = tmp_path / "meta/stats.json"
    assert replace_statistics(tmp_path, {"a": {"mean": np.array([0.5, 2.0])}}) is None
    assert json.loads(file.read_text()) == {"a": {"mean": [0.5, 2.0]}}
    before = file.read_text()
    assert replace_statistics(tmp_path, {"a": {"mean": np.array([1.0])}}) == tmp_path / "meta/stats.1.json"
    assert (tmp_path / "meta/stats.1.json").read_text() == before
    assert replace_statistics(tmp_path, {}) == tmp_path / "meta/stats.2.json"
    assert json.loads((tmp_path / "meta/stats.2.json").read_text()) == {"a": {"mean": [1.0]}}
    assert (tmp_path / "meta/stats.1.json").read_text() == before and json.loads(file.read_text()) == {}


def test_curves_are_of_numbers_that_not_every_dataset_has():
    dataset = Recorded()
    assert numbers_in(dataset) == ["pose", "flag", "observation.state", "action"]
    assert names_of(dataset, "pose") == ["x", "y"] and names_of(dataset, "flag") is None
    assert names_of(dataset, "observation.state") is None


class Blueprint:
    """Notes which views are made of what, in which order."""

    def __getattr__(self, kind):
        return lambda *parts, **named: (kind, *parts, *named.values())


def test_a_tab_has_cameras_then_states_and_actions_then_words_beside_the_note():
    dataset = Recorded()
    root = "/episode_9"
    assert _tab(Blueprint(), dataset, dataset.episodes[1]) == (
        "Vertical",
        ("Horizontal", ("Spatial2DView", f"{root}/cameras/eye", "eye")),
        ("TimeSeriesView", f"{root}/observation.state", "observation.state"),
        ("TimeSeriesView", f"{root}/action", "action"),
        ("Horizontal", ("TextLogView", f"{root}/words", "words"), ("TextDocumentView", f"{root}/note", "note")),
        "episode 9",
    )
    dataset.cameras = ()
    assert [part[0] for part in _tab(Blueprint(), dataset, dataset.episodes[0])[1:-1]] == [
        "TimeSeriesView", "TimeSeriesView", "Horizontal",
    ]  # fmt: skip

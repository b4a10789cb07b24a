"""meta/ of a dataset: which numbers are believed, and what its tables say together."""

import json

import pytest
from small_lerobot import write

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import Episode, behind, checked_info, read_layout


def changed(folder, change):
    file = folder / "meta/info.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "d", lengths=(3, 2))


@pytest.mark.parametrize(
    ("total", "match"),
    [
        (10**7, "lists 2 episodes, meta/info.json 10000000"),  # a number that may be true, and is not
        (10**7 + 1, "total_episodes is 10000001; it has to be a whole number"),
        (-1, "total_episodes is -1"),
        (2.0, r"total_episodes is 2\.0"),
        (True, "total_episodes is [Tt]rue"),
        (0, "has no episode yet"),
    ],
)
def test_a_number_of_episodes_that_no_dataset_has_is_refused(folder, total, match):
    with pytest.raises(DataError, match=match):
        read_layout(changed(folder, lambda info: info | {"total_episodes": total}))


@pytest.mark.parametrize(
    ("length", "match"), [(10**7 + 1, "episode 1 has 10000001 frames"), (0, "episode 1 has 0 frames"), (-2, "has -2")]
)
def test_a_length_that_no_episode_has_is_refused(tmp_path, length, match):
    with pytest.raises(DataError, match=match):
        read_layout(write(tmp_path / "d", lengths=(3, 2), meta=lambda rows: [rows[0], rows[1] | {"length": length}]))


def test_the_longest_episode_is_ten_million_frames(tmp_path):
    layout = read_layout(
        write(tmp_path / "d", lengths=(3, 2), meta=lambda rows: [rows[0], rows[1] | {"length": 10**7}])
    )
    assert layout.frames == 10**7 + 3


@pytest.mark.parametrize(("count", "fits"), [(1000, True), (1001, False)])
def test_a_thousand_features_are_read_and_no_more(folder, count, fits):
    def more(info):
        own = info["features"]
        extra = {f"x{k}": {"dtype": "float32", "shape": [1], "names": None} for k in range(count - len(own))}
        return info | {"features": own | extra}

    changed(folder, more)
    if fits:
        assert len(checked_info(folder / "meta/info.json")["features"]) == 1000
    else:
        with pytest.raises(DataError, match="has 1001 features; at most 1000 are read"):
            checked_info(folder / "meta/info.json")


@pytest.mark.parametrize(
    ("fps", "fits"), [(0, False), (-1, False), (0.5, True), (1000, True), (1001, False), (True, False), ("10", False)]
)
def test_a_rate_is_above_0_and_at_most_1000(folder, fps, fits):
    changed(folder, lambda info: info | {"fps": fps})
    if fits:
        assert read_layout(folder).fps == fps
    else:
        with pytest.raises(DataError, match="fps is "):
            read_layout(folder)


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ([1, 2, 3, 4], ""),
        ([1, 2, 3, 4, 5], "features.x has no dtype and shape"),
        ([10**6], ""),
        ([10**6 + 1], r"features.x.shape is \[1000001\]; it has to be whole numbers"),
        ([0], ""),
        ([-1], "features.x.shape is "),
        ([2.0], "features.x.shape is "),
        ("3", "features.x has no dtype and shape"),
        (None, ""),
    ],
)
def test_a_shape_is_at_most_four_whole_numbers(folder, shape, match):
    feature = {"dtype": "float32", "shape": shape}
    changed(folder, lambda info: info | {"features": info["features"] | {"x": feature}})
    if match:
        with pytest.raises(DataError, match=match):
            checked_info(folder / "meta/info.json")
    else:
        assert checked_info(folder / "meta/info.json")["features"]["x"] == feature


def test_statistics_of_a_v20_dataset_are_in_one_file_and_may_be_missing(tmp_path):
    folder = write(tmp_path / "d", "v2.1", lengths=(3, 2))
    assert read_layout(folder).stats == {}
    (folder / "meta/stats.json").write_text(json.dumps({"action": {"mean": [0.5, -2.0], "count": [5]}}))
    stats = read_layout(folder).stats
    assert stats["action"]["mean"].tolist() == [0.5, -2.0] and stats["action"]["count"].tolist() == [5]


def test_episodes_are_put_behind_one_another_whatever_meta_says(tmp_path):
    each = [Episode(number, 100, 100 + n, ("x",), tmp_path, {}) for number, n in ((4, 3), (9, 1), (2, 5))]
    placed = behind(each)
    assert [(e.index, e.start, e.stop, e.length) for e in placed] == [(4, 0, 3, 3), (9, 3, 4, 1), (2, 4, 9, 5)]


@pytest.mark.parametrize(("late", "match"), [(-0.04, ""), (-0.06, "episodes 0 and 1 overlap"), (-0.4, "begins at -0")])
def test_episodes_in_one_video_may_touch_one_another_by_less_than_half_a_frame(tmp_path, late, match):
    """At 10 Hz the second one begins behind the three pictures of the first, at 0.3 s."""

    def meta(rows):
        shift = {k: v + late for k, v in rows[1].items() if k.endswith("from_timestamp")}
        return [rows[0], rows[1] | shift]

    folder = write(tmp_path / "d", lengths=(3, 2), kind="video", meta=meta)
    if match:
        with pytest.raises(DataError, match=match):
            read_layout(folder)
    else:
        assert len(read_layout(folder).episodes) == 2


@pytest.mark.parametrize("begin", [float("nan"), float("inf"), -0.001])
def test_an_episode_begins_somewhere_in_its_video(tmp_path, begin):
    meta = lambda rows: [rows[0], rows[1] | {k: begin for k in rows[1] if k.endswith("from_timestamp")}]
    with pytest.raises(DataError, match=rf"episode 1 begins at {begin} s in file-000\.mp4"):
        read_layout(write(tmp_path / "d", lengths=(3, 2), kind="video", meta=meta))


def test_words_that_are_empty_are_no_instruction_of_an_episode(tmp_path):
    folder = write(
        tmp_path / "d",
        lengths=(3, 2),
        meta=lambda rows: [rows[0] | {"tasks": ["", "go", None]}, rows[1] | {"tasks": []}],
    )
    assert [e.tasks for e in read_layout(folder).episodes] == [("go",), ()]


def test_a_folder_without_meta_or_of_another_version_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"info\.json: not there; give the folder of a LeRobot dataset"):
        Dataset(tmp_path / "none")
    with pytest.raises(DataError, match=r"version 'v1.6' is not read; convert the dataset to v3\.0"):
        read_layout(changed(folder, lambda info: info | {"codebase_version": "v1.6"}))

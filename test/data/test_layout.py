"""meta/ of a dataset: which numbers are believed, and what its tables say together."""

import json

import pytest
from small_lerobot import write

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import Episode, behind, checked_info, datasets_below, read_layout


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


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_dataset_whose_tables_have_no_episode_says_so(tmp_path, version):
    """An info.json need not say how many there are in version 2."""
    folder = write(tmp_path / "d", version, lengths=(3,), meta=lambda rows: [] if version == "v2.1" else rows)
    changed(folder, lambda info: {k: v for k, v in info.items() if k != "total_episodes"})
    said = "has no episode yet; record one first" if version == "v2.1" else "lacks or garbles 'total_episodes'"
    with pytest.raises(DataError, match=said):
        read_layout(folder)


def test_datasets_below_a_folder_are_told_by_their_info_and_half_ones_are_none(tmp_path):
    for name in ("b", "a", "c.partial", "d"):
        (tmp_path / name / "meta").mkdir(parents=True)
        if name != "d":
            (tmp_path / name / "meta/info.json").touch()
    (tmp_path / "file").touch()
    assert datasets_below(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    for itself in ("a", "d", "file", "none"):
        assert datasets_below(tmp_path / itself) == [tmp_path / itself]


def test_episodes_of_version_2_lie_in_files_of_their_own_a_thousand_a_folder(tmp_path):
    folder = write(tmp_path / "d", "v2.1", lengths=(3, 2), numbers=[1007, 2], kind="video", tasks=("wave", "nod"))
    changed(folder, lambda info: info | {"chunks_size": 4})
    layout = read_layout(folder)
    assert layout.words == {0: "wave", 1: "nod"} and layout.tasks == {"wave": 0, "nod": 1}
    first, second = layout.episodes
    assert (first.index, first.start, first.stop, second.index, second.start, second.stop) == (2, 0, 2, 1007, 2, 5)
    assert (first.tasks, second.tasks) == (("nod",), ("wave",))
    assert first.data.relative_to(folder).as_posix() == "data/chunk-000/episode_000002.parquet"
    assert second.data.relative_to(folder).as_posix() == "data/chunk-251/episode_001007.parquet"
    file, begin = second.videos["base"]
    assert file.relative_to(folder).as_posix().startswith("videos/chunk-251/observation.images.base/episode_001007")
    assert begin == 0.0
    changed(folder, lambda info: {k: v for k, v in info.items() if k != "chunks_size"})
    assert read_layout(folder).episodes[1].data.parent.name == "chunk-001", "a thousand, if nothing is said"


def test_statistics_of_each_episode_are_put_together_and_left_out_if_they_do_not_fit(tmp_path, caplog):
    folder = write(tmp_path / "d", "v2.1", lengths=(3, 2))
    each = [
        {"mean": [m], "std": [s], "min": [m - 1], "max": [m + 1], "count": [n]}
        for m, s, n in ((1.0, 0.5, 3), (6.0, 1.0, 1))
    ]
    file = folder / "meta/episodes_stats.jsonl"
    file.write_text(
        "".join(json.dumps({"episode_index": k, "stats": {"action": s}}) + "\n" for k, s in enumerate(each))
    )
    found = read_layout(folder).stats["action"]
    assert found["mean"].tolist() == [2.25] and found["count"].tolist() == [4]
    assert (found["min"].tolist(), found["max"].tolist()) == ([0.0], [7.0])
    assert found["std"][0] ** 2 == pytest.approx(0.75 * (0.25 + 1.25**2) + 0.25 * (1.0 + 3.75**2))
    file.write_text(file.read_text().replace("[6.0]", "[6.0, 7.0]"))
    assert read_layout(folder).stats == {} and "the statistics are left out" in caplog.text


def test_episodes_may_lie_in_a_video_in_another_order_than_that_of_their_numbers(tmp_path):
    """The second one at its beginning, for 0.2 s, then the first one."""

    def meta(rows):
        begins = (0.2, 0.0)
        return [r | {k: b for k in r if k.endswith("from_timestamp")} for r, b in zip(rows, begins, strict=True)]

    layout = read_layout(write(tmp_path / "d", lengths=(3, 2), kind="video", meta=meta))
    assert [e.videos["base"][1] for e in layout.episodes] == [0.2, 0.0]

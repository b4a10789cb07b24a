"""Datasets as converters, mergers and people leave them: read by what the rows say, or refused with a way out."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_lerobot
from small_lerobot import CHANNELS, picture, write, write_video

from pi0_ros.cli import main
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError


def levels(dataset: Dataset, camera: str = "base") -> list[tuple[int, int]]:
    """(episode, frame) that each frame's picture says it is of."""
    means = [dataset.picture(camera, i).mean((0, 1)) for i in range(len(dataset))]
    return [(round((m[0] - 20) / 40), round(m[1] / 8)) for m in means]


def right_pictures(lengths) -> list[tuple[int, int]]:
    return [(e, k) for e, n in enumerate(lengths) for k in range(n)]


def sine(position: int, frame: int, fps: float = 10) -> np.ndarray:
    """The state that `small_lerobot` gave a frame, by its formula."""
    return (0.1 * np.sin(frame / fps + np.arange(18) + position)).astype(np.float32)


def right_states(dataset: Dataset, lengths) -> None:
    expected = [sine(e, k) for e, n in enumerate(lengths) for k in range(n)]
    np.testing.assert_allclose(dataset.column("observation.state"), expected, atol=1e-6)


# Numbers of episodes, files and rows


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_gaps_in_the_numbers_of_episodes_change_nothing(tmp_path, version):
    dataset = Dataset(write(tmp_path / "d", version, (8, 6, 7), numbers=[0, 3, 7]))
    right_states(dataset, (8, 6, 7))
    assert levels(dataset) == right_pictures((8, 6, 7))
    assert [dataset.task_of(i) for i in (0, 8, 14)] == list(small_lerobot.TASKS)
    assert len(list(dataset.pictures("base", 2))) == 7


def test_an_index_column_that_was_not_counted_anew_is_no_harm(tmp_path):
    def kept(position, columns):
        columns["index"] = columns["index"] + 100 * position
        return columns

    dataset = Dataset(write(tmp_path / "d", "v2.1", edit=kept))
    right_states(dataset, (8, 6, 7))
    assert dataset.column("index").tolist() == list(range(21))


@pytest.mark.parametrize(
    "stale",
    [
        lambda t: [r | {"data/file_index": 0} for r in t],
        lambda t: [r | {"data/file_index": 9} for r in t],
        lambda t: [*t[:2], t[2] | {"data/file_index": 0}, *t[3:]],
        lambda t: [r | {"dataset_from_index": 0} for r in t],
    ],
    ids=["all in the first", "in one that is not there", "one at a boundary", "first rows of a merge"],
)
def test_stale_file_numbers_are_not_believed(tmp_path, stale):
    lengths = (8, 6, 8, 7)
    dataset = Dataset(write(tmp_path / "d", lengths=lengths, per_file=2, meta=stale))
    right_states(dataset, lengths)
    assert levels(dataset) == right_pictures(lengths)


def test_rows_that_stand_there_twice_are_taken_once(tmp_path):
    folder = write(tmp_path / "d")
    file = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(pa.concat_tables([table, table.slice(8, 6)]), file)
    dataset = Dataset(folder)
    right_states(dataset, (8, 6, 7))
    assert levels(dataset) == right_pictures((8, 6, 7))


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_an_episode_of_another_length_than_meta_says_is_named_and_can_be_left_out(tmp_path, version):
    def wrong(table):
        return [table[0], table[1] | {"length": 5}, table[2]]

    folder = write(tmp_path / "d", version, (8, 6, 7), meta=wrong)
    with pytest.raises(
        DataError, match="episode 1: data/chunk-000/.* has 6 rows of it, meta/episodes.* says 5.*--skip-bad"
    ):
        Dataset(folder).column("action")
    dataset = Dataset(folder, skip_bad=True)
    assert len(dataset) == 15 and len(dataset.left_out) == 1
    np.testing.assert_allclose(dataset.column("observation.state")[8], sine(2, 0), atol=1e-6)
    assert levels(dataset)[8] == (2, 0)


@pytest.mark.parametrize("command", ["merge", "keep", "stats"])
def test_where_no_episode_is_sound_no_command_is_offered_that_would_copy_none(tmp_path, capsys, command):
    folder = write(tmp_path / "d", lengths=(8, 6), meta=lambda table: [row | {"length": 5} for row in table])
    more = {"merge": ["--out", str(tmp_path / "o")], "keep": ["--episodes", "0", "--out", str(tmp_path / "o")]}
    assert main(["data", command, str(folder), *more.get(command, [])]) == 1
    said = capsys.readouterr().err
    assert "no episode is sound: episode 0: data/chunk-000/file-000.parquet has 8 rows of it" in said
    assert "pi0 data keep" not in said and "--skip-bad" not in said and said.count("\n") == 1


# Words


def test_words_that_are_empty_or_missing_are_no_other_episodes_words(tmp_path):
    dataset = Dataset(write(tmp_path / "d", tasks=("touch the red block", "", None)))
    assert [dataset.task_of(i) for i in (0, 8, 14)] == ["touch the red block", "", ""]


def test_two_numbers_of_one_instruction_both_count(tmp_path):
    dataset = Dataset(write(tmp_path / "d", tasks=("touch", "push", "touch")))
    assert [dataset.task_of(i) for i in (0, 8, 14)] == ["touch", "push", "touch"]


# Time


def test_a_hole_in_time_is_marked_where_it_is(tmp_path):
    def jump(position, columns):
        if position == 1:
            columns["timestamp"] = columns["timestamp"] + np.where(np.arange(6) >= 4, 2.1, 0.0).astype(np.float32)
        return columns

    dataset = Dataset(write(tmp_path / "d", edit=jump))
    assert np.flatnonzero(dataset.broken).tolist() == [8 + 3]


def test_frame_numbers_that_are_left_out_are_a_hole_too(tmp_path):
    def lost(position, columns):
        if position == 2:
            columns["frame_index"] = np.array([0, 1, 2, 5, 6, 7, 8])
        return columns

    dataset = Dataset(write(tmp_path / "d", edit=lost))
    assert np.flatnonzero(dataset.broken).tolist() == [14 + 2]


def test_a_rate_that_is_no_whole_number_is_kept(tmp_path):
    dataset = Dataset(write(tmp_path / "d", fps=29.97))
    assert dataset.fps == 29.97 and not dataset.broken.any()


# Videos


def test_times_a_few_milliseconds_off_give_the_nearest_picture(tmp_path):
    def drift(table):
        return [
            {k: v + 0.004 * row["episode_index"] if k.endswith("from_timestamp") else v for k, v in row.items()}
            for row in table
        ]

    dataset = Dataset(write(tmp_path / "d", kind="video", meta=drift))
    assert levels(dataset) == right_pictures((8, 6, 7))


def test_a_variable_rate_within_half_a_frame_gives_the_nearest_picture(tmp_path):
    def wavy(file, pictures, fps):
        write_video(file, pictures, fps, pts=[k * 100 + (k * 7) % 13 for k in range(len(pictures))], ticks=1000)

    dataset = Dataset(write(tmp_path / "d", "v2.1", kind="video", video=wavy))
    assert levels(dataset) == right_pictures((8, 6, 7))


def test_a_video_that_begins_two_frames_late_is_refused(tmp_path):
    def late(file, pictures, fps):
        write_video(file, pictures, fps, pts=[k + 2 for k in range(len(pictures))])

    dataset = Dataset(write(tmp_path / "d", "v2.1", kind="video", video=late))
    with pytest.raises(
        DataError, match=r"episode_000000.mp4: has no picture within .* of 0.0000 s, the nearest is at 0.2000 s"
    ):
        dataset.picture("base", 0)


def test_episodes_that_overlap_in_a_video_are_refused(tmp_path):
    def wrong(table):
        return [
            {k: 0.3 if k.endswith("from_timestamp") and row["episode_index"] == 1 else v for k, v in row.items()}
            for row in table
        ]

    with pytest.raises(DataError, match="episodes 0 and 1 overlap in the video file-000.mp4 of base"):
        Dataset(write(tmp_path / "d", kind="video", meta=wrong))


@pytest.mark.parametrize(
    "what", ["data/chunk-000/file-000.parquet", "videos/observation.images.base/chunk-000/file-000.mp4"]
)
def test_git_lfs_pointers_are_called_so(tmp_path, what):
    folder = write(tmp_path / "d", kind="video")
    (folder / what).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match="is a git-lfs pointer.*git lfs pull"):
        Dataset(folder)[0]


# Shapes, and files that lie


def test_rows_of_another_width_than_info_says_are_named(tmp_path):
    def narrow(position, columns):
        columns["observation.state"] = columns["observation.state"][:, :14]
        return columns

    with pytest.raises(DataError, match=r"observation.state has 14 numbers per row, info.json says the shape \[18\]"):
        Dataset(write(tmp_path / "d", edit=narrow)).column("action")


@pytest.mark.parametrize("fixed", [False, True], ids=["lists", "lists of one length"])
@pytest.mark.parametrize("whole", [True, False], ids=["a whole row", "an entry"])
def test_empty_numbers_are_no_numbers_and_their_episode_can_be_left_out(tmp_path, capsys, whole, fixed):
    """Row 2 of the second episode, which is row 10 of the file; the fourth channel where it is an entry."""

    def empty(position, columns):
        values = columns["action"].tolist()
        if position == 1:
            values[2] = None if whole else [v if k != 3 else None for k, v in enumerate(values[2])]
        columns["action"] = pa.array(values, pa.list_(pa.float32(), 18 if fixed else -1))
        return columns

    folder = write(tmp_path / "d", edit=empty)
    action = Dataset(folder).column("action")
    assert np.argwhere(np.isnan(action)).tolist() == [[10, k] for k in range(18) if whole or k == 3]
    np.testing.assert_allclose(action[9], sine(1, 1) + 0.01, atol=1e-6)
    main(["data", "check", str(folder)])
    channel = "left_joint1" if whole else "left_joint4"
    assert f"episode 1: action {channel} is no number in frame 2 (1 frame in all)" in capsys.readouterr().out
    assert main(["data", "keep", str(folder), "--episodes", "0-", "--out", str(tmp_path / "all")]) == 0
    assert np.argwhere(np.isnan(Dataset(tmp_path / "all").column("action")).any(1)).ravel().tolist() == [10]
    assert main(["data", "drop", str(folder), "--episodes", "1", "--out", str(tmp_path / "sound")]) == 0
    sound = Dataset(tmp_path / "sound").column("action")
    assert len(sound) == 15 and np.isfinite(sound).all()
    np.testing.assert_allclose(sound[8], sine(2, 0) + 0.01, atol=1e-6)


def test_an_empty_whole_number_is_named(tmp_path):
    def empty(position, columns):
        columns["task_index"] = pa.array(
            [None if position == 1 and k == 2 else position for k in range(8 - 2 * position)]
        )
        return columns

    with pytest.raises(DataError, match="task_index of row 10 is empty"):
        Dataset(write(tmp_path / "d", lengths=(8, 6), edit=empty)).column("action")


def test_a_video_that_cannot_be_read_is_named_with_the_episode_that_is_lost(tmp_path):
    folder = write(tmp_path / "d", "v2.1", (8, 6, 7), numbers=[0, 3, 7], kind="video")
    file = folder / "videos/chunk-000/observation.images.left_wrist/episode_000003.mp4"
    file.write_bytes(file.read_bytes()[:200])
    dataset = Dataset(folder)
    assert levels(dataset, "base") == right_pictures((8, 6, 7))
    with pytest.raises(DataError, match=r"episode_000003.mp4: .*; episode 3 of left_wrist is read from it"):
        dataset.picture("left_wrist", 9)


def test_ragged_rows_are_named(tmp_path):
    def ragged(position, columns):
        values = columns["action"].tolist()
        values[2] = values[2][:5]
        columns["action"] = pa.array(values, pa.list_(pa.float64()))
        return columns

    with pytest.raises(DataError, match="action is no table of numbers of one width .*from 5 to 18"):
        Dataset(write(tmp_path / "d", edit=ragged)).column("action")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: [], "holds no object"),
        (lambda c: c | {"fps": 0}, "fps is 0"),
        (lambda c: c | {"fps": "abc"}, "fps is 'abc'"),
        (lambda c: c | {"features": []}, "features is no object"),
        (lambda c: c | {"features": c["features"] | {"action": {"shape": [18]}}}, "features.action has no dtype"),
        (
            lambda c: c | {"data_path": "../elsewhere/{chunk_index}.parquet"},
            "data_path: .* leaves the dataset's folder",
        ),
        (lambda c: c | {"data_path": "/etc/{chunk_index}.parquet"}, "data_path: .* is no path below"),
        (lambda c: c | {"data_path": "data/{chunk_index:>3000000000}"}, "is no field of LeRobot's paths"),
        (lambda c: c | {"data_path": "data/{chunk_index.__class__}"}, "is no field of LeRobot's paths"),
        (lambda c: c | {"data_path": "data/{chunk_index:03d}}"}, "is no path below"),
    ],
)
def test_an_info_json_that_lies_is_refused_with_file_and_key(tmp_path, change, match):
    folder = write(tmp_path / "d")
    file = folder / "meta/info.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(DataError, match="info.json: .*" + match if "object" not in match else match):
        Dataset(folder)


def test_statistics_of_another_shape_are_left_out_of_what_training_needs(tmp_path):
    folder = write(tmp_path / "d", "v2.1")
    lines = [{"episode_index": k, "stats": {"action": {"mean": [0.0] * (18 - k), "std": [1.0] * (18 - k), "min": [0.0] * (18 - k), "max": [1.0] * (18 - k), "count": [8]}}} for k in range(3)]  # fmt: skip
    (folder / "meta/episodes_stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = Dataset(folder)
    right_states(dataset, (8, 6, 7))
    assert dataset.stats == {}


def test_columns_that_nobody_named_are_not_read(tmp_path):
    def more(position, columns):
        columns["unknown"] = pa.array([{"a": [1, 2]}] * len(columns["index"]))
        return columns

    dataset = Dataset(write(tmp_path / "d", edit=more))
    assert "unknown" not in dataset[3] and dataset[3]["action"].shape == (18,)
    assert picture(0, 3).mean() == dataset[3]["observation.images.base"].mean() and CHANNELS[0] == "left_joint1"


def write_reordered_video(file, pictures, fps, pts=None, ticks=0):
    """As `small_lerobot` writes it, but with pictures that are encoded by later ones, and few key frames."""
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {"x264-params": "keyint=30:bframes=3:b-adapt=0:scenecut=0:crf=10"}
    with av.open(str(file), "w") as out:
        stream = out.add_stream("libx264", rate=int(fps), options=options)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for k, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = k, Fraction(1, int(fps))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_copies_of_videos_whose_pictures_are_encoded_by_later_ones_show_the_right_ones(tmp_path, version):
    lengths = (20, 16, 17)
    folder, shown = (
        write(tmp_path / "d", version, lengths, kind="video", video=write_reordered_video),
        right_pictures(lengths),
    )
    commands = {
        "merge": ([folder], [*shown, *shown]),
        "keep": (["--episodes", "0"], shown[:20]),
        "drop": (["--episodes", "0"], shown[20:]),
        "split": (["--episode", "1", "--at", "5"], shown),
        "trim": (["--end", "0.6"], [(e, k) for e, n in enumerate(lengths) for k in range(n - 6)]),
    }
    assert levels(Dataset(folder)) == shown
    for name, (more, wanted) in commands.items():
        assert main(["data", name, str(folder), *map(str, more), "--out", str(tmp_path / name)]) == 0
        assert_shows(tmp_path / name, folder, wanted)


def assert_shows(folder, source, wanted):
    """Every picture is that of its episode and frame in the source; the ones beside it differ by 8 levels of green."""
    copy, old = Dataset(folder), Dataset(source)
    assert len(copy) == len(wanted)
    for i, (episode, frame) in enumerate(wanted):
        off = copy.picture("base", i).mean((0, 1)) - old.picture("base", old.episodes[episode].start + frame).mean(
            (0, 1)
        )
        assert np.abs(off).max() < 4, (folder.name, i, off)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize(("name", "level"), [("fewer", "error"), ("more", "warning")])
def test_a_video_with_other_pictures_than_rows_is_named(tmp_path, capsys, version, name, level):
    """The left wrist's camera lost two pictures of each file, or has its first one three times."""

    def film(file, pictures, fps):
        changed = pictures[:-2] if name == "fewer" else [pictures[0], pictures[0], *pictures]
        write_video(file, changed if "left_wrist" in str(file) else pictures, fps)

    folder = write(tmp_path / "d", version, (8, 6, 7), kind="video", video=film)
    main(["data", "check", str(folder)])
    said = [line for line in capsys.readouterr().out.splitlines() if "pictures may be of other rows" in line]
    files = [(8, 1), (6, 1), (7, 1)] if version == "v2.1" else [(21, 3)]
    assert len(said) == len(files)
    for (rows, episodes), line in zip(files, said, strict=True):
        assert line.startswith(level) and "left_wrist: videos/" in line
        assert f"has {rows + (2 if name == 'more' else -2)} pictures, and its {episodes} episode" in line
        assert f"{rows} rows" in line


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_copies_of_a_dataset_whose_pictures_lie_in_its_tables_have_them(tmp_path, version):
    folder = write(tmp_path / "set", version, lengths=(8, 6, 7), fps=29.97)
    copies = {
        "keep": ([("keep", folder, "--episodes", "0,2")], [(0, 0, 8), (2, 0, 7)]),
        "cut": ([("split", folder, "--episode", 1, "--at", 2)], [(0, 0, 8), (1, 0, 2), (1, 2, 6), (2, 0, 7)]),
        "merge": ([("merge", folder, folder)], [(0, 0, 8), (1, 0, 6), (2, 0, 7)] * 2),
        "trim": ([("trim", folder, "--start", 0.1, "--end", 0.034)], [(0, 3, 7), (1, 3, 5), (2, 3, 6)]),
    }
    for name, ((words,), pieces) in copies.items():
        assert main(["data", *map(str, words), "--out", str(tmp_path / name)]) == 0
        read = Dataset(tmp_path / name)
        assert [e.length for e in read.episodes] == [stop - start for _, start, stop in pieces] and read.fps == 29.97
        wanted = [picture(episode, k) for episode, start, stop in pieces for k in range(start, stop)]
        for i, shown in enumerate(wanted):
            np.testing.assert_array_equal(read.picture(read.cameras[0], i), shown)


def test_a_copy_of_videos_that_are_git_lfs_pointers_says_so(tmp_path, capsys):
    folder = write(tmp_path / "set", kind="video")
    for file in folder.rglob("*.mp4"):
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    assert main(["data", "keep", str(folder), "--episodes", "0-", "--out", str(tmp_path / "kept")]) == 1
    said = capsys.readouterr().err
    assert "is a git-lfs pointer and not the file; run `git lfs pull`" in said and "--debug" not in said
    assert not (tmp_path / "kept").exists()

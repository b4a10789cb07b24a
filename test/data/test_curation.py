"""Looking at datasets and copying chosen parts of them: what is found, and what the copies hold."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("av")

from pi0_ros.cli import main
from pi0_ros.data import tables
from pi0_ros.data.curation.checks import Level, check
from pi0_ros.data.curation.exact import exact_statistics
from pi0_ros.data.curation.pieces import Piece, selected, write_pieces
from pi0_ros.data.dataset import Dataset, DatasetWriter
from pi0_ros.data.dataset_files import DatasetFiles
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import INFO, checked_info

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "dataset" / "data_v3"
FPS, SIDE = 10, 32
NAMES = ["j1", "j2", "gripper"]
VECTOR = {"dtype": "float32", "shape": (3,), "names": NAMES}
VIDEO = {"dtype": "video", "shape": (SIDE, SIDE, 3), "names": ["height", "width", "channels"]}
FEATURES = {"observation.images.eye": VIDEO, "observation.state": VECTOR, "action": VECTOR}
LENGTHS = (30, 24, 41)


def grey(k):
    return 40 + 2 * (k % 80)


def seen(k):
    """Something with edges, whose grey tells frames apart."""
    shown = np.full((SIDE, SIDE, 3), grey(k), np.uint8)
    shown[:8, :8] = 250
    return shown


def state(k):
    return np.array([np.sin(0.1 * k), np.cos(0.13 * k), 0.5 + 0.5 * np.sin(0.3 * k)], np.float32)


def write(folder, lengths=LENGTHS, state=state, seen=seen, tasks=("wave", "nod", "wave")):
    with DatasetWriter(folder, FPS, FEATURES, "small") as writer:
        for episode, length in enumerate(lengths):
            for k in range(length):
                writer.add_frame(
                    {
                        "observation.images.eye": seen(k),
                        "observation.state": state(k),
                        "action": state(k + 1),
                        "task": tasks[episode % len(tasks)],
                    }
                )
            writer.save_episode({"outcome": ("success", "failure", "success")[episode % 3]})
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sound") / "set")


def kinds(folder):
    return {(f.kind, f.episode) for f in check(Dataset(folder, skip_bad=True))}


def pi0(*words):
    return main(["data", *map(str, words)])


def frames(folder, episode):
    """The grey of each picture and the first joint of each row of an episode."""
    read = Dataset(folder)
    found = read.episodes[episode]
    shown = [float(p[16:, 16:].mean()) for p in read.pictures("eye", episode)]
    return np.array(shown), read.column("observation.state")[found.start : found.stop, 0]


def assert_frames(folder, episode, numbers):
    shown, joint = frames(folder, episode)
    np.testing.assert_allclose(shown, [grey(k) for k in numbers], atol=2)
    np.testing.assert_allclose(joint, [np.sin(0.1 * k) for k in numbers], atol=1e-6)


def test_copies_state_sizes_that_lerobot_accepts(sound, tmp_path):
    assert pi0("keep", sound, "--episodes", 0, "--out", tmp_path / "kept") == 0
    info = json.loads((tmp_path / "kept/meta/info.json").read_text())
    assert info["data_files_size_in_mb"] == 100 and info["video_files_size_in_mb"] == 200  # its own; it refuses 0


# --- check ---


def test_nothing_is_found_in_a_sound_dataset_nor_in_one_that_lerobot_wrote(sound):
    assert kinds(sound) == set() and kinds(GOLDEN) == set()
    assert pi0("check", sound) == 0


def renumbered(folder, old, new):
    """Gives an episode another number, in its rows and in meta/episodes."""
    for file in [*folder.glob("data/**/*.parquet"), *folder.glob("meta/episodes/**/*.parquet")]:
        table = pq.read_table(file)
        numbers = np.array(table["episode_index"])
        column = table.column_names.index("episode_index")
        pq.write_table(
            table.set_column(column, "episode_index", pa.array(np.where(numbers == old, new, numbers))), file
        )


def test_a_gap_in_the_numbers_of_episodes_is_found_kept_apart_and_mended(sound, tmp_path):
    folder = tmp_path / "gap"
    shutil.copytree(sound, folder)
    renumbered(folder, 2, 4)
    assert ("numbering", None) in kinds(folder) and pi0("check", folder) == 1
    before = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    with pytest.raises(DataError, match="number 2 is not among them"):
        DatasetFiles(
            folder, FPS, checked_info(folder / INFO)["features"]
        )  # going on would take episode 4 for what a broken save has left
    assert {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before
    assert pi0("keep", folder, "--episodes", "0-", "--out", tmp_path / "mended") == 0
    assert kinds(tmp_path / "mended") == set()
    assert_frames(tmp_path / "mended", 2, range(LENGTHS[2]))


def test_frozen_and_black_pictures_are_found_and_a_robot_that_rests_is_none(tmp_path):
    write(tmp_path / "frozen", seen=lambda k: seen(min(k, 9)))
    assert {("frozen", 0), ("frozen", 1), ("frozen", 2)} <= kinds(tmp_path / "frozen")
    assert pi0("check", tmp_path / "frozen") == 1
    write(tmp_path / "black", seen=lambda k: seen(k) * (k % 3 > 0))
    assert ("blank", 0) in kinds(tmp_path / "black")
    resting = write(tmp_path / "rests", seen=lambda k: seen(min(k, 5)), state=lambda k: state(min(k, 5)))
    assert {kind for kind, _ in kinds(resting)} == {"idle"}


def test_a_camera_that_sees_nothing_that_moves_is_a_remark_and_no_error(tmp_path):
    """Such as one that looks back from a robot that stands: its pictures are true."""
    folder = write(tmp_path / "wall", seen=lambda k: seen(7))
    found = [f for f in check(Dataset(folder)) if f.kind == "frozen"]
    assert [f.level for f in found] == [Level.WARNING] * 3 and "does it see nothing that moves?" in found[0].sentence
    assert pi0("check", folder) == 0


def test_one_frozen_episode_among_others_is_an_error(tmp_path):
    shown = []

    def frozen_in_the_second(k):
        shown.append(k)
        return seen(3 if LENGTHS[0] < len(shown) <= LENGTHS[0] + LENGTHS[1] else k)

    folder = write(tmp_path / "one", seen=frozen_in_the_second)
    assert [(f.level, f.episode) for f in check(Dataset(folder)) if f.kind == "frozen"] == [(Level.ERROR, 1)]


def test_the_noise_of_what_rests_is_neither_motion_nor_a_jump(tmp_path):
    """A base that stands is measured with some mm/s, and nothing of it may be taken for driving."""
    noise = np.random.default_rng(4).normal(0.0, 4e-4, 60)
    noise[33] = 2e-3

    def resting(k):
        return np.array([noise[k % 60], np.sin(0.1 * min(max(k, 15), 40)), 0.4 * (k > 30)], np.float32)

    found = check(Dataset(write(tmp_path / "set", lengths=(60,), state=resting)))
    assert [f.kind for f in found] == ["idle"], [f.sentence for f in found]
    assert "nothing moves in its first 1.7 s and last 2.0 s" in found[0].sentence  # sin(1.5) is nearly 1 already


def test_jumps_whole_turns_grippers_and_idle_ends_are_found(tmp_path):
    def odd(k):
        values = state(k)
        values[0] += 2 * np.pi * (k > 20)
        values[1] += 3.0 * (k == 12)
        values[2] = 0.3
        return values

    found = check(Dataset(write(tmp_path / "odd", state=odd)))
    said = [f.sentence for f in found]
    assert any("state j1 jumps by a whole turn" in s and "in frame 20" in s for s in said)
    assert any("state j2 jumps by" in s and "in frame 11" in s for s in said)
    assert any("state gripper never moves" in s for s in said)
    idle = write(tmp_path / "idle", lengths=(60,), state=lambda k: state(min(max(k, 15), 40)))
    assert [f.sentence for f in check(Dataset(idle)) if f.kind == "idle"] == [
        "nothing moves in its first 1.5 s and last 2.0 s (pi0 data trim)"
    ]


def change(folder, column, values):
    """Put other values into a column of the one data file."""
    file = next((folder / "data").rglob("*.parquet"))
    table = pq.read_table(file)
    place = table.column_names.index(column)
    pq.write_table(
        table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type)), file
    )


def test_holes_numbers_that_are_none_and_stale_statistics_are_found(tmp_path, sound):
    holes = shutil.copytree(sound, tmp_path / "holes")
    times = Dataset(sound).column("timestamp").copy()
    times[10:30] += 2.0
    change(holes, "timestamp", times.tolist())
    assert ("gap", 0) in kinds(holes)
    nan = shutil.copytree(sound, tmp_path / "nan")
    values = Dataset(sound).column("action").copy()
    values[33, 1] = np.nan
    change(nan, "action", values.tolist())
    assert next(f.line() for f in check(Dataset(nan))) == (
        "error: episode 1: action j2 is no number in frame 3 (1 frame in all)"
    )
    stale = shutil.copytree(sound, tmp_path / "stale")
    change(stale, "observation.state", (2 * Dataset(sound).column("observation.state")).tolist())
    assert ("statistics", None) in kinds(stale)
    assert pi0("stats", stale, "--write") == 0 and ("statistics", None) not in kinds(stale)
    assert (stale / "meta/stats.1.json").read_bytes() == (sound / "meta/stats.json").read_bytes()


def test_statistics_of_what_is_no_number_are_not_written(tmp_path, sound, capsys):
    """A training that scales by them would have no number left."""
    nan = shutil.copytree(sound, tmp_path / "nan")
    values = Dataset(sound).column("action").copy()
    values[33, 1] = np.nan
    change(nan, "action", values.tolist())
    assert pi0("stats", nan, "--write") == 1
    assert (
        "nan: action has values that are no numbers, and so no statistics; `pi0 data check` says"
        in capsys.readouterr().err
    )
    assert (nan / "meta/stats.json").read_bytes() == (sound / "meta/stats.json").read_bytes()
    assert pi0("stats", nan) == 0


# --- copies ---


def test_chosen_episodes_are_copied_with_pictures_words_and_notes(sound, tmp_path):
    before = {f: f.read_bytes() for f in sound.rglob("*") if f.is_file()}
    assert pi0("keep", sound, "--episodes", "2,1", "--out", tmp_path / "kept") == 0
    assert_frames(tmp_path / "kept", 0, range(41))
    assert_frames(tmp_path / "kept", 1, range(24))
    read = Dataset(tmp_path / "kept")
    assert [read.task_of(e.start) for e in read.episodes] == ["wave", "nod"]
    assert EpisodeLog(tmp_path / "kept").read()[1]["outcome"] == "failure"
    assert pi0("drop", sound, "--outcome", "failure", "--out", tmp_path / "good") == 0
    assert [e.length for e in Dataset(tmp_path / "good").episodes] == [30, 41]
    assert {f: f.read_bytes() for f in sound.rglob("*") if f.is_file()} == before


def test_copies_of_a_dataset_of_lerobots_hold_its_pictures_bit_for_bit(tmp_path):
    assert pi0("keep", GOLDEN, "--episodes", "1", "--out", tmp_path / "kept") == 0
    old, new = Dataset(GOLDEN), Dataset(tmp_path / "kept")
    start = old.episodes[1].start
    for i in (0, 7, 19):
        np.testing.assert_array_equal(new.picture("top", i), old.picture("top", start + i))
        np.testing.assert_array_equal(new.column("action")[i], old.column("action")[start + i])
    assert new.task_of(0) == "fold the towel"


@pytest.mark.parametrize(("at", "encoded_again"), [(12, False), (7, True)])
def test_an_episode_is_cut_anywhere(sound, tmp_path, at, encoded_again):
    assert pi0("split", sound, "--episode", 1, "--at", at, "--out", tmp_path / "cut") == 0
    assert [e.length for e in Dataset(tmp_path / "cut").episodes] == [30, at, 24 - at, 41]
    assert_frames(tmp_path / "cut", 1, range(at))
    assert_frames(tmp_path / "cut", 2, range(at, 24))
    times = Dataset(tmp_path / "cut").column("timestamp")
    assert times[30 + at] == 0.0 and not Dataset(tmp_path / "cut").broken.any()


def test_a_split_that_cannot_be_whole_writes_neither_part(sound, tmp_path, capsys):
    assert pi0("keep", sound, "--episodes", 0, "--out", tmp_path / "one") == 0
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/letter").write_text("dear")
    for folder, out, why in (
        (tmp_path / "one", "a", "has one episode; --episode N"),
        (sound, "taken", "is there already"),
    ):
        assert pi0("split", folder, "--share", 0.5, "--out", tmp_path / out, "--rest", tmp_path / "b") == 1
        assert why in capsys.readouterr().err and not (tmp_path / "b").exists()


def test_trimming_leaves_out_an_episode_in_which_nothing_moves_and_says_so(tmp_path, capsys):
    moved = []

    def still_in_the_second(k):
        moved.append(k)
        return state(
            5 if 2 * LENGTHS[0] < len(moved) <= 2 * (LENGTHS[0] + LENGTHS[1]) else k
        )  # twice a frame: state and action

    folder = write(tmp_path / "set", state=still_in_the_second)
    assert pi0("trim", folder, "--out", tmp_path / "trimmed") == 0
    assert "episode 1 is left out: nothing moves in it" in capsys.readouterr().err
    assert len(Dataset(tmp_path / "trimmed").episodes) == 2


def test_holes_are_cut_out_and_idle_ends_trimmed(sound, tmp_path):
    holes = shutil.copytree(sound, tmp_path / "holes")
    times = Dataset(sound).column("timestamp").copy()
    times[10:30] += 2.0
    change(holes, "timestamp", times.tolist())
    assert pi0("split", holes, "--holes", "--out", tmp_path / "whole") == 0
    assert [e.length for e in Dataset(tmp_path / "whole").episodes] == [10, 20, 24, 41]
    assert_frames(tmp_path / "whole", 1, range(10, 30))
    idle = write(tmp_path / "idle", lengths=(60,), state=lambda k: state(min(max(k, 15), 40)))
    assert pi0("trim", idle, "--margin", 0.5, "--out", tmp_path / "trimmed") == 0
    shown, _ = frames(tmp_path / "trimmed", 0)
    np.testing.assert_allclose(shown, [grey(k) for k in range(10, 45)], atol=2)
    assert pi0("trim", sound, "--start", 1.0, "--end", 0.5, "--out", tmp_path / "shorter") == 0
    assert_frames(tmp_path / "shorter", 0, range(10, 25))


def test_datasets_are_merged_split_and_retitled(sound, tmp_path):
    other = write(tmp_path / "other", lengths=(5,), tasks=("clap",))
    assert pi0("merge", other, sound, "--out", tmp_path / "all") == 0
    assert [e.length for e in Dataset(tmp_path / "all").episodes] == [5, 30, 24, 41]
    assert_frames(tmp_path / "all", 3, range(41))
    assert pi0("retitle", tmp_path / "all", "--task", "wave=say hello", "--out", tmp_path / "words") == 0
    read = Dataset(tmp_path / "words")
    assert [read.task_of(e.start) for e in read.episodes] == ["clap", "say hello", "nod", "say hello"]
    assert pi0("split", tmp_path / "all", "--share", 0.5, "--out", tmp_path / "a", "--rest", tmp_path / "b") == 0
    lengths = sorted(e.length for name in "ab" for e in Dataset(tmp_path / name).episodes)
    assert lengths == [5, 24, 30, 41] and len(Dataset(tmp_path / "a").episodes) == 2


def test_words_that_no_frame_says_change_nothing_and_are_refused(sound, tmp_path, capsys):
    copy = tmp_path / "copy"
    assert pi0("retitle", sound, "--task", "wawe=say hello", "--out", copy) == 1
    told = capsys.readouterr().err
    assert "nothing would be changed; no frame says 'wawe'" in told and "'wave'" in told and not copy.exists()
    assert (
        pi0("retitle", sound, "--task", "wave=", "--out", copy) == 1 and "has no new words" in capsys.readouterr().err
    )
    both = ("--task", "wave=say hello", "--task", "nodd=bow", "--task", "nod=agree")
    assert pi0("retitle", sound, *both, "--out", copy) == 0
    assert "no frame says 'nodd'" in capsys.readouterr().err
    read = Dataset(copy)
    assert [read.task_of(e.start) for e in read.episodes] == ["say hello", "agree", "say hello"]


def test_a_merge_of_two_robots_that_are_described_alike_says_so(sound, tmp_path, capsys):
    other = write(tmp_path / "other", lengths=(5,))
    file = other / "meta/info.json"
    file.write_text(file.read_text().replace('"robot_type": "small"', '"robot_type": "large"'))
    assert pi0("merge", sound, other, "--out", tmp_path / "all") == 0
    assert "warning: of different robots (large, small); the copy says small" in capsys.readouterr().err
    assert pi0("merge", sound, sound, "--out", tmp_path / "twice") == 0
    assert "different robots" not in capsys.readouterr().err


def test_datasets_that_differ_are_not_put_together(sound, tmp_path, capsys):
    assert pi0("merge", sound, GOLDEN, "--out", tmp_path / "no") == 1
    assert "cannot be put together" in capsys.readouterr().err
    assert pi0("keep", sound, "--episodes", "0", "--out", sound) == 1
    assert "nothing is changed in place" in capsys.readouterr().err


def test_episodes_are_named_by_their_numbers(sound):
    dataset = Dataset(sound)
    assert selected(dataset, "1-") == [1, 2] and selected(dataset, "2,0-1") == [2, 0, 1]
    for wrong in ("7", "x", "1-b"):
        with pytest.raises(DataError, match="episode"):
            selected(dataset, wrong)


# --- statistics, sheets, labels ---


def test_quantiles_are_those_of_all_frames_and_not_means_of_the_episodes(tmp_path):
    def far(k):
        return state(k) + np.array([10.0 * (k > 20), 0, 0], np.float32)

    dataset = Dataset(write(tmp_path / "set", lengths=(10, 40), state=far))
    found = exact_statistics(dataset)
    values = np.concatenate([[far(k) for k in range(n)] for n in (10, 40)]).astype(float)
    for name, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        np.testing.assert_allclose(found["observation.state"][name], np.quantile(values, share, axis=0), atol=1e-5)
    assert abs(dataset.stats["observation.state"]["q50"][0] - np.quantile(values[:, 0], 0.5)) > 0.05
    greys = np.concatenate([[grey(k) for k in range(n)] for n in (10, 40)])
    assert abs(found["observation.images.eye"]["q50"][0, 0, 0] * 255 - np.quantile(greys, 0.5)) < 5


def test_statistics_of_a_merge_are_those_of_its_own_frames_and_numbers(tmp_path):
    """Both parts count from 0 and have one instruction, their first; what they say of themselves holds for neither now."""

    def far(k):
        return state(k) + np.array([50.0, 0, 0], np.float32)

    one = write(tmp_path / "one", lengths=(90,), tasks=("wave",))
    two = write(tmp_path / "two", lengths=(6, 4), tasks=("nod",), state=far)
    assert pi0("merge", one, two, "--out", tmp_path / "all") == 0
    read = Dataset(tmp_path / "all")
    values = np.concatenate([[state(k) for k in range(90)], *[[far(k) for k in range(n)] for n in (6, 4)]]).astype(
        float
    )
    known = {
        "task_index": np.repeat([0, 1], [90, 10])[:, None], "episode_index": np.repeat([0, 1, 2], [90, 6, 4])[:, None],
        "index": np.arange(100)[:, None], "observation.state": values,
    }  # fmt: skip
    for key, wanted in known.items():
        found = read.stats[key]
        assert found["count"].tolist() == [100]
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(
                found[name], getattr(np, name)(wanted, axis=0), atol=1e-5, err_msg=f"{key} {name}"
            )
        for name, share in (("q01", 0.01), ("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("q99", 0.99)):
            np.testing.assert_allclose(
                found[name], np.quantile(wanted, share, axis=0), atol=1e-5, err_msg=f"{key} {name}"
            )
    assert read.stats["observation.state"]["q99"][0] > 49  # the mean of both parts' would be about 6


def test_a_contact_sheet_shows_the_pictures_of_the_episodes(sound, tmp_path):
    assert pi0("show", sound, "--episodes", "0,2", "--columns", "5", "--out", tmp_path / "sheet.png") == 0
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    assert sheet.shape[1] > 5 * 120 and sheet.shape[0] > 2 * 200
    centre = sheet[32 + 90, 110 + 60 :: 124][:5]
    assert np.abs(centre.mean(axis=1) - [grey(k) for k in (0, 7, 14, 21, 29)]).max() <= 3


def test_labels_are_noted_and_the_old_notes_kept(sound, tmp_path):
    copy = shutil.copytree(sound, tmp_path / "set")
    assert pi0("label", copy, "--episodes", "1-2", "--outcome", "success", "--note", "good") == 0
    notes = EpisodeLog(copy).read()
    assert [notes[k]["outcome"] for k in range(3)] == ["success", "success", "success"] and notes[2]["note"] == "good"
    assert (copy / "meta/pi0_episodes.1.json").is_file()
    assert pi0("label", copy, "--episodes", "1", "--outcome", "splendid") == 1


def test_info_names_what_is_there(sound, capsys):
    assert pi0("info", sound) == 0
    said = capsys.readouterr().out
    assert (
        "3 episodes, 95 frames, 9.5 s" in said
        and "“wave”: 2 episodes" in said
        and "outcomes: success 2, failure 1" in said
    )


def test_numbers_in_other_units_than_the_checkpoints_are_named_by_their_channel(tmp_path, capsys):
    """A joint in degrees and a gripper in percent, beside channels that lie within what the checkpoint was trained on."""
    policy = pytest.importorskip("pi0_ros.policy", reason="needs what policies need")
    from pi0_ros.robot import load_robot

    _, adapter, pipeline = policy.read_policy("pi05_reach_tiny", load_robot("mobile_bimanual"), None)
    names = list(adapter.state_channels)
    known = pipeline.state_norm.statistics.values
    low, high = (np.asarray(known[q], float)[: len(names)] for q in ("q01", "q99"))
    vector = {"dtype": "float32", "shape": (len(names),), "names": names}
    factors = np.ones(len(names))
    factors[names.index("left_joint2")], factors[names.index("right_gripper")] = 180 / np.pi, 100.0

    def told(folder, factors):
        with DatasetWriter(folder, FPS, {"observation.state": vector, "action": vector}, "mobile_bimanual") as writer:
            for k in range(40):
                values = (low + (high - low) * (0.1 + 0.8 * k / 39)) * factors
                values = values.astype(np.float32)
                writer.add_frame({"observation.state": values, "action": values, "task": "reach"})
            writer.save_episode({})
        pi0("check", folder, "--checkpoint", "pi05_reach_tiny")
        lines = [line for line in capsys.readouterr().out.splitlines() if "by the statistics of" in line]
        return {line.split("state ")[1].split(":")[0] for line in lines if "state " in line}

    assert told(tmp_path / "sound", 1.0) == set()
    assert told(tmp_path / "odd", factors) == {"left_joint2", "right_gripper"}


def test_a_copy_that_is_interrupted_or_fails_leaves_nothing_that_loads(sound, tmp_path):
    def stop(said):
        if "episode 1" in said:
            raise KeyboardInterrupt

    out, pieces = tmp_path / "kept", [Piece(0), Piece(1), Piece(2)]
    with Dataset(sound) as dataset:
        with pytest.raises(KeyboardInterrupt):
            write_pieces([(dataset, pieces)], out, stop)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(DataError, match="has frames 0 to 29"):
            write_pieces([(dataset, [Piece(1), Piece(0, 30)])], out)
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "kept.partial").mkdir()  # of a process that was killed
        (tmp_path / "kept.partial" / "half").write_text("")
        assert write_pieces([(dataset, pieces)], out) == 3
    assert [f.name for f in tmp_path.iterdir()] == ["kept"] and not (out / "half").exists()
    assert [e.length for e in Dataset(out).episodes] == list(LENGTHS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_copy_onto_a_full_disk_names_the_file_and_leaves_nothing(sound, tmp_path, monkeypatch, capsys):
    written = pq.write_table

    def write(table, _, **how):
        with open("/dev/full", "wb", buffering=0) as full:  # opened: what it cannot write to by name, pyarrow removes
            written(table, full, **how)

    monkeypatch.setattr(tables.pq, "write_table", write)
    assert main(["data", "keep", str(sound), "--episodes", "0", "--out", str(tmp_path / "kept")]) == 1
    assert f"pi0: {tmp_path}/kept" in (told := capsys.readouterr().err) and ": the disk is full (" in told
    assert list(tmp_path.iterdir()) == []

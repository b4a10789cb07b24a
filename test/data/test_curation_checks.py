"""What is found in a dataset, and from which size on it is found: both sides of every bound."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import small_lerobot

pytest.importorskip("av")

from pi0_ros.data.curation import checks
from pi0_ros.data.curation.checks import Level, check, idle_ends
from pi0_ros.data.curation.pieces import Piece, write_pieces
from pi0_ros.data.dataset import Dataset, DatasetWriter
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import Episode

FPS = 10


def numbers(folder, values, names=("lift", "roll"), lengths=None, fps=FPS, more=None, task="go"):
    """A dataset without pictures; values [N, 2] are its states."""
    vector = {"dtype": "float32", "shape": (np.shape(values)[1],), "names": None if names is None else list(names)}
    features = {"observation.state": vector} | ({"stamp": {"dtype": "float64", "shape": (1,)}} if more else {})
    ends = np.cumsum(lengths or [len(values)]) - 1
    with DatasetWriter(folder, fps, features) as writer:
        for k, value in enumerate(np.asarray(values, np.float32)):
            writer.add_frame({"observation.state": value, "task": task, **({"stamp": more(k)} if more else {})})
            if k in ends:
                writer.save_episode()
    return folder


def found(folder, kind):
    return [f for f in check(Dataset(folder)) if f.kind == kind]


def moving(count):
    """[N] something that moves by at most 0.02 a frame, there and back."""
    return 0.1 * np.abs((np.arange(count) % 20) - 10) / 10


# --- jumps ---


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (2 * np.pi - 0.55, "jumps by 5.73"),
        (2 * np.pi - 0.45, "jumps by a whole turn"),
        (-(2 * np.pi + 0.45), "jumps by a whole turn"),
        (2 * np.pi + 0.55, "jumps by 6.83"),
    ],
)
def test_a_jump_of_half_a_radian_more_or_less_than_a_turn_is_a_whole_turn(tmp_path, size, said):
    values = np.stack([moving(40), np.where(np.arange(40) > 26, size, 0.0)], axis=1)
    (jump,) = found(numbers(tmp_path / "d", values, lengths=(20, 20)), "jump")
    assert (
        f"state roll {said}" in jump.sentence and "in frame 6 (1 times in all)" in jump.sentence and jump.episode == 1
    )


@pytest.mark.parametrize(
    ("usual", "size", "spread", "jumps"),
    [
        (0.02, 0.13, 0.0, False),  # 8 times what 90 % of the steps are below: 0.16
        (0.02, 0.15, 0.0, True),
        (0.0, 0.049, 0.0, False),  # what is none in any unit
        (0.0, 0.051, 0.0, True),
        (0.01, 0.2, 1.0, False),  # a quarter of the channel's range, which is then 1.2 or 1.4
        (0.01, 0.4, 1.0, True),
    ],
)
def test_a_jump_is_large_against_the_usual_steps_the_range_and_noise(tmp_path, usual, size, spread, jumps):
    """size: what the jump is beyond a usual step in the same direction."""
    k = np.arange(120)
    own = usual * (k % 2) if not spread else np.minimum(0.01 * k, spread)
    own = own + size * (k > 50)
    assert bool(found(numbers(tmp_path / "d", np.stack([moving(120), own], axis=1)), "jump")) == jumps


def test_a_gripper_and_the_step_from_one_episode_to_the_next_are_no_jumps(tmp_path):
    values = np.stack([moving(40) + 5.0 * (np.arange(40) >= 20), 1.0 * (np.arange(40) > 30)], axis=1)
    folder = numbers(tmp_path / "d", values, names=("lift", "left_gripper"), lengths=(20, 20))
    assert found(folder, "jump") == [] and found(folder, "gripper") == []
    still = numbers(tmp_path / "still", values * [1.0, 0.0], names=("lift", "left_gripper"), lengths=(20, 20))
    assert [f.sentence for f in found(still, "gripper")] == [
        "observation.state left_gripper never moves: is it connected, and recorded?"
    ]


# --- what rests ---


@pytest.mark.parametrize(("first", "last", "fits"), [(10, 10, False), (11, 3, True), (3, 11, True)])
def test_more_than_a_second_of_rest_at_an_end_is_worth_a_word(tmp_path, first, last, fits):
    """In frame `first` it has left its first place, and in frame 39 - `last` it is not yet at its last one."""
    way = np.clip(np.arange(40) - first + 1, 0, 41 - first - last)
    idle = found(numbers(tmp_path / "d", np.stack([0.01 * way, 0.0 * way], axis=1)), "idle")
    said = f"nothing moves in its first {first / 10:.1f} s and last {last / 10:.1f} s (pi0 data trim)"
    assert [(f.level, f.sentence) for f in idle] == ([(Level.NOTE, said)] if fits else [])


def test_rest_ends_where_a_channel_has_left_both_its_first_and_its_last_place():
    """By half a percent of its range; what has no range but noise moves nothing."""
    values = np.zeros((30, 2))
    values[:, 0] = np.interp(np.arange(30), [8, 17], [0.0, 2.0])
    values[:, 1] = np.where(np.arange(30) == 2, 0.0049, 0.0)  # noise of a range below 0.005
    episode = Episode(0, 4, 28, ("x",), None, {})
    assert idle_ends([values], [np.ptp(values, axis=0)], episode) == (5, 28 - 17)
    assert idle_ends([values * [0.0, 1.0]], [np.array([0.0, 0.0049])], episode) == (24, 0)


# --- names, numbers, times, words, statistics ---


def test_names_that_are_twice_or_too_few_are_found(tmp_path):
    values = np.stack([moving(20), moving(20)[::-1]], axis=1)
    assert found(numbers(tmp_path / "sound", values), "names") == []
    assert found(numbers(tmp_path / "none", values, names=None), "names") == []
    (twice,) = found(numbers(tmp_path / "twice", values, names=("lift", "lift")), "names")
    assert (twice.level, twice.sentence) == (Level.ERROR, "names of observation.state: lift is at 0 and 1")
    (few,) = found(numbers(tmp_path / "few", values, names=("lift", "roll", "yaw")), "names")
    assert (few.level, few.sentence) == (Level.WARNING, "observation.state has 2 numbers and 3 names")


@pytest.mark.parametrize(("late", "told"), [(0.045, False), (0.055, True), (-0.055, True)])
def test_stamps_half_a_frame_beside_their_times_are_found(tmp_path, late, told):
    folder = numbers(
        tmp_path / "d", np.stack([moving(20)] * 2, axis=1), more=lambda k: 500.0 + 0.1 * k + late * (k == 7)
    )
    time = found(folder, "time")
    assert len(time) == int(told) and (
        not told or "up to 0.06 s beside" in time[0].sentence or "0.05" in time[0].sentence
    )


def test_statistics_of_other_frames_or_widths_are_found_with_their_channel(tmp_path):
    values = np.stack([moving(20), 2.0 + moving(20)], axis=1)
    folder = numbers(tmp_path / "d", values)
    file = folder / "meta/stats.json"
    right = json.loads(file.read_text())

    def told(**change):
        file.write_text(json.dumps({**right, "observation.state": {**right["observation.state"], **change}}))
        return [f.sentence for f in found(folder, "statistics")]

    low, high = right["observation.state"]["min"], right["observation.state"]["max"]
    span = 0.1  # of each channel: a thousandth of it is none
    assert told() == [] and told(min=[low[0], low[1] - 0.9e-3 * span]) == []
    assert told(min=[low[0], low[1] - 1.2e-3 * span]) == [
        "statistics of observation.state roll are of other frames than these (pi0 data stats --write)"
    ]
    assert "lift" in told(max=[high[0] + 0.5, high[1]])[0] and "lift" in told(max=[high[0] - 0.05, high[1]])[0]
    assert told(min=[0.0] * 3) == ["statistics of observation.state are of 3 numbers, and it has 2 (pi0 data stats)"]


def test_datasets_of_other_rates_are_not_put_together(tmp_path):
    values = np.stack([moving(5)] * 2, axis=1)
    sources = [(Dataset(numbers(tmp_path / str(fps), values, fps=fps)), [Piece(0)]) for fps in (10, 15)]
    with pytest.raises(DataError, match=r"15 and .*/10 cannot be put together: fps is 15, and 10 in .*/10$"):
        write_pieces(sources, tmp_path / "both")
    assert not (tmp_path / "both").exists()


# --- pictures ---


def shown(folder, monkeypatch, picture, lengths=(30,), columns=None):
    """A dataset whose pictures are picture(episode, frame): grey, or [32, 32, 3]. Its robot moves all the time."""

    def drawn(episode, frame):
        return np.broadcast_to(np.asarray(picture(episode, frame), np.uint8), (32, 32, 3)).copy()

    monkeypatch.setattr(small_lerobot, "picture", drawn)
    return small_lerobot.write(folder, lengths=lengths, edit=columns)


def edged(level):
    """[32, 32, 3] with edges."""
    image = np.full((32, 32, 3), level, np.uint8)
    image[:16] = 200
    return image


def of_base(folder, kind):
    return [f for f in found(folder, kind) if f.sentence.startswith("base: ")]


def test_of_two_stretches_of_one_picture_the_longer_one_is_said(tmp_path, monkeypatch):
    """14 frames of one picture from frame 2 on, and 11 of another from frame 17 on."""

    def picture(_, frame):
        return edged(10 if 2 <= frame < 17 else 60 if 18 <= frame < 30 else 20 + 4 * frame)

    (frozen,) = of_base(shown(tmp_path / "d", monkeypatch, picture, (40,)), "frozen")
    assert "the same picture for 1.4 s from frame 2 on, while the robot moves" in frozen.sentence
    assert frozen.level is Level.ERROR and "hardly ever" not in frozen.sentence


@pytest.mark.parametrize(("frames", "told"), [(10, False), (11, True)])
def test_one_picture_for_a_second_is_frozen(tmp_path, monkeypatch, frames, told):
    """11 pictures are a second at 10 Hz."""
    picture = lambda _, k: edged(10 if 5 <= k < 5 + frames else 60 + 3 * k)
    assert bool(of_base(shown(tmp_path / "d", monkeypatch, picture), "frozen")) == told


@pytest.mark.parametrize(("length", "told"), [(4, False), (5, True)])
def test_a_short_episode_is_frozen_if_all_of_it_is(tmp_path, monkeypatch, length, told):
    picture = lambda episode, k: edged(10 if episode else 40 + 3 * k)
    frozen = of_base(shown(tmp_path / "d", monkeypatch, picture, (30, length)), "frozen")
    assert [f.episode for f in frozen] == ([1] if told else [])


@pytest.mark.parametrize(("step", "told"), [(3, True), (4, False)])
def test_pictures_that_differ_by_a_videos_noise_are_the_same(tmp_path, monkeypatch, step, told):
    picture = lambda _, k: edged(10 + step * (k % 2) if 5 <= k < 20 else 60 + 5 * (k % 20))
    assert bool(of_base(shown(tmp_path / "d", monkeypatch, picture), "frozen")) == told


def spread(low, high):
    """[32, 32, 3] of levels from low to high in each channel."""
    return np.linspace(low, high, 32).round()[:, None, None]


@pytest.mark.parametrize(
    ("low", "high", "blank"), [(0, 25, True), (5, 27, False), (100, 108, True), (100, 110, False), (247, 255, True)]
)
def test_a_picture_is_blank_if_it_is_dark_or_of_one_colour(tmp_path, monkeypatch, low, high, blank):
    """Every fourth pixel is looked at: the last of them is at 28 of 31 rows."""
    picture = lambda _, k: spread(low, min(low + (high - low) * 31 / 28, 255))
    told = of_base(shown(tmp_path / "d", monkeypatch, picture, (12,)), "blank")
    assert [f.level for f in told] == ([Level.ERROR] if blank else [])


def test_some_blank_pictures_are_a_warning_with_their_number(tmp_path, monkeypatch):
    picture = lambda _, k: 0 if k in (3, 8, 9) else edged(40 + k)
    (told,) = of_base(shown(tmp_path / "d", monkeypatch, picture, (12,)), "blank")
    assert told.level is Level.WARNING and "3 of 12 pictures that were looked at are black" in told.sentence


def test_of_a_long_episode_120_pictures_are_looked_at_and_of_a_single_frame_one(tmp_path, monkeypatch):
    folder = shown(tmp_path / "d", monkeypatch, lambda episode, k: 0, (130, 1))
    assert [f.sentence.split(" pictures")[0] for f in of_base(folder, "blank")] == ["base: 120 of 120", "base: 1 of 1"]


@pytest.mark.parametrize(("every", "level"), [(3, Level.ERROR), (5, Level.WARNING)])
def test_a_camera_that_changes_with_a_quarter_of_the_robots_steps_sees_it(tmp_path, monkeypatch, every, level):
    """In the first episode every third, or fifth, step changes the picture; the second is frozen."""
    picture = lambda episode, k: edged(10 if episode else 20 + 4 * (k // every))
    frozen = of_base(shown(tmp_path / "d", monkeypatch, picture, (60, 20)), "frozen")
    assert [(f.episode, f.level) for f in frozen] == [(1, level)]


@pytest.mark.parametrize(("off", "told"), [(0.9e-6, False), (1.5e-6, True)])
def test_statistics_of_what_never_moves_may_be_a_millionth_off(tmp_path, off, told):
    folder = numbers(tmp_path / "d", np.stack([moving(20), np.zeros(20)], axis=1))
    file = folder / "meta/stats.json"
    stats = json.loads(file.read_text())
    stats["observation.state"]["max"][1] += off
    file.write_text(json.dumps(stats))
    assert bool(found(folder, "statistics")) == told


class Few:
    """Two episodes of three and four frames at 10 Hz, number 5 and 8, with what is given of their numbers and words."""

    fps, left_out, stats = 10, (), {}
    episodes = (Episode(5, 0, 3, ("go",), None, {}), Episode(8, 3, 7, ("go",), None, {}))

    def __init__(self, words=("go",) * 7, **columns):
        self.words, self.columns = words, {k: np.asarray(v) for k, v in columns.items()}
        self.broken = np.zeros(7, bool)
        self.cameras = ()
        self.features = {
            k: {"dtype": str(v.dtype), "shape": v.shape[1:] or (1,), "names": ["x", "y"][: v.ndim * 2 - 2] or None}
            for k, v in self.columns.items()
        }

    def __len__(self):
        return 7

    def column(self, key):
        return self.columns[key]

    def task_of(self, frame):
        return self.words[frame]

    def episode_of(self, frame):
        return self.episodes[int(frame >= 3)]


def of_kind(dataset, kind):
    return [(f.level, f.episode, f.sentence) for f in check(dataset) if f.kind == kind]


def test_what_is_no_number_is_named_with_its_first_frame_and_how_often_it_is():
    pose = np.arange(14.0).reshape(7, 2)
    pose[[4, 6], 1], pose[2, 0] = (np.nan, np.inf), -np.inf
    assert of_kind(Few(pose=pose), "nan") == [
        (Level.ERROR, 5, "pose x is no number in frame 2 (1 frame in all)"),
        (Level.ERROR, 8, "pose y is no number in frame 1 (2 frames in all)"),
    ]
    assert of_kind(Few(pose=np.arange(14.0).reshape(7, 2)), "nan") == []


def test_frames_without_words_are_counted_in_their_episode():
    assert of_kind(Few(("go", "go", "go", " ", "go", "", "")), "words") == [
        (Level.WARNING, 8, "3 of 4 frames have no instruction (pi0 data retitle)")
    ]
    assert of_kind(Few(), "words") == []


def test_holes_in_time_are_counted_from_the_beginning_of_their_episode():
    dataset = Few()
    dataset.broken[[1, 4, 5]] = True
    assert [(e, s.partition(";")[0]) for _, e, s in of_kind(dataset, "gap")] == [
        (5, "1 hole in time, the first behind frame 1"),
        (8, "2 holes in time, the first behind frame 1"),
    ]


def test_jumps_in_two_episodes_are_said_of_the_first_one():
    many = np.concatenate([np.zeros(20), np.full(40, 9.0), np.zeros(20)])

    class Long(Few):
        episodes = (Episode(5, 0, 40, ("go",), None, {}), Episode(8, 40, 80, ("go",), None, {}))

        def __len__(self):
            return 80

        def episode_of(self, frame):
            return self.episodes[int(frame >= 40)]

    long = Long(("go",) * 80, action=np.stack([many, many * 0], axis=1))
    long.broken = np.zeros(80, bool)
    assert of_kind(long, "jump") == [
        (Level.WARNING, 5, "action x jumps by 9 (90 % of its steps are below 0), in frame 19 (2 times in all)")
    ]


def test_findings_come_by_level_and_then_by_episode():
    pose = np.zeros((7, 2))
    pose[5, 0] = np.nan
    dataset = Few(("",) * 7, pose=pose)
    dataset.left_out = ("episode 9: the tables have 0 rows of it",)
    dataset.broken[1] = True
    assert [(f.kind, f.episode) for f in check(dataset) if f.kind in ("rows", "nan", "gap", "words")] == [
        ("rows", None), ("gap", 5), ("nan", 8), ("words", 5), ("words", 8),
    ]  # fmt: skip


def test_numbers_of_episodes_that_are_not_counted_from_0_are_said_once_with_the_way_out():
    (numbering,) = of_kind(Few(), "numbering")
    assert numbering[:2] == (Level.ERROR, None) and "number 5 stands where 0 should" in numbering[2]
    dataset = Few()
    dataset.left_out = ("episode 3: too short",)
    assert of_kind(dataset, "numbering") == [], "numbers that were left out leave gaps"


def test_a_film_with_other_than_its_episodes_rows_is_named(monkeypatch, tmp_path):
    pictures = {"a.mp4": 3, "b.mp4": 9, "c.mp4": 6, "d.mp4": 7}
    monkeypatch.setattr(checks, "picture_count", lambda file: pictures[file.name])
    dataset = Few()
    dataset.folder = tmp_path

    def film(one, two):
        places = [{"eye": (tmp_path / name, 0.0)} for name in (one, two)]
        dataset.episodes = tuple(replace(e, videos=v) for e, v in zip(Few.episodes, places, strict=True))
        return of_kind(dataset, "video")

    assert film("d.mp4", "d.mp4") == []
    assert film("c.mp4", "c.mp4") == [
        (Level.ERROR, None, "eye: c.mp4 has 6 pictures, and its 2 episodes 7 rows: pictures may be of other rows")
    ]
    assert film("a.mp4", "b.mp4") == [
        (Level.WARNING, 8, "eye: b.mp4 has 9 pictures, and its 1 episode 4 rows: pictures may be of other rows")
    ]

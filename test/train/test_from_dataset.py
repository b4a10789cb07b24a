"""A LeRobot dataset as training frames: chunks, words and places of every frame that can be used."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pi0_ros.data.dataset import Dataset, DatasetWriter
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.touch.localised import localised
from pi0_ros.train import from_dataset
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import join, load_frames, save_frames
from pi0_ros.train.from_dataset import frames_of
from pi0_ros.train.mixture import Choice

ADAPTER = load_adapter("mobile_bimanual")
NAMES = list(ADAPTER.action_channels)
PICTURE = {"dtype": "video", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
TASK = "touch the red block with the left arm"
PLACES = [f"{c}.red.{n}" for c in ("base", "left_wrist", "right_wrist") for n in ("x", "y", "visible")]


def write(
    folder: Path, cameras: tuple[str, ...] = ("base", "left_wrist", "right_wrist"), silent=(), aim="", task=TASK
) -> Dataset:
    """12 frames; in those that are `silent` the left wrist's camera gave no picture. aim: what is meant, "" untold."""
    features = {f"observation.images.{c}": PICTURE for c in cameras} | {
        "observation.state": {"dtype": "float32", "shape": (18,), "names": NAMES},
        "action": {"dtype": "float32", "shape": (18,), "names": NAMES},
        "localisation": {"dtype": "float32", "shape": (9,), "names": PLACES},
        "perturbed": {"dtype": "int64", "shape": (1,), "names": None},
    }
    if aim:
        features["aim"] = {"dtype": "string", "shape": (1,), "names": None}
    if silent:
        features["camera_present"] = {"dtype": "bool", "shape": (len(cameras),), "names": list(cameras)}
    with DatasetWriter(folder, 10, features) as writer:
        for k in range(12):
            row = {f"observation.images.{c}": np.full((32, 32, 3), 20 * k, np.uint8) for c in cameras}
            state = np.full(18, k, np.float32)
            places = np.array([0.25, 0.5, 1, 0, 0, 0, 0, 0, 0], np.float32)
            numbers = {"observation.state": state, "action": state + 0.5, "localisation": places}
            pushed = np.array([int(k == 4)], np.int64)
            if silent:
                numbers["camera_present"] = np.array([c != "left_wrist" or k not in silent for c in cameras])
            writer.add_frame({**row, **numbers, "perturbed": pushed, "task": task, **({"aim": aim} if aim else {})})
        writer.save_episode()
    return Dataset(folder)


def test_chunks_hold_the_last_action_at_the_end_and_never_run_over_a_push(tmp_path):
    frames = frames_of(write(tmp_path / "d"), ADAPTER, size=16, horizon=4, episodes=[0])
    assert frames.state[:, 0].tolist() == [0, *range(4, 12)]  # frames 1 to 3 would run into the push before frame 4
    assert frames.chunk[0, :, 0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert frames.chunk[-1, :, 0].tolist() == [11.5] * 4
    assert frames.images.shape == (9, 3, 16, 16, 3) and abs(int(frames.images[1, 0].mean()) - 80) <= 3


def test_one_of_so_many_frames_is_taken_with_its_whole_chunk(tmp_path):
    frames = frames_of(write(tmp_path / "d"), ADAPTER, 16, 4, [0], choice=Choice(every=4))
    assert frames.state[:, 0].tolist() == [0, 7, 11] and len(frames.images) == 3
    assert frames.chunk[1, :, 0].tolist() == [7.5, 8.5, 9.5, 10.5] and frames.valid.tolist() == [4, 4, 1]


def test_places_and_words_come_along(tmp_path):
    frames = frames_of(write(tmp_path / "d"), ADAPTER, size=16, horizon=4, episodes=[0], facts=localised)
    assert frames.texts == ("touch the red block with the left arm",) and (frames.high_task == -1).all()
    assert frames.facts[0].tolist() == [516, 260, -1, -1, -1, -1, -1, 516, 260, -1, -1, -1, -1, -1]


def test_what_is_meant_is_found_by_the_aim_whatever_the_words_call_it(tmp_path):
    renamed = write(tmp_path / "d", aim="red", task="touch the tomato block with the left arm")
    frames = frames_of(renamed, ADAPTER, size=16, horizon=4, episodes=[0], facts=localised)
    assert frames.facts[0][:2].tolist() == [516, 260]  # where the red block lies
    untold = write(tmp_path / "e", task="touch the tomato block with the left arm")
    frames = frames_of(untold, ADAPTER, size=16, horizon=4, episodes=[0], facts=localised)
    assert frames.facts[0][:2].tolist() == [-1, -1]


def test_a_missing_camera_is_named(tmp_path):
    with pytest.raises(TrainError, match="no camera right_wrist"):
        frames_of(write(tmp_path / "d", ("base", "left_wrist")), ADAPTER, size=16, horizon=4, episodes=[0])


def test_a_camera_that_gave_no_picture_is_marked_also_on_disk_and_beside_frames_of_other_datasets(tmp_path):
    all_there = frames_of(write(tmp_path / "whole"), ADAPTER, size=16, horizon=4, episodes=[0])
    some = frames_of(write(tmp_path / "gaps", silent=(0, 6, 7)), ADAPTER, size=16, horizon=4, episodes=[0])
    assert all_there.present is None
    assert some.present[:, 1].tolist() == [False, True, True, False, False, *[True] * 4]  # frames 0, 4, 5, 6 ...
    assert some.present[:, [0, 2]].all()
    save_frames(some, tmp_path / "shard")
    kept = load_frames(tmp_path / "shard")
    assert np.array_equal(kept.present, some.present)
    both = join([all_there, kept])
    assert np.array_equal(both.present, np.concatenate([np.ones((9, 3), bool), some.present]))
    assert join([all_there, all_there]).present is None


class Recorded:
    """A dataset of a few columns. Frames have their number in each of their columns, unless it is given."""

    folder, left_out = Path("mine"), ()

    def __init__(self, lengths=(4, 3), fps=10.0, holes=(), tasks=None, size=(32, 32), **columns):
        starts = np.cumsum([0, *lengths])
        self.episodes = [
            SimpleNamespace(index=number + 5, start=int(a), stop=int(b), length=int(b - a))
            for number, (a, b) in enumerate(itertools.pairwise(starts))
        ]
        self.fps, self.cameras, self._size = fps, ("front", "hand"), size
        self.broken = np.isin(np.arange(starts[-1]), holes)
        self._tasks = tasks or ["go"] * int(starts[-1])
        self._columns = {k: np.asarray(v) for k, v in columns.items()}
        self.features = {k: {"dtype": str(v.dtype)} for k, v in self._columns.items()}
        self.read: list[tuple[str, int]] = []

    def __len__(self):
        return len(self.broken)

    def task_of(self, frame):
        return self._tasks[frame]

    def column(self, name):
        return self._columns[name]

    def episode_of(self, row):
        return next(e for e in self.episodes if e.start <= row < e.stop)

    def pictures(self, camera, position):
        self.read.append((camera, position))
        episode, shade = self.episodes[position], 100 * (camera == "hand")
        return (np.full((*self._size, 3), 10 * n + shade, np.uint8) for n in range(episode.start, episode.stop))


def kept(dataset, reach, bad=()):
    spoilt = np.isin(np.arange(len(dataset)), bad)
    return [row for e in dataset.episodes for row in from_dataset._kept(dataset, e, reach, spoilt)]


@pytest.mark.parametrize(
    ("reach", "left"),
    [(1, range(7)), (2, (0, 1, 3, 4, 5, 6)), (3, (0, 3, 4, 5, 6)), (4, (3, 4, 5, 6)), (9, (3, 4, 5, 6))],
)
def test_a_chunk_before_a_hole_or_a_push_ends_there_at_the_latest_and_one_from_there_on_is_taken(reach, left):
    """A hole behind frame 2, or a push in frame 3: frame 3 is the first that a chunk before it may not reach."""
    pushed = np.arange(7) == 3
    assert kept(Recorded((7,), holes=(2,)), reach) == kept(Recorded((7,), perturbed=pushed), reach) == [*left]


def test_frames_without_words_and_chunks_with_a_value_that_is_no_number_are_left_out_within_their_episode():
    assert kept(Recorded(tasks=["go", "", "go", "go", "", "go", "go"]), 2) == [0, 2, 3, 5, 6]
    assert kept(Recorded(), 2, bad=(2, 4)) == [0, 3, 5, 6]
    assert kept(Recorded(), 3, bad=(4,)) == [0, 1, 2, 3, 5, 6], "the episode before ends before it"
    assert kept(Recorded(perturbed=np.arange(7) == 4), 3) == [*range(7)], "a push that the next one begins with"


def test_rows_ahead_are_so_many_frames_apart_and_the_last_of_the_episode_stands_for_those_behind_it():
    rows, valid = from_dataset._ahead(Recorded((4, 5)), np.array([0, 2, 4, 7]), np.array([0, 0, 1, 1]), 3, 2)
    assert rows.tolist() == [[0, 2, 3], [2, 3, 3], [4, 6, 8], [7, 8, 8]] and valid.tolist() == [2, 1, 3, 1]


@pytest.mark.parametrize(
    ("fps", "period", "stride"),
    [(10.0, 0.1, 1), (50.0, 0.1, 5), (29.97, 0.0333667, 1), (10.0, 0.10009, 1), (10.0, 0.10011, 0), (10.0, 0.04, 0),
     (15.0, 0.1, 0), (10.0, 0.0001, 0)],
)  # fmt: skip
def test_a_period_is_a_whole_number_of_frames_to_a_thousandth_and_one_at_least(fps, period, stride):
    adapter = SimpleNamespace(period=period, file="p.yaml")
    if stride:
        assert from_dataset._stride(Recorded(fps=fps), adapter) == stride
    else:
        with pytest.raises(TrainError, match=rf"mine/meta/info.json: {fps:g} fps gives no rows every .*p\.yaml"):
            from_dataset._stride(Recorded(fps=fps), adapter)


def test_slots_are_filled_by_the_cameras_as_the_dataset_calls_them():
    adapter = SimpleNamespace(cameras={"base": "front", "left": None, "right": "wrist"}, dataset=None, file="p.yaml")
    with pytest.raises(TrainError, match="mine: no camera wrist; it has front, hand;"):
        from_dataset.dataset_cameras(Recorded(), adapter)
    adapter.dataset = SimpleNamespace(cameras={"wrist": "hand"})
    assert from_dataset.dataset_cameras(Recorded(), adapter) == [("base", "front"), ("right", "hand")]


def test_pictures_of_chosen_frames_are_made_small_camera_by_camera_with_the_first_ones_shape():
    dataset = Recorded((4, 3), size=(24, 32))
    found = list(from_dataset._pictures(dataset, [("a", "hand"), ("b", "front")], 1, 16, [4, 6]))
    assert [shape for _, shape in found] == [(24, 32)] * 2
    assert [[int(picture[8, 8, 0]) for picture in pictures] for pictures, _ in found] == [[140, 40], [160, 60]]
    assert found[0][0].shape == (2, 16, 16, 3) and int(found[0][0][0, 0, 8, 0]) == 0, "between black bars"
    assert dataset.read == [("hand", 1), ("front", 1)]
    blind = list(from_dataset._pictures(dataset, [], 0, 16, [0, 2, 3]))
    assert [(p.shape, shape) for p, shape in blind] == [((0, 16, 16, 3), (16, 16))] * 3 and len(dataset.read) == 2


def test_shards_hold_whole_episodes_until_they_are_large_enough(monkeypatch):
    monkeypatch.setattr(from_dataset, "SHARD", 5)
    assert list(from_dataset._shards(Recorded((2, 3, 4, 9, 1, 1)))) == [[0, 1], [2, 3], [4, 5]]
    assert list(from_dataset._shards(Recorded((5, 2, 3)))) == [[0], [1, 2]]


def test_the_high_level_task_is_the_datasets_and_none_where_it_has_none():
    assert from_dataset._high(Recorded(), 2) == ("", "")
    words = Recorded(high_level_task=list("abcdefg"), high_level_target=list("hijklmn"))
    assert from_dataset._high(words, 2) == ("c", "j")


def test_why_frames_are_left_out_is_said_with_numbers(monkeypatch):
    bad = np.arange(7) == 6
    monkeypatch.setattr(from_dataset, "model_vectors", lambda *_: ("state", "action"))
    monkeypatch.setattr(from_dataset, "unusable", lambda *_: (bad, "x"))
    monkeypatch.setattr(from_dataset, "chosen_frames", lambda *_: np.arange(7) > 2)
    pushed = np.isin(np.arange(7), (1, 5))
    dataset = Recorded(tasks=["go", "", "", "go", "go", "go", "go"], holes=(3,), perturbed=pushed)
    assert list(from_dataset._left_out(dataset, ADAPTER, Choice(every=3))) == [
        "2 without an instruction",
        "1 hole in time, over which no chunk runs",
        "1 with a value that is no number, over which none runs either",
        "2 disturbances, into which none runs",
        "all but one of 3 of the others",
        "3 that the mixture does not ask for",
    ]
    bad[:] = False
    monkeypatch.setattr(from_dataset, "chosen_frames", lambda *_: np.ones(7, bool))
    assert list(from_dataset._left_out(Recorded(), ADAPTER, Choice())) == [
        "0 without an instruction",
        "0 holes in time, over which no chunk runs",
    ]


def boxes_used(labels, used, there=(), **columns):
    dataset = Recorded(high_level_task=["t"] * 7, high_level_target=[*"abc", "", *"efg"], **columns)
    adapter = SimpleNamespace(
        cameras={"base": "front"}, question_cameras={"base": "front"}, dataset=None, file="p.yaml"
    )
    return from_dataset._boxes_used("b.jsonl", dataset, adapter, labels, used)


def test_on_how_many_frames_boxes_are_trained_on_is_said_with_why_not_on_the_others(monkeypatch):
    monkeypatch.setattr(from_dataset, "present_rows", lambda dataset, camera: np.arange(7) != 5)
    cup = ("cup",)
    said = boxes_used({0: cup, 1: (), 3: cup, 5: cup, 6: cup, 2: cup}, 2)
    assert said == (
        "b.jsonl: boxes in the pictures of front: 2 of 5 frames with boxes can be drawn; 1 have no subtask to say behind them; "
        "1 have no picture of front; 1 are not trained on"
    )
    assert boxes_used({0: cup}, 1).endswith("1 of 1 frame with boxes can be drawn")
    assert boxes_used({1: ()}, 0).endswith("0 of 0 frames with boxes can be drawn")
    with pytest.raises(
        TrainError, match="boxes of 2 frames, and none can be learned; 1 have no subtask .*; 1 have no pic"
    ):
        boxes_used({3: cup, 5: cup}, 0)


def test_boxes_are_refused_where_a_question_does_not_show_their_camera():
    adapter = SimpleNamespace(cameras={"base": "front"}, question_cameras={"base": "hand"}, dataset=None, file="p.yaml")
    with pytest.raises(TrainError, match="pictures of front, which high_level_cameras in p.yaml does not show in base"):
        from_dataset._boxes_used("b.jsonl", Recorded(), adapter, {0: ("cup",)}, 1)


def test_the_speed_of_reading_is_pictures_by_seconds(tmp_path):
    said = from_dataset._speed(300, 7.5, tmp_path / "speed.json")
    assert said == "300 pictures decoded and made small in 7.5 s, 40 a second"
    found = json.loads((tmp_path / "speed.json").read_text())
    assert found == {"pictures": 300, "seconds": 7.5, "pictures_per_s": 40.0}


def test_a_dataset_without_a_frame_that_can_be_used_has_frames_of_the_right_shapes():
    dataset = Recorded()
    cameras = [("base", "front"), ("left_wrist", "hand")]
    empty = from_dataset.empty_frames(cameras, ADAPTER, 16, 5, 20)
    assert (empty.cameras, empty.channels, empty.period) == (("base", "left_wrist"), ADAPTER.action_channels, 0.1)
    shapes = {n: getattr(empty, n).shape for n in ("images", "state", "chunk", "facts", "valid", "task")}
    assert shapes == {
        "images": (0, 2, 16, 16, 3), "state": (0, 20), "chunk": (0, 5, 18), "facts": (0, 0), "valid": (0,), "task": (0,),
    }  # fmt: skip
    assert len(dataset) == 7 and len(empty) == 0


def vectors(dataset, monkeypatch, **changes):
    """`frames_of` with the state and action of each frame as its number, and ten more."""
    numbers = np.repeat(np.arange(float(len(dataset)))[:, None], 18, 1)
    for name, value in (
        ("model_vectors", lambda *_: (numbers / 100, numbers / 100 + 0.1)),
        ("check_motion", lambda *_: None),
        ("dataset_cameras", lambda *_: [("base", "front"), ("left_wrist", "hand")]),
        ("present_rows", lambda dataset, camera: np.ones(len(dataset), bool)),
        ("chosen_frames", lambda dataset, choice: np.arange(len(dataset)) != 9),
    ):
        monkeypatch.setattr(from_dataset, name, value)
    return frames_of(dataset, ADAPTER, 16, 3, changes.pop("episodes", [0, 1]), **changes)


def test_of_each_episode_other_frames_are_taken_if_one_of_so_many_is(monkeypatch):
    """The first episode begins with its first frame, the second with its second: moments differ as much as they can."""
    dataset = Recorded((5, 6), tasks=["go", "stay", *["go"] * 9], intervention=np.arange(11) == 7)
    found = vectors(dataset, monkeypatch, choice=Choice(every=2, interventions=4.0))
    # Of the second episode 5, 6 and 10 are left: frame 9 was not chosen, which chunks of 7 and 8 would reach.
    assert (found.state[:, 0] * 100).round().tolist() == [0, 2, 4, 6]
    assert found.episode.tolist() == [0, 0, 0, 1] and found.valid.tolist() == [3, 3, 1, 3]
    assert found.weight.tolist() == [1.0] * 4 and found.present is None
    assert [int(one[0, 8, 8, 0]) for one in found.images] == [0, 20, 40, 60]
    assert [int(one[1, 8, 8, 0]) for one in found.images] == [100, 120, 140, 160]
    all_of_them = vectors(dataset, monkeypatch, choice=Choice(interventions=4.0), facts=lambda dataset, row: [row, 2])
    rows = [0, 1, 2, 3, 4, 5, 6, 10]
    assert all_of_them.facts.tolist() == [[row, 2] for row in rows]
    assert [all_of_them.texts[t] for t in all_of_them.task] == ["go", "stay", *["go"] * 6]
    np.testing.assert_allclose(all_of_them.chunk[5, :, 3], [0.15, 0.16, 0.17], atol=1e-6)
    alone = vectors(dataset, monkeypatch, episodes=[1], see=False)
    assert alone.images.shape == (3, 0, 16, 16, 3) and alone.cameras == () and alone.weight is None
    assert alone.episode.tolist() == [1, 1, 1]


def test_a_chunk_of_every_second_frame_reaches_twice_as_far(monkeypatch):
    dataset = Recorded((11,), fps=20.0)
    found = vectors(dataset, monkeypatch, episodes=[0])
    assert (found.state[:, 0] * 100).round().tolist() == [
        0,
        1,
        2,
        3,
        10,
    ]  # frame 9, five frames behind 4, was not chosen
    np.testing.assert_allclose(found.chunk[3, :, 0], [0.13, 0.15, 0.17], atol=1e-6)
    assert found.valid.tolist() == [3, 3, 3, 3, 1]


@pytest.mark.parametrize(
    ("choice", "why"),
    [(Choice(), "a whole chunk$"), (Choice(every=2), "a whole chunk, and is of the drivers, outcomes and lengths")],
)
def test_a_dataset_of_which_nothing_is_left_is_refused_with_what_was_asked_of_it(tmp_path, monkeypatch, choice, why):
    monkeypatch.setattr(from_dataset, "Dataset", lambda folder, skip_bad: Recorded(tasks=[""] * 7))
    monkeypatch.setattr(from_dataset, "frames_of", lambda *_: from_dataset.empty_frames([], ADAPTER, 16, 4, 18))
    monkeypatch.setattr(from_dataset, "dataset_cameras", lambda *_: [])
    with pytest.raises(TrainError, match=f"mine: no frame can be used: none has an instruction and {why}"):
        from_dataset.write_dataset_frames(Path("mine"), tmp_path, ADAPTER, 16, 4, choice=choice)

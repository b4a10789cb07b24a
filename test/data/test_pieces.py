"""Parts of episodes as a copy takes them: which frames, words, pictures and statistics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av")

from small_lerobot import encoded, picture

from pi0_ros.data.curation import pieces
from pi0_ros.data.curation.pieces import Piece, selected, write_pieces
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import Episode
from pi0_ros.data.video import VideoReader

WORDS = ("wave", "wave", "nod", "nod", "wave")


class Recorded:
    """Episode 4 is frames 0 to 4, episode 9 frames 5 to 11; a camera whose pictures tell their frame."""

    folder, fps, cameras = Path("set"), 10.0, ("eye",)
    layout = SimpleNamespace(cameras={"eye": "film"}, stills=())
    episodes = (
        Episode(4, 0, 5, ("wave",), Path("a"), {"eye": (Path("a.mp4"), 0.0)}),
        Episode(9, 5, 12, ("nod",), Path("a"), {"eye": (Path("a.mp4"), 0.5)}),
    )

    def __init__(self):
        self.seen = []

    def task_of(self, frame):
        return WORDS[frame % 5]

    def picture(self, camera, frame):
        assert camera == "eye"
        self.seen.append(frame)
        return picture(1, frame % 30)


@pytest.mark.parametrize(
    ("text", "positions"),
    [("4", [0]), ("9,4", [1, 0]), ("4-9", [0, 1]), ("0-5", [0]), ("5-", [1]), (" 9 , 4-9", [1, 0]), ("4-4", [0])],
)
def test_episodes_are_chosen_by_their_numbers_in_the_order_in_which_they_are_named(text, positions):
    assert selected(Recorded(), text) == positions


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5-8", "set: has no episode 5-8; there are 4 to 9"),
        ("10-", "has no episode 10-"),
        ("4,x", "episodes '4,x': 'x' is no number or range such as 2-5"),
        ("9-4", "has no episode 9-4"),
    ],
)
def test_a_range_without_an_episode_or_that_is_none_is_refused(text, said):
    with pytest.raises(DataError, match=said):
        selected(Recorded(), text)


def content(monkeypatch, piece):
    """What is to be put on disk; parts of videos and tables are named by what they are of."""
    monkeypatch.setattr(pieces, "_table", lambda dataset, frames: frames.tolist())
    monkeypatch.setattr(pieces, "_part", lambda dataset, camera, start, frames, place, folder: (camera, start, place))
    monkeypatch.setattr(pieces, "_statistics", lambda dataset, camera, frames: f"{camera} {frames[0]}")
    dataset = Recorded()
    return pieces._content(dataset, dataset.episodes[piece.position], piece, {"by": "me"}, Path("tmp"))


def test_a_piece_has_its_own_frames_words_pictures_and_note(monkeypatch):
    found = content(monkeypatch, Piece(1, 2, 5))
    assert found.table == [7, 8, 9] and found.tasks == ["nod", "nod", "wave"] and found.note == {"by": "me"}
    assert found.videos == {"film": ("eye", 2, (Path("a.mp4"), 0.5))} and found.pictures == {"film": "eye 7"}
    assert content(monkeypatch, Piece(0, 3)).table == [3, 4] and content(monkeypatch, Piece(0, 4, 99)).table == [4]


def test_words_of_a_piece_are_replaced_all_or_those_that_are_named(monkeypatch):
    assert content(monkeypatch, Piece(0, task="bow")).tasks == ["bow"] * 5
    assert content(monkeypatch, Piece(0, task="")).tasks == [""] * 5
    renamed = (("wave", "greet"), ("greet", "bow"))
    assert content(monkeypatch, Piece(0, 1, renamed=renamed)).tasks == ["greet", "nod", "nod", "greet"]


@pytest.mark.parametrize(
    ("start", "stop", "said"), [(3, 3, "not 3 to 2"), (5, None, "not 5 to 4"), (-1, 2, "not -1 to 1")]
)
def test_a_piece_without_a_frame_or_outside_its_episode_is_refused(monkeypatch, start, stop, said):
    with pytest.raises(DataError, match=f"set: episode 4 has frames 0 to 4, {said}"):
        content(monkeypatch, Piece(0, start, stop))


@pytest.mark.parametrize("cut", [True, False])
def test_pictures_are_taken_as_they_are_encoded_or_encoded_again(tmp_path, monkeypatch, cut):
    """The episode begins at 0.5 s of its file, which are 5 pictures at 10 Hz; the piece 2 behind that."""
    asked, dataset = [], Recorded()
    monkeypatch.setattr(pieces, "may_be_cut_out", lambda *what: asked.append(what) or cut)
    part = pieces._part(dataset, "eye", 2, np.arange(7, 10), (Path("a.mp4"), 0.5), tmp_path)
    assert asked == [(Path("a.mp4"), 7, 3)]
    if cut:
        assert (part.file, part.frames, part.start) == (Path("a.mp4"), 3, 7) and dataset.seen == []
        return
    assert (part.file, part.frames, part.start) == (tmp_path / "eye.mp4", 3, 0) and dataset.seen == [7, 8, 9]
    reader = VideoReader(part.file)
    assert [round(p.mean((0, 1))[1] / 8) for p in reader.at([0.0, 0.1, 0.2])] == [7, 8, 9]
    reader.close()


def test_statistics_of_a_pieces_pictures_are_of_those_that_are_sampled(monkeypatch):
    dataset = Recorded()
    found = pieces._statistics(dataset, "eye", np.arange(7, 10))
    assert dataset.seen == [7, 8, 9] and found["count"].tolist() == [3]
    assert found["mean"].ravel() * 255 == pytest.approx([60.0, 64.0, 0.0])
    pieces._statistics(dataset, "eye", np.arange(1000, 1250))
    assert dataset.seen[3:] == list(range(1000, 1250, 3))


def test_a_picture_in_a_table_becomes_its_bytes(tmp_path):
    dataset, data = SimpleNamespace(folder=tmp_path), encoded(picture(1, 2))
    (tmp_path / "one.png").write_bytes(data)
    for held in ({"bytes": data, "path": None}, {"bytes": None, "path": "one.png"}, data):
        assert pieces._still(dataset, "eye", held) == {"bytes": data, "path": None}
    for held in ({"bytes": None, "path": "two.png"}, {"bytes": None}, None):
        with pytest.raises(DataError, match="a picture of eye cannot be read"):
            pieces._still(dataset, "eye", held)


def source(folder, robot="arm", fps=10, **features):
    layout = SimpleNamespace(robot_type=robot)
    own = {"pose": {"dtype": "float32", "shape": [2], "names": ["x", "y"]}} | features
    return SimpleNamespace(folder=Path(folder), fps=fps, features=own, layout=layout)


def test_a_copy_of_several_robots_says_whose_name_it_has_and_one_of_an_unnamed_robot_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "_write", lambda sources, out, say: out.mkdir(parents=True) or 7)
    said, settled = [], []
    monkeypatch.setattr(pieces, "settle_statistics", lambda folder: settled.append(folder.name))
    for others in (["arm", "unknown"], ["leg", "arm"]):
        datasets = [(source("a"), [Piece(0)]), *[(source("b", robot), []) for robot in others]]
        assert write_pieces(datasets, tmp_path / str(len(said)) / others[0], said.append) == 7
    assert said == ["warning: of different robots (arm, leg); the copy says arm"]
    assert settled == ["arm.partial", "leg.partial"], "statistics are those of the copy's own frames"


@pytest.mark.parametrize(
    ("second", "picked", "said"),
    [
        (source("b", lift={"dtype": "float32", "shape": [1], "names": None}), [Piece(0)], "lift is only in the new frames"),
        (source("b", fps=12), [Piece(0)], "b and a cannot be put together: fps is 12, and 10 in a"),
        (source("b"), [], "a: no episode is left"),
    ],
)  # fmt: skip
def test_a_copy_of_what_does_not_fit_or_of_nothing_is_refused(tmp_path, second, picked, said):
    with pytest.raises(DataError, match=said):
        write_pieces([(source("a"), picked), (second, picked)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pieces_are_put_behind_one_another_with_their_notes_and_each_is_said(tmp_path, monkeypatch):
    made, contents, said = [], [], []

    class Files:
        episodes = 0

        def __init__(self, *what):
            made.append(what)

        def append(self, content):
            contents.append(content)
            self.episodes += 1

    def content(dataset, episode, piece, note, folder):
        assert folder.parent == tmp_path and folder.is_dir()
        return SimpleNamespace(length=3, of=(episode.index, piece.task, note))

    monkeypatch.setattr(pieces, "DatasetFiles", Files)
    monkeypatch.setattr(pieces, "_content", content)
    notes = {4: {"by": "me", "score": 1.0}}
    monkeypatch.setattr(pieces, "EpisodeLog", lambda folder: SimpleNamespace(read=lambda: notes))
    dataset = Recorded()
    dataset.features = {"pose": {"dtype": "float32", "shape": [2]}, "index": {"dtype": "int64", "shape": [1]}}
    dataset.layout = SimpleNamespace(robot_type="arm")
    picked = [Piece(1, task="nod"), Piece(0, note={"score": 0.5})]
    assert pieces._write([(dataset, picked)], tmp_path, said.append) == 2
    assert [c.of for c in contents] == [(9, "nod", {}), (4, None, {"by": "me", "score": 0.5})]
    assert said == ["set: episode 9 → 0 (3 frames)", "set: episode 4 → 1 (3 frames)"]
    (folder, fps, features, robot, limits) = made[0]
    assert (folder, fps, robot, limits.video) == (tmp_path, 10.0, "arm", 0) and list(tmp_path.iterdir()) == []
    assert list(features) == ["pose", "timestamp", "frame_index", "episode_index", "index", "task_index"]

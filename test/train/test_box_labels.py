"""Boxes on frames of a recorded dataset: said before the subtask that was recorded there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import small_lerobot
from small_lerobot import write

from pi0_ros.data.dataset import Dataset
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.train.box_labels import read_box_labels
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import join, load_frames
from pi0_ros.train.from_dataset import write_dataset_frames
from pi0_ros.train.mixture import Choice, load_mixture

ADAPTER = load_adapter("mobile_bimanual")
CUP = [0.25, 0.5, 0.75, 1.0, "cup"]
SAID = "<loc0512><loc0256><loc1023><loc0768> cup"


def recorded(folder: Path, lengths=(5, 7)) -> Path:
    """A dataset whose frames say what to do next, except the first frame of each episode."""
    write(folder, lengths=lengths)
    info = json.loads((folder / "meta/info.json").read_text())
    for name in ("high_level_task", "high_level_target"):
        info["features"][name] = {"dtype": "string", "shape": [1], "names": None}
    (folder / "meta/info.json").write_text(json.dumps(info))
    for file in sorted((folder / "data").rglob("*.parquet")):
        table = pq.read_table(file)
        first = table["frame_index"].to_numpy() == 0
        table = table.append_column("high_level_task", [["tidy up"] * len(table)])
        targets = [["" if begins else "pick up the cup" for begins in first]]
        pq.write_table(table.append_column("high_level_target", targets), file)
    return folder


def labels(file: Path, *lines: object) -> Path:
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return file


def test_a_frame_with_boxes_answers_with_them_and_then_the_subtask(tmp_path):
    place = recorded(tmp_path / "d")
    file = labels(
        tmp_path / "b.jsonl",
        {"episode": 1, "frame": 3, "boxes": [CUP]},
        {"episode": 0, "frame": 0, "boxes": [CUP]},
        {"episode": 0, "frame": 2, "boxes": []},
    )
    said: list[str] = []
    write_dataset_frames(place, tmp_path / "f", ADAPTER, 16, 2, say=said.append, boxes=str(file))
    frames = join([load_frames(f) for f in sorted((tmp_path / "f").glob("shard-*"))])
    answers = [frames.texts[i] if i >= 0 else "" for i in frames.high_target]
    row = 5 + 3  # episode 1 begins behind the five frames of episode 0
    assert answers[row] == f"{SAID} ; pick up the cup"
    assert answers[0] == ""  # nothing was said there, so there is no example
    assert [answers[i] for i in range(1, 12) if i not in (5, row)] == ["pick up the cup"] * 9
    assert any(
        line.endswith("base: 1 of 2 frames with boxes can be drawn; 1 have no subtask to say behind them")
        for line in said
    )


def answers_of(place: Path, out: Path, file: Path, **options) -> list[str]:
    write_dataset_frames(place, out, ADAPTER, 16, 2, boxes=str(file), **options)
    frames = join([load_frames(f) for f in sorted(out.glob("shard-*"))])
    return [frames.texts[i] if i >= 0 else "" for i in frames.high_target]


def test_boxes_on_a_wide_picture_lie_between_the_black_bars_of_the_networks(tmp_path, monkeypatch):
    """Pictures of 24 x 32 fill the rows from an eighth to seven eighths of the network's: 0.5 stays, 1.0 is 0.875."""
    monkeypatch.setattr(small_lerobot, "picture", lambda episode, frame: np.zeros((24, 32, 3), np.uint8))
    place = recorded(tmp_path / "d")
    file = labels(tmp_path / "b.jsonl", {"episode": 0, "frame": 2, "boxes": [CUP]})
    assert answers_of(place, tmp_path / "f", file)[2] == "<loc0512><loc0256><loc0896><loc0768> cup ; pick up the cup"


def test_boxes_are_left_out_where_the_camera_gave_no_picture(tmp_path):
    place = recorded(tmp_path / "d")
    info = json.loads((place / "meta/info.json").read_text())
    cameras = ["base", "left_wrist", "right_wrist"]
    info["features"]["camera_present"] = {"dtype": "bool", "shape": [3], "names": cameras}
    (place / "meta/info.json").write_text(json.dumps(info))
    for table_file in sorted((place / "data").rglob("*.parquet")):
        table = pq.read_table(table_file)
        there = [[frame != 2, True, True] for frame in table["frame_index"].to_pylist()]
        pq.write_table(table.append_column("camera_present", [there]), table_file)
    lines = [{"episode": 0, "frame": frame, "boxes": [CUP]} for frame in (2, 3)]
    said: list[str] = []
    answers = answers_of(place, tmp_path / "f", labels(tmp_path / "b.jsonl", *lines), say=said.append)
    assert answers[2:4] == ["pick up the cup", f"{SAID} ; pick up the cup"]
    assert any("1 of 2 frames with boxes can be drawn; 1 have no picture of base" in line for line in said)


def test_boxes_of_which_none_is_trained_on_are_refused(tmp_path):
    place = recorded(tmp_path / "d")
    file = labels(tmp_path / "b.jsonl", {"episode": 0, "frame": 2, "boxes": [CUP]})
    long = Choice(shortest=0.65)  # episode 0 lasts 0.5 s
    with pytest.raises(TrainError, match="b.jsonl: boxes of 1 frame, and none can be learned; 1 are not trained on"):
        answers_of(place, tmp_path / "f", file, choice=long)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ({"episode": 2, "frame": 0, "boxes": []}, "line 1: .* has no episode 2"),
        ({"episode": 0, "frame": 5, "boxes": []}, "line 1: episode 0 has no frame 5; its last one is 4"),
        ({"episode": 0, "frame": -1, "boxes": []}, "no frame -1"),
        ({"episode": True, "frame": 0, "boxes": []}, "episode True has to be a whole number"),
        ({"episode": 0, "frame": 0}, "episode, frame, boxes"),
        ({"episode": 0, "frame": 0, "boxes": [[0.5, 0.1, 0.4, 0.2, "cup"]]}, "x0 < x1"),
        ({"episode": 0, "frame": 0, "boxes": [[0.1, 0.1, 0.4, 0.2, "cup; then"]]}, "without ;"),
        ({"episode": 0, "frame": 0, "boxes": [[0.1, 0.1, 0.4, 0.2, " "]]}, "has to be words"),
    ],
)
def test_a_line_that_fits_no_frame_is_refused_with_its_number(line, match, tmp_path):
    place = recorded(tmp_path / "d")
    with pytest.raises(TrainError, match=match):
        read_box_labels(labels(tmp_path / "b.jsonl", line), Dataset(place))


def test_a_frame_named_twice_and_a_dataset_without_subtasks_are_refused(tmp_path):
    line = {"episode": 0, "frame": 1, "boxes": [CUP]}
    file = labels(tmp_path / "b.jsonl", line, line)
    with pytest.raises(TrainError, match="line 2: this frame has boxes already"):
        read_box_labels(file, Dataset(recorded(tmp_path / "d")))
    with pytest.raises(TrainError, match="no column 'high_level_task'"):
        read_box_labels(file, Dataset(write(tmp_path / "plain")))


def test_boxes_are_a_key_of_a_dataset_and_lie_beside_the_mixture(tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text("sources: [{dataset: d, boxes: marked/b.jsonl}]")
    assert load_mixture(file)[0].boxes == str(tmp_path / "marked/b.jsonl")
    file.write_text("sources: [{frames: d, boxes: b.jsonl}]")
    with pytest.raises(TrainError, match="boxes does not apply to a source by `frames`"):
        load_mixture(file)


def test_other_boxes_make_the_frames_anew(tmp_path):
    from pi0_ros.commands.train import _chosen

    (tmp_path / "m.yaml").write_text("sources: [{dataset: d, boxes: b.jsonl}]")
    labels(tmp_path / "b.jsonl", {"episode": 0, "frame": 1, "boxes": [CUP]})
    source = load_mixture(tmp_path / "m.yaml")[0]
    before = _chosen(source)
    labels(tmp_path / "b.jsonl", {"episode": 0, "frame": 1, "boxes": []})
    assert before and _chosen(source) != before

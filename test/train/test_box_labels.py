"""Boxes on frames of a recorded dataset: said before the subtask that was recorded there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from small_lerobot import write

from pi0_ros.data.dataset import Dataset
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.train.box_labels import read_box_labels
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import join, load_frames
from pi0_ros.train.from_dataset import write_dataset_frames
from pi0_ros.train.mixture import load_mixture

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
    assert f"{file}: boxes of 3 frames, 2 of them with a subtask to say behind them" in said


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
    with pytest.raises(TrainError, match="boxes says nothing of a source by `frames`"):
        load_mixture(file)


def test_other_boxes_make_the_frames_anew(tmp_path):
    from pi0_ros.commands.train import _chosen

    (tmp_path / "m.yaml").write_text("sources: [{dataset: d, boxes: b.jsonl}]")
    labels(tmp_path / "b.jsonl", {"episode": 0, "frame": 1, "boxes": [CUP]})
    source = load_mixture(tmp_path / "m.yaml")[0]
    before = _chosen(source)
    labels(tmp_path / "b.jsonl", {"episode": 0, "frame": 1, "boxes": []})
    assert before and _chosen(source) != before

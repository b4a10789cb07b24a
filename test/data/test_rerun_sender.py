"""What is sent to Rerun of an episode, told by a stand-in for its SDK: the file itself is read where the SDK is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av")

from small_lerobot import picture

from pi0_ros.data.curation import rerun_file
from pi0_ros.data.curation.rerun_file import _Sender, write_rerun
from pi0_ros.data.encoded_pictures import decode_rgb
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import Episode
from pi0_ros.robot.disk import DiskFull

WORDS = ("x", "x", "go", "go", "", "stop", "stop")


class Recorded:
    """Frames 2 to 6 are episode 8."""

    folder, fps, cameras = Path("lab/set"), 20, ("eye",)
    episodes = (Episode(5, 0, 2, ("x",), None, {}), Episode(8, 2, 7, ("go", "stop"), None, {}))
    layout = SimpleNamespace(cameras={"eye": "film"})

    def __init__(self, stamped=True):
        self.columns = {
            "action": np.arange(14.0).reshape(7, 2), "lift": np.arange(7) / 2, "driver": np.array(list("abcccdd")),
            "stamp": 1000.0 + np.arange(7)[:, None],
        }  # fmt: skip
        self.features = {
            "film": {"dtype": "video"}, "action": {"dtype": "float32", "names": ["up", "down"]},
            "lift": {"dtype": "float32", "names": ["a", "b"]}, "driver": {"dtype": "string"},
        }  # fmt: skip
        self.features |= {"stamp": {"dtype": "float64"}} if stamped else {}

    def column(self, key):
        return self.columns[key]

    def task_of(self, frame):
        return WORDS[frame]

    def pictures(self, camera, position):
        assert (camera, position) == ("eye", 1)
        return (picture(1, k) for k in range(5))


class Columns(dict):
    """What a column is made of; `partition` says how its numbers are cut into rows."""

    def partition(self, sizes):
        return Columns(self, rows=sizes)


class Rerun:
    """Keeps what is sent and logged, by its path."""

    def __init__(self):
        self.sent, self.logged = {}, {}
        kinds = {"EncodedImage": "blob", "Scalars": "scalars", "TextLog": "text"}
        for name in kinds:
            setattr(self, name, SimpleNamespace(columns=lambda **given: Columns(given)))
        self.TimeColumn = lambda name, **given: (name, *next((k, np.asarray(v).tolist()) for k, v in given.items()))
        self.SeriesLines = lambda names: names
        self.TextDocument = lambda text, media_type: (text, media_type)
        self.new_entity_path = "/".join

    def send_columns(self, path, times, columns, recording):
        assert recording == "stream"
        self.sent.setdefault(path, []).append((times, columns))

    def log(self, path, what, static, recording):
        assert static is True and recording == "stream"
        self.logged[path] = what


def sent(monkeypatch, dataset=None, note=None):
    monkeypatch.setattr(rerun_file, "EpisodeLog", lambda folder: SimpleNamespace(read=lambda: {8: note or {}}))
    rerun = Rerun()
    _Sender(rerun, "stream", dataset or Recorded(), 1).send()
    return rerun


def test_numbers_are_sent_row_by_row_on_all_time_lines_with_names_that_fit(monkeypatch):
    rerun = sent(monkeypatch)
    ((times, action),) = rerun.sent["episode_8/action"]
    assert action["scalars"].tolist() == list(range(4, 14)) and action["rows"] == [2] * 5
    assert times == [
        ("frame", "sequence", [0, 1, 2, 3, 4]), ("time", "duration", [0.0, 0.05, 0.1, 0.15, 0.2]),
        ("stamp", "timestamp", [1002.0, 1003.0, 1004.0, 1005.0, 1006.0]),
    ]  # fmt: skip
    ((_, lift),) = rerun.sent["episode_8/lift"]
    assert lift["scalars"].tolist() == [1.0, 1.5, 2.0, 2.5, 3.0] and "rows" not in lift
    assert rerun.logged["episode_8/action"] == ["up", "down"] and "episode_8/lift" not in rerun.logged
    plain = sent(monkeypatch, Recorded(stamped=False))
    assert [line[0] for line in plain.sent["episode_8/action"][0][0]] == ["frame", "time"]
    assert "episode_8/film" not in plain.sent and "episode_8/driver" not in plain.sent


def test_pictures_are_sent_as_jpeg_so_many_at_once(monkeypatch):
    monkeypatch.setattr(rerun_file, "BATCH", 2)
    batches = sent(monkeypatch).sent["episode_8/cameras/eye"]
    assert [times[0][2] for times, _ in batches] == [[0, 1], [2, 3], [4]]
    shown = [
        (blob, kind)
        for _, columns in batches
        for blob, kind in zip(columns["blob"], columns["media_type"], strict=True)
    ]
    assert {kind for _, kind in shown} == {"image/jpeg"}
    for k, (blob, _) in enumerate(shown):
        np.testing.assert_allclose(decode_rgb(blob).mean((0, 1)), picture(1, k).mean((0, 1)), atol=3)


def test_words_are_sent_where_they_change_and_a_note_holds_what_is_known(monkeypatch):
    rerun = sent(monkeypatch, note={"outcome": "success", "score": 0.0, "note": "", "more": {}, "by": None})
    ((times, task),) = rerun.sent["episode_8/words/task"]
    assert task["text"] == ["go", "(none)", "stop"] and times[0][2] == [0, 2, 3]
    ((times, driver),) = rerun.sent["episode_8/words/driver"]
    assert driver["text"] == ["c", "d"] and times[0][2] == [0, 3]
    assert times[2][2] == [1002.0, 1005.0]
    text, kind = rerun.logged["episode_8/note"]
    assert kind == "text/markdown"
    assert text.splitlines() == ["# Episode 8", "* go", "* stop", "* outcome: success", "* score: 0.0"]


def sdk(monkeypatch, broken=None):
    """A module `rerun` whose file has a line for each thing that happened to it."""
    happened = []

    def save(file, blueprint, recording):
        happened.append(("save", blueprint, recording))
        Path(file).write_text("recording")

    rerun = ModuleType("rerun")
    rerun.RecordingStream = lambda name, recording_id: (name, recording_id)
    rerun.save = save
    rerun.disconnect = lambda recording: happened.append(("disconnect", recording))
    blueprint = ModuleType("rerun.blueprint")
    blueprint.Blueprint, blueprint.Tabs = lambda tabs: tabs, lambda *tabs: tabs
    rerun.blueprint = blueprint
    monkeypatch.setitem(sys.modules, "rerun", rerun)
    monkeypatch.setitem(sys.modules, "rerun.blueprint", blueprint)
    monkeypatch.setattr(rerun_file, "_tab", lambda blueprint, dataset, episode: f"tab {episode.index}")

    class Sender:
        def __init__(self, module, stream, dataset, position):
            self.position = position

        def send(self):
            if broken is not None:
                raise broken
            happened.append(("sent", self.position))

    monkeypatch.setattr(rerun_file, "_Sender", Sender)
    return happened


def test_a_recording_has_a_tab_and_the_contents_of_each_episode_that_was_chosen(tmp_path, monkeypatch):
    happened = sdk(monkeypatch)
    write_rerun(Recorded(), [1, 0], tmp_path / "s.rrd")
    stream = ("pi0_ros", "set")
    assert happened == [("save", ("tab 8", "tab 5"), stream), ("sent", 1), ("sent", 0), ("disconnect", stream)]
    assert (tmp_path / "s.rrd").read_text() == "recording"


@pytest.mark.parametrize(
    ("broken", "error", "said"),
    [
        (OSError(5, "Input/output error"), DataError, r"s\.rrd: cannot be written \(Input/output error\)"),
        (OSError("odd"), DataError, r"s\.rrd: cannot be written \(odd\)"),
        (DiskFull("the disk is full"), DiskFull, "the disk is full"),
    ],
)
def test_a_recording_that_breaks_off_is_closed_and_leaves_nothing(tmp_path, monkeypatch, broken, error, said):
    happened = sdk(monkeypatch, broken)
    with pytest.raises(error, match=said):
        write_rerun(Recorded(), [1, 0], tmp_path / "s.rrd")
    assert happened[-1][0] == "disconnect" and list(tmp_path.iterdir()) == []

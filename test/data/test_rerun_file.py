"""Episodes as a recording of Rerun: what its own reader finds in the file is what the dataset holds."""

import builtins

import numpy as np
import pytest

pytest.importorskip("av")

from pi0_ros.cli import main
from pi0_ros.data.encoded_pictures import decode_rgb
from pi0_ros.data.writer import DatasetWriter

FPS, LENGTHS, BEGIN = 20, (7, 4), 1_790_000_000.25
FEATURES = {
    "observation.images.top": {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["shoulder", "elbow", "hand open"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["shoulder", "elbow"]},
    "driver": {"dtype": "string", "shape": (1,), "names": None},
    "intervention": {"dtype": "bool", "shape": (1,), "names": None},
    "stamp": {"dtype": "float64", "shape": (1,), "names": None},
}


def frame(episode, k):
    return {
        "observation.images.top": np.full((48, 64, 3), (40 + 10 * k, 90, 200), np.uint8),
        "observation.state": np.array([k, -2 * k, 0.1 + episode], np.float32),
        "action": np.array([k + 0.5, episode], np.float32),
        "driver": "teleop" if k >= 3 else "autonomy",
        "intervention": np.array([k >= 3]),
        "stamp": np.array([BEGIN + 100 * episode + k / FPS]),
        "task": "touch red" if k < 2 else "touch blue",
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rerun") / "set"
    with DatasetWriter(folder, FPS, FEATURES, "arm") as written:
        for episode, length in enumerate(LENGTHS):
            for k in range(length):
                written.add_frame(frame(episode, k))
            written.save_episode({"outcome": "success", "score": 0.75} if episode else {})
    return folder


@pytest.fixture(scope="module")
def chunks(dataset):
    """The record batches of the file by entity."""
    reader = pytest.importorskip("rerun.chunk", reason="needs the extra `rerun` (rerun-sdk 0.41)")
    assert main(["data", "show", str(dataset), "--episodes", "0-1", "--out", str(dataset.parent / "s.rrd")]) == 0
    found = {}
    for chunk in reader.RrdReader(str(dataset.parent / "s.rrd")).stream().to_chunks():
        found.setdefault(chunk.entity_path, []).append(chunk.to_record_batch())
    return found


def values(chunks, entity, name):
    """A column of an entity, whose name ends so, one list a row."""
    batches = [b for b in chunks[entity] if any(c == name or c.endswith(f":{name}") for c in b.schema.names)]
    columns = [next(b.column(c) for c in b.schema.names if c == name or c.endswith(f":{name}")) for b in batches]
    return [
        value
        for column in columns
        for value in (column.cast("int64") if name in ("time", "stamp") else column).to_pylist()
    ]


@pytest.mark.parametrize("episode", [0, 1])
def test_numbers_pictures_and_time_lines_are_the_datasets(chunks, episode):
    root, count = f"/episode_{episode}", LENGTHS[episode]
    state = np.array(values(chunks, f"{root}/observation.state", "scalars"))
    np.testing.assert_allclose(state, [frame(episode, k)["observation.state"] for k in range(count)], atol=1e-6)
    action = np.array(values(chunks, f"{root}/action", "scalars"))
    np.testing.assert_allclose(action, [frame(episode, k)["action"] for k in range(count)], atol=1e-6)
    assert values(chunks, f"{root}/observation.state", "names") == [["shoulder", "elbow", "hand open"]]
    assert np.ravel(values(chunks, f"{root}/intervention", "scalars")).tolist() == [float(k >= 3) for k in range(count)]
    shown = values(chunks, f"{root}/cameras/top", "blob")
    pictures = [decode_rgb(bytes(blob[0])).mean(axis=(0, 1)) for blob in shown]
    np.testing.assert_allclose(pictures, [(40 + 10 * k, 90, 200) for k in range(count)], atol=4)
    for entity in (f"{root}/cameras/top", f"{root}/action"):
        assert values(chunks, entity, "frame") == list(range(count))
        nanoseconds = 1e-9 * np.array(values(chunks, entity, "time"))
        np.testing.assert_allclose(nanoseconds, np.arange(count) / FPS, atol=1e-6)
        stamps = 1e-9 * np.array(values(chunks, entity, "stamp"), np.float64)
        np.testing.assert_allclose(stamps - BEGIN, 100 * episode + np.arange(count) / FPS, atol=2e-6)


def test_words_stand_where_they_change(chunks):
    assert [t[0] for t in values(chunks, "/episode_0/words/task", "text")] == ["touch red", "touch blue"]
    assert values(chunks, "/episode_0/words/task", "frame") == [0, 2]
    assert [t[0] for t in values(chunks, "/episode_1/words/driver", "text")] == ["autonomy", "teleop"]
    assert values(chunks, "/episode_1/words/driver", "frame") == [0, 3]
    note = values(chunks, "/episode_1/note", "text")[0][0]
    assert "outcome: success" in note and "score: 0.75" in note and "touch blue" in note


def test_without_the_sdk_one_sentence_says_what_to_install(dataset, tmp_path, monkeypatch, capsys):
    whole = builtins.__import__

    def without(name, *more):
        if name.split(".")[0] == "rerun":
            raise ImportError(name)
        return whole(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["data", "show", str(dataset), "--out", str(tmp_path / "x.rrd")]) == 1
    said = capsys.readouterr().err
    assert (
        "x.rrd: writing a recording of Rerun needs its SDK: pip install 'pi0_ros[rerun]'" in said
        and said.count("\n") == 1
    )
    assert not list(tmp_path.iterdir())


def test_another_kind_of_file_is_refused_with_those_there_are(dataset, tmp_path, capsys):
    assert main(["data", "show", str(dataset), "--out", str(tmp_path / "x.jpg")]) == 1
    assert "x.jpg: give a .png for a contact sheet, or an .rrd for Rerun's viewer" in capsys.readouterr().err


def test_an_rrd_that_breaks_off_leaves_nothing(dataset, tmp_path, monkeypatch):
    pytest.importorskip("rerun", reason="needs the extra `rerun` (rerun-sdk)")
    from pi0_ros.data.curation import rerun_file
    from pi0_ros.data.dataset import Dataset

    monkeypatch.setattr(rerun_file._Sender, "_send_note", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        rerun_file.write_rerun(Dataset(dataset), [0], tmp_path / "x.rrd")
    assert not list(tmp_path.iterdir())

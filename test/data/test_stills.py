"""Pictures that lie in tables."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_lerobot import encoded, picture, png_column

from pi0_ros.data import picture_files as module
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import Episode
from pi0_ros.data.picture_files import PictureFiles
from pi0_ros.data.stills import Stills, encoded_picture


def test_pictures_are_read_row_by_row_and_a_table_without_them_is_named(tmp_path):
    file = tmp_path / "data.parquet"
    pq.write_table(pa.table({"eye": png_column([picture(0, 1), picture(2, 5)]), "n": [1, 2]}), file)
    stills = Stills(tmp_path, file, "eye")
    for row, wanted in ((1, picture(2, 5)), (0, picture(0, 1))):
        np.testing.assert_array_equal(stills.at(row), wanted)
    with pytest.raises(DataError, match=r"data\.parquet: lacks the column 'ear' of info\.json's features"):
        Stills(tmp_path, file, "ear")
    pq.write_table(pa.table({"eye": pa.array([{"bytes": b"none", "path": None}])}), file)
    with pytest.raises(DataError, match=r"data\.parquet: 'eye' of row 0 is no picture"):
        Stills(tmp_path, file, "eye").at(0)


def test_a_row_holds_a_pictures_bytes_or_names_a_file_of_the_dataset(tmp_path):
    folder, data = tmp_path / "set", encoded(picture(1, 2))
    folder.mkdir()
    (folder / "one.png").write_bytes(b"in the file")
    (tmp_path / "secret.png").write_bytes(b"outside")
    assert encoded_picture(folder, data) == data
    assert encoded_picture(folder, {"bytes": data, "path": "one.png"}) == data
    assert encoded_picture(folder, {"bytes": None, "path": "one.png"}) == b"in the file"
    assert encoded_picture(folder, {"bytes": b"", "path": "one.png"}) == b"in the file"
    for path, match in (("../secret.png", "is outside the dataset's folder"), ("two.png", "is not there")):
        with pytest.raises(ValueError, match=match):
            encoded_picture(folder, {"bytes": None, "path": path})
    with pytest.raises(KeyError):
        encoded_picture(folder, {"bytes": None})


def picture_files(monkeypatch, opened):
    """Frames 0 and 1 lie in a.parquet, 2 and 3 in b.parquet; each table and each video is noted when it is opened."""

    class Table:
        def __init__(self, folder, file, key):
            opened.append((folder, file.name, key))

        def at(self, row):
            return f"row {row}"

    class Video:
        drift = 0.0

        def __init__(self, file):
            opened.append(file.name)
            self.name, self.closed = file.name, False

        def at(self, seconds, tolerance):
            return [(self.name, round(s, 6), round(tolerance, 6)) for s in seconds]

        def close(self):
            opened.append(f"closed {self.name}")

    monkeypatch.setattr(module, "Stills", Table)
    monkeypatch.setattr(module, "VideoReader", Video)
    rows = SimpleNamespace(
        files=(Path("a.parquet"), Path("b.parquet")), file=np.array([0, 0, 1, 1]), place=np.array([0, 1, 0, 1])
    )
    layout = SimpleNamespace(folder=Path("set"), fps=20.0, cameras={"eye": "still", "film": "video", "wrist": "other"})
    return PictureFiles(layout, lambda: rows)


def test_a_table_is_read_once_for_the_frames_that_lie_in_it(monkeypatch):
    opened = []
    files = picture_files(monkeypatch, opened)
    episode = Episode(3, 0, 4, ("go",), None, {})
    assert files.read("eye", episode, [0, 1, 0]) == ["row 0", "row 1", "row 0"] and len(opened) == 1
    assert files.read("wrist", episode, [1]) == ["row 1"] and files.read("eye", episode, [1]) == ["row 1"]
    assert opened == [(Path("set"), "a.parquet", "still"), (Path("set"), "a.parquet", "other")]
    assert files.read("eye", episode, [3, 2, 0]) == ["row 1", "row 0", "row 0"]
    assert [name for _, name, key in opened if key == "still"] == ["a.parquet", "b.parquet", "a.parquet"]
    with pytest.raises(DataError, match="set: no camera 'ear'; there are eye, film, wrist"):
        files.read("ear", episode, [0])


def test_pictures_of_a_video_are_asked_for_at_their_times_in_it_and_the_oldest_videos_are_closed(monkeypatch):
    opened = []
    files = picture_files(monkeypatch, opened)
    episode = Episode(3, 100, 140, ("go",), None, {"film": (Path("0.mp4"), 2.5)})
    found = files.read("film", episode, [100, 110])
    assert [(name, time) for name, time, _ in found] == [("0.mp4", 2.5), ("0.mp4", 3.0)]
    assert found[0][2] == round(module.WITHIN / 20.0, 6)
    for k in range(module.OPEN_VIDEOS):
        files.read("film", replace(episode, videos={"film": (Path(f"{k}.mp4"), 0.0)}), [100])
    assert "closed 0.mp4" not in opened and len(opened) == module.OPEN_VIDEOS
    files.read("film", replace(episode, videos={"film": (Path("new.mp4"), 0.0)}), [100])
    assert opened[-2:] == ["closed 0.mp4", "new.mp4"]
    files.close()
    assert opened.count("closed 0.mp4") == 1 and "closed new.mp4" in opened
    assert sum(str(what).startswith("closed") for what in opened) == module.OPEN_VIDEOS + 1


def test_pictures_beside_their_times_are_said_once(monkeypatch, caplog):
    files = picture_files(monkeypatch, [])
    episode = Episode(3, 0, 4, ("go",), None, {"film": (Path("0.mp4"), 0.0)})
    files.read("film", episode, [0])
    files._videos[Path("0.mp4")].drift = 1e-4
    files.read("film", episode, [0])
    assert caplog.text == ""
    files._videos[Path("0.mp4")].drift = 0.0042
    for _ in range(2):
        files.read("film", episode, [0])
    assert len(caplog.records) == 1 and "0.mp4: pictures are 4.2 ms or more beside" in caplog.text

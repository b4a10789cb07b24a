"""Parts of importers: protobuf by hand, which keys of a record are what, features of a frame."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("av")

from small_lerobot import encoded, picture

from pi0_ros.data.errors import DataError
from pi0_ros.data.imports import aloha, episodes, rlds
from pi0_ros.data.imports.episodes import ImportedEpisode, _even, features_of
from pi0_ros.data.imports.tfrecord import parse_example


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(name: str, feature: bytes) -> bytes:
    return field(1, field(1, name.encode()) + field(2, feature))


SKIPPED = (
    varint(9 << 3) + varint(300) + varint(10 << 3 | 1) + bytes(8) + varint(11 << 3 | 5) + bytes(4) + field(12, b"xyz")
)


def test_an_example_has_its_lists_by_name_and_what_is_not_known_is_passed_over():
    """Packed and one by one; numbers below zero take ten bytes."""
    floats = np.array([0.5, -2.0], "<f4")
    data = b"".join(
        [
            entry("bytes", field(1, field(1, b"ab") + SKIPPED + field(1, b""))),
            entry("floats", field(2, field(1, floats.tobytes()))),
            entry("single", field(2, b"".join(varint(1 << 3 | 5) + struct.pack("<f", f) for f in floats))),
            entry("numbers", field(3, field(1, varint(3) + varint(-7) + varint(2**40)))),
            entry("ones", field(3, varint(1 << 3) + varint(5) + varint(1 << 3) + varint(-1))),
            entry("empty", b""),
            SKIPPED,
        ]
    )
    found = parse_example(memoryview(SKIPPED + field(1, data)))
    assert found["bytes"] == [b"ab", b""] and found["empty"] == []
    assert found["floats"].tolist() == found["single"].tolist() == [0.5, -2.0]
    assert found["numbers"].tolist() == [3, -7, 2**40] and found["ones"].tolist() == [5, -1]
    assert found["numbers"].dtype == np.int64 and found["floats"].dtype == np.float32 and len(found) == 6
    assert parse_example(memoryview(field(2, data))) == {}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (varint(1 << 3 | 3), "wire type 3"),
        (varint(1 << 3 | 2) + varint(5) + bytes(4), "cut off"),
        (varint(1 << 3 | 1) + bytes(7), "cut off"),
        (varint(1 << 3 | 5) + bytes(3), "cut off"),
    ],
)
def test_a_message_that_is_cut_off_or_of_another_kind_is_refused(data, match):
    with pytest.raises(ValueError, match=match):
        parse_example(memoryview(data))


def test_how_many_steps_a_record_has_is_told_by_its_flags_or_by_its_longest_list():
    lists = {"a": [b""] * 4, "b": [b""] * 6, "numbers": np.zeros(70, np.float32)}
    assert rlds._length("x", {**lists, "is_first": np.zeros(5, np.int64)}) == 5
    assert rlds._length("x", {**lists, "is_first": np.zeros(0, np.int64), "reward": np.zeros(7, np.float32)}) == 7
    assert rlds._length("x", lists) == 6
    with pytest.raises(DataError, match="x: holds no steps"):
        rlds._length("x", {"numbers": np.zeros(7, np.float32)})


def test_vectors_are_joined_step_by_step_in_the_order_of_their_keys():
    steps = {
        "arm": np.arange(6.0),
        "grip": np.array([10, 20, 30]),
        "words": [b"a"] * 3,
        "odd": np.zeros(7),
        "none": np.zeros(0),
    }
    assert rlds._vector("x", steps, ("grip", "arm"), 3).tolist() == [[10, 0, 1], [20, 2, 3], [30, 4, 5]]
    assert rlds._vector("x", steps, ("arm",), 3).dtype == np.float32
    for key in ("words", "odd", "none", "lost"):
        with pytest.raises(
            DataError, match=f"x: '{key}' is not 3 vectors; numbers are under arm, grip, odd, none: name"
        ):
            rlds._vector("x", steps, ("arm", key), 3)


def test_cameras_are_all_pictures_of_every_step_or_those_that_are_named():
    jpeg, png = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"
    steps = {
        "observation/eye": [jpeg] * 3, "observation/hand": [png] * 3, "words": [b"go"] * 3, "few": [jpeg] * 2,
        "numbers": np.zeros(3),
    }  # fmt: skip
    assert list(rlds._cameras(steps, rlds.Keys(), 3)) == ["eye", "hand"]
    named = rlds.Keys(cameras={"front": "observation/eye", "lost": "x", "short": "few", "wrong": "numbers"})
    assert rlds._cameras(steps, named, 3) == {"front": [jpeg] * 3}


def test_the_instruction_is_the_first_key_that_has_words_for_the_step_or_the_one_that_was_given():
    keys = rlds.Keys(task=("a", "b"))
    steps = {"a": [b"", b" wave ", b""], "b": [b"nod"]}
    assert [rlds._words(steps, keys, t, "given") for t in range(3)] == ["nod", "wave", "nod"]
    assert rlds._words({"a": [b" "], "b": []}, keys, 2, "given") == "given"
    assert rlds._words({}, keys, 0, None) == "" and rlds._words({"a": np.zeros(2)}, keys, 0, None) == ""
    assert rlds._text(b"gr\xc3\xbcn \xff") == "grün \ufffd"


def test_presets_have_the_rates_and_as_many_names_as_their_papers_vectors():
    """Bridge: a pose of six and a gripper at 5 Hz. DROID: seven joints and a gripper at 15 Hz."""
    bridge, droid = rlds.PRESETS["bridge"], rlds.PRESETS["droid"]
    assert (bridge.fps, droid.fps, rlds.PRESETS[""].fps) == (5, 15, None)
    assert [len(bridge.names[k]) for k in ("observation.state", "action")] == [7, 7]
    assert droid.names["observation.state"] == [*(f"joint{k}" for k in (1, 2, 3, 4, 5, 6, 7)), "gripper"]
    assert [len(droid.names[k]) for k in ("observation.state", "action")] == [8, 8]
    assert list(bridge.cameras) == ["image_0", "image_1", "image_2", "image_3"] and len(droid.cameras) == 3


def test_files_are_found_by_folder_in_the_order_of_their_numbers_or_names(tmp_path):
    for name in ("b/episode_10.hdf5", "b/episode_9.hdf5", "a/episode_11.hdf5", "b/last.hdf5", "b/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    own = tmp_path / "elsewhere.h5"
    found = aloha.files_in([own, tmp_path])
    assert [str(f.relative_to(tmp_path)) for f in found] == [
        *("elsewhere.h5", "a/episode_11.hdf5", "b/last.hdf5", "b/episode_9.hdf5", "b/episode_10.hdf5"),
    ]
    with pytest.raises(DataError, match=f"{tmp_path}/none: no .hdf5 file is there"):
        aloha.files_in([_folder(tmp_path / "none")])
    for name in ("c-00001.tfrecord", "deep/a.tfrecord-00000-of-00002"):
        (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r" / name).touch()
    assert [f.name for f in rlds.files_in([tmp_path / "r"])] == ["c-00001.tfrecord", "a.tfrecord-00000-of-00002"]
    with pytest.raises(DataError, match="no .tfrecord file is there"):
        rlds.files_in([tmp_path / "none"])


def _folder(place: Path) -> Path:
    place.mkdir()
    return place


def test_features_are_those_that_a_frame_shows():
    frame = {
        "observation.state": np.array([1.0, 2.0]), "action": np.array([1.0, 2.0, 3.0], np.float64), "grip": 0.5,
        "stamp": np.array([1e9]), "flags": np.array([True, False]), "count": np.array([3], np.int32), "word": "a",
        "eye": np.zeros((4, 6, 3), np.uint8), "levels": np.zeros(2, np.uint8), "task": "go",
    }  # fmt: skip
    found = features_of(frame, {"action": ["x", "y", "z"]})
    listed = {k: (f["dtype"], tuple(f["shape"]), f["names"]) for k, f in found.items()}
    assert listed == {
        "observation.state": ("float32", (2,), ["state_0", "state_1"]), "action": ("float32", (3,), ["x", "y", "z"]),
        "grip": ("float32", (1,), None), "stamp": ("float64", (1,), None), "flags": ("bool", (2,), ["flags_0", "flags_1"]),
        "count": ("int32", (1,), None), "word": ("string", (1,), None),
        "eye": ("video", (4, 6, 3), ["height", "width", "channels"]), "levels": ("uint8", (2,), ["levels_0", "levels_1"]),
    }  # fmt: skip
    with pytest.raises(DataError, match="action has 3 numbers, and 2 names: x, y"):
        features_of(frame, {"action": ["x", "y"]})


def test_an_odd_last_row_or_column_of_a_picture_is_left_out():
    picture = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    turned = picture.transpose(1, 0, 2)
    (found,) = _even([{"a": picture, "b": turned, "c": np.zeros((5, 5)), "task": "go"}])
    assert np.array_equal(found["a"], picture[:4]) and np.array_equal(found["b"], turned[:, :4])
    assert found["c"].shape == (5, 5) and found["task"] == "go"


class Writer:
    """Keeps what episodes are made of."""

    made: ClassVar[list] = []

    def __init__(self, out, fps, features, robot):
        self.begun, self.frames, self.saved, self.closed = (out.name, fps, sorted(features), robot), [], [], False
        self.made.append(self)

    def add_frame(self, frame):
        self.frames.append(frame["pose"].tolist())

    def save_episode(self, note):
        self.saved.append((len(self.frames), note))

    def close(self):
        self.closed = True


def imported(tmp_path, monkeypatch, *given):
    """What is said of these episodes, the writer, and the folders whose statistics were settled."""
    said, settled = [], []
    monkeypatch.setattr(Writer, "made", [])
    monkeypatch.setattr(episodes, "DatasetWriter", lambda *what: what[0].mkdir() or Writer(*what))
    monkeypatch.setattr(episodes, "settle_statistics", lambda folder: settled.append(len(Writer.made[0].saved)))
    count = episodes.write_episodes(given, tmp_path / "out", 15, "arm", said.append)
    (writer,) = Writer.made
    return count, said, writer, settled


def test_episodes_are_written_one_after_the_other_and_those_without_a_frame_are_said(tmp_path, monkeypatch):
    frames = [{"pose": np.array([k, -k], np.float32), "task": "go"} for k in range(5)]
    one = ImportedEpisode(frames[:2], {"pose": ["x", "y"]}, {"source": "a.h5"})
    count, said, writer, settled = imported(
        tmp_path, monkeypatch, ImportedEpisode((), note={"source": "z.h5"}), one,
        ImportedEpisode((), note={"source": "b.h5"}, left_out="nobody moves"), ImportedEpisode(frames[2:]),
    )  # fmt: skip
    assert count == 2 and writer.closed and settled == [2]
    assert writer.begun[1:] == (15, ["pose"], "arm") and writer.frames == [[k, -k] for k in range(5)]
    assert writer.saved == [(2, {"source": "a.h5"}), (5, {})]
    assert said == [
        "z.h5: has no frame, and is left out", "a.h5 → episode 0 (2 frames)", "b.h5: is left out: nobody moves",
        "recording → episode 1 (3 frames)", "left out: 1 recording, the last because nobody moves",
    ]  # fmt: skip
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([], "no recording has a frame"),
        ([ImportedEpisode((), left_out="too short"), ImportedEpisode((), left_out="nobody moves")], "nobody moves"),
    ],
)
def test_an_import_of_nothing_says_why_and_leaves_nothing(tmp_path, given, why):
    with pytest.raises(DataError, match=f"out: nothing was imported: {why}"):
        episodes.write_episodes(given, tmp_path / "out", 15, "arm")
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_an_episode_with_its_source_its_cameras_and_which_of_them_were_there(monkeypatch, tmp_path):
    shown = {name: [encoded(picture(1, k + t)) for t in range(2)] for k, name in enumerate(("eye", "hand"))}
    record = {
        "episode_metadata/file_path": [b"lab/7.h5", b"lab/8.h5"],
        "steps/observation/state": np.array([1.0, 2.0, 3.0, 4.0], np.float32),
        "steps/action": np.array([5.0, 6.0], np.float32),
        "steps/reward": np.zeros(2, np.float32),
        "steps/observation/eye": shown["eye"],
        "steps/observation/hand": shown["hand"],
        "steps/language_instruction": [b"go", b""],
        f"{rlds.PRESENT}hand": np.array([0, 1]),
    }
    wordless = {k: v for k, v in record.items() if "language" not in k}
    monkeypatch.setattr(rlds, "read_examples", lambda file: iter([wordless, record]))
    keys = rlds.Keys(state=("observation/state",), action=("action",), task=("language_instruction",))
    none, found = rlds.rlds_episodes([tmp_path / "a.tfrecord"], keys, None)
    assert none.left_out == rlds.WORDLESS and none.note == {"source": "a.tfrecord, record 0", "origin": "lab/7.h5"}
    assert found.left_out == "" and found.note == {"source": "a.tfrecord, record 1", "origin": "lab/7.h5"}
    assert found.names["camera_present"] == ["eye", "hand"]
    first, second = found.frames
    assert first["observation.state"].tolist() == [1, 2] and second["observation.state"].tolist() == [3, 4]
    assert (first["action"].tolist(), second["action"].tolist()) == ([5], [6])
    assert first["camera_present"].tolist() == second["camera_present"].tolist() == [True, False]
    assert (first["task"], second["task"]) == ("go", "go"), "a step without words has those of its episode"
    np.testing.assert_array_equal(second["observation.images.hand"], picture(1, 2))
    told, _ = rlds.rlds_episodes([tmp_path / "a.tfrecord"], keys, "wave")
    assert [frame["task"] for frame in told.frames] == ["wave", "wave"]
    record["steps/observation/eye"] = [shown["eye"][0], b"\xff\xd8\xff"]
    _, damaged = rlds.rlds_episodes([tmp_path / "a.tfrecord"], keys, None)
    with pytest.raises(DataError, match=r"a\.tfrecord, record 1: picture 1 of eye is damaged"):
        list(damaged.frames)


def test_tfrecords_are_all_files_below_a_folder_or_the_one_that_is_given(tmp_path):
    for name in ("b/x.tfrecord-00001-of-2", "a/y.tfrecord", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = rlds.files_in([tmp_path, tmp_path / "one.record"])
    assert [f.relative_to(tmp_path).as_posix() for f in found] == [
        "a/y.tfrecord", "b/x.tfrecord-00001-of-2", "one.record",
    ]  # fmt: skip
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none: no \.tfrecord file is there"):
        rlds.files_in([tmp_path / "none"])


class Opened(dict):
    """An HDF5 file as h5py shows it: data by path, the group of pictures, attributes."""

    def __init__(self, data, pictures=None, **attributes):
        super().__init__(data)
        self.attrs = attributes
        if pictures is not None:
            self["observations/images"] = pictures


def robot(count=3, **more):
    poses = {key: np.arange(14 * count).reshape(count, 14) + 100 * k for k, key in enumerate(aloha.VECTORS.values())}
    return poses | more


def aloha_frames(opened, task=None, exchange=False):
    return list(aloha._frames(Path("e.hdf5"), opened, task, exchange))


def test_an_episode_of_aloha_has_its_vectors_and_pictures_frame_by_frame():
    raw = np.stack([picture(1, k) for k in range(3)])
    frames = aloha_frames(Opened(robot(), {"top": raw}, task="fold"))
    assert len(frames) == 3 and {f["task"] for f in frames} == {"fold"}
    for feature, key in aloha.VECTORS.items():
        found = [f[feature] for f in frames]
        assert np.array_equal(found, robot()[key]) and found[0].dtype == np.float32
    np.testing.assert_array_equal(frames[2]["observation.images.top"], raw[2])


@pytest.mark.parametrize(
    ("attributes", "given", "words"),
    [
        ({"task": "fold", "language_instruction": "wave"}, None, "fold"),
        ({"language_instruction": "wave"}, None, "wave"),
        ({"task": "fold"}, "nod", "nod"),
    ],
)
def test_an_instruction_is_the_given_one_or_the_files(attributes, given, words):
    assert aloha_frames(Opened(robot(1), **attributes), given)[0]["task"] == words
    with pytest.raises(DataError, match=r"e\.hdf5: has no instruction; give one with --task"):
        aloha_frames(Opened(robot(1)))


def test_a_file_that_lacks_a_vector_or_whose_parts_differ_in_length_is_refused():
    for key in aloha.VECTORS.values():
        lacking = {k: v for k, v in robot().items() if k != key}
        with pytest.raises(DataError, match=f"e.hdf5: lacks /{key}; it has"):
            aloha_frames(Opened(lacking, task="fold"))
    with pytest.raises(DataError, match="vectors and pictures differ in length: .*top 2"):
        aloha_frames(Opened(robot(), {"top": np.zeros((2, 4, 4, 3), np.uint8)}, task="fold"))


def test_encoded_pictures_are_padded_rows_whose_red_and_blue_may_be_exchanged():
    data = np.frombuffer(encoded(picture(2, 3)), np.uint8)
    rows = type("Rows", (list,), {"name": "/observations/images/top"})([np.pad(data, (0, 9))])
    np.testing.assert_array_equal(aloha._picture(Path("e"), rows, 0, False), picture(2, 3))
    np.testing.assert_array_equal(aloha._picture(Path("e"), rows, 0, True), picture(2, 3)[..., ::-1])
    rows[0] = data[:40]
    with pytest.raises(DataError, match="e: picture 0 of /observations/images/top is damaged"):
        aloha._picture(Path("e"), rows, 0, False)


def test_vectors_of_fourteen_numbers_have_alohas_names_and_others_none():
    first, second, *_ = aloha.VECTORS.items()
    opened = {first[1]: np.zeros((3, 14)), second[1]: np.zeros((3, 7))}
    assert aloha._names(opened) == {first[0]: aloha.NAMES}
    assert len(aloha.NAMES) == len(set(aloha.NAMES)) == 14

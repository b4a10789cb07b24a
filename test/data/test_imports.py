"""Other people's recordings, built small in the layout that each format documents, and what is made of them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("av")
h5py = pytest.importorskip("h5py", reason="needs the extra `import`")
pytest.importorskip("google_crc32c", reason="needs the extra `import`")

import google_crc32c
from tfrecords import example, record

from pi0_ros.cli import main
from pi0_ros.data.curation.checks import check
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.data.imports.aloha import NAMES, aloha_episodes
from pi0_ros.data.imports.episodes import ImportedEpisode, write_episodes
from pi0_ros.data.imports.rlds import Keys, rlds_episodes
from pi0_ros.data.imports.tfrecord import _varint, parse_example, read_records

H, W = 32, 48


def picture(k, channel=0):
    shown = np.full((H, W, 3), 30, np.uint8)
    shown[..., channel] = 60 + 8 * k
    return shown


def speckled(k):
    """Grey with much to encode, more of it towards the lower edge."""
    noise = np.random.default_rng(k).integers(-60, 61, (H, W, 1)) * np.linspace(0.2, 1.0, H)[:, None, None]
    return np.repeat(np.clip(120 + noise, 0, 255).astype(np.uint8), 3, axis=2)


def encoded(pixels, kind="JPEG"):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, quality=95)
    return out.getvalue()


# --- ALOHA, as act/record_episodes.py writes it ---


def aloha_file(file, frames=5, compressed=False, start=0.0, exchanged=False):
    """Cameras in the order in which ALOHA has them, which is not the alphabet's; `exchanged`: encoded by OpenCV from RGB."""
    qpos = start + np.arange(frames * 14).reshape(frames, 14) * 0.01
    with h5py.File(file, "w") as root:
        root.attrs["sim"] = False
        observations = root.create_group("observations")
        images = observations.create_group("images")
        shown = {
            "cam_high": [picture(k, 0) for k in range(frames)],
            "cam_low": [speckled(k) for k in range(frames)],  # its files are the largest
            "cam_left_wrist": [picture(k, 2) for k in range(frames)],
        }
        if compressed:
            order = -1 if exchanged else 1
            data = {name: [encoded(p[..., ::order]) for p in pictures] for name, pictures in shown.items()}
            longest = max(len(d) for pictures in data.values() for d in pictures)
            root.attrs["compress"] = True
            for name, pictures in data.items():
                images.create_dataset(
                    name, data=np.stack([np.frombuffer(d.ljust(longest, b"\0"), np.uint8) for d in pictures])
                )
            root.create_dataset("compress_len", data=np.array([[len(d) for d in data[n]] for n in shown], float))
        else:
            for name, pictures in shown.items():
                images.create_dataset(name, data=np.stack(pictures))
        observations.create_dataset("qpos", data=qpos)
        observations.create_dataset("qvel", data=qpos * 0)
        root.create_dataset("action", data=qpos + 0.5)
    return qpos


def frames_of(episodes):
    return [frame for episode in episodes for frame in episode.frames]


@pytest.mark.parametrize("compressed", [False, True])
def test_aloha_files_become_episodes_in_the_order_of_their_numbers(tmp_path, compressed, capsys):
    for number in (10, 2):
        aloha_file(
            tmp_path / f"episode_{number}.hdf5", frames=5 if number == 2 else 3, compressed=compressed, start=number
        )
    words = ["data", "import", "aloha", str(tmp_path), "--task", "insert the peg", "--out", str(tmp_path / "set")]
    assert main(words) == 0
    read = Dataset(tmp_path / "set")
    assert [e.length for e in read.episodes] == [5, 3] and read.fps == 50
    assert read.features["action"]["names"] == NAMES and NAMES[0] == "left_waist" and NAMES[13] == "right_gripper"
    np.testing.assert_allclose(read.column("observation.state")[1], 2 + np.arange(14, 28) * 0.01, rtol=1e-6)
    np.testing.assert_allclose(read.column("action")[5], 10.5 + np.arange(14) * 0.01, rtol=1e-6)
    shown = read.picture("cam_high", 4).mean(axis=(0, 1))
    assert abs(shown[0] - 92) < 4 and shown[2] < 40  # red stays red
    assert read.picture("cam_left_wrist", 4).mean(axis=(0, 1))[2] > 85
    below, wanted = read.picture("cam_low", 4)[H // 2 :].astype(float), speckled(4)[H // 2 :].astype(float)
    assert np.corrcoef(below.ravel(), wanted.ravel())[0, 1] > 0.9  # and not the grey of a picture that was cut off
    assert read.task_of(7) == "insert the peg"


def test_colours_that_opencv_took_for_others_are_exchanged_where_that_is_asked_for(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    aloha_file(tmp_path / "in" / "episode_0.hdf5", compressed=True, exchanged=True)
    words = ["data", "import", "aloha", str(tmp_path / "in"), "--task", "insert the peg"]
    for name, more in (("as they are", []), ("exchanged", ["--exchange-colours"])):
        assert main([*words, "--out", str(tmp_path / name), *more]) == 0
    shown = {
        name: Dataset(tmp_path / name).picture("cam_high", 4).mean((0, 1)) for name in ("as they are", "exchanged")
    }
    np.testing.assert_allclose(shown["exchanged"], [92, 30, 30], atol=4)
    np.testing.assert_allclose(shown["as they are"], [30, 30, 92], atol=4)
    assert (
        main(["data", "import", "rlds", str(tmp_path / "in"), "--out", str(tmp_path / "x"), "--exchange-colours"]) == 1
    )
    assert "--exchange-colours is for aloha" in capsys.readouterr().err


def test_an_aloha_file_that_lacks_something_is_named_with_what_it_has(tmp_path):
    with h5py.File(tmp_path / "e.hdf5", "w") as root:
        root.create_dataset("action", data=np.zeros((3, 14)))
    with pytest.raises(DataError, match=r"e\.hdf5: lacks /observations/qpos; it has action"):
        frames_of(aloha_episodes([tmp_path], "x"))
    (tmp_path / "e.hdf5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="damaged or no HDF5 file"):
        next(aloha_episodes([tmp_path], "x"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no .hdf5 file is there"):
        next(aloha_episodes([tmp_path / "empty"], "x"))


def test_an_aloha_file_without_an_instruction_asks_for_one(tmp_path):
    aloha_file(tmp_path / "e.hdf5")
    with pytest.raises(DataError, match="give one with --task"):
        frames_of(aloha_episodes([tmp_path], None))


def test_an_aloha_file_whose_vectors_and_pictures_differ_in_length_is_refused(tmp_path):
    aloha_file(tmp_path / "e.hdf5", frames=5)
    with h5py.File(tmp_path / "e.hdf5", "a") as root:
        del root["action"]
        root.create_dataset("action", data=np.zeros((4, 14)))
    with pytest.raises(DataError, match="differ in length: .*observation.state 5, action 4"):
        frames_of(aloha_episodes([tmp_path], "x"))


# --- TFRecord ---


def bridge(frames, words=b"put the spoon in the pot"):
    return {
        "steps/observation/image_0": [encoded(picture(k, 1)) for k in range(frames)],
        "steps/observation/state": [float(x) for x in np.arange(frames * 7) * 0.5],
        "steps/action": [float(x) for x in -np.arange(frames * 7)],
        "steps/is_first": [int(k == 0) for k in range(frames)],
        "steps/is_last": [int(k == frames - 1) for k in range(frames)],
        "steps/language_instruction": [words] * frames,
        "steps/language_embedding": [0.0] * 512 * frames,
        "episode_metadata/file_path": [b"/nfs/raw/traj_1.pkl"],
    }


def test_an_example_is_read_as_protobuf_has_it():
    found = parse_example(memoryview(example({"a": [1.5, -2.25], "b": [b"x", b""], "c": [3, -1, 2**40]})))
    assert found["a"].tolist() == [1.5, -2.25] and found["b"] == [b"x", b""] and found["c"].tolist() == [3, -1, 2**40]


def test_bridge_episodes_become_a_dataset(tmp_path):
    file = tmp_path / "bridge_dataset-train.tfrecord-00000-of-00001"
    file.write_bytes(record(example(bridge(4))) + record(example(bridge(3, b""))))
    words = [
        "data",
        "import",
        "rlds",
        str(tmp_path),
        "--preset",
        "bridge",
        "--task",
        "tidy",
        "--out",
        str(tmp_path / "set"),
    ]
    assert main(words) == 0
    read = Dataset(tmp_path / "set")
    assert [e.length for e in read.episodes] == [4, 3] and read.fps == 5
    assert read.task_of(0) == "put the spoon in the pot" and read.task_of(5) == "tidy"
    np.testing.assert_allclose(read.column("observation.state")[2], np.arange(14, 21) * 0.5)
    np.testing.assert_allclose(read.column("action")[5], -np.arange(7, 14))
    assert read.features["observation.state"]["names"][3:] == ["roll", "pitch", "yaw", "gripper"]
    assert abs(read.picture("image_0", 3).mean(axis=(0, 1))[1] - 84) < 5


def droid(frames, *words):
    """As the schema on droid-dataset.github.io has it; `action` is Cartesian there, and not what π0-DROID gives."""
    t = np.arange(frames)[:, None]
    return {
        "steps/observation/exterior_image_1_left": [encoded(picture(k, 0)) for k in range(frames)],
        "steps/observation/exterior_image_2_left": [encoded(picture(k, 1)) for k in range(frames)],
        "steps/observation/wrist_image_left": [encoded(picture(k, 2)) for k in range(frames)],
        "steps/observation/cartesian_position": np.ravel(9.0 + np.zeros((frames, 6))),
        "steps/observation/joint_position": np.ravel(0.1 * t + np.arange(7)),
        "steps/observation/gripper_position": np.ravel(0.01 * t),
        "steps/action": np.ravel(-9.0 + np.zeros((frames, 7))),
        "steps/action_dict/cartesian_position": np.ravel(-8.0 + np.zeros((frames, 6))),
        "steps/action_dict/joint_velocity": np.ravel(-0.2 * t - np.arange(7)),
        "steps/action_dict/joint_position": np.ravel(-7.0 + np.zeros((frames, 7))),
        "steps/action_dict/gripper_position": np.ravel(1.0 - 0.02 * t),
        "steps/action_dict/gripper_velocity": np.ravel(-6.0 + np.zeros((frames, 1))),
        "steps/discount": [1.0] * frames,
        "steps/is_first": [int(k == 0) for k in range(frames)],
        **{f"steps/language_instruction{n}": [w] * frames for n, w in zip(("", "_2", "_3"), words, strict=True)},
        "episode_metadata/file_path": [b"/success/2023/trajectory.h5"],
        "episode_metadata/recording_folderpath": [b"/recordings/MP4"],
    }


def test_droids_episodes_become_a_dataset_and_those_without_words_are_left_out(tmp_path, capsys):
    file = tmp_path / "r2d2_faceblur-train.tfrecord-00000-of-02048"
    episodes = (
        droid(4, b"Close the drawer", b"Shut it", b""),
        droid(5, b"", b"", b""),
        droid(3, b"", b"Wipe the table", b""),
    )
    file.write_bytes(b"".join(record(example(e)) for e in episodes))
    assert main(["data", "import", "rlds", str(tmp_path), "--preset", "droid", "--out", str(tmp_path / "set")]) == 0
    said = capsys.readouterr().err
    assert (
        "record 1: is left out: no step has an instruction" in said
        and "left out: 1 recording, the last because no step" in said
    )
    read = Dataset(tmp_path / "set")
    assert [e.length for e in read.episodes] == [4, 3] and read.fps == 15 and read.layout.robot_type == "droid"
    assert [read.task_of(i) for i in (0, 4)] == ["Close the drawer", "Wipe the table"]
    np.testing.assert_allclose(read.column("observation.state")[2], [*(0.2 + np.arange(7)), 0.02], rtol=1e-6)
    np.testing.assert_allclose(read.column("action")[6], [*(-0.4 - np.arange(7)), 0.96], rtol=1e-6)
    assert read.features["observation.state"]["names"] == [*(f"joint{i}" for i in range(1, 8)), "gripper"]
    assert read.features["action"]["names"][6:] == ["joint7_velocity", "gripper"]
    for channel, camera in enumerate(("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")):
        shown = read.picture(camera, 3).mean(axis=(0, 1))
        assert abs(shown[channel] - 84) < 6 and max(np.delete(shown, channel)) < 45


def test_a_camera_that_bridge_says_an_episode_has_not_is_marked(tmp_path):
    def two(frames, second):
        black = [encoded(np.zeros((H, W, 3), np.uint8))] * frames
        shown = [encoded(picture(k, 2)) for k in range(frames)] if second else black
        flags = {"episode_metadata/has_image_0": [1], "episode_metadata/has_image_1": [int(second)]}
        return {**bridge(frames), "steps/observation/image_1": shown, **flags}

    file = tmp_path / "bridge_dataset-train.tfrecord-00000-of-00001"
    file.write_bytes(record(example(two(4, True))) + record(example(two(3, False))))
    assert main(["data", "import", "rlds", str(tmp_path), "--preset", "bridge", "--out", str(tmp_path / "set")]) == 0
    read = Dataset(tmp_path / "set")
    assert read.features["camera_present"]["names"] == ["image_0", "image_1"]
    assert read.column("camera_present").tolist() == [[True, True]] * 4 + [[True, False]] * 3
    blank = [(f.episode, f.sentence[:7]) for f in check(read) if f.kind == "blank"]
    assert (0, "image_1") in blank and (1, "image_1") not in blank, "of one colour here, black on purpose there"


def test_keys_of_another_set_can_be_named_and_are_listed_where_they_are_wrong(tmp_path, capsys):
    steps = {
        "steps/observation/wrist": [encoded(picture(k), "PNG") for k in range(3)],
        "steps/observation/joints": [float(x) for x in range(21)],
        "steps/observation/gripper": [0.0, 0.5, 1.0],
        "steps/action": [float(x) for x in range(24)],
        "steps/is_first": [1, 0, 0],
    }
    file = tmp_path / "x.tfrecord-00000-of-00001"
    file.write_bytes(record(example(steps)))
    keys = Keys(10, ("observation/joints", "observation/gripper"))
    frames = list(next(rlds_episodes([file], keys, "go")).frames)
    assert frames[1]["observation.state"].tolist() == [*range(7, 14), 0.5] and list(frames[0])[2].endswith("wrist")
    with pytest.raises(
        DataError, match=r"'observation/state' is not 3 vectors; numbers are under .*observation/joints"
    ):
        list(next(rlds_episodes([file], Keys(10), "go")).frames)
    assert "no step has an instruction; give one with --task" in next(rlds_episodes([file], keys, None)).left_out
    words = [
        "data",
        "import",
        "rlds",
        str(file),
        "--fps",
        "10",
        "--map",
        "state=observation/joints,observation/gripper",
    ]
    assert main([*words, "--out", str(tmp_path / "set")]) == 1
    assert "nothing was imported: no step has an instruction" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_a_damaged_record_is_named(tmp_path, damage):
    whole = record(example({"a": [1]})) + record(example(bridge(2)))
    data = {
        "cut": whole[:-9],
        "flipped": whole[:60] + bytes([whole[60] ^ 1]) + whole[61:],
        "text": b"version https://git-lfs",
    }
    file = tmp_path / "x.tfrecord"
    file.write_bytes(data[damage])
    with pytest.raises(DataError, match=r"x\.tfrecord: record \d is (cut off|damaged)"):
        list(read_records(file))


def head(size):
    """How a record of so many bytes begins: its length, and the masked checksum of that."""
    whole = record(bytes(8))  # any record, of which the size is exchanged
    length = struct.pack("<Q", size)
    crc = google_crc32c.value(length)
    return length + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF) + whole[12:]


def test_a_record_of_more_than_four_gigabytes_is_none_and_is_not_waited_for(tmp_path):
    file = tmp_path / "x.tfrecord"
    file.write_bytes(record(b"first") + record(b"second") + head(4 * 1024**3 + 1))
    found = read_records(file)
    assert [next(found), next(found)] == [b"first", b"second"]
    with pytest.raises(DataError, match="record 2 is damaged, or this is no TFRecord file"):
        next(found)
    file.write_bytes(record(b"first") + head(1000))
    with pytest.raises(DataError, match="record 1 is cut off or damaged; copy the file again"):
        list(read_records(file))


def test_numbers_of_protobuf_have_at_most_64_bits():
    for value in (0, 127, 128, 300, 2**63, 2**64 - 1):
        data, rest = b"", value
        while rest > 127:
            data, rest = data + bytes([rest & 127 | 128]), rest >> 7
        data += bytes([rest])
        assert _varint(memoryview(b"x" + data + b"y"), 1) == (value, 1 + len(data))
    with pytest.raises(ValueError, match="more than 64 bits"):
        _varint(memoryview(b"\x80" * 12), 0)


def test_one_instruction_counts_for_every_step_of_its_episode(tmp_path):
    steps = {
        "steps/observation/state": [float(x) for x in range(6)],
        "steps/action": [float(x) for x in range(6)],
        "steps/is_first": [1, 0, 0],
        "steps/language_instruction": [b" stack the cups "],
    }
    file = tmp_path / "x.tfrecord"
    file.write_bytes(record(example(steps)))
    (episode,) = rlds_episodes([file], Keys(10), None)
    frames = list(episode.frames)
    assert [f["task"] for f in frames] == ["stack the cups"] * 3 and episode.note == {"source": "x.tfrecord, record 0"}
    assert [f["action"].tolist() for f in frames] == [[0, 1], [2, 3], [4, 5]]


# --- rosbag2 ---


def test_a_bag_becomes_episodes_at_the_times_of_its_stamps(small_robot, tmp_path):
    pytest.importorskip("rclpy")
    pytest.importorskip("rosbags", reason="needs the extra `import`")
    from bags import GROUP, START, write_bag

    robot = small_robot(GROUP)
    from pi0_ros.ros.bag_import import bag_episodes

    for storage, compression in (("sqlite3", None), ("mcap", None), ("sqlite3", "file"), ("mcap", "message")):
        bag = tmp_path / f"{storage}_{compression}"
        log = write_bag(bag, robot, storage, compression, seconds=3.0, outage=(1.0, 2.0), late=0.06)
        episodes = [list(e.frames) for e in bag_episodes([bag], robot, 10, "wave", lambda _: None)]
        assert len(episodes) == 2, (storage, compression, [[f["stamp"][0] % 100 for f in e] for e in episodes])
        for frames in episodes:
            stamps = np.array([f["stamp"][0] for f in frames])
            np.testing.assert_allclose(np.diff(stamps), 0.1, atol=1e-6)
            for frame in frames:
                held = (
                    1.0 < frame["stamp"][0] - START < 2.0
                )  # for max_age behind the last measurement, as for the policy
                close = 0.06 if held else 1e-3
                assert frame["observation.state"][0] == pytest.approx(log.position(frame["stamp"][0]), abs=close)
                assert abs(log.taken(frame["observation.images.front"]) - frame["stamp"][0]) <= (
                    0.101 if held else 0.5 / 15 + 1e-3
                )
        assert episodes[1][0]["stamp"][0] - episodes[0][-1]["stamp"][0] > 0.7


def test_a_bag_whose_pictures_were_recorded_late_has_them_at_their_stamps(small_robot, tmp_path):
    """A busy computer wrote them 0.9 s behind the joints, which is longer than a recorder waits for anything."""
    pytest.importorskip("rclpy")
    pytest.importorskip("rosbags", reason="needs the extra `import`")
    from bags import GROUP, write_bag

    robot = small_robot(GROUP)
    from pi0_ros.ros.bag_import import bag_episodes

    log = write_bag(tmp_path / "bag", robot, "mcap", None, seconds=3.0, outage=(9.0, 9.0), late=0.9)
    (episode,) = [list(e.frames) for e in bag_episodes([tmp_path / "bag"], robot, 10, "wave", lambda _: None)]
    assert len(episode) >= 28
    for frame in episode:
        at = frame["stamp"][0]
        assert frame["observation.state"][0] == pytest.approx(log.position(at), abs=1e-3)
        assert abs(log.taken(frame["observation.images.front"]) - at) <= 0.5 / 15 + 1e-3


# --- what all of them share ---


def test_episodes_are_counted_and_what_has_no_frame_is_said(tmp_path):
    def frames(*values):
        return [
            {"observation.state": np.array([v, -v]), "stamp": np.array([v]), "on": True, "task": "a"} for v in values
        ]

    told = []
    episodes = [
        ImportedEpisode(frames(1.0, 2.0), {"observation.state": ["x", "y"]}, {"source": "one"}),
        ImportedEpisode([], {}, {"source": "two"}),
        ImportedEpisode(frames(3.0), {}, {"source": "three"}),
        ImportedEpisode(frames(4.0), {}, {"source": "four"}, left_out="it is blurred"),
    ]
    assert write_episodes(episodes, tmp_path / "set", 10, "arm", told.append) == 2
    assert told == [
        "one → episode 0 (2 frames)", "two: has no frame, and is left out", "three → episode 1 (1 frame)",
        "four: is left out: it is blurred", "left out: 1 recording, the last because it is blurred",
    ]  # fmt: skip
    read = Dataset(tmp_path / "set")
    assert read.features["observation.state"]["names"] == ["x", "y"] and read.layout.robot_type == "arm"
    assert [read.features[k]["dtype"] for k in ("observation.state", "stamp", "on")] == ["float32", "float64", "bool"]
    assert read.column("stamp").tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(DataError, match="nothing was imported: no recording has a frame"):
        write_episodes([ImportedEpisode([])], tmp_path / "none", 10, "arm")


def test_of_pictures_with_odd_sides_the_last_row_and_column_are_left_out(tmp_path):
    picture = np.zeros((33, 49, 3), np.uint8)
    picture[:, :, 0] = np.arange(49) * 5
    frame = {"observation.images.eye": picture, "action": np.array([1.0, 2.0]), "task": "a"}
    write_episodes([ImportedEpisode([frame] * 2)], tmp_path / "set", 10, "arm")
    read = Dataset(tmp_path / "set")
    assert read.picture("eye", 1).shape == (32, 48, 3) and read.features["action"]["names"] == ["action_0", "action_1"]
    assert abs(float(read.picture("eye", 1)[:, 40:44, 0].mean()) - 207.5) < 8


def test_names_that_are_not_as_many_as_the_numbers_are_refused(tmp_path):
    frame = {"action": np.array([1.0, 2.0]), "task": "a"}
    with pytest.raises(DataError, match="action has 2 numbers, and 3 names: x, y, z"):
        write_episodes([ImportedEpisode([frame], {"action": ["x", "y", "z"]})], tmp_path / "set", 10, "arm")


def test_an_import_that_is_interrupted_leaves_nothing_that_loads(tmp_path):
    def episodes():
        yield ImportedEpisode(
            [{"observation.state": np.array([1.0, 2.0]), "action": np.array([3.0, 4.0]), "task": "a"}] * 3
        )
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_episodes(episodes(), tmp_path / "imported", 10, "arm")
    assert list(tmp_path.iterdir()) == []

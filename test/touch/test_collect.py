from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from pi0_ros.sim.errors import SimError
from pi0_ros.sim.world import COLOURS
from pi0_ros.touch.collect import Collector, CollectSettings
from pi0_ros.touch.record import dataset_features, dataset_row
from pi0_ros.touch.tasks import parse_subtask
from pi0_ros.touch.words import DONE, TOUCH_ALL

CAMERAS = ("base", "left_wrist", "right_wrist")


@pytest.fixture(scope="module")
def collector(bimanual):
    made = Collector(bimanual, CollectSettings(cameras=CAMERAS, size=96, plan_rows=4))
    yield made
    made.sim.close()


def test_an_episode_is_the_same_to_the_bit_for_the_same_seed(collector):
    def content(frame):
        arrays = [*frame["images"].values(), frame["state"], frame["action"], frame["localisation"], frame["plan"]]
        return b"".join(a.tobytes() for a in arrays) + frame["subtask"].encode() + frame["target"].encode()

    first, other, again = ([content(f) for f in islice(collector.episode(seed), 25)] for seed in (3, 4, 3))
    assert first == again and first != other


def test_frames_have_what_training_needs(collector):
    frames = list(collector.episode(11))
    width = len(collector.robot.channels)
    for i, frame in enumerate(frames):
        assert set(frame["images"]) == set(CAMERAS)
        assert all(p.shape == (96, 96, 3) and p.dtype == np.uint8 for p in frame["images"].values())
        assert frame["state"].shape == frame["action"].shape == (width,) and frame["plan"].shape == (4, width)
        assert np.isfinite(frame["state"]).all() and np.isfinite(frame["action"]).all()
        assert np.allclose(frame["plan"][0], frame["action"], atol=1e-6)
        assert frame["time"] == pytest.approx(0.1 * i, abs=1e-6)
        assert frame["task"] == TOUCH_ALL
        assert frame["subtask"] == DONE or parse_subtask(frame["subtask"])
        assert frame["target"] == DONE or parse_subtask(frame["target"])


def test_located_blocks_have_their_colour_in_the_picture(collector):
    looks = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
    checked = 0
    for frame in list(collector.episode(21))[::5]:
        for row, camera in enumerate(CAMERAS):
            for column, colour in enumerate(COLOURS):
                x, y, visible = frame["localisation"][row, column]
                if not visible:
                    continue
                pixel = frame["images"][camera][int(y * 96), int(x * 96)].astype(float)
                bright = tuple(int(v > 0.55 * pixel.max()) for v in pixel)
                checked += 1
                assert bright == looks[colour], (camera, colour, pixel)
    assert checked > 20


def test_pushes_happen_are_marked_and_only_they_break_the_command(bimanual):
    calm = Collector(bimanual, CollectSettings(cameras=(), push_rate=0.0))
    rough = Collector(bimanual, CollectSettings(cameras=(), push_rate=1.0))
    assert not any(f["perturbed"] for seed in range(5) for f in calm.episode(seed))
    marks = [f["perturbed"] for seed in range(5) for f in rough.episode(seed)]
    assert 0.1 < np.mean(marks) < 0.8


def test_starts_are_varied_over_the_table(bimanual):
    collector = Collector(bimanual, CollectSettings(cameras=(), wide_start=1.0))
    starts = []
    for seed in range(20):
        starts.append(next(collector.episode(seed))["state"])
        assert not collector.sim.arm_contacts()
    starts = np.array(starts)
    assert starts[:, :3].std(axis=0).min() > 0.15 and starts[:, 7:10].std(axis=0).min() > 0.15


def test_touch_all_episodes_end_with_done_and_all_lamps_lit(bimanual):
    collector = Collector(bimanual, CollectSettings(task="touch_all", cameras=()))
    for seed in range(3):
        frames = list(collector.episode(seed))
        assert frames[-1]["subtask"] == DONE and frames[-1]["target"] == DONE
        assert collector.sim.lit == set(COLOURS)


def test_an_unknown_task_is_refused(bimanual):
    with pytest.raises(SimError, match="juggle"):
        Collector(bimanual, CollectSettings(task="juggle"))


def test_a_camera_the_robot_lacks_is_refused(bimanual):
    with pytest.raises(SimError, match="'ceiling'; it has base, left_wrist, right_wrist, back"):
        Collector(bimanual, CollectSettings(cameras=("ceiling",)))


def test_dataset_rows_are_what_the_features_say(collector):
    features = dataset_features(collector.robot, collector.settings)
    row = dataset_row(next(collector.episode(2)))
    assert set(row) == {*features, "task"}
    for name, feature in features.items():
        if feature["dtype"] == "string":
            assert isinstance(row[name], str)
            continue
        assert row[name].shape == feature["shape"], name
        assert str(row[name].dtype) == {"video": "uint8"}.get(feature["dtype"], feature["dtype"]), name
        names = feature["names"]
        assert names is None or feature["dtype"] == "video" or len(names) == row[name].size

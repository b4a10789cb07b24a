"""LeRobot's own loader reads what is recorded and every copy that `pi0 data` makes: frames, times, words, pictures.

LeRobot 0.6.1 lives in a Python of its own (its pins are not ours): PI0_LEROBOT_PYTHON names it.
"""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_curation import pi0, write

pytest.importorskip("av")

from pi0_ros.data.dataset import Dataset

OTHER = shlex.split(os.environ.get("PI0_LEROBOT_PYTHON", ""))
HERE = importlib.util.find_spec("lerobot") is not None

pytestmark = pytest.mark.skipif(
    not (OTHER or HERE), reason="needs LeRobot 0.6.1: PI0_LEROBOT_PYTHON names a Python that has lerobot[dataset]"
)


def recorded(folder):
    """A recording by the process that records, an episode of which was recovered after a kill."""
    from test_recording import Recording

    one = Recording(folder)
    one.send(range(15))
    one.client.close_episode({"outcome": "success"})
    one.wait(lambda: one.client.saved)
    one.send(range(20, 29))
    one.wait(lambda: one.client.backlog == 0)
    os.kill(one.client.pid, 9)
    one.client.close(40.0)
    two = Recording(folder)
    two.wait(lambda: two.client.saved)
    two.send(range(30, 37))
    two.end()
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Datasets, by how they were made."""
    place = tmp_path_factory.mktemp("sets")
    first, second = write(place / "written"), write(place / "second", lengths=(12, 9), tasks=("nod", "wave"))
    made = {"written": first, "recorded": recorded(place / "recorded")}
    commands = {
        "keep": ("keep", first, "--episodes", "0,2"),
        "drop": ("drop", first, "--outcome", "failure"),
        "split": ("split", first, "--episode", 2, "--at", 17),
        "merge": ("merge", first, second),
        "retitle": ("retitle", first, "--task", "wave=wave twice"),
        "trim": ("trim", first, "--start", 0.5, "--end", 0.3),
        "recording trimmed": ("trim", made["recorded"], "--start", 0.3, "--end", 0.1),
    }
    for name, words in commands.items():
        assert pi0(*words, "--out", place / name) == 0
        made[name] = place / name
    for name, words in {"label": ("--episodes", 1, "--score", 0.5), "stats": ("--write",)}.items():
        assert pi0("keep", first, "--episodes", "0-", "--out", place / name) == 0
        assert pi0(name, place / name, *words) == 0
        made[name] = place / name
    return made


@pytest.fixture(scope="module")
def read(folders, tmp_path_factory):
    """What LeRobot reads of each."""
    out = tmp_path_factory.mktemp("read")
    script = Path(__file__).with_name("lerobot_reads.py")
    words = [*(OTHER or [sys.executable]), script, out, *folders.values()]
    known = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([str(w) for w in words], check=False, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: np.load(out / f"{k}.npz") for k, name in enumerate(folders)}


NAMES = [
    "written",
    "recorded",
    "keep",
    "drop",
    "split",
    "merge",
    "retitle",
    "trim",
    "recording trimmed",
    "label",
    "stats",
]


@pytest.mark.parametrize("name", NAMES)
def test_lerobot_reads_the_frames_that_are_ours(folders, read, name):
    ours, theirs = Dataset(folders[name]), read[name]
    assert (theirs["frames"], theirs["episodes"], theirs["fps"]) == (len(ours), len(ours.episodes), ours.fps)
    for key in ours.features:
        if key in ours.layout.cameras.values() or key in ("task_index",):
            continue
        mine = ours.column(key)
        if mine.dtype.kind in "fiub":
            np.testing.assert_array_equal(np.reshape(theirs[key], np.shape(mine)), mine, err_msg=key)
        else:
            assert [str(t) for t in np.ravel(theirs[key])] == [str(t) for t in np.ravel(mine)], key
    frames = [k - e.start for e in ours.episodes for k in range(e.start, e.stop)]
    np.testing.assert_allclose(theirs["timestamp"].ravel(), np.array(frames) / ours.fps, atol=1e-6)
    assert [str(t) for t in theirs["task"]] == [ours.task_of(k) for k in range(len(ours))]


@pytest.mark.parametrize("name", NAMES)
def test_lerobot_decodes_the_pictures_that_are_ours(folders, read, name):
    ours = Dataset(folders[name])
    for camera, key in ours.layout.cameras.items():
        mine = np.stack([p for e in range(len(ours.episodes)) for p in ours.pictures(camera, e)]).astype(int)
        assert np.abs(read[name][key].astype(int) - mine).max() <= 1


@pytest.mark.parametrize("name", ["stats", "merge", "recorded"])
def test_lerobot_has_our_statistics(folders, read, name):
    ours = Dataset(folders[name])
    values = ours.column("action")
    np.testing.assert_allclose(read[name]["stats.action.mean"], values.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(read[name]["stats.action.max"], values.max(0), rtol=1e-6)

"""Recording: frames received against stored, memory and processor time, the executor beside it, kill -9, full disks.

Pictures are made before, so that the recorder is measured and not a simulator. Cameras are published by a process of their
own with stamps and numbers in the pictures, so that every stored picture tells when it was taken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.dataset_files import DatasetFiles, EpisodeContent, table_of
from pi0_ros.data.features import checked_features, columns_of, video_keys, with_standard
from pi0_ros.data.recording_client import RecordingClient
from pi0_ros.data.recording_process import LIMITS, RUNNING, RecordingSettings
from pi0_ros.data.statistics import PictureStatistics
from pi0_ros.data.video import Part, VideoWriter

CAMERAS, SIZE = ("base", "left", "right"), (480, 640)
PICTURES = 240


def say(metric: str, value: float, unit: str, **more: object) -> None:
    """One result."""
    print(json.dumps({"bench": "record", "metric": metric, "value": value, "unit": unit, **more}), flush=True)


def features(cameras: Sequence[str] = CAMERAS, size: tuple[int, int] = SIZE) -> dict:
    """Of a robot with 14 joints."""
    names = [f"joint{k}" for k in range(14)]
    video = {"dtype": "video", "shape": (*size, 3), "names": ["height", "width", "channels"]}
    vector = {"dtype": "float32", "shape": (14,), "names": names}
    return with_standard(
        checked_features(
            {**{f"observation.images.{c}": video for c in cameras}, "observation.state": vector, "action": vector}
        )
    )


def pictures(size: tuple[int, int] = SIZE, count: int = PICTURES) -> list[np.ndarray]:
    """Pictures of a textured scene that moves, with sensor noise; prerecorded as far as the recorder is concerned."""
    import cv2

    rng = np.random.default_rng(0)
    wide = rng.integers(0, 255, (size[0] + count, size[1] + count, 3), dtype=np.uint8)
    scene = cv2.normalize(cv2.GaussianBlur(wide, (0, 0), 6), None, 0, 255, cv2.NORM_MINMAX)
    noise = rng.integers(-3, 4, (8, *size, 3), dtype=np.int16)
    shown = []
    for k in range(count):
        at = round(count / 2 * (1 + np.sin(2 * np.pi * k / count)))
        cut = scene[at : at + size[0], at : at + size[1]]
        shown.append(np.clip(cut.astype(np.int16) + noise[k % 8], 0, 255).astype(np.uint8))
    return shown


def row(k: int) -> dict:
    """Numbers of a frame, the frame's own in the first joint."""
    state = np.full(14, 0.1 * np.sin(0.01 * k), np.float32)
    state[0] = k
    return {"observation.state": state, "action": state, "task": "touch"}


def usage(pid: int) -> tuple[float, float]:
    """Processor seconds and resident MB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), resident * os.sysconf("SC_PAGE_SIZE") / 1e6


def feed(client: RecordingClient, seconds: float, fps: int, shown: list[np.ndarray]) -> tuple[int, int]:
    """Send frames at their times; how many were sent, and how many the encoder was too far behind for."""
    sent = lost = 0
    keys = video_keys(client.settings.features)
    began = time.monotonic()
    for k in range(round(seconds * fps)):
        wait = began + k / fps - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        if client.frame(row(k), {key: shown[(k + 40 * i) % len(shown)] for i, key in enumerate(keys)}):
            sent += 1
        else:
            lost += 1
    return sent, lost


def throughput(folder: Path, seconds: float, fps: int, cameras: int, size: tuple[int, int]) -> None:
    """Cameras at `fps` for `seconds`, as one episode."""
    shown, listed = pictures(size), features(CAMERAS[:cameras], size)
    client = RecordingClient(RecordingSettings(folder, fps, listed, "bench", round(0.8 * fps), 10**8))
    before, own = usage(client.pid)[0], time.process_time()
    peaks: list[float] = []
    client._changed = lambda: peaks.append(client.report.memory / 1e6)
    sent, lost = feed(client, seconds, fps, shown)
    quarters = [max(part, default=0.0) for part in np.array_split(peaks, 4)]
    spent, resident = usage(client.pid)[0] - before, usage(client.pid)[1]
    began = time.monotonic()
    client.close_episode({})
    answered = time.monotonic() - began
    while not client.saved and time.monotonic() - began < 600:
        time.sleep(0.05)
    saving, after = time.monotonic() - began, usage(client.pid)[1]
    client.close(600)
    stored = len(Dataset(folder))
    load = os.getloadavg()[0]
    told = {"seconds": seconds, "fps": fps, "cameras": cameras, "size": size, "load": load}
    say("frames sent", sent, "frames", lost_to_the_encoder=lost, **told)
    say("frames stored", stored, "frames", **told)
    encoding = client.report.encoding / seconds
    say("writer processor", spent / seconds, "cores", of_it_encoding=encoding, **told)
    say("feeder processor (copies into shared memory)", (time.process_time() - own) / seconds, "cores", **told)
    say("writer memory", resident, "MB", quarters=quarters, saving=max(peaks), after=after, **told)
    say("stop answered", answered, "s", on_disk_after=saving, bytes=size_of(folder), **told)


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def kills(folder: Path, times: int, fps: int) -> None:
    """kill -9 of the feeder and the writer at random moments; what the next start has of it."""
    rng = random.Random(0)
    losses, unreadable = [], 0
    for number in range(times):
        words = [sys.executable, "-m", "bench._record_feeder", str(folder), str(fps)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as feeder:
            writer = int(feeder.stdout.readline())
            time.sleep(rng.uniform(0.5, 4.0))
            os.kill(writer, signal.SIGKILL)
            feeder.kill()
            said = feeder.stdout.read().split()
        sent = int(said[-1]) if said else 0
        client = RecordingClient(RecordingSettings(folder, fps, features(), "bench", 8, 10**6))
        deadline = time.monotonic() + 60
        while list((folder / RUNNING).glob("*/")) and time.monotonic() < deadline:
            time.sleep(0.05)
        client.close(60)
        read = Dataset(folder)
        kept = [e.length for e in read.episodes]
        try:
            for camera in read.cameras:
                read.picture(camera, len(read) - 1)
        except ValueError:
            unreadable += 1
        have = kept[-1] if len(kept) == number + 1 else 0
        if not have:
            kept.append(0)
        losses.append((sent - have) / fps)
    say(
        "lost to a kill -9, largest",
        max(losses),
        "s",
        times=times,
        median=sorted(losses)[len(losses) // 2],
        unreadable=unreadable,
    )


def fill(file: Path, size: int) -> None:
    """Take `size` bytes of a disk, or as many as there are."""
    with file.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
        while size > 0:
            size -= opened.write(bytes(min(size, 1 << 16)))


def full_disks(folder: Path, times: int, fps: int) -> None:
    """A disk that becomes full at random moments, for the writer and under it; what is left of every episode."""
    rng = random.Random(1)
    earlier_lost = answered_late = 0
    client = None
    for number in range(times):
        guarded = number % 2 == 0  # half the times nothing is held free, so that writing itself fails
        client = RecordingClient(RecordingSettings(folder, fps, features(), "bench", 8, 3 * 10**7 if guarded else 1))
        before = len(Dataset(folder).episodes) if (folder / "meta/episodes").is_dir() else 0
        shown = pictures(count=20)
        feed(client, rng.uniform(1.0, 2.0), fps, shown)
        ballast = folder.parent / "ballast"
        free = shutil.disk_usage(folder).free
        fill(ballast, free - (2 * 10**7 if guarded else 0))
        feed(client, 2.0, fps, shown)
        began = time.monotonic()
        client.close_episode({"outcome": "failure"})
        answered_late += time.monotonic() - began > 0.5
        ballast.unlink()
        client.close(60)
        client = RecordingClient(RecordingSettings(folder, fps, features(), "bench", 8, 1))
        client.close(60)
        read = Dataset(folder)
        sound = all(read.picture(c, e.stop - 1) is not None for e in read.episodes for c in read.cameras)
        earlier_lost += len(read.episodes) <= before or not sound
        if shutil.disk_usage(folder).free < 6 * 10**7:
            shutil.rmtree(folder)
    say(
        "full disks that cost an earlier episode or the running one",
        earlier_lost,
        "of",
        times=times,
        answered_late=answered_late,
    )


def appends(folder: Path, count: int) -> None:
    """Processor time of putting one more small episode (30 frames, three cameras) behind so many."""
    size, frames = (48, 64), 30
    listed, shown = features(size=size), pictures(size, frames)
    video = VideoWriter(folder / "episode.mp4", 10, (*size, 3))
    for shot in shown:
        video.add(shot)
    video.close()
    seen = PictureStatistics()
    seen.add(shown[0])
    files = DatasetFiles(folder / "set", 10, listed, "bench", LIMITS)
    cameras, took = video_keys(listed), []
    for episode in range(count):
        rows = [row(episode * frames + k) for k in range(frames)]
        content = EpisodeContent(
            table_of(columns_of(rows, listed), listed),
            [f"task {episode % 3}"] * frames,
            {key: Part(video.file, frames) for key in cameras},
            {key: seen.result() for key in cameras},
            {"outcome": "success", "limits": {f"joint{k}": [-1.0, 1.0, 2.0] for k in range(14)}},
        )
        began = time.thread_time()
        files.append(content)
        took.append(time.thread_time() - began)
        if episode + 1 in (10, 100, 1000, count):
            say("append", float(np.median(took[-10:])), "s", episodes=episode + 1, longest=max(took))


def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder on a file system of its own that small, if one may be mounted."""
    place = Path(tempfile.mkdtemp())
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], check=False)
    if done.returncode:
        print("record: no small disk may be mounted here; full disks are left out", file=sys.stderr)
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


def height_and_width(text: str) -> tuple[int, int]:
    """Of WIDTHxHEIGHT."""
    width, height = map(int, text.split("x"))
    return height, width


def main(argv: Sequence[str] | None = None) -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(prog="python -m bench record", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the long recording (default: 600)")
    parser.add_argument("--fps", type=int, default=30, help="frames a second (default: 30)")
    parser.add_argument("--cameras", type=int, default=3, choices=(1, 2, 3), help="of the long recording (default: 3)")
    parser.add_argument("--size", type=height_and_width, default=SIZE, help="of its pictures (default: 640x480)")
    parser.add_argument("--kills", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--appends", type=int, default=0, help="episodes put behind one another (default: none)")
    parser.add_argument("--full", type=int, default=10, help="full disks (default: 10)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if args.seconds:
            throughput(Path(folder) / "long", args.seconds, args.fps, args.cameras, args.size)
        if args.kills:
            kills(Path(folder) / "killed", args.kills, 10)
        if args.appends:
            appends(Path(folder), args.appends)
    for place in small_disk(200) if args.full else ():
        full_disks(place / "set", args.full, 10)
    return 0

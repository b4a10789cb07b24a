"""The executor's period with the recorder and without it, in turns; pictures published against stored; how soon `stop` answers.

`python -m bench beside_recording [--turns 3] [--seconds 30] [--fps 30] [--quick] [--stop 600]`

Three cameras of 640x480 are published by a process of their own from prerecorded pictures, joint states and chunks by the bench:
no simulator and no policy, which would be what is measured. In every second turn the recorder runs and records one episode. The
numbers of the executor are its own (`/diagnostics`) and those of a subscriber: when commands left it.

`--stop SECONDS` records one long episode instead and says how soon `recorder/stop` answers then. That figure needs no quiet
computer; the episode does as far as it is not to be split by frames that come too late (`frames_stored` says how long it was).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rclpy

from bench._stack import ANSWER, BenchError, Stack, prepare
from bench.executor import Feed, Timekeeper
from bench.record import usage
from pi0_ros import bringup
from pi0_ros.data.dataset import Dataset
from pi0_ros.robot import load_robot
from pi0_ros.robot.resources import share

SETTLE = 5.0  # [s] after something was started
HERE = Path(__file__).resolve().parent.parent


def tell(turn: str, metric: str, value: float, unit: str, **more: object) -> None:
    """One result."""
    line = {"bench": "beside_recording", "turn": turn, "metric": metric, "value": round(float(value), 4), "unit": unit}
    print(json.dumps(line | more), flush=True)


def three_cameras(folder: Path) -> Path:
    """The shipped robot without its fourth camera, as a file in `folder`."""
    text = share("config", "robots", "mobile_bimanual.yaml").read_text()
    file = folder / "three_cameras.yaml"
    file.write_text(re.sub(r"\n  back: .*", "", text))
    return file


class Cameras:
    """The process that publishes; `stop` gives the number of pictures that each camera was given."""

    def __init__(self, robot: Path, fps: int, env: dict[str, str]) -> None:
        words = [sys.executable, "-m", "bench._camera_feeder", str(robot), str(fps)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE, env=env
        )
        if self._process.stdout.readline().strip() != "publishing":  # type: ignore[union-attr]
            raise BenchError("the cameras did not start")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def stop(self) -> int:
        """End it."""
        told, _ = self._process.communicate("enough\n", timeout=ANSWER)
        return int(told.split()[-1])


def period(turn: str, seen: Timekeeper, rate: float, seconds: float) -> float:
    """Look at the executor for so long; the 99th percentile of its period's error [ms]."""
    seen.wait(lambda: seen.reports, "the executor's diagnostics")
    seen.begin()
    seen.happens(lambda: False, seconds)
    reported = len(seen.reports)
    seen.wait(lambda: len(seen.reports) > reported, "the last diagnostics", 5.0)
    error = 1e3 * np.abs(np.diff(seen.left) - 1.0 / rate)
    missed = int(np.sum(np.maximum(np.rint(np.diff(seen.left) * rate) - 1, 0)))
    tell(turn, "commands", len(seen.left), "count", missed=missed, missed_by_its_own_count=seen.counted("overruns"))
    for share_, name in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
        tell(turn, f"period_error_{name}", np.quantile(error, share_), "ms")
    own = list(seen.minutes())[-1]
    tell(turn, "period_late_p99", own["period_late_ms_p99"], "ms")
    tell(turn, "work_p99", own["work_ms_p99"], "ms")
    return float(np.quantile(error, 0.99))


class Recorder:
    """The recorder for one turn: started, recording one episode, stopped."""

    def __init__(self, stack: Stack, seen: Timekeeper, folder: Path, fps: int) -> None:
        self._stack, self._seen, self._folder, self._fps = stack, seen, folder, fps

    def start(self) -> None:
        """Start it, and an episode."""
        self._stack.start("recorder")
        seen = self._seen
        seen.wait(lambda: "recorder" in seen.health, "the recorder's diagnostics")
        end = time.monotonic() + ANSWER
        while not seen.ask("recorder/start")[0]:
            if time.monotonic() > end:
                raise BenchError(f"the recorder does not start an episode: {seen.health.get('recorder')}")
            seen.happens(lambda: False, 0.2)
        seen.wait(lambda: int(self.values["frames"]) > self._fps, "the first frames")
        self._pid = self._stack.processes()["recorder"]
        self._before, self._writer, self._began = usage(self._pid), float(self.values["writer_cpu_s"]), time.monotonic()

    @property
    def values(self) -> dict[str, str]:
        """What it says of itself."""
        return self._seen.health["recorder"][1]

    def stop(self, turn: str) -> None:
        """End the episode by its service, and look at what was stored."""
        seconds, after = time.monotonic() - self._began, usage(self._pid)
        values = dict(self.values)
        began = time.monotonic()
        granted, said = self._seen.ask("recorder/stop")
        answered = time.monotonic() - began
        if not granted:
            raise BenchError(f"recorder/stop: {said}")
        tell(turn, "stop_answered", answered, "s", goal=0.5, said=said)
        tell(turn, "recorder_processor", (after[0] - self._before[0]) / seconds, "cores")
        tell(turn, "recorder_memory", after[1], "MB", at_the_beginning=self._before[1])
        tell(turn, "writer_processor", (float(values["writer_cpu_s"]) - self._writer) / seconds, "cores")
        tell(turn, "writer_memory", float(values["writer_memory_mb"]), "MB")
        dropped = {name: int(value) for name, value in values.items() if name.startswith("dropped")}
        tell(turn, "frames_not_taken", sum(dropped.values()), "frames", **dropped)
        episodes = int(values["episodes"]) + 1
        self._seen.wait(lambda: int(self.values["saved"]) >= episodes - self._earlier, "the episode on disk", 300.0)
        if self._stack.end("recorder"):
            raise BenchError("the recorder did not end well")
        self._seen.health.pop("recorder", None)
        self._stored(turn)

    _earlier = 0

    def _stored(self, turn: str) -> None:
        read = Dataset(self._folder)
        episode = read.episodes[-1]
        Recorder._earlier = len(read.episodes)
        frames = slice(episode.start, episode.stop)
        stamps, offsets = read.column("stamp")[frames].ravel(), read.column("picture_offset")[frames]
        due = round((stamps[-1] - stamps[0]) * self._fps) + 1
        different = [len(np.unique(np.round(stamps + offsets[:, k], 4))) for k in range(offsets.shape[1])]
        tell(turn, "frames_stored", episode.length, "frames", due=due, different_pictures=different)
        beside = np.abs(offsets)
        tell(turn, "picture_beside_frame_p99", 1e3 * np.quantile(beside, 0.99), "ms", max=1e3 * float(beside.max()))


def take_turns(args: argparse.Namespace, folder: Path) -> None:
    """With and without, so often as asked for."""
    file = three_cameras(folder)
    robot = load_robot(str(file))
    recorded = folder / "recorded"
    given = {"robot": str(file), "policy": "none", "log_level": "warn", "record": str(recorded)}
    more = {"executor": {"tracking_error": 6.0, "black_box": ""}, "recorder": {"fps": args.fps}}
    stack, seen = Stack(with_more(bringup.nodes(given), more)), Timekeeper(robot)
    feed, errors = Feed(seen, robot), {"without": [], "with": []}
    try:
        stack.start("executor")
        seen.wait(lambda: seen.state is not None or stack.ended(), "executor_state")
        seen.say("touch every block")
        seen.engage()
        cameras = Cameras(file, args.fps, None)
        recorder = Recorder(stack, seen, recorded, args.fps)
        if args.stop:
            recorder.start()
            seen.happens(lambda: False, args.stop)
            recorder.stop("stop")
            return
        for _ in range(args.turns):
            seen.happens(lambda: False, SETTLE)
            errors["without"].append(period("without", seen, robot.control_rate, args.seconds))
            recorder.start()
            seen.happens(lambda: False, SETTLE)
            before = usage(cameras.pid)[0]
            errors["with"].append(period("with", seen, robot.control_rate, args.seconds))
            tell("with", "cameras_processor", (usage(cameras.pid)[0] - before) / args.seconds, "cores")
            recorder.stop("with")
        tell("all", "pictures_published", cameras.stop(), "of each camera")
        for turn, found in errors.items():
            tell(turn, "period_error_p99_median", float(np.median(found)), "ms", turns=[round(e, 3) for e in found])
    finally:
        stack.stop()
        feed.close()
        seen.close()


def with_more(listed: Sequence[bringup.Node], more: dict[str, dict[str, object]]) -> list[bringup.Node]:
    """The nodes with more parameters."""
    from bench.executor import with_parameters

    return [with_parameters(node, more) for node in listed]  # type: ignore[arg-type]


def main(argv: Sequence[str] | None = None) -> int:
    """Print one JSON object a line; 1 if it did not run to the end."""
    parser = argparse.ArgumentParser(prog="python -m bench beside_recording", description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="with and without, each so often (default: 3)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each turn (default: 30)")
    parser.add_argument("--fps", type=int, default=30, help="of cameras and recorder (default: 30)")
    parser.add_argument(
        "--stop", type=float, default=0.0, help="seconds of one long episode, for `recorder/stop` alone"
    )
    parser.add_argument("--quick", action="store_true", help="one turn of 10 s")
    args = parser.parse_args(argv)
    if args.quick:
        args.turns, args.seconds = 1, 10.0
    prepare()
    try:
        with tempfile.TemporaryDirectory() as folder:
            take_turns(args, Path(folder))
    except BenchError as error:
        print(f"bench beside_recording: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0

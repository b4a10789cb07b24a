"""Feeds a recording until it is killed: `python -m bench._record_feeder FOLDER FPS`; says the writer's pid, then how many frames are sent."""

import sys
import time
from pathlib import Path

from bench.record import CAMERAS, features, pictures, row
from pi0_ros.data.recording_client import RecordingClient
from pi0_ros.data.recording_process import RecordingSettings


def main() -> None:
    """Until somebody ends it."""
    folder, fps = Path(sys.argv[1]), int(sys.argv[2])
    shown = pictures(count=20)
    client = RecordingClient(RecordingSettings(folder, fps, features(), "bench", round(0.8 * fps), 10**6))
    print(client.pid, flush=True)
    began, k, sent = time.monotonic(), 0, 0
    while True:
        time.sleep(max(0.0, began + k / fps - time.monotonic()))
        if client.frame(row(k), {f"observation.images.{c}": shown[k % len(shown)] for c in CAMERAS}):
            sent += 1
            print(sent, flush=True)
        k += 1


if __name__ == "__main__":
    main()

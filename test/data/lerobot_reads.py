"""What LeRobot's own loader reads, run by its Python: `python lerobot_reads.py OUT FOLDER...` writes OUT/N.npz for folder N.

Frames as LeRobotDataset gives them: timestamp, numbers, task, pictures [H, W, 3], each asked for by its own index.
"""

import sys
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

for number, folder in enumerate(sys.argv[2:]):
    read = LeRobotDataset("local/set", root=folder, return_uint8=True, video_backend="pyav")
    found = {}
    for k in range(len(read)):
        for key, value in read[k].items():
            if key in read.meta.camera_keys:
                value = np.asarray(value).transpose(1, 2, 0)
            found.setdefault(key, []).append(np.asarray(value))
    statistics = {f"stats.{k}.{n}": np.asarray(v) for k, s in read.meta.stats.items() for n, v in s.items()}
    made = {key: np.stack(values) for key, values in found.items()}
    np.savez(
        Path(sys.argv[1]) / f"{number}.npz",
        frames=len(read),
        episodes=read.num_episodes,
        fps=read.fps,
        **made,
        **statistics,
    )

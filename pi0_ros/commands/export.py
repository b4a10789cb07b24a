"""Write a checkpoint's network as ONNX graphs (vision, prefix, step, word) into its onnx/ folder.

They are float32 and mask-free; run them with `backend="onnx"` of `pi0_ros.policy.load_policy`.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 export`."""
    parser = subparsers.add_parser("export", help="write ONNX graphs", description=__doc__)
    parser.add_argument(
        "checkpoint", type=Path, help="folder of ours, openpi's or LeRobot's, or a name under checkpoints/"
    )
    parser.add_argument("--to", type=Path, help="folder for the graphs (default: onnx/ in the checkpoint's)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and name the files; 0 on success."""
    from pi0_ros.model import load
    from pi0_ros.policy.backends.onnx_export import export
    from pi0_ros.policy.backends.onnx_files import GRAPHS
    from pi0_ros.policy.reading import GRAPHS_FOLDER
    from pi0_ros.robot.disk import naming_full_disk
    from pi0_ros.robot.resources import checkpoint_folder

    print(f"reading {args.checkpoint}")
    loaded = load(checkpoint_folder(args.checkpoint))
    graphs = GRAPHS[loaded.config.kind]
    print(f"tracing {', '.join(graphs)}; a full-size model takes minutes")
    place = args.to or loaded.folder / GRAPHS_FOLDER
    with naming_full_disk(place):
        folder = export(loaded, place)
    for name in graphs:
        print(f"  {folder / name}.onnx")
    return 0

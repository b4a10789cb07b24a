"""Measure, on recorded observations, the scales with which a checkpoint's trunk runs in 8 bits (FP8) on a GPU.

They are written beside the weights as fp8_scales.json and taken from there by the policy, on a card that computes in
FP8 (Ada, Hopper, Blackwell). Trained on, the checkpoint needs new ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pi0_ros.commands._numbers import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pi0_ros.model import Inputs
    from pi0_ros.policy.fp8_scales import Fp8Scales


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 quantise`."""
    parser = subparsers.add_parser("quantise", help="scales for 8-bit inference on a GPU", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder of ours, openpi's or LeRobot's, with 16-bit weights")
    parser.add_argument("dataset", type=Path, help="recorded dataset of what the robot will see")
    parser.add_argument("--robot", default="mobile_bimanual", help="robot YAML or name")
    parser.add_argument("--adapter", help="policy YAML or name; default: the checkpoint's own")
    parser.add_argument(
        "--observations", type=whole(1, 4096), default=32, help="recorded observations to look at (default: 32)"
    )
    parser.add_argument("--device", default="cpu", help="where they are measured: cpu, cuda (default: cpu)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and write the scales; 0 on success."""
    from pi0_ros.data.dataset import Dataset
    from pi0_ros.model.checkpoints.load import OpenedCheckpoint
    from pi0_ros.model.checkpoints.peft import PeftSource
    from pi0_ros.policy.backends.torch_backend import check_device, tensors
    from pi0_ros.policy.errors import PolicyError
    from pi0_ros.policy.fp8_scales import save_scales
    from pi0_ros.policy.reading import load_words, read_policy
    from pi0_ros.robot import load_robot
    from pi0_ros.train.recorded_inputs import recorded_inputs

    check_device(args.device)
    opened, adapter, pipeline = read_policy(args.checkpoint, load_robot(args.robot), args.adapter)
    if isinstance(opened, OpenedCheckpoint) and isinstance(opened.source, PeftSource):
        raise PolicyError(f"{args.checkpoint}: has a LoRA's weights alone; merge it first: pi0 convert")
    words, _ = load_words(opened, pipeline)
    with Dataset(args.dataset) as dataset:
        seen = [tensors(i) for i in recorded_inputs(dataset, adapter, pipeline, words, args.observations)]
    print(f"measuring on {len(seen)} observations of {args.dataset}")
    file = save_scales(opened.folder, measured(opened.folder, seen, args.device, args.dataset))
    print(f"  {file}")
    return 0


def measured(folder: Path, seen: Sequence[Inputs], device: str, dataset: Path) -> Fp8Scales:
    """The scales of a checkpoint for these observations. Raises PolicyError if nothing of it runs in 8 bits."""
    from pi0_ros.model import FastSampler, load
    from pi0_ros.model.inference.modes import suits_kernels
    from pi0_ros.policy.errors import PolicyError
    from pi0_ros.policy.fp8_scales import Fp8Scales, weights_mark

    model = load(folder, device=device).model
    if not suits_kernels(model.config, model.gemma.dtype):
        raise PolicyError(
            f"{folder}: 8 bits are for networks that the fused kernels run: an action expert, 16-bit weights, rows of "
            "a multiple of 64 (docs/performance.md); this one stays as it is"
        )
    scales = FastSampler(model, mode="kernels", release=True).measure(seen)
    return Fp8Scales(tuple(scales), weights_mark(folder), str(dataset), len(seen))

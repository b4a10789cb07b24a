"""Which checkpoints of a run stay: the newest, the last few, and the best on held-out frames."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pi0_ros.model import Pi0
from pi0_ros.model.checkpoints.peft_save import PeftAdapter
from pi0_ros.robot.replacing import replacing_folder
from pi0_ros.train.export import export, export_beside, linked
from pi0_ros.train.job import Job

NEWEST, BEST, KEPT = "checkpoint", "best", "checkpoints"


def write_checkpoint(job: Job, model: Pi0, name: str, note: str) -> None:
    """A run's weights as the folder `name` of it, and beside it one for each further robot. Raises OSError."""
    export(
        model,
        job.folder / name,
        job.adapter,
        job.statistics,
        note,
        job.tokenizer_file,
        origin=job.origin,
        fast_folder=job.fast_folder,
        conventions=job.conventions,
    )
    for robot, adapter, statistics in job.others:
        export_beside(job.folder / name, job.folder / f"{name}-{robot}", adapter, statistics)


def write_adapter(job: Job, adapter: PeftAdapter) -> None:
    """The LoRA adapters of a run for PEFT, in its folder `adapter`. Raises OSError."""
    with replacing_folder(job.folder / "adapter") as partial:
        adapter.save(partial)


def keep_copy(folder: Path, step: int, count: int, robots: tuple[str, ...] = ()) -> None:
    """Keep the newest checkpoint of a run under its step, and remove all but the last `count` of those.

    robots: further ones, whose checkpoints are kept beside it. The files of weights are second names for those of the
    newest checkpoint, so that a copy takes no room until the newest is replaced. Raises OSError.
    """
    if count < 2:  # the newest is the last one
        return
    for name in ("", *robots):
        more = f"-{name}" if name else ""
        target = folder / KEPT / f"step-{step:08d}{more}"
        with replacing_folder(target) as partial:
            shutil.copytree(folder / f"{NEWEST}{more}", partial, copy_function=linked)
    steps = sorted({number for number, _ in _kept(folder)})
    for number, place in list(_kept(folder)):
        if number in steps[:-count]:
            shutil.rmtree(place)


def _kept(folder: Path) -> Iterator[tuple[int, Path]]:
    """Steps and folders of the checkpoints that were kept."""
    for place in (folder / KEPT).glob("step-*"):
        found = re.match(r"step-(\d{8})(?!.*\.(partial|old)$)", place.name)
        if found:
            yield int(found[1]), place

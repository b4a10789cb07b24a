"""Where a run's numbers go beside its own record: TensorBoard, Weights & Biases."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pi0_ros.train.errors import TrainError
from pi0_ros.train.settings import TrainSettings

WANDB_RUN = "wandb_run.txt"
FLUSH = 1  # s, after which TensorBoard sees what was written


class Logger(Protocol):
    """One place for numbers."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, by name."""

    def close(self) -> None:
        """Nothing more comes."""


class TensorBoard:
    """Event files below OUT/tensorboard, written by tensorboardX; `tensorboard --logdir OUT` shows them."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        # purge_step: what an earlier part of the run wrote after the step it goes on from is not shown.
        # Its file is named by the second in which it begins: without the step a run that goes on at once would overwrite it.
        # A thread of the writer's own writes: `flush()` would not wait for what that has not taken up yet.
        self._writer = SummaryWriter(
            str(folder / "tensorboard"),
            purge_step=step + 1 if step else None,
            flush_secs=FLUSH,
            filename_suffix=f".{step}",
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, by name."""
        for name, value in values.items():
            self._writer.add_scalar(name.replace(" ", "/"), value, step)

    def close(self) -> None:
        """Nothing more comes."""
        self._writer.close()


class WeightsAndBiases:
    """A run at Weights & Biases. WANDB_MODE=offline writes below OUT/wandb and sends nothing."""

    def __init__(self, folder: Path, project: str, config: Mapping[str, Any]) -> None:
        import wandb

        file = folder / WANDB_RUN
        if not file.is_file():
            file.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
        self._run = wandb.init(
            project=project,
            name=folder.name,
            dir=str(folder),
            id=file.read_text(encoding="utf-8").strip(),
            resume="allow",
            config=dict(config),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, by name."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Nothing more comes."""
        self._run.finish()


def check_loggers(settings: TrainSettings) -> None:
    """Raises TrainError if a package is missing that the settings ask for."""
    wanted = {"tensorboardX": settings.tensorboard, "wandb": bool(settings.wandb)}
    for package, wanted_by in wanted.items():
        option = package.removesuffix("X")
        if wanted_by and find_spec(package) is None:
            raise TrainError(
                f"--{option} needs the package {package} (pip install 'pi0_ros[{option}]'); record.jsonl and curves.png are "
                "written without it"
            )


def make_loggers(folder: Path, settings: TrainSettings, step: int) -> tuple[Logger, ...]:
    """Those that the settings ask for; `step` is where the run goes on."""
    made: list[Logger] = []
    if settings.tensorboard:
        made.append(TensorBoard(folder, step))
    if settings.wandb:
        made.append(WeightsAndBiases(folder, settings.wandb, settings.to_dict()))
    return tuple(made)


def write_all(loggers: tuple[Logger, ...], line: Mapping[str, Any]) -> None:
    """One line of the record; values that are no finite numbers are left out."""
    finite = {k: float(v) for k, v in line.items() if isinstance(v, int | float) and math.isfinite(v) and k != "step"}
    for logger in loggers:
        logger.write(int(line["step"]), finite)

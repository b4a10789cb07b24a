"""Which kind of recorded case a folder is, by its files, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pi0_ros.model.checkpoints.orbax import find_orbax
from pi0_ros.model.checkpoints.tensorfile import read_header
from pi0_ros.parity.e2e_case import e2e_rows
from pi0_ros.parity.fast_case import fast_rows
from pi0_ros.parity.model_case import model_rows, read_case
from pi0_ros.parity.prompt_case import prompt_rows
from pi0_ros.parity.report import ParityError, Row
from pi0_ros.parity.resize_case import resize_rows
from pi0_ros.parity.rtc_case import rtc_rows
from pi0_ros.parity.train_case import is_train_case, train_rows
from pi0_ros.parity.transforms_case import transforms_rows

KINDS = ("model", "train", "rtc", "fast", "resize", "transforms", "state_prompt", "dataset")


def case_kind(folder: Path) -> str:
    """One of `KINDS`. Raises ParityError if the folder is none of them."""
    if not folder.is_dir():
        raise ParityError(f"{folder}: no such folder")
    if is_train_case(folder):
        return "train"
    if (folder / "expected.safetensors").is_file():
        return "dataset"
    if (folder / "state_prompt.json").is_file():
        return "state_prompt"
    if not (folder / "io.safetensors").is_file():
        raise ParityError(f"{folder}: no recorded case, it has neither io.safetensors nor expected.safetensors")
    if (folder / "rtc.json").is_file():
        return "rtc"
    if (folder / "processor_config.json").is_file():
        return "fast"
    if find_orbax(folder) or list(folder.glob("model*.safetensors*")):
        return "model"
    names = read_header(folder / "io.safetensors")[0]
    if any(name.startswith(("pil_uint8.", "torch_float.", "jax_uint8.")) for name in names):
        return "resize"
    if (folder / "norm_stats.json").is_file():
        return "transforms"
    raise ParityError(f"{folder}: io.safetensors is there, but no weights and nothing else that says what it records")


def rows(folder: Path, tokenizer: str | Path | None = None) -> Iterator[Row]:
    """Every recorded output of a case against ours. Raises ParityError, CheckpointError, PolicyError."""
    try:
        yield from _rows(folder, tokenizer)
    except KeyError as error:
        missing = error.args[0] if error.args else "?"
        raise ParityError(f"{folder}: the recording has no {missing!r}, which another of its entries needs") from error


def _rows(folder: Path, tokenizer: str | Path | None) -> Iterator[Row]:
    kind = case_kind(folder)
    if kind == "model":
        case = read_case(folder)
        yield from model_rows(case)
        if (folder / "e2e.safetensors").is_file():
            yield from e2e_rows(folder, case.loaded, tokenizer)
    elif kind == "state_prompt":
        yield from prompt_rows(folder, tokenizer)
    elif kind == "dataset":
        from pi0_ros.parity.dataset_case import dataset_rows  # needs pyarrow and av, the other cases do not

        yield from dataset_rows(folder)
    else:
        simple = {
            "train": train_rows,
            "rtc": rtc_rows,
            "fast": fast_rows,
            "resize": resize_rows,
            "transforms": transforms_rows,
        }
        yield from simple[kind](folder)

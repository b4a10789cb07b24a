"""Recorded prompts: state bins, texts of every kind and dialect, and their ids if a tokenizer is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pi0_ros.model.checkpoints.shards import read_json
from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.parity.quiet import quiet
from pi0_ros.parity.report import Row, close, equal
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.fast import FastTokenizer, extract_actions, load_fast, training_prompt
from pi0_ros.policy.prompts import PromptStyle, clean, default_style, encode_prompt, prompt_text, state_bins
from pi0_ros.policy.tokenizer import Tokenizer, load_tokenizer

Arrays = Mapping[str, np.ndarray]
CUT = "pi05_ids_truncated_to_"
STATE_PROMPT = "pick up the fork"  # the task of the recorded `states`, as their README says


def prompt_rows(folder: Path, tokenizer: str | Path | None) -> Iterator[Row]:
    """One row for every recorded bin list, text and, with a tokenizer (file or folder), id list."""
    with quiet("pi0_ros.policy.prompts"):  # some are longer than their network takes
        yield from _prompts(folder, tokenizer)


def _prompts(folder: Path, tokenizer: str | Path | None) -> Iterator[Row]:
    recorded = read_json(folder / "state_prompt.json")
    io = {name: tensor.numpy() for name, tensor in read_all(folder / "io.safetensors").items()}
    reader = _tokenizer(folder, tokenizer)
    for entry in recorded.get("states", []):
        yield from state_rows(entry, io[entry["tensor"]], reader)
    for index, entry in enumerate(recorded.get("prompts", [])):
        yield from text_rows(f"prompts.{index}", entry, io["state.0"], reader)
    fast = _fast(folder)
    if reader is not None and fast is not None:
        yield from fast_rows(recorded, io, reader, fast)
    elif reader is None:
        yield Row("ids", 0.0, True, "left out: give PaliGemma's tokenizer with --tokenizer")


def _tokenizer(folder: Path, given: str | Path | None) -> Tokenizer | None:
    if given is not None:
        return load_tokenizer(given)
    try:
        return load_tokenizer(folder)
    except PolicyError:
        return None


def _fast(folder: Path) -> FastTokenizer | None:
    """The FAST processor in the folder or in the neighbouring `fast` case."""
    for place in (folder, folder / "fast", folder.parent / "fast"):
        if (place / "processor_config.json").is_file():
            return load_fast(place)
    return None


def state_rows(entry: Mapping[str, Any], state: np.ndarray, tokenizer: Tokenizer | None) -> Iterator[Row]:
    """Bins and the π0.5 prompt of one recorded state."""
    name = f"states.{entry['tensor'].removeprefix('state.')}"
    style = default_style("pi05")
    task = entry.get("prompt", STATE_PROMPT)
    yield equal(f"{name}.bins", state_bins(state), entry["bins"])
    yield equal(f"{name}.pi05_prompt", prompt_text(style, task, state), entry["pi05_prompt"])
    if tokenizer is not None and "pi05_ids" in entry:
        yield equal(f"{name}.pi05_ids", encode_prompt(tokenizer, style, task, state).ids, entry["pi05_ids"])


def text_rows(name: str, entry: Mapping[str, Any], state: np.ndarray, tokenizer: Tokenizer | None) -> Iterator[Row]:
    """Texts, and ids, of one recorded task."""
    task = entry["prompt"]
    texts = {
        "pi0_clean": clean(task),
        "pi05_prompt": prompt_text(default_style("pi05"), task, state),
        "pi0_fast_prefix": prompt_text(default_style("pi0_fast"), task, state),
        "lerobot_pi0_text": prompt_text(default_style("pi0", "lerobot"), task),
    }
    for key, text in texts.items():
        if key in entry:
            yield equal(f"{name}.{key}", text, entry[key])
    if tokenizer is None:
        return
    styles = {
        "pi0_ids": default_style("pi0"),
        "pi05_ids": default_style("pi05"),
        "pi0_fast_prefix_ids": default_style("pi0_fast"),
    }
    cuts = {key: key.removeprefix(CUT) for key in entry if key.startswith(CUT)}
    styles |= {key: PromptStyle("pi05", length=int(length), state=True) for key, length in cuts.items()}
    for key, style in styles.items():
        if key in entry:
            yield equal(f"{name}.{key}", encode_prompt(tokenizer, style, task, state).ids, entry[key])


def fast_rows(recorded: Mapping[str, Any], io: Arrays, tokenizer: Tokenizer, fast: FastTokenizer) -> Iterator[Row]:
    """π0-FAST training sequences, and the actions read back from generated ids."""
    for index, entry in enumerate(recorded.get("prompts", [])):
        if "pi0_fast_train_ids" not in entry:
            continue
        style = default_style("pi0_fast")
        prompt, answer = training_prompt(tokenizer, fast, style, entry["prompt"], io["state.0"], io["fast_chunk"])
        yield equal(f"prompts.{index}.pi0_fast_train_ids", prompt.ids, entry["pi0_fast_train_ids"])
        for key in ("pi0_fast_train_ar_mask", "pi0_fast_train_loss_mask"):
            if key in entry:
                yield equal(f"prompts.{index}.{key}", answer.astype(int), np.asarray(entry[key], int))
    extract = recorded.get("pi0_fast_extract")
    if extract is not None and "fast_extracted_actions" in io:
        expected = io["fast_extracted_actions"]
        found = extract_actions(tokenizer, fast, extract["generated_ids"], *expected.shape)
        yield close("fast_extracted_actions", found, expected)

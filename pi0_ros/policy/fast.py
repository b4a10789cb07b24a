"""The FAST action tokenizer: action chunks to a few ids and back (Pertsch et al. 2025, arXiv 2501.09747, section V).

A cosine transform along time, coefficients rounded to 1/scale, low frequencies first, every integer written as one
character, and byte-level BPE on that string. Reads and writes the files of physical-intelligence/fast
(processor_config.json and tokenizer.json); nothing in them is executed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi0_ros.policy.bins import PROCESSOR, bins_of
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.prompts import Prompt, PromptStyle, encode_prompt, truncated
from pi0_ros.policy.tokenizer import MAX_BYTES, Tokenizer, guarded
from pi0_ros.robot.files import read_json, read_text

PALIGEMMA_VOCAB = 257152
MAX_NUMBER = 10**7  # ids, and the smallest coefficient
SKIPPED = 128  # the <seg> tokens at the end of PaliGemma's vocabulary
_LAST_CODE = 0xD7FF  # the last code point before the surrogates, which no UTF-8 string may hold
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FastTokenizer:
    """A fitted tokenizer. Chunks are normalised actions [T, D], about -1 .. 1.

    `failure` is what an id sequence of the wrong length decodes to: "zeros" (openpi and the public processor),
    "truncate" (lerobot: cut or zero-padded coefficients), or "refuse" (a PolicyError, as a robot should have it).
    """

    bpe: object = field(repr=False)  # tokenizers.Tokenizer
    scale: float = 10.0
    min_token: int = -354
    vocab_size: int = 2048
    failure: str = "zeros"

    def codes(self, chunk: ArrayLike) -> NDArray[np.int64]:
        """Rounded coefficients [T, D], frequency by frequency."""
        from scipy.fft import dct  # pocketfft in the input's precision, as the reference: rounding ties must agree

        codes: NDArray[np.int64] = np.around(dct(np.asarray(chunk), axis=0, norm="ortho") * self.scale).astype(np.int64)
        return codes

    def encode(self, chunk: ArrayLike) -> list[int]:
        """FAST ids of one chunk [T, D]. Raises PolicyError if it is not a finite [T, D] array."""
        array = np.asarray(chunk)
        if array.ndim != 2 or not np.all(np.isfinite(array)):
            raise PolicyError(f"FAST encodes one finite [T, D] chunk, not shape {array.shape} or values that are not")
        return list(self.bpe.encode(_text(self.codes(array), self.min_token)).ids)  # type: ignore[attr-defined]

    def decode(self, ids: Sequence[int], horizon: int, size: int) -> NDArray[np.float64]:
        """Chunk [horizon, size] of FAST ids; ids that do not fit follow `failure`, with a warning.

        Raises: PolicyError for such ids if `failure` is "refuse".
        """
        from scipy.fft import idct

        chunk: NDArray[np.float64] = idct(self._coefficients(ids, horizon, size) / self.scale, axis=0, norm="ortho")
        return chunk

    def _coefficients(self, ids: Sequence[int], horizon: int, size: int) -> NDArray[np.float64]:
        wanted = horizon * size
        known = [int(i) for i in ids if 0 <= int(i) < self.bpe.get_vocab_size()]  # type: ignore[attr-defined]
        text = self.bpe.decode(known, skip_special_tokens=False)  # type: ignore[attr-defined]
        found = np.array([ord(c) for c in text], np.float64) + self.min_token
        if len(found) != wanted and self.failure == "refuse":
            raise PolicyError(f"the answer holds {len(found)} coefficients instead of {horizon} x {size}; no plan made")
        if len(found) != wanted:
            _log.warning("FAST ids hold %d coefficients instead of %d x %d", len(found), horizon, size)
            if self.failure == "zeros":
                return np.zeros((horizon, size))
            found = np.pad(found[:wanted], (0, max(0, wanted - len(found))))
        return found.reshape(horizon, size)

    def save(self, folder: str | Path) -> None:
        """Write processor_config.json and tokenizer.json."""
        config = {
            "action_dim": None,
            "min_token": self.min_token,
            "processor_class": "UniversalActionProcessor",
            "scale": self.scale,
            "time_horizon": None,
            "vocab_size": self.vocab_size,
        }
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / "processor_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        self.bpe.save(str(path / "tokenizer.json"))  # type: ignore[attr-defined]


class ActionTokenizer(Protocol):
    """Chunks as ids of a vocabulary of its own: FAST, or bins to compare it with."""

    @property
    def vocab_size(self) -> int:
        """Ids there are."""

    @property
    def failure(self) -> str:
        """What ids that are no chunk decode to."""

    def encode(self, chunk: ArrayLike) -> list[int]:
        """Ids of one normalised chunk [T, D]."""

    def decode(self, ids: Sequence[int], horizon: int, size: int) -> NDArray[np.float64]:
        """The chunk [horizon, size] of ids."""

    def save(self, folder: str | Path) -> None:
        """Write what `load_action_tokenizer` reads."""


def _text(codes: NDArray[np.int64], min_token: int) -> str:
    """Codes as characters; those below the fitted range become the lowest."""
    return "".join(map(chr, np.clip(codes.ravel() - min_token, 0, _LAST_CODE)))


def load_action_tokenizer(folder: str | Path, failure: str = "zeros") -> ActionTokenizer:
    """Read an action tokenizer's folder, of either kind. Raises PolicyError naming the file and what is wrong with it."""
    file = Path(folder) / "processor_config.json"
    config = read_json(file, PolicyError) if file.is_file() else {}
    if isinstance(config, dict) and config.get("processor_class") == PROCESSOR:
        return bins_of(config, file, failure)
    return load_fast(folder, failure)


def load_fast(folder: str | Path, failure: str = "zeros") -> FastTokenizer:
    """Read a FAST processor's folder. Raises PolicyError naming the file and what is wrong with it."""
    from tokenizers import Tokenizer as Backend

    config_file, bpe_file = Path(folder) / "processor_config.json", Path(folder) / "tokenizer.json"
    for file in (config_file, bpe_file):
        if not file.is_file():
            raise PolicyError(f"{file}: missing; a FAST tokenizer is the folder of physical-intelligence/fast")
    try:
        config = read_json(config_file, PolicyError)
        numbers = float(config["scale"]), int(config["min_token"]), int(config["vocab_size"])
        if not 0 < numbers[0] < 1e6 or max(map(abs, numbers[1:])) > MAX_NUMBER:
            raise ValueError(f"{numbers} make no tokenizer")
    except PolicyError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise PolicyError(f"{config_file}: no FAST configuration (scale, min_token, vocab_size): {error!r}") from error
    text = read_text(bpe_file, MAX_BYTES, PolicyError)
    bpe = guarded(str(bpe_file), "be read as a tokenizer.json", lambda: Backend.from_str(text))
    return FastTokenizer(bpe, *numbers, failure=failure)


def fit_fast(chunks: Iterable[ArrayLike], scale: float = 10.0, vocab_size: int = 1024) -> FastTokenizer:
    """Fit on one's own normalised chunks [T, D], as the public processor's `fit` does.

    Raises: PolicyError if there are none, or the coefficients span more values than `vocab_size`.
    """
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.trainers import BpeTrainer

    coder = FastTokenizer(None, scale)
    codes = [coder.codes(c) for c in chunks]
    if not codes:
        raise PolicyError("FAST needs at least one chunk to fit on")
    low, high = min(int(c.min()) for c in codes), max(int(c.max()) for c in codes)
    if high - low >= vocab_size:
        raise PolicyError(
            f"coefficients span {high - low + 1} values, more than {vocab_size} ids: normalise the actions, lower "
            "scale, or raise vocab_size"
        )
    bpe = ByteLevelBPETokenizer()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=[chr(i) for i in range(high - low + 1)],
        max_token_length=10000,
    )
    bpe._tokenizer.train_from_iterator((_text(c, low) for c in codes), trainer=trainer)
    return FastTokenizer(bpe._tokenizer, scale, low, vocab_size)


def to_vocabulary(ids: ArrayLike, vocab: int = PALIGEMMA_VOCAB, skipped: int = SKIPPED) -> NDArray[np.int64]:
    """FAST ids to language ids: vocab - 1 - skipped - id, so the last usable ids are taken first. Its own inverse."""
    return vocab - 1 - skipped - np.asarray(ids, np.int64)


from_vocabulary = to_vocabulary


def answer_ids(
    tokenizer: Tokenizer, fast: ActionTokenizer, chunk: ArrayLike, skipped: int = SKIPPED, bos: bool = False
) -> list[int]:
    """What π0-FAST is trained to say: [BOS] "Action: " + FAST ids + "|" + EOS (BOS in lerobot's dialect)."""
    ids = to_vocabulary(fast.encode(chunk), tokenizer.vocab_size, skipped).tolist()
    head = [tokenizer.bos] if bos else []
    return [*head, *tokenizer.encode("Action: "), *ids, *tokenizer.encode("|"), tokenizer.eos]


def training_prompt(
    tokenizer: Tokenizer, fast: ActionTokenizer, style: PromptStyle, task: str, state: ArrayLike, chunk: ArrayLike
) -> tuple[Prompt, NDArray[np.bool_]]:
    """openpi's training sequence: prompt then answer, cut at `style.length`; the mask is True on the answer (it is
    causal and has the loss)."""
    prompt = encode_prompt(tokenizer, style, task, state)
    ids = [*prompt.ids, *answer_ids(tokenizer, fast, chunk)]
    whole = truncated(prompt.text, ids, style.length)
    return whole, np.arange(len(whole.ids)) >= len(prompt.ids)


def extract_ids(tokenizer: Tokenizer, generated: Sequence[int], skipped: int = SKIPPED) -> list[int] | None:
    """FAST ids in generated language ids: after "Action: ", up to "|" or EOS. None if there is no "Action: ".

    Arithmetic on ids: decoding to text and encoding again, as openpi does, loses some sequences.
    """
    head, bar = tokenizer.encode("Action: "), tokenizer.encode("|")[-1]
    ids = [int(i) for i in generated]
    start = next((i + len(head) for i in range(len(ids)) if ids[i : i + len(head)] == head), None)
    if start is None:
        return None
    end = next((i for i in range(start, len(ids)) if ids[i] in (bar, tokenizer.eos)), len(ids))
    found: list[int] = from_vocabulary(ids[start:end], tokenizer.vocab_size, skipped).tolist()
    return found


def extract_actions(
    tokenizer: Tokenizer,
    fast: ActionTokenizer,
    generated: Sequence[int],
    horizon: int,
    size: int,
    skipped: int = SKIPPED,
) -> NDArray[np.float64]:
    """Normalised chunk [horizon, size] from generated language ids.

    Without "Action: " in the answer openpi's dialect gives zeros or refuses, lerobot's reads what is there.
    Raises: PolicyError if the tokenizer's `failure` is "refuse" and the answer is no chunk of that shape.
    """
    ids = extract_ids(tokenizer, generated, skipped)
    if ids is None and fast.failure == "truncate":
        ids = extract_ids(tokenizer, [*tokenizer.encode("Action: "), *generated], skipped)
    if ids is None and fast.failure == "refuse":
        raise PolicyError("the network's answer holds no actions (no 'Action: ' in it); no plan made")
    return np.zeros((horizon, size)) if ids is None else fast.decode(ids, horizon, size)

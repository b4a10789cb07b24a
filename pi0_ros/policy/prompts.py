"""The exact text each project gives to PaliGemma, and its ids.

Sources: openpi models/tokenizer.py (PaligemmaTokenizer, FASTTokenizer); lerobot processors of pi0, pi05, pi0_fast.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi0_ros.model.kinds import KINDS, traits
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.tokenizer import Tokenizer

LEROBOT_FAST_LENGTH = 200  # tokens
DIALECTS = ("openpi", "lerobot")
_EDGES = np.linspace(-1.0, 1.0, 257)[:-1]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PromptStyle:
    """How a checkpoint wants its prompt.

    `length` is the longest prompt in tokens, BOS included. `state` puts the binned state into the text (π0.5 unless it
    was trained with discrete_state_input=False; always for π0-FAST). `pad_state_to` repeats lerobot 0.4's habit of
    zero-padding the state before binning (pads read "128"); 0 leaves the state alone. `control_mode` is the text
    between π0.5's <control mode> marks, "" if the checkpoint knows none. `lowercase` also drops the task's capitals
    and end punctuation, for checkpoints that never saw any.
    """

    kind: str
    dialect: str = "openpi"
    length: int = 48
    state: bool = False
    pad_state_to: int = 0
    control_mode: str = ""
    lowercase: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.dialect not in DIALECTS:
            raise PolicyError(
                f"prompt {self.kind!r} of {self.dialect!r} is unknown: kinds are {', '.join(KINDS)}, "
                f"dialects {', '.join(DIALECTS)}"
            )


@dataclass(frozen=True)
class Prompt:
    """A tokenised prompt: the text, its ids (BOS first, no padding), and whether the end was cut off."""

    text: str
    ids: tuple[int, ...]
    truncated: bool = False


def default_style(kind: str, dialect: str = "openpi") -> PromptStyle:
    """The released prompt of a kind: lengths 48, 200 and 250 (lerobot π0-FAST 200)."""
    style = PromptStyle(kind, dialect)
    own = traits(kind)
    length = LEROBOT_FAST_LENGTH if own.acts_in_tokens and dialect == "lerobot" else own.prompt_length
    return replace(style, length=length, state=not own.state_token)


def clean(text: str) -> str:
    """Strip, then "_" and newlines become spaces (openpi π0 and π0.5, lerobot π0.5 and π0-FAST)."""
    return text.strip().replace("_", " ").replace("\n", " ")


def clean_fast(text: str) -> str:
    """openpi π0-FAST's cleaning: lower case, strip, "_" becomes a space, newlines stay."""
    return text.lower().strip().replace("_", " ")


def state_bins(state: ArrayLike) -> NDArray[np.int64]:
    """Normalised state [..., D] to bins: 256 equal bins on [-1, 1]; -1 below -1, 255 from 1 on."""
    bins: NDArray[np.int64] = np.digitize(np.asarray(state), _EDGES) - 1
    return bins


def state_text(state: ArrayLike, pad_to: int = 0) -> str:
    """Bins of a normalised state [D] as decimal numbers with spaces between, zero-padded to `pad_to` values first."""
    values = np.asarray(state)
    if values.ndim != 1:
        raise PolicyError(f"the prompt needs one state vector, not an array of shape {values.shape}")
    if not np.all(np.isfinite(values)):
        raise PolicyError(f"state value {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite; no prompt made")
    padded = np.pad(values, (0, max(0, pad_to - len(values))))
    return " ".join(str(b) for b in state_bins(padded))


def prompt_text(style: PromptStyle, task: str, state: ArrayLike | None = None) -> str:
    """The prompt's text, without BOS.

    Args: task as a person wrote it; state normalised [D], needed if `style.state`.
    Raises: PolicyError if the task is empty, or a state is needed and missing or not finite.
    """
    task = plain_words(task) if style.lowercase else task
    if not task.strip():
        raise PolicyError("the prompt is empty: publish a task or subtask that says what to do")
    if _is_plain(style):
        return _plain_text(style, task)
    cleaned = clean_fast(task) if traits(style.kind).acts_in_tokens and style.dialect == "openpi" else clean(task)
    head = f"Task: {cleaned}{_control_mode(style)}"
    if style.state:
        if state is None:
            raise PolicyError(f"a {style.kind} prompt needs the robot's state, and none was given")
        head += f", State: {state_text(state, style.pad_state_to)}"
    return head + (";\n" if traits(style.kind).acts_in_tokens else ";\nAction: ")


def _plain_text(style: PromptStyle, task: str) -> str:
    """π0's text. openpi cleans it; lerobot only makes sure of one newline at the end."""
    if style.dialect == "lerobot":
        return task if task.endswith("\n") else task + "\n"
    return clean(task) + _control_mode(style) + "\n"


def _control_mode(style: PromptStyle) -> str:
    """π0.5 paper: the control mode stands between two <control mode> marks (no released prompt has it)."""
    return f" <control mode> {style.control_mode} <control mode>" if style.control_mode else ""


def plain_words(task: str) -> str:
    """Cleaned, lower-case, without end punctuation."""
    return clean(task).lower().rstrip(" .!?,;:")


def subtask_text(task: str) -> str:
    """The high-level prompt: `Task: {task}. Subtask: `, in plain words."""
    cleaned = plain_words(task)
    if not cleaned:
        raise PolicyError("the task is empty: publish on `task` what the robot should do")
    return f"Task: {cleaned}. Subtask: "


def encode_prompt(tokenizer: Tokenizer, style: PromptStyle, task: str, state: ArrayLike | None = None) -> Prompt:
    """Text and ids of the action prompt, cut on the right to `style.length` with a warning.

    openpi's π0 encodes the newline by itself, which gives other ids than encoding one string.
    lerobot's π0-FAST has a second BOS after the prompt, where its answer starts (`answer_start`).
    """
    text = prompt_text(style, task, state)
    body = _plain_ids(tokenizer, style, text) if _is_plain(style) else tokenizer.encode(text)
    return truncated(text, [tokenizer.bos, *body], style.length)


def _is_plain(style: PromptStyle) -> bool:
    """π0's bare task; openpi's π0.5 without discrete state uses it too (pi05_libero)."""
    return traits(style.kind).state_token or (
        traits(style.kind).adarms and not style.state and style.dialect == "openpi"
    )


def _plain_ids(tokenizer: Tokenizer, style: PromptStyle, text: str) -> list[int]:
    if style.dialect == "lerobot":
        return tokenizer.encode(text)
    return tokenizer.encode(text[:-1]) + tokenizer.encode("\n")


def encode_subtask_prompt(tokenizer: Tokenizer, task: str, length: int) -> Prompt:
    """Text and ids of the high-level prompt."""
    text = subtask_text(task)
    return truncated(text, [tokenizer.bos, *tokenizer.encode(text)], length)


def truncated(text: str, ids: Sequence[int], length: int) -> Prompt:
    """Cut `ids` on the right to `length`, warning that the end of the prompt, "Action:" included, is lost."""
    if len(ids) > length:
        _log.warning("prompt of %d tokens is cut to %d; shorten the task: %r", len(ids), length, text)
    return Prompt(text, tuple(int(i) for i in ids[:length]), len(ids) > length)


def answer_start(tokenizer: Tokenizer, style: PromptStyle) -> tuple[int, ...]:
    """Ids that follow the (padded) prompt before generation starts: lerobot's π0-FAST has a BOS there, others none."""
    return (tokenizer.bos,) if traits(style.kind).acts_in_tokens and style.dialect == "lerobot" else ()


def padded(ids: Sequence[int], length: int, pad: int = 0) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Ids as a [length] vector filled up with `pad`, and the mask of real tokens. Raises PolicyError if too many."""
    if len(ids) > length:
        raise PolicyError(f"{len(ids)} tokens do not fit into {length}")
    tokens = np.full(length, pad, np.int64)
    tokens[: len(ids)] = ids
    return tokens, np.arange(length) < len(ids)

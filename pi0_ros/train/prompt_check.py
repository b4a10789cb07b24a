"""Whether the prompts of a run fit into the network, checked once before training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pi0_ros.policy.boxes import LOCATIONS, parted
from pi0_ros.policy.fast import SKIPPED, ActionTokenizer
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.prompts import encode_prompt, encode_subtask_prompt
from pi0_ros.policy.tokenizer import Tokenizer
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames

TRIED = 20  # states tried for each text: numbers of other lengths make other prompts
ROOM = 100_000


def check_prompts(frames: Frames, pipeline: Pipeline, tokenizer: Tokenizer) -> None:
    """Raises TrainError naming the tasks whose prompts would be cut: the state and what follows it are at their end."""
    style = pipeline.style
    wide = type(style)(**{**vars(style), "length": ROOM})
    long: list[str] = []
    most, count = 0, 0
    for text in np.unique(frames.task[frames.task >= 0]):
        rows = np.flatnonzero(frames.task == text)
        tried = rows[np.unique(np.linspace(0, len(rows) - 1, min(TRIED, len(rows))).astype(int))]
        states = pipeline.normalised_state(np.asarray(frames.state[tried], np.float64))
        length = max(len(encode_prompt(tokenizer, wide, frames.texts[text], state).ids) for state in states)
        if length > style.length:
            long.append(frames.texts[text])
            most, count = max(most, length), count + len(rows)
    if long:
        raise TrainError(
            f"{count} of {len(frames)} frames have prompts of up to {most} tokens, the network takes {style.length}, and "
            f"what is cut off is the robot's state (tasks {', '.join(map(repr, long[:3]))}"
            f"{' ...' if len(long) > 3 else ''}); shorten the tasks, or train a network with --prompt-length {most}"
        )


def check_question_lengths(frames: Frames, pipeline: Pipeline, tokenizer: Tokenizer) -> None:
    """Raises TrainError naming a task whose question for a subtask would be cut: "Subtask:" is at its end."""
    most = pipeline.style.length
    for task in [frames.texts[text] for text in np.unique(frames.high_task[frames.has_subtask])]:
        length = len(encode_subtask_prompt(tokenizer, task, ROOM).ids)
        if length > most:
            raise TrainError(
                f"the question for a subtask of {task!r} has {length} tokens, the network takes {most}, and what is cut "
                f"off is its end; shorten the task, or train a network with --prompt-length {length}"
            )


def check_locations(answers: Sequence[str], tokenizer: Tokenizer, where: str) -> None:
    """Raises TrainError if an answer says boxes, and the tokenizer has no token for a place in a picture."""
    if len(tokenizer.encode("<loc0512>")) != 1 and any(parted(answer)[0] for answer in answers):
        raise TrainError(
            f"{where}: boxes are written in location tokens (<loc0000> .. <loc1023>), and the tokenizer has none; give "
            "PaliGemma's with --tokenizer, or leave the boxes out"
        )


def room_for_actions(tokenizer: Tokenizer) -> int:
    """How many ids of action tokens take no id of a word.

    The project's own tokenizer ends with location tokens, which they share. PaliGemma's has others behind them, and
    thousands of rare words in front (openpi src/openpi/models/tokenizer.py).
    """
    first, last = (tokenizer.encode(f"<loc{number:04d}>") for number in (0, LOCATIONS - 1))
    ends_with_places = len(first) == 1 and list(last) == [tokenizer.vocab_size - 1]
    return tokenizer.vocab_size - SKIPPED - first[0] if ends_with_places else tokenizer.vocab_size


def check_action_tokens(fast: ActionTokenizer, tokenizer: Tokenizer, where: str) -> None:
    """Raises TrainError if action tokens would take the ids of words."""
    room = room_for_actions(tokenizer)
    if fast.vocab_size > room:
        raise TrainError(
            f"{where}: has {fast.vocab_size} ids, and the network's tokenizer has room for {room}; the others would be its words. "
            "Give --fast-tokenizer fit, or one that `pi0 data fit-fast --vocabulary 512` made"
        )

"""Whether the prompts of a run fit into the network, checked once before training."""

from __future__ import annotations

import numpy as np

from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.prompts import encode_prompt
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

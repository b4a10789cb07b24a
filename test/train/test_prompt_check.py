"""How many states a prompt's length is tried with."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.train import prompt_check
from pi0_ros.train.errors import TrainError
from pi0_ros.train.prompt_check import check_prompts
from pi0_ros.train.session import pipeline_for
from pi0_ros.train.statistics import frame_statistics

sys.path.insert(0, str(Path(__file__).parent))
from test_training import MODEL, some_frames


def test_each_text_is_tried_with_its_first_its_last_and_at_most_twenty_states(monkeypatch):
    """48 frames: 36 of the first text, 4 of the second, and 8 without one."""
    frames, adapter = some_frames(count=48), load_adapter("mobile_bimanual")
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    frames = replace(frames, task=np.repeat([0, 1, -1], [36, 4, 8]).astype(np.int32))
    tried = []

    def noted(tokenizer, style, task, state):
        tried.append((task, state))
        assert style.length == 100_000
        return encode(tokenizer, style, task, state)

    encode = prompt_check.encode_prompt
    monkeypatch.setattr(prompt_check, "encode_prompt", noted)
    check_prompts(frames, pipeline, build())
    assert [t for t, _ in tried] == [frames.texts[0]] * 20 + [frames.texts[1]] * 4
    states = pipeline.normalised_state(frames.state.astype(np.float64))
    for at, row in ((0, 0), (19, 35), (20, 36), (23, 39)):
        np.testing.assert_allclose(tried[at][1], states[row])
    short = replace(pipeline, style=replace(pipeline.style, length=30))
    with pytest.raises(TrainError, match="40 of 48 frames have prompts of up to"):
        check_prompts(frames, short, build())

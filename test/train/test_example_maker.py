"""What the network is shown: how pictures are disturbed, and what is asked."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi0_ros.model import FAST, PROMPT, LoraConfig
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.fast import answer_ids, fit_fast
from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.train import adapters
from pi0_ros.train.embodiments import check_questions, question_slots
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.hooks import Hooks
from pi0_ros.train.session import pipeline_for
from pi0_ros.train.settings import Augment
from pi0_ros.train.statistics import frame_statistics

sys.path.insert(0, str(Path(__file__).parent))
from test_training import MODEL, SETTINGS, some_frames

COUNT = 200


def grey(augment: Augment, **changes: float) -> np.ndarray:
    """Flat pictures of brightness 200 of every camera, disturbed: [cameras, rows, 3 * size * size]."""
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    maker = ExampleMaker(frames, pipeline, build(), replace(SETTINGS, **changes), augment=augment)
    flat = np.full((3, 4, 4, 3), 200, np.uint8)
    found = maker.pictures([flat] * COUNT, np.random.default_rng(3))
    return np.stack([one.numpy().reshape(COUNT, -1) for one in found])


@pytest.mark.parametrize(("what", "width"), [("brightness", 0.1), ("contrast", 0.2)])
def test_every_picture_has_its_own_brightness_and_contrast_within_the_settings(what, width):
    seen = grey(Augment.LIGHT, **{"brightness": 0.0, "contrast": 0.0, "picture_noise": 0.0, what: width})
    plain = 200 / 127.5 - 1
    assert np.ptp(seen, axis=2).max() == 0  # one for the whole picture
    drawn = seen[..., 0] - plain if what == "brightness" else seen[..., 0] / plain - 1
    assert np.abs(drawn).max() <= width * 1.001 and drawn.min() < -0.9 * width and drawn.max() > 0.9 * width
    assert len(np.unique(drawn)) >= 3 * COUNT - 3  # none shares it, neither rows nor cameras


def test_noise_is_of_every_number_and_of_the_settings_size():
    seen = grey(Augment.LIGHT, brightness=0.0, contrast=0.0, picture_noise=0.05)
    assert seen.std() == pytest.approx(0.05, rel=0.03) and seen.std(axis=2).min() > 0.02


def test_none_leaves_pictures_as_they_are():
    assert np.ptp(grey(Augment.NONE)) == 0


def test_a_high_level_example_asks_with_the_task_and_not_with_what_is_done_now():
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    inputs = ExampleMaker(frames, pipeline, build(), SETTINGS).words([1, 2]).inputs
    asked = build().decode(inputs.tokens[1][inputs.token_mask[1] & (inputs.roles[1] == PROMPT)].tolist())
    assert "touch every block" in asked and "red" not in asked


def test_a_chunk_that_is_said_is_the_chunk_that_was_recorded():
    """By the run's statistics, and not by the chunk's own smallest and largest number, which nobody knows at run time. FAST rounds
    each coefficient of its cosine transform (which keeps lengths) to a tenth: rows are off by 0.05 in the root of the mean square at most."""
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    frames = replace(frames, valid=np.full(len(frames), frames.chunk.shape[1], np.int32))
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    states = frames.state.astype(np.float64)
    chunks = pipeline.normalised_actions(frames.chunk.astype(np.float64), states)[..., :18]
    fast = fit_fast(chunks, vocab_size=512)
    maker = ExampleMaker(frames, pipeline, build(), SETTINGS, fast=fast)
    examples = maker.actions([4, 9])
    for row, number in enumerate((4, 9)):
        said = answer_ids(build(), fast, chunks[number])
        assert examples.inputs.tokens[row][examples.counts[row]].tolist() == said
        heard = fast.decode(fast.encode(chunks[number]), 16, 18)
        assert np.sqrt(np.mean((heard - chunks[number]) ** 2)) < 0.05
        assert np.ptp(chunks[number]) > 1.0 and len(said) > 18


def test_a_picture_whose_places_are_named_is_neither_cropped_nor_turned():
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    texts = (*frames.texts, "<loc0512><loc0256><loc1023><loc0768> cup ; pick up the cup")
    boxed = np.where(np.arange(len(frames)) == 1, len(texts) - 1, frames.high_target).astype(np.int32)
    size = frames.images.shape[2]
    half = np.zeros((len(frames), 3, size, size, 3), np.uint8)
    half[:, :, :, size // 2 :] = 255  # an upright edge in the middle
    frames = replace(frames, images=half, texts=texts, high_target=boxed)
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    maker = ExampleMaker(frames, pipeline, build(), SETTINGS, augment=Augment.OPENPI)
    base = maker.words([1, 2], np.random.default_rng(5)).inputs.images[0].numpy()
    uniform = [all(len(np.unique(one[0, :, column])) == 1 for column in range(size)) for one in base]
    assert uniform == [True, False]


def test_a_question_for_a_subtask_shows_the_cameras_that_it_shows_on_the_robot():
    """`high_level_cameras` leaves the right wrist out: what the question shows on the robot is what it shows in training."""
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    fewer = replace(adapter, high_level_cameras={"base": "base", "left_wrist": "left_wrist", "right_wrist": None})
    pipeline = pipeline_for(fewer, MODEL, frame_statistics(frames, fewer.delta_mask))
    maker = ExampleMaker(frames, pipeline, build(), SETTINGS, asked=question_slots(fewer))
    question, action = maker.words([1, 2]).inputs, maker.actions([1, 2]).inputs
    assert [m.tolist() for m in question.image_masks] == [[True] * 2, [True] * 2, [False] * 2]
    assert bool((question.images[2] == -1.0).all()) and all(bool(m.all()) for m in action.image_masks)


def test_a_question_with_another_camera_than_the_actions_is_refused():
    adapter = load_adapter("mobile_bimanual")
    check_questions(adapter)
    with pytest.raises(TrainError, match="high_level_cameras puts back into base, where `cameras` has base"):
        check_questions(replace(adapter, high_level_cameras={"base": "back"}))


def test_what_an_experiment_answers_is_learned_but_for_what_stands_as_padding():
    """A negative id is seen as 0 and not learned; an id of 0 is one like any other."""
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    hooks = Hooks(answer=lambda row: np.array([0, 7, -1, 9]))
    made = ExampleMaker(frames, pipeline, build(), SETTINGS, hooks).actions([3])
    said = made.inputs.roles[0] == FAST
    assert made.inputs.tokens[0][said].tolist() == [0, 7, 0, 9]
    assert made.counts[0][said].tolist() == [True, True, False, True] and int(made.counts.sum()) == 3


def test_an_answer_in_lerobots_dialect_is_as_long_as_its_prompt_may_be_and_begins_with_a_bos_that_is_not_learned():
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    frames = replace(frames, valid=np.full(len(frames), frames.chunk.shape[1], np.int32))
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    chunks = pipeline.normalised_actions(frames.chunk.astype(np.float64), frames.state.astype(np.float64))[..., :18]
    fast = fit_fast(chunks, vocab_size=512)
    for length in (30, 10_000):
        style = replace(pipeline.style, kind="pi0_fast", dialect="lerobot", length=length)
        maker = ExampleMaker(frames, replace(pipeline, style=style), build(), SETTINGS, fast=fast)
        said = maker._spoken_chunk(chunks[4], 16)
        whole = answer_ids(build(), fast, chunks[4], bos=True)
        assert said.ids.tolist() == whole[:length] and len(whole) > 30
        assert said.learned.tolist() == [False] + [True] * (len(said.ids) - 1)
        assert not maker._spoken_chunk(chunks[4], 15).learned.any(), "a chunk that was not shown to its end"


@pytest.mark.parametrize(
    ("changes", "frozen"),
    [
        ({"precision": "bfloat16"}, torch.bfloat16),
        ({"precision": "float32"}, None),
        ({"precision": "bfloat16", "shard": True}, None),
    ],
)
def test_what_is_frozen_below_adapters_is_in_bfloat16_where_steps_compute_in_it(monkeypatch, changes, frozen):
    given = []
    monkeypatch.setattr(adapters, "add_lora", lambda *what: given.append(what) or "adapted")
    settings = replace(SETTINGS, lora_trunk=3, lora_expert=5, **changes)
    assert adapters.with_adapters("network", settings, "generator", True) == "adapted"
    assert given == [("network", LoraConfig(3, 3.0, 5, 5.0, True), "generator", frozen)]
    assert adapters.with_adapters("network", SETTINGS, "generator") == "network" and len(given) == 1

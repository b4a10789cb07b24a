"""What the network is shown: how pictures are disturbed, and what is asked."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi0_ros.model import FAST, PROMPT, TEXT, LoraConfig
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.fast import answer_ids, fit_fast
from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.train import adapters
from pi0_ros.train.embodiments import check_questions, question_slots
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import AnswerText, ExampleMaker, joined_texts
from pi0_ros.train.hooks import Hooks, Purpose
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


def maker_of(kind: str = "pi05", frames=None, **changes) -> ExampleMaker:
    frames, adapter = frames or some_frames(), load_adapter("mobile_bimanual")
    pipeline = pipeline_for(
        adapter,
        replace(MODEL, kind=kind, **({"expert": None} if kind == "pi0_fast" else {})),
        frame_statistics(frames, adapter.delta_mask),
    )
    return ExampleMaker(frames, pipeline, build(), replace(SETTINGS, **changes.pop("settings", {})), **changes)


def test_texts_of_a_batch_are_prompt_and_answer_behind_one_another_and_padded_behind():
    answers = [
        AnswerText(np.array([7, 8, 9]), np.array([True, False, True])),
        AnswerText(np.array([4]), np.array([True])),
    ]
    ids, there, roles, learned = joined_texts([[1, 2], [3, 5, 6]], answers, FAST)
    assert ids.tolist() == [[1, 2, 7, 8, 9], [3, 5, 6, 4, 0]]
    assert there.tolist() == [[True] * 5, [True] * 4 + [False]]
    assert roles.tolist() == [[PROMPT] * 2 + [FAST] * 3, [PROMPT] * 3 + [FAST, PROMPT]]
    assert learned.tolist() == [[False, False, True, False, True], [False] * 3 + [True, False]]
    both = answers[0] + answers[1]
    assert both.ids.tolist() == [7, 8, 9, 4] and both.learned.tolist() == [True, False, True, True]


def test_a_state_that_is_a_vector_is_disturbed_by_the_noise_of_the_settings_and_shown_as_it_is_without():
    maker = maker_of("pi0", settings={"state_noise": 0.3, "augment": "none"}, augment=Augment.NONE)
    rows = np.arange(24)
    plain = maker.pipeline.normalised_state(maker.frames.state.astype(np.float64))
    width = maker.pipeline.state_input
    shown = maker.actions(rows).inputs.state.numpy()
    np.testing.assert_allclose(shown, np.pad(plain, [(0, 0), (0, width - 18)]), atol=1e-6)
    noisy = maker.actions(rows, np.random.default_rng(1))
    off = noisy.inputs.state.numpy()[:, :18] - plain
    assert abs(off.mean()) < 0.05 and off.std() == pytest.approx(0.3, rel=0.1)
    assert not noisy.inputs.state[:, 18:].any()
    np.testing.assert_array_equal(noisy.actions.numpy(), maker.actions(rows).actions.numpy())
    asked = maker.words([1, 2]).inputs
    assert asked.state.shape == (2, width) and not asked.state.any(), "a question is asked without the state"


def test_an_example_has_the_chunk_the_rows_that_were_shown_and_where_it_comes_from():
    maker = maker_of()
    made = maker.actions([5, 2])
    frames, order = maker.frames, [5, 2]
    assert made.valid.tolist() == frames.valid[order].tolist() and made.dims == 18
    wanted = maker.pipeline.normalised_actions(
        frames.chunk[order].astype(np.float64), frames.state[order].astype(float)
    )
    np.testing.assert_allclose(made.actions.numpy(), wanted, atol=1e-6)
    for row, number in zip(made.rows, order, strict=True):
        np.testing.assert_array_equal(row.pictures, frames.images[number])
        np.testing.assert_array_equal(row.state, frames.state[number].astype(np.float64))
        np.testing.assert_array_equal(row.chunk, frames.chunk[number].astype(np.float64))
        np.testing.assert_array_equal(row.facts, frames.facts[number])
        assert (row.task, row.high_task) == (frames.texts[0], frames.texts[1]) and row.present is None
        assert row.high_target == frames.texts[frames.high_target[number]]
        assert row.channels == frames.channels and row.cameras == frames.cameras
    untold = replace(frames, high_task=frames.high_task * 0 - 1, high_target=frames.high_target * 0 - 1)
    (row,) = replace(maker, frames=untold).actions([3]).rows
    assert (row.high_task, row.high_target) == ("", "")


def test_augmentations_change_rows_one_after_the_other_for_what_they_become_and_only_with_a_generator():
    seen = []

    def changing(letter):
        def change(row, purpose, rng):
            seen.append((letter, purpose, row.task[-2:]))
            return replace(row, task=row.task + letter, high_task=row.high_task + letter)

        return change

    maker = maker_of(hooks=Hooks(augmentations=(changing("x"), changing("y"))))
    made = maker.actions([1, 2], np.random.default_rng(1))
    assert seen == [("x", Purpose.ACT, "rm")] * 2 + [("y", Purpose.ACT, "mx")] * 2
    assert [row.task for row in made.rows] == [maker.frames.texts[0] + "xy"] * 2
    said = build().decode(made.inputs.tokens[0].tolist())
    assert "left armxy" in said.replace(" xy", "xy")
    seen.clear()
    told = maker.words([3], np.random.default_rng(1))
    assert [each[:2] for each in seen] == [("x", Purpose.TELL), ("y", Purpose.TELL)]
    assert told.rows[0].high_task == "touch every blockxy"
    maker.actions([1])
    maker.words([1])
    assert len(seen) == 2


def test_pictures_are_fractions_from_minus_one_to_one_with_colours_first_a_camera_each():
    maker, frames = maker_of(), some_frames()
    found = maker.pictures([frames.images[3], frames.images[8]])
    assert len(found) == 3 and found[0].shape == (2, 3, 32, 32)
    for camera, one in enumerate(found):
        for row, number in enumerate((3, 8)):
            wanted = frames.images[number, camera].transpose(2, 0, 1) / 127.5 - 1.0
            np.testing.assert_allclose(one[row].numpy(), wanted, atol=1e-6)


def test_light_brightness_is_added_and_contrast_is_about_the_middle_and_both_end_at_black_and_white():
    shades = np.linspace(0, 255, 16).astype(np.uint8)
    picture = np.broadcast_to(shades[None, :, None], (16, 16, 3))
    maker = maker_of(settings={"brightness": 0.4, "contrast": 0.5, "picture_noise": 0.0}, augment=Augment.LIGHT)
    plain = shades / 127.5 - 1.0
    for one in maker.pictures([np.stack([picture] * 3)] * 20, np.random.default_rng(2)):
        for row in one[:, 0, 0].numpy():
            inner = (np.abs(row) < 1.0) & (np.abs(plain) < 0.5)
            gain, shift = np.polyfit(plain[inner], row[inner], 1)
            assert 0.5 <= gain <= 1.5 and -0.4 <= shift <= 0.4
            np.testing.assert_allclose(row, np.clip(gain * plain + shift, -1.0, 1.0), atol=1e-5)


def test_slots_that_no_camera_fills_are_absent_where_they_are_masked_and_else_black():
    frames = some_frames()
    frames = replace(frames, cameras=("base", "right_wrist"), images=frames.images[:, [0, 2]])
    for missing, mask in (("masked", False), ("black", True)):
        maker = maker_of(frames=frames)
        maker = replace(maker, pipeline=replace(maker.pipeline, missing=missing))
        inputs = maker.actions([1, 2]).inputs
        images = inputs.images
        assert [m.tolist() for m in inputs.image_masks] == [[True] * 2, [mask] * 2, [True] * 2]
        if missing == "masked":
            assert images[1] is None
        else:
            assert images[1].shape == images[0].shape and bool((images[1] == -1.0).all())
        wanted = frames.images[1, 1].transpose(2, 0, 1) / 127.5 - 1.0
        np.testing.assert_allclose(images[2][0].numpy(), wanted, atol=1e-6)


def test_a_network_without_an_expert_says_its_chunk_as_text_that_counts_and_needs_its_tokenizer():
    frames = replace(some_frames(), valid=np.full(24, 16, np.int32))
    with pytest.raises(TrainError, match="a π0-FAST network is trained on FAST tokens"):
        maker_of("pi0_fast", frames)
    plain = maker_of("pi05", frames)
    chunks = plain.pipeline.normalised_actions(frames.chunk.astype(np.float64), frames.state.astype(np.float64))
    fast = fit_fast(chunks[..., :18], vocab_size=512)
    hooks = Hooks(answer=lambda row: np.array([7, 8]))
    said = {}
    for kind in ("pi0_fast", "pi05"):
        made = maker_of(kind, frames, fast=fast, hooks=hooks).actions([4])
        answer = made.inputs.tokens[0][made.counts[0]].tolist()
        said[kind] = answer, made.inputs.roles[0][made.counts[0]].unique().tolist(), made.actions is None
    own = answer_ids(build(), fast, chunks[4, :, :18])
    assert said["pi05"] == ([7, 8, *own], [FAST], False), "an experiment's answer, and behind it the chunk"
    assert said["pi0_fast"][1:] == ([TEXT], True) and said["pi0_fast"][0][:2] != [7, 8]


def test_examples_go_to_another_device_with_all_that_the_network_sees():
    made = maker_of().actions([1, 2])
    moved = made.to("meta")
    for name in ("counts", "actions", "valid"):
        assert getattr(moved, name).device.type == "meta" and getattr(made, name).device.type == "cpu"
    assert moved.inputs.tokens.device.type == "meta" and moved.rows is made.rows and moved.dims == 18
    told = maker_of().words([1]).to("meta")
    assert told.actions is None is told.valid and told.counts.device.type == "meta"

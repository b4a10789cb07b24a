"""What is done around a network, by hand: pictures into slots, vectors onto its scale and back."""

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.normalize import Normalizer, Statistics
from pi0_ros.policy.pipeline import ModelInputs, Pipeline, relative_mask
from pi0_ros.policy.prompts import PromptStyle
from pi0_ros.policy.tiny_tokenizer import build


def spread(mean, std):
    return Normalizer("lerobot_mean_std", Statistics({"mean": np.array(mean), "std": np.array(std)}))


PIPELINE = Pipeline(
    origin="a test",
    style=PromptStyle("pi05"),
    cameras=("base", "left", "right"),
    image_size=(8, 8),
    resampler="pil",
    state_norm=spread([1.0, -2.0, 0.5], [0.5, 4.0, 2.0]),
    action_norm=spread([0.1, 0.2, 0.3], [2.0, 3.0, 4.0]),
    action_width=5,
    horizon=3,
    action_size=3,
)
GREY = np.full((8, 8, 3), 51, np.uint8)
STATE = np.array([1.5, -1.0, 0.25])
ROWS = np.array([[1.0, 2.0, 3.0], [1.5, 2.5, 2.0], [2.5, 2.0, 7.0]])


def by_hand(rows):
    return (rows - [0.1, 0.2, 0.3]) / [2.0, 3.0, 4.0]


def test_absent_pictures_are_masked_or_black_in_the_models_order():
    pictures = PIPELINE.pictures({"right": GREY, "base": GREY // 3})
    assert list(pictures) == ["base", "left", "right"] and pictures["left"] is None
    np.testing.assert_allclose(pictures["right"], np.full((3, 8, 8), 2 * 0.2 - 1), atol=1e-6)
    np.testing.assert_allclose(pictures["base"], np.full((3, 8, 8), 2 * 17 / 255 - 1), atol=1e-6)
    black = replace(PIPELINE, missing="black").pictures({"base": GREY})
    assert (black["left"] == -1.0).all() and black["left"].shape == (3, 8, 8) and black["left"].dtype == np.float32


def test_pictures_are_renamed_first_and_one_that_has_no_slot_is_named():
    renamed = replace(PIPELINE, rename={"front": "base"}).pictures({"front": GREY})
    assert renamed["base"] is not None and renamed["right"] is None
    with pytest.raises(PolicyError, match="no picture slot front, up; it has base, left, right"):
        PIPELINE.pictures({"up": GREY, "front": GREY, "base": GREY})
    with pytest.raises(PolicyError, match="no picture slot a, b, c, d, e, f;"):
        PIPELINE.pictures(dict.fromkeys("fadbec", GREY))
    with pytest.raises(PolicyError, match="no picture at all; the model sees with base, left, right"):
        PIPELINE.pictures({})
    with pytest.raises(PolicyError, match="camera left: "):
        PIPELINE.pictures({"left": GREY[..., 0]})


def test_lerobot_puts_absent_slots_last_and_openpi_leaves_them_where_they_are():
    inputs = ModelInputs({"base": None, "left": np.zeros((3, 8, 8), np.float32), "right": None}, None, None, STATE)
    found = PIPELINE.slots(inputs)
    assert [there for _, there in found] == [False, True, False] and (found[0][0] == -1.0).all()
    lerobot = replace(PIPELINE, style=PromptStyle("pi05", "lerobot"), empty_slots=2).slots(inputs)
    assert [there for _, there in lerobot] == [True, False, False, False, False]
    assert (lerobot[0][0] == 0.0).all() and all((picture == -1.0).all() for picture, _ in lerobot[1:])


def test_a_state_is_scaled_at_its_real_size_and_only_then_padded():
    inputs = replace(PIPELINE, state_input=6, style=PromptStyle("pi0")).inputs({"base": GREY}, STATE, "go", build())
    np.testing.assert_allclose(inputs.normalised_state, [1.0, 0.25, -0.125], atol=1e-6)
    np.testing.assert_allclose(inputs.state, [1.0, 0.25, -0.125, 0.0, 0.0, 0.0], atol=1e-6)
    assert PIPELINE.inputs({"base": GREY}, STATE, "go", build()).state is None
    with pytest.raises(PolicyError, match="state value 1 is not finite"):
        PIPELINE.normalised_state([0.0, np.nan, np.inf])


def test_the_high_level_question_has_no_state():
    asked = replace(PIPELINE, state_input=4).subtask_inputs({"base": GREY}, "tidy up", build())
    assert asked.state.tolist() == [0.0] * 4 and asked.normalised_state.size == 0 and "tidy up" in asked.prompt.text


@pytest.mark.parametrize(
    ("delta", "steps", "wanted"),
    [
        ((), (), ROWS),
        # Against the state at the chunk's start, in the dimensions that say so.
        ((True, False, True), (), ROWS - [1.5, 0.0, 0.25]),
        # From the row before, all the way or half of it, and the first from the state.
        ((), (1.0, 0.0, 0.0), [[-0.5, 2.0, 3.0], [0.5, 2.5, 2.0], [1.0, 2.0, 7.0]]),
        ((), (0.0, 0.5, 0.0), [[1.0, 3.0, 3.0], [1.5, 2.0, 2.0], [2.5, 0.5, 7.0]]),
    ],
)
def test_actions_are_offsets_then_scaled_then_padded_and_come_back_as_they_were(delta, steps, wanted):
    pipeline = replace(PIPELINE, delta=delta, steps=steps)
    normal = pipeline.normalised_actions(ROWS, STATE)
    np.testing.assert_allclose(normal[:, :3], by_hand(np.array(wanted)), atol=1e-6)
    assert normal.shape == (3, 5) and not normal[:, 3:].any()
    np.testing.assert_allclose(pipeline.actions(normal, STATE), ROWS, atol=1e-6)


def test_actions_of_fast_are_not_padded_and_wider_statistics_are_cut_to_them():
    wide = spread([0.1, 0.2, 0.3, 9.0], [2.0, 3.0, 4.0, 9.0])
    pipeline = replace(PIPELINE, style=PromptStyle("pi0_fast", state=True), action_norm=wide.cut(3))
    assert pipeline.normalised_actions(ROWS, STATE).shape == (3, 3)
    found = replace(pipeline, action_norm=wide).actions(by_hand(ROWS), STATE)
    np.testing.assert_allclose(found, ROWS, atol=1e-6)


def test_chunks_of_fast_come_back_in_a_batch_too():
    wide = spread([0.1, 0.2, 0.3, 9.0, 8.0], [2.0, 3.0, 4.0, 9.0, 8.0])
    pipeline = replace(PIPELINE, style=PromptStyle("pi0_fast", state=True), action_norm=wide)
    batch = np.stack([ROWS, ROWS[::-1], 2 * ROWS, 3 * ROWS])[:, :2]
    np.testing.assert_allclose(pipeline.actions(by_hand(batch), STATE), batch, atol=1e-5)


def test_actions_beyond_the_robots_own_are_cut_off_and_without_a_size_all_are_its_own():
    openpi = Normalizer(
        "openpi_zscore", Statistics({"mean": np.array([0.1, 0.2, 0.3]), "std": np.array([2.0, 3.0, 4.0])})
    )
    wide = np.pad(by_hand(ROWS), ((0, 0), (0, 2)), constant_values=5.0)
    for norm in (openpi, PIPELINE.action_norm):
        np.testing.assert_allclose(replace(PIPELINE, action_norm=norm).actions(wide, STATE), ROWS, atol=1e-4)
    whole = replace(PIPELINE, action_norm=openpi, action_size=0).actions(wide, STATE)
    assert whole.shape == (3, 5)
    np.testing.assert_allclose(whole[:, 3:], 5.0, atol=1e-4)
    lerobot = replace(PIPELINE, action_size=0).actions(wide, STATE)
    np.testing.assert_allclose(lerobot, ROWS, atol=1e-4)  # whose statistics cover the real dimensions alone


def test_a_pipeline_that_says_no_size_of_its_actions_gives_all_that_the_network_has():
    said = {name: value for name, value in vars(PIPELINE).items() if name != "action_size"}
    openpi = Normalizer("openpi_zscore", Statistics({"mean": np.array([0.5]), "std": np.array([2.0])}))
    found = Pipeline(**(said | {"action_norm": openpi})).actions([[1.0, 2.0, 3.0, 4.0]], STATE)
    np.testing.assert_allclose(found, [[2.5, 2.0, 3.0, 4.0]], atol=1e-4)


def test_a_mask_is_cut_or_goes_on_with_no():
    assert relative_mask((True, False), 4) == (True, False, False, False)
    assert relative_mask((True, False, True), 2) == (True, False) and relative_mask((), 1) == (False,)

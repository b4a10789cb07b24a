import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi0_ros.policy import PolicyError, prompts, tiny_tokenizer
from pi0_ros.policy.prompts import PromptStyle, default_style, encode_prompt, prompt_text, state_bins

TINY = tiny_tokenizer.build()


def test_bins_and_pi05_texts_equal_openpis(golden):
    io = golden("state_prompt")
    for case in golden.json("state_prompt", "state_prompt")["states"]:
        state = io[case["tensor"]]
        assert state_bins(state).tolist() == case["bins"]
        assert prompt_text(default_style("pi05"), "pick up the fork", state) == case["pi05_prompt"]


def test_the_published_bins_of_three_values():
    assert state_bins([0.523, -0.234, 0.891]).tolist() == [194, 98, 242]


def test_texts_of_every_dialect_equal_the_projects(golden):
    state = golden("state_prompt")["state.0"]
    cases = golden.json("state_prompt", "state_prompt")["prompts"]
    assert len(cases) == 8
    for case in cases:
        task = case["prompt"]
        assert prompt_text(default_style("pi0"), task) == case["pi0_clean"] + "\n"
        assert prompt_text(default_style("pi05"), task, state) == case["pi05_prompt"]
        assert prompt_text(default_style("pi0_fast"), task, state) == case["pi0_fast_prefix"]
        assert prompt_text(default_style("pi0", "lerobot"), task) == case["lerobot_pi0_text"]


def test_ids_equal_openpis_with_the_gemma_tokenizer(golden, gemma):
    io = golden("state_prompt")
    recorded = golden.json("state_prompt", "state_prompt")
    for case in recorded["states"]:
        found = encode_prompt(gemma, default_style("pi05"), "pick up the fork", io[case["tensor"]])
        assert list(found.ids) == case["pi05_ids"]
    for case in recorded["prompts"]:
        task, state = case["prompt"], io["state.0"]
        assert list(encode_prompt(gemma, default_style("pi0"), task).ids) == case["pi0_ids"]
        assert list(encode_prompt(gemma, default_style("pi05"), task, state).ids) == case["pi05_ids"]
        short = encode_prompt(gemma, PromptStyle("pi05", length=20, state=True), task, state)
        assert list(short.ids) == case["pi05_ids_truncated_to_20"] and short.truncated
        fast = encode_prompt(gemma, default_style("pi0_fast"), task, state)
        assert list(fast.ids) == case["pi0_fast_prefix_ids"]


def test_lerobots_early_padding_shows_as_128s():
    style = PromptStyle("pi05", "lerobot", 200, state=True, pad_state_to=5)
    assert prompt_text(style, "go", [0.0, -1.0, 2.0]) == "Task: go, State: 128 0 255 128 128;\nAction: "


def test_lerobot_pi05_without_proprioception_has_no_state():
    assert prompt_text(PromptStyle("pi05", "lerobot", 200), "go_home") == "Task: go home;\nAction: "


def test_openpi_pi05_without_discrete_state_is_prompted_like_pi0():
    style = PromptStyle("pi05", "openpi", 200)
    assert prompt_text(style, "go_home") == "go home\n"
    assert encode_prompt(TINY, style, "go home").ids == (TINY.bos, *TINY.encode("go home"), *TINY.encode("\n"))


def test_lerobot_fast_keeps_capitals_and_starts_its_answer_with_bos():
    style = default_style("pi0_fast", "lerobot")
    assert prompt_text(style, "Open_It\nnow ", [0.0]) == "Task: Open It now, State: 128;\n"
    assert prompts.answer_start(TINY, style) == (TINY.bos,)
    assert prompts.answer_start(TINY, default_style("pi0_fast")) == ()


def test_the_control_mode_stands_between_its_marks():
    style = PromptStyle("pi05", state=True, length=99, control_mode="joint")
    expected = "Task: go <control mode> joint <control mode>, State: 128;\nAction: "
    assert prompt_text(style, "go", [0.0]) == expected


def test_the_subtask_question_is_cleaned_and_loses_its_full_stop():
    assert prompts.subtask_text("Touch_every Block. ") == "Task: touch every block. Subtask: "


def test_a_long_prompt_is_cut_on_the_right_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        found = encode_prompt(TINY, PromptStyle("pi05", length=10, state=True), "touch the red block", [0.0] * 8)
    assert len(found.ids) == 10 and found.ids[0] == TINY.bos and found.truncated
    assert "cut to 10" in caplog.text


@pytest.mark.parametrize("task", ["", "  \n "])
def test_an_empty_task_is_refused(task):
    for kind in prompts.KINDS:
        with pytest.raises(PolicyError, match="empty"):
            prompt_text(default_style(kind), task, [0.0])
    with pytest.raises(PolicyError, match="empty"):
        prompts.subtask_text(task)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_that_is_not_finite_makes_no_prompt(bad):
    with pytest.raises(PolicyError, match="value 1 is not finite"):
        prompt_text(default_style("pi05"), "go", [0.0, bad])


def test_a_prompt_that_needs_a_state_asks_for_it():
    with pytest.raises(PolicyError, match="a pi05 prompt needs the robot's state, and none was given"):
        prompt_text(default_style("pi05"), "go")


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(PolicyError, match="pi0, pi05, pi0_fast"):
        PromptStyle("pi1")


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=40))
def test_bins_lie_between_minus_one_and_255_and_rise_with_the_value(values):
    bins = state_bins(sorted(values))
    assert bins.min() >= -1 and bins.max() <= 255
    assert np.all(np.diff(bins) >= 0)


def test_a_checkpoint_of_plain_words_is_not_given_capitals_and_full_stops():
    style = PromptStyle("pi05", length=99, state=True, lowercase=True)
    assert prompt_text(style, " Touch the_RED block. ", [0.0]) == "Task: touch the red block, State: 128;\nAction: "


@pytest.mark.parametrize(
    ("task", "pi0", "fast"),
    [
        (" pick_up\nthe cup ", "pick up the cup", "pick up\nthe cup"),
        # What is stripped is decided before "_" and newlines become spaces (openpi models/tokenizer.py).
        ("_go ", " go", " go"),
        ("\n_Go_", " Go ", " go "),
    ],
)
def test_a_task_is_stripped_before_its_underscores_become_spaces(task, pi0, fast):
    assert prompts.clean(task) == pi0 and prompts.clean_fast(task) == fast


class Pieces:
    """A tokenizer of which one sees what was encoded together."""

    bos, eos, pad = 2, 1, 0

    def __init__(self):
        self.asked = []

    def encode(self, text):
        self.asked.append(text)
        return [100 + len(self.asked)] * len(text)


def test_lerobot_encodes_the_line_as_one_and_openpi_its_end_apart():
    """Two pieces may be other tokens than the whole, and the network was trained on one of them."""
    for dialect, asked in (("lerobot", ["go home\n"]), ("openpi", ["go home", "\n"])):
        pieces = Pieces()
        ids = encode_prompt(pieces, PromptStyle("pi0", dialect), "go home").ids
        assert pieces.asked == asked
        assert ids == (2, *[101] * len(asked[0]), *[102] * (len(asked) - 1))


def test_ids_are_filled_up_with_zeros_that_are_masked_unless_another_filling_is_given():
    tokens, mask = prompts.padded([7, 8, 9], 5)
    assert tokens.tolist() == [7, 8, 9, 0, 0] and mask.tolist() == [True, True, True, False, False]
    assert prompts.padded([7], 3, pad=4)[0].tolist() == [7, 4, 4]
    assert prompts.padded([7, 8], 2)[1].tolist() == [True, True]
    with pytest.raises(PolicyError, match="3 tokens do not fit into 2"):
        prompts.padded([7, 8, 9], 2)


@pytest.mark.parametrize(
    ("kind", "dialect", "length", "state"),
    [
        ("pi0", "openpi", 48, False),
        ("pi0", "lerobot", 48, False),
        ("pi05", "openpi", 200, True),
        ("pi05", "lerobot", 200, True),
        ("pi0_fast", "openpi", 250, True),
        ("pi0_fast", "lerobot", 200, True),
    ],
)
def test_the_released_prompts_have_their_lengths_and_states(kind, dialect, length, state):
    style = default_style(kind, dialect)
    assert (style.kind, style.dialect, style.length, style.state) == (kind, dialect, length, state)
    assert (style.pad_state_to, style.control_mode, style.lowercase) == (0, "", False)


def test_a_prompt_that_just_fits_is_whole(caplog):
    whole = prompts.truncated("text", [5, 6, 7], 3)
    assert whole.ids == (5, 6, 7) and not whole.truncated and whole.text == "text" and not caplog.text
    cut = prompts.truncated("text", [5, 6, 7], 2)
    assert cut.ids == (5, 6) and cut.truncated and "prompt of 3 tokens is cut to 2" in caplog.text


def test_ids_are_filled_up_behind_and_too_many_are_refused():
    ids, there = prompts.padded([5, 6], 4, 9)
    assert ids.tolist() == [5, 6, 9, 9] and there.tolist() == [True, True, False, False] and ids.dtype == np.int64
    assert prompts.padded([5], 2)[0].tolist() == [5, 0]
    ids, there = prompts.padded([5, 6], 2)
    assert ids.tolist() == [5, 6] and there.all()
    with pytest.raises(PolicyError, match="3 tokens do not fit into 2"):
        prompts.padded([5, 6, 7], 2)


def test_lerobots_pi0_gets_one_newline_at_the_end_and_keeps_its_words_and_tokens():
    style = default_style("pi0", "lerobot")
    assert prompt_text(style, "Go_home ") == "Go_home \n" and prompt_text(style, "go\n") == "go\n"
    assert encode_prompt(TINY, style, "go").ids == (TINY.bos, *TINY.encode("go\n"))
    openpi = encode_prompt(TINY, PromptStyle("pi0", control_mode="joint"), "go")
    assert openpi.text == "go <control mode> joint <control mode>\n"
    assert openpi.ids == (TINY.bos, *TINY.encode(openpi.text[:-1]), *TINY.encode("\n"))


def test_the_question_for_a_subtask_begins_with_bos_and_is_cut_to_its_length():
    asked = prompts.encode_subtask_prompt(TINY, "Tidy up!", 99)
    assert asked.text == "Task: tidy up. Subtask: " and asked.ids == (TINY.bos, *TINY.encode(asked.text))
    assert prompts.encode_subtask_prompt(TINY, "Tidy up!", 3).ids == asked.ids[:3]


@pytest.mark.parametrize("dialect", ["gemma", ""])
def test_an_unknown_dialect_is_refused_with_the_known_ones(dialect):
    with pytest.raises(PolicyError, match="dialects openpi, lerobot"):
        PromptStyle("pi0", dialect)


def test_a_state_for_a_prompt_is_one_vector():
    with pytest.raises(PolicyError, match=r"not an array of shape \(1, 2\)"):
        prompts.state_text([[0.0, 1.0]])
    assert prompts.state_text([0.5, -0.5, 0.0], 2) == "192 64 128" and prompts.state_text([], 2) == "128 128"
    assert prompts.state_text([-1.0, -1.01, 1.0, 0.99, 1.5]) == "0 -1 255 254 255"
    assert state_bins([[0.0, 1.0 / 128], [-1.0 / 128, 0.999]]).tolist() == [[128, 129], [127, 255]]

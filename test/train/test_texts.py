"""Examples of text and pictures: questions as prompts, answers that are learned, pictures in the network's slots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from pi0_ros.model import PROMPT, TEXT
from pi0_ros.policy.boxes import Box
from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.train import text_source
from pi0_ros.train.errors import TrainError
from pi0_ros.train.mixed import TextMaker
from pi0_ros.train.text_source import TextItem

WORDS = build()


def picture(folder: Path, name: str, shade: int, size=(20, 20)) -> Path:
    Image.fromarray(np.full((*size, 3), (shade, shade + 1, shade + 2), np.uint8)).save(folder / name)
    return folder / name


def maker_of(*items: TextItem, length: int = 60, state: int = 0) -> TextMaker:
    pipeline = SimpleNamespace(
        cameras=("base", "wrist", "back"), image_size=(10, 10), state_input=state, style=SimpleNamespace(length=length)
    )
    return TextMaker(items, pipeline, WORDS, "web")


def test_a_question_is_a_prompt_that_ends_with_a_line_break_and_its_answer_is_learned_to_its_end(tmp_path):
    file = picture(tmp_path, "a.png", 50)
    maker = maker_of(
        TextItem((("", file),), "what is this", "a wall"), TextItem((("wrist", file),), "", "a small red block")
    )
    made = maker.words([1, 0])
    for row, (question, answer) in enumerate((("", "a small red block"), ("what is this", "a wall"))):
        prompt = [WORDS.bos, *WORDS.encode(question), *WORDS.encode("\n")]
        ids = made.inputs.tokens[row][made.inputs.token_mask[row]].tolist()
        assert ids == [*prompt, *WORDS.encode(answer), WORDS.eos]
        learned = torch.arange(made.counts.shape[1])
        inside = (learned >= len(prompt)) & (learned < len(ids))
        assert torch.equal(made.counts[row], inside)
        assert made.inputs.roles[row].tolist() == torch.where(inside, TEXT, PROMPT).tolist()
    assert made.actions is None and made.inputs.state is None


def test_pictures_are_in_their_slots_and_what_no_row_has_is_absent(tmp_path):
    one, other = picture(tmp_path, "a.png", 50), picture(tmp_path, "b.png", 200)
    maker = maker_of(TextItem((("", one),), "", "x"), TextItem((("wrist", other), ("base", one)), "", "y"), state=7)
    inputs = maker.words([0, 1]).inputs
    assert [m.tolist() for m in inputs.image_masks] == [[True, True], [False, True], [False, False]]
    assert inputs.images[2] is None and inputs.images[0].shape == (2, 3, 10, 10)
    shades = lambda shade: [pytest.approx((shade + k) / 127.5 - 1.0, abs=1e-6) for k in range(3)]
    assert inputs.images[0][0, :, 5, 5].tolist() == inputs.images[0][1, :, 4, 2].tolist() == shades(50)
    assert inputs.images[1][1, :, 5, 5].tolist() == shades(200) and bool((inputs.images[1][0] == -1.0).all())
    assert inputs.state.shape == (2, 7) and not inputs.state.any()


def test_boxes_are_on_the_picture_of_the_first_slot_in_the_networks_order(tmp_path):
    """On a square they stay. A picture of 20 x 40 has 5 of 10 rows, behind 2 black ones: 0.25 is 0.2 + 0.25 / 2."""
    square, wide = picture(tmp_path, "a.png", 50), picture(tmp_path, "b.png", 50, (20, 40))
    box = Box(0.5, 0.25, 1.0, 0.75, "cup")
    for slots, place in (
        ((("wrist", wide), ("base", square)), "<loc0256><loc0512><loc0768><loc1023> cup ; go"),
        ((("back", square), ("wrist", wide)), "<loc0332><loc0512><loc0588><loc1023> cup ; go"),
    ):
        made = maker_of(TextItem(slots, "", "go", (box,))).words([0])
        assert WORDS.decode(made.inputs.tokens[0][made.counts[0]].tolist()).startswith(place)


def test_a_question_has_to_be_shorter_than_the_prompt_and_slots_have_to_be_the_networks(tmp_path):
    file = picture(tmp_path, "a.png", 50)
    items = TextItem((("", file),), "", "x"), TextItem((("", file),), "what is this", "a wall")
    length = len(WORDS.encode("what is this")) + len(WORDS.encode("\n")) + 1
    maker_of(*items, length=length + 1).check()
    with pytest.raises(
        TrainError, match=f"web: example 2 has a question of {length} tokens, and the network takes {length};"
    ):
        maker_of(*items, length=length).check()
    with pytest.raises(TrainError, match="web: example 1: the network has no picture slot 'hand'"):
        maker_of(replace(items[0], images=(("hand", file),)), items[1]).check()


def test_boxes_of_texts_need_a_tokenizer_with_places(tmp_path):
    file = picture(tmp_path, "a.png", 50)
    boxed = TextItem((("", file),), "", "", (Box(0.1, 0.2, 0.3, 0.4, "cup"),))
    plain = TextItem((("", file),), "", "go")
    without = SimpleNamespace(encode=lambda text: [3] * len(text), bos=2, eos=1)
    replace(maker_of(plain), tokenizer=without).check()
    with pytest.raises(TrainError, match="web: boxes are written in location tokens"):
        replace(maker_of(plain, boxed), tokenizer=without).check()


def test_a_pictures_file_of_more_than_64_megabytes_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as opened:
        opened.truncate((64 << 20) + 1)
    with pytest.raises(TrainError, match=r"a\.png: has 67108865 bytes; more than 67108864 are not read"):
        text_source.picture(tmp_path / "a.png")


def test_slots_are_named_or_the_networks_first_and_others_are_refused():
    item = TextItem((("", Path("a.png")), ("wrist", Path("b.png"))), "", "x")
    assert text_source.slots_of(item, ("base", "wrist"), "line 1") == {"base": Path("a.png"), "wrist": Path("b.png")}
    with pytest.raises(TrainError, match="line 1: the network has no picture slot 'wrist'; it has base, back"):
        text_source.slots_of(item, ("base", "back"), "line 1")

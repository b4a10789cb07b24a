import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi0_ros.policy import PolicyError, tiny_tokenizer, tokenizer
from pi0_ros.policy.tokenizer import JsonTokenizer, load_tokenizer

ROOT = Path(__file__).resolve().parents[2]
TINY = tiny_tokenizer.build()


def test_every_state_number_is_one_token():
    ids = [TINY.encode(f" {n}") for n in range(-1, 256)]
    assert all(len(i) == 1 for i in ids)
    assert len({i[0] for i in ids}) == 257


def test_every_location_is_one_token_at_the_end_of_the_vocabulary():
    ids = [TINY.encode(f"<loc{n:04d}>") for n in range(1024)]
    assert ids == [[TINY.vocab_size - 1024 + n] for n in range(1024)]


def test_the_vocabulary_is_small_and_its_special_ids_are_gemmas():
    assert TINY.vocab_size <= 2000
    assert (TINY.pad, TINY.eos, TINY.bos) == (0, 1, 2)


@given(st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"])))
def test_any_text_comes_back_as_it_was(text):
    assert TINY.decode(TINY.encode(text)) == text


@given(st.text())
def test_text_never_makes_a_special_token(text):
    assert not set(TINY.encode(text + "<eos><bos><pad>")) & {TINY.pad, TINY.eos, TINY.bos}


def test_an_instruction_costs_one_token_a_word():
    assert len(TINY.encode("touch the yellow block with the right arm")) == 8
    prompt = "Task: touch the red block with the left arm, State: " + " ".join(["255"] * 18) + ";\nAction: "
    assert len(TINY.encode(prompt)) <= 40


def test_it_is_written_and_read_back_the_same(tmp_path):
    tiny_tokenizer.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path)
    text = "Task: touch every block. Subtask: "
    assert again.encode(text) == TINY.encode(text)
    assert (tmp_path / "tokenizer.json").read_text() == tiny_tokenizer.to_json()


def test_padding_truncation_and_templates_of_a_file_are_switched_off(golden):
    words = load_tokenizer(golden.folder("lerobot_pi0"))
    ids = words.encode("pick up " * 30)
    assert len(ids) > 20 and words.bos not in ids and words.pad not in ids


PADDING = {"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0}
CUTTING = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}


def test_a_file_that_pads_or_cuts_gives_the_words_of_a_text_and_no_more():
    wanted = TINY.encode("touch every block")
    assert 2 < len(wanted) < 40
    for change in ({"padding": PADDING | {"pad_token": "<pad>"}}, {"truncation": CUTTING}):
        assert JsonTokenizer(changed(**change)).encode("touch every block") == wanted


def test_a_sentencepiece_model_reads_like_a_tokenizer_json(tmp_path):
    import sentencepiece

    lines = ["pick up the fork", "touch the red block", "fold the towel"] * 30
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(tmp_path / "tokenizer"), vocab_size=25, pad_id=0, eos_id=1,
        bos_id=2, unk_id=3, byte_fallback=False, minloglevel=2,
    )  # fmt: skip
    words = load_tokenizer(tmp_path)
    ids = words.encode("touch the fork")
    assert words.bos not in ids and words.decode([words.bos, *ids, words.eos]) == "touch the fork"
    assert words.vocab_size == 25


def test_gemmas_file_gets_paligemmas_location_tokens(gemma):
    assert gemma.vocab_size == 257152
    assert gemma.encode("Action: <loc0056>|") == [4022, 235292, 235248, 256056, 235371]
    assert gemma.encode("\n") == [108]


@pytest.mark.parametrize("content", [b"{}", b"\xff\xfe\x00", b"[" * 1000, b'{"model": null}'])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_a_broken_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PolicyError, match=name.replace(".", r"\.")):
        load_tokenizer(tmp_path / name)


def test_a_missing_tokenizer_says_where_to_get_one(tmp_path):
    with pytest.raises(PolicyError, match="paligemma_tokenizer.model"):
        load_tokenizer(tmp_path)


def test_decoding_leaves_out_padding_and_marks():
    ids = [TINY.bos, *TINY.encode("done"), TINY.eos, TINY.pad]
    assert TINY.decode(np.array(ids)) == "done"


def test_a_panic_of_the_tokenizers_library_is_an_error_of_the_policy(tmp_path):
    told = json.loads((ROOT / "checkpoints" / "pi05_reach_tiny" / "tokenizer.json").read_text(encoding="utf-8"))
    pattern = "(a|a|b)*(a|a|b)*(a|b|a)*c$|(t+)+(o+)+(.*)*x!$"  # backtracks without end
    told["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    (tmp_path / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(PolicyError, match="tokenizer.json: cannot encode the text 'touch the red block") as refused:
        tokenizer.encode("touch the red block with the left arm " + "a" * 300)
    assert len(str(refused.value)) < 700
    assert tokenizer.encode("lift")


def test_the_shipped_checkpoints_tokenizer_is_the_one_that_is_written_here():
    assert (ROOT / "checkpoints" / "pi05_reach_tiny" / "tokenizer.json").read_text(
        encoding="utf-8"
    ) == tiny_tokenizer.to_json()


def changed(**changes):
    """The small tokenizer with other fields in its file."""
    return json.dumps(json.loads(tiny_tokenizer.to_json()) | changes)


@pytest.mark.parametrize(
    ("lacks", "instead", "message"),
    [
        ("<pad>", "", r"^words.json: no <pad> token \(usually id 0\)"),
        ("<eos>", "", r"^words.json: no <eos> token \(usually id 1\)"),
        ("<bos>", "", r"^words.json: no <bos> token \(usually id 2\)"),
        ("<eos>", "</s>", ""),
        ("<bos>", "<s>", ""),
    ],
)
def test_a_tokenizer_needs_its_special_tokens_by_either_spelling(lacks, instead, message):
    text = tiny_tokenizer.to_json().replace(f'"{lacks}"', f'"{instead or "other"}"')
    if message:
        with pytest.raises(PolicyError, match=message):
            JsonTokenizer(text, "words.json")
    else:
        found = JsonTokenizer(text, "words.json")
        assert (found.pad, found.eos, found.bos) == (0, 1, 2)


SPECIAL = {
    "content": "<image>",
    "special": True,
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
}


def test_special_tokens_are_no_part_of_a_text_that_is_decoded_but_for_those_that_say_something():
    size = TINY.vocab_size
    words = JsonTokenizer(changed(added_tokens=[SPECIAL | {"id": size}]))
    assert words.vocab_size == size + 1 and words.decode([words.bos, size, words.eos]) == "<image>"
    words.restrict(size)
    assert words.vocab_size == size
    with pytest.raises(PolicyError, match="'<image>', a special token that the network has no row for"):
        words.encode("touch <image>")
    plain = JsonTokenizer(changed(added_tokens=[SPECIAL | {"id": size, "special": False}]))
    with pytest.raises(PolicyError, match=f"the tokenizer has {size + 1} ids, the network {size};"):
        plain.restrict(size)
    plain.restrict(size + 1)
    assert plain.encode("<image>") == [size]
    with pytest.raises(PolicyError, match=f"has {size} ids, the network {size - 1};"):
        tiny_tokenizer.build().restrict(size - 1)


def test_a_gemma_tokenizer_gets_paligemmas_locations_and_segments_behind_its_words(tmp_path, monkeypatch):
    vocab = [[p, s] for p, s in json.loads(tiny_tokenizer.to_json())["model"]["vocab"] if not p.startswith("<loc")]
    model = {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": True}
    (tmp_path / "tokenizer.json").write_text(changed(model=model, normalizer={"type": "Lowercase"}), encoding="utf-8")
    assert load_tokenizer(tmp_path).vocab_size == len(vocab)
    monkeypatch.setattr(tokenizer, "GEMMA_VOCAB", len(vocab))
    words = load_tokenizer(tmp_path)
    assert words.vocab_size == len(vocab) + 1024 + 128
    found = words.encode("<loc0000><loc1023><seg000><seg127>")
    assert found == [len(vocab) + k for k in (0, 1023, 1024, 1151)]
    assert words.decode(found) == "<loc0000><loc1023><seg000><seg127>", "they are no marks that decoding leaves out"
    with pytest.raises(PolicyError, match=f"has {len(vocab) + 1152} ids, the network {len(vocab) + 1151};"):
        words.restrict(len(vocab) + 1151)
    assert len(words.encode("<LOC0000>")) > 1, "they are looked for before a text is put in lower case"


def test_a_sentencepiece_model_has_its_own_ids_or_gemmas_where_it_has_none(tmp_path, monkeypatch):
    import sentencepiece

    class Model:
        """A model with padding but no marks for begin and end, or the other way round."""

        def __init__(self, model_proto):
            self.known = json.loads(model_proto)

        def vocab_size(self):
            return 25

        def pad_id(self):
            return self.known[0]

        def bos_id(self):
            return self.known[1]

        def eos_id(self):
            return self.known[2]

    monkeypatch.setattr(sentencepiece, "SentencePieceProcessor", Model)
    for known, found in (([-1, -1, -1], (0, 2, 1)), ([0, 0, 0], (0, 0, 0)), ([5, 6, 7], (5, 6, 7))):
        words = tokenizer.SentencePieceTokenizer(json.dumps(known).encode())
        assert (words.pad, words.bos, words.eos) == found
    words.restrict(25)
    with pytest.raises(PolicyError, match="the tokenizer has 25 ids, the network 24"):
        words.restrict(24)


def test_a_tokenizer_is_looked_for_in_the_folder_and_then_in_the_one_below_it(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    for place in ("tokenizer/spiece.model", "tokenizer/tokenizer.json", "paligemma_tokenizer.model", "tokenizer.json"):
        (tmp_path / place).write_text("x")
        assert tokenizer.find_tokenizer(tmp_path) == tmp_path / place
    assert tokenizer.find_tokenizer(tmp_path / "tokenizer" / "spiece.model").name == "spiece.model"


def test_what_a_library_raises_is_an_error_of_the_policy_but_not_what_ends_the_program():
    for ends in (KeyboardInterrupt, SystemExit):
        with pytest.raises(ends):
            tokenizer.guarded("words.json", "be read", lambda ends=ends: (_ for _ in ()).throw(ends()))
    with pytest.raises(PolicyError, match=r"^words.json: cannot be read \(no\); is it PaliGemma's"):
        tokenizer.guarded("words.json", "be read", lambda: (_ for _ in ()).throw(BaseException("no")))

import json
from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.policy import PolicyError, fast, tiny_tokenizer
from pi0_ros.policy.bins import BinTokenizer
from pi0_ros.policy.prompts import default_style, encode_prompt

SHAPES = ["10x7", "50x14"]


@pytest.fixture(scope="module")
def public(golden):
    return fast.load_fast(golden.folder("fast"))


@pytest.mark.parametrize("shape", SHAPES)
def test_ids_and_decoded_chunks_equal_the_public_processors(golden, public, shape):
    io = golden("fast")
    horizon, size = map(int, shape.split("x"))
    rows = zip(io[f"chunks.{shape}"], io[f"ids.{shape}"], io[f"lengths.{shape}"], io[f"decoded.{shape}"], strict=True)
    for chunk, ids, length, decoded in rows:
        assert public.encode(chunk) == ids[:length].tolist()
        np.testing.assert_allclose(public.decode(ids[:length], horizon, size), decoded, rtol=0, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_broken_id_sequences_decode_as_the_reference_does(golden, public, shape):
    io = golden("fast")
    horizon, size = map(int, shape.split("x"))
    for ids, decoded in zip(io[f"broken_ids.{shape}"], io[f"broken_decoded.{shape}"], strict=True):
        np.testing.assert_allclose(public.decode(ids[ids >= 0], horizon, size), decoded, rtol=0, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_language_ids_follow_the_formula_and_back(golden, shape):
    io = golden("fast")
    for ids, expected, n in zip(io[f"ids.{shape}"], io[f"paligemma_ids.{shape}"], io[f"lengths.{shape}"], strict=True):
        found = fast.to_vocabulary(ids[:n])
        assert found.tolist() == expected[:n].tolist()
        assert fast.from_vocabulary(found).tolist() == ids[:n].tolist()


def test_the_published_examples_of_the_formula(golden):
    for fast_id, language_id in golden.json("fast", "mapping")["examples"].items():
        assert int(fast.to_vocabulary(int(fast_id))) == language_id


def test_openpi_training_sequences_and_extraction_equal_openpis(golden, public, gemma):
    io, recorded = golden("state_prompt"), golden.json("state_prompt", "state_prompt")
    for case in recorded["prompts"]:
        style = default_style("pi0_fast")
        whole, answer = fast.training_prompt(gemma, public, style, case["prompt"], io["state.0"], io["fast_chunk"])
        assert list(whole.ids) == case["pi0_fast_train_ids"]
        assert answer.astype(int).tolist() == case["pi0_fast_train_loss_mask"] == case["pi0_fast_train_ar_mask"]
    generated = recorded["pi0_fast_extract"]["generated_ids"]
    found = fast.extract_actions(gemma, public, generated, 10, 7)
    np.testing.assert_allclose(found, io["fast_extracted_actions"], rtol=0, atol=2e-5)


def test_lerobot_cuts_or_pads_where_openpi_gives_zeros(golden):
    lerobot = fast.load_fast(golden.folder("fast"), failure="truncate")
    chunk = golden("fast")["chunks.10x7"][0]
    ids = lerobot.encode(chunk)
    longer, shorter = lerobot.decode([*ids, *ids], 10, 7), lerobot.decode(ids[:-1], 10, 7)
    np.testing.assert_allclose(longer, lerobot.decode(ids, 10, 7))
    assert np.any(shorter)


def test_a_fit_on_own_chunks_is_saved_read_and_brings_them_back(tmp_path):
    rng = np.random.default_rng(0)
    chunks = np.cumsum(rng.normal(0, 0.1, (30, 16, 5)), axis=1)
    fitted = fast.fit_fast(chunks, vocab_size=512)
    fitted.save(tmp_path)
    again = fast.load_fast(tmp_path)
    for chunk in chunks:
        ids = again.encode(chunk)
        assert ids == fitted.encode(chunk) and max(ids) < 512
        assert len(ids) < chunk.size
        np.testing.assert_allclose(again.decode(ids, 16, 5), chunk, atol=0.12)


def test_answers_are_made_and_found_again_with_the_small_tokenizer(golden, public):
    words, chunk = tiny_tokenizer.build(), golden("fast")["chunks.10x7"][1]
    answer = fast.answer_ids(words, public, chunk, skipped=0)
    found = fast.extract_actions(words, public, [*answer, 7, 7], 10, 7, skipped=0)
    np.testing.assert_allclose(found, public.decode(public.encode(chunk), 10, 7))


def test_an_answer_without_its_opening_is_zeros_for_openpi_and_read_by_lerobot(golden, public):
    words, chunk = tiny_tokenizer.build(), golden("fast")["chunks.10x7"][1]
    bare = fast.answer_ids(words, public, chunk, skipped=0)[len(words.encode("Action: ")) :]
    assert not fast.extract_actions(words, public, bare, 10, 7, skipped=0).any()
    lerobot = fast.load_fast(golden.folder("fast"), failure="truncate")
    assert fast.extract_actions(words, lerobot, bare, 10, 7, skipped=0).any()


def test_chunks_that_span_too_many_values_are_refused():
    with pytest.raises(PolicyError, match="raise vocab_size"):
        fast.fit_fast([np.linspace(-100, 100, 16)[:, None]], vocab_size=64)


@pytest.mark.parametrize("chunk", [np.zeros(7), np.full((3, 2), np.nan)])
def test_only_finite_chunks_are_encoded(public, chunk):
    with pytest.raises(PolicyError, match="finite"):
        public.encode(chunk)


def test_a_broken_folder_is_named(tmp_path):
    with pytest.raises(PolicyError, match="processor_config.json: missing"):
        fast.load_fast(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "processor_config.json").write_text(json.dumps({"scale": "ten"}))
    with pytest.raises(PolicyError, match="processor_config.json"):
        fast.load_fast(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({"scale": 10, "min_token": 0, "vocab_size": 9}))
    with pytest.raises(PolicyError, match="tokenizer.json"):
        fast.load_fast(tmp_path)


def test_an_answer_ends_with_its_bar_or_with_the_end_of_text_whichever_is_first():
    tokens = tiny_tokenizer.build()
    head, bar = tokens.encode("Action: "), tokens.encode("|")[-1]
    ids = [11, 7, 300, 5]
    said = fast.to_vocabulary(np.array(ids), tokens.vocab_size).tolist()
    for tail in ([bar], [tokens.eos], [tokens.eos, *said], [bar, *said], [bar, tokens.eos], []):
        assert fast.extract_ids(tokens, [tokens.bos, *head, *said, *tail]) == ids
    assert fast.extract_ids(tokens, said) is None


CONFIG = {"scale": 10, "min_token": -5, "vocab_size": 300}


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"scale": 999999.0}, True),
        ({"scale": 1e6}, False),
        ({"scale": 0.001}, True),
        ({"scale": 0}, False),
        ({"scale": -1}, False),
        ({"min_token": -(10**7)}, True),
        ({"min_token": -(10**7) - 1}, False),
        ({"min_token": 10**7 + 1}, False),
        ({"vocab_size": 10**7}, True),
        ({"vocab_size": 10**7 + 1}, False),
        ({"vocab_size": None}, False),
        ({"scale": "nan"}, False),
    ],
)
def test_the_numbers_of_an_action_tokenizer_have_bounds(golden, tmp_path, changes, good):
    (tmp_path / "tokenizer.json").write_text((golden.folder("fast") / "tokenizer.json").read_text())
    (tmp_path / "processor_config.json").write_text(json.dumps(CONFIG | changes))
    if good:
        found, wanted = fast.load_fast(tmp_path, "refuse"), CONFIG | changes
        assert (found.scale, found.min_token, found.vocab_size, found.failure) == (*wanted.values(), "refuse")
    else:
        with pytest.raises(PolicyError, match=r"processor_config.json: no FAST configuration"):
            fast.load_fast(tmp_path)


def test_a_folder_says_itself_which_action_tokenizer_it_is(golden, tmp_path):
    BinTokenizer(12).save(tmp_path)
    assert fast.load_action_tokenizer(tmp_path, "refuse") == BinTokenizer(12, "refuse")
    assert fast.load_action_tokenizer(tmp_path).failure == "zeros"
    found = fast.load_action_tokenizer(golden.folder("fast"), "truncate")
    assert isinstance(found, fast.FastTokenizer) and found.failure == "truncate"
    with pytest.raises(PolicyError, match="processor_config.json: missing; a FAST tokenizer is the folder of"):
        fast.load_action_tokenizer(tmp_path / "nothing")


def test_a_fit_takes_its_scale_and_one_id_for_each_value_there_is():
    """A row of its own has its own cosine coefficients: times 20 from 0 to 40, which are 41 values."""
    chunks = [np.array([[0.05 * k]]) for k in range(41)]
    with pytest.raises(PolicyError, match="coefficients span 41 values, more than 40 ids"):
        fast.fit_fast(chunks, scale=20.0, vocab_size=40)
    fitted = fast.fit_fast(chunks, scale=20.0, vocab_size=41)
    assert (fitted.scale, fitted.min_token, fitted.vocab_size) == (20.0, 0, 41)
    assert [fitted.decode(fitted.encode(c), 1, 1)[0, 0] for c in chunks] == pytest.approx([c[0, 0] for c in chunks])
    with pytest.raises(PolicyError, match="at least one chunk"):
        fast.fit_fast([])


def test_what_a_fit_wrote_is_openpis_configuration(tmp_path):
    fast.fit_fast([np.array([[-0.3, 0.4]])], scale=10.0, vocab_size=99).save(tmp_path / "deep" / "folder")
    written = json.loads((tmp_path / "deep" / "folder" / "processor_config.json").read_text())
    assert written == {
        "action_dim": None, "min_token": -3, "processor_class": "UniversalActionProcessor", "scale": 10.0,
        "time_horizon": None, "vocab_size": 99,
    }  # fmt: skip


def test_a_configuration_that_is_no_json_is_named(golden, tmp_path):
    (tmp_path / "tokenizer.json").write_text((golden.folder("fast") / "tokenizer.json").read_text())
    (tmp_path / "processor_config.json").write_text("{")
    with pytest.raises(PolicyError, match="processor_config.json: not valid JSON"):
        fast.load_fast(tmp_path)


def test_an_answers_bar_is_the_last_piece_that_its_tokenizer_makes_of_one():
    """SentencePiece may put a space in front."""

    class Pieces:
        vocab_size, eos, bos = 1000, 1, 2

        def encode(self, text):
            return {"|": [50, 51], "Action: ": [7]}[text]

    assert fast.extract_ids(Pieces(), [7, 999 - 3, 50, 999 - 4, 51, 999 - 5], 0) == [3, 949, 4]


class Letters:
    """An action tokenizer that says 7, 8 for anything."""

    vocab_size, failure = 50, "zeros"

    def encode(self, chunk):
        return [7, 8]

    def decode(self, ids, horizon, size):
        return np.full((horizon, size), float(sum(ids)))


def test_an_answer_is_its_opening_the_ids_counted_down_a_bar_and_the_end():
    words = tiny_tokenizer.build()
    head, bar = words.encode("Action: "), words.encode("|")
    last = words.vocab_size - 1
    assert fast.answer_ids(words, Letters(), [[0.0]]) == [*head, last - 128 - 7, last - 128 - 8, *bar, words.eos]
    assert fast.answer_ids(words, Letters(), [[0.0]], 3, True) == [
        words.bos, *head, last - 3 - 7, last - 3 - 8, *bar, words.eos,
    ]  # fmt: skip
    assert fast.to_vocabulary([0, 5]).tolist() == [257151 - 128, 257151 - 128 - 5]


def test_the_loss_of_a_training_sequence_is_on_the_answer_and_what_is_too_long_is_cut():
    words, style = tiny_tokenizer.build(), default_style("pi0_fast")
    prompt = encode_prompt(words, style, "go", [0.0, 0.5])
    answer = fast.answer_ids(words, Letters(), [[0.0]])
    whole, loss = fast.training_prompt(words, Letters(), style, "go", [0.0, 0.5], [[0.0]])
    assert list(whole.ids) == [*prompt.ids, *answer] and whole.text == prompt.text and not whole.truncated
    assert loss.tolist() == [False] * len(prompt.ids) + [True] * len(answer)
    short = replace(style, length=len(prompt.ids) + 2)
    cut, loss = fast.training_prompt(words, Letters(), short, "go", [0.0, 0.5], [[0.0]])
    assert cut.truncated and list(cut.ids) == [*prompt.ids, *answer[:2]] and loss.sum() == 2


@pytest.mark.parametrize(("failure", "found"), [("zeros", 0.0), ("truncate", 15.0), ("refuse", None)])
def test_an_answer_without_its_opening_follows_the_tokenizers_failure(failure, found):
    words, codes = tiny_tokenizer.build(), Letters()
    codes.failure = failure
    bare = fast.to_vocabulary([7, 8], words.vocab_size, 5).tolist()
    if found is None:
        with pytest.raises(PolicyError, match="no 'Action: ' in it"):
            fast.extract_actions(words, codes, bare, 3, 2, 5)
    else:
        assert fast.extract_actions(words, codes, bare, 3, 2, 5).tolist() == [[found] * 2] * 3
    whole = [*words.encode("Action: "), *bare]
    assert fast.extract_actions(words, codes, whole, 3, 2, 5).tolist() == [[15.0] * 2] * 3


def test_every_id_of_the_tokenizer_counts_from_the_first_and_no_other():
    asked = []

    class Pieces:
        def get_vocab_size(self):
            return 9

        def decode(self, ids, **how):
            asked.append(ids)
            return "abc"

    codes = fast.FastTokenizer(Pieces(), min_token=-97)
    assert codes._coefficients([0, 8, 9, -1, 1], 3, 1).tolist() == [[0.0], [1.0], [2.0]] and asked == [[0, 8, 1]]


def test_a_chunk_of_which_one_number_is_none_is_not_encoded():
    for chunk in ([[0.0, np.nan]], [[np.inf], [0.0]], [0.0], [[[0.0]]]):
        with pytest.raises(PolicyError, match="FAST encodes one finite"):
            fast.FastTokenizer(None).encode(chunk)

import json

import numpy as np
import pytest

from pi0_ros.policy import PolicyError, fast, tiny_tokenizer
from pi0_ros.policy.prompts import default_style

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

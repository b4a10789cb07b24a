"""`pi0 data fit-fast`: an action tokenizer of recorded chunks, without a run and without pictures."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from small_lerobot import write

from pi0_ros.cli import main
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.fast import FastTokenizer, load_action_tokenizer, to_vocabulary
from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.train import fitting
from pi0_ros.train.errors import TrainError
from pi0_ros.train.fitting import _measured, fit_on
from pi0_ros.train.prompt_check import check_action_tokens

ADAPTER = load_adapter("mobile_bimanual")


def test_a_tokenizer_is_fitted_on_datasets_without_reading_a_picture(tmp_path, capsys):
    """FAST rounds each coefficient to a tenth: a chunk that was said is off by 0.05 in the root of the mean square at most."""
    places = [write(tmp_path / name, lengths=(12, 14), kind="video") for name in ("a", "b")]
    for place in places:
        shutil.rmtree(place / "videos")
    out = tmp_path / "fast"
    command = ["data", "fit-fast", *map(str, places), "--horizon", "8", "--vocabulary", "512", "--out", str(out)]
    assert main(command) == 0
    # Whole chunks of 8 rows: 12 - 7 and 14 - 7 in each dataset.
    assert "fitted on 24 chunks of 8 rows of 18 channels" in capsys.readouterr().out
    fast = load_action_tokenizer(out)
    chunk = 0.8 * np.sin(np.linspace(0, 2, 8))[:, None] * np.linspace(-1, 1, 18)
    heard = fast.decode(fast.encode(chunk), 8, 18)
    assert 0 < np.sqrt(np.mean((heard - chunk) ** 2)) < 0.05
    assert main(command) == 1 and "is there already" in capsys.readouterr().err


def test_a_chunk_longer_than_every_episode_is_refused(tmp_path):
    place = write(tmp_path / "a", lengths=(6, 7))
    with pytest.raises(TrainError, match="no episode is as long as a chunk of 9 rows of 0.1 s"):
        fit_on([place], ADAPTER, "data", 9, 512)


def test_action_tokens_do_not_take_the_ids_of_words():
    """The project's own tokenizer ends with 1024 location tokens, of which FAST leaves the last 128 out: 896 are left."""
    tokenizer = build()
    check_action_tokens(FastTokenizer(None, vocab_size=896), tokenizer, "fast")
    assert to_vocabulary(895, tokenizer.vocab_size) == tokenizer.encode("<loc0000>")[0]
    with pytest.raises(TrainError, match="fast: has 897 ids, and the network's tokenizer has room for 896"):
        check_action_tokens(FastTokenizer(None, vocab_size=897), tokenizer, "fast")


class Halves:
    """A tokenizer that says twice as many tokens as a chunk's first number, and hears every number half a unit high."""

    def __init__(self):
        self.said = []

    def encode(self, chunk):
        self.said.append(chunk)
        return [len(self.said) - 1] * int(2 * chunk[0, 0])

    def decode(self, ids, rows, width):
        assert (rows, width) == (3, 2)
        return self.said[ids[0]] + np.array([0.3, 0.4])


def test_a_tokenizer_is_measured_on_evenly_chosen_chunks_by_its_tokens_and_its_error():
    chunks = np.zeros((1001, 3, 2))
    chunks[:, 0, 0] = 1.0 + np.arange(1001)
    tokenizer = Halves()
    tokens, error = _measured(tokenizer, chunks)
    tried = np.array([chunk[0, 0] for chunk in tokenizer.said])
    assert len(tried) == 200 and tried[0] == 1 and tried[-1] == 1001 and set(np.diff(tried)) == {5.0, 6.0}
    assert tokens == pytest.approx(2 * tried.mean()) and error == pytest.approx(np.sqrt((0.09 + 0.16) / 2))
    few = Halves()
    assert _measured(few, chunks[:3])[0] == 4.0 and len(few.said) == 3


@pytest.mark.parametrize(
    ("horizon", "statistics", "asked"),
    [(0, "data", ("data", "")), (5, "own.json", ("own.json", "")), (5, "folder", ("checkpoint", "folder"))],
)
def test_a_tokenizer_is_fitted_on_all_datasets_on_the_scale_that_is_asked_for(
    monkeypatch, tmp_path, horizon, statistics, asked
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").touch()
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(fitting, "_vectors", lambda folder, adapter, rows: f"{folder} {rows}")
    monkeypatch.setattr(fitting, "join", lambda parts: parts)
    monkeypatch.setattr(fitting, "choose", lambda *what: seen.append(what) or ("table", "of somewhere"))
    monkeypatch.setattr(fitting, "pipeline_for", lambda adapter, model, table: (model.kind, model.horizon, table))
    chunks = np.zeros((7, 4, 3))
    monkeypatch.setattr(fitting, "whole_chunks", lambda frames, pipeline: seen.append(pipeline) or chunks)
    monkeypatch.setattr(fitting, "fit_fast", lambda chunks, vocab_size: f"fitted on {len(chunks)}, {vocab_size}")
    monkeypatch.setattr(fitting, "_measured", lambda fitted, chunks: (12.5, 0.25))
    found = fit_on([Path("a"), Path("b")], ADAPTER, statistics, horizon, 300)
    rows = horizon or ADAPTER.rows("pi0_fast") or 32
    assert seen == [(*asked, ADAPTER, [f"a {rows}", f"b {rows}"]), ("pi0_fast", rows, "table")]
    assert found == fitting.FittedTokenizer("fitted on 7, 300", 7, rows, 3, "of somewhere", 12.5, 0.25)

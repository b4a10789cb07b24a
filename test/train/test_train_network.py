"""Which network a run trains."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from pi0_ros.model import preset
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.train import network as module
from pi0_ros.train.network import all_slots, fresh_network, grown_network, tiny_model, widest

ADAPTER = load_adapter("mobile_bimanual")
WORDS = tiny_tokenizer.build().vocab_size


def robot(slots: str, actions: int, states: int, rows: int = 0) -> SimpleNamespace:
    cameras = dict.fromkeys(slots, "camera")
    names = tuple(f"c{k}" for k in range(max(actions, states)))
    return SimpleNamespace(
        cameras=cameras, action_channels=names[:actions], state_channels=names[:states], rows=lambda kind: rows
    )


def test_slots_of_all_robots_are_there_once_and_the_widest_counts():
    first, second, third = robot("ab", 5, 6), robot("cb", 9, 3), robot("d", 7, 7)
    assert all_slots(first, [second, third]) == ("a", "b", "c", "d") and all_slots(second) == ("c", "b")
    assert widest(first, [second, third]) == 9 and widest(first) == 5


def test_a_tiny_network_has_room_for_the_widest_action_and_the_longest_state_of_every_robot():
    plain = tiny_model(64)
    for others in ([robot("c", 40, 3)], [robot("c", 3, 40)], [robot("c", 3, 3), robot("d", 40, 2)]):
        model = fresh_network("", robot("ab", 5, 6), {}, "", 64, others).model
        assert (model.action_dim, model.state_dim) == (40, 40)
        assert model.cameras[:3] == ("a", "b", "c") and model.horizon == plain.horizon
    small = fresh_network("tiny", robot("ab", 5, 6, rows=7), {}, "", 64).model
    assert (small.action_dim, small.state_dim, small.horizon) == (plain.action_dim, plain.action_dim, 7)
    assert fresh_network(
        "tiny", robot("ab", 5, 6, rows=7), {"horizon": 3, "cameras": ("z",)}, "", 64
    ).model.cameras == ("z",)
    assert [s.mlp for s in (small.vision, small.language, small.expert)] == [64, 64, 64] and small.vocab == WORDS


@pytest.mark.parametrize(("name", "action_dim"), [("pi05_small", None), ("pi0_fast", 9)])
def test_a_preset_keeps_its_width_unless_its_actions_are_text(monkeypatch, name, action_dim):
    known = preset(name) if name == "pi0_fast" else preset("pi05")
    monkeypatch.setattr(module, "preset", lambda asked, **more: known)
    made = fresh_network(name, robot("ab", 5, 6), {"prompt_length": 33}, "", 0, [robot("c", 9, 2)])
    assert made.model.action_dim == (action_dim or known.action_dim) and made.model.horizon == known.horizon
    assert (made.model.vocab, made.model.cameras, made.model.prompt_length) == (WORDS, ("a", "b", "c"), 33)
    assert made.tokenizer == "" and made.fast == "" and made.origin == "pi0_ros" and made.conventions is None
    assert fresh_network(name, robot("ab", 5, 6, rows=9), {}, "", 0).model.horizon == 9


def test_a_tokenizer_of_ones_own_gives_the_vocabulary_of_a_tiny_network_too(monkeypatch):
    monkeypatch.setattr(module, "load_tokenizer", lambda file: SimpleNamespace(vocab_size=777))
    made = fresh_network("tiny", ADAPTER, {}, "own.json", 64)
    assert made.model.vocab == 777 and made.tokenizer == "own.json"
    assert made.model.language.mlp == preset("tiny").language.mlp, "the preset's own sizes"


class Opened:
    """A checkpoint, as it is opened as a start."""

    def __init__(self, folder, origin="pi0_ros", kind="pi05", dialect="openpi", assumed=()):
        self.folder, self.origin, self.assumed = folder, origin, assumed
        self.config = SimpleNamespace(kind=kind, horizon=50)
        self.conventions = SimpleNamespace(dialect=dialect)


@pytest.fixture
def opened(monkeypatch, tmp_path):
    def begin(kind="", changes=None, tokenizer="", rows=0, **start):
        found = Opened(tmp_path, **start)
        monkeypatch.setattr(module, "open_checkpoint", lambda init, as_start: found if as_start else None)
        monkeypatch.setattr(module, "start_config", lambda opened, kind, more: (kind, dict(more)))
        monkeypatch.setattr(module, "find_tokenizer", lambda folder: folder / "words")
        return grown_network("start", kind, robot("ab", 5, 6, rows), changes or {}, tokenizer, [robot("c", 9, 2)])

    return begin


def test_a_start_keeps_its_size_its_words_and_its_action_tokens(opened, tmp_path):
    made = opened()
    assert made.model == ("", {}) and made.tokenizer == "start/words" and made.fast == ""
    (tmp_path / "fast_tokenizer").mkdir()
    made = opened(tokenizer="own", changes={"prompt_length": 9})
    assert made.fast == str(tmp_path / "fast_tokenizer") and made.tokenizer == "own"
    assert made.model == ("", {"prompt_length": 9})


def test_a_start_that_becomes_another_kind_takes_the_robots_rows_and_slots(opened):
    assert opened("pi0", rows=7).model == ("pi0", {"horizon": 7, "cameras": ("a", "b", "c")})
    assert opened("pi0").model[1]["horizon"] == 50 and opened("pi05").model == ("pi05", {})
    assert opened("pi0", {"horizon": 3}, rows=7).model[1]["horizon"] == 3
    assert opened("pi0_fast", rows=7).model[1] == {"horizon": 7, "cameras": ("a", "b", "c"), "action_dim": 9}
    assert opened(kind="", assumed=("horizon",), rows=7).model == ("", {"horizon": 7})


def test_the_habits_of_another_project_go_on_unless_the_start_becomes_another_kind(opened):
    for origin in ("openpi", "openpi_jax", "lerobot"):
        made = opened(origin=origin)
        assert made.origin == origin and made.conventions.dialect == "openpi"
        assert opened("pi0", origin=origin).conventions is None
    assert opened().conventions is None
    assert opened(dialect="lerobot").conventions.dialect == "lerobot", "of a run of ours that began there"
    assert opened("pi0", origin="paligemma").conventions is None


def test_models_of_one_preset_with_other_changes_are_otherwise_alike():
    assert tiny_model(64) == tiny_model(64) and tiny_model(64, horizon=9) == replace(tiny_model(64), horizon=9)

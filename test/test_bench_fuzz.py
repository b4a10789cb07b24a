"""What fuzzing found stays found: every committed input is read or refused with the project's own error, and some damaged ones.

A target that ends the process, or takes too long, is found by `python -m bench fuzz`; here each gets its seeds and a few copies.
"""

import random
import signal
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from bench._fuzz_mutations import mutated
from bench._fuzz_targets import SEEDS, TARGETS, seeds
from pi0_ros.robot import xacro_expand

DAMAGED = 40
SLOW = {"xacro": 0, "robot_yaml": 10}
"""Damaged copies of what takes long to read."""


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_and_damaged_inputs_end_in_the_projects_own_errors(name, tmp_path, monkeypatch):
    soon = partial(xacro_expand.Bounds, seconds=1.0)  # one of the seeds never ends
    monkeypatch.setattr(xacro_expand, "Bounds", soon)
    target = TARGETS[name]
    (tmp_path / "f").mkdir()
    parse, own = target.prepare(tmp_path / "f"), target.own()
    known, rng = seeds(name), random.Random(name)
    accepted = 0
    for data in [*known, *(mutated(known, rng) for _ in range(SLOW.get(name, DAMAGED)))]:
        try:
            parse(data)
            accepted += 1
        except own as error:
            said = str(error)
            assert said.isprintable() and 0 < len(said) < 2000
            assert not target.named or str(tmp_path) in said
    assert accepted, "the sound one is read"


def test_every_folder_of_seeds_belongs_to_a_target_and_has_a_sound_one():
    helpers = {"postprocessor"}
    assert {folder.name for folder in SEEDS.iterdir()} == set(TARGETS) | helpers
    assert all((folder / "sound").is_file() for folder in SEEDS.iterdir())


def test_the_same_seed_damages_in_the_same_way():
    known = [b'{"a": [1, 2.5, "x"]}', b"\x00\x01\x02\x03 0.5 text"]
    one, two = random.Random(3), random.Random(3)
    made = [mutated(known, one) for _ in range(300)]
    assert made == [mutated(known, two) for _ in range(300)]
    assert len(set(made)) > 200


def test_a_failure_is_kept_with_the_shortest_input_and_an_own_error_is_none(tmp_path):
    from bench import _fuzz_work

    def parse(data):
        if data.startswith(b"own"):
            raise RuntimeError(f"{tmp_path}: no sound file")
        if data.startswith(b"rude"):
            raise RuntimeError("somewhere \x1b[2J")
        if data.startswith(b"foreign"):
            raise KeyError("a")

    before = signal.getsignal(signal.SIGALRM)
    trial = _fuzz_work.Trial.__new__(_fuzz_work.Trial)
    trial.target, trial.folder, trial.findings = TARGETS["yaml"], tmp_path, _fuzz_work.Findings()
    trial.parse, trial.own, trial._note = parse, (RuntimeError,), bytearray(1000)
    try:
        for data in (b"good", b"own", b"foreign and long", b"foreign", b"rude"):
            trial(data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    found = trial.findings
    assert (found.inputs, found.accepted, found.refused) == (5, 1, 2)
    assert set(found.failures) == {"KeyError in ?", "names no file", "control characters"}
    assert found.failures["KeyError in ?"][1] == b"foreign"


def test_the_bench_is_told_what_killed_a_target(tmp_path, monkeypatch):
    from bench import fuzz

    killed = "import os,sys;p=sys.argv[-1];open(p+'/note','wb').write((3).to_bytes(8,'little')+b'bad');os.abort()"
    monkeypatch.setattr(fuzz, "command_of", lambda *words: ["python3", "-c", killed, words[-1]])
    found = fuzz.run_target("yaml", "mutations", 1, 5.0, 0, tmp_path / "kept")
    (failure,) = found["failures"]
    assert failure["kind"] == "the process ended with -6" and Path(failure["input"]).read_bytes() == b"bad"

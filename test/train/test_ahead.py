"""Examples made ahead by other processes are the ones that the run would have made itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from test_processes import alive, children, frames_and_network, until
from test_training import plan, some_frames

from pi0_ros.train.ahead import StepExamples
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import save_frames
from pi0_ros.train.lots import Lots
from pi0_ros.train.record import read_lines
from pi0_ros.train.session import make_job, run
from pi0_ros.train.trainer import Trainer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_frames(some_frames(), tmp_path / "frames" / "a")
    run(plan(tmp_path, steps=1))  # for its statistics
    (tmp_path / "run" / "state.safetensors").unlink()
    return tmp_path


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor | np.ndarray):
        return type(one) is type(other) and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if is_dataclass(one):
        return all(f.name == "pictures" or same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return one == other


def test_what_two_processes_make_ahead_is_what_each_step_makes_itself_in_its_order(folder):
    jobs = [make_job(0, plan(folder, steps=5, language_steps=3, loaders=loaders)) for loaders in (0, 2)]
    own, ahead = (StepExamples(job, Lots.of(job)).steps(1) for job in jobs)
    made = list(zip(own, ahead, strict=True))
    assert len(made) == 4 and all(same(*pair) for pair in made)
    assert [one.flow is None for one, _ in made] == [True, True, False, False]
    assert len({tuple(one.drawn) for one, _ in made}) > 1  # not one step again and again
    assert all(one.acting.rows[0].pictures.size > ahead.acting.rows[0].pictures.size == 0 for one, ahead in made)


def test_a_run_learns_and_counts_the_same_with_examples_made_ahead(folder):
    run(plan(folder, steps=3))
    alone = load_file(folder / "run" / "state.safetensors")
    line = read_lines(folder / "run" / "record.jsonl")[-1]
    (folder / "run" / "state.safetensors").unlink()
    run(plan(folder, steps=2, loaders=2))
    run(plan(folder, steps=3, loaders=1))
    ahead = load_file(folder / "run" / "state.safetensors")
    assert alone.keys() == ahead.keys() and all(torch.equal(alone[name], ahead[name]) for name in alone)
    assert read_lines(folder / "run" / "record.jsonl")[-1]["examples"] == line["examples"]


def test_shares_that_were_drawn_count_what_was_trained_on_and_not_what_was_made_ahead(folder):
    save_frames(some_frames(1), folder / "other" / "b")
    two = replace(plan(folder, steps=9, loaders=2), frames=(str(folder / "frames"), str(folder / "other")))
    trainer = Trainer(make_job(0, two))
    trainer._one_step()
    assert trainer.lots._drawn.sum() == 3  # two of acting, one of words: six more steps' are under way


def test_a_fault_in_a_process_that_makes_examples_ends_the_run_as_if_it_had_made_them(folder):
    job = make_job(0, plan(folder, steps=5, loaders=1))
    lots = Lots.of(job)

    def refuse(rng, count):
        raise TrainError("shard-00003/images.npy: shorter than it says")

    lots.draw_actions = refuse
    with pytest.raises(TrainError, match=r"^shard-00003/images.npy: shorter than it says$"):
        next(StepExamples(job, lots).steps(0))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_that_make_examples_end_with_the_run_however_it_ends(folder, how):
    words = [sys.executable, "-m", "pi0_ros.cli", "train", *frames_and_network(folder), "--loaders", "2"]
    words += ["--steps", "100000", "--validate-every", "1"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    begun = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True, process_group=0
    )
    try:
        until(
            lambda: len(read_lines(folder / "out" / "record.jsonl")) > 0 or begun.poll() is not None, "the first steps"
        )
        loaders = children(begun.pid)
        assert begun.poll() is None and len(loaders) >= 2
        os.killpg(begun.pid, how) if how is signal.SIGINT else begun.kill()  # Ctrl-C reaches all of them
        said, _ = begun.communicate()
        until(lambda: not any(map(alive, loaders)), "the loaders to end")
        if how is signal.SIGINT:
            assert begun.returncode == 130 and "the same command goes on from there" in said
            assert "Traceback" not in said
    finally:
        for pid in [begun.pid, *children(begun.pid)]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)

"""Several processes train one network: gradients are averaged, what is saved goes on in any number of processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pi0_ros.cli import main
from pi0_ros.train.frames import save_frames
from pi0_ros.train.record import read_lines
from pi0_ros.train.session import make_job, run
from pi0_ros.train.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from test_training import plan, some_frames

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_frames(some_frames(), tmp_path / "frames" / "a")
    return tmp_path


def gradients(trainer: Trainer, seed_rank: int) -> dict[str, torch.Tensor]:
    """Gradients of the first step as process `seed_rank` draws it."""
    kept = {}
    step = trainer.learner.optimizer.step
    trainer.learner.optimizer.step = lambda: kept.update(
        {n: p.grad.clone() for n, p in trainer.learner.objective.named_parameters() if p.grad is not None}
    )
    object.__setattr__(trainer.job, "rank", seed_rank)
    trainer._one_step()
    trainer.learner.optimizer.step = step
    return kept


def test_two_processes_step_along_the_mean_of_their_gradients(folder, pair):
    settings = {"steps": 1, "clip": 0.0, "validation_share": 0.0, "precision": "float32"}
    alone = replace(plan(folder, **settings), folder=str(folder / "alone"))
    run(alone)  # for its statistics
    (folder / "alone" / "state.safetensors").unlink()
    first, second = (gradients(Trainer(make_job(0, alone)), number) for number in (0, 1))
    pair.run(plan(folder, workers=2, **settings))
    saved = load_file(folder / "run" / "state.safetensors")
    for name in first.keys() | second.keys():
        parts = [g[name] if name in g else torch.zeros_like(saved[f"exp_avg/{name}"]) for g in (first, second)]
        # After one step of AdamW the first moment is 1 - 0.9 times the gradient.
        assert torch.allclose(saved[f"exp_avg/{name}"] / 0.1, sum(parts) / 2, rtol=1e-3, atol=1e-6), name


def children(pid: int) -> list[int]:
    """Processes below one, all generations."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    own = [int(word) for word in file.read_text().split()] if file.is_file() else []
    return [*own, *(below for child in own for below in children(child))]


def alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be collected does not."""
    file = Path(f"/proc/{pid}/stat")
    try:
        return file.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def until(condition, what: str, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


def test_workers_end_with_the_run_that_started_them_however_it_ends(folder):
    """Also where SIGINT is ignored, as `pi0 train … &` in a script leaves it, and the command is killed outright."""
    words = [sys.executable, "-m", "pi0_ros.cli", "train", *frames_and_network(folder), "--workers", "2"]
    words += ["--steps", "100000"]
    ignored = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": env}
    run = subprocess.Popen(words, **quiet, preexec_fn=ignored)  # noqa: PLW1509
    try:
        said = next((line for line in run.stderr if line.startswith("step ")), "")  # told after the first step
        assert said.startswith("step 1/100000 loss")
        workers = children(run.pid)
        assert run.poll() is None and len(workers) >= 2
        run.kill()
        run.wait()
        until(lambda: not any(map(alive, workers)), "the workers to end")
    finally:
        for pid in [run.pid, *children(run.pid)]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        run.stderr.close()


def frames_and_network(folder: Path) -> list[str]:
    """Options of a small run on frames of the tiny network's pictures."""
    wide = np.random.default_rng(0).integers(0, 255, (8, 3, 96, 96, 3), np.uint8)
    save_frames(replace(some_frames(count=8), images=wide), folder / "wide" / "a")
    words = [
        "--frames",
        str(folder / "wide"),
        "--out",
        str(folder / "out"),
        "--mlp",
        "16",
        "--batch",
        "2",
        "--draws",
        "1",
    ]
    return [*words, "--word-batch", "1", "--experiment", "none", "--validation-share", "0"]


def test_a_run_begun_by_torchrun_goes_on_in_one_process(folder):
    words = ["-m", "pi0_ros.cli", "train", *frames_and_network(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = subprocess.run([*TORCHRUN, *words, "--steps", "2"], capture_output=True, text=True, env=env, check=False)
    assert both.returncode == 0, both.stderr[-2000:]
    assert both.stdout.count("ready to load") == 1 and "find_unused_parameters" not in both.stderr
    assert read_lines(folder / "out" / "record.jsonl")[-1]["examples"] == 2 * 2 * 3  # steps, processes, examples
    assert main([*words[2:], "--steps", "3"]) == 0
    last = read_lines(folder / "out" / "record.jsonl")[-1]
    assert last["step"] == 3 and last["examples"] == 12 + 3
    assert json.loads((folder / "out" / "settings.json").read_text())["workers"] == 1
    weights = load_file(folder / "out" / "checkpoint" / "model.safetensors")
    assert all(np.isfinite(t.float().numpy()).all() for t in weights.values())

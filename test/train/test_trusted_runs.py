"""Runs that can be trusted: what is continued is the same run, what went wrong ends it, nothing good is overwritten."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pi0_ros.cli import main
from pi0_ros.closed_loop.intervals import wilson
from pi0_ros.model.ema import Ema
from pi0_ros.policy.adapter import Binary, Delta
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.normalize import Statistics, read_norm_stats, write_norm_stats
from pi0_ros.robot.disk import DiskFull
from pi0_ros.train.draw import step_streams
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import save_frames
from pi0_ros.train.health import MOST_IN_A_ROW, Health
from pi0_ros.train.interruption import Interruption
from pi0_ros.train.prompt_check import check_prompts, check_question_lengths
from pi0_ros.train.recipe import OURS, warmup_steps
from pi0_ros.train.record import cut_back, draw_curves, read_lines, write_line
from pi0_ros.train.run_folder import changed_settings, check_continues, locked, write_settings
from pi0_ros.train.session import make_job, run
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.so_far import SoFar
from pi0_ros.train.start_statistics import choose, remarks
from pi0_ros.train.state import load_state, save_state
from pi0_ros.train.statistics import frame_statistics, statistics_of
from pi0_ros.train.ticker import Ticker, clock
from pi0_ros.train.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from test_training import SETTINGS, plan, some_frames

ADAPTER = load_adapter("mobile_bimanual")
SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "pi05_reach_tiny"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_frames(some_frames(), tmp_path / "frames" / "a")
    return tmp_path


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "run" / "state.safetensors")


# A second part of a run


def test_two_steps_and_two_more_are_four_steps_bit_for_bit(folder):
    settings = {"steps": 4, "validation_share": 0.0}
    run(plan(folder, **settings))
    whole = state(folder)
    (folder / "run" / "state.safetensors").unlink()
    first = Trainer(make_job(0, plan(folder, **settings)))
    for _ in range(2):
        first._one_step()
        first.so_far = replace(first.so_far, step=first.step + 1)
    first.saver.save(last=True)
    second = Trainer(make_job(0, plan(folder, **settings)))
    assert second.step == 2
    second.run()
    for name, tensor in state(folder).items():  # weights, moments and averages
        assert torch.equal(tensor, whole[name]), name


def test_each_step_of_each_process_draws_its_own_numbers_and_the_same_again():
    def drawn(*at):
        rng, generator = step_streams(*at)
        return rng.random(3).tolist() + torch.rand(3, generator=generator).tolist()

    assert drawn(7, 0, 3) == drawn(7, 0, 3)
    seen = [tuple(drawn(*at)) for at in ((7, 0, 3), (7, 0, 4), (7, 1, 3), (8, 0, 3), (7, 3, 0))]
    assert len(set(seen)) == 5


def test_a_state_holds_what_was_done(folder):
    run(plan(folder, steps=2))
    trainer = Trainer(make_job(0, plan(folder, steps=2)))
    assert trainer.so_far.step == 2 and trainer.so_far.examples == 2 * (2 + 1)  # two acting, one of words a step
    readme = (folder / "run" / "checkpoint" / "README.md").read_text()
    assert "trained from random weights" in readme and "6 examples" in readme


def test_another_run_in_the_folder_is_refused(tmp_path):
    code = (
        f"from pi0_ros.train.run_folder import locked\nwith locked(__import__('pathlib').Path({str(tmp_path)!r})): pass"
    )
    with locked(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and f"another run writes there (process {os.getpid()})" in done.stderr
    with locked(tmp_path):  # free again
        pass


def test_a_run_continued_with_other_settings_says_which(tmp_path):
    write_settings(tmp_path, {"batch": 4, "seed": 0, "steps": 10, "data": [{"files": "a"}]})
    now = {"batch": 8, "seed": 0, "steps": 20, "data": [{"files": "b"}]}
    assert changed_settings(tmp_path, now) == ["batch: 4 -> 8", 'data[0].files: "a" -> "b"']
    more = {**now, "data": [{"files": "a", "weight": 2.0}]}
    assert changed_settings(tmp_path, more) == ["batch: 4 -> 8", "data[0].weight: null -> 2.0"]
    with pytest.raises(TrainError, match="batch: 4 -> 8.*--accept-changes"):
        check_continues(tmp_path, now, has_state=True, allowed=False)
    assert len(check_continues(tmp_path, now, has_state=True, allowed=True)) == 2
    assert check_continues(tmp_path, now, has_state=False, allowed=False) == []


def test_the_record_is_cut_back_to_where_the_run_goes_on(tmp_path):
    for step in (5, 10, 15):
        write_line(tmp_path / "r.jsonl", {"step": step})
    cut_back(tmp_path / "r.jsonl", 10)
    assert [line["step"] for line in read_lines(tmp_path / "r.jsonl")] == [5, 10]


# Stopping


def test_a_run_that_is_asked_to_stop_saves_and_says_how_it_goes_on(folder, capsys):
    asked = Interruption()
    run(plan(folder, steps=1))
    trainer = Trainer(make_job(0, plan(folder, steps=1000)))
    one = trainer._one_step

    def stop_after_three():
        if trainer.step == 3:
            asked.ask(signal.SIGTERM)
        return one()

    trainer._one_step = stop_after_three
    trainer.run(asked)
    assert "stopped at step 4 of 1000; the same command goes on" in capsys.readouterr().out
    assert Trainer(make_job(0, plan(folder, steps=1000))).step == 4


# Divergence


def test_health_counts_steps_left_out_and_ends_a_run_that_ran_away():
    health = Health().after_step(True).after_step(False).after_step(False)
    assert (health.skipped, health.in_a_row) == (2, 2) and health.after_step(True).in_a_row == 0
    assert not health.complaint()
    for _ in range(MOST_IN_A_ROW):
        health = health.after_step(False)
    assert "not finite" in health.complaint()
    well = Health().after_report(0.5)
    assert not well.complaint(80.0) and "the loss is 120" in well.complaint(120.0)
    assert "nan" in well.complaint(math.nan) and well.after_report(math.nan).best == 0.5


def test_a_run_that_diverged_keeps_the_last_good_checkpoint_and_fails(folder):
    run(plan(folder, steps=3))
    before = (folder / "run" / "checkpoint" / "model.safetensors").read_bytes()
    held = state(folder)
    with pytest.raises(TrainError, match="diverged at step"):
        run(plan(folder, steps=60, peak_rate=1e6, final_rate=1e6, warmup=0))
    assert (folder / "run" / "checkpoint" / "model.safetensors").read_bytes() == before
    assert all(torch.equal(tensor, held[name]) for name, tensor in state(folder).items())


def test_a_full_disk_loses_nothing_and_is_said(folder, capsys, monkeypatch):
    run(plan(folder, steps=1))
    before = state(folder)
    trainer = Trainer(make_job(0, plan(folder, steps=5)))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pi0_ros.train.saver.save_state", full)
    trainer.saver.save(last=False)
    assert "could not be written (No space left on device); make room" in capsys.readouterr().out
    with pytest.raises(TrainError, match="make room and give the same command again"):
        trainer.saver.save(last=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(folder).items())
    monkeypatch.undo()

    def full_beside(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pi0_ros.train.state.save_file", full_beside)
    trainer.saver.save(last=False)
    assert f"(the disk is full at {trainer.job.folder}/state.safetensors); make room" in capsys.readouterr().out


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    save_state(tmp_path, model, optimizer, Ema(model, 0.9), SoFar(3, 1.5, 12))

    def full(_, file, *__):
        file.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("pi0_ros.train.state.save_file", full)
    with pytest.raises(DiskFull, match=f"^{tmp_path}/state.safetensors: the disk is full"):
        save_state(tmp_path, model, optimizer, Ema(model, 0.9), SoFar(4, 2.0, 16))
    assert load_state(tmp_path, model, optimizer, Ema(model, 0.9)) == SoFar(3, 1.5, 12)
    assert [f.name for f in tmp_path.iterdir()] == ["state.safetensors"]


def test_losses_that_are_not_finite_leave_gaps_and_valid_json(tmp_path):
    file = tmp_path / "r.jsonl"
    for step, flow in ((1, 2.0), (2, math.inf), (3, math.nan), (4, 1.0)):
        write_line(file, {"step": step, "flow": flow})
    values = [
        json.loads(text, parse_constant=lambda word: pytest.fail(word))["flow"]
        for text in file.read_text().splitlines()
    ]
    assert values == [2.0, None, None, 1.0]
    draw_curves(read_lines(file), ("flow",), tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


# Settings and schedule


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"clip": -1.0}, "--clip has to be at least 0|--clip has to be between 0"),
        ({"word_batch": -3}, "--word-batch has to be"),
        ({"peak_rate": math.nan}, "--peak-rate has to be"),
        ({"prefix_chance": 1.5}, "--prefix-chance has to be between 0 and 1, got 1.5"),
        ({"ema": 1.0}, "--ema has to be"),
        ({"batch": 0}, "--batch has to be"),
    ],
)
def test_settings_out_of_their_range_are_refused_by_name(changes, match):
    with pytest.raises(TrainError, match=match):
        TrainSettings(**changes)


def test_a_clip_of_zero_clips_nothing(folder):
    run(plan(folder, steps=1, clip=0.0, weight_decay=0.0, ema=0.0))
    start = {n: p.detach().clone() for n, p in make_job(0, plan(folder)).model.named_parameters()}
    moved = max(
        (start[n] - p).abs().max().item() for n, p in Trainer(make_job(0, plan(folder))).job.model.named_parameters()
    )
    assert moved > 1e-5


@pytest.mark.parametrize("steps", [100, 200, 300, 6000])
def test_the_rate_is_openpis_warm_up_and_cosine_for_runs_of_any_length(steps):
    settings = replace(SETTINGS, steps=steps, warmup=50, peak_rate=1e-3, final_rate=3e-5)
    for step in (0, 10, 49, 50, 51, steps // 2 + 25, steps - 1, steps):
        # optax.warmup_cosine_decay_schedule(peak / (warmup + 1), peak, warmup, steps, end), by its definition
        if step < 50:
            first = 1e-3 / 51
            expected = first + (1e-3 - first) * step / 50
        else:
            expected = 3e-5 + (1e-3 - 3e-5) * 0.5 * (1 + math.cos(math.pi * (step - 50) / (steps - 50)))
        assert OURS.rate(settings, step, step / steps) == pytest.approx(expected, rel=1e-9)


def test_a_warm_up_that_does_not_fit_is_shortened():
    short = replace(SETTINGS, steps=100, warmup=150)
    assert warmup_steps(short) == 10
    rates = [OURS.rate(short, k, k / 100) for k in range(101)]
    assert max(rates) == pytest.approx(short.peak_rate) and rates[-1] == pytest.approx(short.final_rate)
    assert all(b <= a for a, b in itertools.pairwise(rates[10:]))


# Statistics


@pytest.fixture
def start(folder, tmp_path):
    """A checkpoint of another run, whose statistics are wider than the data's."""
    run(plan(folder, steps=1))
    place = (folder / "run" / "checkpoint").rename(tmp_path / "start")
    wide = {k: Statistics({n: v * 3 for n, v in s.values.items()}) for k, s in read_norm_stats(place).items()}
    write_norm_stats(place, wide)
    return place, wide


def test_a_start_keeps_its_statistics_unless_told_otherwise(start, tmp_path):
    place, wide = start
    kept, source = choose("", str(place), ADAPTER, some_frames())
    np.testing.assert_allclose(kept["state"]["q99"], wide["state"]["q99"])
    assert source == f"of the checkpoint {place}"
    data, source = choose("data", str(place), ADAPTER, some_frames())
    np.testing.assert_allclose(
        data["state"]["q99"], frame_statistics(some_frames(), ADAPTER.delta_mask)["state"]["q99"]
    )
    assert source == "of the data"
    write_norm_stats(tmp_path / "own.json", wide)
    assert choose(str(tmp_path / "own.json"), "", ADAPTER, some_frames())[1] == str(tmp_path / "own.json")


def test_the_shipped_policy_keeps_its_statistics_under_the_shipped_policy_yaml():
    source = choose("", str(SHIPPED), load_adapter("mobile_bimanual"), some_frames())[1]
    assert source == f"of the checkpoint {SHIPPED}"


def test_a_threshold_a_clip_and_blocks_of_their_own_change_no_statistics(start):
    place, _ = start
    apart = [
        replace(block, channels=(channel,), signs=(sign,), clip=(-2.0, 3.0), binary=Binary(0.5, 0.2))
        for block in ADAPTER.actions
        for channel, sign in zip(block.channels, block.signs, strict=True)
    ]
    assert len(apart) > len(ADAPTER.actions)
    executed_otherwise = replace(ADAPTER, actions=tuple(apart))
    assert choose("checkpoint", str(place), executed_otherwise, some_frames())[1] == f"of the checkpoint {place}"


@pytest.mark.parametrize(
    "other", [{"signs": (-1.0,)}, {"scale": 3.0}, {"delta": Delta.STEP}, {"range": (1.0, 0.25)}], ids=str
)
def test_actions_of_another_sign_size_or_offset_are_other_numbers(start, other):
    place, _ = start
    first = ADAPTER.actions[0]
    signs = {"signs": (-1.0, *first.signs[1:])} if "signs" in other else other
    actions = (replace(first, **signs), *ADAPTER.actions[1:])
    with pytest.raises(TrainError, match="other channels, signs or offsets"):
        choose("checkpoint", str(place), replace(ADAPTER, actions=actions), some_frames())


def test_statistics_of_other_channels_are_not_taken(start):
    place, _ = start
    turned = replace(ADAPTER, state=ADAPTER.state[::-1])
    table, source = choose("", str(place), turned, some_frames())
    assert "other channels" in source
    np.testing.assert_allclose(
        table["state"]["q99"], frame_statistics(some_frames(), ADAPTER.delta_mask)["state"]["q99"]
    )
    with pytest.raises(TrainError, match="--statistics checkpoint: .*other channels"):
        choose("checkpoint", str(place), turned, some_frames())
    with pytest.raises(TrainError, match="needs --init"):
        choose("checkpoint", "", ADAPTER, some_frames())


def test_channels_far_outside_of_the_statistics_and_still_ones_are_named():
    frames = some_frames()
    table = frame_statistics(frames, ADAPTER.delta_mask)
    assert remarks(frames, ADAPTER, table) == []
    wild, still = frames.state.copy(), frames.state.copy()
    wild[:4, 2] = 40.0
    found = remarks(replace(frames, state=wild), ADAPTER, table)
    assert any(
        line.startswith(f"state of {ADAPTER.state_channels[2]}: 17% of the values lie far outside") for line in found
    )
    still[:, 5] = 0.25
    assert (
        remarks(replace(frames, state=still), ADAPTER, table)[-1]
        == f"never move in these data: {ADAPTER.state_channels[5]}"
    )


def test_offsets_beside_statistics_of_positions_are_named_without_quantiles_too():
    """Statistics of absolute positions given for offsets, which are small: 1.5 beside 0 with a width of 0.05."""
    frames = some_frames()
    table = frame_statistics(frames, ADAPTER.delta_mask)
    actions = {"mean": np.full(18, 1.5), "std": np.full(18, 0.05)}
    found = remarks(frames, ADAPTER, {**table, "actions": Statistics(actions)})
    assert any(
        line.startswith(f"actions of {ADAPTER.action_channels[0]}: 100% of the values lie far out") for line in found
    )


def test_statistics_of_a_smaller_robot_are_refused_with_their_file(tmp_path):
    table = frame_statistics(some_frames(), ADAPTER.delta_mask)
    narrow = {k: Statistics({n: v[:14] for n, v in s.values.items()}) for k, s in table.items()}
    write_norm_stats(tmp_path / "narrow.json", narrow)
    with pytest.raises(
        TrainError, match="narrow.json: has statistics of 14 dimensions for state, and .* has 18 channels"
    ):
        choose(str(tmp_path / "narrow.json"), "", ADAPTER, some_frames())
    write_norm_stats(tmp_path / "half.json", {"state": table["state"]})
    with pytest.raises(TrainError, match="half.json: has statistics of 0 dimensions for actions"):
        choose(str(tmp_path / "half.json"), "", ADAPTER, some_frames())


def test_a_channel_that_stood_still_is_not_blown_up_when_it_moves():
    stats = statistics_of(np.full((50, 1), 0.25))
    assert abs((0.251 - stats["mean"][0]) / (stats["std"][0] + 1e-6)) < 0.1
    assert abs(2 * (0.251 - stats["q01"][0]) / (stats["q99"][0] - stats["q01"][0]) - 1) < 0.1


# Prompts


def test_prompts_that_would_be_cut_are_refused_with_their_tasks(folder):
    run(plan(folder, steps=1))
    job = make_job(0, plan(folder))
    check_prompts(some_frames(), job.maker.pipeline, job.maker.tokenizer)
    long = "pick up the red cup, then the blue one, and put both of them onto the shelf beside the window " * 3
    frames = replace(some_frames(), texts=(long, "touch every block", "done"))
    with pytest.raises(
        TrainError, match="24 of 24 frames have prompts of up to .* tokens, the network takes .*'pick up"
    ):
        check_prompts(frames, job.maker.pipeline, job.maker.tokenizer)


def test_a_question_for_a_subtask_that_would_be_cut_is_refused_with_its_task(folder):
    run(plan(folder, steps=1))
    job = make_job(0, plan(folder))
    check_question_lengths(some_frames(), job.maker.pipeline, job.maker.tokenizer)
    long = "tidy up the kitchen, wash all of the dishes, and put every cup and every plate onto the shelf " * 4
    frames = replace(some_frames(), texts=("touch the red block with the left arm", long, "done"))
    with pytest.raises(
        TrainError, match="question for a subtask of 'tidy up .* tokens, the network takes .* --prompt-length"
    ):
        check_question_lengths(frames, job.maker.pipeline, job.maker.tokenizer)


# For the person who waits


def test_progress_is_told_every_few_seconds_with_the_time_left(capsys):
    ticker = Ticker(100, sys.stdout)
    for now, step in ((0.0, 1), (2.0, 3), (5.0, 11), (9.9, 20), (10.0, 21)):
        ticker.tick(now, step, 0.5, 1e-3, step / 100)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/100", "11/100", "21/100"]
    assert lines[1].endswith("2 steps/s, 44 s left")
    assert [clock(s) for s in (45, 720, 11100)] == ["45 s", "12 min", "3 h 05 min"]


@pytest.mark.parametrize(
    ("good", "trials", "low", "high"),
    [(2, 2, 0.342, 1.0), (9, 10, 0.596, 0.982), (8, 12, 0.391, 0.862), (100, 100, 0.963, 1.0), (0, 5, 0.0, 0.434)],
)
def test_wilsons_interval(good, trials, low, high):
    assert wilson(good, trials) == (pytest.approx(low, abs=6e-4), pytest.approx(high, abs=6e-4))


def test_evaluation_refuses_training_scenes_and_names_its_uncertainty(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "--checkpoint", "operator", "--episodes", "1", "--seed", "-5"])
    assert "--seed: must be a whole number from 0" in capsys.readouterr().err
    out = tmp_path / "deep" / "er" / "r.json"
    assert main(["evaluate", "--checkpoint", "operator", "--episodes", "1", "--json", str(out)]) == 0
    assert "1 of 1 episodes, 100.0% (95 % interval 20.7% to 100.0%)" in capsys.readouterr().out
    assert json.loads(out.read_text())["successes"] == 1
    assert main(["train", "--sim-episodes", "1", "--sim-seed", "100000000", "--out", str(tmp_path / "r")]) == 1
    assert "are kept for `pi0 evaluate`" in capsys.readouterr().err

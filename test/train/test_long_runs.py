"""A job of hours: what stays of it, when it ends early, where its numbers go, what it was made of, how long it waits."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pi0_ros.cli import main
from pi0_ros.train import fingerprints
from pi0_ros.train.checkpoints import keep_copy
from pi0_ros.train.compiling import compile_layers, transformer_layers
from pi0_ros.train.draw import step_streams
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import save_frames
from pi0_ros.train.from_dataset import write_dataset_frames
from pi0_ros.train.hooks import no_hooks
from pi0_ros.train.loading import LoadingMeter, picture_count
from pi0_ros.train.loggers import check_loggers, make_loggers, write_all
from pi0_ros.train.record import read_lines
from pi0_ros.train.session import make_job, run
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.so_far import Best
from pi0_ros.train.trainer import Trainer
from pi0_ros.train.validate import held_out_loss

sys.path.insert(0, str(Path(__file__).parent))
from test_from_dataset import ADAPTER, write
from test_training import SETTINGS, plan, some_frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_frames(some_frames(), tmp_path / "frames" / "a")
    return tmp_path


def weights(place: Path) -> dict[str, torch.Tensor]:
    return load_file(place / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    return all(torch.equal(one[name], other[name]) for name in one)


def with_losses(monkeypatch, *losses: float) -> None:
    """Validations of the next steps find these losses, one after the other."""
    left = list(losses)
    monkeypatch.setattr("pi0_ros.train.reporter.held_out_loss", lambda *_: left.pop(0))


# Which checkpoints stay


def test_the_best_checkpoint_and_the_last_few_stay(folder, monkeypatch):
    with_losses(monkeypatch, 3.0, 1.0, 2.0, math.nan)
    run(plan(folder, steps=4, validate_every=1, save_every=0.0, keep=2))
    out = folder / "run"
    kept = sorted(place.name for place in (out / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000004"]
    assert "2 steps" in (out / "best" / "README.md").read_text()
    assert same(out / "checkpoints" / "step-00000004", out / "checkpoint")
    assert not same(out / "best", out / "checkpoint")
    assert not same(out / "checkpoints" / "step-00000003", out / "checkpoint")


def test_without_keeping_there_is_the_newest_checkpoint_alone(folder):
    run(plan(folder, steps=2, validate_every=1, keep=0))
    assert (folder / "run" / "checkpoint").is_dir()
    assert not (folder / "run" / "best").exists() and not (folder / "run" / "checkpoints").exists()


def test_copies_of_one_step_that_were_half_written_do_not_count_and_others_robots_go_with_their_step(tmp_path):
    for name in ("checkpoint", "checkpoint-arm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    (tmp_path / "checkpoints" / "step-00000009.partial").mkdir(parents=True)
    for step in (1, 2, 3):
        keep_copy(tmp_path, step, 2, ("arm",))
    names = {place.name for place in (tmp_path / "checkpoints").iterdir()}
    assert names - {"step-00000009.partial"} == {
        *("step-00000002", "step-00000002-arm"),
        *("step-00000003", "step-00000003-arm"),
    }
    assert (tmp_path / "checkpoints" / "step-00000003-arm" / "config.json").read_text() == "checkpoint-arm"


def test_the_best_is_the_lowest_finite_loss():
    best = Best().after(math.nan, 1)
    assert best == Best(None, 0, 1)
    best = best.after(2.0, 2).after(2.0, 3).after(math.inf, 4)
    assert best == Best(2.0, 2, 2) and best.after(1.5, 5) == Best(1.5, 5, 0)
    assert not best.ends(0) and not best.ends(3) and best.ends(2) and best.ends(1)


def test_a_best_that_could_not_be_written_is_not_the_best(folder, monkeypatch, capsys):
    run(plan(folder, steps=1, validate_every=5))
    with_losses(monkeypatch, 3.0, 2.0)
    trainer = Trainer(make_job(0, plan(folder, steps=3, validate_every=1)))
    before = trainer.so_far.best

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pi0_ros.train.saver.write_checkpoint", full)
    trainer._one_step()
    trainer.so_far = replace(trainer.so_far, step=2)
    trainer.reporter.val_loss = -1.0
    trainer._compare(trainer.learner.averaged)
    assert trainer.so_far.best == before and "make room" in capsys.readouterr().out


# When it ends early


def test_a_run_without_a_better_validation_ends_early_and_goes_on_with_more_patience(folder, monkeypatch, capsys):
    with_losses(monkeypatch, 3.0, 1.0, 2.0, 1.0)
    settings = {"steps": 9, "validate_every": 1, "patience": 2}
    run(plan(folder, **settings))
    said = capsys.readouterr().out
    assert "ended early at step 4 of 9: 2 validations without a lower val_loss" in said
    assert "best: best on held-out frames, val_loss 1 at step 2" in said
    run(plan(folder, **settings))  # nothing left to do, and nothing to validate
    assert Trainer(make_job(0, plan(folder, **settings))).step == 4
    with_losses(monkeypatch, 0.5, 0.7, 0.7)
    run(plan(folder, **{**settings, "patience": 4, "steps": 7}))
    last = Trainer(make_job(0, plan(folder, **settings)))
    assert last.step == 7 and last.so_far.best == Best(0.5, 5, 2)


def test_patience_needs_something_to_validate_on():
    with pytest.raises(TrainError, match="--patience.*--validation-share 0"):
        TrainSettings(patience=2, validation_share=0.0)


def test_the_loss_on_held_out_frames_is_that_of_training_with_the_same_noise_every_time(folder):
    run(plan(folder, no_hooks, steps=1))
    job = make_job(0, plan(folder, no_hooks))
    rows = np.array([20, 3, 11])
    loss = lambda **changes: held_out_loss(job.model, job.maker, rows, replace(SETTINGS, **changes), job.recipe)
    assert loss(alpha=2.0) == loss(alpha=2.0, draws=1, prefix_chance=1.0)
    # The flow part written out: mean squared error of the velocity over the rows that were shown and the robot's dimensions.
    acting = job.maker.actions(rows)
    _, generator = step_streams(SETTINGS.seed, 0, 0)
    noise = torch.randn((3, 1, *acting.actions.shape[1:]), generator=generator)
    # time from Beta(1.5, 1) by its inverse, as openpi: 0.001 + 0.999 * u^(1 / 1.5)
    t = torch.rand((3, 1), generator=generator) ** (1 / 1.5) * 0.999 + 0.001
    x = t[..., None, None] * noise + (1 - t[..., None, None]) * acting.actions[:, None]
    with torch.no_grad():
        wrong = job.model.velocity(x, t, job.model.prefix(acting.inputs)) - (noise - acting.actions[:, None])
    squares = wrong.square()[:, 0, :, :18].mean(-1)
    shown = torch.arange(squares.shape[1]) < torch.from_numpy(some_frames().valid[rows])[:, None]
    assert loss(alpha=3.0) - loss(alpha=1.0) == pytest.approx(2 * float(squares[shown].mean()), rel=1e-4)


def test_the_held_out_loss_falls_while_a_run_learns_frames_that_are_like_them(folder):
    frames = some_frames()
    alike = replace(frames, chunk=np.repeat(frames.chunk[:1], len(frames), 0), state=np.repeat(frames.state[:1], 24, 0))
    save_frames(alike, folder / "alike" / "a")
    one = replace(plan(folder, no_hooks, steps=20, validate_every=10, peak_rate=1e-2), frames=(str(folder / "alike"),))
    run(one)
    first, last = (line["val_loss"] for line in read_lines(folder / "run" / "record.jsonl"))
    assert last < 0.8 * first


# Where its numbers go


def events(folder: Path) -> list:
    """Event files read as the format says: length, checksum, a protocol buffer, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.*")):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


@pytest.mark.skipif(find_spec("tensorboardX") is None, reason="needs tensorboardX")
def test_tensorboard_shows_the_record_and_forgets_what_a_continued_run_does_again(folder):
    run(plan(folder, steps=2, validate_every=1, tensorboard=True))
    run(plan(folder, steps=3, validate_every=1, tensorboard=True))
    said = events(folder / "run" / "tensorboard")
    shown = {(v.tag, e.step): v.simple_value for e in said for v in e.summary.value}
    for line in read_lines(folder / "run" / "record.jsonl"):
        for name in ("flow", "val_loss", "chunk_near", "rate", "loading"):
            assert shown[name, line["step"]] == pytest.approx(line[name], rel=1e-5), name
    assert [e.step for e in said if e.session_log.status == 1] == [3]  # START: what was shown from here on is purged


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs wandb (pip install 'pi0_ros[wandb]')")
def test_wandb_keeps_an_offline_run_with_the_records_numbers(tmp_path, monkeypatch):
    from wandb.proto import wandb_internal_pb2 as records

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = replace(SETTINGS, wandb="arms")
    loggers = make_loggers(tmp_path, settings, 0)
    write_all(loggers, {"step": 7, "flow": 0.25, "val_loss": math.nan, "drawn a": 0.5})
    for logger in loggers:
        logger.close()
    (file,) = tmp_path.rglob("*.wandb")
    data, said = file.read_bytes()[7:], {}  # behind a head of 7 bytes LevelDB's log: checksum, length, kind, a record
    while data:
        _, size, kind = struct.unpack("<IHB", data[:7])
        assert kind == 1  # whole in one piece
        for item in records.Record.FromString(data[7 : 7 + size]).history.item:
            said["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        data = data[7 + size :]
    assert said["flow"] == 0.25 and said["drawn a"] == 0.5 and said["_step"] == 7 and "val_loss" not in said
    again = make_loggers(tmp_path, settings, 7)
    assert again[0]._run.id == (tmp_path / "wandb_run.txt").read_text().strip()
    again[0].close()


def test_a_package_that_is_missing_is_named_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("pi0_ros.train.loggers.find_spec", lambda name: None)
    with pytest.raises(
        TrainError, match=r"--tensorboard needs the package tensorboardX \(pip install 'pi0_ros\[tensorboard\]'\)"
    ):
        check_loggers(TrainSettings(tensorboard=True))
    with pytest.raises(TrainError, match=r"--wandb needs the package wandb"):
        check_loggers(TrainSettings(wandb="arms"))
    check_loggers(TrainSettings())


# What it was made of


def test_fingerprints_see_contents_and_no_times(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for place in (one, two):
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "a.json").write_text("same")
    assert fingerprints.of_path(one) == fingerprints.of_path(two) != ""
    (two / "deep" / "a.json").write_text("Same")
    assert fingerprints.of_path(one) != fingerprints.of_path(two)
    (two / "deep" / "a.json").rename(two / "deep" / "b.json")
    (one / "deep" / "a.json").write_text("Same")
    assert fingerprints.of_path(one) != fingerprints.of_path(two)
    assert fingerprints.of_path(tmp_path / "none") == ""


def test_fingerprints_of_large_files_see_their_ends_and_size(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "WHOLE", 100)
    monkeypatch.setattr(fingerprints, "END", 10)
    file = tmp_path / "weights"
    seen = set()
    for data in (bytes(200), bytes(199) + b"x", b"x" + bytes(199), bytes(201)):
        file.write_bytes(data)
        seen.add(fingerprints.of_path(file))
    assert len(seen) == 4


def test_settings_name_what_was_read_and_a_start_that_changed_is_refused(folder, capsys):
    wide = np.random.default_rng(0).integers(0, 255, (8, 3, 96, 96, 3), np.uint8)
    save_frames(replace(some_frames(count=8), images=wide), folder / "wide" / "a")
    words = [
        "train",
        "--frames",
        str(folder / "wide"),
        "--mlp",
        "64",
        "--batch",
        "2",
        "--draws",
        "1",
        "--word-batch",
        "0",
    ]
    words += ["--experiment", "none", "--precision", "float32", "--validation-share", "0"]
    assert main([*words, "--out", str(folder / "start"), "--steps", "1"]) == 0
    start = folder / "start" / "checkpoint"
    out = ["--init", str(start), "--out", str(folder / "second"), "--steps"]
    assert main([*words, *out, "1"]) == 0
    known = json.loads((folder / "second" / "settings.json").read_text())
    assert known["init fingerprint"] == fingerprints.of_path(start)
    assert known["frames fingerprints"] == [fingerprints.of_path(folder / "wide")]
    assert known["versions"]["torch"] == torch.__version__ and known["policy fingerprint"]
    (start / "README.md").write_text("another checkpoint of that name")
    assert main([*words, *out, "2"]) == 1
    assert "init fingerprint:" in capsys.readouterr().err


# How long it waits


def test_the_share_of_waiting_and_the_speed_of_loading_are_counted_anew_each_time():
    meter = LoadingMeter(100.0)
    meter.add(2.0, 30)
    meter.add(1.0, 18)
    assert meter.take(112.0) == {"loading": 0.25, "step_s": 6.0, "data_s": 1.5, "pictures_per_s": 16.0}
    assert meter.take(120.0) == {}
    meter.add(4.0, 8)
    assert meter.take(130.0)["loading"] == 0.4


def test_pictures_that_are_masked_are_not_counted_as_loaded(folder):
    run(plan(folder, steps=1))
    acting = make_job(0, plan(folder)).maker.actions([0, 1])
    assert picture_count(acting) == 2 * 3 and picture_count(None) == 0
    acting.inputs.image_masks[1][0] = False
    assert picture_count(acting) == 5


def test_the_record_says_how_long_steps_and_their_examples_take(folder):
    run(plan(folder, steps=2, validate_every=1))
    for line in read_lines(folder / "run" / "record.jsonl"):
        assert 0.0 < line["data_s"] < line["step_s"] and line["pictures_per_s"] > 0
        rounded = 5e-4 + 1e-4 / line["step_s"]  # three digits of the share, four of the seconds that it is of
        assert line["loading"] == pytest.approx(line["data_s"] / line["step_s"], abs=rounded)


def test_reading_a_dataset_says_how_many_pictures_were_decoded_in_a_second(tmp_path):
    write(tmp_path / "d")
    said = []
    write_dataset_frames(tmp_path / "d", tmp_path / "frames", ADAPTER, 16, 4, say=said.append)
    found = json.loads((tmp_path / "frames" / "decoding.json").read_text())
    assert found["pictures"] == 12 * 3 and found["pictures_per_s"] == pytest.approx(36 / found["seconds"], rel=0.05)
    assert any("36 pictures decoded and made small in" in text for text in said)
    said.clear()
    write_dataset_frames(tmp_path / "d", tmp_path / "frames", ADAPTER, 16, 4, say=said.append)  # nothing to decode
    assert not any("decoded" in text for text in said)


# torch.compile


def test_compiled_layers_learn_the_same(folder):
    """The graphs of torch.compile, run without making machine code of them."""
    run(plan(folder, no_hooks, steps=1))
    plain, compiled = (make_job(0, plan(folder, no_hooks)) for _ in range(2))
    compile_layers(compiled.model, backend="aot_eager")
    assert len(transformer_layers(compiled.model)) == 1 + 2 + 2
    before = {n: t.clone() for n, t in plain.model.state_dict().items()}
    for job in (plain, compiled):
        trainer = Trainer(job)
        for _ in range(2):
            trainer._one_step()
    assert plain.model.state_dict().keys() == compiled.model.state_dict().keys()
    moved = 0.0
    for name, tensor in plain.model.state_dict().items():
        moved = max(moved, (tensor - before[name]).abs().max().item())
        torch.testing.assert_close(compiled.model.state_dict()[name], tensor, rtol=1e-4, atol=2e-5, msg=name)
    assert moved > 1e-4


def test_compile_is_refused_where_an_experiment_looks_into_layers(folder):
    with pytest.raises(TrainError, match="--compile: the losses of --experiment touch look into layers"):
        run(plan(folder, steps=1, compile=True))


def test_a_machine_that_cannot_compile_says_what_it_needs():
    code = "from pi0_ros.train.compiling import check_compile; check_compile('cpu')"
    env = {"PATH": "/nowhere", "CXX": "/nowhere/g++", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode and "TrainError: --compile: torch.compile does not work here on cpu" in last
    assert "needs a C++ compiler (g++) and Python's headers. Leave --compile away" in last

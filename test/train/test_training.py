"""Training: examples, losses, schedule, resume, and a checkpoint that the policy loads."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pi0_ros.model import GemmaConfig, VisionConfig, flow_mean
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.touch.hooks import TouchSettings, touch_hooks
from pi0_ros.train.draw import draw_chances, step_streams
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.flow_targets import flow_targets
from pi0_ros.train.frames import Frames, join, load_frames, save_frames
from pi0_ros.train.hooks import no_hooks
from pi0_ros.train.lots import split_episodes
from pi0_ros.train.network import tiny_model
from pi0_ros.train.recipe import OURS
from pi0_ros.train.record import read_lines
from pi0_ros.train.session import Plan, make_job, moving, pipeline_for, run, sources_of
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.statistics import frame_statistics, statistics_of
from pi0_ros.train.trainer import Trainer

SIZE, HORIZON, COUNT = 32, 16, 24
STACK = GemmaConfig(width=32, depth=2, heads=2, kv_heads=1, head_dim=16, mlp=32)
MODEL = replace(
    tiny_model(), vision=VisionConfig(32, 1, 2, 32, image_size=SIZE, patch=16), language=STACK, expert=STACK
)
SETTINGS = TrainSettings(
    steps=3, batch=2, word_batch=1, draws=2, warmup=1, validate_every=3, validation_share=0.25, precision="float32"
)


def some_frames(seed: int = 0, count: int = COUNT) -> Frames:
    rng = np.random.default_rng(seed)
    state = rng.uniform(-0.5, 0.5, (count, 18)).astype(np.float32)
    return Frames(
        cameras=("base", "left_wrist", "right_wrist"),
        channels=load_adapter("mobile_bimanual").action_channels,
        period=0.1,
        texts=("touch the red block with the left arm", "touch every block", "done"),
        images=rng.integers(0, 255, (count, 3, SIZE, SIZE, 3), dtype=np.uint8),
        state=state,
        chunk=state[:, None] + rng.normal(0, 0.1, (count, HORIZON, 18)).astype(np.float32),
        task=np.zeros(count, np.int32),
        high_task=np.ones(count, np.int32),
        high_target=rng.choice([0, 2], count).astype(np.int32),
        facts=rng.integers(0, 1024, (count, 19)).astype(np.int16),
        episode=np.repeat(np.arange(4), count // 4).astype(np.int32),
        valid=rng.integers(HORIZON // 2, HORIZON + 1, count).astype(np.int32),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_frames(some_frames(), tmp_path / "frames" / "a")
    return tmp_path


@pytest.fixture(scope="module")
def maker() -> ExampleMaker:
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    return ExampleMaker(frames, pipeline, build(), SETTINGS, touch_hooks(build(), TouchSettings()))


TOUCH = partial(touch_hooks, settings=TouchSettings())


def plan(folder: Path, hooks=TOUCH, **changes) -> Plan:
    settings = replace(SETTINGS, **changes)
    return Plan((str(folder / "frames"),), "mobile_bimanual", MODEL, settings, str(folder / "run"), hooks=hooks)


def test_frames_read_back_as_they_were_saved(folder):
    frames = load_frames(folder / "frames" / "a")
    assert frames.texts == some_frames().texts and np.array_equal(frames.images, some_frames().images)


def test_joined_frames_keep_their_words_and_their_episodes_apart():
    other = replace(some_frames(1), texts=("done", "touch every block", "touch the red block with the left arm"))
    both = join([some_frames(), other])
    words = [both.texts[t] for t in both.task]
    assert words == ["touch the red block with the left arm"] * COUNT + ["done"] * COUNT
    assert sorted(set(both.episode)) == list(range(8))
    assert np.array_equal(both.images[np.array([COUNT + 2, 1])], np.stack([other.images[2], some_frames().images[1]]))


def test_frames_of_other_cameras_do_not_mix():
    with pytest.raises(TrainError, match="do not mix"):
        join([some_frames(), replace(some_frames(), cameras=("a", "b", "c"))])


def test_an_action_example_is_the_prompt_of_run_time_and_an_answer_hidden_from_the_expert(maker):
    examples = maker.actions([3])
    state = maker.pipeline.normalised_state(maker.frames.state[3].astype(np.float64))
    asked = maker.pipeline.inputs(
        {"base": maker.frames.images[3, 0]}, maker.frames.state[3].astype(np.float64), maker.frames.texts[0], build()
    )
    length = len(asked.prompt.ids)
    assert examples.inputs.tokens[0, :length].tolist() == list(asked.prompt.ids)
    assert np.allclose(examples.inputs.images[0][0].numpy(), asked.images["base"], atol=1e-6)
    assert (examples.inputs.roles[0, length:] == 2).all() and not examples.counts[0, :length].any()
    back = maker.pipeline.actions(examples.actions[0].numpy(), maker.frames.state[3].astype(np.float64))
    assert np.allclose(back, maker.frames.chunk[3], atol=1e-5) and len(state) == 18


def test_a_high_level_example_ends_with_the_target_and_the_end_of_text(maker):
    examples = maker.words([0])
    said = examples.inputs.tokens[0][examples.counts[0]].tolist()
    assert build().decode(said).strip() == maker.frames.texts[maker.frames.high_target[0]] and said[-1] == 1


def test_dimensions_that_hardly_move_are_not_blown_up():
    stats = statistics_of(np.zeros((10, 2)))
    assert np.allclose(stats["q99"] - stats["q01"], 0.1)


def test_the_rate_warms_up_and_falls_to_its_end():
    rates = [OURS.rate(SETTINGS, step, progress) for step, progress in ((0, 0.0), (1, 0.0), (5, 1.0))]
    assert rates[0] == SETTINGS.peak_rate / 2 and rates[1] == SETTINGS.peak_rate
    assert np.isclose(rates[2], SETTINGS.final_rate)


def test_validation_episodes_are_never_trained_on():
    train, held = split_episodes(some_frames(), 0.25)
    assert not set(some_frames().episode[train]) & set(some_frames().episode[held]) and len(held) == COUNT // 4


def test_a_run_writes_a_checkpoint_that_the_policy_loads(folder):
    from pi0_ros.policy import Observation, load_policy
    from pi0_ros.robot import load_robot

    run(plan(folder))
    robot = load_robot("mobile_bimanual")
    policy = load_policy(folder / "run" / "checkpoint", robot)
    pictures = {c: np.zeros((224, 224, 3), np.uint8) for c in policy.contract.cameras}
    state = dict.fromkeys(robot.channel_names, 0.0)
    planned = policy.infer(Observation(0.0, pictures, state, "touch the red block with the left arm"), seed=0)
    assert planned.values.shape == (HORIZON, 18) and np.isfinite(planned.values).all()
    line = read_lines(folder / "run" / "record.jsonl")[-1]
    assert line["step"] == 3 and line["flow"] > 0 and line["chunk_near"] > 0


def test_the_same_seed_gives_the_same_weights(folder):
    def trained() -> torch.Tensor:
        job = make_job(0, plan(folder))
        trainer = Trainer(job)
        for _ in range(2):
            trainer._one_step()
        return job.model.action_out_proj.weight.detach().clone()

    run(plan(folder, steps=1))
    (folder / "run" / "state.safetensors").unlink()
    assert torch.equal(trained(), trained())


def test_an_interrupted_run_goes_on_where_it_stopped(folder):
    run(plan(folder, steps=2))
    before = (folder / "run" / "norm_stats.json").read_text()
    run(plan(folder, steps=4))
    assert [line["step"] for line in read_lines(folder / "run" / "record.jsonl")] == [2, 3, 4]
    assert (folder / "run" / "norm_stats.json").read_text() == before


def test_another_network_in_the_same_folder_is_refused(folder):
    run(plan(folder, steps=1))
    other = replace(plan(folder), model=replace(MODEL, expert=replace(STACK, width=48)))
    with pytest.raises(TrainError, match="another network"):
        run(other)


def test_lora_trains_few_weights_and_exports_a_plain_checkpoint(folder):
    from pi0_ros.model import load

    run(plan(folder, lora_trunk=2, lora_expert=2))
    job = make_job(0, plan(folder, lora_trunk=2, lora_expert=2))
    learning = {n for n, p in job.model.named_parameters() if p.requires_grad}
    assert any("lora_a" in n for n in learning) and "gemma.layers.0.mlp.up_proj.weight" not in learning
    names = set(load(folder / "run" / "checkpoint").model.state_dict())
    assert not any("lora" in n for n in names)


def flow_of(trainer, acting):
    return flow_targets(acting, trainer.settings, *step_streams(0, 0, 0))


def test_insulation_keeps_the_flow_loss_from_the_trunk(folder):
    run(plan(folder, no_hooks, steps=1))
    trainer = Trainer(make_job(0, plan(folder, no_hooks, insulate=True, answer_weight=0.0)))
    acting = trainer.job.maker.actions([0, 1])
    loss = trainer.learner.loss(acting, None, flow_of(trainer, acting))
    loss.flow.backward()
    assert trainer.job.model.gemma.layers[0].mlp.up_proj.weight.grad is None
    assert trainer.job.model.expert.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0


def test_rows_given_in_real_time_chunking_have_no_loss(folder):
    run(plan(folder, steps=1))
    trainer = Trainer(make_job(0, plan(folder, prefix_chance=1.0)))
    flow = flow_of(trainer, trainer.job.maker.actions([0, 1]))
    valid = torch.from_numpy(some_frames().valid[[0, 1]])[:, None, None]
    shown = torch.arange(HORIZON) < valid
    assert flow.t.shape == (2, 2, HORIZON) and not flow.weight[flow.t == 0].any()
    assert ((flow.weight == 1) == ((flow.t > 0) & shown)).all()


def test_rows_behind_an_episodes_end_have_no_loss(folder):
    run(plan(folder, steps=1))
    trainer = Trainer(make_job(0, plan(folder, prefix_chance=0.0)))
    acting = trainer.job.maker.actions([0, int(some_frames().valid.argmin())])
    flow = flow_of(trainer, acting)
    behind = torch.arange(HORIZON) >= acting.valid[:, None]
    assert (
        behind.any()
        and not flow.weight.transpose(1, 2)[behind].any()
        and (flow.weight.transpose(1, 2)[~behind] == 1).all()
    )
    errors = torch.rand(flow.weight.shape + (18,), generator=torch.Generator().manual_seed(1))
    rows = errors.mean(-1) * flow.weight  # the mean over what counts, written out
    assert torch.isclose(flow_mean(errors, flow.weight), rows.sum() / flow.weight.sum())


def test_bfloat16_steps_keep_float32_weights(folder):
    run(plan(folder, steps=1))
    trainer = Trainer(make_job(0, plan(folder, precision="bfloat16", gradient_checkpointing=True)))
    before = trainer.job.model.action_out_proj.weight.detach().clone()
    loss, finite = trainer._one_step()
    assert finite and torch.isfinite(loss.total) and trainer.job.model.action_out_proj.weight.dtype == torch.float32
    assert not torch.equal(before, trainer.job.model.action_out_proj.weight)


def test_a_mixture_draws_small_datasets_more_often_than_their_size(folder):
    save_frames(some_frames(1, 8), folder / "small" / "a")
    sources = sources_of([str(folder / "frames"), str(folder / "small")])
    assert sources.tolist() == [0] * COUNT + [1] * 8
    found = draw_chances(sources, None, 1.0)
    large, small = COUNT**0.43, 8**0.43  # n^0.43 each, by hand
    assert np.isclose(found[:COUNT].sum(), large / (large + small)) and np.isclose(found.sum(), 1)
    assert np.allclose(found[COUNT:], found[-1])


def test_standing_still_matters_inside_a_dataset_and_moves_no_share_between_them():
    sources = np.array([0] * 100 + [1] * 40)
    lively = np.r_[np.full(100, 0.1), np.ones(40)]
    lively[0] = 1.0
    found = draw_chances(sources, lively, 0.25)
    large, small = 100**0.43, 40**0.43
    assert np.isclose(found[100:].sum(), small / (large + small))
    assert np.isclose(found[0] / found[1], 1.0 / (0.25 + 0.75 * 0.1))
    assert np.allclose(draw_chances(np.zeros(3, int), np.zeros(3), 0.0), 1 / 3)  # nothing moves: all alike


def test_every_dataset_of_a_mixture_is_trained_on_and_validated_on():
    frames = some_frames()
    sources = np.array([0] * 18 + [1] * 6)  # three episodes of six frames, and one
    train, held = split_episodes(frames, 0.1, sources)
    assert set(sources[train]) == {0, 1} and set(frames.episode[held]) == {2}
    sources = np.array([0] * 12 + [1] * 12)
    train, held = split_episodes(frames, 0.5, sources)
    assert set(frames.episode[held]) == {1, 3} and set(frames.episode[train]) == {0, 2}


def test_frames_that_move_are_drawn_more_often_than_those_that_stand_still():
    chunk = np.zeros((4, 3, 2), np.float32)
    chunk[1:3, -1, 0], chunk[3, -1, 1] = 1.0, 5.0
    shown = np.full(4, 3)
    assert moving(chunk, (True, False), shown).tolist() == [0, 1, 1, 0] and moving(chunk, (False, False), shown)[3] == 1
    assert np.allclose(draw_chances(np.zeros(2, int), np.array([0.0, 1.0]), 0.25), (0.2, 0.8))


def test_settings_read_back_and_unknown_ones_are_named():
    assert TrainSettings.from_dict(json.loads(json.dumps(SETTINGS.to_dict()))) == SETTINGS
    with pytest.raises(TrainError, match="'speed'"):
        TrainSettings.from_dict({"speed": 1})
    with pytest.raises(TrainError, match="precision"):
        TrainSettings(precision="half")


@pytest.mark.parametrize("disturbed", [False, True])
@pytest.mark.parametrize("missing", ["masked", "black"])
def test_the_picture_of_a_camera_that_gave_none_is_masked_or_black_as_for_the_policy(maker, missing, disturbed):
    present = np.ones((COUNT, 3), bool)
    present[[1, 2], [0, 2]] = False
    gaps = replace(
        maker, frames=replace(maker.frames, present=present), pipeline=replace(maker.pipeline, missing=missing)
    )
    rng = np.random.default_rng(3) if disturbed else None
    inputs = gaps.actions([0, 1, 2], rng).inputs
    slots = [gaps.pipeline.cameras.index(slot) for slot in gaps.slots()]
    shown = np.stack([inputs.image_masks[k].numpy() for k in slots], axis=1)
    assert shown.tolist() == (present[:3].tolist() if missing == "masked" else np.ones((3, 3), bool).tolist())
    pictures = np.stack([inputs.images[k].numpy() for k in slots], axis=1)
    assert ((pictures == -1.0).all(axis=(2, 3, 4)) == ~present[:3]).all()

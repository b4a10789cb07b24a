"""Mixtures: what a YAML may say, which frames are taken and how often, robots of other sizes and text in one batch."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pi0_ros.data.dataset import Dataset, DatasetWriter
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.model import PROMPT, TEXT, Inputs, flow_mean
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.normalize import read_norm_stats
from pi0_ros.robot.resources import checkpoint_folder
from pi0_ros.train import text_source
from pi0_ros.train.batching import joined_examples
from pi0_ros.train.chosen import chosen_frames, frame_weights
from pi0_ros.train.draw import draw_chances
from pi0_ros.train.embodiments import SourceSpec
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import Examples
from pi0_ros.train.frames import save_frames
from pi0_ros.train.mixed import TextMaker
from pi0_ros.train.mixture import Choice, load_mixture
from pi0_ros.train.network import fresh_network, grown_network
from pi0_ros.train.record import read_lines
from pi0_ros.train.session import Plan, make_job, pipeline_for, run
from pi0_ros.train.text_source import read_texts
from pi0_ros.train.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from test_families import (  # noqa: F401
    JOINTS,
    OPENPI,
    SETTINGS,
    adapter_file,
    fast_folder,
    one_thread,
    plans,
    robot,
    small_start,
    some_frames,
)


def written(folder: Path, text: str) -> Path:
    file = folder / "mixture.yaml"
    file.write_text(text)
    return file


# The YAML


def test_a_mixture_is_read_with_paths_beside_it(tmp_path):
    text = (
        "sources:\n"
        "  - {dataset: home, drivers: [teleop], outcome: success, longest: 40, interventions: 3, every: 4, weight: 2}\n"
        "  - {name: lab, dataset: other, policy: ur5e, control_mode: joint, stages: [1], weight: 0.5}\n"
        "  - {text: web/vqa.jsonl, weight: 1}\n"
    )
    home, lab, web = load_mixture(written(tmp_path, text))
    assert (home.name, home.dataset) == ("home", str(tmp_path / "home"))
    assert home.choice == Choice(("teleop",), ("success",), 0.0, 40.0, 3.0, 4)
    assert (lab.policy, lab.control_mode, lab.stages) == ("ur5e", "joint", (1,))
    assert (web.name, web.text, web.stages) == ("vqa", str(tmp_path / "web/vqa.jsonl"), (1, 2))
    assert [s.name for s in load_mixture(tmp_path / "mixture.yaml", stage=2)] == ["home", "vqa"]


@pytest.mark.parametrize(
    ("sources", "match"),
    [
        ("[]", "a list of one source or more"),
        ("[{dataset: a, text: b}]", "source 1: give one of dataset, .*it has dataset, text"),
        ("[{dataset: a, wieght: 2}]", "source 1: unknown key 'wieght'"),
        ("[{dataset: a}, {dataset: b/a}]", "two sources are called 'a'"),
        ("[{dataset: a, weight: 1}, {dataset: b}]", "source b has no weight; give one to every source"),
        ("[{dataset: a, weight: 0}]", r"source 1 \(a\): weight 0 has to be a number"),
        ("[{dataset: a, drivers: person}]", "drivers 'person' is not one of hold, teleop"),
        ("[{dataset: a, shortest: 5, longest: 2}]", "longest 2 has to be above shortest 5"),
        ("[{dataset: a, every: 2.5}]", "every 2.5 has to be a whole number"),
        ("[{dataset: a, every: 0}]", "every 0 has to be a number from 1 to 1000"),
        ("[{dataset: a, stages: [3]}]", "stages 3 is not one of 1, 2"),
        ("[{text: a.jsonl}]", "no source with actions is used"),
        ("[{text: a.jsonl, policy: ur5e}, {dataset: b}]", "policy does not apply to a source by `text`"),
        ("[{text: a.jsonl, control_mode: joint}, {dataset: b}]", "control_mode does not apply to a source by `text`"),
        ("[{text: a.jsonl, every: 2}, {dataset: b}]", "every does not apply to a source by `text`"),
        ("[{frames: a, longest: 2}]", "longest does not apply to a source by `frames`"),
        ("[{sim_episodes: 3, boxes: b.jsonl}]", "boxes does not apply to a source by `sim_episodes`"),
        ("[{sim_episodes: 0}]", "give one of dataset, frames, text, sim_episodes; it has none"),
        ("[{sim_episodes: 2000000}]", "sim_episodes 2000000 has to be a number from 1 to 1e"),
        ("[{sim_episodes: true}]", "sim_episodes True has to be a number"),
        ("[{dataset: a, weight: 2e9}]", r"source 1 \(a\): weight 2000000000.0 has to be a number"),
        ("[{dataset: a, weight: '2'}]", "weight '2' has to be a number"),
        ("[{dataset: a, interventions: -0.1}]", "interventions -0.1 has to be a number from 0 to"),
        ("[{dataset: a, interventions: 2e6}]", "interventions 2000000.0 has to be a number from 0 to"),
        ("[{dataset: a, shortest: -1}]", "shortest -1 has to be a number from 0"),
        ("[{dataset: a, shortest: 1.5e9}]", "shortest 1500000000.0 has to be a number from 0 to 1e"),
        ("[{dataset: a, longest: 1.5e9}]", "longest 1500000000.0 has to be a number from 0 to 1e"),
        ("[{dataset: a, weight: 5.0e-10}]", "weight 5e-10 has to be a number from 1e-09 to 1e"),
        ("[{dataset: a, shortest: 5, longest: 5}]", "longest 5 has to be above shortest 5"),
        ("[{dataset: a, every: 1001}]", "every 1001 has to be a number from 1 to 1000"),
        ("[{dataset: a, stages: true}]", "stages True is not one of 1, 2"),
        ("[{dataset: a, outcome: [success, won]}]", "outcome 'won' is not one of success, failure, none"),
        ("[{dataset: a, name: 3}]", "source 1: name 3 has to be text"),
        ("[{dataset: 3}]", "source 1: dataset 3 has to be text"),
        ("[a]", "source 1: has to be a mapping of name, dataset"),
        ("[{dataset: a, choice: b}]", "unknown key 'choice'"),
        ("[{dataset: a}, {dataset: b, weight: 1}, {dataset: c}]", "source a has no weight"),
    ],
)
def test_a_mixture_that_cannot_be_meant_is_refused_with_source_and_key(sources, match, tmp_path):
    with pytest.raises(TrainError, match=match):
        load_mixture(written(tmp_path, f"sources: {sources}\n"))


def test_what_a_source_does_not_say_is_the_usual_and_what_it_says_is_taken_to_its_bounds(tmp_path):
    text = (
        "sources:\n"
        "  - {sim_episodes: 1000000, policy: sub/own.yml, boxes: ''}\n"
        "  - {frames: /abs/made.d, name: mine, policy: own.json, stages: 2}\n"
        "  - {dataset: ~/home, boxes: b.jsonl, policy: ur5e, every: 1000, interventions: 0, shortest: 0, longest: 1.0e-3,\n"
        "     drivers: [hold, stopped], outcome: [none, failure]}\n"
    )
    sim, made, home = load_mixture(written(tmp_path, text.replace(", boxes: ''", "")))
    assert (sim.name, sim.sim_episodes, sim.policy) == ("sim_episodes", 1_000_000, str(tmp_path / "sub/own.yml"))
    assert (sim.dataset, sim.frames, sim.text, sim.boxes, sim.weight, sim.control_mode) == ("", "", "", "", 0.0, "")
    assert sim.choice == Choice() and sim.stages == (1, 2)
    assert (made.name, made.frames, made.policy) == ("mine", "/abs/made.d", str(tmp_path / "own.json"))
    assert made.stages == (2,) and made.sim_episodes == 0
    assert (home.name, home.dataset, home.policy) == ("home", str(Path("~/home").expanduser()), "ur5e")
    assert home.boxes == str(tmp_path / "b.jsonl")
    assert home.choice == Choice(("hold", "stopped"), ("none", "failure"), 0.0, 1e-3, 0.0, 1000)
    assert [s.name for s in load_mixture(tmp_path / "mixture.yaml", stage=1)] == ["sim_episodes", "home"]
    for whole in (
        "source: [{dataset: a}]",
        "[{dataset: a}]",
        "sources: {dataset: a}",
        "{sources: [{dataset: a}], x: 1}",
    ):
        with pytest.raises(TrainError, match="has to be one key, `sources:`"):
            load_mixture(written(tmp_path, whole))


def test_a_stage_without_actions_is_refused(tmp_path):
    text = "sources: [{dataset: a, stages: [1]}, {text: b.jsonl, stages: [2]}]\n"
    with pytest.raises(TrainError, match="no source with actions is used in stage 2"):
        load_mixture(written(tmp_path, text), stage=2)


# Which frames


@pytest.fixture
def recorded(tmp_path) -> Dataset:
    """Three episodes of 4, 6 and 8 frames at 2 a second: the policy drives two frames, then a person."""
    features = {
        "observation.state": {"dtype": "float32", "shape": [1], "names": ["j"]},
        "action": {"dtype": "float32", "shape": [1], "names": ["j"]},
        "driver": {"dtype": "string", "shape": [1]},
        "intervention": {"dtype": "bool", "shape": [1]},
    }
    folder = tmp_path / "recorded"
    with DatasetWriter(folder, 2, features) as writer:
        for length in (4, 6, 8):
            for k in range(length):
                row = {"observation.state": [float(k)], "action": [float(k)], "task": "go"}
                writer.add_frame({**row, "driver": "autonomy" if k < 2 else "teleop", "intervention": k >= 2})
            writer.save_episode()
    log = EpisodeLog(folder)
    log.label(0, {"outcome": "success"})
    log.label(1, {"outcome": "failure"})
    return Dataset(folder)


@pytest.mark.parametrize(
    ("choice", "frames"),
    [
        (Choice(), [*range(18)]),
        (Choice(drivers=("teleop",)), [2, 3, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17]),
        (Choice(outcomes=("success",)), [0, 1, 2, 3]),
        (Choice(outcomes=("success", "none")), [0, 1, 2, 3, *range(10, 18)]),
        (Choice(shortest=2.5, longest=3.5), [4, 5, 6, 7, 8, 9]),
        (Choice(drivers=("autonomy",), outcomes=("failure",)), [4, 5]),
        (Choice(shortest=3.0), [*range(4, 18)]),
        (Choice(longest=3.0), [*range(10)]),
        (Choice(drivers=("teleop", "autonomy"), shortest=3.5), [*range(10, 18)]),
    ],
)
def test_frames_are_chosen_by_driver_outcome_and_length(recorded, choice, frames):
    assert np.flatnonzero(chosen_frames(recorded, choice)).tolist() == frames


def test_episodes_without_an_outcome_are_found_where_nobody_labelled_any(recorded):
    (recorded.folder / "meta" / "pi0_episodes.json").unlink()
    assert chosen_frames(recorded, Choice(outcomes=("none",))).all()
    EpisodeLog(recorded.folder).label(2, {"note": "the lid was open"})
    assert chosen_frames(recorded, Choice(outcomes=("none", "failure"))).all()
    with pytest.raises(TrainError, match="its episodes have no outcome"):
        chosen_frames(recorded, Choice(outcomes=("failure",)))


def test_interventions_are_weighted(recorded):
    weights = frame_weights(recorded, Choice(interventions=5.0))
    assert weights[:4].tolist() == [1.0, 1.0, 5.0, 5.0] and weights.sum() == 3 * 2 + 5 * 12
    assert frame_weights(recorded, Choice(interventions=0.5)).sum() == 3 * 2 + 0.5 * 12


def test_what_a_dataset_does_not_say_cannot_be_chosen_by(recorded, tmp_path):
    (recorded.folder / "meta" / "pi0_episodes.json").unlink()
    with pytest.raises(TrainError, match="its episodes have no outcome.*pi0 data label"):
        chosen_frames(recorded, Choice(outcomes=("success",)))
    plain = tmp_path / "plain"
    with DatasetWriter(plain, 2, {"action": {"dtype": "float32", "shape": [1], "names": ["j"]}}) as writer:
        writer.add_frame({"action": [0.0], "task": "go"})
        writer.save_episode()
    with pytest.raises(TrainError, match="no column 'driver', which `drivers` needs"):
        chosen_frames(Dataset(plain), Choice(drivers=("teleop",)))


# How often


def test_each_task_of_each_robot_has_the_share_of_its_frames_to_the_power_0_43():
    sources = np.array([0] * 90 + [0] * 10 + [1] * 40)
    tasks = np.array([0] * 90 + [1] * 10 + [0] * 40)
    found = draw_chances(sources, None, 1.0, tasks)
    sizes = np.array([90.0, 10.0, 40.0]) ** 0.43
    shares = [found[:90].sum(), found[90:100].sum(), found[100:].sum()]
    assert np.allclose(shares, sizes / sizes.sum())


def test_given_weights_are_the_sources_shares_and_interventions_count_inside_them():
    sources, weight = np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 4.0, 1.0])
    found = draw_chances(sources, None, 1.0, np.zeros(4, int), (3.0, 1.0), weight)
    assert np.allclose(found, [0.75 / 6, 0.75 / 6, 0.75 * 4 / 6, 0.25])


# Text


def picture(folder: Path, name: str, shade: int) -> None:
    Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).save(folder / name)


def test_lines_become_questions_and_answers_boxes_first(tmp_path):
    picture(tmp_path, "a.png", 50)
    lines = [
        {"image": "a.png", "question": "what is this", "answer": "a wall"},
        {
            "image": "a.png",
            "boxes": [[0.25, 0.5, 0.75, 1.0, "cup"], [0.0, 0.1, 0.1, 0.2, "lid"]],
            "answer": "pick up the cup",
        },
        {"images": {"wrist": "a.png"}, "answer": "a gripper"},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    first, boxed, wrist = read_texts(tmp_path / "t.jsonl")
    assert (first.question, first.answer) == ("what is this", "a wall")
    # PaliGemma: y before x, 1024 places.
    assert boxed.said((20, 20), (224, 224)) == (
        "<loc0512><loc0256><loc1023><loc0768> cup ; <loc0102><loc0000><loc0204><loc0102> lid ; pick up the cup"
    )
    assert wrist.images == (("wrist", tmp_path / "a.png"),)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"image": "a.png", "answer": ', "line 1: not valid JSON"),
        ("[" * 100_000, "line 1: not valid JSON"),
        ('{"image": "b.png", "answer": "x"}', "line 1: there is no picture .*b.png"),
        ('{"image": "a.png", "question": "x"}', "line 1: has neither answer nor boxes"),
        ('{"image": "a.png", "caption": "x"}', "line 1: unknown key 'caption'"),
        ('{"image": "a.png", "boxes": [[10, 20, 30, 40, "cup"]]}', "fractions of the picture"),
        ('{"answer": "x"}', "give `image`"),
        ("", "holds no example"),
    ],
)
def test_a_line_that_is_no_example_is_refused_with_its_number(line, match, tmp_path):
    picture(tmp_path, "a.png", 50)
    (tmp_path / "t.jsonl").write_text(line)
    with pytest.raises(TrainError, match=match):
        read_texts(tmp_path / "t.jsonl")


def test_a_picture_that_is_larger_than_any_camera_is_refused_and_no_program_is_run_for_it(tmp_path):
    """A few kilobytes of PNG stand for 0.4 GB; of an EPS file Pillow would have Ghostscript make a picture."""
    Image.new("1", (20_000, 20_000)).save(tmp_path / "large.png")
    (tmp_path / "drawn.eps").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    )
    for name in ("large.png", "drawn.eps"):
        with pytest.raises(TrainError, match=f"{name}: is no picture that can be read"):
            text_source.picture(tmp_path / name)


def test_boxes_of_a_picture_that_is_no_square_lie_between_its_black_bars(tmp_path):
    """A picture of 20 x 30 becomes two thirds as high as wide: 0.25 of its height is 1/6 + 0.25 * 2/3 = 1/3, 1.0 is 5/6."""
    picture(tmp_path, "a.png", 50)
    (tmp_path / "t.jsonl").write_text('{"image": "a.png", "boxes": [[0.5, 0.25, 1.0, 1.0, "cup"]], "answer": "a cup"}')
    adapter = load_adapter("mobile_bimanual")
    table = read_norm_stats(checkpoint_folder("pi05_reach_tiny"))
    pipeline = pipeline_for(adapter, fresh_network("", adapter, {}, "", 384).model, table)
    tokenizer = tiny_tokenizer.build()
    made = TextMaker(read_texts(tmp_path / "t.jsonl"), replace(pipeline, image_size=(24, 24)), tokenizer).words([0])
    said = tokenizer.decode(made.inputs.tokens[0][made.counts[0]].tolist())
    assert said.startswith("<loc0341><loc0512><loc0853><loc1023> cup ; a cup")


# One batch


def part(rows: int, length: int, cameras: tuple[bool, bool], dims: int) -> Examples:
    images = [torch.full((rows, 3, 4, 4), 0.5) if there else None for there in cameras]
    masks = [torch.full((rows,), there) for there in cameras]
    ids = torch.full((rows, length), 7)
    inputs = Inputs(images, masks, ids, torch.ones_like(ids).bool(), None, torch.full_like(ids, TEXT))
    return Examples(inputs, torch.ones_like(ids).bool(), torch.zeros(rows, 5, 6), torch.full((rows,), 5), (), dims)


def test_rows_of_several_robots_keep_their_texts_cameras_and_widths():
    both = joined_examples([part(2, 3, (True, False), 4), part(1, 5, (True, True), 6)])
    assert both.inputs.tokens.tolist() == [[7, 7, 7, 0, 0]] * 2 + [[7] * 5]
    assert both.inputs.token_mask.sum(1).tolist() == [3, 3, 5] and both.counts.sum(1).tolist() == [3, 3, 5]
    assert both.inputs.roles[0].tolist() == [TEXT] * 3 + [PROMPT] * 2
    assert [m.tolist() for m in both.inputs.image_masks] == [[True] * 3, [False, False, True]]
    assert both.inputs.images[1][0].unique().tolist() == [-1.0]
    assert both.dims.tolist() == [4, 4, 6]


def test_dimensions_beyond_a_robots_own_carry_no_loss():
    loss = torch.arange(24.0).view(2, 2, 6)
    wanted = np.mean(
        [np.arange(0, 4).mean(), np.arange(6, 10).mean(), np.arange(12, 18).mean(), np.arange(18, 24).mean()]
    )
    assert flow_mean(loss, None, torch.tensor([4, 6])).item() == pytest.approx(wanted)
    draws = loss[:, None].expand(-1, 3, -1, -1)
    assert flow_mean(draws, torch.ones(2, 3, 2), torch.tensor([4, 6])).item() == pytest.approx(wanted)


# Runs


def two_robots(folder: Path, start_kind: str) -> tuple[Path, Path, Path]:
    """Adapters of eight joints with three cameras and of five with one, at another rate; frames of both; a text source."""
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    wide = adapter_file(folder / "one", OPENPI)
    narrow = adapter_file(
        folder / "two", {"base_0_rgb": "base", "left_wrist_0_rgb": None, "right_wrist_0_rgb": None}, 5
    )
    text = narrow.read_text().replace("policy: eight", "policy: five").replace("period: 0.1", "period: 0.05")
    narrow.write_text(text)
    save_frames(some_frames(wide, 32, 8, count=24), folder / "frames1" / "a")
    save_frames(some_frames(narrow, 32, 8, seed=3, count=8), folder / "frames2" / "a")
    picture(folder, "a.png", 200)
    lines = [{"image": "a.png", "question": "red", "answer": "touch"}, {"image": "a.png", "answer": "block"}]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return wide, narrow, small_start(folder / "start", start_kind, wide)


def mixed_plan(folder: Path, kind: str, fast: str = "", **settings) -> tuple[Plan, Path, Path]:
    wide, narrow, start = two_robots(folder, kind)
    network = grown_network(str(start), "", load_adapter(wide), {}, "", [load_adapter(narrow)])
    mixture = (
        SourceSpec("big", str(folder / "frames1"), str(wide), "joint"),
        SourceSpec("small", str(folder / "frames2"), str(narrow), "end effector"),
        SourceSpec("web", text=str(folder / "t.jsonl")),
    )
    plan = Plan(
        (), str(wide), network.model, replace(SETTINGS, word_batch=2, prefix_chance=0.0, **settings), str(folder / "run"),
        str(start), network.tokenizer, "data", fast, network.origin, network.conventions, mixture=mixture,
    )  # fmt: skip
    return plan, wide, narrow


@pytest.mark.parametrize("kind", ["pi0", "pi05", "pi0_fast"])
def test_two_robots_and_text_are_trained_together_and_each_plans(kind, tmp_path, robot, fast_folder):  # noqa: F811
    plan, wide, narrow = mixed_plan(tmp_path, kind, "fit" if kind == "pi0_fast" else "")
    run(plan)
    lines = read_lines(tmp_path / "run" / "record.jsonl")
    learned = "answer" if kind == "pi0_fast" else "flow"
    assert lines[-1][learned] < lines[0][learned] and lines[-1]["words"] < lines[0]["words"]
    if kind != "pi0_fast":
        assert plans(tmp_path / "run" / "checkpoint", robot, wide).shape == (8, 8)
        assert plans(tmp_path / "run" / "checkpoint-five-end_effector", robot, narrow).shape == (8, 8)
    drawn = [lines[-1][f"drawn {name}"] for name in ("big", "small", "web")]
    # Of 6 examples a step 4 act, by n^0.43 of the frames that are trained on, and 2 are text.
    big, small = 18**0.43, 6**0.43
    assert np.allclose(drawn, [4 / 6 * big / (big + small), 4 / 6 * small / (big + small), 2 / 6], atol=0.12)
    assert sum(drawn) == pytest.approx(1.0, abs=1e-3)


def test_each_robot_of_a_mixture_has_its_word_its_statistics_and_its_cameras(tmp_path):
    plan, *_ = mixed_plan(tmp_path, "pi05", steps=1)
    run(plan)
    maker = make_job(0, plan).maker
    both = maker.actions([0, 24])  # the first frame of each
    said = [
        tiny_tokenizer.build().decode(row[mask].tolist())
        for row, mask in zip(both.inputs.tokens, both.inputs.token_mask, strict=True)
    ]
    assert "<control mode> joint <control mode>" in said[0] and "<control mode> end effector" in said[1]
    assert [m.tolist() for m in both.inputs.image_masks] == [[True, True], [True, False], [True, False]]
    assert both.dims.tolist() == [8, 5] and bool((both.actions[1, :, 5:] == 0).all())
    first, second = (part.pipeline.state_norm.statistics["mean"] for part in maker.parts)
    assert not np.allclose(first, second)
    words = maker.words([32, 33])  # the texts, behind 32 frames
    assert [tiny_tokenizer.build().decode(row[row > 3].tolist()).split()[-1] for row in words.inputs.tokens] == [
        "touch",
        "block",
    ]


def test_a_fresh_network_has_room_for_every_robot(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    wide = load_adapter(adapter_file(tmp_path / "one", {"top": "base"}))
    other = load_adapter(adapter_file(tmp_path / "two", {"side": "left"}, 5))
    model = fresh_network("tiny", other, {}, "", 64, [wide]).model
    assert model.cameras == ("side", "top") and model.action_dim >= 8


def test_a_robot_that_does_not_fit_is_refused_before_training(tmp_path):
    plan, *_ = mixed_plan(tmp_path, "pi05")
    narrowed = replace(plan, model=replace(plan.model, action_dim=7))
    with pytest.raises(TrainError, match="8 action dimensions, and the network has 7"):
        run(narrowed)
    with pytest.raises(TrainError, match="texts are drawn with --word-batch, which is 0"):
        run(replace(plan, settings=replace(plan.settings, word_batch=0)))


def test_a_task_without_an_answer_is_no_example_of_what_to_say(tmp_path):
    """A person's frames have the words on the topic task, and nobody said what to do next."""
    plan, *_ = mixed_plan(tmp_path, "pi05", steps=1)
    big = some_frames(tmp_path / "one" / "eight.yaml", 32, 8, count=24)
    asked = replace(
        big, high_task=np.zeros(24, np.int32), high_target=np.where(np.arange(24) < 6, 0, -1).astype(np.int32)
    )
    assert np.flatnonzero(asked.has_subtask).tolist() == [0, 1, 2, 3, 4, 5]
    save_frames(asked, tmp_path / "asked")
    sources = (replace(plan.mixture[0], frames=str(tmp_path / "asked")), plan.mixture[1])
    told = replace(plan, mixture=sources, settings=replace(plan.settings, validation_share=0.0))
    run(told)
    assert Trainer(make_job(0, replace(told, folder=str(tmp_path / "run")))).lots.word_rows.tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]

"""Code on the pages does what the pages say."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def blocks(page, language):
    """The code blocks of a page, without the indent of a list."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", sorted(str(f.relative_to(ROOT / "docs")) for f in (ROOT / "docs").rglob("*.md")))
def test_python_on_a_page_compiles(page):
    for number, block in enumerate(blocks(page, "python")):
        compile(block, f"{page}[{number}]", "exec")


def test_the_task_on_the_page_of_new_tasks_is_a_task():
    pytest.importorskip("mujoco", reason="a simulated task needs the package mujoco")
    from pi0_ros.robot import load_robot
    from pi0_ros.sim.robot import SimRobot
    from pi0_ros.touch.operator import Operator

    place = {}
    exec(blocks("howto/new_task.md", "python")[0], place)  # noqa: S102 - our own page
    task, sim = place["Light"](), SimRobot(load_robot("mobile_bimanual"))
    text = task.reset(sim, 3)
    assert text == task.subtask(sim) and text.startswith(f"touch the {task.colour} block with the ")
    assert (task.success(sim), task.failed(sim), task.progress(sim)) == (False, False, (0, 1))
    operator = Operator(sim.robot, sim)
    while not task.success(sim) and not task.failed(sim):
        sim.set_command(sim.robot.channel_names, operator.act(text))
        sim.advance(0.02)
    assert (task.success(sim), task.failed(sim), task.progress(sim)) == (True, False, (1, 1))


def test_the_script_on_the_page_of_new_tasks_solves_the_task_and_writes_what_a_training_reads(tmp_path, monkeypatch):
    pytest.importorskip("mujoco", reason="a simulated task needs the package mujoco")
    pytest.importorskip("av", reason="a dataset's videos need the package av")
    from pi0_ros.data.dataset import Dataset

    task, _, script = blocks("howto/new_task.md", "python")
    (tmp_path / "my_tasks").mkdir()
    for name, code in {"__init__": "", "light": task, "collect": script}.items():
        (tmp_path / "my_tasks" / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("my_tasks.collect")
    monkeypatch.setattr(module, "SIZE", 32)
    monkeypatch.setattr(module, "CAMERAS", ("base",))
    assert module.collect(tmp_path / "light", 2) == 2
    dataset = Dataset(tmp_path / "light")
    assert len(dataset.episodes) == 2
    # A frame every 0.1 s until the lamp is lit, which takes at least a second from the start above the table.
    assert all(10 < e.stop - e.start < 100 for e in dataset.episodes)


@pytest.mark.parametrize(
    "page", ["tutorials/first_run.md", "tutorials/take_over.md", "tutorials/your_robot.md", "tutorials/corrections.md"]
)
def test_the_commands_of_a_tutorial_exist(page):
    from pi0_ros import cli

    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = set(re.findall(r"\bpi0 ([a-z]+)", text))
    assert named and named <= set(cli.command_names())


def test_the_pages_lines_of_coco_and_vqa_are_examples_to_train_on(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("torch")
    import json

    from pi0_ros.train.text_source import read_texts

    place = {}
    for block in blocks("howto/mixtures.md", "python"):
        exec(block, place)  # noqa: S102 - our own page
    for name in ("7.png", "COCO_val2014_000000000007.jpg"):
        image.fromarray(np.zeros((50, 100, 3), np.uint8)).save(tmp_path / name)
    files = {
        "captions": {"annotations": [{"image_id": 7, "caption": " a cat "}]},
        "instances": {
            "images": [{"id": 7, "file_name": "7.png", "width": 100, "height": 50}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [
                {"image_id": 7, "category_id": 1, "iscrowd": 0, "bbox": [25, 25, 50, 25]},
                {"image_id": 7, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 99, 49]},
            ],
        },
        "questions": {"questions": [{"question_id": 70, "image_id": 7, "question": "how many cats?"}]},
        "answers": {"annotations": [{"question_id": 70, "multiple_choice_answer": "1"}]},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = {name: tmp_path / f"{name}.json" for name in files}
    assert place["from_coco"](paths["captions"], paths["instances"], tmp_path, tmp_path / "coco.jsonl") == 2
    assert place["from_vqa"](paths["questions"], paths["answers"], tmp_path, tmp_path / "vqa.jsonl") == 1
    square = (224, 224)
    said = [
        (item.question, item.said(square, square))
        for file in ("coco", "vqa")
        for item in read_texts(tmp_path / f"{file}.jsonl")
    ]
    # The box is x 0.25 .. 0.75, y 0.5 .. 1.0 of the picture.
    assert said == [
        ("caption en", "a cat"),
        ("detect cat", "<loc0512><loc0256><loc1023><loc0768> cat"),
        ("how many cats?", "1"),
    ]


def test_the_mixture_on_the_page_is_one(tmp_path):
    pytest.importorskip("torch")
    from pi0_ros.train.mixture import load_mixture

    (tmp_path / "mixture.yaml").write_text(blocks("howto/mixtures.md", "yaml")[0])
    assert [s.name for s in load_mixture(tmp_path / "mixture.yaml", 1)] == ["home", "lab", "questions"]
    assert [s.name for s in load_mixture(tmp_path / "mixture.yaml", 2)] == ["home", "words", "questions"]


def test_the_page_of_camera_encodings_has_all_that_are_read_and_all_that_need_a_word():
    from pi0_ros.data.encoded_pictures import FORMATS
    from pi0_ros.ros.encodings import LAYOUTS, UNNAMED

    page = (ROOT / "docs" / "interface.md").read_text(encoding="utf-8").partition("### Camera encodings")[2]
    named = set(re.findall(r"`(\w+)`", page))
    assert {*LAYOUTS, *UNNAMED} <= named
    assert {f for f in FORMATS if f not in page} == set()
    for encoding, colours in UNNAMED.items():
        row = re.search(rf"`{encoding}` \((.*?)\)", page)[1]
        assert all(colour in row for colour in colours)


def test_the_weights_of_the_soft_mask_on_the_page_are_those_of_the_code():
    rtc = pytest.importorskip("pi0_ros.model.rtc", reason="needs torch")
    page = (ROOT / "docs" / "explanation" / "time_and_chunks.md").read_text(encoding="utf-8")
    said = re.search(r"With d = 3 and e = 8 the weights are ([\d., ]+), …", page)[1]
    shown = [float(number) for number in said.split(", ")]
    d, e = 3, 8
    formula = [1.0 if k < d else (e - k) / (e - d + 1) if k < e else 0.0 for k in range(len(shown))]
    assert shown == pytest.approx(formula, abs=0.005)
    assert rtc.prefix_weights(d, e, len(shown), "LINEAR").tolist() == pytest.approx(formula)


def test_the_page_about_adapters_says_which_network_is_normalised_how():
    from pi0_ros.model.conventions import conventions_for
    from pi0_ros.model.kinds import KINDS, traits
    from pi0_ros.model.norm_methods import METHODS

    page = (ROOT / "docs" / "howto" / "adapter.md").read_text(encoding="utf-8").partition("## Normalisation")[2]
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for kind in KINDS:
        own = [
            row
            for row in rows
            if "openpi or this project" in row and f"{traits(kind).label}" in row.split("|")[1].replace(",", "").split()
        ]
        assert len(own) == 1
        assert f"`{conventions_for('openpi', kind, {}).state_norm}`" in own[0]
    silent = next(row for row in rows if "say nothing" in row)
    for kind in KINDS:
        method = conventions_for("lerobot", kind, {}).action_norm
        assert re.search(rf"`{method}` for [^`]*{traits(kind).label}\b", silent)
    assert set(METHODS) <= set(re.findall(r"`(\w+)`", page))

"""Code on the pages does what the pages say."""

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
    mujoco = pytest.importorskip("mujoco")
    from pi0_ros.robot import load_robot
    from pi0_ros.sim.robot import SimRobot
    from pi0_ros.sim.scene import sample_scene
    from pi0_ros.sim.world import COLOURS

    place = {"np": np, "SimRobot": SimRobot, "sample_scene": sample_scene, "COLOURS": COLOURS}
    exec(blocks("howto/new_task.md", "python")[0], place)  # noqa: S102 - our own page
    task, sim = place["Push"](), SimRobot(load_robot("mobile_bimanual"))
    assert task.reset(sim, 3) == task.subtask(sim) == f"push the {task.colour} block"
    assert (task.success(sim), task.failed(sim), task.progress(sim)) == (False, False, (0, 1))
    start = sim.world.block_qpos[task.colour]
    sim.data.qpos[start] += 0.06
    mujoco.mj_forward(sim.model, sim.data)
    assert (task.success(sim), task.progress(sim)) == (True, (1, 1))


@pytest.mark.parametrize("page", ["tutorials/first_run.md", "tutorials/take_over.md", "tutorials/your_robot.md"])
def test_the_commands_of_a_tutorial_exist(page):
    from pi0_ros import cli

    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = set(re.findall(r"\bpi0 ([a-z]+)", text))
    assert named and named <= set(cli.command_names())

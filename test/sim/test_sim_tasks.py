"""Tasks by name: this package's own, those of installed packages, and those of a module on the path."""

import pytest

from pi0_ros.sim.errors import SimError
from pi0_ros.sim.tasks import make_task
from pi0_ros.touch.tasks import Reach, TouchAll

TASK = """
class Wait:
    name, time_limit, instruction = "wait", 3.0, "do nothing"
    def reset(self, sim, seed): return self.instruction
    def success(self, sim): return True
    def failed(self, sim): return False
    def subtask(self, sim): return self.instruction
    def progress(self, sim): return 0, 1

class Half:
    name, time_limit, instruction = "half", 3.0, "do nothing"
    def reset(self, sim, seed): return self.instruction
    def success(self, sim): return True
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder on the path with a module of tasks; called with entry points, it is installed with them."""
    (tmp_path / "somebodys_tasks.py").write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)

    def install(lines):
        place = tmp_path / "somebodys_tasks-1.0.dist-info"
        place.mkdir()
        (place / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-tasks\nVersion: 1.0\n")
        (place / "entry_points.txt").write_text(f"[pi0_ros.tasks]\n{lines}\n")

    return install


def test_the_tasks_of_this_package_have_their_names():
    assert isinstance(make_task("reach"), Reach) and isinstance(make_task("touch_all"), TouchAll)


def test_an_unknown_task_lists_those_there_are(elsewhere):
    elsewhere("wait = somebodys_tasks:Wait")
    with pytest.raises(
        SimError, match=r"no task 'juggle'; there are wait, reach, touch_all, pick_place, drive_to, tidy, or give module:Class"
    ):
        make_task("juggle")


def test_an_installed_package_brings_a_task_by_name(elsewhere):
    elsewhere("wait = somebodys_tasks:Wait")
    task = make_task("wait")
    assert (type(task).__name__, task.name, task.time_limit) == ("Wait", "wait", 3.0)


def test_a_package_cannot_take_the_name_of_a_task_of_this_one(elsewhere):
    elsewhere("reach = somebodys_tasks:Wait")
    assert isinstance(make_task("reach"), Reach)


def test_a_class_of_a_module_on_the_path_is_a_task(elsewhere):
    assert make_task("somebodys_tasks:Wait").instruction == "do nothing"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("somebodys_tasks:Half", "is no task; it lacks failed, subtask, progress"),
        ("somebodys_tasks:TASK", "cannot be imported: .*TASK.*; is its folder on PYTHONPATH"),
        ("nobodys_tasks:Wait", "cannot be imported: .*nobodys_tasks.*; is its folder on PYTHONPATH"),
        ("somebodys_tasks:", "cannot be imported"),
        (":Wait", "cannot be imported"),
        ("os:getcwd", "is no task; it lacks name, time_limit"),
    ],
)
def test_what_is_no_task_is_refused_with_what_it_lacks(elsewhere, name, words):
    with pytest.raises(SimError, match=words):
        make_task(name)

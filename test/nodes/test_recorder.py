import numpy as np
import pytest
from stand_in import Driver, Person, Planner

pytest.importorskip("pyarrow")

from pi0_ros.data.dataset import Dataset
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.recorder import RecorderNode


def test_an_episode_holds_what_was_seen_commanded_and_by_whom(graph, mobile, tmp_path):
    robot, file = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    graph.node(Planner, robot)
    graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="")
    recorder = graph.managed(RecorderNode, robot=file, folder=str(tmp_path / "set"), fps=5)
    graph.wait(lambda: driver.commands["lift"] and person.state is not None, "commands")
    person.say("touch the red block")

    ok, why = person.ask("stop", "recorder")
    assert not ok and "nothing" in why
    assert person.ask("start", "recorder")[0]
    graph.wait(lambda: len(recorder._frames) > 2, "frames")
    assert person.ask("autonomy")[0]
    person.wait_mode("autonomy")
    held = len(recorder._frames)
    graph.wait(lambda: len(recorder._frames) > held + 3, "frames in autonomy")
    ok, why = person.ask("stop", "recorder")
    assert ok and "frames kept" in why
    assert person.ask("start", "recorder")[0] and person.ask("discard", "recorder")[0]
    recorder.shut_down("done")

    read = Dataset(tmp_path / "set")
    drivers = list(read.column("driver"))
    assert drivers[0] == "hold" and drivers[-1] == "autonomy"
    assert set(read.tasks) == {"touch the red block"} and read.task_of(0) == "touch the red block"
    pictures = list(read.pictures("base", 0))
    assert len(pictures) == len(read) and pictures[0].shape == (32, 32, 3)
    state = read.column("observation.state")
    assert state.shape == read.column("action").shape == (len(read), len(robot.channels))
    np.testing.assert_allclose(state[0], [driver.values[n] for n in robot.channel_names], atol=0.05)


def test_a_frame_without_words_is_not_taken_and_the_reason_is_told(graph, mobile, tmp_path):
    robot, file = mobile
    graph.node(Driver, robot)
    person = graph.node(Person, robot)
    graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="")
    recorder = graph.managed(RecorderNode, robot=file, folder=str(tmp_path / "set"), fps=5)
    assert person.ask("start", "recorder")[0]
    graph.wait(lambda: "no words" in recorder._why, "the reason")
    ok, why = person.ask("stop", "recorder")
    assert not ok and "no frame was taken" in why


def test_a_folder_that_holds_something_is_refused(graph, mobile, tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(AssertionError, match="is not empty"):
        graph.managed(RecorderNode, robot=mobile[1], folder=str(tmp_path))

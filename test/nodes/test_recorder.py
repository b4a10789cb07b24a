import numpy as np
import pytest
from rclpy.parameter import Parameter
from stand_in import Driver, Person, Planner

pytest.importorskip("pyarrow")

from pi0_ros.data.dataset import Dataset
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.recorder import RecorderNode
from pi0_ros.ros.lifecycle import SUCCESS


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
    graph.wait(lambda: len(recorder._episodes.frames) > 2, "frames")
    assert person.ask("autonomy")[0]
    person.wait_mode("autonomy")
    held = len(recorder._episodes.frames)
    graph.wait(lambda: len(recorder._episodes.frames) > held + 3, "frames in autonomy")
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


@pytest.fixture
def recording(graph, mobile, tmp_path):
    """(driver, person, recorder, folder, episode(n)) of a recorder that has something to record."""
    robot, file = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="")
    recorder = graph.managed(RecorderNode, robot=file, folder=str(tmp_path / "set"), fps=5)
    graph.wait(lambda: driver.commands["lift"] and person.state is not None, "commands")
    person.say("touch the red block")

    def frames(count=3):
        assert person.ask("start", "recorder")[0]
        graph.wait(lambda: len(recorder._episodes.frames) >= count, "frames")

    return driver, person, recorder, tmp_path / "set", frames


def test_a_recorder_that_was_deactivated_goes_on_in_its_dataset_and_keeps_the_running_episode(graph, recording):
    _, person, recorder, folder, frames = recording
    frames()
    assert person.ask("stop", "recorder")[0]
    frames()
    assert recorder.trigger_deactivate() == SUCCESS and recorder.state_label == "inactive"
    ok, why = person.ask("start", "recorder")
    assert not ok and "not active" in why
    assert recorder.trigger_activate() == SUCCESS
    frames()
    graph.wait(lambda: "recording episode 2" in person.health.get("recorder", (0, ""))[1], "the diagnostics")
    assert int(person.health["recorder"][2]["frames"]) > 0
    ok, why = person.ask("stop", "recorder")
    assert ok and why.startswith("episode 2:")
    assert set(Dataset(folder).column("episode_index")) == {0, 1, 2}


def test_a_recorder_that_was_cleaned_up_begins_a_numbered_dataset(recording):
    _, person, recorder, folder, frames = recording
    frames()
    assert person.ask("stop", "recorder")[0]
    for step in ("deactivate", "cleanup", "configure", "activate"):
        assert getattr(recorder, f"trigger_{step}")() == SUCCESS
    frames()
    assert person.ask("stop", "recorder")[0]
    assert len(Dataset(folder.with_name("set_2"))) >= 3 and len(Dataset(folder)) >= 3


def test_a_folder_that_cannot_be_written_is_refused_when_it_is_activated(graph, mobile):
    recorder = RecorderNode(
        parameter_overrides=[Parameter("robot", value=mobile[1]), Parameter("folder", value="/proc/x/set")]
    )
    assert not recorder.bring_up()
    assert recorder.stop_reason.startswith("parameter folder: /proc/x cannot be written")
    recorder.destroy_node()


def test_what_is_recorded_is_the_command_and_nothing_once_the_executor_is_silent(graph, mobile, tmp_path):
    robot, file = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    driver.silent.add("motion")  # it stays where it is, whatever it is told
    graph.node(Planner, robot, lambda t: {"left_joint1": min(0.1 * t, 0.3)})
    executor = graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="", tracking_error=6.0)
    recorder = graph.managed(RecorderNode, robot=file, folder=str(tmp_path / "set"), fps=5)
    graph.wait(lambda: driver.commands["lift"] and person.state is not None, "commands")
    person.say("touch the red block")
    column = robot.index["left_joint1"]
    person.insist("autonomy", lambda: abs(person.state.command[column] - person.state.measured[column]) > 0.05, "a gap")
    assert person.ask("start", "recorder")[0]
    graph.wait(lambda: len(recorder._episodes.frames) > 2, "frames")
    taken = recorder._episodes.frames[-1]
    assert abs(taken["action"][column] - taken["observation.state"][column]) > 0.04
    executor.trigger_deactivate()
    graph.wait(lambda: recorder._why == "no executor_state", "the reason")
    held = len(recorder._episodes.frames)
    graph.wait(lambda: recorder._episodes.skipped > 3, "skipped frames")
    assert len(recorder._episodes.frames) == held

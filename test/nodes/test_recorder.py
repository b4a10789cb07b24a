import json

import numpy as np
import pytest
from mcap.reader import make_reader
from rclpy.parameter import Parameter
from stand_in import Driver, Person, Planner, nod

pytest.importorskip("pyarrow")

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.recorder import RecorderNode
from pi0_ros.ros.images import image_message
from pi0_ros.ros.lifecycle import SUCCESS

CAMERAS = ("base", "left_wrist", "right_wrist")


class Stage:
    """A robot that is driven, and a recorder of it."""

    def __init__(self, graph, mobile, folder, planner=None, **parameters):
        self.graph, self.folder = graph, folder
        robot, file = mobile
        self.driver, self.person = graph.node(Driver, robot, camera_rate=15.0), graph.node(Person, robot)
        self.planner = graph.node(Planner, robot, planner) if planner else None
        self.executor = graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="")
        self.recorder = graph.managed(RecorderNode, robot=file, folder=str(folder), fps=10, **parameters)
        graph.wait(lambda: self.driver.commands["lift"] and self.person.state is not None, "commands")

    @property
    def session(self):
        return self.recorder.session

    def ask(self, request):
        return self.person.ask(request, "recorder")

    def frames(self, count=3):
        """Record that many frames of an episode."""
        ok, why = self.ask("start")
        assert ok, why
        self.wait_frames(count)

    def wait_frames(self, count):
        """Wait for that many more frames, of whatever episode: a busy machine may split one."""
        wanted = self.session.episodes.taken + count
        self.graph.wait(lambda: self.session.episodes.taken >= wanted, "frames")

    def saved(self, episodes):
        """The dataset, once all episodes that ended are in it, and that many at least."""
        info = self.folder / "meta/info.json"

        def there():
            found = json.loads(info.read_text())["total_episodes"] if info.is_file() else 0
            return found >= max(episodes, self.session.episodes.number)

        self.graph.wait(there, "saved episodes")
        return Dataset(self.folder)


def assert_even(read):
    """Frames of an episode are one period apart, and said to be so."""
    steps = np.diff(read.column("stamp"))
    inside = np.ones(len(steps), bool)
    inside[[e.stop - 1 for e in read.episodes[:-1]]] = False
    np.testing.assert_allclose(steps[inside], 0.1, atol=1e-6)
    assert not read.broken.any()


@pytest.fixture
def stage(graph, mobile, tmp_path):
    """Makes a stage with these parameters of the recorder, whose task is said."""

    def make(planner=None, **parameters):
        made = Stage(graph, mobile, tmp_path / "set", planner, **{"min_episode": 0.0, **parameters})
        made.person.say("touch the red block")
        return made

    return make


def test_an_episode_holds_what_was_seen_commanded_and_by_whom(stage, mobile):
    made = stage(planner=lambda _: {})
    person = made.person
    ok, why = made.ask("stop")
    assert not ok and "nothing" in why
    made.frames()
    person.insist("autonomy", lambda: person.mode == "autonomy", "the mode")
    before = made.session.episodes.taken
    person.insist("autonomy", lambda: made.session.episodes.taken > before + 4, "frames")
    ok, why = made.ask("success")
    assert ok and "kept" in why
    read = made.saved(1)
    assert made.ask("start")[0] and made.ask("discard")[0]

    drivers = list(read.column("driver"))
    assert (
        drivers[0] == "hold"
        and "autonomy" in list(Dataset(made.folder).column("driver"))
        and not read.column("intervention").any()
    )
    assert set(read.tasks) == {"touch the red block"} and read.task_of(0) == "touch the red block"
    pictures = list(read.pictures("base", 0))
    assert len(pictures) == len(read) and pictures[0].shape == (32, 32, 3)
    robot = mobile[0]
    state = read.column("observation.state")
    assert state.shape == read.column("action").shape == (len(read), len(robot.channels))
    np.testing.assert_allclose(state[0], [made.driver.values[n] for n in robot.channel_names], atol=0.05)
    assert_even(read)
    assert np.median(np.abs(read.column("picture_offset"))) <= 0.05 and read.column("camera_present").all()
    note = EpisodeLog(made.folder).read()[0]
    assert note["outcome"] == "success" and note["robot"] == robot.name and len(note["limits"]) == len(robot.channels)
    assert note["versions"]["av"]


def test_a_frame_without_words_is_not_taken_and_the_reason_is_told(graph, mobile, tmp_path):
    made = Stage(graph, mobile, tmp_path / "set")
    assert made.ask("start")[0]
    graph.wait(lambda: "no words" in made.session.why, "the reason")
    ok, why = made.ask("stop")
    assert not ok and "no frame was taken" in why


def test_a_folder_that_holds_something_else_is_refused(graph, mobile, tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(AssertionError, match="is not empty"):
        graph.managed(RecorderNode, robot=mobile[1], folder=str(tmp_path))


def test_a_recorder_that_was_deactivated_or_cleaned_up_goes_on_in_its_dataset(stage):
    made = stage()
    made.frames()
    assert made.ask("stop")[0]
    made.frames()
    recorder = made.recorder
    assert recorder.trigger_deactivate() == SUCCESS and recorder.state_label == "inactive"
    ok, why = made.ask("start")
    assert not ok and "not active" in why
    assert recorder.trigger_activate() == SUCCESS
    made.frames()
    made.graph.wait(
        lambda: made.person.health.get("recorder", (b"", "", {}))[2].get("recording") == "True", "the diagnostics"
    )
    assert made.ask("stop")[0]
    made.saved(3)
    for step in ("deactivate", "cleanup", "configure", "activate"):
        assert getattr(recorder, f"trigger_{step}")() == SUCCESS
    made.frames()
    assert made.ask("failure")[0]
    made.saved(4)
    assert made.ask("success")[0]  # of the newest one
    made.graph.wait(
        lambda: EpisodeLog(made.folder).read()[made.session.episodes.number - 1].get("outcome") == "success",
        "the label",
    )


def test_a_folder_that_cannot_be_written_is_refused_when_it_is_activated(graph, mobile):
    recorder = RecorderNode(
        parameter_overrides=[Parameter("robot", value=mobile[1]), Parameter("folder", value="/proc/x/set")]
    )
    assert not recorder.bring_up()
    assert recorder.stop_reason.startswith("parameter folder: /proc/x cannot be written")
    recorder.destroy_node()


def test_a_dataset_of_another_rate_is_refused_when_it_is_activated(stage, mobile):
    made = stage()
    made.frames()
    assert made.ask("stop")[0]
    made.saved(1)
    assert made.recorder.trigger_deactivate() == made.recorder.trigger_cleanup() == SUCCESS
    other = RecorderNode(
        "other",
        parameter_overrides=[
            Parameter(n, value=v) for n, v in (("robot", mobile[1]), ("folder", str(made.folder)), ("fps", 4))
        ],
    )
    assert not other.bring_up()
    assert "fps is 4, and 10 in the dataset" in other.stop_reason and "new folder" in other.stop_reason
    other.destroy_node()


def test_what_is_recorded_is_the_command_and_nothing_once_the_executor_is_silent(graph, mobile, tmp_path):
    robot, file = mobile
    driver, person = graph.node(Driver, robot, camera_rate=15.0), graph.node(Person, robot)
    driver.silent.add("motion")  # it stays where it is, whatever it is told
    graph.node(Planner, robot, lambda t: {"left_joint1": min(0.1 * t, 0.3)})
    executor = graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="", tracking_error=6.0)
    recorder = graph.managed(RecorderNode, robot=file, folder=str(tmp_path / "set"), fps=10, min_episode=0.0)
    graph.wait(lambda: driver.commands["lift"] and person.state is not None, "commands")
    person.say("touch the red block")
    column = robot.index["left_joint1"]
    session = recorder.session
    graph.wait(lambda: session.episodes.client is not None, "the process that writes")
    person.insist("autonomy", lambda: abs(person.state.command[column] - person.state.measured[column]) > 0.05, "a gap")
    assert person.ask("start", "recorder")[0]
    graph.wait(lambda: session.episodes.frames > 2, "frames")
    executor.trigger_deactivate()
    graph.wait(lambda: session.why == "no executor_state", "the reason")
    graph.wait(lambda: session.episodes.dropped["no command"] > 3, "frames that are missed")
    assert person.ask("stop", "recorder")[0]
    graph.wait(lambda: session.episodes.client.saved, "the episode")
    read = Dataset(tmp_path / "set")
    assert abs(read.column("action")[0, column] - read.column("observation.state")[0, column]) > 0.04


def test_an_optional_camera_that_is_silent_costs_its_pictures_and_not_the_episode(stage):
    made = stage()
    made.frames()
    made.driver.silent.add("back")
    made.wait_frames(22)  # longer than its max_age
    made.driver.silent.clear()
    made.wait_frames(6)
    assert made.ask("stop")[0]
    read = made.saved(1)
    assert_even(read)
    present, episode = read.column("camera_present")[:, 3], read.column("episode_index")
    assert present[0] and present[-1] and not present.all()
    changes = np.flatnonzero(np.diff(present.astype(int)) != 0)
    assert (episode[changes] == episode[changes + 1]).any()  # it goes and comes within an episode
    gone = int(np.flatnonzero(~present)[0])
    assert read.picture("back", gone).max() < 20 and read.picture("back", 0).mean() > 60
    assert read.picture("base", gone).mean() > 60


def test_a_gap_splits_the_episode_and_no_time_is_falsified(stage):
    made = stage()
    made.frames()
    made.driver.silent.update(CAMERAS)
    made.graph.wait(lambda: made.session.episodes.dropped["no observation"] >= 3, "missing frames")
    made.driver.silent.clear()
    made.wait_frames(3)
    ok, why = made.ask("stop")
    assert ok and "episodes kept" in why
    read = made.saved(2)
    assert_even(read)
    stamps = read.column("stamp")
    first = [stamps[e.start] - stamps[e.start - 1] for e in read.episodes[1:]]
    assert max(first) > 0.3
    assert any("camera" in note["why"] for note in EpisodeLog(made.folder).read().values() if "why" in note)


def test_a_gap_ends_the_recording_where_that_is_asked_for(stage):
    made = stage(on_gap="end")
    made.frames()
    made.driver.silent.update(CAMERAS)
    made.graph.wait(lambda: not made.session.recording, "the end")
    assert len(made.saved(1).episodes) >= 1
    assert not made.ask("stop")[0]


def test_pictures_of_another_size_are_told_at_once_and_not_mixed(stage):
    made = stage()
    made.frames()
    made.driver.pictures["base"] = lambda m: image_message(np.full((48, 40, 3), 90, np.uint8), m.header.stamp)
    made.graph.wait(lambda: "base has pictures of 40x48, and this dataset of 32x32" in made.session.why, "the reason")
    made.graph.wait(lambda: "40x48" in made.person.health.get("recorder", (b"", ""))[1], "the diagnostics")
    made.driver.pictures.clear()
    made.wait_frames(2)
    assert made.ask("stop")[0]
    assert_even(made.saved(2))


def test_a_person_who_drives_is_an_intervention_without_the_networks_subtask(stage):
    made = stage(planner=nod)
    person = made.person
    person.say_subtask("touch the red block with the left hand")
    made.ask("start")
    person.insist("autonomy", lambda: made.session.episodes.frames > 2, "frames")
    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home)
    person.insist("teleop", lambda: person.mode == "teleop", "teleoperation")
    made.wait_frames(5)
    assert made.ask("stop")[0]
    read = made.saved(1)
    driver, target = read.column("driver"), read.column("high_level_target")
    auto, lead = driver == "autonomy", driver == "teleop"
    assert auto.any() and lead.any()
    assert set(target[auto]) == {"touch the red block with the left hand"} and set(target[lead]) == {""}
    assert set(read.column("subtask_source")[auto]) == {"network"} and set(read.column("subtask_source")[lead]) == {""}
    assert read.column("intervention")[np.flatnonzero(lead)[-1]] and not read.column("intervention")[~lead].any()
    assert {read.task_of(int(i)) for i in np.flatnonzero(lead)} == {"touch the red block"}


def test_with_mcap_all_that_is_said_while_recording_lies_beside_the_dataset(stage, mobile):
    made = stage(mcap=True)
    made.frames(3)
    assert made.ask("stop")[0]
    made.saved(1)
    assert made.recorder.trigger_deactivate() == made.recorder.trigger_cleanup() == SUCCESS
    (folder,) = made.folder.with_name("set_mcap").iterdir()
    assert EpisodeLog(made.folder).read()[0]["mcap"] == f"set_mcap/{folder.name}"
    topics = set()
    for file in folder.glob("*.mcap"):
        with file.open("rb") as stream:
            topics |= {channel.topic for _, channel, _ in make_reader(stream).iter_messages()}
    robot = mobile[0]
    assert {"/task", "/executor_state", "/mode", f"/{robot.cameras[0].topic}"} <= topics
    assert {f"/{s.topic}" for s in robot.state} | {f"/{g.command.topic}" for g in robot.groups} <= topics

"""What a recorder is made of, and what it answers and tells; without a robot, and with nothing that writes."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("av")

from pi0_ros.msg import ExecutorState
from rclpy.parameter import Parameter
from std_msgs.msg import Float32, String
from wiring import deliver, entities

from pi0_ros.data.errors import DataError
from pi0_ros.data.recording_process import Report
from pi0_ros.nodes import recorder as module
from pi0_ros.nodes.recorder import RecorderNode
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.ros import recording_opening
from pi0_ros.ros.diagnostics import ERROR, OK, WARN
from pi0_ros.ros.lifecycle import FAILURE, SUCCESS

CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")
GIVEN = {
    "robot": "aloha", "adapter": "droid", "checkpoint": "ws://server:8000", "fps": 20, "before": 1.6, "min_free": 3,
    "mode": "corrections", "on_gap": "end", "min_episode": 0.35, "picture_frozen": 7.0,
}  # fmt: skip


class Client:
    """The process that writes; with what it was started."""

    def __init__(self, settings):
        self.settings, self.report = settings, Report(expected=4)
        self.ended, self.backlog, self.saved, self.problem, self.alive, self.pid = "", 0, [1, 2], "", True, 77
        self.closed, self.ends = [], True

    def close(self, timeout):
        self.closed.append(timeout)
        return self.ends

    def discard(self):
        """Nothing was sent."""


class Bag:
    """Writes what is said, elsewhere."""

    def __init__(self, *given):
        self.given, self.told, self.problem, self.ends, self.closed = given, [], "", True, []
        self.threads, self.folder = (SimpleNamespace(name="bag", problem=lambda: ""),), given[3]

    def record(self, on):
        self.told.append(on)

    def values(self):
        return {"bag_mb": 5}

    def close(self, timeout):
        self.closed.append(timeout)
        return self.ends


class Loop:
    """A loop that is turned by hand."""

    made = None

    def __init__(self, period, work, failed, name):
        Loop.made = self
        self.period, self.work, self.failed, self.name, self.runs = period, work, failed, name, None

    def start(self):
        self.runs = True

    def stop(self):
        self.runs = False


@pytest.fixture
def make(graph, tmp_path, monkeypatch):
    """Makes recorders; pictures of all cameras are 48 high and 64 wide. Their log lines are in `log`, their states in `told`."""
    made = []
    monkeypatch.setattr(module, "Loop", Loop)
    monkeypatch.setattr(module, "BagRecorder", Bag)
    monkeypatch.setattr(module, "lower_priority", lambda: made[-1].log.append("lower priority"))
    monkeypatch.setattr(recording_opening, "RecordingClient", Client)
    monkeypatch.setattr(module.FrameSource, "sizes", lambda self: made[-1].sizes)
    monkeypatch.setattr(module.LatchedText, "say", lambda self, text: made[-1].told.append(json.loads(text)))

    def one(name="recorder", **values):
        given = {"robot": "aloha", "folder": str(tmp_path / "set")} | values
        node = RecorderNode(name, parameter_overrides=[Parameter(n, value=v) for n, v in given.items()])
        node.log, node.told, logger = [], [], node.get_logger()
        node.sizes = dict.fromkeys(CAMERAS, (48, 64))
        for level in ("info", "warning", "error"):
            monkeypatch.setattr(logger, level, lambda text, node=node, **_: node.log.append(text))
        made.append(node)
        return node

    yield one
    for node in made:
        node.destroy_node()


def ask(node, request):
    response = node._on_request(request, None, SimpleNamespace(success=None, message=None))
    return response.success, response.message


def test_every_parameter_reaches_what_is_recorded(make, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    node, settings = make(folder="~/deep/set", **GIVEN), []
    session = module.RecordingSession
    monkeypatch.setattr(module, "RecordingSession", lambda *given: settings.append(given) or session(*given))
    assert node.trigger_configure() == SUCCESS
    ((given, source, _),) = settings
    assert (given.fps, given.mode, given.on_gap, given.min_episode) == (20, "corrections", "end", 0.35)
    assert given.note["robot"] == "aloha" and given.note["checkpoint"] == "ws://server:8000"
    assert given.note["adapter"] == "droid" and given.note["mode"] == "corrections" and "mcap" not in given.note
    parts = node.parts
    assert parts.source is source and parts.folder == tmp_path / "deep" / "set" and parts.fps == 20
    assert node.observations is parts.observations
    assert node.trigger_activate() == SUCCESS
    assert (Loop.made.period, Loop.made.runs, Loop.made.name) == (0.05, True, "frames")
    Loop.made.work(0.0, 0.0)
    written = parts.session.episodes.client.settings
    assert (written.folder, written.fps, written.robot) == (tmp_path / "deep" / "set", 20, "aloha")
    assert (written.lead, written.min_free) == (32, 3_000_000)


def test_as_many_frames_a_second_as_the_policy_has_rows_unless_it_is_said_otherwise(make):
    rows = round(1.0 / load_adapter("droid").period)
    for values, fps in (({}, 10), ({"adapter": "droid"}, rows), ({"adapter": "droid", "fps": 7}, 7)):
        node = make(**values)
        assert rows != 10 and node.trigger_configure() == SUCCESS and node.parts.fps == fps
        node.trigger_cleanup()


@pytest.mark.parametrize(
    ("values", "recording"), [({}, False), ({"begin": True}, True), ({"mode": "policy"}, True), ({"mode": "corrections"}, True)]
)  # fmt: skip
def test_it_records_at_once_where_that_is_asked_for_or_where_it_waits_for_somebody_to_drive(make, values, recording):
    node = make(**values)
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    assert node.session.recording is recording and "lower priority" in node.log and node.session.episodes.client is None
    node.trigger_deactivate()
    assert Loop.made.runs is False and not node.session.recording


def test_what_it_is_asked_is_answered_and_what_has_become_of_it_is_told(make, tmp_path):
    node = make(mode="everything")
    assert ask(node, "start") == (False, "the recorder is not active")
    assert node.trigger_configure() == SUCCESS
    assert ask(node, "stop") == (False, "the recorder is not active") and not node.told
    assert node.trigger_activate() == SUCCESS
    state = {
        "recording": False,
        "folder": str(tmp_path / "set"),
        "episodes": 0,
        "saved": 0,
        "mode": "everything",
        "why": "",
    }
    assert ask(node, "stop") == (False, "nothing is being recorded") and node.told == [state]
    Loop.made.work(0.0, 0.0)
    assert node.told[-1] == state | {"episodes": 4, "saved": 2} and "recording into" in node.log[-1]
    assert ask(node, "start") == (True, "recording episode 4") and node.told[-1]["recording"] is True
    assert ask(node, "start") == (False, "episode 4 is being recorded already")
    assert ask(node, "discard") == (True, "0 frames dropped") and node.told[-1]["recording"] is False
    node.trigger_deactivate()
    assert ask(node, "start") == (False, "the recorder is not active")


def test_how_an_episode_went_ends_the_one_that_runs_and_else_is_said_of_the_newest(make):
    node, said = make(), []
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    session = node.session
    for name in ("start", "stop", "discard", "label"):
        setattr(session, name, lambda *given, name=name: said.append((name, *given)) or f"{name} it is")
    for recording, did in ((True, "stop"), (False, "label")):
        session.recording = recording
        for outcome in ("success", "failure"):
            assert ask(node, outcome) == (True, f"{did} it is")
            assert said.pop() == (did, {"outcome": outcome})
    for request in ("start", "stop", "discard"):
        assert ask(node, request) == (True, f"{request} it is") and said.pop() == (request,)
    assert deliver(node, "~/score", Float32(data=0.25)) == deliver(node, "~/note", String(data="slipped")) == 1
    assert said == [("label", {"score": 0.25}), ("label", {"note": "slipped"})] and node.log[-1] == "label it is"
    deliver(node, "~/score", Float32(data=float("nan")))
    assert len(said) == 2 and "score" in node.log[-1]
    session.recording = True
    node.trigger_deactivate()
    assert said[-1] == ("stop",) and "stop it is" in node.log


def test_frames_are_looked_for_at_ros_time_and_what_goes_wrong_is_said(make, monkeypatch):
    node = make()
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    ticks, sizes = [], node.sizes
    sizes.clear()
    monkeypatch.setattr(node.clocks, "steady", lambda: 50.0)
    monkeypatch.setattr(node.clocks, "ros", lambda: 1234.5)
    node.session.tick = ticks.append
    Loop.made.work(0.0, 0.0)
    assert ticks == [1234.5] and node.session.episodes.client is None
    assert "cam_high: no picture yet" in node.session.why and "cam_high" in node.told[-1]["why"]
    assert (node.health().level, node.health().message) == (OK, "ready")
    node.session.recording = True
    assert node.health().level == WARN and "cam_high: no picture yet" in node.health().message
    sizes.update(dict.fromkeys(CAMERAS, (47, 64)))
    with pytest.raises(DataError, match="64x47"):
        Loop.made.work(0.0, 0.0)
    assert node.health().level == ERROR and "64x47" in node.health().message and ticks == [1234.5]
    sizes.update(dict.fromkeys(CAMERAS, (48, 64)))
    Loop.made.work(0.0, 0.0)
    assert node.health().level != ERROR and len(ticks) == 2
    client = node.session.episodes.client
    Loop.made.work(0.0, 0.0)
    assert node.session.episodes.client is client  # opened once
    Loop.made.failed("Traceback\n  line 3\npi0_ros.data.errors.DataError: the disk is gone\n")
    assert (node.health().level, node.health().message) == (ERROR, "the disk is gone")
    assert "line 3" in node.log[-1]
    numbers = node.health().values
    assert numbers["saved"] == 2 and any("cam_low" in name for name in numbers)
    node.trigger_deactivate(), node.trigger_cleanup(), node.trigger_configure()
    node.trigger_activate()
    assert node.health().message == "ready"  # what went wrong before has been let go


def test_a_clean_up_leaves_nothing_and_waits_a_second_for_what_is_being_saved(make):
    node = make(mcap=True)
    before = entities(node)
    for ends, said in ((True, 0), (False, 1)):
        node.log.clear()
        assert node.trigger_configure() == node.trigger_activate() == SUCCESS
        Loop.made.work(0.0, 0.0)
        bag, session, client = node.bag, node.session, node.session.episodes.client
        client.ends = bag.ends = ends
        assert node.trigger_deactivate() == node.trigger_cleanup() == SUCCESS
        assert client.closed == bag.closed == [1.0] and session.episodes.client is None
        assert sum("still being written, by process 77" in text for text in node.log) == said
        assert sum("its last file may not be complete" in text for text in node.log) == said
        assert node.bag is None and node._parts is None and node.observations is None and entities(node) == before


def test_a_bag_is_beside_the_dataset_and_records_while_an_episode_does(make, tmp_path):
    node = make(mcap=True, min_free=4, mode="everything")
    assert node.trigger_configure() == SUCCESS
    bag = node.bag
    owner, clocks, robot, place, free, _, renewed = bag.given
    assert (owner, clocks, robot, free) == (node, node.clocks, node.parts.robot, 4_000_000)
    assert place.parent == tmp_path / "set_mcap" and renewed is node.observations.renewed
    assert node.session.episodes._note["mcap"] == f"set_mcap/{place.name}"
    assert node.trigger_activate() == SUCCESS and "bag" in node._threads
    Loop.made.work(0.0, 0.0)
    assert bag.told == [False]
    ask(node, "start")
    assert bag.told[-1] is True
    ask(node, "discard")
    assert bag.told[-1] is False
    bag.problem = "the bag is full"
    health = node.health()
    assert health.values["bag_mb"] == 5 and "the bag is full" in health.message and health.level == WARN
    ask(node, "start")
    node.trigger_deactivate()
    assert bag.told[-1] is False


def test_a_dataset_that_is_there_and_does_not_fit_is_refused_before_anything_is_recorded(make, tmp_path):
    node, calls = make(), []
    assert node.trigger_configure() == SUCCESS
    opening = node.parts.opening
    (tmp_path / "set" / "meta").mkdir(parents=True)
    (tmp_path / "set" / "meta" / "info.json").write_text("{}")

    def refuse(steady):
        calls.append(steady)
        raise DataError("fps is 10, and 5 in the dataset")

    opening.open = refuse
    assert opening.known and node.trigger_activate() == FAILURE and calls
    assert node.stop_reason == "fps is 10, and 5 in the dataset"
    calls.clear()
    node.session.episodes.client = Client(None)  # open already: it goes on
    assert node.trigger_activate() == SUCCESS and not calls


def test_it_reads_who_drives_and_what_is_said(make, monkeypatch):
    node, told = make(), []
    monkeypatch.setattr(module.FrameSource, "update_state", lambda self, message: told.append((self, message.epoch)))
    monkeypatch.setattr(module.FrameSource, "update_words", lambda self, *given: told.append((self, *given)))
    assert node.trigger_configure() == SUCCESS
    deliver(node, "executor_state", ExecutorState(epoch=9))
    for topic in ("task", "subtask", "subtask_override"):
        deliver(node, topic, String(data=f"a {topic}"))
    assert told == [(node.parts.source, *heard) for heard in (
        (9,), ("task", "a task"), ("subtask", "a subtask"), ("subtask_override", "a subtask_override"),
    )]  # fmt: skip

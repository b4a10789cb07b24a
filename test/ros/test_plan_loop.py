"""What the inference thread asks, when, and what becomes of the answers; the network, its clock and the graph are stand-ins."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Duration
from pi0_ros.msg import ExecutorState

from pi0_ros.control.planning import Prefix, Situation, Timetable
from pi0_ros.control.planning_session import PlanningSession
from pi0_ros.policy import PolicyError
from pi0_ros.policy.plan import Plan
from pi0_ros.ros.activation import Activation
from pi0_ros.ros.arrivals import Arrivals
from pi0_ros.ros.inference_failure import RETRY
from pi0_ros.ros.observation_source import SensorSnapshot
from pi0_ros.ros.plan_loop import PlanInputs, PlanLoop, PlanSettings, plan_prefix, refuse_not_finite
from pi0_ros.ros.planning_status import PlanningStatus
from pi0_ros.ros.policy_lanes import PolicyLanes
from pi0_ros.ros.withheld import Wait, Withheld

TABLE = Timetable(replan=0.4, idle=0.5, margin=0.1)
ROWS, PERIOD = 8, 0.1
VALUES = np.column_stack([np.linspace(0.1, 0.8, ROWS), np.linspace(1.0, 1.7, ROWS)])
VIEW = SensorSnapshot(stamp=1000.0, pictures={"eye": "picture"}, state={"a": 0.7, "b": 0.8})


class Log:
    def __init__(self):
        self.said = []

    def __getattr__(self, level):
        return lambda text, **more: self.said.append((level, text))


class Network:
    """Answers every question at once with the same plan, or as it is told next."""

    def __init__(self, stage):
        self.contract = SimpleNamespace(cameras={"eye": 0}, plan_seconds=ROWS * PERIOD, origin="test")
        self.stage, self.asked, self.episodes, self.next = stage, [], 0, []

    def lanes(self, most):
        return [self]

    def new_episode(self):
        self.episodes += 1

    def infer(self, observation, *, prefix, seed):
        self.asked.append((observation, prefix, seed.integers(1 << 30)))
        self.stage.steady += 0.02
        answer = self.next.pop(0) if self.next else None
        if isinstance(answer, BaseException):
            raise answer
        if answer is not None:
            answer()
        return Plan(VALUES, ("a", "b"), PERIOD, frozen_rows=1, inference_seconds=0.015)


class Stage:
    """A node that plans for a robot of two joints in autonomy, seen and spoken to from here."""

    def __init__(self, robot, rtc="identity", finished=()):
        self.steady, self.table, self.why = 5.0, TABLE, None
        self.view, self.viewed, self.commands, self.judged = VIEW, [], [], []
        self.states, self.sent, self.log = [], [], Log()
        self.words = SimpleNamespace(text="go", withdrawn=0)
        self.arrivals = Arrivals()
        observations = SimpleNamespace(
            arrivals=self.arrivals,
            view=lambda cameras, state: self.viewed.append((cameras, state)) or self.view,
            command=lambda: {"a": 0.9},
            update_command=self.commands.append,
        )
        clocks = SimpleNamespace(steady=lambda: self.steady, ros=lambda: self.steady + 995.1)
        texts = SimpleNamespace(words=self.words, withheld=lambda *now: self.judged.append(now) or self.why)
        self.network = Network(self)
        self.lanes = PolicyLanes(self.network, 1, lambda work, *given, **named: work(*given, **named), lambda: None)
        self.session = PlanningSession(robot, "test", ROWS, PERIOD, finished)
        status = PlanningStatus(SimpleNamespace(update=self.states.append), self.log)
        settings = lambda: PlanSettings(self.table, rtc)
        inputs = PlanInputs(observations, texts, clocks, settings, ("a", "b"), self.log)
        publisher = SimpleNamespace(publish=self.sent.append)
        self.loop = PlanLoop(self.lanes, inputs, self.session, status, publisher, seed=3)
        self.status, self.activation = status, Activation()
        self.executor(mode=ExecutorState.AUTONOMY)

    def executor(self, **said):
        message = ExecutorState(**said)
        message.header.stamp.sec = 1000
        self.loop.update_executor(message)

    def turns(self, count=1):
        """Let the thread look so many times."""
        activation, left = self.activation, [count]
        wait = self.arrivals.wait

        def one(timeout):
            left[0] -= 1
            if left[0] < 0:
                activation.over = True
            wait(0.0)

        self.arrivals.wait = one
        self.loop.run(activation)
        self.arrivals.wait, activation.over = wait, False


@pytest.fixture
def robot():
    channels = [SimpleNamespace(name=name, kind=None) for name in ("a", "b")]
    return SimpleNamespace(channels=channels)


@pytest.fixture
def stage(robot):
    return Stage(robot)


def test_a_plan_is_asked_for_what_is_seen_said_and_commanded_and_its_answer_is_published(stage):
    stage.turns()
    ((observation, prefix, _),) = stage.network.asked
    assert (observation.stamp, observation.images, observation.state) == (1000.0, VIEW.pictures, VIEW.state)
    assert (observation.prompt, observation.command, prefix) == ("go", {"a": 0.9}, None)
    assert stage.viewed == [(("eye",), ("a", "b"))]
    (message,) = stage.sent
    assert (message.header.stamp.sec, message.sequence, message.source) == (1000, 1, "test")
    assert list(message.channels) == ["a", "b"] and message.period == PERIOD and message.frozen_rows == 1
    assert message.inference_time.nanosec == 15_000_000 and message.subtask == "go"
    np.testing.assert_allclose(message.values, VALUES.ravel(), rtol=1e-6)
    assert stage.states == [""] and stage.status.withheld is None


def test_how_long_a_plan_took_is_noted_from_its_observation_and_as_the_network_says(stage):
    stage.turns()
    # asked at 5.0 s of the steady clock, 1000.1 s of ROS's, and answered 0.02 s later, of an observation of 1000.0 s
    assert stage.session.latency.quantile(0.95) == pytest.approx(0.12)
    assert stage.status.inference.quantile(0.95) == pytest.approx(0.015)
    assert stage.status.rate.age(stage.steady + 1.5) == pytest.approx(1.5)


def test_the_next_plan_is_asked_for_when_it_is_due_and_with_other_noise(stage):
    stage.turns(3)
    assert len(stage.network.asked) == 1
    stage.steady = 5.39
    stage.turns()
    assert len(stage.network.asked) == 1
    stage.steady = 5.41
    stage.turns()
    assert len(stage.network.asked) == 2 and [m.sequence for m in stage.sent] == [1, 2]
    assert stage.network.asked[0][2] != stage.network.asked[1][2]
    assert stage.network.asked[0][2] == np.random.default_rng(3).integers(1 << 30)


def test_a_plan_is_given_the_rest_of_the_one_that_runs_in_the_way_that_is_set(robot):
    for rtc in ("none", "vjp"):
        stage = Stage(robot, rtc)
        stage.turns()
        stage.steady = 5.45
        stage.executor(mode=ExecutorState.AUTONOMY, plan_sequence=1, plan_left=0.7)  # its beginning
        stage.view = SensorSnapshot(stamp=1000.1, pictures=VIEW.pictures, state=VIEW.state)
        stage.turns()
        prefix = stage.network.asked[1][1]
        if rtc == "none":
            assert prefix is None
        else:
            assert (prefix.method, prefix.names) == ("vjp", ("a", "b"))
            np.testing.assert_allclose(prefix.values[:6], VALUES[1:7], atol=1e-9)
            assert (prefix.delay_rows, prefix.execution_rows) == (2, 4)  # of 0.12 s and 0.4 s


def test_a_network_is_told_of_a_new_episode_with_each_epoch_and_not_with_each_plan(stage):
    stage.turns()
    assert stage.network.episodes == 1
    stage.steady = 5.5
    stage.turns()
    assert (len(stage.network.asked), stage.network.episodes) == (2, 1)
    stage.executor(mode=ExecutorState.AUTONOMY, epoch=4)
    stage.turns()
    assert (len(stage.network.asked), stage.network.episodes) == (3, 2)
    assert stage.sent[-1].epoch == 4


def test_why_nothing_is_planned_is_said_and_nothing_is_looked_at(stage):
    stage.why = Withheld(Wait.EXECUTOR, "no executor")
    stage.turns()
    assert stage.states == ["no executor"] and stage.status.withheld is stage.why
    assert stage.judged == [(stage.session.situation, 5.0)]
    assert not stage.viewed and not stage.network.asked and not stage.sent


def test_what_is_missing_of_an_observation_is_said_and_the_network_is_not_asked(stage):
    stage.view = SensorSnapshot(missing=("no eye", "no joints"), about=("eye",))
    stage.turns()
    assert stage.status.withheld == Withheld(Wait.OBSERVATION, "no eye; no joints", ("eye",))
    assert not stage.network.asked
    stage.view = VIEW
    stage.turns()
    assert len(stage.sent) == 1


def test_a_failed_inference_is_said_and_tried_again_after_a_while(stage):
    stage.network.next = [PolicyError("no memory"), None]
    stage.turns()
    failed_at = stage.steady
    assert stage.status.failures == 1 and "no memory" in stage.states[-1] and not stage.sent
    stage.steady = failed_at + RETRY - 0.01
    stage.turns()
    assert len(stage.network.asked) == 1
    stage.steady = failed_at + RETRY + 0.01
    stage.turns()
    assert len(stage.sent) == 1 and stage.status.failure is None


def test_a_plan_that_is_not_finite_is_not_published(stage, monkeypatch):
    monkeypatch.setitem(globals(), "VALUES", np.array([[0.1, np.nan]] * ROWS))
    stage.turns()
    assert not stage.sent and "b is not finite" in stage.states[-1] and stage.status.failures == 1


@pytest.mark.parametrize("error", [None, PolicyError("closed")])
def test_what_comes_of_an_activation_that_is_over_is_neither_published_nor_said(stage, error):
    def ends():
        stage.activation.end()
        if error is not None:
            raise error

    stage.network.next = [ends]
    stage.loop._look(0, stage.activation)
    stage.loop._withhold(Withheld(Wait.PROMPT, "no task"), stage.activation)
    assert len(stage.network.asked) == 1
    assert not stage.sent and not stage.states and stage.status.failures == 0 and stage.status.times_withheld == 0


def test_an_answer_that_is_taken_when_its_activation_has_just_ended_is_dropped(stage):
    request = SimpleNamespace(activation=stage.activation, withdrawn=0, task=None, stamp=0.0)
    stage.activation.end()
    plan = Plan(VALUES, ("a", "b"), PERIOD)
    stage.loop._use(SimpleNamespace(request=request, answer=SimpleNamespace(result=lambda: plan)))
    assert not stage.sent and not stage.states
    chunk = stage.session.chunk(SimpleNamespace(epoch=0, prompt="go"), 1.0, PERIOD, ("a", "b"), VALUES, 0)
    assert stage.loop._publish(chunk, 0.0, stage.activation) is False
    assert not stage.sent and stage.session.sequence == 0

    def fails():
        raise PolicyError("closed")

    stage.loop._attempt(fails, stage.activation)
    assert stage.status.failures == 0 and not stage.states


def test_a_plan_for_words_that_were_taken_back_meanwhile_is_not_published(stage):
    def withdraw():
        stage.words.withdrawn += 1

    stage.network.next = [withdraw, None]
    stage.turns()
    assert not stage.sent and stage.status.withheld is None
    stage.steady = 5.5
    stage.turns()
    assert len(stage.sent) == 1


def test_words_that_were_taken_back_and_said_again_are_planned_for_at_once_and_from_the_beginning(robot):
    stage = Stage(robot)
    stage.network.stage = SimpleNamespace(steady=0.0)  # plans take no time on the clock of the thread
    for withdrawn in (1, 2):
        stage.turns()
        asked, episodes = len(stage.network.asked), stage.network.episodes
        stage.turns()
        assert (len(stage.network.asked), stage.network.episodes) == (asked, episodes), "none is due"
        stage.words.withdrawn = withdrawn
        stage.turns()
        assert (len(stage.network.asked), stage.network.episodes) == (asked + 1, episodes + 1)


def test_a_finished_task_keeps_the_end_of_its_last_plan_without_the_network(robot):
    stage = Stage(robot, finished=("go",))
    stage.turns()
    assert len(stage.network.asked) == 1
    ending = stage.session.chunk(SimpleNamespace(epoch=0, prompt="go"), 1000.0, PERIOD, ("a", "b"), VALUES, 0)
    given = []
    stage.session.keep_end = lambda *of: given.append(of) or ending
    stage.steady = 5.5
    stage.turns()
    assert given == [("go", 5.5, pytest.approx(5.5 + 995.1))]
    assert len(stage.network.asked) == 1 and len(stage.sent) == 2 and stage.sent[-1].inference_time == Duration()


def test_what_the_executor_says_is_kept_with_the_time_at_which_it_was_heard(stage):
    stage.steady = 7.0
    stage.executor(mode=ExecutorState.TELEOP, epoch=2, plan_sequence=5, plan_left=0.25)
    assert stage.session.situation == Situation(7.0, "teleop", 2, 5, 0.25, 1000.0)
    assert len(stage.commands) == 2 and stage.commands[-1].epoch == 2
    stage.executor(mode=99)
    assert stage.session.situation.mode == "stopped"


@pytest.mark.parametrize(
    "said, woken",
    [
        ({"mode": ExecutorState.AUTONOMY, "plan_left": 1.0}, False),
        ({"mode": ExecutorState.HOLD}, True),
        ({"mode": ExecutorState.AUTONOMY, "epoch": 1}, True),
    ],
)
def test_another_mode_or_epoch_wakes_the_thread(stage, said, woken):
    heard = []
    stage.arrivals.announce = lambda: heard.append(True)
    stage.executor(**said)
    assert bool(heard) == woken


def test_while_every_lane_waits_nothing_is_asked(stage):
    stage.lanes.free = lambda: None
    stage.turns()
    assert not stage.viewed and not stage.network.asked


def test_answers_are_taken_even_when_nothing_is_due(stage):
    taken = []
    stage.lanes.answered = lambda now, logger: taken.append((now(), logger)) or ()
    stage.why = Withheld(Wait.EXECUTOR, "no executor")
    stage.turns(2)
    assert taken[:2] == [(5.0, stage.log)] * 2


def test_a_thread_whose_activation_ends_while_it_waits_does_not_look_any_more(stage):
    stage.turns(0)
    assert not stage.viewed and not stage.states


@pytest.mark.parametrize("rest, method", [(None, "vjp"), ("some", "none")])
def test_without_a_rest_or_a_method_the_network_is_given_no_prefix(rest, method):
    prefix = None if rest is None else Prefix(VALUES, ("a", "b"), 1, 2)
    assert plan_prefix(prefix, method) is None


def test_a_prefix_has_the_rest_of_the_plan_and_the_method():
    given = plan_prefix(Prefix(VALUES, ("a", "b"), 1, 2), "vjp")
    assert given.values is VALUES and (given.names, given.delay_rows, given.execution_rows) == (("a", "b"), 1, 2)
    assert given.method == "vjp"


def test_the_channels_of_a_plan_that_are_not_finite_are_named():
    values = np.array([[0.0, np.nan, 1.0], [np.inf, 0.0, 2.0]])
    with pytest.raises(PolicyError, match="for x, y is not finite"):
        refuse_not_finite(Plan(values, ("x", "y", "z"), PERIOD))
    refuse_not_finite(Plan(values[:, 2:], ("z",), PERIOD))

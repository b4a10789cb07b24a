"""Which lane of a policy is asked, how many may wait, and which answers are of use."""

import math
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.control.planning_session import PlanTask
from pi0_ros.policy.backends.server_errors import ServerNotReadyError
from pi0_ros.ros.activation import Activation
from pi0_ros.ros.plan_requests import Request
from pi0_ros.ros.policy_lanes import PolicyLanes

LASTS, ENOUGH = 1.2, 60.0


def request(began, activation=None):
    return Request(PlanTask("go", 1, False, None), 100.0 + began, began, 0, activation or Activation())


class Lane:
    def __init__(self, name):
        self.name, self.asked, self.closed, self.gate = name, [], False, threading.Event()
        self.gate.set()
        self.error = None

    def infer(self, *given, **named):
        assert self.gate.wait(ENOUGH)
        self.asked.append((given, named))
        if self.error is not None:
            raise self.error
        return self.name

    def close(self):
        self.closed = True


class Stage:
    def __init__(self, most):
        self.first, self.others = Lane("first"), [Lane(f"other {k}") for k in range(1, most)]
        self.woken, self.works, self.said, self.now = threading.Semaphore(0), [], [], 0.0
        policy = SimpleNamespace(
            contract=SimpleNamespace(plan_seconds=LASTS, origin="a server"),
            lanes=lambda asked: [policy, *self.others] if asked == most else pytest.fail(asked),
            infer=self.first.infer,
        )
        self.policy = policy
        self.lanes = PolicyLanes(policy, most, self.in_own_thread, self.woken.release)
        self.log = SimpleNamespace(warning=self.said.append)

    def in_own_thread(self, work, *given, **named):
        self.works.append(work)
        return work(*given, **named)

    def ask(self, began, lane=0, activation=None, **named):
        self.lanes.ask(request(began, activation), lane, "seen", **named)

    def answered(self):
        return list(self.lanes.answered(lambda: self.now, self.log))

    def alone(self, took, count=3):
        """So many answers that took so long, with nothing beside them."""
        for _ in range(count):
            self.ask(self.now)
            assert self.woken.acquire(timeout=ENOUGH)
            self.now += took
            assert len(self.answered()) == 1


@pytest.fixture
def build():
    made = []

    def make(most):
        made.append(Stage(most))
        return made[-1]

    yield make
    for stage in made:
        for lane in (stage.first, *stage.others):
            lane.gate.set()
        stage.lanes.close()


def test_a_network_of_this_process_is_asked_in_its_own_thread(build):
    stage = build(1)
    assert stage.lanes.free() == 0 and stage.lanes.at_once == 1 and stage.lanes.lasts == LASTS
    stage.ask(1.0, seed=7)
    assert stage.works == [stage.policy.infer] and stage.first.asked == [(("seen",), {"seed": 7})]
    (answered,) = stage.answered()
    assert answered.answer.result() == "first" and stage.answered() == []


def test_a_server_with_several_lanes_is_asked_over_each_of_them(build):
    stage = build(3)
    for began, lane in ((1.0, 0), (2.0, 2), (3.0, 1)):
        stage.ask(began, lane, seed=lane)
        assert stage.woken.acquire(timeout=ENOUGH)
        (answered,) = stage.answered()
        assert answered.answer.result() == ("first", "other 1", "other 2")[lane]
    assert [lane.asked for lane in (stage.first, *stage.others)] == [[(("seen",), {"seed": k})] for k in range(3)]
    assert not stage.works


def test_more_than_one_may_wait_once_answers_are_known_to_take_long(build):
    stage = build(2)
    stage.alone(0.5 * LASTS, 2)
    assert stage.lanes.free() == 0 and stage.lanes.at_once == 1
    stage.alone(0.5 * LASTS, 1)
    assert stage.lanes.free() == 0 and stage.lanes.at_once == 2
    stage.first.gate.clear()
    stage.ask(stage.now, 0)
    assert stage.lanes.free() == 1 and stage.lanes.oldest() == stage.now
    stage.ask(stage.now + 1.0, 1)
    assert stage.lanes.free() is None and stage.lanes.oldest() == stage.now


def test_answers_that_come_soon_are_asked_for_one_after_another(build):
    stage = build(2)
    stage.alone(0.3 * LASTS)
    assert stage.lanes.free() == 0 and stage.lanes.at_once == 1 and stage.lanes.oldest() == math.inf


def test_a_server_that_answers_later_beside_others_is_asked_less_at_once_and_that_is_said(build):
    stage = build(2)
    stage.alone(0.5 * LASTS)
    for _ in range(3):
        began = stage.now
        for lane in (0, 1):
            stage.ask(began, lane)
        for _ in range(2):
            assert stage.woken.acquire(timeout=ENOUGH)
        stage.now += 1.1 * LASTS
        stage.answered()
    stage.lanes.free()
    assert stage.lanes.at_once == 1
    (sentence,) = stage.said
    assert "a server" in sentence and f"{1.1 * LASTS:.2f} s" in sentence and "at most 1 at once" in sentence


def test_what_fails_at_once_says_nothing_of_how_long_answers_take(build):
    stage = build(2)
    stage.first.error = ServerNotReadyError("cut")
    stage.alone(0.5 * LASTS)
    assert stage.lanes.free() == 0 and stage.lanes.at_once == 1


def test_an_answer_for_an_activation_that_is_over_or_that_a_newer_one_has_overtaken_is_left_out(build):
    stage = build(2)
    over = Activation()
    stage.ask(1.0, activation=over)
    over.end()
    assert stage.woken.acquire(timeout=ENOUGH) and stage.answered() == []
    stage.first.gate.clear()
    stage.ask(2.0, 0)
    stage.ask(3.0, 1)
    assert stage.woken.acquire(timeout=ENOUGH)
    assert [answered.answer.result() for answered in stage.answered()] == ["other 1"]
    stage.first.gate.set()
    assert stage.woken.acquire(timeout=ENOUGH) and stage.answered() == []


def test_closing_closes_every_lane_but_the_policys_own(build):
    stage = build(3)
    stage.lanes.close()
    assert [lane.closed for lane in (stage.first, *stage.others)] == [False, True, True]
    with pytest.raises(RuntimeError):
        stage.ask(1.0)


def test_until_the_first_question_one_may_wait():
    assert Stage(3).lanes.at_once == 1

"""Requests to a policy that are not answered yet."""

import threading

import pytest

from pi0_ros.control.planning_session import PlanTask
from pi0_ros.policy.backends.server_errors import LateAnswerError, ServerNotReadyError
from pi0_ros.ros.activation import Activation
from pi0_ros.ros.plan_requests import Request, Requests

ENOUGH = 60.0


def request(began):
    return Request(PlanTask("go", 1, False, None), 100.0 + began, began, 0, Activation())


class Server:
    """Answers what it is told to, when it is told to."""

    def __init__(self):
        self.gates = {}

    def plan(self, name):
        gate = self.gates.setdefault(name, threading.Event())

        def answer():
            assert gate.wait(ENOUGH)
            return name

        return answer


@pytest.fixture
def two():
    woken = threading.Semaphore(0)
    requests, server = Requests(2, woken.release), Server()
    yield requests, server, woken
    for gate in server.gates.values():
        gate.set()
    requests.close()


def test_a_request_takes_a_lane_and_no_more_are_asked_than_allowed(two):
    requests, server, _ = two
    assert requests.free(1) == 0
    requests.ask(request(1.0), 0, server.plan("first"))
    assert requests.free(1) is None and requests.free(2) == 1
    requests.ask(request(2.0), 1, server.plan("second"))
    assert requests.free(2) is None and requests.free(8) is None
    assert requests.oldest() == 1.0 and not requests.answered()


def test_each_answer_comes_with_its_own_request_and_an_older_observations_plan_is_marked_as_overtaken(two):
    requests, server, woken = two
    first, second = request(1.0), request(2.0)
    requests.ask(first, 0, server.plan("first"))
    requests.ask(second, 1, server.plan("second"))
    server.gates["second"].set()
    assert woken.acquire(timeout=ENOUGH)
    (newer,) = requests.answered()
    assert newer.request is second and newer.answer.result() == "second" and not newer.overtaken and newer.beside
    server.gates["first"].set()
    assert woken.acquire(timeout=ENOUGH)
    (older,) = requests.answered()
    assert older.request is first and older.answer.result() == "first" and older.overtaken
    assert requests.free(1) == 0


def test_a_newer_request_that_failed_overtakes_nothing(two):
    requests, server, woken = two

    def broken():
        raise ConnectionError("cut")

    requests.ask(request(1.0), 0, server.plan("first"))
    requests.ask(request(2.0), 1, broken)
    assert woken.acquire(timeout=ENOUGH)
    assert isinstance(requests.answered()[0].answer.exception(), ConnectionError)
    server.gates["first"].set()
    assert woken.acquire(timeout=ENOUGH)
    assert not requests.answered()[0].overtaken


def test_a_request_that_failed_at_once_says_nothing_of_how_long_answers_take():
    requests = Requests(1, lambda: None)

    def fails(error):
        def answer():
            raise error

        return answer

    times = []
    for answer in (lambda: "plan", fails(LateAnswerError("too late")), fails(ServerNotReadyError("cut"))):
        requests.ask(request(1.0), 0, answer)
        times += [answered.says_time for answered in requests.answered()]
    assert times == [True, True, False]


def test_with_one_lane_the_answer_is_there_when_ask_returns():
    requests = Requests(1, lambda: None)
    requests.ask(request(1.0), 0, lambda: "plan")
    (answered,) = requests.answered()
    assert answered.answer.result() == "plan" and not answered.beside


def test_answers_that_came_together_are_told_oldest_observation_first_whoever_was_asked_first(two):
    requests, server, _ = two
    for began, lane, name in ((2.0, 0, "later"), (1.0, 1, "earlier")):
        requests.ask(request(began), lane, server.plan(name))
    for gate in server.gates.values():
        gate.set()
    for waiting in requests._waiting:
        waiting.answer.result(ENOUGH)
    found = requests.answered()
    assert [one.request.began for one in found] == [1.0, 2.0] and [one.overtaken for one in found] == [False, False]
    assert requests.answered() == [] and requests.oldest() == float("inf")

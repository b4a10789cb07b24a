import os
import random
import threading
from types import SimpleNamespace

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from lifecycle_msgs.srv import ChangeState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health, Rate
from pi0_ros.ros.lifecycle import FAILURE, SUCCESS, ManagedNode
from pi0_ros.ros.parameters import Parameter, ParameterError
from pi0_ros.ros.spinning import Spinner

PATIENCE = 60.0


class Probe(ManagedNode):
    table = (Parameter("size", 1, "how large", low=0, high=9),)

    def __init__(self, fail=None):
        self.calls, self.fail = [], fail or {}
        super().__init__("probe")

    def _do(self, name):
        self.calls.append(name)
        if name in self.fail:
            raise self.fail.pop(name)

    def setup(self):
        self.own(self.create_publisher(String, "x", 1))
        self._do("setup")

    def start(self):
        self._do("start")

    def halt(self):
        self._do("halt")

    def teardown(self):
        self._do("teardown")


@pytest.fixture
def make():
    rclpy.init(domain_id=1 + os.getpid() % 100)
    nodes = []

    def made(**kwargs):
        nodes.append(Probe(**kwargs))
        return nodes[-1]

    yield made
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def state(node):
    return node._state_machine.current_state[1]


def test_it_comes_up_by_itself_and_goes_down_in_order(make):
    node = make()
    assert node.bring_up() and state(node) == "active" and node.active
    node.shut_down("SIGINT")
    assert node.calls == ["setup", "start", "halt"] and node.stop_reason == "SIGINT"


def test_going_down_because_it_was_asked_to_is_no_error(make):
    node = make()
    assert node.bring_up()
    node.shut_down("SIGINT")
    assert (node._report().level, node._report().message) == (WARN, "not active: SIGINT")


def test_without_autostart_it_waits(make):
    node = make()
    node.set_parameters([rclpy.parameter.Parameter("autostart", value=False)])
    assert node.bring_up() and state(node) == "unconfigured" and not node.calls


def test_an_expected_refusal_is_one_line_and_the_node_stays_unconfigured(make, capfd):
    node = make(fail={"setup": ParameterError("parameter size is silly")})
    assert not node.bring_up()
    assert state(node) == "unconfigured" and node.stop_reason == "parameter size is silly"
    said = capfd.readouterr().err
    assert "cannot configure: parameter size is silly" in said and "Traceback" not in said
    assert node.calls == ["setup", "teardown"] and node.count_publishers("x") == 0
    assert node.bring_up()


@pytest.mark.parametrize("where", ["setup", "start", "halt"])
def test_an_exception_in_a_transition_is_logged_with_its_traceback(make, capfd, where):
    node = make(fail={where: ZeroDivisionError("in the middle")})
    node.bring_up()
    if where == "halt":
        node.trigger_deactivate()
    said = capfd.readouterr().err
    assert "Traceback" in said and "ZeroDivisionError: in the middle" in said
    assert state(node) == "unconfigured" and not node.active
    assert node.bring_up() and state(node) == "active"


def test_the_first_reason_for_a_stop_is_kept_until_the_next_activation(make):
    node = make()
    node.bring_up()
    node.note_stop("first")
    node.note_stop("second")
    node.trigger_deactivate()
    assert node.stop_reason == "first"
    node.trigger_activate()
    assert node.stop_reason == ""


def test_what_is_owned_is_gone_after_clean_up_and_back_after_configuring(make):
    node = make()
    node.bring_up()
    assert node.count_publishers("x") == 1
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.count_publishers("x") == 0
    assert node.bring_up() and node.count_publishers("x") == 1


def test_parameters_are_fixed_while_configured(make):
    node = make()
    node.bring_up()
    change = [rclpy.parameter.Parameter("size", value=3)]
    assert not node.set_parameters(change)[0].successful
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.set_parameters(change)[0].successful


def test_what_it_says_of_itself_follows_its_state(make):
    node = make(fail={"setup": ParameterError("no")})
    assert node._report().message == "not active"
    node.bring_up()
    assert (node._report().level, node._report().message) == (ERROR, "no")
    node.bring_up()
    assert node._report().level == OK


def test_a_rate_counts_the_events_of_its_window():
    rate = Rate(2.0)
    for k in range(200):
        rate.tick(k * 0.1)
    assert rate.hz(19.9) == pytest.approx(10.0, abs=0.5)
    assert rate.hz(30.0) == 0.0 and rate.age(30.0) == float("inf")


LEGAL = {
    "unconfigured": {"configure": "inactive", "shutdown": "finalized"},
    "inactive": {"activate": "active", "cleanup": "unconfigured", "shutdown": "finalized"},
    "active": {"deactivate": "inactive", "shutdown": "finalized"},
    "finalized": {},
}
REQUESTS = ("configure", "activate", "deactivate", "cleanup", "shutdown")
NUMBERS = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4}
SHUTDOWNS = {"unconfigured": 5, "inactive": 6, "active": 7}


@pytest.fixture
def ask(make):
    """Asks a spun node to change its state, from another node; (node, ask(number or label) -> success)."""
    node, other, spinner, others = make(), rclpy.create_node("manager"), Spinner(), Spinner()
    spinner.add(node)
    others.add(other)
    spinner.start()
    others.start()
    client = other.create_client(ChangeState, "probe/change_state")

    def change(number=0, label=""):
        assert client.wait_for_service(PATIENCE)
        request, done = ChangeState.Request(), threading.Event()
        request.transition.id, request.transition.label = number, label
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        assert done.wait(PATIENCE), "no answer"
        return future.result().success

    yield node, change
    for one in (spinner, others):
        assert one.stop(PATIENCE)
    other.destroy_node()


@pytest.mark.parametrize("before", ["unconfigured", "inactive", "active", "finalized"])
def test_a_transition_that_is_not_possible_now_is_refused_and_the_node_still_answers(ask, capfd, before):
    node, change = ask
    for step in {"unconfigured": (), "inactive": (1,), "active": (1, 3), "finalized": (5,)}[before]:
        assert change(step)
    possible = {NUMBERS.get(label, SHUTDOWNS.get(before)) for label in LEGAL[before]}
    for number in {*range(9), 10, 60, 255} - possible:
        assert not change(number) and state(node) == before
    for label in {*REQUESTS, "nonsense"} - set(LEGAL[before]):
        assert not change(label=label) and state(node) == before
    assert f"refused: the node is {before}" in capfd.readouterr().err
    assert node.get_parameter("size").value == 1


def test_requests_in_process_are_refused_without_raising(make):
    node = make()
    assert node.trigger_activate() == FAILURE and node.trigger_deactivate() == FAILURE
    assert node.bring_up() and node.trigger_configure() == FAILURE and state(node) == "active"
    assert not node.bring_up() and state(node) == "active"


def test_two_hundred_random_requests_leave_it_in_the_state_that_the_table_says(ask):
    node, change = ask
    chance, expected = random.Random(7), "unconfigured"
    for _ in range(200):
        label = chance.choice(REQUESTS[:4])
        after = LEGAL[expected].get(label)
        assert change(label=label) == (after is not None), (expected, label)
        expected = after or expected
        assert state(node) == expected and node.active == (expected == "active")
    assert node.count_publishers("x") == (expected != "unconfigured")
    # Whatever was begun was ended, before it was begun again.
    lives = [name for name in node.calls if name in ("start", "halt")]
    assert lives == ["start", "halt"] * (len(lives) // 2) + ["start"] * (len(lives) % 2) and len(lives) > 20


def test_a_start_that_fails_half_way_is_halted(make):
    node = make(fail={"start": ZeroDivisionError("half way")})
    assert not node.bring_up()
    assert node.calls == ["setup", "start", "halt", "teardown"]
    assert node.bring_up() and state(node) == "active"


def test_a_halt_that_fails_as_expected_still_ends_inactive(make):
    node = make(fail={"halt": ParameterError("the disk is full")})
    node.bring_up()
    node.trigger_deactivate()
    assert state(node) == "inactive" and not node.active
    assert node.trigger_activate() == SUCCESS and state(node) == "active"


def test_shutting_down_waits_for_a_transition_that_is_under_way(make):
    node, entered, go_on = make(), threading.Event(), threading.Event()
    assert node.bring_up()
    halt = node.halt

    def slow_halt():
        entered.set()
        assert go_on.wait(PATIENCE)
        halt()

    node.halt = slow_halt
    deactivating = threading.Thread(target=node.trigger_deactivate)
    deactivating.start()
    assert entered.wait(PATIENCE)
    ending = threading.Thread(target=node.shut_down, args=("SIGINT",))
    ending.start()
    ending.join(0.2)
    assert ending.is_alive() and "halt" not in node.calls  # a process that ended now would leave the robot moving
    go_on.set()
    ending.join(PATIENCE)
    deactivating.join(PATIENCE)
    assert node.calls == ["setup", "start", "halt"]


def test_a_node_that_was_shut_down_says_that_it_is_finalized(ask):
    node, change = ask
    told = []
    node.on_finalized = lambda: told.append(node.calls[:])
    assert change(1) and change(3) and not told and change(7)
    assert node.finalized and told == [["setup", "start", "halt", "teardown"]]


def test_a_clock_jump_is_told_once_however_often_the_node_was_configured(make):
    node, jumps = make(), []
    setup = node.setup
    node.setup = lambda: (setup(), node.clocks.on_jump(lambda: jumps.append(1)))
    for _ in range(3):
        assert node.trigger_configure() == SUCCESS and node.trigger_cleanup() == SUCCESS
    assert node.trigger_configure() == SUCCESS
    node.set_parameters([rclpy.parameter.Parameter("use_sim_time", value=True)])
    assert len(jumps) == 1


def test_log_levels_can_be_changed_while_it_runs(make):
    node = make()
    assert "/probe/set_logger_levels" in [name for name, _ in node.get_service_names_and_types()]


@pytest.mark.usefixtures("make")
def test_a_node_that_is_destroyed_while_it_is_active_is_made_safe_and_lets_go():
    node = Probe()
    assert node.bring_up()
    node.destroy_node()
    assert node.calls == ["setup", "start", "halt", "teardown"] and not node.active


def test_what_is_wrong_counts_before_what_it_says_of_itself(make):
    node, clock = make(), []
    node.health = lambda: Health(OK, "fine", {"n": 1})
    node._sim_time = SimpleNamespace(problem=lambda: "".join(clock))
    assert node._report() == Health(OK, "not active")
    clock.append("no /clock")
    assert node._report() == Health(WARN, "no /clock", {})
    assert node.bring_up()
    assert node._report() == Health(ERROR, "no /clock", {"n": 1})
    clock.clear()
    assert node._report() == Health(OK, "fine", {"n": 1})
    for name, problem in (("a", "broke"), ("b", ""), ("c", "hangs")):
        node.watch_thread(SimpleNamespace(name=name, problem=lambda problem=problem: problem))
    assert node._report() == Health(ERROR, "broke; hangs", {"n": 1})
    for name in ("a", "c"):
        node.watch_thread(SimpleNamespace(name=name, problem=lambda: ""))
    assert node._report() == Health(OK, "fine", {"n": 1})


def test_what_a_long_setup_waits_for_is_told_until_it_is_done(make):
    node, told = make(), []
    do = node._do
    node._do = lambda name: (do(name), node.report_progress("loading"), told.append(node._report()))
    node.trigger_configure()
    assert told == [Health(WARN, "not active: loading")] and node._report() == Health(OK, "not active")


def test_shutting_down_stops_what_is_active_and_says_why_and_what_is_inactive_stays(make):
    node = make()
    node.shut_down("early")
    assert node.calls == [] and node._report() == Health(WARN, "not active: early")
    assert node.bring_up()
    node.shut_down("bye")
    node.shut_down("again")
    assert state(node) == "inactive" and node.calls == ["setup", "start", "halt"] and not node.active
    assert node._report() == Health(WARN, "not active: bye")


def test_what_is_owned_is_let_go_of_in_reverse_order_even_if_the_teardown_fails(make):
    node, closed = make(fail={"teardown": RuntimeError("no")}), []
    for k in (1, 2, 3):
        thing = SimpleNamespace(close=lambda k=k: closed.append(k))
        assert node.own(thing) is thing
    counts = lambda: [len(list(found)) for found in (node.subscriptions, node.publishers, node.timers, node.services)]
    before = counts()
    node.own(node.create_subscription(String, "y", lambda _: None, 1))
    node.own(node.create_timer(100.0, lambda: None))
    node.own(node.create_service(Trigger, "z", lambda request, response: response))
    node.own(node.create_publisher(String, "x", 1))
    assert counts() == [n + 1 for n in before]
    with pytest.raises(RuntimeError):
        node._release()
    assert closed == [3, 2, 1] and counts() == before
    node._release()
    assert closed == [3, 2, 1]

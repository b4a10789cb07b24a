import os

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from std_msgs.msg import String

from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Rate
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.parameters import Parameter, ParameterError


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

import os

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from pi0_ros.ros.parameters import Parameter, ParameterError, Parameters

TABLE = (
    Parameter("robot", "", "robot YAML", required=True),
    Parameter("rate", 50.0, "rate [Hz]", low=1.0, high=200.0, live=True),
    Parameter("depth", 3, "rows", low=0, high=10),
    Parameter("method", "a", "how", choices=("a", "b"), live=True),
)


@pytest.fixture
def make():
    rclpy.init(domain_id=1 + os.getpid() % 100)
    nodes = []

    def made(**overrides):
        given = [RosParameter(n, value=v) for n, v in {"robot": "r", **overrides}.items()]
        node = Node("parameters", parameter_overrides=given)
        nodes.append(node)
        return node, Parameters(node, TABLE)

    yield made
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def test_defaults_and_overrides_are_read_by_name(make):
    values = make(depth=4)[1].values()
    assert (values.robot, values.rate, values.depth, values.method) == ("r", 50.0, 4, "a")


def test_a_whole_number_stands_for_a_real_one(make):
    assert make(rate=20)[1].values().rate == 20.0


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("rate", float("nan"), "rate must be a finite number in 1.0 .. 200.0"),
        ("rate", float("inf"), "rate must be a finite number in 1.0 .. 200.0"),
        ("rate", -1.0, "rate must be a finite number in 1.0 .. 200.0"),
        ("rate", "0.04s", "rate is a float, got '0.04s'"),
        ("rate", "", "rate is a float"),
        ("rate", [1.0, 2.0], "rate is a float"),
        ("depth", 11, "depth must be a finite number in 0 .. 10"),
        ("depth", True, "depth is a int, got True"),
        ("method", "c", "method must be one of a, b"),
        ("robot", "", "robot must be given: robot YAML"),
    ],
)
def test_a_bad_value_is_refused_with_name_and_reason(make, name, value, why):
    with pytest.raises(ParameterError, match=why.replace(".", r"\.").replace("[", r"\[")):
        make(**{name: value})[1].values()


@pytest.mark.parametrize("value", [float("nan"), 0.0, 201.0, "fast"])
def test_a_bad_change_is_refused_and_the_old_value_stays(make, value):
    node, parameters = make()
    result = node.set_parameters([RosParameter("rate", value=value)])[0]
    assert not result.successful and "rate" in result.reason
    assert parameters.values().rate == 50.0


def test_once_configured_only_live_parameters_may_change(make):
    node, parameters = make()
    parameters.freeze(True)
    refused = node.set_parameters([RosParameter("depth", value=5)])[0]
    assert not refused.successful and "clean up first" in refused.reason
    assert node.set_parameters([RosParameter("method", value="b")])[0].successful
    parameters.freeze(False)
    assert node.set_parameters([RosParameter("depth", value=5)])[0].successful


def test_descriptions_and_ranges_can_be_looked_up(make):
    node, _ = make()
    told = node.describe_parameter("rate")
    assert told.description == "rate [Hz]" and told.floating_point_range[0].to_value == 200.0
    assert "a, b" in node.describe_parameter("method").additional_constraints


@pytest.mark.parametrize(
    ("low", "high", "good", "bad"),
    [
        (1.0, 200.0, (1.0, 200.0, 77), (0.9, 200.1, -1.0)),
        (1.0, None, (1.0, 1e9), (0.9,)),
        (None, 200.0, (-1e9, 200.0), (200.1,)),
        (None, None, (-1e9, 1e9), ()),
    ],
)
def test_a_number_is_within_the_bounds_that_there_are_and_finite(low, high, good, bad):
    parameter = Parameter("rate", 50.0, "rate [Hz]", low=low, high=high)
    for value in good:
        assert parameter.check(value) == float(value) and type(parameter.check(value)) is float
    for value in bad:
        with pytest.raises(ParameterError, match=f"rate must be in {low} .. {high}, got {value}"):
            parameter.check(value)
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ParameterError, match="rate must be finite"):
            parameter.check(value)


def test_a_description_has_the_range_if_both_ends_are_given():
    def ranges(default, low, high):
        found = Parameter("x", default, "how much", low=low, high=high).descriptor()
        assert found.description == "how much" and found.dynamic_typing and not found.read_only
        floats = [(r.from_value, r.to_value) for r in found.floating_point_range]
        return floats, [(r.from_value, r.to_value, r.step) for r in found.integer_range]

    assert ranges(5.0, 1.5, 9.0) == ([(1.5, 9.0)], []) and ranges(5, 2, 9) == ([], [(2, 9, 1)])
    for default in (5.0, 5):
        for low, high in ((1, None), (None, 9), (None, None)):
            assert ranges(default, low, high) == ([], [])
    assert Parameter("x", "a", "how", choices=("a", "b")).descriptor().additional_constraints == "one of a, b"
    assert Parameter("x", "a", "how").descriptor().additional_constraints == ""


def test_parameters_may_be_set_until_they_are_frozen(make):
    node, parameters = make()
    assert node.set_parameters([RosParameter("depth", value=5)])[0].successful and parameters.values().depth == 5
    parameters.freeze(True)
    assert not node.set_parameters([RosParameter("depth", value=6)])[0].successful
    parameters.freeze(False)
    assert node.set_parameters([RosParameter("depth", value=7)])[0].successful

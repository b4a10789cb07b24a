"""The reference pages say of every declaration what it is, and the declarations are what the code uses."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="needs requirements/docs.lock")
pytest.importorskip("rclpy", reason="the reference is made of the nodes")

import rclpy
from pi0_docs import reference
from pi0_docs.mistakes import MissingDescriptionError, check
from std_srvs.srv import Trigger

from pi0_ros import bringup
from pi0_ros.data import columns
from pi0_ros.data.layout import STANDARD
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.high_level import HighLevelNode
from pi0_ros.nodes.parameter_tables import NODE_NAMES, tables
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.nodes.recorder import RecorderNode
from pi0_ros.nodes.sim_robot import SimRobotNode
from pi0_ros.policy import adapter_keys
from pi0_ros.robot import load_robot, yaml_keys
from pi0_ros.ros import interface
from pi0_ros.ros.frame_source import features_of

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "pi0_ros"
PAGES = reference.pages()
# Words that say nothing by themselves.
SHORTEST = 12


def trees(*folders):
    """(file, syntax tree) of every module in these folders of the package."""
    for folder in folders:
        for file in sorted((SOURCES / folder).rglob("*.py")):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def calls(tree, *names):
    """Calls of functions or methods of these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in names:
                yield node


def texts(call):
    """The texts among a call's arguments; `~/` is the node's own name."""
    return [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]


@pytest.mark.parametrize("node", [*NODE_NAMES])
def test_every_parameter_of_every_node_is_described(node):
    section = PAGES["parameters.md"].split(f"## {node}\n")[1].split("\n## ")[0]
    for parameter in tables()[node]:
        assert f"| `{parameter.name}` |" in section
        assert len(parameter.description) >= SHORTEST, f"{node}: {parameter.name}: {parameter.description!r}"


def test_every_launch_argument_is_described():
    for argument in bringup.ARGUMENTS:
        assert f"`{argument.name}:=`" in PAGES["launch.md"]
        assert len(argument.description) >= SHORTEST


@pytest.mark.parametrize("page", ["robot_yaml.md", "adapter_yaml.md"])
def test_every_key_of_every_section_has_a_row(page):
    sections = yaml_keys.SECTIONS if page.startswith("robot") else adapter_keys.SECTIONS
    for title, _, keys in sections:
        section = PAGES[page].split(f"## {title}\n")[1].split("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [key.name for key in keys]


def test_yaml_sections_are_read_with_declared_keys_alone():
    # A key that a reader names by itself would be accepted and stand on no page.
    kinds, found = {"pi0", "pi05", "pi0_fast"}, 0
    for file, tree in trees("robot", "policy"):
        for call in calls(tree, "section"):
            found += 1
            literal = set(texts(call)) - kinds - {"override"}
            assert not literal, f"{file.name}:{call.lineno}: {literal}: declare it in yaml_keys or adapter_keys"
    assert found > 10


def test_every_topic_that_a_node_opens_is_declared():
    declared, opened = {t.name for t in interface.TOPICS}, set()
    functions = ("create_publisher", "create_subscription", "subscribe_to_any", "listen", "publish", "StateText")
    for file, tree in trees("nodes", "ros"):
        for call in calls(tree, *functions):
            for text in texts(call)[:1]:
                owner = "executor" if "executor" in file.stem else file.stem
                opened.add(text.replace("~/", f"{owner}/"))
    assert opened - declared == set()
    assert {"task", "subtask", "action_chunk", "executor_state", "executor/markers", "/diagnostics"} <= opened


@pytest.fixture
def context():
    """ROS, for nodes that are looked at and not run."""
    rclpy.init()
    yield
    rclpy.shutdown()


def test_every_service_that_a_node_offers_is_declared(context):
    offered = set()
    for kind in (ExecutorNode, PolicyNode, HighLevelNode, RecorderNode, SimRobotNode):
        node = kind()
        try:
            offered |= {s.service_name.lstrip("/") for s in node.services if s.srv_type is Trigger}
        finally:
            node.destroy_node()
    assert offered == {service.path for service in interface.SERVICES}


def value_keys(file):
    """The keys of every dict that is, or joins, the values of a status: `<…>` for what a name fills in."""
    tree = ast.parse((SOURCES / file).read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name in (
            "health",
            "_health",
            "values",
            "executor_values",
            "health_of",
            "policy_values",
            "subtask_values",
        ):
            for node in ast.walk(function):
                keys = node.keys if isinstance(node, ast.Dict) else [node.key] if isinstance(node, ast.DictComp) else []
                yield from (shape(k) for k in keys if isinstance(k, ast.Constant | ast.JoinedStr))
                if isinstance(node, ast.Assign):
                    yield from subscripts(node)


def subscripts(assignment):
    for target in assignment.targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                yield str(node.slice.value)


def shape(key):
    if isinstance(key, ast.Constant):
        return str(key.value)
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "<>" for p in key.values)


def known_keys(node):
    return {re.sub(r"<\w+>", "<>", value.key) for value in interface.DIAGNOSTICS[node]}


@pytest.mark.parametrize(
    ("node", "files"),
    [
        (
            "executor",
            ("ros/executor_black_box.py", "ros/executor_health.py", "ros/motion_report.py", "ros/source_clocks.py"),
        ),
        ("policy", ("ros/policy_health.py", "ros/observation_source.py", "ros/refusals.py")),
        (
            "recorder",
            ("ros/recording_health.py", "ros/bag_recorder.py", "ros/observation_source.py", "ros/refusals.py"),
        ),
        ("high_level", ("ros/subtask_health.py",)),
        ("sim_robot", ("nodes/sim_robot.py",)),
    ],
)
def test_the_values_in_diagnostics_are_those_that_are_declared(node, files):
    from dataclasses import fields

    from pi0_ros.control import Counters

    said = {key for file in files for key in value_keys(file)}
    said |= {f.name for f in fields(Counters)} if node == "executor" else set()
    assert said == known_keys(node)


def test_every_option_of_every_command_is_described():
    rows = re.findall(r"^\| `[^|]*\| [^|]*\| [^|]*\| ([^|]*) \|$", PAGES["commands.md"], re.MULTILINE)
    assert len(rows) > 100
    assert [row for row in rows if len(row) < SHORTEST - 6] == []


def test_the_columns_of_a_recorded_dataset_are_declared():
    robot = load_robot("mobile_bimanual")
    one_camera = replace(robot, cameras=robot.cameras[:1])
    made = {*features_of(one_camera, {"base": (4, 4)}), *STANDARD}
    declared = {column.name.replace("<camera>", "base"): column for column in columns.COLUMNS}
    assert made == set(declared)


def test_every_field_of_every_message_is_described():
    for file in (ROOT / "msg").glob("*.msg"):
        comment, rows, _ = reference.message_fields(file.read_text(encoding="utf-8"))
        assert comment
        assert [name for name, _, meaning in rows if len(meaning) < SHORTEST and name != "`header`"] == []


def test_a_declaration_without_a_description_stops_the_build():
    with pytest.raises(MissingDescriptionError, match="`rate`"):
        check({"parameters.md": "| parameter | meaning |\n| --- | --- |\n| `rate` |  |\n"})

"""What runs is listed once; `ros2 launch` and `pi0 up` say the same."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pi0_ros import bringup

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILE = ROOT / "launch" / "bimanual.launch.py"
OURS = {"robot": "aloha", "checkpoint": "/data/mine"}
SETTINGS = (
    OURS,
    {"sim": "true", "task": "touch every block"},
    {"policy": "none", "robot": "aloha"},
    {**OURS, "record": "somewhere", "record_mode": "policy"},
    {**OURS, "device": "cuda:1", "respawn": "true"},
    {
        **OURS,
        "high_level": "false",
        "namespace": "/left_robot/",
        "use_sim_time": "true",
        "autostart": "false",
        "seed": "7",
    },
)


def executables(**given):
    given = {**OURS, **given}
    return [node.executable for node in bringup.nodes(given)]


def test_the_interface_names_these_arguments():
    promised = {"robot", "checkpoint", "sim", "task", "policy", "high_level", "namespace", "use_sim_time", "autostart"}
    assert promised <= {argument.name for argument in bringup.ARGUMENTS}


def test_on_a_robot_the_executor_and_one_process_for_both_users_of_the_network_run():
    assert executables() == ["executor", "brain"]


def test_simulation_adds_the_robot_and_a_task_adds_who_says_it():
    assert executables(sim="true", task="touch every block") == ["sim_robot", "executor", "brain", "task_source"]


def test_without_a_policy_of_its_own_only_the_executor_runs():
    assert executables(policy="none", high_level="true") == ["executor"]


def test_a_folder_to_record_into_adds_the_recorder_with_robot_checkpoint_and_mode(tmp_path):
    listed = bringup.nodes({**OURS, "record": str(tmp_path / "set"), "record_mode": "corrections"})
    recorder = next(node for node in listed if node.executable == "recorder")
    wanted = {"robot": "aloha", "checkpoint": "/data/mine", "folder": str(tmp_path / "set"), "mode": "corrections"}
    assert wanted.items() <= recorder.parameters.items() and not recorder.required
    assert "picture_frozen" not in recorder.parameters
    simulated = bringup.nodes({"sim": "true", "record": "set"})[-1].parameters
    assert simulated["picture_frozen"] == 0.0 and simulated["folder"].endswith("/set")


def test_without_a_high_level_the_task_itself_is_the_prompt():
    policy = next(node for node in bringup.nodes({**OURS, "high_level": "false"}) if node.executable == "policy")
    assert policy.parameters["prompt"] == "task"


def test_every_node_gets_the_namespace_and_the_clock_it_was_asked_to_use():
    nodes = bringup.nodes({"namespace": "/cell/arm/", "use_sim_time": "TRUE", "sim": "true", "task": "wave"})
    assert {node.namespace for node in nodes} == {"cell/arm"}
    assert all(node.parameters["use_sim_time"] is True for node in nodes)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"checkpont": "/data/mine"}, "there is no argument checkpont; did you mean checkpoint?"),
        ({"robt": "aloha"}, "there is no argument robt; did you mean robot?"),
        ({}, "robot:=… is missing; it has a default only with sim:=true (robot:=mobile_bimanual)"),
        (
            {"robot": "aloha"},
            "checkpoint:=… is missing; it has a default only with sim:=true (checkpoint:=pi05_reach_tiny)",
        ),
        (
            {**OURS, "namespace": "../x y"},
            "namespace:=../x y is no ROS name: letters, digits and _ between slashes, no digit first, at most 200",
        ),
        ({"polcy": "none"}, "there is no argument polcy; did you mean policy?"),
        ({"policy": "cloud"}, "policy:=cloud is not possible; choose from local, none"),
        ({"sim": "yes"}, "sim:=yes is not possible; choose from true, false"),
        ({**OURS, "seed": "many"}, "seed:=many is not a whole number"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named_with_what_is_possible(given, told):
    with pytest.raises(bringup.BringupError) as refused:
        bringup.nodes(given)
    assert str(refused.value) == told


def test_only_a_simulation_has_a_robot_and_a_checkpoint_of_its_own():
    by_name = {node.executable: node.parameters for node in bringup.nodes({"sim": "true"})}
    assert by_name["executor"]["robot"] == by_name["sim_robot"]["robot"] == "mobile_bimanual"
    assert by_name["brain"]["checkpoint"] == "pi05_reach_tiny"
    assert "checkpoint" not in bringup.nodes({"robot": "aloha", "policy": "none"})[0].parameters


def test_with_a_policy_server_the_task_itself_is_the_prompt():
    nodes = {n.executable: n.parameters for n in bringup.nodes({**OURS, "checkpoint": "ws://host:8000"})}
    assert nodes["policy"]["prompt"] == "task" and "brain" not in nodes


def test_only_policy_and_high_level_are_ever_started_again():
    for high_level in ("true", "false"):
        listed = bringup.nodes({"sim": "true", "respawn": "true", "task": "go", "high_level": high_level})
        assert {node.executable for node in listed if node.respawn} == {"brain" if high_level == "true" else "policy"}
    assert not [node for node in bringup.nodes({"sim": "true"}) if node.respawn]


def test_the_first_line_says_whose_robot_and_checkpoint_run():
    line = bringup.summary({**OURS, "device": "cuda:1", "task": "fold"})
    assert line == (
        "robot aloha, checkpoint /data/mine, device cuda:1, subtasks by the network if it gives any, task 'fold', no parameter file"
    )
    assert bringup.summary({"sim": "True"}).startswith(
        "robot mobile_bimanual (simulated), checkpoint pi05_reach_tiny, device cpu, "
    )


def test_words_are_read_as_ros_writes_them():
    assert bringup.parse(["task:=say a:=b", "namespace:="]) == {"task": "say a:=b", "namespace": ""}
    with pytest.raises(bringup.BringupError, match="did you mean robot"):
        bringup.parse(["robot=aloha"])
    with pytest.raises(bringup.BringupError, match="given twice"):
        bringup.parse(["robot:=aloha", "robot:=mobile_bimanual"])


@pytest.mark.parametrize("text", ["touch: the red block", "7", "true", 'say "hi" # not a comment', "größer — 大"])
def test_a_text_reaches_the_node_as_the_text_it_is(text):
    source = next(node for node in bringup.nodes({**OURS, "task": text}) if node.executable == "task_source")
    words = bringup.command(source)
    name, _, value = words[words.index("-p") + 1].partition(":=")
    # rcl reads the value as YAML.
    assert (name, yaml.safe_load(value)) == ("task", text)


def test_a_command_line_carries_namespace_remaps_and_log_level():
    node = replace(
        bringup.nodes({**OURS, "namespace": "a", "log_level": "warn"})[0], remappings=(("odom", "wheel_odom"),)
    )
    line = " ".join(bringup.command(node))
    assert "-m pi0_ros.nodes.executor --ros-args --log-level warn -r __ns:=/a -r odom:=wheel_odom -p " in line


def test_a_device_is_said_only_where_one_is_asked_for():
    by_name = {node.executable: node.parameters for node in bringup.nodes({**OURS, "device": "cuda"})}
    assert by_name["brain"]["device"] == "cuda" and "device" not in by_name["executor"]
    assert not [node for node in bringup.nodes(OURS) if "device" in node.parameters]


def test_a_parameter_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(bringup.BringupError, match="params_file:=.*mine.yaml: there is no such file"):
        bringup.nodes({**OURS, "params_file": str(tmp_path / "mine.yaml")})


def test_every_node_reads_the_parameter_file_and_what_it_says_of_that_node_wins(tmp_path):
    rclpy = pytest.importorskip("rclpy")
    file = tmp_path / "mine.yaml"
    everyone = {"tokenizer": "all", "seed": 3}
    file.write_text(
        yaml.safe_dump({"/**": {"ros__parameters": everyone}, "policy": {"ros__parameters": {"checkpoint": "mine"}}})
    )
    brain = next(n for n in bringup.nodes({**OURS, "params_file": str(file), "seed": "7"}) if n.executable == "brain")
    words = bringup.command(brain)
    context = rclpy.Context()
    rclpy.init(args=words[words.index("--ros-args") :], context=context)
    found = {}
    for name in ("policy", "high_level"):
        node = rclpy.create_node(name, context=context)
        asked = {"tokenizer": "", "checkpoint": "", "seed": 0}
        found[name] = {key: node.declare_parameter(key, value).value for key, value in asked.items()}
        node.destroy_node()
    rclpy.shutdown(context=context)
    assert found["policy"] == {"tokenizer": "all", "checkpoint": "mine", "seed": 7}
    assert found["high_level"] == {"tokenizer": "all", "checkpoint": "/data/mine", "seed": 7}


@pytest.mark.parametrize(
    ("content", "namespace", "told"),
    [
        ("policy: {ros__parameters: {replan_perod: 0.3}}", "", "policy: replan_perod is no parameter; did you mean replan_period?"),
        ("/**: {ros__parameters: {tokeniser: x}}", "", "**: tokeniser is no parameter; did you mean tokenizer?"),
        ("executor: {ros__parameters: {rate: 50.0}}", "left", "executor: no node has that name; it is /left/executor here"),
        ("exeggutor: {ros__parameters: {rate: 50.0}}", "", "exeggutor: no node has that name; there are /executor"),
        ("executor: {rate: 50.0}", "", "executor: key ros__parameters is missing"),
        ("executor:\n  ros__parameters: {rate: 50.0", "", "mine.yaml:2: is not YAML"),
        ("- 1", "", "must be a map of node names"),
    ],
)  # fmt: skip
def test_what_a_parameter_file_says_to_nobody_is_refused(tmp_path, content, namespace, told):
    pytest.importorskip("rclpy")
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(bringup.BringupError) as refused:
        bringup.nodes({**OURS, "params_file": str(file), "namespace": namespace})
    assert told in str(refused.value) and str(file) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "namespace"),
    [
        ("/**: {ros__parameters: {tokenizer: x, rate: 50.0, use_sim_time: false}}", ""),
        ("/left/executor: {ros__parameters: {rate: 50.0}}", "left"),
        ("left: {executor: {ros__parameters: {rate: 50.0}}, policy: {ros__parameters: {margin: 0.2}}}", "/left/"),
        ("/*/policy: {ros__parameters: {margin: 0.2}}", "left"),
        ("/**/policy: {ros__parameters: {autostart: false}}", "a/b"),
        ("recorder: {ros__parameters: {robot: aloha}}", ""),
    ],
)
def test_what_a_parameter_file_says_to_somebody_is_taken(tmp_path, content, namespace):
    pytest.importorskip("rclpy")
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    assert bringup.nodes({**OURS, "params_file": str(file), "namespace": namespace})


WITHOUT = """
import sys
for name in ("torch", "pyarrow", "av", "mujoco", "matplotlib", "safetensors", "tokenizers", "sentencepiece", "scipy"):
    sys.modules[name] = None
from pi0_ros import bringup
try:
    given = bringup.parse(["robot:=aloha", "checkpoint:=ws://policy.local:8000", "params_file:=" + sys.argv[1]])
    print("taken", [node.executable for node in bringup.nodes(given)])
except bringup.BringupError as error:
    print("refused", error)
"""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("/**: {ros__parameters: {adapter: mine.yaml}}", "taken ['executor', 'policy'"),
        ("/recorder: {ros__parameters: {fps: 20}}", "taken ['executor', 'policy'"),
        ("/**: {ros__parameters: {adpater: mine.yaml}}", "refused .*adpater is no parameter; did you mean adapter"),
    ],
)
def test_a_robots_computer_without_the_packages_for_recording_and_networks_reads_its_parameter_file(
    tmp_path, content, told
):
    (tmp_path / "mine.yaml").write_text(content)
    words = [sys.executable, "-c", WITHOUT, str(tmp_path / "mine.yaml")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert re.match(told.replace("[", r"\["), done.stdout), done.stdout + done.stderr


def test_robot_and_checkpoint_may_stand_in_the_parameter_file(tmp_path):
    pytest.importorskip("rclpy")
    file = tmp_path / "mine.yaml"
    file.write_text("/**: {ros__parameters: {robot: aloha, checkpoint: mine}}")
    assert not {"robot", "checkpoint"} & bringup.nodes({"params_file": str(file)})[0].parameters.keys()
    assert f"robot of {file}, checkpoint of {file}" in bringup.summary({"params_file": str(file)})


def declared_parameters(executable):
    """The parameters that a node's process declares, with their types."""
    module = importlib.import_module(f"pi0_ros.nodes.{executable}")
    lifecycle = importlib.import_module("pi0_ros.ros.lifecycle")
    classes = [value for value in vars(module).values() if isinstance(value, type) and hasattr(value, "table")]
    tables = [parameter for listed in classes for parameter in listed.table]
    if any(issubclass(listed, lifecycle.ManagedNode) for listed in classes):
        tables.append(lifecycle.AUTOSTART)
    return {"use_sim_time": bool, **{parameter.name: type(parameter.default) for parameter in tables}}


@pytest.mark.parametrize("given", SETTINGS, ids=str)
def test_every_parameter_that_is_set_is_one_that_the_node_declares(given):
    pytest.importorskip("rclpy")
    for node in bringup.nodes(given):
        declared = declared_parameters(node.executable)
        assert {name: type(value) for name, value in node.parameters.items()}.items() <= declared.items()


def test_the_launch_file_imports_nothing_but_launch_and_the_list():
    tree = ast.parse(LAUNCH_FILE.read_text(encoding="utf-8"))
    modules = {node.module.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules == {"launch", "launch_ros", "pathlib", "pi0_ros"}
    assert [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names] == ["sys"]


def launch_entities(given):
    """The launch file's own actions, and what it starts for these arguments, by the real `launch`."""
    # Not `launch` itself: where it is absent, that name is our folder of launch files.
    pytest.importorskip("launch_ros", reason="launch and launch_ros are not installed: no wheels of them exist")
    launch = importlib.import_module("launch")
    source = importlib.import_module("launch.launch_description_sources").PythonLaunchDescriptionSource
    description = source(str(LAUNCH_FILE)).get_launch_description(launch.LaunchContext())
    context = launch.LaunchContext()
    context.launch_configurations.update(given)
    started = []
    for entity in description.entities:
        started += entity.execute(context) or []
    started = [action for action in started if hasattr(action, "node_executable")]
    return description.get_launch_arguments(), started, context


def test_the_launch_file_declares_the_arguments_of_the_list():
    declared, _, _ = launch_entities(OURS)
    assert [(a.name, tuple(a.choices or ())) for a in declared] == [(a.name, a.spellings) for a in bringup.ARGUMENTS]


@pytest.mark.parametrize("name", ["checkpont", "robt", "sped"])
def test_an_argument_that_launch_would_pass_over_is_refused(name):
    with pytest.raises(bringup.BringupError, match=f"there is no argument {name}"):
        launch_entities({**OURS, name: "x"})


def test_another_launch_file_may_include_ours_and_have_arguments_of_its_own(monkeypatch):
    monkeypatch.setattr("sys.argv", ["ros2", "launch", "mine", "cell.launch.py", "rviz:=true"])
    assert launch_entities({**OURS, "rviz": "true"})[1]
    with pytest.raises(bringup.BringupError, match="did you mean task"):
        launch_entities({**OURS, "rviz": "true", "tasc": "fold"})


@pytest.mark.parametrize("spelling", ["True", "true", "False"])
def test_launch_takes_true_and_false_as_python_writes_them_too(spelling):
    _, started, _ = launch_entities({**OURS, "sim": spelling})
    assert len(started) == (3 if spelling.lower() == "true" else 2)


@pytest.mark.parametrize(("code", "ends"), [(1, 1), (0, 0)])
def test_a_required_process_that_fails_ends_the_launch_with_exit_code_1(code, ends):
    pytest.importorskip("launch_ros", reason="launch and launch_ros are not installed: no wheels of them exist")
    launch = importlib.import_module("launch")
    actions = importlib.import_module("launch.actions")
    react = launch_module().end_all("executor")
    failing = actions.ExecuteProcess(cmd=[sys.executable, "-c", f"raise SystemExit({code})"], on_exit=react)
    other = actions.ExecuteProcess(cmd=[sys.executable, "-c", "import signal; signal.pause()"])
    service = launch.LaunchService()
    service.include_launch_description(launch.LaunchDescription([failing, other]))
    assert service.run() == ends


def launch_module():
    spec = importlib.util.spec_from_file_location("bimanual_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("given", SETTINGS, ids=str)
def test_the_launch_file_starts_the_nodes_of_the_list(given):
    _, started, context = launch_entities(given)
    text = importlib.import_module("launch.utilities")
    listed = [text.normalize_to_list_of_substitutions(node.node_executable) for node in started]
    assert [text.perform_substitutions(context, name) for name in listed] == executables(**given)

"""A missing Python module is one sentence with the command."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pi0_ros.ros.missing import EXTRAS, missing_module

ROOT = Path(__file__).resolve().parents[2]

WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def without(missing, program):
    words = [sys.executable, "-c", WITHOUT.format(missing=missing) + program]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("websockets", "module websockets is missing: pip install mcap mcap-ros2-support msgpack 'websockets>=15'"),
        ("websockets.sync", "module websockets is missing or too old: pip install"),
        ("torch", "module torch is missing: pip install safetensors scipy sentencepiece tokenizers 'torch>=2.5'"),
        ("PIL", "module PIL is missing: pip install daqp 'numpy>=1.26' pillow"),
        ("pyarrow.parquet", "pip install av mcap mcap-ros2-support pyarrow"),
        ("mujoco", "pip install mujoco"),
        ("cv2", "sudo apt install python3-opencv"),
    ],
)
def test_a_module_of_others_is_named_with_the_command(module, told):
    assert told in missing_module(ModuleNotFoundError(f"No module named {module!r}", name=module))


def test_a_module_of_ours_and_any_other_error_are_left_as_they_are():
    assert missing_module(ModuleNotFoundError("No module named 'pi0_ros.typo'", name="pi0_ros.typo")) == ""
    assert missing_module(ImportError("cannot import name 'x'")) == "" and missing_module(ValueError("x")) == ""


def test_the_sentence_and_the_installer_know_the_same_packages():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    lists = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
    }
    for name, packages in EXTRAS.items():
        assert lists[name.upper()] == list(packages), name


@pytest.mark.parametrize(
    ("node", "missing", "told"),
    [("recorder", {"pyarrow"}, "module pyarrow"), ("executor", {"ruckig"}, "module ruckig"), ("policy", {"PIL"}, "module PIL")],
)  # fmt: skip
def test_a_node_that_cannot_be_imported_says_so_in_one_line(node, missing, told):
    pytest.importorskip("rclpy")
    program = f"""
import runpy
sys.argv = ["-m"]
runpy.run_module("pi0_ros.nodes.{node}", run_name="__main__", alter_sys=False)
"""
    done = without(missing, program)
    assert done.returncode == 1 and told in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_the_robots_side_of_a_policy_server_needs_no_torch_and_no_tokenizer():
    pytest.importorskip("rclpy")
    heavy = {"torch", "safetensors", "tokenizers", "sentencepiece", "scipy", "mujoco", "pyarrow", "av", "matplotlib"}
    program = """
import pi0_ros.nodes.executor, pi0_ros.nodes.policy, pi0_ros.nodes.task_source
from pi0_ros.policy import load_policy
from pi0_ros.robot import load_robot
print(type(load_policy("ws://127.0.0.1:1", load_robot("aloha"), adapter="aloha_plain")).__name__)
"""
    done = without(heavy, program)
    assert done.stdout.strip() == "RemotePolicy", done.stderr


def test_a_policy_that_needs_what_is_not_there_is_refused_at_configure_in_one_line():
    pytest.importorskip("rclpy")
    program = """
import rclpy
rclpy.init()
from pi0_ros.nodes.policy import PolicyNode
from rclpy.parameter import Parameter
chosen = {"robot": "mobile_bimanual", "checkpoint": "pi05_reach_tiny"}
node = PolicyNode(parameter_overrides=[Parameter(n, value=v) for n, v in chosen.items()])
print("up" if node.bring_up() else "refused")
import os; sys.stdout.flush(); os._exit(0)
"""
    done = without({"torch"}, program)
    assert done.stdout.strip() == "refused"
    assert "cannot configure: the Python module torch is missing: pip install" in done.stderr
    assert "Traceback" not in done.stderr

"""The parameters that people write into files: their defaults and ranges, and which may be changed while a node runs."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.nodes.parameter_tables import tables
from pi0_ros.nodes.server_parameters import server_settings
from pi0_ros.policy.server_settings import ServerSettings

NETWORK = """
robot: '' required
checkpoint: '' required
adapter: ''
device: 'cpu' required
threads: 1 0..256
backend: 'torch' one of torch onnx
mode: 'auto' one of auto eager compile graph compile_graph kernels
fp8: True
steps: 0 0..100
tokenizer: ''
fast_tokenizer: ''
statistics: ''
asset: ''
pad_state_to: 0 0..1024
api_key: ''
ca_file: ''
proxy: 'none'
answer_timeout: 1.0 0.05..60
first_answer_timeout: 300.0 1..3600
server_wait: 0.0 0..86400
"""
NODES = {
    "policy": NETWORK
    + """
seed: 0 0..2147483647
prompt: 'subtask' one of subtask task
prompt_max_age: 5.0 0..3600
replan_period: 0.4 0.02..60 live
idle_period: 1.0 0.02..60 live
picture_frozen: 1.0 0..3600
margin: 0.1 0..5 live
rtc: 'identity' one of none identity vjp prefix live
requests_at_once: 3 1..8
autostart: True
""",
    "high_level": NETWORK
    + """
picture_frozen: 1.0 0..3600
period: 1.0 0.05..60 live
max_tokens: 32 1..256
agree: 2 1..10
subtask_timeout: 120.0 0..3600 live
subtask_repeats: 4 0..100 live
subtask_retries: 2 0..100 live
autostart: True
""",
    "executor": """
robot: '' required
rate: 0.0 0..200
realtime_priority: 50 0..90
cpu: -1 -1..1023
black_box: '~/.ros/pi0_ros'
black_box_days: 30.0 0..36500
black_box_gb: 0.5 0.001..1000
picture_period: 1.0 0..30
strategy: 'auto' one of auto replace blend ensemble rtc wait
chunk_max_age: 1.0 0.05..60
start_gap: 0.2 0..6.3
limit_margin: 0.1 0..10
reach_time: 0.1 0..10
reach_speed: 3.0 1..1000
engage_time: 1.0 0..60
engage_scale: 0.2 0.01..1
policy_lost: 2.0 0..60
state_grace: 0.15 0..1
second_publisher: 'stop' one of stop warn
estop_required: False
tracking_error: 0.2 0.01..6.3
tracking_error_m: 0.05 0.001..10
tracking_time: 0.2 0..10
tracking_lag: 0.1 0..5
slow_down: 3.0 1..100
chunk_max_ahead: 0.5 0..10
wait_max_age: 30.0 0.05..600
autostart: True
""",
    "recorder": """
robot: '' required
folder: '' required
checkpoint: ''
adapter: ''
picture_frozen: 1.0 0..3600
fps: 0 0..100
mode: 'everything' one of everything corrections policy
before: 2.0 0..30
on_gap: 'split' one of split end
min_episode: 1.0 0..60
min_free: 500 1..10000000
mcap: False
begin: False
autostart: True
""",
    "sim_robot": """
robot: 'mobile_bimanual' required
scene: 'touch_all'
world: ''
seed: 0 0..2147483647
viewer: False
camera_rate: 30.0 0.1..100
watchdog: 0.25 0.02..10
""",
    "task_source": """
task: '' required
""",
}


def told(parameter):
    """A parameter on one line."""
    between = f" {parameter.low:.12g}..{parameter.high:.12g}" if parameter.low is not None else ""
    choices = f" one of {' '.join(parameter.choices)}" if parameter.choices else ""
    marks = " live" * parameter.live + " required" * parameter.required
    return f"{parameter.name}: {parameter.default!r}{between}{choices}{marks}"


@pytest.mark.parametrize("node", NODES)
def test_what_people_write_into_parameter_files_keeps_its_name_default_and_range(node):
    assert sorted(told(p) for p in tables()[node]) == sorted(line for line in NODES[node].splitlines() if line)


def test_every_node_that_is_started_has_its_parameters_here():
    assert set(tables()) == set(NODES)


@pytest.mark.parametrize(
    ("given", "environment", "key"),
    [("mine", "theirs", "mine"), ("", "theirs", "theirs"), ("mine", None, "mine"), ("", None, "")],
)
def test_the_key_of_a_server_is_the_parameters_or_else_the_environments(monkeypatch, given, environment, key):
    monkeypatch.delenv("PI0_API_KEY", raising=False)
    if environment is not None:
        monkeypatch.setenv("PI0_API_KEY", environment)
    values = SimpleNamespace(
        api_key=given, ca_file="ca.pem", proxy="auto", answer_timeout=0.5, first_answer_timeout=7.0, server_wait=3.0
    )
    expected = ServerSettings(key=key, ca_file="ca.pem", proxy="auto", answer=0.5, first_answer=7.0, wait=3.0)
    assert server_settings(values) == expected

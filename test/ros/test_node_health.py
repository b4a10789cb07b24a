"""What the policy, high_level and recorder nodes say of themselves in /diagnostics: every number, and the worst first."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("av")

from pi0_ros.control.planning import Latency
from pi0_ros.policy import PolicyError
from pi0_ros.policy.backends.server_errors import ServerNotReadyError
from pi0_ros.robot import load_robot
from pi0_ros.ros import policy_health, recording_health, subtask_health
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Rate
from pi0_ros.ros.inference_failure import failure_of
from pi0_ros.ros.subtask_loop import SubtaskStatus
from pi0_ros.ros.subtask_watch import SubtaskWatch

ROBOT = load_robot("mobile_bimanual")
REQUIRED = next(c.name for c in ROBOT.cameras if c.required)


def filled(*values):
    latency = Latency()
    for value in values:
        latency.add(value)
    return latency


class Observations:
    """What is seen."""

    def __init__(self):
        self.stale_now, self.odd = {}, []

    def values(self, cameras):
        assert cameras == ("front", "wrist")
        return {"front_hz": 29.5}

    def stale(self, cameras):
        assert cameras == ("front", "wrist")
        return self.stale_now

    def warnings(self, cameras):
        return self.odd


def planning(asked=float("inf"), at_once=1, lasts=0.9, latency=(0.2,)):
    rate = Rate(10.0)
    for at in (31.0, 35.0, 39.0):
        rate.tick(at)
    status = SimpleNamespace(
        failure=None, withheld=None, failures=5, times_withheld=6, rate=rate, inference=filled(0.05, 0.07, 0.3)
    )
    lanes = SimpleNamespace(
        contract=SimpleNamespace(cameras={"front": "a", "wrist": "b"}, origin="a server"),
        at_once=at_once,
        lasts=lasts,
        oldest=lambda: asked,
    )
    texts = SimpleNamespace(words=SimpleNamespace(text="touch it", topic="subtask"))
    inputs = SimpleNamespace(texts=texts, observations=Observations())
    return SimpleNamespace(
        inputs=inputs, status=status, lanes=lanes, session=SimpleNamespace(sequence=8, latency=filled(*latency))
    )


def told(loop, steady=40.0):
    found = policy_health.policy_health(loop, ROBOT, steady)
    return found.level, found.message


def test_the_numbers_of_a_policy_are_in_milliseconds_and_per_second():
    loop = planning(latency=(0.1, 0.2, 0.3))
    values = policy_health.policy_values(loop, 40.0)
    assert values["inference_ms_p50"] == pytest.approx(70.0) and 250.0 < values["inference_ms_p99"] <= 300.0
    assert values["observation_to_chunk_ms_p50"] == pytest.approx(200.0)
    assert 280.0 < values["observation_to_chunk_ms_p95"] <= 300.0
    assert values["chunks_hz"] == pytest.approx(0.3)
    rest = ("prompt", "prompt_source", "chunks", "requests_at_once", "failures", "withheld")
    assert [values[name] for name in rest] == ["touch it", "subtask", 8, 1, 5, 6]


def test_a_policy_tells_the_gravest_thing():
    loop = planning(asked=38.0)
    loop.status.failure = failure_of(ServerNotReadyError("refused"))
    assert told(loop) == (WARN, "the policy server is not there: refused")
    loop.status.failure = failure_of(PolicyError("no memory"))
    assert told(loop) == (ERROR, "inference failed: no memory")
    loop.status.failure = None
    watched = loop.inputs.observations
    watched.stale_now = {"other": "other is late", REQUIRED: f"{REQUIRED} is late"}
    watched.odd = ["front shows one colour"]
    loop.status.withheld = SimpleNamespace(sentence="no task yet")
    assert told(loop) == (ERROR, f"not planning: {REQUIRED} is late")
    del watched.stale_now[REQUIRED]
    assert told(loop) == (WARN, "not planning: no task yet")
    loop.status.withheld = None
    assert told(loop) == (WARN, "planning without other is late")
    watched.stale_now = {}
    assert told(loop) == (WARN, "waiting for a plan of a server for 2.0 s")
    loop.lanes.oldest = lambda: float("inf")
    assert told(loop) == (WARN, "planning, but front shows one colour")
    watched.odd = []
    assert told(loop) == (OK, "planning: touch it")


@pytest.mark.parametrize(
    ("waited", "latency", "at_once", "lasts", "words"),
    [
        (0.79, 0.2, 1, 0.9, ""),
        (0.81, 0.2, 1, 0.9, "waiting for a plan of a server for 0.8 s"),
        (1.9, 1.0, 3, 2.5, ""),  # one of three answers may take twice as long as usual
        (2.1, 1.0, 3, 2.5, "waiting for a plan of a server for 2.1 s"),
        (0.79, 0.3, 3, 2.5, ""),
        (0.81, 0.3, 3, 2.5, "waiting"),
        # A plan of 0.9 s comes after 0.44 s and is followed by the next one 0.44 s later: no gap. With 0.46 s there is one.
        (0.1, 0.44, 1, 0.9, ""),
        (0.1, 0.46, 1, 0.9, "an answer takes 0.46 s and a plan lasts 0.90 s"),
        # Three at once are a third of the answer's time apart: 0.66 + 0.22 s.
        (0.1, 0.66, 3, 0.9, ""),
        (0.1, 0.69, 3, 0.9, "an answer takes 0.69 s and a plan lasts 0.90 s"),
    ],
)
def test_a_slow_answer_and_plans_with_gaps_between_them_are_told(waited, latency, at_once, lasts, words):
    lanes = planning(at_once=at_once, lasts=lasts).lanes
    said = policy_health.slowness(waited, latency, lanes)
    assert said.startswith(words) and bool(said) is bool(words)


def deciding():
    status = SubtaskStatus(
        answers=3, refused=4, failures=5, reason="", last_refused="sing", seconds=0.7, log_probability=-0.2
    )
    policy = SimpleNamespace(contract=SimpleNamespace(gives_subtasks=True, finished=()))
    return SimpleNamespace(
        status=status,
        desk=SimpleNamespace(task="clean up"),
        decision=SimpleNamespace(subtask="pick the cup"),
        policy=policy,
        watch=SubtaskWatch(lambda: None),
    )


def test_what_decides_tells_the_gravest_thing_and_all_numbers():
    loop = deciding()
    wanted = {
        "task": "clean up", "subtask": "pick the cup", "answers": 3, "log_probability": -0.2, "refused": 4,
        "last_refused": "sing", "failures": 5, "seconds": 0.7, "retries": 0,
    }  # fmt: skip
    assert subtask_health.subtask_health(loop, 1).values == wanted
    loop.status.failure, loop.status.reason, loop.status.unfit = "no memory", "no task", "not a subtask: sing"
    said = []
    for name in ("failure", "reason", "unfit"):
        found = subtask_health.subtask_health(loop, 2)
        said.append((found.level, found.message))
        setattr(loop.status, name, "")
    assert said == [
        (ERROR, "decoding failed: no memory"),
        (WARN, "not deciding: no task"),
        (WARN, "not a subtask: sing"),
    ]
    two = subtask_health.subtask_health(loop, 2)
    assert two.level == WARN and two.message.startswith("another node publishes on subtask")
    assert subtask_health.subtask_health(loop, 1).message == "subtask: pick the cup"
    loop.policy.contract.gives_subtasks = False
    plain = subtask_health.subtask_health(loop, 1)
    assert (plain.level, plain.message) == (OK, "the task as it is: clean up")


def recording():
    report = SimpleNamespace(disk_free=7.5e9, cpu=1.25, memory=33e6, disk_full=True, disk_low=True)
    client = SimpleNamespace(alive=False, problem="no space", ended="", report=report, backlog=2, saved=["a", "b", "c"])
    dropped = Counter({"no command": 4, "clock set": 5})
    episodes = SimpleNamespace(client=client, number=6, frames=71, dropped=dropped)
    return SimpleNamespace(recording=True, why="no picture", episodes=episodes)


def test_a_recorder_tells_its_numbers():
    session, folder = recording(), Path("/data/touch")
    assert recording_health.values(session, folder) == {
        "recording": True, "folder": "/data/touch", "episodes": 6, "frames": 71, "saved": 3,
        "frames that could not be taken": 9, "dropped: no command": 4, "dropped: clock set": 5, "backlog": 2,
        "disk_free_mb": 7500.0, "writer_cpu_s": 1.25, "writer_memory_mb": 33.0,
    }  # fmt: skip
    session.episodes.client = None
    found = recording_health.values(session, folder)
    assert found["saved"] == 0 and "backlog" not in found


def test_a_recorder_tells_the_gravest_thing():
    session, folder, client = recording(), Path("/data/touch"), None
    client = session.episodes.client

    def said(problem="the folder is gone", odd=("front repeats", "odom is late")):
        found = recording_health.health(session, folder, problem, list(odd), {"a": 1})
        assert found.values == {"a": 1}
        return found.level, found.message

    assert said() == (ERROR, "the process that writes has ended; deactivate and activate the recorder")
    client.alive = True
    assert said() == (ERROR, "no space")
    client.problem, client.ended = "", "no sound"
    assert said() == (ERROR, "recording has ended: no sound")
    client.ended = ""
    assert said() == (ERROR, "the disk of /data/touch is nearly full: nothing is recorded")
    client.report.disk_full = False
    assert said() == (ERROR, "the folder is gone")
    assert said("") == (WARN, "the disk of /data/touch becomes full: 7500 MB are left")
    client.report.disk_low = False
    assert said("") == (WARN, "no frame: no picture")
    session.why = ""
    assert said("") == (WARN, "front repeats; odom is late")
    assert said("", ()) == (OK, "recording episode 6")
    session.recording, session.why = False, "no picture"
    assert said("", ()) == (OK, "ready")
    session.episodes.client = None
    assert said("", ()) == (OK, "ready")

"""kill -9 of what the executor depends on: it holds, says why, and nothing resumes before a person asks."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from stand_in import Driver, Person

ENOUGH = 70.0
TASK = "touch the red block with the left arm"


def kill(process):
    process.kill()
    assert process.wait(timeout=ENOUGH) == -signal.SIGKILL


def at_rest(driver, groups=("left_arm", "base", "lift")):
    """Whether the newest commands of these groups are all the same."""
    return all(not driver.steps(name)[-10:].any() for name in groups)


def wait_for_chunks(graph, person, count):
    """Wait for so many chunks; nobody plans for an executor that a starved machine has stopped, so that is reset."""
    for _ in range(int(ENOUGH / 5.0)):
        if graph.happens(lambda: len(person.chunks) >= count, 5.0):
            return
        if person.mode == "stopped":
            person.ask("reset")
    raise AssertionError(f"{len(person.chunks)} of {count} chunks; {person.why()}; {person.health}")


def stays_at_rest(graph, driver, person, before, count):
    """Whether, while `count` more chunks come, no command moves and the mode is hold."""
    sent = {group: len(commands) for group, commands in driver.commands.items()}
    wait_for_chunks(graph, person, before + count)
    return person.mode == "hold" and not any(driver.steps(g)[n:].any() for g, n in sent.items())


@pytest.fixture
def thinking(graph, mobile):
    """A stand-in robot, a person, and executor, policy and high_level in processes of their own."""
    pytest.importorskip("torch")
    robot, file = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    graph.start("executor", f"robot:={file}", "policy_lost:=0.5", "tracking_error:=1.0", 'black_box:=""')

    def start(name):
        own = {"policy": ["prompt_max_age:=2.0"], "high_level": ["period:=0.3", "agree:=1"]}[name]
        return graph.start(name, f"robot:={file}", "checkpoint:=pi05_reach_tiny", *own)

    return driver, person, start


def test_a_killed_high_level_and_then_a_killed_policy_end_in_hold_and_their_return_moves_nothing(thinking, graph):
    driver, person, start = thinking
    policy, high_level = start("policy"), start("high_level")
    person.say(TASK)
    wait_for_chunks(graph, person, 2)

    person.insist("autonomy", lambda: person.state.plan_sequence > 0, "a plan")
    kill(high_level)
    person.wait_mode("hold", ENOUGH)
    assert "policy silent" in person.state.reason
    graph.wait(lambda: "is high_level running" in person.health["policy"][1], "the policy to name what is missing")
    graph.wait(lambda: at_rest(driver), "standstill")
    before = len(person.chunks)
    start("high_level")
    assert stays_at_rest(graph, driver, person, before, 2)

    person.insist("autonomy", lambda: person.state.plan_sequence > 0, "a plan")
    kill(policy)
    person.wait_mode("hold", ENOUGH)
    assert "policy silent" in person.state.reason
    graph.wait(lambda: at_rest(driver), "standstill")
    before = len(person.chunks)
    start("policy")
    assert stays_at_rest(graph, driver, person, before, 2)


def test_a_killed_robot_driver_stops_the_executor_and_its_return_needs_a_reset(graph, mobile):
    pytest.importorskip("mujoco")
    robot, file = mobile
    wire, person = graph.node(Driver, robot), graph.node(Person, robot)
    wire.silent = {s.topic for s in robot.state} | {c.name for c in robot.cameras}  # it listens; the simulation speaks
    graph.start("executor", f"robot:={file}", "tracking_error:=1.0", 'black_box:=""')
    sim = graph.start("sim_robot", f"robot:={file}", "camera_rate:=2.0")
    graph.wait(lambda: len(wire.commands["lift"]) > 10 and person.mode == "hold", "hold", ENOUGH)
    kill(sim)
    person.wait_mode("stopped", ENOUGH)
    assert "no fresh measurement" in person.state.reason
    ok, why = person.ask("autonomy")
    assert not ok and "reset first" in why

    sent = len(wire.commands["lift"])
    graph.start("sim_robot", f"robot:={file}", "camera_rate:=2.0")
    graph.wait(lambda: len(wire.commands["lift"]) > sent + 20, "commands for the robot that is back", ENOUGH)
    assert person.mode == "stopped"
    np.testing.assert_array_equal(np.ptp([v for _, v in wire.commands["left_arm"]][sent + 1 :], axis=0), 0.0)
    graph.wait(lambda: person.ask("reset")[0], "a reset")
    person.wait_mode("hold")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pi0_up_goes_on_without_the_brain_and_ends_without_the_robot(graph, mobile):
    pytest.importorskip("mujoco")
    robot, file = mobile
    person = graph.node(Person, robot)
    words = [f"robot:={file}", "sim:=true", f"task:={TASK}"]
    up = subprocess.Popen(
        [sys.executable, "-u", "-m", "pi0_ros.cli", "up", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = listen(up, graph)
    try:
        wait_for_chunks(graph, person, 2)
        person.insist("autonomy", lambda: person.state.plan_sequence > 0, "a plan")
        os.kill(child(up.pid, "brain"), signal.SIGKILL)
        graph.wait(lambda: any("brain ended by SIGKILL and is not restarted" in line for line in said), "the news")
        person.wait_mode("hold", ENOUGH)
        assert person.state.reason
        os.kill(child(up.pid, "sim_robot"), signal.SIGKILL)
        assert up.wait(timeout=ENOUGH) == 1
    finally:
        up.kill()
        up.wait(timeout=ENOUGH)
    graph.wait(lambda: any("sim_robot ended by SIGKILL; stopping the others" in line for line in said), "the news")
    assert not any("executor did not stop by itself" in line for line in said)


def listen(process, graph):
    """What a process prints, line by line."""
    said = []

    def read():
        for line in process.stdout:
            said.append(line.rstrip())
            graph.notify()

    threading.Thread(target=read, daemon=True).start()
    return said


def child(parent, node):
    """The process of a node that `parent` runs."""
    for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"pi0_ros.nodes.{node}" in Path(f"/proc/{number}/cmdline").read_text().split("\0"):
            return int(number)
    raise AssertionError(f"{node} is not running")

"""What keeps the control thread from its period, on real processes and a real graph."""

import fcntl
import os
import subprocess
import sys

import pytest
from rclpy.node import Node
from stand_in import Driver, Person
from std_msgs.msg import String

from pi0_ros.ros.polled_subscriptions import PolledSubscriptions
from pi0_ros.ros.qos import READ, RELIABLE

ENOUGH = 60.0


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="only Linux makes pipes small")
def test_a_log_that_nobody_reads_does_not_stop_the_commands(graph, mobile):
    robot, file = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    command = [sys.executable, "-m", "pi0_ros.nodes.executor", "--ros-args", "-p", f"robot:={file}"]
    process = subprocess.Popen([*command, "-p", 'black_box:=""'], stdout=writing, stderr=writing)
    os.close(writing)
    try:
        graph.wait(lambda: driver.commands["lift"], "commands", ENOUGH)
        for _ in range(60):  # each refusal is a line of some hundred bytes
            assert not person.ask("reset")[0]
        sent = len(driver.commands["lift"])
        graph.wait(lambda: len(driver.commands["lift"]) > sent + 50, "commands beside a full pipe", ENOUGH)
        process.terminate()
        assert process.wait(timeout=ENOUGH) == 0
    finally:
        process.kill()
        process.wait(timeout=ENOUGH)
        full = os.read(reading, 65536)
        os.close(reading)
    assert len(full) > 2048


def test_an_inlet_hands_over_what_came_since_the_last_time_in_order_and_only_when_asked(graph):
    reader, writer = graph.add(Node("reader")), graph.add(Node("writer"))
    heard, ages, refused = [], [], []
    polled = PolledSubscriptions(reader, lambda topic, error: refused.append((topic, error)))

    def hear(message):
        heard.append(message.data)
        ages.append(polled.age)

    subscription = polled.add(String, "words", hear, READ)
    publisher = writer.create_publisher(String, "words", RELIABLE)
    writer.create_timer(0.02, graph.notify)
    graph.wait(lambda: publisher.get_subscription_count() == 1, "a connection")
    for word in ("one", "two", "three"):
        publisher.publish(String(data=word))
        assert publisher.wait_for_all_acked()
    assert not heard  # the graph spins the reader all the while

    polled.take(longest=5.0)
    assert heard == ["one", "two", "three"] and not refused
    assert all(0.0 <= age <= 5.0 for age in ages)
    publisher.publish(String(data="four"))
    assert publisher.wait_for_all_acked()
    polled.drain()
    polled.take(longest=5.0)
    assert heard == ["one", "two", "three"]
    reader.destroy_subscription(subscription)

"""The newest task is what is done, also by whoever starts later."""

from rclpy.node import Node
from stand_in import Person
from std_msgs.msg import String

from pi0_ros.ros.qos import LATCHED

ENOUGH = 60.0


class Late(Node):
    """Somebody who begins to listen to the task only now."""

    def __init__(self, graph):
        super().__init__("late")
        self.heard = []
        self.graph = graph
        self.create_subscription(String, "task", self._on_task, LATCHED)

    def _on_task(self, message):
        self.heard.append(message.data)
        self.graph.notify()


class Passing(Node):
    """Somebody who says a task once and goes, as `ros2 topic pub --once` does."""

    def __init__(self):
        super().__init__("passing")
        self.publisher = self.create_publisher(String, "task", LATCHED)


def test_whoever_starts_later_hears_the_newest_task_and_not_the_one_of_the_launch(graph, mobile):
    graph.node(Person, mobile[0])
    source = graph.start("task_source", "task:='of the launch'")
    first = graph.node(Late)
    graph.wait(lambda: first.heard == ["of the launch"], "the launch's task", ENOUGH)
    passing = graph.add(Passing())
    graph.wait(lambda: passing.publisher.get_subscription_count() >= 2, "listeners", ENOUGH)
    passing.publisher.publish(String(data="of a person"))
    graph.wait(lambda: any("as somebody says" in line for line in source.said), "the source to take it up", ENOUGH)
    passing.destroy_publisher(passing.publisher)
    late = graph.node(Late)
    graph.wait(lambda: late.heard, "a task", ENOUGH)
    assert late.heard == ["of a person"]
    assert graph.end(source) == 0


def test_two_task_sources_do_not_answer_each_other_for_ever(graph, mobile):
    started = [graph.start("task_source", f"task:='{words}'") for words in ("one", "two")]

    def changes():
        return sum("as somebody says" in line for process in started for line in process.said)

    graph.wait(lambda: changes() >= 1, "one to hear the other", ENOUGH)
    assert not graph.happens(lambda: changes() > 4, 2.5)

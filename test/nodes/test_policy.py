"""The policy and high-level nodes on a real graph, with a small network of random weights."""

import json
import re
import shutil
import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from stand_in import Calm, Driver, Person, Speaker
from std_msgs.msg import String

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.high_level import HighLevelNode
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.nodes.weights import Weights
from pi0_ros.policy.plan import Answer
from pi0_ros.robot.spec import Kind
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.conversions import chunk_message
from pi0_ros.ros.lifecycle import HALT
from pi0_ros.ros.qos import LATCHED

ENOUGH = 60.0


@pytest.fixture(scope="session")
def mobile_checkpoint(make_checkpoint, tmp_path_factory):
    return str(make_checkpoint(tmp_path_factory.mktemp("mobile_checkpoint")))


class KeptWeights(Weights):
    """Weights that stay loaded from test to test."""

    def drop(self):
        return None


@pytest.fixture(scope="session")
def weights():
    return KeptWeights()


@pytest.fixture
def stage(graph, mobile, mobile_checkpoint, weights, request):
    """A driver, a person, an executor (with the parameters asked for); `play(...)` adds the policy."""
    robot, file = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="", **getattr(request, "param", {}))

    def play(**parameters):
        given = {"robot": file, "checkpoint": mobile_checkpoint, "prompt": "task", "idle_period": 0.2}
        return graph.managed(partial(PolicyNode, weights=weights), **(given | parameters))

    return driver, person, play


def says(graph, person, word, node="policy"):
    graph.wait(
        lambda: word in person.health.get(node, (0, "", {}))[1], f"{word!r}, it says {person.health.get(node)}", ENOUGH
    )


def test_a_plan_is_stamped_with_its_observation_and_names_every_channel(stage, graph):
    driver, person, play = stage
    play()
    person.say("touch the red block with the left arm")
    graph.wait(lambda: len(person.chunks) > 2, "chunks", ENOUGH)
    chunk = person.chunks[-1]
    assert tuple(chunk.channels) == driver.robot.channel_names
    assert len(chunk.values) % len(chunk.channels) == 0 and np.all(np.isfinite(chunk.values))
    assert chunk.subtask == "touch the red block with the left arm"
    assert re.fullmatch(r"policy#[0-9a-f]{6}", chunk.source)  # the node, and which of its lives
    assert chunk.epoch == person.state.epoch
    stamps = [seconds(c.header.stamp) for c in person.chunks]
    assert stamps == sorted(stamps)
    assert [c.sequence for c in person.chunks] == sorted({c.sequence for c in person.chunks})


def test_a_new_prompt_is_planned_for_at_once_and_an_empty_one_pauses(stage, graph):
    _, person, play = stage
    play(idle_period=60.0)
    says(graph, person, "no task yet")
    assert not person.chunks
    person.say("first")
    graph.wait(lambda: person.chunks and person.chunks[-1].subtask == "first", "a plan for the first", ENOUGH)
    person.say("second")
    graph.wait(lambda: person.chunks[-1].subtask == "second", "a plan for the second", ENOUGH)
    person.say("   ")
    says(graph, person, "no task yet")
    person.say("third")
    graph.wait(lambda: person.chunks[-1].subtask == "third", "a plan for the third", ENOUGH)


def test_a_plan_answers_the_epoch_of_the_executor(stage, graph):
    _, person, play = stage
    play(idle_period=60.0)
    person.say("go")
    graph.wait(lambda: person.chunks, "a plan", ENOUGH)
    before = person.state.epoch
    assert person.ask("autonomy")[0]
    graph.wait(lambda: person.chunks[-1].epoch > before, "a plan for the new epoch", ENOUGH)


def test_once_nothing_is_left_to_do_the_last_plans_end_is_kept_until_there_is_something_again(
    stage, graph, monkeypatch
):
    monkeypatch.setattr("pi0_ros.control.planning.FINISHING", 0.5)
    driver, person, play = stage
    policy = play()
    policy.loop.lanes.policy = Calm(policy.loop.lanes.policy)
    wheels = [c.kind is Kind.VELOCITY for c in driver.robot.channels]

    def still(chunk):
        rows = np.reshape(chunk.values, (-1, len(wheels)))
        return not np.ptp(rows, axis=0).any() and not rows[:, wheels].any()

    person.say("done")
    graph.wait(lambda: person.chunks, "a plan", ENOUGH)
    assert person.ask("autonomy")[0]
    graph.wait(lambda: still(person.chunks[-1]), "a plan that stays", ENOUGH)
    kept = person.chunks[-1].values[: len(wheels)]
    count = len(person.chunks)
    graph.wait(lambda: len(person.chunks) > count + 2, "more of them", ENOUGH)
    assert still(person.chunks[-1]) and np.array_equal(person.chunks[-1].values[: len(wheels)], kept)
    person.say("go")
    graph.wait(lambda: person.chunks[-1].subtask == "go", "a plan for the new task", ENOUGH)
    assert not still(person.chunks[-1])


def test_a_camera_that_is_missing_at_the_start_is_named_and_nothing_is_planned(stage, graph):
    driver, person, play = stage
    driver.silent = {"left_wrist"}
    play()
    person.say("go")
    says(graph, person, "camera left_wrist: no picture yet on left_wrist_camera/image_raw")
    assert person.health["policy"][0] == b"\x02" and not person.chunks
    driver.silent = set()
    graph.wait(lambda: person.chunks, "plans once the camera is there", ENOUGH)


def test_a_camera_that_stops_ends_planning_and_the_robot_holds(stage, graph):
    driver, person, play = stage
    play()
    person.say("go")
    graph.wait(lambda: person.chunks, "plans", ENOUGH)
    driver.silent = {"base"}
    says(graph, person, "camera base: last picture")
    graph.wait(lambda: driver.commands["left_arm"], "commands")
    heard = len(driver.commands["left_arm"])
    graph.wait(lambda: len(driver.commands["left_arm"]) > heard + 20, "more commands")
    # A plan may still have been in the making, but none is of a time that the camera did not see.
    assert seconds(person.chunks[-1].header.stamp) <= driver.seen["base"]
    assert not driver.steps("left_arm")[heard:].any()


def test_a_camera_that_is_not_required_may_be_missing(stage, graph):
    driver, person, play = stage
    driver.silent = {"back"}
    play()
    person.say("go")
    graph.wait(lambda: person.chunks, "plans", ENOUGH)


@pytest.mark.parametrize("spoil", ["encoding", "size", "empty"])
def test_a_picture_that_cannot_be_read_is_named_and_nothing_crashes(stage, graph, spoil):
    driver, person, play = stage

    def spoiled(message):
        if spoil == "encoding":
            message.encoding = "32FC7"
        elif spoil == "size":
            message.width *= 3
        else:
            message.height = message.width = 0
        return message

    driver.pictures["base"] = spoiled
    play()
    person.say("go")
    says(graph, person, "camera base on base_camera/image_raw")
    assert not person.chunks
    driver.pictures.clear()
    graph.wait(lambda: person.chunks, "plans once pictures are good", ENOUGH)


def test_an_inference_that_raises_is_told_and_the_next_one_works(stage, graph):
    _, person, play = stage
    policy = play()
    real, asked = policy.loop.lanes.policy, []

    class Broken:
        def infer(self, *_, **__):
            asked.append(1)
            raise MemoryError("out of memory")

        def new_episode(self):
            return None

    policy.loop.lanes.policy = Broken()
    person.say("go")
    says(graph, person, "inference failed: MemoryError: out of memory")
    policy.loop.lanes.policy = real
    graph.wait(lambda: person.chunks, "plans again", ENOUGH)


class Spoilt:
    """A network that says NaN for one channel, three times."""

    def __init__(self, real):
        self.contract, self.new_episode, self._real, self.left = real.contract, real.new_episode, real, 3

    def infer(self, *args, **kwargs):
        plan = self._real.infer(*args, **kwargs)
        if self.left == 0:
            return plan
        self.left -= 1
        values = np.array(plan.values)
        values[-1, 3] = np.nan
        return replace(plan, values=values)


def test_a_plan_that_is_not_finite_is_told_by_channel_and_never_published(stage, graph):
    _, person, play = stage
    policy = play()
    policy.loop.lanes.policy = spoilt = Spoilt(policy.loop.lanes.policy)
    person.say("go")
    says(graph, person, f"the plan for {policy.robot.channel_names[3]} is not finite")
    graph.wait(lambda: spoilt.left == 0 and len(person.chunks) > 2, "plans again", ENOUGH)
    assert all(np.isfinite(chunk.values).all() for chunk in person.chunks)
    assert person.chunks[0].sequence <= person.chunks[1].sequence - 1


def test_a_checkpoint_for_another_robot_is_refused_with_both_sides_named(graph, mobile, make_checkpoint, tmp_path):
    node = PolicyNode()
    other = str(make_checkpoint(tmp_path, adapter="aloha", horizon=50))
    node.set_parameters([Parameter("robot", value=mobile[1]), Parameter("checkpoint", value=other)])
    assert not node.bring_up()
    assert "channels the policy commands: left_waist" in node.stop_reason
    assert "robot has: left_joint1" in node.stop_reason
    assert not node.active
    node.destroy_node()


def _lose(folder):
    (folder / "norm_stats.json").unlink()


def _cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def _narrow(folder):
    told = json.loads((folder / "norm_stats.json").read_text())
    told["norm_stats"]["state"] = {name: values[:7] for name, values in told["norm_stats"]["state"].items()}
    (folder / "norm_stats.json").write_text(json.dumps(told))


def _garble(folder):
    (folder / "config.json").write_text('{"format": "pi0_ros",')


@pytest.mark.parametrize(
    ("damage", "word"),
    [(_lose, "norm_stats"), (_cut, "model.safetensors"), (_narrow, "different robots"), (_garble, "config.json")],
    ids=["no statistics", "half the weights", "statistics of another width", "half a configuration"],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence_and_never_becomes_active(
    graph, mobile, mobile_checkpoint, tmp_path, damage, word
):
    folder = tmp_path / "checkpoint"
    shutil.copytree(mobile_checkpoint, folder)
    damage(folder)
    node = PolicyNode(parameter_overrides=_given(checkpoint=str(folder), robot=mobile[1]))
    assert not node.bring_up()
    assert not node.active and word in node.stop_reason and "Traceback" not in node.stop_reason
    node.destroy_node()


def test_a_checkpoint_that_is_not_there_is_refused_and_the_node_can_be_configured_again(
    graph, mobile, mobile_checkpoint
):
    node = PolicyNode(parameter_overrides=_given(checkpoint="/nowhere/at/all", robot=mobile[1]))
    assert not node.bring_up()
    assert "/nowhere/at/all" in node.stop_reason
    node.set_parameters([Parameter("checkpoint", value=mobile_checkpoint)])
    assert node.bring_up(), node.stop_reason
    node.shut_down("done")
    node.destroy_node()


class Thinking:
    """A network that is at work until it is let go."""

    def __init__(self, real):
        self.contract, self._real = real.contract, real
        self.asked, self.let_go = threading.Event(), threading.Event()

    def new_episode(self):
        return None

    def _think(self):
        self.asked.set()
        assert self.let_go.wait(ENOUGH)

    def infer(self, *args, **kwargs):
        self._think()
        return self._real.infer(*args, **kwargs)

    def answer(self, *_, **__):
        self._think()
        return Answer("touch the red block with the left arm", 0.0)


def test_a_policy_goes_quiet_while_its_network_is_still_at_work_and_that_plan_is_never_published(stage, graph):
    _, person, play = stage
    policy = play()
    real, policy.loop.lanes.policy = policy.loop.lanes.policy, Thinking(policy.loop.lanes.policy)
    person.say("go")
    assert policy.loop.lanes.policy.asked.wait(ENOUGH)
    before, old = policy.loop.session.sequence, policy.thread
    policy.trigger_deactivate()
    # Activated again meanwhile, it has a new thread, and the old one does not come back to life.
    policy.trigger_activate()
    assert old.alive and policy.thread is not old
    thinking, policy.loop.lanes.policy = policy.loop.lanes.policy, real
    thinking.let_go.set()
    old.stop(ENOUGH)
    assert not old.alive
    graph.wait(lambda: person.chunks and person.chunks[-1].sequence > before + 2, "plans of the new activation", ENOUGH)
    assert [c.sequence for c in person.chunks] == sorted({c.sequence for c in person.chunks})
    newer = policy.thread
    policy.trigger_deactivate()
    planned = policy.loop.session.sequence
    newer.stop(ENOUGH)
    assert not newer.alive and policy.loop.session.sequence == planned


def test_a_plan_that_is_being_sent_while_the_node_is_deactivated_is_out_before_it_is_inactive(
    stage, graph, monkeypatch
):
    _, person, play = stage
    policy = play()
    sending, go_on, inactive = threading.Event(), threading.Event(), threading.Event()

    def slow(*given):
        sending.set()
        assert go_on.wait(ENOUGH)
        return chunk_message(*given)

    monkeypatch.setattr("pi0_ros.ros.plan_loop.chunk_message", slow)
    person.say("go")
    assert sending.wait(ENOUGH)
    threading.Thread(target=lambda: (policy.trigger_deactivate(), inactive.set())).start()
    # Longer than a thread that is still at work is waited for.
    too_early = inactive.wait(3.0 * HALT)
    go_on.set()
    assert inactive.wait(ENOUGH) and not too_early
    graph.wait(lambda: person.chunks, "the plan that was being sent")


def test_a_plan_for_a_subtask_that_was_withdrawn_meanwhile_is_not_published(stage, graph):
    _, person, play = stage
    policy = play(prompt="subtask")
    policy.loop.lanes.policy = network = Thinking(policy.loop.lanes.policy)
    person.say_subtask("go")
    assert network.asked.wait(ENOUGH)
    person.say_subtask("")
    graph.wait(lambda: not policy.loop.inputs.texts.words.text, "the end of the subtask", ENOUGH)
    network.let_go.set()
    person.say_subtask("come")
    graph.wait(lambda: len(person.chunks) > 1, "plans", ENOUGH)
    assert {chunk.subtask for chunk in person.chunks} == {"come"}


@pytest.fixture
def deciding(stage, graph, mobile, mobile_checkpoint, weights):
    """An active high_level whose network is at work, and that network, which thinks until it is let go."""
    _, person, play = stage
    policy = play(prompt="subtask")
    given = _given(robot=mobile[1], checkpoint=mobile_checkpoint, period=0.2)
    node = HighLevelNode(weights=weights, partner=lambda: policy.observations, parameter_overrides=given)
    graph.run(node)
    node.loop.policy = network = Thinking(node.loop.policy)
    person.say("touch every block")
    assert network.asked.wait(ENOUGH)
    return node, network


def test_a_high_level_goes_quiet_while_its_network_is_still_at_work_and_that_text_is_never_published(stage, deciding):
    _, person, _ = stage
    node, network = deciding
    old = node.thread
    node.trigger_deactivate()
    assert old.alive
    network.let_go.set()
    old.stop(ENOUGH)
    assert not old.alive and node.loop.status.answers == 0 and not person.subtasks


class Listener(Node):
    """Hears what is latched on a topic."""

    def __init__(self, graph, topic):
        super().__init__("listener")
        self.heard = []
        self.create_subscription(String, topic, lambda m: (self.heard.append(m.data), graph.notify()), LATCHED)


def test_what_becomes_of_a_plan_after_the_policy_was_deactivated_is_not_told(stage, graph):
    _, person, play = stage
    policy = play()
    policy.loop.lanes.policy = network = Thinking(policy.loop.lanes.policy)
    person.say("go")
    assert network.asked.wait(ENOUGH)
    old = policy.thread
    policy.trigger_deactivate()
    network.let_go.set()
    old.stop(ENOUGH)
    late = graph.node(Listener, "policy_state")
    graph.wait(lambda: late.heard, "the newest state", ENOUGH)
    assert late.heard == ["not active"]


def test_a_high_level_that_is_cleaned_up_while_its_network_is_at_work_ends_without_a_failure(
    deciding,
):
    node, network = deciding
    old = node.thread
    node.trigger_deactivate()
    node.trigger_cleanup()
    network.let_go.set()
    old.stop(ENOUGH)
    assert not old.alive and old.failures == 0


def test_a_subtask_that_is_not_said_again_is_followed_up_to_its_age_and_then_nothing_is_planned(stage, graph):
    driver, person, play = stage
    speaker = graph.node(Speaker, "touch the red block with the left arm")
    play(prompt="subtask", prompt_max_age=1.0)
    graph.wait(lambda: len(person.chunks) > 3, "plans", ENOUGH)
    speaker.silent = True
    says(graph, person, "is high_level running?")
    assert person.health["policy"][0] == b"\x01" and "s old" in person.health["policy"][1]
    planned, sent = len(person.chunks), len(driver.commands["left_arm"])
    graph.wait(lambda: len(driver.commands["left_arm"]) > sent + 100, "commands")
    assert len(person.chunks) == planned
    speaker.silent = False
    graph.wait(lambda: len(person.chunks) > planned, "plans once it is said again", ENOUGH)


class Scripted:
    """A network whose text is given."""

    def __init__(self, real):
        self.contract, self.infer, self.new_episode = real.contract, real.infer, real.new_episode
        self.words, self.log_probability = "touch the red block with the left arm", -0.01

    def answer(self, *_, **__):
        return Answer(self.words, self.log_probability)


def _scripted(graph, person, weights, policy, given):
    """A high level whose network says a script's words, once a plan for them is there."""
    node = HighLevelNode(weights=weights, partner=lambda: policy.observations, parameter_overrides=given)
    assert node.bring_up(), node.stop_reason
    node.loop.policy = network = Scripted(node.loop.policy)
    graph.add(node)
    person.say("touch every block")
    graph.wait(lambda: person.chunks and person.chunks[-1].subtask == network.words, "a plan for the subtask", ENOUGH)
    return node, network


def test_what_the_network_says_becomes_the_subtask_and_the_policy_follows_it(
    stage, graph, mobile, mobile_checkpoint, weights
):
    _, person, play = stage
    policy = play(prompt="subtask")
    given = _given(robot=mobile[1], checkpoint=mobile_checkpoint, period=0.2)
    node, network = _scripted(graph, person, weights, policy, given)
    network.words = ""
    graph.wait(lambda: _refused(person) > 1, "refusals of empty text", ENOUGH)
    assert set(person.subtasks) == {"touch the red block with the left arm"}
    network.words = "done"
    graph.wait(lambda: person.subtasks[-1] == "done", "the next subtask", ENOUGH)
    node.shut_down("done")


def test_an_answer_the_network_is_not_sure_of_is_refused_and_the_last_good_one_stands_for_its_time(
    stage, graph, mobile, mobile_checkpoint, weights
):
    _, person, play = stage
    policy = play(prompt="subtask", prompt_max_age=1.0)
    given = _given(robot=mobile[1], checkpoint=mobile_checkpoint, period=0.2)
    node, network = _scripted(graph, person, weights, policy, given)
    network.log_probability, good, network.words = -2.5, network.words, "touch the blue block with the right arm"
    graph.wait(lambda: _refused(person) > 1, "refusals of unsure answers", ENOUGH)
    assert "not sure (mean log-probability -2.5" in person.health["high_level"][2]["last_refused"]
    says(
        graph, person, "high_level's answers are no subtasks: the network is not sure"
    )  # the policy's own reason, no plans
    assert set(person.subtasks) == {good} == {c.subtask for c in person.chunks}
    network.log_probability = -0.01
    graph.wait(lambda: person.chunks[-1].subtask == network.words, "a plan for the sure answer", ENOUGH)
    node.shut_down("done")


def _refused(person) -> int:
    """Texts that high_level's diagnostics say it refused; none before the first diagnostics."""
    return int(person.health["high_level"][2]["refused"]) if "high_level" in person.health else 0


def _given(**values):
    return [Parameter(n, value=v) for n, v in values.items()]


def test_an_overlong_task_is_refused_and_the_one_before_stands(stage, graph):
    _, person, play = stage
    play()
    person.say("go")
    graph.wait(lambda: person.chunks, "a plan", ENOUGH)
    person.say("x" * 401)
    count = len(person.chunks)
    graph.wait(lambda: len(person.chunks) > count + 2, "more plans", ENOUGH)
    assert {chunk.subtask for chunk in person.chunks} == {"go"}
    person.say("y" * 400)
    graph.wait(lambda: person.chunks[-1].subtask == "y" * 400, "a plan for the longest task", ENOUGH)


def test_an_operators_word_wins_pauses_the_network_and_gives_way_when_it_is_taken_back(
    stage, graph, mobile, mobile_checkpoint, weights
):
    _, person, play = stage
    policy = play(prompt="subtask")
    given = _given(robot=mobile[1], checkpoint=mobile_checkpoint, period=0.2)
    node, network = _scripted(graph, person, weights, policy, given)
    override = person.create_publisher(String, "subtask_override", LATCHED)
    override.publish(String(data="wave the right arm"))
    graph.wait(lambda: person.chunks[-1].subtask == "wave the right arm", "a plan for the operator's word", ENOUGH)
    said = len(person.subtasks)
    graph.wait(lambda: "wave the right arm" in person.health.get("high_level", (0, ""))[1], "the pause", ENOUGH)
    source = lambda: person.health["policy"][2]["prompt_source"]  # diagnostics come once a second
    graph.wait(lambda: source() == "subtask_override", "the source of the prompt", ENOUGH)
    assert len(person.subtasks) <= said + 1
    override.publish(String(data=""))
    graph.wait(lambda: person.chunks[-1].subtask == network.words, "the network's subtask again", ENOUGH)
    node.shut_down("done")


def test_a_checkpoint_that_was_not_trained_to_give_subtasks_passes_the_task_on_and_is_never_asked(
    stage, graph, mobile, mobile_checkpoint, weights
):
    _, person, play = stage
    policy = play(prompt="subtask")
    given = _given(robot=mobile[1], checkpoint=mobile_checkpoint, period=0.2)
    node = HighLevelNode(weights=weights, partner=lambda: policy.observations, parameter_overrides=given)
    real = node.weights.get

    class Untrained(Scripted):
        def __init__(self, one):
            super().__init__(one)
            self.contract = replace(one.contract, subtasks=None)

        def answer(self, *_, **__):
            raise AssertionError("it was asked")

    node.weights = SimpleNamespace(get=lambda *a: Untrained(real(*a)), run=weights.run, drop=lambda: None)
    assert node.bring_up(), node.stop_reason
    graph.add(node)
    person.say("fold the towel")
    graph.wait(lambda: person.chunks and person.chunks[-1].subtask == "fold the towel", "a plan for the task", ENOUGH)
    graph.wait(lambda: person.subtasks.count("fold the towel") > 2, "the task said again while it stands", ENOUGH)
    node.shut_down("done")


class PanicException(BaseException):
    """What libraries in Rust raise (tokenizers, safetensors): no Exception."""


def test_a_panic_of_a_library_is_counted_and_the_next_plan_is_made(stage, graph):
    _, person, play = stage
    policy = play()
    person.say("go")
    graph.wait(lambda: person.chunks, "a plan", ENOUGH)
    real = policy.loop.lanes.policy

    class Panicking:
        contract = real.contract
        new_episode = real.new_episode

        def infer(self, *_, **__):
            raise PanicException("the regex backtracks")

    policy.loop.lanes.policy = Panicking()
    says(graph, person, "inference failed: PanicException: the regex backtracks")
    assert person.health["policy"][0] == b"\x02" and policy.loop.status.failures > 0
    policy.loop.lanes.policy = real
    count = len(person.chunks)
    graph.wait(lambda: len(person.chunks) > count, "a plan again", ENOUGH)


def test_a_thread_that_fails_outside_of_inference_is_told_and_begun_again(stage, graph):
    _, person, play = stage
    policy = play()
    person.say("go")
    graph.wait(lambda: person.chunks, "a plan", ENOUGH)
    look, fail = policy.observations.view, threading.Event()

    def view(*arguments):
        if fail.is_set():
            raise PanicException("out of pictures")
        return look(*arguments)

    policy.observations.view = view
    fail.set()
    says(graph, person, "the thread inference failed")
    assert "out of pictures" in person.health["policy"][1] and person.health["policy"][0] == b"\x02"
    fail.clear()
    count = len(person.chunks)
    graph.wait(lambda: len(person.chunks) > count, "a plan again", ENOUGH)

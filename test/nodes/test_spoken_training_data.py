"""An operator's words from the microphone to the gradient: they drive the low level and become what the high level learns."""

from functools import partial

import numpy as np
import pytest
from stand_in import Calm, Driver, Person
from std_msgs.msg import String

pytest.importorskip("pyarrow")
pytest.importorskip("torch")

from pi0_ros.data.dataset import Dataset
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.nodes.recorder import RecorderNode
from pi0_ros.nodes.weights import Weights
from pi0_ros.ros.qos import LATCHED
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.frames import load_frames
from pi0_ros.train.from_dataset import write_dataset_frames
from pi0_ros.train.settings import TrainSettings

TASK, NETWORKS, OPERATORS = "tidy the table", "touch the blue block", "pick up the red cup"
SIZE, HORIZON = 32, 4


class Backend:
    """The network, which stays where the robot is; remembers the ids that it was given as a prompt."""

    def __init__(self, real):
        self._real, self.prompts = real, []

    def __getattr__(self, name):
        return getattr(self._real, name)

    def actions(self, inputs, *given, **named):
        self.prompts.append(tuple(inputs.prompt.ids))
        return self._real.actions(inputs, *given, **named)


class Stage:
    """Robot, person, executor, policy and recorder: all but the robot and the person are the real ones."""

    def __init__(self, graph, mobile, checkpoint, folder):
        self.graph, (robot, file) = graph, mobile
        self.folder, graph_node = folder, graph.node
        graph_node(Driver, robot, camera_rate=15.0)
        self.person = graph_node(Person, robot)
        self._override = self.person.create_publisher(String, "subtask_override", LATCHED)
        graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="")
        policy = graph.managed(
            partial(PolicyNode, weights=Weights()),
            robot=file, checkpoint=checkpoint, prompt="subtask", prompt_max_age=0.0, idle_period=0.2,
        )  # fmt: skip
        self.policy = policy.loop.lanes.policy
        self.policy._backend = self.backend = Backend(self.policy._backend)
        policy.loop.lanes.policy = Calm(self.policy, reach=0.0)
        self.recorder = graph.managed(RecorderNode, robot=file, folder=str(folder), fps=10, min_episode=0.0)
        graph.wait(lambda: self.recorder.session.episodes.client is not None, "the process that writes")

    def override(self, text):
        self._override.publish(String(data=text))

    def text(self, ids):
        """Ids of a prompt as the text that they are."""
        return self.policy._tokenizer.decode(list(ids))

    def follows(self, words):
        """Until the network itself was given these words, and the plan that it made says so."""
        self.graph.wait(
            lambda: self.person.chunks and self.person.chunks[-1].subtask == words, f"a plan for {words!r}", 60.0
        )
        assert self.text(self.backend.prompts[-1]).startswith(f"Task: {words}, State: ")

    def record(self, words, frames=4):
        """That many more frames while the policy drives and follows these words."""
        self.follows(words)
        episodes = self.recorder.session.episodes
        wanted = episodes.taken + frames
        self.person.insist("autonomy", lambda: episodes.taken >= wanted, "frames")
        self.follows(words)

    def saved(self):
        episodes = self.recorder.session.episodes
        self.graph.wait(lambda: len(episodes.client.saved) >= max(1, episodes.number), "the saved episodes")
        return Dataset(self.folder)


def rows_with(dataset, origin):
    """Frames in which the policy drove, and whose subtask somebody of this origin chose."""
    return np.flatnonzero((dataset.column("subtask_source") == origin) & (dataset.column("driver") == "autonomy"))


def test_an_operators_words_drive_the_low_level_and_are_what_the_high_level_is_trained_to_say(
    graph, mobile, make_checkpoint, tmp_path
):
    stage = Stage(graph, mobile, str(make_checkpoint(tmp_path / "checkpoint")), tmp_path / "set")
    person = stage.person
    person.say(TASK)
    person.say_subtask(NETWORKS)
    assert person.ask("start", "recorder")[0]
    stage.record(NETWORKS)
    stage.override(OPERATORS)
    stage.record(OPERATORS)
    stage.override("")
    stage.record(NETWORKS)
    assert person.ask("success", "recorder")[0]

    dataset = stage.saved()
    spoken, network = rows_with(dataset, "operator"), rows_with(dataset, "network")
    assert len(spoken) and len(network) and network[0] < spoken[0] < spoken[-1] < network[-1]
    assert {dataset.task_of(int(i)) for i in spoken} == set(dataset.column("high_level_target")[spoken]) == {OPERATORS}
    assert {dataset.task_of(int(i)) for i in network} == {NETWORKS}
    assert set(dataset.column("high_level_task")) == {TASK}

    adapter = stage.policy.adapter
    write_dataset_frames(stage.folder, tmp_path / "frames", adapter, SIZE, HORIZON)
    frames = load_frames(tmp_path / "frames" / "shard-00000")
    targets = np.array([frames.texts[i] if i >= 0 else "" for i in frames.high_target])
    index = np.flatnonzero(targets == OPERATORS)
    assert len(index) and frames.has_subtask[index].all()
    maker = ExampleMaker(frames, stage.policy.pipeline, stage.policy._tokenizer, TrainSettings())
    asked = maker.words(index)
    for tokens, mask, learned in zip(asked.inputs.tokens, asked.inputs.token_mask, asked.counts, strict=True):
        assert stage.text(tokens[mask & ~learned].tolist()).startswith(f"Task: {TASK}. Subtask:")
        assert stage.text(tokens[learned].tolist()).strip() == OPERATORS
    shown = maker.actions(index)
    for tokens, mask in zip(shown.inputs.tokens, shown.inputs.token_mask, strict=True):
        assert stage.text(tokens[mask].tolist()).startswith(f"Task: {OPERATORS}, State: ")

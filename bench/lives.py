"""Second lives: every managed node of a whole graph is deactivated and activated, cleaned up and configured, in random order.

`python -m bench lives [--rounds 50] [--seed 0] [--restarts 5] [--quick]`

executor, policy, high_level and recorder each go through `--rounds` round trips of both kinds; their transitions interleave, so
that any of them meets the others in any state. Between two transitions somebody asks for what is possible now and for what is
not, and the simulated robot, which has no lifecycle, is ended and started again. What is looked at:

* every transition and every request is answered, and as the state allows;
* nothing of a former life remains: no chunk, subtask or command after a node was deactivated, no chunk of a policy that planned
  before, no epoch of the executor twice, HOLD after each activation, the topics and services of a node as in its first life;
* now and then all are active: a plan is followed, and an episode is recorded under a note of its own. In the end the dataset
  is one, with these episodes once and in order;
* in the end every node is shut down by request, and its process ends with code 0.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import rclpy
from lifecycle_msgs.srv import ChangeState
from pi0_ros.msg import ActionChunk, ExecutorState
from std_msgs.msg import String

from bench._stack import BenchError, Stack, Watcher, patient_robot, prepare
from bench.lifecycle import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, TABLE
from bench.soak import growth, process_sample
from pi0_ros import bringup
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.recording_process import lock_dataset
from pi0_ros.robot import Robot, load_robot
from pi0_ros.ros.conversions import MODE_NAMES
from pi0_ros.ros.qos import LATCHED, RELIABLE

NODES = ("executor", "policy", "high_level", "recorder")
PROCESS = {"executor": "executor", "policy": "brain", "high_level": "brain", "recorder": "recorder"}
ROUND_TRIPS = ((DEACTIVATE, ACTIVATE), (DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE))
SHUT_DOWN = {"unconfigured": 5, "inactive": 6, "active": 7}
REQUESTS = {
    "executor": ("hold", "stop", "reset", "autonomy", "teleop"),
    "recorder": ("start", "stop", "discard", "success", "failure"),
}
TASKS = ("touch every block", "touch the red block with the left arm", "")
EVERYTHING_EVERY = 60
"""Transitions after which all nodes are made active and have to work together."""
ANSWER, ENDPOINTS, ENGAGE, SAVED = 60.0, 20.0, 60.0, 60.0  # [s]
CAMERA_RATE = 12.0  # [Hz] of the simulated cameras: pictures cost most of the time, and this is not about them
FRAMES = 8
"""Frames that an episode of a check has at least."""


class Onlooker(Watcher):
    """Also changes the state of any node, and keeps what would betray a former life."""

    def __init__(self, robot: Robot) -> None:
        self.epochs: list[int] = []
        self.sources: list[tuple[float, str]] = []
        self.subtasks: list[tuple[float, str]] = []
        self.recording: dict[str, object] = {}
        super().__init__(robot, ["base"], name="onlooker")
        self.create_subscription(ActionChunk, "action_chunk", self._on_chunk, RELIABLE)
        self.create_subscription(String, "subtask", self._on_subtask, RELIABLE)
        self.create_subscription(String, "recorder/state", self._on_recording, LATCHED)
        self._note = self.create_publisher(String, "recorder/note", RELIABLE)

    def _on_state(self, message: ExecutorState) -> None:
        if not self.epochs or self.epochs[-1] != message.epoch:
            self.epochs.append(message.epoch)
        super()._on_state(message)

    def _on_chunk(self, message: ActionChunk, info: dict[str, int]) -> None:
        self.sources.append((info["source_timestamp"] * 1e-9, message.source))
        self.notify()

    def _on_subtask(self, message: String, info: dict[str, int]) -> None:
        self.subtasks.append((info["source_timestamp"] * 1e-9, message.data))
        self.notify()

    def _on_recording(self, message: String) -> None:
        self.recording = json.loads(message.data)
        self.notify()

    def note(self, text: str) -> None:
        """Say something of the episode that is being recorded."""
        self._note.publish(String(data=text))

    def change(self, node: str, number: int) -> bool:
        """Ask for a transition; whether it was made."""
        name = f"{node}/change_state"
        client = self._asked.get(name) or self._asked.setdefault(name, self.create_client(ChangeState, name))
        self.wait(client.service_is_ready, f"{node}'s lifecycle", ANSWER)
        request = ChangeState.Request()
        request.transition.id = number
        future = client.call_async(request)
        future.add_done_callback(lambda _: self.notify())
        self.wait(future.done, f"an answer of {node} to transition {number}", ANSWER)
        return bool(future.result().success)

    def endpoints(self, node: str) -> frozenset[tuple[str, str]]:
        """What a node has in the graph: kinds and names of topics and services, as the network knows them now."""
        looks = {
            "publisher": self.get_publisher_names_and_types_by_node,
            "subscription": self.get_subscriber_names_and_types_by_node,
            "service": self.get_service_names_and_types_by_node,
        }
        return frozenset((kind, name) for kind, look in looks.items() for name, _ in look(node, "/"))


class Lives:
    """The nodes' states and what was found wrong. `findings` are sentences."""

    def __init__(self, eye: Onlooker, stack: Stack, chance: random.Random) -> None:
        self._eye, self._stack, self._chance = eye, stack, chance
        self.state = dict.fromkeys(NODES, "active")
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self.slowest: dict[str, float] = defaultdict(float)
        self.notes: list[str] = []
        self._known: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}
        self._quiet_since: dict[str, float] = {}
        # High level has an observation source of its own if the policy, whose source it would use, had none when it was configured.
        topics = [camera.topic for camera in eye.robot.cameras] + [source.topic for source in eye.robot.state]
        self._looked_through = frozenset(("subscription", f"/{topic.lstrip('/')}") for topic in topics)

    def found(self, sentence: str) -> None:
        """Something is wrong; the run goes on."""
        self.findings.append(sentence)
        print(f"lives: {sentence}", file=sys.stderr, flush=True)

    def change(self, node: str, number: int) -> None:
        """One transition, possible or not, and what it must lead to."""
        before, after = self.state[node], TABLE.get((self.state[node], number))
        epochs, asked, began = len(self._eye.epochs), time.time(), time.monotonic()
        done = self._eye.change(node, number)
        self.slowest[f"{node} {number}"] = max(self.slowest[f"{node} {number}"], time.monotonic() - began)
        self.counts[f"{node} {before} {number}" if after else "impossible transitions"] += 1
        if done != (after is not None):
            self.found(f"{node} {before}: transition {number} answered {done}")
        if not done or after is None:
            return
        self.state[node] = after
        if number == DEACTIVATE:
            self._quiet_since[node] = time.time()
        elif number == ACTIVATE:
            self._must_have_been_quiet(node, asked)
            if node == "executor":
                self._new_life_of_the_executor(epochs)

    def _must_have_been_quiet(self, node: str, until: float) -> None:
        """Nothing was sent between a deactivation and the request to be active again; nor later in a former life's name."""
        eye = self._eye
        sent = {"policy": eye.sources, "high_level": eye.subtasks, "executor": eye.commands["base"]}.get(node)
        since = self._quiet_since.pop(node, None)
        if sent is None or since is None:
            return
        # A high level that is not active still takes back words that a new task has made old: "" is no subtask.
        late = [what for at, what in list(sent) if since < at < until and what]
        if node == "policy":
            former = {source for at, source in list(sent) if at <= since}
            late += [source for at, source in list(sent) if at >= until and source in former]
        if late:
            self.found(f"{node}: sent {len(late)} times after it was deactivated, first {late[0]!r}")
        del sent[:-1]

    def _new_life_of_the_executor(self, epochs: int) -> None:
        eye = self._eye
        if not eye.happens(lambda: len(eye.epochs) > epochs, ANSWER):
            self.found(f"executor: no epoch of its own {ANSWER:g} s after it was activated")
            return
        first = next(message for _, message in reversed(eye.states) if message.epoch == eye.epochs[epochs])
        if MODE_NAMES[first.mode] not in ("hold", "stopped") or first.plan_left > 0.0:
            self.found(f"executor: begins its life in {MODE_NAMES[first.mode]}, {first.plan_left:g} s of a plan left")
        if len(set(eye.epochs)) != len(eye.epochs):
            self.found(f"executor: an epoch came back: {eye.epochs[-1]}")

    def look_at_the_graph(self, node: str) -> None:
        """A node has what it had when it first was in this state."""
        key, eye = (node, self.state[node]), self._eye
        looked_through = self._looked_through if node == "high_level" else frozenset()
        endpoints = lambda: eye.endpoints(node) - looked_through
        if key not in self._known:
            # Discovery takes a moment; what does not change for a second counts.
            seen, end = endpoints(), time.monotonic() + 1.0
            while time.monotonic() < end:
                now = endpoints()
                if now != seen:
                    seen, end = now, time.monotonic() + 1.0
                eye.happens(lambda: False, 0.1)
            self._known[key] = seen
            return
        end = time.monotonic() + ENDPOINTS
        while (now := endpoints()) != self._known[key]:
            if time.monotonic() > end:
                more, less = sorted(now - self._known[key]), sorted(self._known[key] - now)
                self.found(f"{node} {self.state[node]}: has {more} more and {less} less than the first time")
                return
            eye.happens(lambda: False, 0.1)

    def ask_something(self) -> None:
        """A request at random; who is not active refuses."""
        node = self._chance.choice(("executor", "recorder", "task", "sim_robot"))
        if node == "task":
            self._eye.say(self._chance.choice(TASKS))
            return
        request = "reset" if node == "sim_robot" else self._chance.choice(REQUESTS[node])
        granted, why = self._eye.ask(f"{node}/{request}")
        self.counts["requests"] += 1
        if node in self.state and granted and self.state[node] != "active":
            self.found(f"{node} {self.state[node]}: {request} was granted: {why}")
        if not why and not granted:
            self.found(f"{node}: {request} was refused without a reason")

    def restart_robot(self) -> None:
        """End the simulated robot, once it works, and start it again."""
        self._eye.wait(partial(self._eye.health.__contains__, "sim_robot"), "sim_robot's diagnostics")
        code = self._stack.end("sim_robot")
        self.counts["restarts of sim_robot"] += 1
        if code:
            self.found(f"sim_robot ended with {code}")
        self._stack.start("sim_robot")
        self._eye.health.pop("sim_robot", None)

    def work_together(self, number: int) -> None:
        """All active: a plan is followed, and an episode is recorded under a note. Then every node is as it was."""
        before = dict(self.state)
        for node in NODES:
            for transition, state in ((CONFIGURE, "unconfigured"), (ACTIVATE, "inactive")):
                if self.state[node] == state:
                    self.change(node, transition)
            if self.state[node] == "active":
                self.look_at_the_graph(node)
        self._record_an_episode(f"check {number}")
        for node, state in before.items():
            for transition, active_or_inactive in ((DEACTIVATE, "active"), (CLEANUP, "inactive")):
                if self.state[node] != state and self.state[node] == active_or_inactive:
                    self.change(node, transition)

    def _record_an_episode(self, name: str) -> None:
        eye = self._eye
        eye.say("touch every block")
        eye.ask("recorder/discard")
        eye.engage(ENGAGE)
        granted, why = eye.ask("recorder/start")
        if not granted:
            self.found(f"{name}: recorder/start: {why}")
            return
        taken = lambda: int(eye.health.get("recorder", ("", {}))[1].get("frames", 0)) >= FRAMES
        if not eye.happens(taken, ENGAGE):
            self.found(f"{name}: no {FRAMES} frames: {eye.health.get('recorder')}")
        eye.note(name)
        granted, why = eye.ask("recorder/success")
        self.counts["checks"] += granted
        if granted:
            self.notes.append(name)
        else:
            self.found(f"{name}: recorder/success: {why}")
        eye.ask("executor/hold")

    def shut_down(self) -> None:
        """Every node by a request; their processes end with 0."""
        for node in NODES:
            if not self._eye.change(node, SHUT_DOWN[self.state[node]]):
                self.found(f"{node} {self.state[node]}: shutdown was refused")
        for name in dict.fromkeys(PROCESS.values()):
            code = self._stack.wait_for_end(name)
            if code != 0:
                self.found(f"{name}: " + (f"ended with {code}" if code is not None else "is finalized and runs on"))


def transitions(rounds: int, chance: random.Random) -> list[tuple[str, int]]:
    """(node, transition) of `rounds` round trips of both kinds of every node, interleaved at random."""
    waiting: dict[str, list[int]] = {}
    for node in NODES:
        trips = [trip for trip in ROUND_TRIPS for _ in range(rounds)]
        chance.shuffle(trips)
        waiting[node] = [number for trip in trips for number in trip][::-1]
    order = []
    while any(waiting.values()):
        node = chance.choice([n for n, numbers in waiting.items() for _ in numbers])
        order.append((node, waiting[node].pop()))
    return order


def judge_dataset(folder: Path, notes: Sequence[str]) -> tuple[list[str], dict[str, float]]:
    """What is wrong with a dataset in which these notes have been given, one an episode; and its size."""
    lock_dataset(folder, SAVED).close()  # the process that writes saves what it has, also after the recorder's end
    with Dataset(folder) as dataset:
        episodes, frames = dataset.layout.episodes, len(dataset)
    by_number = EpisodeLog(folder).read()
    there = [note["note"] for _, note in sorted(by_number.items()) if note.get("note") in set(notes)]
    wrong = []
    if there != list(notes):
        wrong.append(f"the dataset has the notes {there}, given were {list(notes)}")
    if [e.index for e in episodes] != list(range(len(episodes))):
        wrong.append(f"its episodes have the numbers {[e.index for e in episodes]}")
    if sum(e.stop - e.start for e in episodes) != frames:
        wrong.append(f"its episodes have {sum(e.stop - e.start for e in episodes)} frames, its table {frames}")
    short = [
        e.index for e in episodes if by_number.get(e.index, {}).get("note") in set(notes) and e.stop - e.start < FRAMES
    ]
    if short:
        wrong.append(f"episodes {short} are shorter than what had been seen")
    return wrong, {"episodes in the dataset": len(episodes), "frames in the dataset": frames}


def main(argv: Sequence[str]) -> int:
    """0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="bench lives", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=5, help="how often the simulated robot is started again")
    parser.add_argument("--quick", action="store_true", help="two round trips of each kind")
    args = parser.parse_args(argv)
    prepare()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder, params = Path(scratch) / "dataset", Path(scratch) / "params.yaml"
        parameters = {"/**": {"black_box": str(Path(scratch) / "boxes")}, "sim_robot": {"camera_rate": CAMERA_RATE}}
        params.write_text(json.dumps({name: {"ros__parameters": values} for name, values in parameters.items()}))
        robot = str(patient_robot(Path(scratch)))  # a busy machine must not end autonomy: this is not about time
        arguments = {"sim": "true", "robot": robot, "checkpoint": "pi05_reach_tiny"}
        arguments |= {"record": str(folder), "params_file": str(params)}
        stack, eye = Stack(bringup.nodes(arguments)), Onlooker(load_robot("mobile_bimanual"))
        lives, samples = Lives(eye, stack, chance), defaultdict(list)
        order = transitions(2 if args.quick else args.rounds, chance)
        restarts = set(chance.sample(range(len(order)), min(args.restarts, len(order))))
        began = time.monotonic()
        try:
            stack.start()
            for node in NODES:
                eye.wait(partial(eye.health.__contains__, node), f"{node}'s diagnostics")
            lives.work_together(0)
            for step, (node, number) in enumerate(order, 1):
                _one_step(lives, chance, node, number)
                if step - 1 in restarts:
                    lives.restart_robot()
                if step % EVERYTHING_EVERY == 0 or step == len(order):
                    lives.work_together(step)
                    eye.forget()
                    for name, pid in stack.processes().items():
                        samples[name].append(process_sample(pid))
            lives.shut_down()
        except (BenchError, KeyboardInterrupt) as problem:
            lives.found(f"given up: {problem!r}")
        ended = stack.ended()
        stack.stop()
        eye.close()
        wrong, size = judge_dataset(folder, lives.notes)
        for sentence in wrong:
            lives.found(sentence)
    _tell(lives, samples, {"minutes": (time.monotonic() - began) / 60.0, **size})
    print(f"lives: ended: {ended}", file=sys.stderr)
    rclpy.try_shutdown()
    return int(bool(lives.findings))


def _one_step(lives: Lives, chance: random.Random, node: str, number: int) -> None:
    """A transition, with what is not possible before it and requests after it."""
    if chance.random() < 0.15:
        impossible = [n for n in (CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE) if (lives.state[node], n) not in TABLE]
        lives.change(node, chance.choice(impossible))
    lives.change(node, number)
    if chance.random() < 0.5:
        lives.ask_something()
    if chance.random() < 0.1:
        lives.look_at_the_graph(node)


def _tell(lives: Lives, samples: dict[str, list[dict[str, float]]], results: dict[str, float]) -> None:
    """Print one JSON object a line."""
    for name, series in sorted(samples.items()):
        for key in series[0]:
            values = [sample[key] for sample in series]
            kept = values[len(values) // 5 :]
            slope = growth(range(len(kept)), kept) / 3600.0 * 100.0 / EVERYTHING_EVERY
            results |= {f"{name} {key} first": values[0], f"{name} {key} last": values[-1]}
            results |= {f"{name} {key} growth in 100 transitions": slope}
    results |= {f"times: {what}": count for what, count in sorted(lives.counts.items())}
    results |= {f"slowest {what}": seconds for what, seconds in sorted(lives.slowest.items())}
    results["found"] = len(lives.findings)
    for metric, value in results.items():
        print(json.dumps({"bench": "lives", "metric": metric, "value": round(value, 2), "unit": "1"}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

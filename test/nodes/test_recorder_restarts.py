"""A recorder that ends, is killed or comes back as another robot's: one dataset goes on, or nothing is added to it."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from rclpy.parameter import Parameter
from stand_in import Driver, Person

pytest.importorskip("pyarrow")

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.recording_process import lock_dataset
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.recorder import RecorderNode
from pi0_ros.ros.lifecycle import SUCCESS

FPS = 10


def children(number):
    """Processes that a process has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == number:
            found.append(int(place.name))
    return found


class Site:
    """A robot that is driven, and recorders of it, one after the other, as processes."""

    def __init__(self, graph, mobile, folder):
        self.graph, (robot, self.file) = graph, mobile
        self.folder = folder
        self.driver, self.person = graph.node(Driver, robot, camera_rate=15.0), graph.node(Person, robot)
        graph.managed(ExecutorNode, robot=self.file, realtime_priority=0, black_box="")
        graph.wait(lambda: self.driver.commands["lift"] and self.person.state is not None, "commands")
        self.person.say("touch the red block")

    def start(self):
        self.person.health.pop("recorder", None)
        words = [f"robot:={self.file}", f"folder:={self.folder}", f"fps:={FPS}", "min_episode:=0.0"]
        process = self.graph.start("recorder", *words)
        self.graph.wait(lambda: "recorder" in self.person.health, "the recorder")
        return process

    def value(self, name):
        return int(self.person.health["recorder"][2].get(name, 0))

    def record(self, frames):
        """Ask for an episode, and wait until it has that many frames."""
        self.graph.wait(lambda: self.person.ask("start", "recorder")[0] or self.value("frames"), "an episode")
        self.graph.wait(lambda: self.value("frames") >= frames, "frames")

    def written(self):
        """Whole rows of the running episode that are on the disk."""
        rows = (self.folder / ".recording").glob("*/rows.jsonl")
        return max((file.read_bytes().count(b"\n") for file in rows), default=0)


def test_three_lives_of_a_recorder_make_one_dataset_also_where_one_was_killed_with_all_it_had(graph, mobile, tmp_path):
    site = Site(graph, mobile, tmp_path / "set")
    first = site.start()
    site.record(2)
    assert site.person.ask("success", "recorder")[0]
    assert graph.end(first) == 0

    second = site.start()
    assert site.value("episodes") >= 1
    site.record(3)
    graph.wait(lambda: site.written() >= 3, "frames on the disk")
    for number in (*children(second.pid), second.pid):
        os.kill(number, signal.SIGKILL)
    assert second.wait(timeout=40.0) == -signal.SIGKILL

    third = site.start()
    site.record(3)
    assert site.person.ask("failure", "recorder")[0]
    assert graph.end(third) == 0
    lock_dataset(site.folder, 40.0).close()  # as soon as the process that writes has saved all

    read, notes = Dataset(site.folder), EpisodeLog(site.folder).read()
    count = len(read.episodes)
    assert count >= 3 and not list((site.folder / ".recording").glob("*/"))
    assert [e.index for e in read.episodes] == list(range(count))
    np.testing.assert_array_equal(read.column("index"), np.arange(len(read)))
    for episode in read.episodes:
        rows = slice(episode.start, episode.stop)
        np.testing.assert_allclose(read.column("timestamp")[rows], np.arange(episode.length) / FPS, atol=1e-6)
        np.testing.assert_allclose(np.diff(read.column("stamp")[rows]), 1.0 / FPS, atol=1e-5)
        assert [p.mean() > 60 for p in read.pictures("base", episode.index)] == [True] * episode.length
    assert (np.diff([read.column("stamp")[e.start] for e in read.episodes]) > 0).all()
    killed = [n for n in range(count) if notes[n].get("recovered")]
    assert len(killed) == 1 and read.episodes[killed[0]].length >= 3 - 1  # the pictures of a last one may lack
    outcomes = [notes[n]["outcome"] for n in range(count) if notes[n].get("outcome")]
    assert outcomes == ["success", "failure"] and notes[count - 1]["outcome"] == "failure"


CHANGES = {
    "the robot is mobile_twin, and mobile_bimanual in the dataset": ("robot: mobile_bimanual", "robot: mobile_twin"),
    "observation.images.left_hand is only in the new frames": ("  left_wrist:", "  left_hand:"),
}


def test_a_changed_robot_is_refused_with_what_differs_and_nothing_is_added(graph, mobile, tmp_path):
    site = Site(graph, mobile, tmp_path / "set")
    recorder = graph.managed(RecorderNode, robot=site.file, folder=str(site.folder), fps=FPS, min_episode=0.0)
    session = recorder.session
    assert site.person.ask("start", "recorder")[0]
    graph.wait(lambda: session.episodes.frames >= 2, "frames")
    assert site.person.ask("stop", "recorder")[0]
    graph.wait(lambda: session.episodes.client.saved, "the episode")
    assert recorder.trigger_deactivate() == recorder.trigger_cleanup() == SUCCESS

    before = (site.folder / "meta/info.json").read_bytes()
    changed = tmp_path / "changed.yaml"
    for told, (old, new) in CHANGES.items():
        text = Path(site.file).read_text()
        assert old in text
        changed.write_text(text.replace(old, new))
        given = {"robot": str(changed), "folder": str(site.folder), "fps": FPS}
        other = RecorderNode("other", parameter_overrides=[Parameter(n, value=v) for n, v in given.items()])
        assert not other.bring_up()
        other.destroy_node()
        assert told in other.stop_reason and other.stop_reason.endswith("give a new folder")
        assert "\n" not in other.stop_reason
        assert (site.folder / "meta/info.json").read_bytes() == before

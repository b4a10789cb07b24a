"""Episodes of a recorder in virtual time: what is missing, who drives, what is said; and where its frames come from."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("av")

from pi0_ros.data.errors import DataError
from pi0_ros.data.frame_selection import RecordMode
from pi0_ros.data.recording_process import RecordingSettings, Report
from pi0_ros.ros.command_history import CommandHistory
from pi0_ros.ros.frame_source import DropCause, Missing, SourceFrame, between
from pi0_ros.ros.recording_session import OnGap, RecordingSession, SessionSettings
from pi0_ros.ros.spoken_words import Origin, WordHistory, words_of

FPS = 10


class Source:
    """A world with a picture every 1/30 s up to 40 ms ago, in which some moments are missing."""

    def __init__(self):
        self.now, self.gone, self.driver = 100.0, (), lambda moment: "hold"
        self.restarts = 0

    def newest(self):
        seen = math.floor((self.now - 0.04) * 30) / 30
        return Missing(DropCause.OBSERVATION, "no picture") if self._missing(seen) else seen

    def reaches(self, moment):
        return moment <= self.now - 0.04

    def _missing(self, moment):
        return any(first <= moment <= last for first, last in self.gone)

    def at(self, moment, features):
        if self._missing(moment):
            return Missing(DropCause.OBSERVATION, "no picture")
        row = {
            "observation.state": np.array([moment, 2 * moment], np.float32),
            "action": np.array([moment], np.float32),
            "stamp": np.array([moment]),
            "task": "touch",
        }
        return SourceFrame(row, {"eye": np.zeros((2, 2, 3), np.uint8)}, self.driver(moment))


class Client:
    """The process that writes, seen from here."""

    def __init__(self, tmp_path):
        self.settings = RecordingSettings(tmp_path, FPS, {}, "robot", 4, 0)
        self.report, self.ended, self.backlog = Report(expected=3), "", 0
        self.episodes, self.notes, self.labels, self.written = [[]], [], [], True

    def begin(self, note):
        self.began = note

    def frame(self, row, pictures, write=True):
        self.episodes[-1].append((row["stamp"].item(), pictures is None, write, row))
        return True

    def close_episode(self, note):
        self.notes.append(note)
        self.episodes.append([])

    def discard(self):
        self.episodes[-1] = []

    def label(self, label, episode=None):
        self.labels.append((label, episode))


@pytest.fixture
def stage(tmp_path):
    def make(mode=RecordMode.EVERYTHING, on_gap=OnGap.SPLIT, **more):
        source, client = Source(), Client(tmp_path)
        session = RecordingSession(
            SessionSettings(FPS, mode, on_gap, {"robot": "arm"}, **more), source, lambda text: None
        )
        session.episodes.attach(client)
        return source, client, session

    return make


def live(source, session, seconds):
    for _ in range(round(seconds * 50)):
        source.now += 0.02
        session.tick(source.now)


def stamps(episode):
    return np.array([stamp for stamp, *_ in episode])


def test_frames_are_a_period_apart_whatever_the_ticks(stage):
    source, client, session = stage()
    assert session.start() == "recording episode 3"
    for step in (0.02, 0.02, 0.31, 0.02, 0.13, 0.02, 0.4, 0.02):
        source.now += step
        session.tick(source.now)
    assert len(client.episodes[0]) >= 8
    np.testing.assert_allclose(np.diff(stamps(client.episodes[0])), 0.1, atol=1e-9)
    assert client.began["robot"] == "arm" and client.began["started"] == client.episodes[0][0][0]


def test_an_outage_of_six_seconds_splits_and_the_next_episode_has_its_own_times(stage):
    source, client, session = stage()
    source.gone = ((102.0, 108.0),)
    session.start()
    live(source, session, 12.0)
    first, second = client.episodes[0], client.episodes[1]
    assert len(client.episodes) == 2 and client.notes[0]["why"] == "no picture"
    assert stamps(first)[-1] < 102.0 and stamps(second)[0] > 108.0
    for episode in (first, second):
        np.testing.assert_allclose(np.diff(stamps(episode)), 0.1, atol=1e-9)
    assert session.episodes.number == 4
    assert session.stop() == f"2 episodes kept, {session.episodes.dropped['no observation']} frames could not be taken"


def test_a_machine_that_cannot_keep_up_makes_no_episodes_of_two_frames(stage):
    source, client, session = stage(min_episode=1.0)
    gaps = [(102.0, 103.0), (103.3, 104.0), (104.9, 105.5), (107.5, 108.5)]
    source.gone = gaps
    session.start()
    live(source, session, 9.0)  # whole: 2 s, 0.3 s, 0.9 s, 2 s, and 0.5 s at the end
    lengths = [len(e) for e in client.episodes if e]
    assert len(client.notes) == 2 and min(lengths[:2]) >= 17
    assert 8 <= session.episodes.dropped[DropCause.SHORT] <= 12 and session.episodes.number == 5
    assert session.stop({"outcome": "success"}).startswith("2 episodes kept")
    assert len(client.notes) == 2 and client.labels == [({"outcome": "success"}, None)]  # of the newest that is kept


def test_a_machine_that_cannot_keep_up_says_so_every_few_seconds_and_how_often_it_was(stage):
    said = []
    source, _, session = stage(min_episode=1.0)
    session._log = said.append
    source.gone = [(101.0 + k, 101.7 + k) for k in range(12)]  # from 101 s on, pieces of 0.3 s
    session.start()
    live(source, session, 13.0)
    assert len(said) == 4 and "split: no picture" in said[0]  # the second at the beginning is kept
    assert "frames are not kept, they are too short an episode (min_episode): no picture" in said[1]
    assert "more such" not in said[1] and said[2].endswith("(4 more such pieces since this was said last)")


def test_an_episode_that_a_person_ends_is_kept_however_short_it_is(stage):
    source, client, session = stage(min_episode=1.0)
    session.start()
    live(source, session, 0.5)
    assert "frames kept" in session.stop() and len(client.notes) == 1


def test_an_outage_ends_the_recording_where_that_is_asked_for(stage):
    source, client, session = stage(on_gap=OnGap.END)
    source.gone = ((101.0, 102.0),)
    session.start()
    live(source, session, 4.0)
    assert not session.recording and len(client.notes) == 1 and client.episodes[1] == []
    with pytest.raises(DataError, match="nothing is being recorded"):
        session.stop()


def test_one_missing_frame_is_filled_with_numbers_half_way_and_the_pictures_before(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 1.0)
    source.gone = ((session._clock.moment - 0.01, session._clock.moment + 0.01),)
    live(source, session, 1.0)
    episode = client.episodes[0]
    np.testing.assert_allclose(np.diff(stamps(episode)), 0.1, atol=1e-6)
    held = [k for k, (_, hold, _, _) in enumerate(episode) if hold]
    assert len(held) == 1 and len(client.episodes) == 1
    before, filled, after = (episode[held[0] + d][3]["observation.state"] for d in (-1, 0, 1))
    np.testing.assert_allclose(filled, (before + after) / 2, rtol=1e-6)
    assert session.episodes.dropped["no observation"] == 1


def test_an_encoder_that_is_behind_costs_counted_frames(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 1.0)
    client.backlog = 4
    live(source, session, 0.12)
    client.backlog = 0
    live(source, session, 1.0)
    assert session.episodes.dropped["encoder behind"] >= 1
    for episode in client.episodes:
        np.testing.assert_allclose(np.diff(stamps(episode)), 0.1, atol=1e-6)


def test_a_clock_that_is_set_back_begins_another_episode(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 1.0)
    source.now -= 50.0
    live(source, session, 1.0)
    assert len(client.episodes) == 2 and "was set" in client.notes[0]["why"]
    np.testing.assert_allclose(np.diff(stamps(client.episodes[1])), 0.1, atol=1e-9)
    assert len(client.episodes[1]) > 5


def test_a_disk_that_is_full_ends_the_recording_and_start_is_refused(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 1.0)
    client.ended = "the disk is nearly full"
    live(source, session, 0.1)
    assert not session.recording and "nearly full" in session.why and session.episodes.number == 4
    client.report = Report(disk_full=True)
    with pytest.raises(DataError, match="make room first"):
        session.start()


def test_corrections_have_the_seconds_before_and_a_name_each(stage):
    source, client, session = stage(RecordMode.CORRECTIONS)
    source.driver = lambda m: "teleop" if 103.0 <= m < 104.0 or 107.0 <= m < 108.0 else "autonomy"
    session.start()
    live(source, session, 10.0)
    for episode, begin in zip(client.episodes[:2], (103.0, 107.0), strict=True):
        np.testing.assert_allclose(np.diff(stamps(episode)), 0.1, atol=1e-9)
        written = [s for s, _, write, _ in episode if write]
        assert abs(written[0] - begin) < 0.11 and 9 <= len(written) <= 11
        assert all(row["intervention"] == [write] for _, _, write, row in episode)
    assert session.episodes.number == 5


def test_labels_go_to_the_running_episode_or_to_the_newest(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 1.0)
    session.label({"score": 0.25})
    session.stop({"outcome": "failure"})
    assert client.notes[0]["score"] == 0.25 and client.notes[0]["outcome"] == "failure"
    session.label({"outcome": "success"})
    assert client.labels == [({"outcome": "success"}, None)]


def test_without_a_frame_nothing_is_kept_and_the_reason_is_told(stage):
    source, _, session = stage()
    source.gone = ((0.0, 1e9),)
    session.start()
    live(source, session, 0.5)
    with pytest.raises(DataError, match="no frame was taken: no picture"):
        session.stop()


# --- commands and words by time ---


def test_a_command_is_that_of_the_moment_and_none_where_none_is_near():
    history = CommandHistory()
    for stamp, driver, value in ((10.0, "hold", 1.0), (10.04, "autonomy", 2.0)):
        history.add(stamp, driver, ["a"], [value])
    assert history.at(10.01).command["a"] == pytest.approx(1.25) and history.at(10.01).driver == "hold"
    assert history.at(10.1).command["a"] == 2.0 and history.at(10.1).driver == "autonomy"
    assert history.at(10.3) is None and history.at(9.0) is None
    history.add(12.0, "hold", ["a"], [9.0])
    assert history.at(11.0) is None
    history.add(5.0, "hold", ["a"], [0.0])  # the clock was set back
    assert history.at(10.01) is None


def test_a_frame_is_about_the_words_that_were_followed():
    assert words_of("autonomy", "tidy up", "grasp", "").subtask == "grasp"
    assert words_of("autonomy", "tidy up", "grasp", "").origin is Origin.NETWORK
    spoken = words_of("teleop", "tidy up", "grasp", "turn left")
    assert (spoken.instruction, spoken.origin, spoken.task) == ("turn left", Origin.OPERATOR, "tidy up")
    led = words_of("teleop", "tidy up", "grasp", "")
    assert (led.instruction, led.subtask, led.origin) == ("tidy up", "", Origin.NONE)
    assert words_of("hold", "", "grasp", "").instruction == ""


def test_words_are_those_of_the_moment():
    history = WordHistory()
    history.add(10.0, "grasp  it")
    history.add(12.0, "lift")
    assert [history.at(t) for t in (9.0, 11.9, 12.1)] == ["grasp it", "grasp it", "lift"]


def test_a_frame_between_two_marks_its_pictures_as_older():
    def made(value):
        row = {
            "observation.state": np.array([value], np.float32),
            "action": np.array([2 * value], np.float32),
            "stamp": np.array([value]),
            "picture_offset": np.array([0.01], np.float32),
            "task": f"t{value}",
        }
        return SourceFrame(row, {}, "hold")

    found = between(made(1.0), made(2.0), 0.5)
    assert found.row["observation.state"] == 1.5 and found.row["action"] == 3.0 and found.row["stamp"] == 1.5
    assert found.row["picture_offset"] == pytest.approx(-0.49) and found.row["task"] == "t1.0"


def test_a_process_that_ends_while_nothing_is_recorded_ends_no_recording(stage):
    source, client, session = stage()
    client.ended, before = "the disk is full", session.why
    session.tick(source.now)
    assert session.why == before and session.episodes.number == 3

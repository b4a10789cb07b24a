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


# --- what is said, counted and forgotten ---


def test_what_runs_is_not_begun_again_and_what_does_not_run_is_neither_ended_nor_dropped(stage):
    source, client, session = stage()
    for request in (session.stop, session.discard):
        with pytest.raises(DataError, match="nothing is being recorded"):
            request()
    session.start()
    live(source, session, 1.0)
    with pytest.raises(DataError, match="episode 3 is being recorded already"):
        session.start()
    assert session.recording and len(client.episodes[0]) == 10
    session.stop()
    assert not session.recording and session.episodes.number == 4
    with pytest.raises(DataError, match="nothing is being recorded"):
        session.stop()


def test_the_end_says_how_many_frames_are_kept_and_the_next_beginning_counts_anew(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 1.0)
    source.gone = ((session._clock.moment - 0.01, session._clock.moment + 0.01),)
    live(source, session, 1.0)
    assert session.stop() == f"episode 3: {len(client.episodes[0])} frames kept, 1 could not be taken"
    assert session.start() == "recording episode 4"
    live(source, session, 1.0)
    assert session.stop() == f"episode 4: {len(client.episodes[1])} frames kept, 0 could not be taken"
    assert [note["dropped"] for note in client.notes] == [{DropCause.OBSERVATION: 1}, {}] and not client.labels


def test_a_rest_behind_a_gap_that_is_too_short_goes_and_the_label_is_the_kept_ones(stage):
    for label, labels in (({"outcome": "success"}, [({"outcome": "success"}, None)]), ({}, []), (None, [])):
        source, client, session = stage(min_episode=1.0)
        source.gone = ((102.0, 103.0),)
        session.start()
        live(source, session, 3.3)
        assert session.stop(label).startswith("1 episode kept, ")
        assert client.labels == labels and len(client.notes) == 1 and client.episodes[-1] == []


def test_a_correction_that_a_person_ends_is_kept_however_short_it_is(stage):
    source, client, session = stage(RecordMode.CORRECTIONS, min_episode=1.0)
    source.driver = lambda m: "teleop" if 101.0 <= m < 103.0 or m >= 104.0 else "autonomy"
    session.start()
    live(source, session, 4.5)
    assert session.stop({"score": 0.5}).startswith("2 episodes kept") and client.notes[1]["score"] == 0.5


def test_why_no_frame_was_taken_is_told(stage):
    source, _, session = stage(RecordMode.CORRECTIONS)
    session.start()
    live(source, session, 1.0)  # nobody corrects
    with pytest.raises(DataError, match="no frame was taken: too short"):
        session.stop()
    alone = RecordingSession(SessionSettings(FPS), Source(), lambda text: None)
    alone.start()
    alone.tick(100.0)
    with pytest.raises(DataError, match="no frame was taken: the process that writes is still being started"):
        alone.stop()


def test_what_is_discarded_is_gone_and_the_next_episode_has_its_number(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 1.0)
    last = client.episodes[0][-1][0]
    assert session.discard() == "10 frames dropped" and client.episodes == [[]] and not session.recording
    assert session.start() == "recording episode 3"
    live(source, session, 1.0)
    assert stamps(client.episodes[0])[0] >= last + 0.1 - 1e-9, "no moment is in two episodes"


@pytest.mark.parametrize("end", ["stop", "discard"])
def test_after_an_end_the_next_episode_begins_behind_it_unless_the_clock_was_set_back(stage, end):
    for back in (0.0, -50.0):
        source, client, session = stage()
        session.start()
        live(source, session, 1.0)
        moment = session._clock.moment
        getattr(session, end)()
        source.now += back
        session.start()
        live(source, session, 1.0)
        first = stamps(client.episodes[-1])[0]
        begin = 50.9 if back else moment
        assert begin < first < begin + 0.2


def test_a_stall_is_made_up_for_by_eight_frames_at_a_time(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 0.5)
    before = len(client.episodes[0])
    source.now += 2.0
    for count in (8, 16, 20):
        session.tick(source.now)
        assert len(client.episodes[0]) == before + count
    np.testing.assert_allclose(np.diff(stamps(client.episodes[0])), 0.1, atol=1e-9)


def test_a_frame_waits_half_a_second_for_its_pictures(stage):
    source, _, session = stage()
    session.start()
    live(source, session, 0.5)
    moment = session._clock.moment
    source.reaches, source.gone = (lambda moment: False), ((moment - 0.01, 1e9),)
    session.tick(moment + 0.49)
    assert not session.episodes.dropped and session.why == ""
    session.tick(moment + 0.51)
    assert session.episodes.dropped == {DropCause.OBSERVATION: 1} and session.why == "no picture"


def test_a_clock_is_taken_to_be_set_if_the_next_frame_is_more_than_a_second_ahead_or_the_source_says_so(stage):
    for ahead, restarts, episodes in ((0.95, 0, 1), (1.05, 0, 2), (-0.3, 1, 2)):
        source, client, session = stage()
        session.start()
        live(source, session, 1.0)
        source.now = session._clock.moment - ahead
        source.restarts += restarts
        live(source, session, 2.0)
        assert len(client.episodes) == episodes
        assert session.episodes.dropped.get(DropCause.CLOCK, 0) == 0 and session.recording
        if restarts:
            assert stamps(client.episodes[1])[0] < stamps(client.episodes[0])[-1] + 0.45


def test_a_clock_that_was_set_ends_the_recording_where_that_is_asked_for_and_no_frame_follows(stage):
    source, client, session = stage(on_gap=OnGap.END)
    session.start()
    live(source, session, 1.0)
    source.now -= 50.0
    live(source, session, 1.0)
    assert not session.recording and "was set" in client.notes[0]["why"] and client.episodes[1:] == [[]]


def test_what_the_process_ends_by_itself_is_said_and_counts_if_it_had_frames(stage):
    for seconds, number in ((0.0, 3), (1.0, 4)):
        said = []
        source, client, session = stage()
        session._log = said.append
        session.start()
        live(source, session, seconds)
        client.ended = "no room"
        session.tick(source.now)
        session.tick(source.now)
        assert said == ["recording has ended: no room"] == [session.why] and session.episodes.number == number
        assert not session.recording and not session._clock.begun and not session.episodes.running


def test_every_look_without_a_picture_is_counted_and_why_is_told_until_there_is_one_or_it_is_begun_anew(stage):
    source, client, session = stage()
    source.gone = ((0.0, 100.1),)
    session.start()
    for count in (1, 2, 3):
        session.tick(source.now)
        assert session.why == "no picture" and session.episodes.dropped == {DropCause.OBSERVATION: count}
    live(source, session, 0.5)
    assert session.why == "" and client.episodes[0]
    source.gone = ((session._clock.moment - 0.01, 1e9),)
    live(source, session, 0.2)
    assert session.why == "no picture"
    session.stop()
    session.start()
    assert session.why == ""


def test_an_encoder_that_is_behind_costs_one_frame_a_look(stage):
    source, client, session = stage()
    session.start()
    live(source, session, 1.0)
    client.backlog = 4
    source.now += 0.25
    session.tick(source.now)
    assert session.episodes.dropped == {DropCause.ENCODER: 1} and "encoder is behind" in session.why


def test_a_first_frame_that_is_missing_is_not_waited_for_the_episode_begins_later(stage):
    source, client, session = stage()
    source.now += 0.02
    begin, real = source.newest(), source.at
    source.at = lambda m, f: Missing(DropCause.OBSERVATION, "late") if m < begin + 0.01 else real(m, f)
    session.start()
    session.tick(source.now)
    live(source, session, 1.0)
    assert begin < client.episodes[0][0][0] < begin + 0.09 and session.episodes.dropped == {DropCause.OBSERVATION: 1}


def test_a_gap_is_logged_with_what_it_ends_and_the_last_moments_are_not_taken_again(stage):
    said = []
    source, client, session = stage()
    session._log = said.append
    session.start()
    live(source, session, 1.0)
    source.gone = ((session._clock.moment - 0.01, session._clock.moment + 0.11),)
    live(source, session, 1.0)
    first, second = client.episodes
    assert said == [f"episode 3 ends after {len(first)} frames, split: no picture"]
    assert stamps(second)[0] > source.gone[0][1] and session.episodes.number == 4 and session.recording


def test_a_piece_is_too_short_by_whole_frames(stage):
    for seconds, frames in ((0.25, 3), (0.3, 3), (0.31, 4), (0.0, 0)):
        assert stage(min_episode=seconds)[2].episodes._least == frames


def test_a_label_says_which_episode_it_is_about(stage):
    source, _, session = stage()
    session.start()
    live(source, session, 0.5)
    assert session.label({"outcome": "success", "score": 0.5}) == "episode 3: outcome success, score 0.5"
    session.stop()
    assert session.label({"score": 0.25}) == "episode 3: score 0.25"

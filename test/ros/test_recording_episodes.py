"""What is sent to the process that writes, what is counted meanwhile, and which episode a label is about."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.data.errors import DataError
from pi0_ros.data.frame_selection import Choice, Keep
from pi0_ros.ros.frame_source import DropCause, SourceFrame
from pi0_ros.ros.recording_episodes import RecordingEpisodes

FPS, LEAST = 10, 3
DRAWN = Choice(Keep.WRITE, intervention=True)
PLAIN = Choice(Keep.WRITE)
CONTEXT = Choice(next(keep for keep in Keep if keep is not Keep.WRITE))


class Client:
    def __init__(self, expected=4, slots=6):
        self.report, self.settings, self.backlog = SimpleNamespace(expected=expected), SimpleNamespace(slots=slots), 0
        self.calls = []

    def __getattr__(self, name):
        return lambda *given: self.calls.append((name, *given))

    def frame(self, row, pictures, write):
        self.calls.append(("row", row))
        self.calls.append(("frame", row["stamp"].item(), pictures, write, row["intervention"]))

    def of(self, name):
        return [call[1:] for call in self.calls if call[0] == name]


def frame(stamp):
    row = {
        "observation.state": np.array([2.0 * stamp], np.float32),
        "action": np.array([stamp], np.float32),
        "stamp": np.array([stamp]),
        "picture_offset": np.array([-0.02], np.float32),
        "task": f"touch {stamp}",
    }
    return SourceFrame(row, {"eye": f"picture of {stamp}"}, "teleop")


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def episodes(client):
    made = RecordingEpisodes(FPS, {"robot": "arm"}, LEAST)
    made.attach(client)
    return made


def test_an_episode_begins_with_its_first_frame_and_each_frame_says_whether_a_person_intervenes(episodes, client):
    assert not episodes.running
    episodes.send(frame(1.0), DRAWN, 0)
    episodes.send(frame(1.1), PLAIN, 0)
    assert client.of("begin") == [({"robot": "arm", "started": 1.0},)]
    assert client.of("frame") == [
        (1.0, {"eye": "picture of 1.0"}, True, [True]),
        (1.1, {"eye": "picture of 1.1"}, True, [False]),
    ]
    assert episodes.running and (episodes.frames, episodes.taken, episodes.number) == (2, 2, 4)


def test_a_missed_frame_is_filled_in_with_the_picture_before_it_and_counted(episodes, client):
    episodes.send(frame(1.0), PLAIN, 0)
    episodes.send(frame(1.2), DRAWN, 1)
    _, filled, after = client.of("frame")
    assert filled == (pytest.approx(1.1), None, True, [True]) and after[0] == 1.2
    offsets = [call[1]["picture_offset"].item() for call in client.calls if call[0] == "row"]
    assert offsets == pytest.approx([-0.02, -0.02 - 1.0 / FPS, -0.02])
    assert [call[1]["task"] for call in client.calls if call[0] == "row"] == ["touch 1.0", "touch 1.0", "touch 1.2"]
    assert (episodes.frames, episodes.taken) == (3, 3)


def test_nothing_is_filled_in_before_the_first_frame(episodes, client):
    episodes.send(frame(1.0), PLAIN, 1)
    assert len(client.of("frame")) == 1 and (episodes.frames, episodes.taken) == (1, 1)


def test_frames_that_are_only_passed_by_are_sent_and_not_counted(episodes, client):
    episodes.send(frame(1.0), CONTEXT, 0)
    episodes.send(frame(1.2), CONTEXT, 1)
    assert [call[2] for call in client.of("frame")] == [False] * 3
    assert episodes.running and (episodes.frames, episodes.taken) == (0, 0)


def test_frames_of_all_episodes_are_counted_on(episodes):
    for _ in range(2):
        episodes.send(frame(1.0), PLAIN, 0)
        episodes.send(frame(1.2), PLAIN, 1)
        episodes.close({})
    assert (episodes.frames, episodes.taken, episodes.number, episodes.kept) == (0, 6, 6, 2)
    episodes.restart()
    assert (episodes.taken, episodes.number, episodes.kept) == (6, 6, 0)


def test_a_frame_after_one_that_was_left_out_begins_anew(episodes, client):
    episodes.send(frame(1.0), PLAIN, 0)
    episodes.skip()
    assert not episodes.running
    episodes.send(frame(1.4), PLAIN, 1)
    assert len(client.of("begin")) == 2 and len(client.of("frame")) == 2


def test_a_closed_episode_is_noted_with_its_labels_and_what_was_dropped_before(episodes, client):
    episodes.dropped[DropCause.COMMAND] += 2
    for stamp, label in ((1.0, {"success": True}), (1.1, {"comment": "good"})):
        episodes.send(frame(stamp), PLAIN, 0)
        assert episodes.label(label, True) == 4
    episodes.close({"why": "stop"})
    note = {"dropped": {DropCause.COMMAND: 2}, "success": True, "comment": "good", "why": "stop"}
    assert client.of("close_episode") == [(note,)] and not client.of("label")
    assert not episodes.running and (episodes.number, episodes.kept, episodes.frames) == (5, 1, 0)
    episodes.send(frame(2.0), PLAIN, 0)
    episodes.close({})
    assert client.of("close_episode")[1] == ({"dropped": {DropCause.COMMAND: 2}},)


def test_nothing_is_closed_where_nothing_runs_or_nobody_writes(episodes, client):
    episodes.close({})
    assert not client.calls and (episodes.number, episodes.kept) == (4, 0)
    alone = RecordingEpisodes(FPS, {}, LEAST)
    alone.close({})
    alone.discard()
    assert (alone.number, alone.kept, alone.running) == (0, 0, False)


def test_an_episode_of_which_no_frame_is_kept_has_no_number(episodes, client):
    episodes.send(frame(1.0), CONTEXT, 0)
    episodes.close({})
    assert len(client.of("close_episode")) == 1 and (episodes.number, episodes.kept) == (4, 0)


@pytest.mark.parametrize("count, kept", [(0, True), (1, False), (LEAST - 1, False), (LEAST, True), (LEAST + 1, True)])
def test_a_gap_drops_a_piece_that_is_too_short(episodes, client, count, kept):
    for k in range(count):
        episodes.send(frame(1.0 + 0.1 * k), PLAIN, 0)
    assert episodes.cut({"why": "gap"}) is kept
    assert (len(client.of("discard")), len(client.of("close_episode"))) == (not kept, kept and count > 0)
    assert episodes.dropped == ({} if kept else {DropCause.SHORT: count})
    assert episodes.kept == (kept and count > 0) and not episodes.running and episodes.frames == 0


def test_short_pieces_add_up_until_counting_begins_anew(episodes):
    for _ in range(2):
        episodes.send(frame(1.0), PLAIN, 0)
        episodes.cut({})
    assert episodes.dropped == {DropCause.SHORT: 2}
    episodes.send(frame(2.0), PLAIN, 0)
    episodes.restart()
    assert episodes.dropped == {} and not episodes.running and episodes.frames == 0


def test_an_episode_that_the_process_ended_by_itself_has_a_number_if_it_has_frames(episodes):
    episodes.abandon()
    assert episodes.number == 4
    episodes.send(frame(1.0), PLAIN, 0)
    episodes.send(frame(1.1), PLAIN, 0)
    episodes.abandon()
    assert episodes.number == 5 and not episodes.running


def test_no_more_frames_may_be_sent_than_there_are_slots_for(episodes, client):
    client.backlog = client.settings.slots - 1
    assert not episodes.behind
    client.backlog += 1
    assert episodes.behind
    assert RecordingEpisodes(FPS, {}, LEAST).behind


def test_a_label_is_about_the_running_episode_or_else_the_newest(episodes, client):
    assert episodes.label({"success": False}, False) == 3
    assert episodes.label({"success": False}, True) == 3
    assert client.of("label") == [({"success": False},)] * 2
    episodes.send(frame(1.0), PLAIN, 0)
    assert episodes.label({"success": True}, False) == 3
    episodes.discard()
    episodes.send(frame(2.0), PLAIN, 0)
    episodes.label({"comment": "new"}, True)
    episodes.forget()
    episodes.send(frame(3.0), PLAIN, 0)
    episodes.close({})
    assert client.of("close_episode") == [({"dropped": {}},)]


@pytest.mark.parametrize("client", [None, Client(expected=0)])
def test_without_any_episode_there_is_nothing_to_label(client):
    episodes = RecordingEpisodes(FPS, {}, LEAST)
    if client is not None:
        episodes.attach(client)
    else:
        episodes.number = 2
    with pytest.raises(DataError, match="no episode yet"):
        episodes.label({}, True)

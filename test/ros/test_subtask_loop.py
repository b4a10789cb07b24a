"""What high_level's thread asks, what it makes of the answers, and what it says about both."""

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.policy.adapter_reading import ANY_SUBTASK
from pi0_ros.policy.plan import Answer
from pi0_ros.policy.subtask_progress import ProgressLimits
from pi0_ros.ros.activation import Activation
from pi0_ros.ros.observation_source import SensorSnapshot
from pi0_ros.ros.subtask_loop import SOON, SubtaskLoop, SubtaskOutputs, SubtaskSettings

PERIOD = 2.0
VIEW = SensorSnapshot(stamp=50.0, pictures={"eye": "picture"}, state={"j": 0.3})


class Log:
    def __init__(self):
        self.said = []

    def __getattr__(self, level):
        return lambda text, **more: self.said.append((level, text, more.get("throttle_duration_sec")))

    def of(self, level):
        return [text for each, text, _ in self.said if each == level]


class Cameras:
    """Sees what it is given, the same again at the end."""

    def __init__(self):
        self.views, self.asked = [VIEW], []

    def view(self, cameras):
        self.asked.append(cameras)
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]


class Stage:
    """A loop whose network gives the answers that it is told; a question takes 0.7 s."""

    def __init__(self, **contract):
        given = {"gives_subtasks": True, "subtasks": "pick .*", "subtask_log_probability": -0.5}
        self.contract = SimpleNamespace(high_level_cameras=("eye",), **{**given, **contract})
        self.limits = ProgressLimits(timeout=20.0, repeats=1, retries=1, finished=("pick nothing",))
        self.answers, self.questions, self.works, self.activation = [], [], [], Activation()
        self.cameras, self.log, self.now, self.subtasks, self.states = Cameras(), Log(), 10.0, [], []
        self.observations = lambda: self.cameras
        self.loop = SubtaskLoop(
            SimpleNamespace(contract=self.contract, answer="the network's"),
            self.answer,
            lambda: self.observations(),
            SimpleNamespace(steady=lambda: self.now),
            SubtaskSettings(lambda: PERIOD, 17, 2, lambda: self.limits),
            SubtaskOutputs(self.subtasks.append, self.states.append, self.log),
        )

    def answer(self, work, observation, task, **more):
        self.works.append(work)
        self.questions.append((observation, task, more))
        self.now += 0.7
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    def turn(self, task, *answers):
        self.answers += answers
        return self.loop._turn(task, self.activation)

    def turns(self, count):
        """Let the loop run for so many turns of its own; how long it waited before each."""
        waited, desk = [], self.loop.desk
        wait = desk.wait

        def one(timeout, over):
            waited.append(timeout)
            if len(waited) > count:
                self.activation.end()
            return wait(0.0, over)

        desk.wait = one
        self.loop.run(self.activation)
        return waited


@pytest.fixture
def stage():
    made = Stage()
    made.loop.update_task("tidy up")
    return made


def sure(text):
    return Answer(text, -0.1)


def test_the_network_is_asked_about_what_is_seen_now_and_its_answer_is_published(stage):
    assert stage.turn("tidy up", Answer("  pick cup ", -0.2)) is False
    ((observation, task, more),) = stage.questions
    assert (observation.stamp, observation.images, observation.state) == (50.0, {"eye": "picture"}, {"j": 0.3})
    assert (observation.prompt, task, more) == ("tidy up", "tidy up", {"max_tokens": 17})
    assert stage.works == ["the network's"] and stage.cameras.asked == [("eye",)]
    assert stage.subtasks == ["pick cup"] and stage.log.of("info") == ["subtask: pick cup"]
    status = stage.loop.status
    assert (status.answers, status.refused, status.failures, status.log_probability) == (1, 0, 0, -0.2)
    assert status.seconds == pytest.approx(0.7) and status.reason == status.failure == status.unfit == ""


def test_another_subtask_has_to_be_answered_twice_and_is_asked_again_soon(stage):
    assert stage.turn("tidy up", sure("pick cup")) is False
    assert stage.turn("tidy up", sure("pick pen")) is True
    assert stage.turn("tidy up", sure("pick pen")) is False
    assert stage.subtasks == ["pick cup", "pick cup", "pick pen"]
    assert stage.log.of("info") == ["subtask: pick cup", "subtask: pick pen"]


@pytest.mark.parametrize("answer, why", [(sure("dance"), "match"), (Answer("pick cup", -0.6), "sure")])
def test_an_answer_that_is_no_subtask_or_that_the_network_is_not_sure_of_changes_nothing(stage, answer, why):
    stage.turn("tidy up", sure("pick pen"))
    for count in (1, 2):
        assert stage.turn("tidy up", answer) is False
        assert stage.loop.status.refused == count and stage.loop.status.answers == 1 + count
    status = stage.loop.status
    assert why in status.last_refused and repr(answer.text) in status.last_refused and why in status.unfit
    assert stage.log.said[-1] == ("warning", f"subtask refused: {status.last_refused}", 1.0)
    assert stage.subtasks == ["pick pen"] and stage.loop.decision.subtask == "pick pen"
    stage.turn("tidy up", sure("pick pen"))
    assert status.unfit == "" and why in status.last_refused


def test_forty_characters_of_a_refused_answer_are_said(stage):
    text = "".join(chr(65 + k) for k in range(50))
    stage.turn("tidy up", sure(text))
    for said in (stage.loop.status.unfit, stage.loop.status.last_refused):
        assert repr(text[:40]) in said


def test_a_contract_without_a_form_refuses_every_answer():
    stage = Stage(subtasks=None)
    stage.loop.update_task("tidy up")
    stage.turn("tidy up", sure("pick cup"))
    assert stage.loop.status.refused == 1 and stage.subtasks == []


def test_while_something_is_missing_the_pictures_are_looked_at_again_soon(stage):
    stage.cameras.views = [SensorSnapshot(missing=("no eye", "no joints")), VIEW]
    assert stage.turn("tidy up") is True
    assert stage.loop.status.reason == "no eye; no joints" and not stage.questions
    assert stage.turn("tidy up", sure("pick cup")) is False
    assert stage.loop.status.reason == ""


def test_without_cameras_it_says_that_policy_has_to_be_configured(stage):
    stage.observations = lambda: None
    assert stage.turn("tidy up") is True
    assert "configure policy" in stage.loop.status.reason


def test_a_question_that_fails_is_counted_and_said_until_one_is_answered(stage):
    for count in (1, 2):
        assert stage.turn("tidy up", RuntimeError("out of memory")) is False
        assert (stage.loop.status.failures, stage.loop.status.failure) == (count, "RuntimeError: out of memory")
    level, text, pause = stage.log.said[-1]
    assert level == "error" and "RuntimeError: out of memory" in text and pause == 5.0
    stage.turn("tidy up", sure("pick cup"))
    assert stage.loop.status.failure == "" and stage.loop.status.failures == 2


def test_a_question_that_fails_after_the_activation_is_nobodys_business(stage):
    stage.activation.end()
    assert stage.turn("tidy up", RuntimeError("closed")) is False
    assert stage.loop.status.failures == 0 and not stage.log.of("error")


def test_an_answer_that_comes_after_the_activation_or_to_another_task_is_dropped(stage):
    def later(change):
        def answer():
            change()
            return sure("pick cup")

        return answer

    assert stage.turn("tidy up", later(lambda: stage.loop.update_task("dance"))) is False
    assert stage.turn("dance", later(lambda: stage.loop.update_override("wave"))) is False
    stage.loop.update_override("")
    assert stage.turn("dance", later(stage.activation.end)) is False
    assert stage.subtasks == [] and stage.loop.status.answers == 0


def test_an_operators_words_are_followed_without_the_network(stage):
    stage.loop.update_override("wave")
    assert stage.turn("tidy up") is False
    assert "wave" in stage.loop.status.reason and not stage.questions and not stage.subtasks


def test_without_a_task_nothing_is_asked_and_an_empty_one_is_warned_about():
    stage = Stage()
    assert stage.turn("") is False
    assert "no task yet" in stage.loop.status.reason and not stage.questions
    stage.loop.update_task("go")
    assert not stage.log.of("warning")
    stage.loop.update_task("")
    assert len(stage.log.of("warning")) == 1


@pytest.mark.parametrize("contract", [{"gives_subtasks": False}, {"subtasks": "tidy .*"}])
def test_a_task_that_is_a_subtask_itself_is_passed_on_and_said_once(contract):
    stage = Stage(**contract)
    stage.loop.update_task("tidy up")
    status = stage.loop.status
    status.failure = status.unfit = "something"
    for count in (1, 2):
        assert stage.turn("tidy up") is False
        assert stage.subtasks == ["tidy up"] * count and not stage.questions
        assert stage.log.of("info") == ["subtask, as the task says: tidy up"]
    assert status.reason == status.failure == status.unfit == ""
    assert stage.loop.decision.subtask == "tidy up"


@pytest.mark.parametrize("form", [None, ANY_SUBTASK])
def test_where_any_words_may_be_a_subtask_a_task_is_no_subtask(form):
    stage = Stage(subtasks=form)
    stage.loop.update_task("tidy up")
    stage.turn("tidy up", sure("pick cup"))
    assert len(stage.questions) == 1


def test_a_task_that_says_itself_replaces_what_stood_before_at_once():
    stage = Stage(subtasks="(tidy|pick) .*")
    for task in ("tidy up", "pick pens"):
        stage.loop.desk.task = task
        stage.turn(task)
        assert stage.loop.decision.subtask == task
    assert stage.subtasks == ["tidy up", "pick pens"]


def test_nothing_is_passed_on_after_the_activation_or_for_a_task_that_has_changed():
    stage = Stage(gives_subtasks=False)
    stage.loop.update_task("tidy up")
    stage.turn("dance")
    stage.activation.end()
    stage.turn("tidy up")
    assert stage.subtasks == [] and stage.loop.decision.subtask == ""


def test_another_task_ends_the_subtask_and_the_same_one_does_not(stage):
    assert stage.subtasks == []
    stage.turn("tidy up", sure("pick cup"))
    stage.loop.update_task("tidy up")
    assert stage.subtasks == ["pick cup"] and stage.loop.decision.subtask == "pick cup"
    stage.loop.update_task("lay the table")
    assert stage.subtasks == ["pick cup", ""] and stage.loop.decision.subtask == ""
    assert "has changed" in stage.loop.status.reason
    assert stage.turn("lay the table", sure("pick pen")) is False
    assert stage.subtasks == ["pick cup", "", "pick pen"]


def test_it_waits_a_period_between_questions_and_less_while_an_answer_is_to_be_confirmed(stage):
    stage.answers = [sure("pick cup"), sure("pick pen"), sure("pick pen")]
    assert stage.turns(3) == [PERIOD, PERIOD, SOON, PERIOD]
    assert stage.subtasks == ["pick cup", "pick cup", "pick pen"] and stage.states == ["", "", ""]
    assert len(stage.questions) == len(stage.cameras.asked) == 3


def test_a_task_that_is_said_again_is_decided_anew(stage):
    stage.answers = [sure("pick cup"), lambda: stage.loop.update_task("tidy up") or sure("pick cup"), sure("pick pen")]
    stage.turns(3)
    assert stage.subtasks == ["pick cup", "pick cup", "pick pen"]


def test_after_each_turn_it_says_what_failed_else_why_nothing_is_asked_else_what_is_unfit(stage):
    stage.answers = [RuntimeError("out of memory"), sure("dance"), sure("pick cup")]
    stage.cameras.views = [VIEW, VIEW, SensorSnapshot(missing=("no eye",)), VIEW]
    stage.turns(4)
    failed, unfit, missing, nothing = stage.states
    assert "out of memory" in failed and "'dance'" in unfit and missing == "no eye" and nothing == ""


def test_a_turn_during_which_the_activation_ended_says_nothing(stage):
    stage.answers = [lambda: stage.activation.end() or sure("pick cup")]
    stage.turns(9)
    assert stage.states == [] and stage.subtasks == []
    assert math.isnan(stage.loop.status.log_probability)


def test_waking_the_loop_lets_its_thread_look_again(stage):
    heard = []
    stage.loop.desk.wake = lambda: heard.append("woken")
    stage.loop.wake()
    assert heard == ["woken"]


def stay(stage, seconds, subtask="pick cup"):
    """The same answer again so much later; whether the next question should be soon."""
    stage.now += seconds
    stage.answers = [sure(subtask)]
    return stage.turn("tidy up")


def stick(stage):
    """Let one subtask stand in autonomy until it is given up."""
    stage.loop.update_mode("autonomy")
    for seconds in (0.0, 0.0, 21.0, 0.0, 0.0, 21.0):
        stay(stage, seconds)


def test_a_subtask_that_stands_too_long_is_withdrawn_decided_anew_and_then_no_more(stage):
    stage.loop.update_mode("autonomy")
    assert [stay(stage, seconds) for seconds in (0.0, 0.0, 18.0)] == [False] * 3
    questions = len(stage.questions)
    assert stay(stage, 2.0) is True, "asked anew soon"
    assert len(stage.questions) == questions and stage.subtasks == ["pick cup"] * 3 + [""]
    (warning,) = stage.log.of("warning")
    assert '"pick cup" for 21 s' in warning and "1 of 1" in warning and stage.loop.watch.reason() == warning
    assert stay(stage, 0.0, "pick pen") is False
    assert stage.subtasks[-1] == "pick pen", "the first answer stands at once"
    stay(stage, 0.0, "pick pen")
    assert stage.loop.watch.reason() == "", "it is a new one"


def test_what_is_given_up_is_withdrawn_and_said_with_the_ways_out_and_the_network_is_not_asked(stage):
    stick(stage)
    (error,) = stage.log.of("error")
    for part in ('"pick cup" for 2', "1 retries", 'pi0 task "WORDS"', 'pi0 task --subtask "WORDS"', "take over"):
        assert part in error
    questions, published = len(stage.questions), stage.subtasks[:]
    assert published[-1] == "" and published.count("") == 2
    stage.turns(3)
    assert (len(stage.questions), stage.subtasks) == (questions, published)
    assert stage.states == [error] * 3 and stage.log.of("error") == [error]


def test_a_failure_of_before_does_not_hide_what_is_given_up(stage):
    stage.limits = ProgressLimits(timeout=20.0, repeats=0, retries=0)
    stage.loop.update_mode("autonomy")
    stay(stage, 0.0)
    stage.loop.policy.contract.subtask_log_probability = 0.0
    stay(stage, 0.0)
    stage.answers = [RuntimeError("out of memory")]
    stage.turn("tidy up")
    assert stage.loop.status.unfit and stage.loop.status.failure
    stay(stage, 21.0)
    stage.turns(1)
    assert "given up" in stage.states[-1]


@pytest.mark.parametrize(
    "act",
    [
        lambda loop: loop.update_task("tidy up"),
        lambda loop: (loop.update_override("wave"), loop.update_override("")),
        lambda loop: loop.update_mode("teleop"),
        lambda loop: (loop.update_mode("hold"), loop.update_mode("autonomy")),
    ],
    ids=["the task again", "an override", "a takeover", "autonomy again"],
)
def test_what_is_given_up_is_decided_anew_at_once_when_a_person_does_something(stage, act):
    for _ in range(2):
        stick(stage)
        assert stage.loop.watch.given_up
        stage.loop.desk.wait(0.0, lambda: False)
        act(stage.loop)
        assert not stage.loop.watch.given_up and "anew" in stage.loop.status.reason
        assert stage.loop.desk.wait(0.0, lambda: False) == ("tidy up", True), "the thread does not wait for its period"
        assert stay(stage, 0.0) is False
        assert stage.subtasks[-1] == "pick cup" and stage.loop.status.reason == ""


@pytest.mark.parametrize("mode", ["hold", "stopped"])
def test_what_is_given_up_stays_so_while_the_executor_holds_or_stops(stage, mode):
    stick(stage)
    stage.loop.update_mode(mode)
    assert stage.loop.watch.given_up and "given up" in stage.loop.watch.reason()


def test_an_override_that_says_nothing_new_is_no_word_of_a_person(stage):
    stick(stage)
    stage.loop.update_override("")
    assert stage.loop.watch.given_up


@pytest.mark.parametrize("mode", [None, "hold", "teleop", "stopped"])
def test_time_in_which_the_policy_does_not_drive_does_not_count(stage, mode):
    if mode:
        stage.loop.update_mode("autonomy")
        stay(stage, 0.0)
        stage.loop.update_mode(mode)
    for _ in range(4):
        stay(stage, 500.0)
    stage.loop.update_mode("autonomy")
    for seconds in (500.0, 19.0):
        assert stay(stage, seconds) is False
    assert stage.loop.watch.reason() == "" and set(stage.subtasks) == {"pick cup"}
    assert stay(stage, 1.0) is True


def test_leaving_autonomy_forgets_what_was_followed_before(stage):
    stage.loop.update_mode("autonomy")
    for seconds in (0.0, 0.0, 18.0):
        stay(stage, seconds)
    stage.loop.update_mode("hold")
    stage.loop.update_mode("autonomy")
    assert [stay(stage, seconds) for seconds in (5.0, 5.0, 5.0)] == [False] * 3


def test_subtasks_that_come_and_go_in_turn_are_named_with_how_often(stage):
    stage.loop.update_mode("autonomy")
    stage.limits = ProgressLimits(timeout=0.0, repeats=1, retries=5)
    names = [f"pick {name}" for name in ("cup", "pen", "hat", "bag")]
    soon = [stay(stage, 1.0, name) for name in names + names for _ in range(2)]
    assert soon[-1] is False and stay(stage, 1.0, "pick bag") is True
    why = stage.loop.watch.reason()
    for part in ('"pick cup", "pick pen", "pick hat" and 1 more', "2 times", "1 of 5"):
        assert part in why
    assert "bag" not in why


def test_a_sequence_of_three_is_named_whole(stage):
    stage.loop.update_mode("autonomy")
    names = ["pick cup", "pick pen", "pick hat"]
    for name in [n for n in names + names for _ in range(2)] + ["pick hat"]:
        stay(stage, 0.1, name)
    assert '"pick cup", "pick pen", "pick hat", 2 times' in stage.loop.watch.reason()


def test_nothing_is_withdrawn_for_a_task_that_has_changed_or_after_the_activation(stage):
    stage.loop.update_mode("autonomy")
    for _ in range(2):
        stay(stage, 0.0)
    stage.now += 30.0
    stage.answers = [sure("pick cup")]
    stage.turn("another task")
    stage.activation.end()
    stage.answers = [sure("pick cup")]
    stage.turn("tidy up")
    assert "" not in stage.subtasks and not stage.log.of("warning")


def test_a_task_that_is_passed_on_may_last():
    stage = Stage(gives_subtasks=False)
    stage.loop.update_task("tidy up")
    stage.loop.update_mode("autonomy")
    for _ in range(5):
        stage.now += 500.0
        stage.turn("tidy up")
    assert stage.subtasks == ["tidy up"] * 5

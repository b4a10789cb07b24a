"""What a control period says of what it finds, and how often."""

from types import SimpleNamespace

import pytest
from story import Story, make_robot, middle

from pi0_ros.control import BlackBox, Mode
from pi0_ros.control.control_period import conditions, keep_time, move, ready, watch
from pi0_ros.control.journal import Journal, Now
from pi0_ros.control.mode_keeper import ModeEvent
from pi0_ros.control.modes import ModeState, Trigger
from pi0_ros.control.watchdogs import ClockFault
from pi0_ros.robot.spec import Kind


def moved(owner, changed, sentence=""):
    """The parts of a core whose command was moved so, and what they note and fire."""
    fired, braked = [], []
    drive = SimpleNamespace(move=lambda *given: (owner, changed), brake=lambda: braked.append(True) or None)
    parts = SimpleNamespace(
        drive=drive,
        pace=SimpleNamespace(plan_time=900.0),
        modes=SimpleNamespace(mode=Mode.AUTONOMY, fire=lambda now, event: fired.append((event.trigger, event.text))),
        failsafe=SimpleNamespace(late=False),
        plans=SimpleNamespace(grips=SimpleNamespace(sentence=sentence)),
        journal=Journal(BlackBox()),
    )
    return parts, fired, braked


def test_a_gripper_that_chatters_is_told_of_once_a_minute_while_the_policy_drives():
    parts, _, _ = moved("policy", 0, "the gripper chatters")
    for steady in (5.0, 5.02, 64.9, 65.1):
        assert move(parts, Now(steady, 900.0)) == "policy"
    told = parts.journal.take(Now(70.0, 900.0))
    assert [(e.steady, e.level, e.name, e.text) for e in told] == [
        (5.0, "warn", "gripper", "the gripper chatters"), (65.1, "warn", "gripper", "the gripper chatters"),
    ]  # fmt: skip
    parts, _, _ = moved("hold", 0, "the gripper chatters")
    move(parts, Now(5.0, 900.0))
    assert parts.journal.take(Now(5.0, 900.0)) == ()


def test_the_command_is_moved_by_both_clocks_and_the_plan_clock_in_the_mode_that_is():
    parts, given = moved("policy", 0)[0], []
    parts.drive.move = lambda *all_of_it: given.append(all_of_it) or ("policy", 0)
    parts.failsafe.late = "whether it is late"
    move(parts, Now(5.0, 899.5))
    assert given == [(5.0, 900.0, 899.5, Mode.AUTONOMY, "whether it is late")]


@pytest.mark.parametrize(("changed", "counted"), [(0, 0), (1, 1), (3, 1)])
def test_a_period_in_which_limits_were_at_work_counts_once(changed, counted):
    parts, fired, braked = moved("teleop", changed)
    assert move(parts, Now(5.0, 900.0)) == "teleop"
    assert parts.journal.counters.limited == counted and fired == braked == []


def test_a_command_that_is_not_finite_stops_the_robot_and_brakes_it():
    parts, fired, braked = moved("policy", None, "the gripper chatters")
    assert move(parts, Now(5.0, 900.0)) == "hold"
    assert fired == [(Trigger.FAULT, "a command that is not finite was refused")] and braked == [True]
    assert parts.journal.counters.limited == 0 and parts.journal.take(Now(5.0, 900.0)) == ()


def events(story, name):
    return [(round(e.steady, 2), e.level) for s in story.steps for e in s.events if e.name == name]


def test_what_a_robot_waits_for_is_told_every_ten_seconds():
    story = Story(make_robot())
    story.joints = False
    story.tick(1.0)
    for _ in range(44):
        story.tick(0.5)
    assert events(story, "waiting") == [(1.0, "warn"), (11.0, "warn"), (21.0, "warn")]
    assert all(step.command is None and step.owner == "none" for step in story.steps)


def test_missed_periods_are_counted_and_told_as_many_as_they_were():
    story = Story().run(0.1)
    story.tick(0.13)
    story.tick()
    assert story.last.counters.overruns == 5  # of 6.5 periods one came
    assert "5 control periods missed" in story.texts() and events(story, "overrun")[0][1] == "warn"


def test_a_step_that_comes_too_soon_commands_nothing_and_says_so():
    story = Story().run(0.1)
    step = story.executor.step(story.steady + 0.009, story.ros + 0.009)
    assert step.command is None and step.owner == "none"
    assert [(e.name, e.level, e.text) for e in step.events] == [
        ("period", "warn", "a step that came too soon was refused")
    ]


@pytest.mark.parametrize(("off", "told"), [(-0.01, False), (0.01, True)])
@pytest.mark.parametrize("side", ["upper", "lower"])
def test_a_robot_that_starts_beyond_a_limit_is_told_of_and_one_within_all_of_them_is_not(side, off, told):
    robot, start = make_robot(), middle(make_robot())
    start[[c.kind is Kind.VELOCITY for c in robot.channels]] = 0.0
    i = robot.index["right_joint3"]
    start[i] = getattr(robot.channels[i].limits, side) + (off if side == "upper" else -off)
    story = Story(robot, start=start).run(0.1)
    found = [text for text in story.texts().splitlines() if "beyond its limit" in text]
    assert [text.split()[0] for text in found] == ["right_joint3"] * told
    assert story.at("right_joint3") == pytest.approx(start[i])


def kept(fault=None, set_back=900.0, missed=0):
    """What happens at 10.0 steady and 900.0 ROS seconds by clocks that did so: what is fired, noted, forgotten, advanced."""
    done = []
    note = lambda name: lambda *given: done.append((name, *given))
    parts = SimpleNamespace(
        pace=SimpleNamespace(
            missed=lambda steady: missed if steady == 10.0 else None,
            fault=lambda now: fault,
            set_back=lambda ros: ros == set_back,
            advance=note("advanced"),
            restart=note("clocks"),
        ),
        modes=SimpleNamespace(fire=lambda now, event: done.append((event.trigger, event.text, event.level))),
        inputs=SimpleNamespace(measured=SimpleNamespace(forget_stamps=note("stamps"))),
        plans=SimpleNamespace(forget=note("plans")),
        gate=SimpleNamespace(plausibility=SimpleNamespace(history=SimpleNamespace(clear=note("past")))),
        drive=SimpleNamespace(restart_stamps=note("command stamps")),
        journal=Journal(BlackBox()),
    )
    now = Now(10.0, 900.0)
    keep_time(parts, now)
    assert done.pop() == ("advanced", now)
    return done, [(e.level, e.name, e.text) for e in parts.journal.take(now)], parts.journal.counters


def test_a_clock_that_stands_ends_autonomy_and_one_that_jumped_voids_all_that_was_placed_on_it():
    assert kept(set_back=1.0)[:2] == ([], [])
    stopped, noted, _ = kept((ClockFault.STOPPED, "the clock stands"), set_back=1.0)
    assert (stopped, noted) == ([(Trigger.CLOCK_JUMP, "the clock stands", "error")], [])
    jumped, noted, _ = kept((ClockFault.JUMPED, "by 9 s"), set_back=1.0)
    assert set(jumped) == {
        ("plans",), ("stamps",), ("past",), ("clocks",), ("command stamps",), (Trigger.CLOCK_JUMP, "the ROS clock jumped", "warn"),
    }  # fmt: skip
    assert noted == [("warn", "clock", "the ROS clock jumped: plans and stamps before it are void")]


def test_a_clock_that_was_set_back_by_a_little_makes_the_next_measurements_new_and_ends_nothing():
    assert kept()[:2] == ([("stamps",)], [])


def test_so_many_periods_are_counted_as_were_missed():
    _, noted, counters = kept(missed=7, set_back=1.0)
    assert counters.overruns == 7 and noted == [("warn", "overrun", "7 control periods missed")]


def test_a_clock_that_is_told_to_have_been_set_ends_autonomy_and_its_plan_at_once():
    story = Story().autonomy(goal={"left_joint2": 0.5}, rows=40)
    story.run(0.4)
    epoch = story.last.epoch
    story.executor.on_clock_jump(story.steady, story.ros)
    assert story.executor.epoch == epoch + 1 and story.executor.running_plan(story.ros) is None
    at = story.steady, story.ros
    step = story.tick()
    assert [(e.steady, e.ros) for e in step.events if e.name == "clock"] == [at]
    assert step.mode is Mode.HOLD and step.reason == "the ROS clock jumped" and step.plan_sequence == 0


# --- one step of a period at a time, at 10 steady and 900 ROS seconds ------------------------------------------------

NOW = Now(10.0, 900.0)


def at_steady(answer):
    """What is asked at this moment of the steady clock."""

    def ask(steady):
        assert steady == 10.0
        return answer

    return ask


def core(mode=Mode.AUTONOMY, events=(), starved=(False, False), enabled=True, contradicted="", fault=None, alive=True):
    """The parts of a core of which only this is known; what they are told is in `told`."""
    told = []
    note = lambda name: lambda *given: told.append((name, *given))
    watchdogs = SimpleNamespace(starved=starved[0], tracking=None)

    def update(steady, now):
        assert steady == 10.0
        watchdogs.starved = starved[1]
        return list(events)

    watchdogs.update = update
    measured = SimpleNamespace(
        outside="outside",
        contradicted=at_steady(contradicted),
        frozen=at_steady("frozen"),
        values=[0.1, 0.2],
        command=None,
    )
    plans = SimpleNamespace(
        following=SimpleNamespace(waiting="waiting", dry="dry"),
        strategies=SimpleNamespace(delays=SimpleNamespace(p95=0.7)),
        forget=note("plans"),
    )
    parts = SimpleNamespace(
        settings=SimpleNamespace(estop_heartbeat=0.3),
        failsafe=watchdogs,
        inputs=SimpleNamespace(
            measured=measured,
            teleop=SimpleNamespace(enabled=at_steady(enabled), alive=at_steady(alive)),
            estop=SimpleNamespace(active=lambda steady, heartbeat: f"pressed at {steady:g} within {heartbeat:g}"),
            policy="policy",
        ),
        plans=plans,
        gate=SimpleNamespace(
            refusal="refused",
            sources=SimpleNamespace(other="another"),
            plausibility=SimpleNamespace(history=SimpleNamespace(clear=note("past"))),
        ),
        pace=SimpleNamespace(fault=lambda now: fault if now == NOW else None),
        modes=SimpleNamespace(mode=mode, state=ModeState(mode, "asked", 4), fire=note("fired")),
        start_up=SimpleNamespace(done=True),
        drive=SimpleNamespace(commanded="commanded", still=False, hold_measured=note("held"), begin=note("begun")),
        engage=SimpleNamespace(begin=note("slow")),
        journal=Journal(BlackBox()),
    )
    return parts, told


@pytest.mark.parametrize("starved", [(False, False), (False, True), (True, True), (True, False)])
def test_a_plan_that_runs_out_is_counted_and_told_when_it_does(starved):
    parts, told = core(starved=starved)
    watch(parts, NOW, "")
    new = starved == (False, True)
    assert parts.journal.counters.underruns == new and told == []
    assert [(e.level, e.name) for e in parts.journal.take(NOW)] == [("warn", "underrun")] * new


def test_every_event_is_fired_and_who_is_off_its_command_is_held_where_it_is_measured():
    events = [ModeEvent(Trigger.STATE_STALE, "late"), ModeEvent(Trigger.TRACKING, "TRACKING: j1")]
    parts, told = core(events=events)
    watch(parts, NOW, "")
    assert told == [("fired", NOW, events[0]), ("fired", NOW, events[1]), ("held",)]
    assert [(e.steady, e.level, e.name, e.text) for e in parts.journal.take(NOW)] == [
        (10.0, "error", "tracking", "TRACKING: j1")
    ]


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.TELEOP, Mode.AUTONOMY])
@pytest.mark.parametrize("enabled", [True, False])
def test_whoever_lets_the_button_go_is_followed_slowly_from_its_next_press_on(mode, enabled):
    parts, told = core(mode, enabled=enabled)
    watch(parts, NOW, "")
    assert told == ([("slow", 10.0)] if mode is Mode.TELEOP and not enabled else [])


@pytest.mark.parametrize(
    ("quiet", "contradicted", "found"),
    [("", "", (False, "")), ("", "two say j1", (False, "")), ("late", "", (False, "it stands")), ("late", "two say j1", (True, "it stands"))],
)  # fmt: skip
def test_what_the_failsafe_judges_by_is_what_is_known_at_this_moment(quiet, contradicted, found):
    parts, _ = core(contradicted=contradicted, fault=(ClockFault.STOPPED, "it stands"))
    now = conditions(parts, NOW, quiet)
    assert now.state == (quiet, "outside", found[0], "frozen", found[1], [0.1, 0.2])
    assert now.plan == ("waiting", "dry", 0.7, "refused", "another", "policy")
    assert now[:5] == (ModeState(Mode.AUTONOMY, "asked", 4), True, "pressed at 10 within 0.3", False, "commanded")


@pytest.mark.parametrize(("mode", "alive", "followed"), [(Mode.TELEOP, True, True), (Mode.TELEOP, False, False), (Mode.HOLD, True, False)])  # fmt: skip
def test_a_device_counts_where_a_person_drives(mode, alive, followed):
    assert conditions(core(mode, alive=alive)[0], NOW, "").teleop is followed


@pytest.mark.parametrize("quiet", ["", "late"])
@pytest.mark.parametrize("contradicted", ["", "two say j1"])
@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("still", [False, True])
def test_commands_stop_once_all_is_at_rest_and_nobody_knows_where_the_robot_is(quiet, contradicted, gone, still):
    parts, _ = core(contradicted=contradicted)
    parts.failsafe.lost, parts.drive.still = at_steady(gone), still
    unknown = (quiet != "" and gone) or contradicted != ""
    assert ready(parts, NOW, quiet) is parts.start_up.done is not (unknown and still)


def test_the_first_command_begins_everything_at_the_measured_place():
    parts, told = core()
    note = lambda name: lambda *given: told.append((name, *given))
    parts.inputs.measured.outside = ""
    parts.start_up = SimpleNamespace(
        done=False, objection=lambda steady, quiet: f"{quiet} at {steady:g}" if quiet else "", wait=note("waits"),
        place=lambda now: "place" if now == NOW else None, begin=note("ready"),
    )  # fmt: skip
    parts.failsafe.begin = note("watched")
    assert not ready(parts, NOW, "late") and told == [("waits", NOW, "late at 10")]
    told.clear()
    parts.inputs.measured.outside = "j1 is far outside"
    assert not ready(parts, NOW, "") and told == [("fired", NOW, ModeEvent(Trigger.FAULT, "j1 is far outside"))]
    told.clear()
    parts.inputs.measured.outside = ""
    assert ready(parts, NOW, "")
    assert set(told) == {("ready",), ("begun", "place"), ("watched", "place"), ("past",), ("plans",)}
    assert parts.inputs.measured.command == "place"

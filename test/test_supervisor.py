"""Programs that run together: their lines carry names, none is restarted, and all are stopped."""

import io
import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from pi0_ros import supervisor
from pi0_ros.bringup import Node
from pi0_ros.supervisor import EndedProgram, Program, Supervisor

PATIENCE = 60.0
WAITS = "import signal; print('ready', flush=True); signal.pause()"
DEAF = f"import signal; [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)]; {WAITS}"
POLITE = (
    "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(print('safe now', flush=True))); "
    "print('ready', flush=True); signal.pause()"
)


def program(name, code, required=False):
    return Program(name, (sys.executable, "-u", "-c", code), required)


class Lines(io.StringIO):
    """Collects what is printed and lets a test wait for a line."""

    def __init__(self):
        super().__init__()
        self._grown = threading.Condition()

    def write(self, text):
        with self._grown:
            count = super().write(text)
            self._grown.notify_all()
        return count

    def wait_for(self, part, times=1):
        with self._grown:
            assert self._grown.wait_for(lambda: self.getvalue().count(part) >= times, PATIENCE), self.getvalue()


@pytest.fixture
def running():
    """Starts supervisors and stops them whatever happens."""
    started = []

    def start(*programs):
        out = Lines()
        started.append(Supervisor(programs, out))
        started[-1].start()
        return started[-1], out

    yield start
    for one in started:
        one.stop()


def test_every_line_carries_the_name_of_its_program(running):
    _, out = running(program("cat", "print('meow')"), program("bluebird", "print('chirp\\nchirp')"))
    out.wait_for("[cat     ] meow\n")
    out.wait_for("[bluebird] chirp\n", times=2)


def test_errors_of_a_program_are_shown_like_its_output(running):
    _, out = running(program("node", "raise SystemExit('no robot named spot')"))
    out.wait_for("[node] no robot named spot\n")


def test_a_program_that_ends_is_reported_with_its_exit_code_and_not_started_again(running):
    one, _ = running(program("brief", "raise SystemExit(3)"), program("lasting", WAITS))
    ended = one.next_event(PATIENCE)
    assert (ended.program.name, ended.code) == ("brief", 3)
    assert str(ended) == "brief ended with exit code 3"
    assert [p.name for p in one.running] == ["lasting"]


def test_a_program_ended_by_a_signal_is_reported_with_the_signal():
    assert str(EndedProgram(program("node", ""), -signal.SIGSEGV)) == "node ended by SIGSEGV"


def test_stopping_asks_with_sigint_first(running):
    one, out = running(program("polite", POLITE))
    out.wait_for("ready")
    assert one.stop() == ()
    out.wait_for("[polite] safe now\n")
    assert one.running == ()


def test_a_program_that_will_not_stop_is_killed_and_named(running, monkeypatch):
    monkeypatch.setattr(supervisor, "ESCALATION", tuple((number, PATIENCE if number == signal.SIGKILL else 0.05)
                                                        for number, _ in supervisor.ESCALATION))  # fmt: skip
    one, out = running(program("deaf", DEAF), program("polite", POLITE))
    out.wait_for("ready", times=2)
    assert "deaf" in [p.name for p in one.stop()]
    assert one.running == ()


def test_a_signal_goes_to_one_program_and_to_none_that_has_ended(running):
    one, out = running(program("brief", WAITS), program("lasting", WAITS))
    out.wait_for("ready", times=2)
    one.send("brief", signal.SIGKILL)
    assert str(one.next_event(PATIENCE)) == "brief ended by SIGKILL"
    one.send("brief", signal.SIGKILL)
    assert [p.name for p in one.running] == ["lasting"]
    with pytest.raises(KeyError):
        one.send("absent", signal.SIGTERM)


def test_stopping_takes_three_seconds_at_most():
    assert sum(patience for _, patience in supervisor.ESCALATION) + supervisor.LAST_WORDS <= 3.0
    assert [number for number, _ in supervisor.ESCALATION] == [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


def test_nothing_is_left_running_when_one_program_cannot_be_started():
    absent = Program("absent", ("/nowhere/at_all",))
    one = Supervisor([program("lasting", WAITS), absent], Lines())
    with pytest.raises(FileNotFoundError):
        one.start()
    assert one.running == ()


def supervised(*programs):
    """A process that runs `supervise` on these programs."""
    code = f"import sys; from pi0_ros.supervisor import Program, supervise; sys.exit(supervise({list(programs)!r}))"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def read_until(process, part):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if part in line:
            return lines
    raise AssertionError(f"{part!r} was never printed:\n{''.join(lines)}")


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGINT, "Ctrl-C"),
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGHUP, "SIGHUP, the terminal was closed"),
        (signal.SIGQUIT, "SIGQUIT"),
    ],
)
def test_a_signal_stops_everything_says_why_and_is_success(number, why):
    with supervised(program("polite", POLITE)) as process:
        read_until(process, "ready")
        process.send_signal(number)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert rest.splitlines() == [f"[up    ] stopping: {why}", "[polite] safe now"]


def test_where_the_terminal_is_gone_the_programs_are_still_stopped_in_order(tmp_path):
    safe = tmp_path / "safe"
    polite = POLITE.replace("print('safe now', flush=True)", f"open({str(safe)!r}, 'w').close()")
    with supervised(program("polite", polite)) as process:
        read_until(process, "ready")
        process.stdout.close()
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE) == 0
    assert safe.exists()


def test_the_others_go_on_when_one_that_is_not_required_fails_and_success_it_is_not():
    with supervised(program("brief", "raise SystemExit(3)"), program("polite", POLITE)) as process:
        told = read_until(process, "not restarted") + ["\n"]
        if not any("ready" in line for line in told):
            read_until(process, "ready")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert "brief ended with exit code 3 and is not restarted; still running: polite" in "".join(told)
    assert process.returncode == 1


def test_when_a_required_program_ends_all_end():
    with supervised(program("lasting", WAITS), program("heart", "raise SystemExit(0)", required=True)) as process:
        told, _ = process.communicate(timeout=PATIENCE)
    assert "heart ended with exit code 0; stopping the others" in told
    assert process.returncode == 1


def test_when_the_last_program_ends_there_is_nothing_to_wait_for():
    with supervised(program("brief", "raise SystemExit(2)")) as process:
        told, _ = process.communicate(timeout=PATIENCE)
    assert "brief ended with exit code 2" in told
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a program that its parent was killed")
def test_programs_do_not_outlive_a_supervisor_that_is_killed():
    says_its_number = f"import os; print('number', os.getpid(), flush=True); {WAITS}"
    with supervised(program("orphan", says_its_number)) as process:
        number = int(read_until(process, "number")[-1].split()[-1])
        watched = os.pidfd_open(number)
        process.kill()
        ended, _, _ = select.select([watched], [], [], PATIENCE)
        os.close(watched)
    assert ended


STEP = 1.0  # [s] of patience with a program that asked for no more
BRAKES_FOR_LONG = (
    "import signal, sys\n"
    "from pi0_ros.ros.notify import extend_timeout\n"
    "def stop(*_):\n    extend_timeout(30.0)\n"
    f"    hurried = signal.sigtimedwait([signal.SIGTERM], {1.5 * STEP})\n"
    "    print('hurried' if hurried else 'at rest', flush=True)\n    sys.exit()\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    "signal.signal(signal.SIGINT, stop)\nprint('ready', flush=True)\nwhile True: signal.pause()"
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the credentials that Linux sends along")
def test_a_program_whose_robot_needs_longer_to_stop_asks_for_it_and_has_it(running, monkeypatch):
    monkeypatch.setattr(
        supervisor,
        "ESCALATION",
        tuple((number, STEP if number != signal.SIGKILL else PATIENCE) for number, _ in supervisor.ESCALATION),
    )
    one, out = running(program("base", BRAKES_FOR_LONG), program("deaf", DEAF))
    out.wait_for("ready", times=2)
    # The deaf one gets no more than its share once the other has ended.
    assert [p.name for p in one.stop()] == ["deaf"]
    assert any("at rest" in line for line in out.getvalue().splitlines())
    assert "hurried" not in out.getvalue()


def test_a_program_that_asks_for_it_is_started_again_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(supervisor, "RESPAWN_DELAY", 0.0)
    out = Lines()
    ending = Program("policy", (sys.executable, "-u", "-c", "print('up again'); raise SystemExit(3)"), respawn=True)

    def end_it():
        out.wait_for("up again", times=3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=end_it)
    thread.start()
    code = supervisor.supervise([program("executor", POLITE, required=True), ending], out)
    thread.join()
    assert code == 0
    assert "policy ended with exit code 3; it is started again" in out.getvalue()
    assert out.getvalue().count("safe now") == 1


STARTS_SLOWLY = """
import signal, sys, time
if "pi0_ros.nodes.task_source" in sys.orig_argv:
    print("Python is starting", flush=True)
    while signal.SIGINT not in signal.sigpending():
        time.sleep(0.01)
"""


def test_ctrl_c_while_the_python_of_a_node_is_starting_ends_it_quietly(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(STARTS_SLOWLY)
    patient = tuple((number, PATIENCE) for number, _ in supervisor.ESCALATION)
    monkeypatch.setattr(supervisor, "ESCALATION", patient)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    out = Lines()
    one = Supervisor([supervisor.node_program(Node("task_source"))], out, {"PYTHONPATH": path})
    one.start()
    out.wait_for("Python is starting")
    assert one.stop() == ()
    assert one.next_event(PATIENCE).code == 0
    assert out.getvalue() == "[task_source] Python is starting\n"


BLOCKED = "import signal; print('blocked', *map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())), flush=True)"
AND_WHAT_IT_STARTS = f"{BLOCKED}; import subprocess, sys; subprocess.run([sys.executable, '-c', {BLOCKED!r}])"
AS_A_NODE = "import sys; sys.argv[0] = '-m'; import pi0_ros.nodes; "


@pytest.mark.parametrize(
    "one", [program("driver", AND_WHAT_IT_STARTS),
            Program("node", (sys.executable, "-u", "-c", AS_A_NODE + AND_WHAT_IT_STARTS), unblocks_sigint=True)]
)  # fmt: skip
def test_no_program_goes_on_with_a_blocked_signal_nor_what_it_starts(running, one):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    _, out = running(one)
    out.wait_for(f"[{one.name}] blocked\n", times=2)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before

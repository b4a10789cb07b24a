"""Runs programs together if there is no ROS launcher: prefixed log lines, restarts for those that ask for it alone,
all stopped together."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from pi0_ros.bringup import RESPAWN_DELAY, Node, command
from pi0_ros.process import end_with_parent
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.notify import Extensions
from pi0_ros.ros.signals import sigint_blocked, stop_numbers

# How long the programs have altogether, from the first signal on [s], before the next one is sent.
ESCALATION = ((signal.SIGINT, 1.8), (signal.SIGTERM, 0.5), (signal.SIGKILL, 0.3))
# How long their last lines may take to come through [s].
LAST_WORDS = 0.2
# How often it is looked whether a program has ended or asked for more time [s].
POLL = 0.02
_MEANING = {"SIGINT": "Ctrl-C", "SIGHUP": "SIGHUP, the terminal was closed"}


@dataclass(frozen=True)
class Program:
    """A command line under a name. When a `required` one ends, running the others makes no sense; one with `respawn` is
    started again.

    `unblocks_sigint`: it starts with SIGINT blocked, and unblocks it itself when it has a handler, as the nodes do
    (`pi0_ros.ros.signals.leave_quietly_while_loading`). Any other program would keep it blocked.
    """

    name: str
    command: Sequence[str]
    required: bool = False
    respawn: bool = False
    unblocks_sigint: bool = False


def node_program(node: Node, required: bool | None = None) -> Program:
    """The program that runs a node of this package; `required` goes over what the node says."""
    needed = node.required if required is None else required
    return Program(node.executable, command(node), needed, node.respawn, unblocks_sigint=True)


@dataclass(frozen=True)
class EndedProgram:
    """A program that is no longer running, with its exit code (negative: the signal that ended it)."""

    program: Program
    code: int

    def __str__(self) -> str:
        how = f"by {signal.Signals(-self.code).name}" if self.code < 0 else f"with exit code {self.code}"
        return f"{self.program.name} ended {how}"


class LabelledOutput:
    """Prints lines of several programs, each under its program's name."""

    def __init__(self, names: Sequence[str], out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._width = max(map(len, names), default=0)
        self._printing = threading.Lock()

    def say(self, name: str, line: str) -> None:
        """Print one line under a program's name."""
        # If the terminal was closed nobody reads any more; the programs have to be looked after all the same.
        with self._printing, contextlib.suppress(OSError, ValueError):
            self._out.write(f"[{name:<{self._width}}] {line.rstrip()}\n")
            self._out.flush()


class Supervisor:
    """Starts programs, passes on what they print, and stops them."""

    def __init__(self, programs: Sequence[Program], out: TextIO | None = None, env: Mapping[str, str] | None = None):
        self._programs = tuple(programs)
        self.output = LabelledOutput([program.name for program in programs], out)
        self._extensions = Extensions()
        self._env = {**os.environ, **(env or {}), **self._extensions.environment, "PYTHONUNBUFFERED": "1"}
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._threads: list[GuardedThread] = []
        self._news: queue.SimpleQueue[EndedProgram | None] = queue.SimpleQueue()

    @property
    def running(self) -> tuple[Program, ...]:
        """The programs that have been started and have not ended."""
        started = (program for program in self._programs if program.name in self._processes)
        return tuple(program for program in started if self._processes[program.name].poll() is None)

    @property
    def processes(self) -> dict[str, int]:
        """Process numbers of the running programs, by name."""
        return {program.name: self._processes[program.name].pid for program in self.running}

    def start(self) -> None:
        """Start all programs; what was started is stopped again if one cannot be (OSError)."""
        try:
            for program in self._programs:
                self._processes[program.name] = self._spawn(program)
        except OSError:
            self.stop()
            raise
        # Threads come last: a fork in a process that has some is not safe.
        for program in self._programs:
            self._watch(program)

    def restart(self, program: Program) -> None:
        """Start a program that has ended once more. Raises OSError."""
        # Threads run now, so nothing of Python may run between fork and exec; nodes watch their parent by themselves.
        self._processes[program.name] = self._spawn(program, first=False)
        self._watch(program)

    def next_event(self, timeout: float | None = None) -> EndedProgram | None:
        """Wait for a program to end. None after `interrupt()`, or after `timeout` seconds."""
        try:
            return self._news.get(timeout=timeout)
        except queue.Empty:
            return None

    def interrupt(self) -> None:
        """Let `next_event` return None at once. Safe in a signal handler."""
        self._news.put(None)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one program and what it started; nothing if it has ended. Raises KeyError."""
        process = self._processes[name]
        if process.poll() is None:
            self._signal(process, number)

    def stop(self) -> tuple[Program, ...]:
        """End all programs within 3 s: SIGINT, then SIGTERM, then SIGKILL. Returns those that had to be killed.

        A program that asks for more time (`pi0_ros.ros.notify`), because what it moves cannot stop any faster, has it.
        """
        killed: tuple[Program, ...] = ()
        for number, patience in ESCALATION:
            killed = self.running
            for program in killed:
                self._signal(self._processes[program.name], number)
            if self._all_ended(patience):
                break
        deadline = time.monotonic() + LAST_WORDS
        for thread in self._threads:
            thread.stop(max(0.0, deadline - time.monotonic()))
        return killed if number == signal.SIGKILL else ()

    def _spawn(self, program: Program, first: bool = True) -> subprocess.Popen[str]:
        # A session of its own keeps the terminal's Ctrl-C away: it is the supervisor that stops programs.
        with sigint_blocked() if program.unblocks_sigint else contextlib.nullcontext():
            return subprocess.Popen(
                list(program.command),
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                # A robot must not go on unattended, where the supervisor is killed. `start` has no threads yet.
                preexec_fn=end_with_parent if first else None,  # noqa: PLW1509
            )

    def _watch(self, program: Program) -> None:
        for work in (self._pass_on, self._report_end):
            name = f"{program.name} {work.__name__}"
            self._threads.append(GuardedThread(name, partial(work, program), partial(self.output.say, "up")).start())

    def _pass_on(self, program: Program) -> None:
        for line in self._processes[program.name].stdout or ():
            self.output.say(program.name, line)

    def _report_end(self, program: Program) -> None:
        self._news.put(EndedProgram(program, self._processes[program.name].wait()))

    def _signal(self, process: subprocess.Popen[str], number: signal.Signals) -> None:
        # Its session is its process group, so what the program started gets the signal too.
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return

    def _all_ended(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while running := [self._processes[program.name] for program in self.running]:
            asked_for = max(self._extensions.until(process.pid) for process in running)
            left = max(deadline, asked_for) - time.monotonic()
            if left <= 0.0:
                return False
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[0].wait(min(left, POLL))
        return True


def supervise(programs: Sequence[Program], out: TextIO | None = None) -> int:
    """Run programs until a signal asks to end, or until a required one, or the last, has ended.

    Returns the exit code: 0 if a signal ended it and no program had failed or had to be killed, else 1.
    """
    supervisor, stopping = Supervisor(programs, out), threading.Event()

    names: list[str] = []

    def ask(name: str) -> None:
        names.append(name)
        stopping.set()
        supervisor.interrupt()

    with stop_signals(ask):
        supervisor.start()
        failed = _wait(supervisor, stopping)
        if stopping.is_set():
            supervisor.output.say("up", f"stopping: {_MEANING.get(names[0], names[0])}")
        killed = supervisor.stop()
    for program in killed:
        supervisor.output.say("up", f"{program.name} did not stop by itself and was killed")
    return int(failed or bool(killed))


def _wait(supervisor: Supervisor, stopping: threading.Event) -> bool:
    """Report what ends until it is time to stop; returns whether a program failed."""
    failed = False
    while not stopping.is_set():
        ended = supervisor.next_event()
        if ended is None:
            continue
        failed = failed or (ended.code != 0 and not ended.program.respawn) or ended.program.required
        others = supervisor.running
        if ended.program.required or not (others or ended.program.respawn):
            supervisor.output.say("up", f"{ended}{'; stopping the others' if others else ''}")
            return failed
        if ended.program.respawn:
            supervisor.output.say("up", f"{ended}; it is started again in {RESPAWN_DELAY:g} s")
            if not stopping.wait(RESPAWN_DELAY):
                supervisor.restart(ended.program)
            continue
        supervisor.output.say("up", f"{ended} and is not restarted; still running: {', '.join(p.name for p in others)}")
    return failed


@contextmanager
def stop_signals(react: Callable[[str], None]) -> Iterator[None]:
    """Within this block, signals that ask to end (`pi0_ros.ros.signals`) call `react` with their name, and end nothing."""

    def handle(number: int, _: object) -> None:
        react(signal.Signals(number).name)

    before = {number: signal.signal(number, handle) for number in stop_numbers()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

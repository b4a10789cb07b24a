"""The processes that plant slips and run tests: one in which the tests are loaded already, and one that loads them each time.

A slip inside a function is planted in the loaded function (its code object is exchanged) in a fork of a process that has
collected all tests: it costs what its tests cost. A slip at a module's top level, or in a default, needs the import.
"""

import functools
import gc
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, FunctionType

from bench._mutants import Mutant

ROOT = Path(__file__).resolve().parent.parent
CO_OPTIMIZED = 1  # set in the code of functions, not in that of modules and class bodies
HEAVY = {
    "model": ("torch",), "policy": ("torch",), "train": ("torch",), "data": ("pyarrow", "av"), "sim": ("mujoco",),
    "ros": ("rclpy",), "nodes": ("rclpy", "torch"),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one slip; `by` is the test that noticed it."""

    file: str
    line: int
    kind: str
    before: str
    after: str
    result: str  # killed, survived, no test, timeout
    by: str
    tests: int
    seconds: float


@dataclass(frozen=True)
class Job:
    """A slip, the tests to run, and how long [s] they may take together."""

    mutant: Mutant
    tests: tuple[str, ...]
    limit: float


class FirstFailure:
    """A pytest plugin: the first test that failed."""

    def __init__(self) -> None:
        self.by = ""

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.by:
            self.by = report.nodeid

    def pytest_collectreport(self, report):
        if report.failed and not self.by:
            self.by = f"{report.nodeid} (import)"


# ---------------------------------------------------------------- code objects


def codes(source: bytes, file: str) -> Iterator[CodeType]:
    """The code of a module and of everything defined in it, in the order of definition."""
    waiting = [compile(source, file, "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop(0)
        yield code
        waiting += [c for c in code.co_consts if isinstance(c, CodeType)]


def what_it_does(code: CodeType) -> tuple:
    """A code object without where it stands and without what is defined in it."""
    consts = tuple((type(c), repr(c)) for c in code.co_consts if not isinstance(c, CodeType))
    return code.co_qualname, code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars


def only_functions_differ(before: bytes, after: bytes) -> bool:
    """Whether a slip changes what functions do and nothing that happens when the module is imported."""
    old, new = list(codes(before, "m")), list(codes(after, "m"))
    if [c.co_qualname for c in old] != [c.co_qualname for c in new]:
        return False
    changed = [a for a, b in zip(old, new, strict=True) if what_it_does(a) != what_it_does(b)]
    return bool(changed) and all(c.co_flags & CO_OPTIMIZED for c in changed)


def exchange(live: dict[tuple[str, int], list[FunctionType]], before: bytes, after: bytes, file: str) -> None:
    """Give the loaded functions of a module the code of the changed source; ValueError if that is not possible."""
    old, new = numbered(codes(before, file)), numbered(codes(after, file))
    for place, code in new.items():
        if place in old and what_it_does(old[place]) != what_it_does(code) or inner_differs(old.get(place), code):
            for function in live.get(place, ()):
                function.__code__ = code


def inner_differs(old: CodeType | None, new: CodeType) -> bool:
    """Whether something defined inside differs: it is made from the outer function's constants."""
    if old is None:
        return True
    pairs = zip(*([c for c in code.co_consts if isinstance(c, CodeType)] for code in (old, new)), strict=False)
    return any(what_it_does(a) != what_it_does(b) or inner_differs(a, b) for a, b in pairs)


def numbered(found: Iterator[CodeType]) -> dict[tuple[str, int], CodeType]:
    """(qualified name, how many of that name came before) -> code."""
    places: dict[tuple[str, int], CodeType] = {}
    for code in sorted(found, key=lambda c: c.co_firstlineno):
        count = 0
        while (code.co_qualname, count) in places:
            count += 1
        places[code.co_qualname, count] = code
    return places


def loaded_functions(copy: Path) -> dict[str, dict[tuple[str, int], list[FunctionType]]]:
    """Module file -> (qualified name, number) -> the function objects that exist now."""
    byfile: dict[str, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(f"{copy}/pi0_ros/"):
            byfile.setdefault(thing.__code__.co_filename, []).append(thing)
    found: dict[str, dict[tuple[str, int], list[FunctionType]]] = {}
    for file, functions in byfile.items():
        places = {c: place for place, c in numbered(codes(Path(file).read_bytes(), file)).items()}
        for function in functions:
            if function.__code__ in places:
                found.setdefault(file, {}).setdefault(places[function.__code__], []).append(function)
    return found


# ---------------------------------------------------------------- forks


def judged(code: int, by: str, log: Path) -> tuple[str, str]:
    """The result for pytest's exit code, and the test that failed. A conftest that cannot be imported any more is noticed too:
    no test is red then, as none is run."""
    if code == 0:
        return "survived", ""
    if code in (4, 5) and not by:
        broken = "while loading conftest" in log.read_text(errors="replace")
        return ("killed", "(a conftest cannot be imported)") if broken else ("no test", "")
    return "killed", by


def forked(body: Callable[[], tuple[int, str]], limit: float, log: Path) -> tuple[str, str]:
    """Run `body` in a fork, which returns pytest's exit code and the test that failed; the result and that test."""
    answer, child_end = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        storage = tempfile.mkdtemp(prefix="hypothesis_")
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = storage
        try:
            child_end.send(body())
        finally:
            shutil.rmtree(storage, ignore_errors=True)
            os._exit(0)
    child_end.close()
    result = ("timeout", "")
    try:
        # In slices, so that a pause of all these processes does not count.
        if any(answer.poll(1.0) for _ in range(int(limit))):
            code, by = answer.recv()
            result = judged(code, by, log)
    except EOFError:
        result = ("killed", "(the process died)")
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return result


def options(copy: Path) -> list[str]:
    return ["-q", "-s", "--tb=line", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--basetemp={copy / 'tmp'}"]


def planted_in(copy: Path, job: Job, run: Callable[[bytes, bytes], tuple[str, str]]) -> dict:
    """Plant a slip in the copy, run its tests, and take it out again; the outcome as a dict."""
    file = copy / job.mutant.file
    source = file.read_bytes()
    changed = job.mutant.apply(source)
    began = time.monotonic()
    file.write_bytes(changed)
    try:
        result, by = run(source, changed) if job.tests else ("no test", "")
    finally:
        file.write_bytes(source)
    before, after = job.mutant.lines(source)
    seconds = round(time.monotonic() - began, 1)
    mutant = job.mutant
    return asdict(Outcome(mutant.file, mutant.line, mutant.kind, before, after, result, by, len(job.tests), seconds))


class LoadedTests:
    """A pytest plugin that, instead of running the collected tests once, runs some of them in a fork for every slip."""

    def __init__(self, copy: Path, jobs, results) -> None:
        self.copy, self.jobs, self.results = copy, jobs, results

    def pytest_runtestloop(self, session):
        session.config.pluginmanager.register(seen := FirstFailure())
        items = {item.nodeid: item for item in session.items}
        functions = loaded_functions(self.copy)
        caches = [thing for thing in gc.get_objects() if isinstance(thing, functools._lru_cache_wrapper)]
        gc.freeze()

        def run(job: Job, before: bytes, after: bytes) -> tuple[int, str]:
            file = str(self.copy / job.mutant.file)
            exchange(functions.get(file, {}), before, after, file)
            for cache in caches:
                if getattr(cache, "__module__", "").startswith("pi0_ros"):
                    cache.cache_clear()
            chosen = [item for test in job.tests for item in with_parameters(items, test)]
            for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if seen.by:
                    return 1, seen.by
            return (0 if chosen else 5), ""

        for job in iter(self.jobs.get, None):
            body = functools.partial(forked, limit=job.limit, log=self.copy / "pytest.log")
            tried = planted_in(self.copy, job, lambda a, b, job=job, body=body: body(lambda: run(job, a, b)))
            self.results.put(tried)
        return True


def with_parameters(items: dict[str, object], test: str) -> list:
    """The collected tests of this id; all parameters of a function if the id names the function alone."""
    return [items[test]] if test in items else [item for name, item in items.items() if name.split("[")[0] == test]


# ---------------------------------------------------------------- the processes


def prepare(copy: str, nice: int, number: int, environment: dict[str, str]) -> None:
    os.nice(nice)
    os.chdir(copy)
    sys.path[:] = [copy, *(p for p in sys.path if p not in ("", str(ROOT)))]
    os.environ.update(environment, PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    if "ROS_DOMAIN_ID" in os.environ:
        os.environ["ROS_DOMAIN_ID"] = str((int(os.environ["ROS_DOMAIN_ID"]) + 50 * number) % 101)
    sys.dont_write_bytecode = True
    # Not what each test run leaves behind: workers stay in the background.
    sys.stdout.flush()
    log = os.open(Path(copy) / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)


def work_loaded(copy: str, files: Sequence[str], jobs, results, nice: int, number: int, environment) -> None:
    """One worker whose tests are loaded once."""
    prepare(copy, nice, number, environment)
    import pytest

    pytest.main([*options(Path(copy)), *files], [LoadedTests(Path(copy), jobs, results)])
    results.put(None)


def work_fresh(copy: str, package: str, jobs, results, nice: int, number: int, environment) -> None:
    """One worker that loads the package and the tests anew for every slip; only libraries are loaded."""
    prepare(copy, nice, number, environment)
    for name in ("numpy", "yaml", "hypothesis", "pytest", "daqp", "ruckig", *HEAVY.get(package, ())):
        with suppress(ImportError):
            __import__(name)
    import pytest

    def run(job: Job) -> tuple[int, str]:
        seen = FirstFailure()
        return int(pytest.main(["-x", *options(Path(copy)), *job.tests], [seen])), seen.by

    for job in iter(jobs.get, None):
        body = functools.partial(forked, limit=job.limit, log=Path(copy) / "pytest.log")
        tried = planted_in(Path(copy), job, lambda a, b, job=job, body=body: body(lambda: run(job)))
        results.put(tried)
    results.put(None)

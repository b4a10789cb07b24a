"""One target in a process of its own: inputs, what they led to, and the bounds they are held to."""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench._fuzz_mutations import MAX_LENGTH, VALUES, mutated
from bench._fuzz_targets import TARGETS, Target, as_json, seeds

MEMORY_DISK = "/dev/shm"
SECONDS, MEMORY, SENTENCE = 2.0, 1 << 30, 2000
"""What one input may take [s], [bytes], and how long a refusal may be [characters]."""


class TooLongError(BaseException):
    """An input that took more than its time."""


class TimeIsUpError(BaseException):
    """Ends hypothesis, which takes only exceptions that are an `Exception` for failures."""


@dataclass
class Findings:
    """Counts, and the first input of every kind of failure."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def fail(self, kind: str, what: str, data: bytes) -> None:
        """Keep the shortest input of each kind."""
        if kind not in self.failures or len(data) < len(self.failures[kind][1]):
            self.failures[kind] = what, data


class Trial:
    """Calls a target with one input after the other. `note` [bytes] is where the parent finds the input that killed it."""

    def __init__(self, name: str, folder: Path, note: Path) -> None:
        self.target: Target = TARGETS[name]
        self.folder, self.findings = folder, Findings()
        self.parse, self.own = self.target.prepare(folder), self.target.own()
        with note.open("wb") as file:
            file.truncate(MAX_LENGTH + 8)
        with note.open("r+b") as file:
            self._note = mmap.mmap(file.fileno(), 0)
        signal.signal(signal.SIGALRM, _too_long)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))

    def __call__(self, data: bytes, again: bool = False) -> None:
        """Try one input; once `again` if it took long by the clock, as everything does beside a measurement or a load."""
        found = self.findings
        self._note[: 8 + len(data)] = len(data).to_bytes(8, "little") + data
        signal.setitimer(signal.ITIMER_REAL, 10.0 * SECONDS)
        begun = time.process_time()
        try:
            self.parse(data)
            found.accepted += 1
        except self.own as error:
            found.refused += 1
            self._judge(str(error), data)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - that is what is being counted
            if isinstance(error, TooLongError) and not again:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
                self(data, again=True)
                return
            found.fail(_kind(error), "".join(traceback.format_exception(error))[-3000:], data)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        took = time.process_time() - begun
        found.inputs += 1
        found.slowest = max(found.slowest, took)
        if took > SECONDS:
            found.fail("slow", f"{took:.2f} s", data)

    def _judge(self, sentence: str, data: bytes) -> None:
        if self.target.named and str(self.folder) not in sentence:
            self.findings.fail("names no file", sentence[:500], data)
        if len(sentence) > SENTENCE:
            self.findings.fail("long sentence", f"{len(sentence)} characters: {sentence[:300]}", data)
        if not sentence.replace("\n", " ").isprintable():
            self.findings.fail("control characters", repr(sentence[:500]), data)


def _too_long(*_: object) -> None:
    raise TooLongError


def _kind(error: BaseException) -> str:
    """Where an error came from: its type and the last line of ours that it went through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/pi0_ros/" in f.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"
    return f"{type(error).__name__} in {where}"


def inputs(engine: str, name: str, seed: int) -> Iterator[bytes]:
    """Inputs without end; the seeds themselves come first."""
    known = seeds(name)
    yield from known
    rng = random.Random(f"{name} {seed}")
    while True:
        yield mutated(known, rng)


def run_mutations(trial: Trial, name: str, count: int, seconds: float, seed: int) -> None:
    """Random damage, as quickly as it goes."""
    until = time.monotonic() + seconds
    for data in inputs("mutations", name, seed):
        trial(data)
        if trial.findings.inputs >= count or time.monotonic() > until:
            return
        if trial.findings.inputs % 4096 == 0:
            gc.collect()


def run_hypothesis(trial: Trial, name: str, count: int, seconds: float, seed: int) -> None:
    """Values near a sound one, with every part replaced by anything; of bytes a sound one with pieces replaced."""
    import hypothesis
    from hypothesis import strategies as st

    anything = st.recursive(
        st.one_of(st.sampled_from(VALUES), st.integers(), st.floats(), st.text(max_size=20)),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    )

    def near(value: Any) -> Any:
        if isinstance(value, dict):
            inside = st.fixed_dictionaries({k: near(v) for k, v in value.items()})
        elif isinstance(value, list) and len(value) <= 12:
            inside = st.tuples(*map(near, value)).map(list)
        else:
            inside = st.just(value)
        return st.integers(0, 7).flatmap(lambda n: anything if n == 7 else inside)

    sound = as_json(name)
    known = seeds(name)
    if sound is not None:
        strategy = near(sound).map(lambda v: json.dumps(v).encode("utf-8", "surrogatepass"))
    else:
        strategy = st.builds(
            lambda base, at, piece, skip: base[: at % (len(base) + 1)] + piece + base[at % (len(base) + 1) + skip :],
            st.sampled_from(known), st.integers(0, 1 << 20), st.binary(max_size=24), st.integers(0, 24),
        )  # fmt: skip
    until = time.monotonic() + seconds

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, derandomize=False, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(strategy)
    def attempt(data: bytes) -> None:
        if time.monotonic() > until:
            raise TimeIsUpError
        trial(data[:MAX_LENGTH])

    with contextlib.suppress(TimeIsUpError):
        attempt()


def run_atheris(
    trial: Trial, name: str, count: int, seconds: float, seed: int, report: Callable[[], None], folder: Path
) -> None:
    """Guided by coverage; does not return. Needs `pip install atheris`."""
    import atheris

    atheris.instrument_imports  # noqa: B018 - what is imported by now was instrumented by `work`
    corpus = folder / "corpus"
    corpus.mkdir()
    for k, data in enumerate(seeds(name)):
        (corpus / str(k)).write_bytes(data)

    def attempt(data: bytes) -> None:
        trial(data)
        if trial.findings.inputs % 256 == 0 or trial.findings.inputs >= count:
            report()
        if trial.findings.inputs >= count:
            os._exit(0)

    options = [
        f"-max_total_time={seconds:.0f}",
        f"-seed={seed + 1}",
        "-max_len=65536",
        "-rss_limit_mb=0",
        "-timeout=60",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], attempt)
    atheris.Fuzz()


def work(name: str, engine: str, count: int, seconds: float, seed: int, out: Path) -> int:
    """Try one target and write what was found to the folder `out`."""
    with tempfile.TemporaryDirectory(
        prefix=f"fuzz-{name}-", dir=MEMORY_DISK if os.access(MEMORY_DISK, os.W_OK) else None
    ) as place:
        folder = Path(place) / "f"
        folder.mkdir()
        os.chdir(place)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        if engine == "atheris":
            import atheris

            with atheris.instrument_imports(include=["pi0_ros", "mcap", "mcap_ros2", "json", "yaml"]):
                trial = Trial(name, folder, out / "note")
                trial(seeds(name)[0])  # imports what is imported late
        else:
            trial = Trial(name, folder, out / "note")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def report() -> None:
            _write(trial.findings, before, out)

        if engine == "atheris":
            run_atheris(trial, name, count, seconds, seed, report, Path(place))
        engines = {"mutations": run_mutations, "hypothesis": run_hypothesis}
        engines[engine](trial, name, count, seconds, seed)
        report()
    return 0


def _write(found: Findings, before: int, out: Path) -> None:
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    failures = []
    for k, (kind, (what, data)) in enumerate(sorted(found.failures.items())):
        (out / f"failure-{k}").write_bytes(data)
        failures.append({"kind": kind, "what": what, "input": f"failure-{k}"})
    facts = {
        "inputs": found.inputs, "accepted": found.accepted, "refused": found.refused, "slowest": found.slowest,
        "grown": grown, "failures": failures,
    }  # fmt: skip
    (out / "found.json.new").write_text(json.dumps(facts), encoding="utf-8")
    os.replace(out / "found.json.new", out / "found.json")


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(work(words[0], words[1], int(words[2]), float(words[3]), int(words[4]), Path(words[5])))

"""Plants small slips in a package, one at a time, and counts which the tests notice.

`python -m bench mutation --package control --n 200 --seed 1` draws slips, plants each in a copy of the checkout (never in
the checkout itself), and runs the tests that execute the changed function, quickest first, until one fails or they have worked for --work seconds. It prints
`killed` or `survived` with file:line and the changed line, and writes everything to --json. `--planted` plants the faults
of planted_faults.toml instead: slips that once went unnoticed, which a named test must notice. Slips that change nothing
stand in equivalent_mutants.toml with the reason, and are left out.

Which test runs which function is recorded first, and again where a test file has changed. A module's top level, and what
runs in another process, counts for the tests that name the module. Tests that fail or are skipped unchanged are left out.
mutmut and cosmic-ray do not fit: neither samples, neither finds the built messages, which share the package's name, and
both run everything for each slip.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench._mutants import Mutant, mutants, sample
from bench._mutation_worker import Job, Outcome, only_functions_differ, work_fresh, work_loaded

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
SLOWEST = 20.0  # [s of work] the tests of one slip together; what they do not notice in that time has survived
UNCHANGED = "unchanged"
TOGETHER = 12  # test files that are recorded by one process


# ---------------------------------------------------------------- which tests


def package_files(root: Path, package: str, modules: Sequence[str]) -> list[Path]:
    """The modules of a package that slips are planted in; Triton kernels run on no CPU."""
    found = [f for f in (root / "pi0_ros" / package).rglob("*.py") if f.name != "triton_kernels.py"]
    return [f for f in found if not modules or any(str(f.relative_to(root)).endswith(m) for m in modules)]


def test_files(root: Path, package: str, wide: bool) -> list[Path]:
    """The mirror tests of a package and, `wide`, those elsewhere that import it (those with nodes only for ros and nodes)."""
    found = set((root / "test" / package).rglob("test_*.py"))
    for file in (root / "test").rglob("test_*.py") if wide else ():
        slow = file.parent.name == "nodes" or file.parent == root / "test"
        if not slow and re.search(rf"\bpi0_ros\.{package}\b", file.read_text()):
            found.add(file)
    return sorted(found)


def digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()[:16]


def helpers(file: Path) -> list[Path]:
    """What a test file shares with others: conftests and plain modules beside it."""
    return sorted(
        {*file.parent.glob("conftest.py"), *(f for f in file.parent.glob("*.py") if not f.name.startswith("test_"))}
    )


def recorded(files: Sequence[Path], copy: Path, cache: Path, changed_too: bool) -> dict[str, dict]:
    """Test id -> its work [s] and the functions it runs; test files that are new, or have changed, are run once more."""
    known = json.loads(cache.read_text()) if cache.is_file() else {}
    wanted = {str(f.relative_to(copy)): digest(f, *helpers(f)) for f in files}
    stale = [n for n, mark in wanted.items() if n not in known or (changed_too and known[n]["digest"] != mark)]
    for names in (stale[k : k + TOGETHER] for k in range(0, len(stale), TOGETHER)):  # an interrupted recording goes on
        for name, tests in record(names, copy).items():
            known[name] = {"digest": wanted[name], "tests": tests}
        cache.write_text(json.dumps(known))
    changed = [n for n, mark in wanted.items() if n in known and known[n]["digest"] != mark]
    new = {n: new_tests(known[n]["tests"], (copy / n).read_text()) for n in changed}
    for name, tests in record([f"{n}::{t}" for n, names in new.items() for t in names], copy).items():
        known[name]["tests"] |= tests
        cache.write_text(json.dumps(known))
    found: dict[str, dict] = {}
    for name, mark in wanted.items():
        entry = known.get(name, {"tests": {}, "digest": mark})
        tests = entry["tests"]
        found |= tests if entry["digest"] == mark else still_there(tests, (copy / name).read_text())
    return found


def record(names: Sequence[str], copy: Path) -> dict[str, dict[str, dict]]:
    """Run these test files, or tests of them, once: file -> test id -> what it needs and runs, for those that passed."""
    if not names:
        return {}
    report = copy / "tested.json"
    report.unlink(missing_ok=True)
    plugins = ["-p", "bench._mutation_tests", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *names]
    environment = environment_of(copy) | {"PI0_ROS_TESTED": str(report)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if not report.is_file():
        say(f"{' '.join(names)}: {done.stdout[-300:]}")
        return {}
    tests, found = json.loads(report.read_text()), {}
    for name in dict.fromkeys(n.split("::")[0] for n in names):
        here = {t: v for t, v in tests.items() if t.split("::")[0] == name}
        found[name] = {t: v for t, v in here.items() if v["ok"] and "work" in v}
        say(f"recorded {name}: {len(found[name])} of {len(here)} tests")
    return found


def new_tests(tests: dict[str, dict], text: str) -> list[str]:
    """The test functions at the top level of a file that were not there when it was recorded."""
    known = {name.split("::")[-1].split("[")[0] for name in tests}
    return [name for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE) if name not in known]


def still_there(tests: dict[str, dict], text: str) -> dict[str, dict]:
    """Recorded tests of a file that has changed: by function, all parameters together, if the function is still there."""
    found: dict[str, dict] = {}
    for test, entry in tests.items():
        name = test.split("[")[0]
        if f"def {name.split('::')[-1]}(" in text:
            before = found.get(name, {"work": 0.0, "wall": 0.0, "functions": []})
            functions = sorted({*before["functions"], *entry["functions"]})
            sums = {kind: before[kind] + entry[kind] for kind in ("work", "wall")}
            found[name] = {**entry, **sums, "functions": functions}
    return found


def cost(test: dict) -> float:
    """What running a test costs [s]: its work or, if it waits for other processes, a third of the time it takes."""
    return max(test["work"], test["wall"] / 3.0)


def tests_of(
    mutant: Mutant, tests: dict[str, dict], names_module: dict[str, list[str]], longest: float = SLOWEST
) -> list[str]:
    """The tests that run the changed function, those that run little else first, within `longest` seconds of work."""
    where = f"{mutant.file}:{mutant.function.removesuffix('()')}"
    chosen = [t for t, v in tests.items() if where in v["functions"]] if mutant.function.endswith("()") else []
    if not chosen:
        touched = [t for t, v in tests.items() if any(f.startswith(mutant.file + ":") for f in v["functions"])]
        chosen = list(dict.fromkeys([*touched, *names_module.get(mutant.file, ())]))
    chosen.sort(key=lambda t: (cost(tests[t]) + 0.2) * (len(tests[t]["functions"]) + 20))
    total, within = 0.0, []
    for test in chosen:
        total += cost(tests[test])
        if total > longest and within:
            break
        within.append(test)
    return within


def naming(root: Path, tests: dict[str, dict], files: Iterable[Path]) -> dict[str, list[str]]:
    """Module -> the tests whose file has its name or imports it; if there are none, those that run a module that
    mentions it (a program of its own)."""
    texts = {f: (root / f).read_text() for f in {t.split("::")[0] for t in tests}}
    sources = {str(f.relative_to(root)): f.read_text() for f in files}
    found: dict[str, list[str]] = {}
    for file in files:
        dotted, name = ".".join(file.relative_to(root).with_suffix("").parts), str(file.relative_to(root))
        hits = {
            n for n, text in texts.items() if re.search(rf"\b{re.escape(dotted)}\b", text) or f"test_{file.stem}" in n
        }
        found[name] = [t for t in tests if t.split("::")[0] in hits]
        if not found[name]:
            users = {n for n, text in sources.items() if n != name and re.search(rf"\b{file.stem}\b", text)}
            found[name] = [t for t, v in tests.items() if any(f.split(":")[0] in users for f in v["functions"])]
    return found


# ---------------------------------------------------------------- the copy


def make_copy(folder: Path) -> Path:
    """The tracked and new files of the checkout, with bytecode that is checked against its source."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    compiled = ["-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "pi0_ros"]
    subprocess.run([sys.executable, *compiled], cwd=folder, check=True)
    return folder


def environment_of(copy: Path) -> dict[str, str]:
    path = [str(copy), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / "hypothesis")}


# ---------------------------------------------------------------- the workers


def plant(
    chosen: Sequence[Mutant],
    tests: dict[str, dict],
    files: Sequence[Path],
    args: argparse.Namespace,
    package: str,
    copies: list[Path],
) -> Iterator[Outcome]:
    """Every slip planted in one of the copies; the outcomes in the order in which they end."""
    names = naming(copies[0], tests, files)
    loaded, fresh = [], []
    for mutant in chosen:
        these = tests_of(mutant, tests, names, args.work)
        job = Job(mutant, tuple(these), 60.0 + 10.0 * sum(tests[t]["wall"] for t in these))
        source = (copies[0] / mutant.file).read_bytes()
        same = mutant.kind != UNCHANGED and not only_functions_differ(source, mutant.apply(source))
        (fresh if same else loaded).append(job)
    needed = sorted({t.split("::")[0] for job in loaded for t in job.tests})
    yield from run_workers(work_loaded, needed, loaded, copies, args.nice)
    yield from run_workers(work_fresh, package, fresh, copies, args.nice)


def run_workers(target, about, waiting: Sequence[Job], copies: Sequence[Path], nice: int) -> Iterator[Outcome]:
    """One worker a copy; each takes the next slip when it has done one."""
    if not waiting:
        return
    context = multiprocessing.get_context("spawn")
    jobs, results = context.Queue(), context.SimpleQueue()  # the workers fork, so nothing of theirs may have threads
    workers = [
        context.Process(target=target, args=(str(copy), about, jobs, results, nice, i, environment_of(copy)))
        for i, copy in enumerate(copies)
    ]
    for worker in workers:
        worker.start()
    for job in [*waiting, *([None] * len(workers))]:
        jobs.put(job)
    running = len(workers)
    while running:
        found = results.get()
        if found is None:
            running -= 1
        else:
            yield Outcome(**found)
    for worker in workers:
        worker.join()


# ---------------------------------------------------------------- data


def equivalent() -> dict[tuple[str, str, str], str]:
    """(file, line before, line after) -> why the slip changes nothing."""
    entries = tomllib.loads((HERE / "equivalent_mutants.toml").read_text()).get("mutant", [])
    return {(e["file"], e["before"], e["after"]): e["why"] for e in entries}


def faults() -> list[dict[str, str]]:
    """The entries of planted_faults.toml."""
    return tomllib.loads((HERE / "planted_faults.toml").read_text())["fault"]


def planted(root: Path, package: str) -> list[tuple[str, Mutant]]:
    """The faults of planted_faults.toml in one package, with their names."""
    found = []
    for entry in faults():
        if "gone" in entry or not entry["file"].startswith(f"pi0_ros/{package}/"):
            continue
        source = (root / entry["file"]).read_bytes()
        old = entry["old"].encode()
        if source.count(old) != 1:
            raise SystemExit(
                f"planted_faults.toml: {entry['name']!r}: old text is {source.count(old)} times in {entry['file']}"
            )
        start = source.index(old)
        line = source.count(b"\n", 0, start) + 1
        function = enclosing(root / entry["file"], line + entry["old"].count("\n", 0, len(entry["old"]) // 2))
        found.append(
            (
                entry["name"],
                Mutant(
                    entry["file"], line, f"planted: {entry['name']}", start, start + len(old), entry["new"], function
                ),
            )
        )
    return found


def enclosing(file: Path, line: int) -> str:
    """The function that a line is in, as `_mutants` names it; '' for the top level."""
    import ast

    def walk(node: ast.AST, prefix: str) -> str:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if named and child.lineno <= line <= child.end_lineno:
                name = f"{prefix}.{child.name}".lstrip(".")
                return walk(child, name) if isinstance(child, ast.ClassDef) else name + "()"
        return prefix

    return walk(ast.parse(file.read_text()), "")


def again(file: Path, root: Path) -> list[Mutant]:
    """The survivors of an earlier run, if their line is still there."""
    wanted = {(o["file"], o["before"], o["after"]) for o in json.loads(file.read_text()) if o["result"] != "killed"}
    found = []
    for name in sorted({w[0] for w in wanted}):
        source = (root / name).read_bytes()
        unique = {(name, *m.lines(source)): m for m in mutants(root, root / name)}
        found += [m for place, m in unique.items() if place in wanted]
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench mutation", description=__doc__)
    parser.add_argument(
        "--package", default="robot", help="a folder of pi0_ros: control, robot, policy, train, data, ros, ...; or all"
    )
    parser.add_argument(
        "--module", action="append", default=[], help="only this module (its file's end); may be repeated"
    )
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first ones of --n: an earlier run had them")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--work", type=float, default=SLOWEST, help="how long the tests of one slip may work [s]")
    parser.add_argument("--narrow", action="store_true", help="only the tests in the package's own test folder")
    parser.add_argument("--tests", action="append", default=[], help="only this test file; may be repeated")
    parser.add_argument(
        "--recorded", action="store_true", help="of changed test files, run only the new tests to see what they run"
    )
    parser.add_argument("--quick", action="store_true", help="three slips, noticed by the tests of kinematics or not")
    parser.add_argument("--planted", action="store_true", help="the faults of planted_faults.toml instead of a sample")
    parser.add_argument("--again", type=Path, help="the survivors of an earlier --json")
    parser.add_argument(
        "--unchanged", type=int, default=0, help="so often run the tests of a slip without it: how many are red anyway"
    )
    parser.add_argument(
        "--json",
        type=Path,
        help="where the outcomes of one package go (default: mutation-PACKAGE.json in the temporary folder)",
    )
    parser.add_argument("--list", action="store_true", help="print the slips and plant none")
    args = parser.parse_args(list(argv))
    if args.quick:
        args.package, args.module, args.tests, args.n = "robot", ["kinematics.py"], ["test/robot/test_kinematics.py"], 3
    return args


def draw(args: argparse.Namespace, package: str, root: Path, files: list[Path]) -> tuple[list[Mutant], int]:
    """The slips of this run without the equivalent ones, and how many those were."""
    if args.planted:
        return [mutant for _, mutant in planted(root, package)], 0
    chosen = again(args.again, root) if args.again else sample(root, files, args.n, args.seed)[args.skip :]
    same = equivalent()
    sources = {name: (root / name).read_bytes() for name in {m.file for m in chosen}}
    real = [m for m in chosen if (m.file, *m.lines(sources[m.file])) not in same]
    unchanged = [replace(m, kind=UNCHANGED, end=m.start, new="") for m in real[: args.unchanged]]
    return [*real, *unchanged], len(chosen) - len(real)


def print_slips(chosen: Iterable[Mutant], root: Path) -> None:
    for mutant in chosen:
        before, after = mutant.lines((root / mutant.file).read_bytes())
        say(f"{mutant.file}:{mutant.line} [{mutant.kind}] {before}  ->  {after}")


def packages(args: argparse.Namespace, root: Path) -> list[str]:
    """The packages of this run: the one that is named, or for `all` those that have planted faults, or modules."""
    if args.package != "all":
        return [args.package]
    if args.planted:
        files = {entry["file"] for entry in faults() if "gone" not in entry}
    else:
        files = {str(f.relative_to(root)) for f in (root / "pi0_ros").rglob("*.py")}
    return sorted({f.split("/")[1] for f in files if f.count("/") > 1})


def main(argv: Sequence[str]) -> int:
    """0 if everything that was planted on purpose was killed, or a sample ran to its end."""
    args = arguments(argv)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="mutation_") as scratch:
        # Everything is read from a copy from here on: the checkout may change meanwhile.
        copies = [make_copy(Path(scratch) / str(i)) for i in range(args.workers)]
        for package in packages(args, copies[0]):
            missed += measure(args, package, copies)
    return int(args.planted and missed > 0)


def measure(args: argparse.Namespace, package: str, copies: list[Path]) -> int:
    """Plant the slips of one package, print each and the share that was noticed; how many were not."""
    outcomes: list[Outcome] = []
    given = args.json if args.package != "all" else None
    target = given or Path(tempfile.gettempdir()) / f"mutation-{package}.json"
    files = package_files(copies[0], package, args.module)
    chosen, same = draw(args, package, copies[0], files)
    if args.list:
        print_slips(chosen, copies[0])
        return 0
    wanted = [copies[0] / name for name in args.tests] or test_files(copies[0], package, not args.narrow)
    tests = recorded(wanted, copies[0], cache_file(), not args.recorded)
    for outcome in plant(chosen, tests, files, args, package, copies):
        outcomes.append(outcome)
        say(
            f"{len(outcomes)}/{len(chosen)} {outcome.result:8} {outcome.file}:{outcome.line} [{outcome.kind}] "
            f"{outcome.before}  ->  {outcome.after}  {outcome.by} ({outcome.seconds} s)"
        )
        target.write_text(json.dumps([asdict(o) for o in outcomes], indent=1))
    by_themselves = [o for o in outcomes if o.kind == UNCHANGED and o.result != "survived"]
    outcomes = [o for o in outcomes if o.kind != UNCHANGED]
    noticed = sum(o.result in ("killed", "timeout") for o in outcomes)
    share = round(100.0 * noticed / max(len(outcomes), 1), 1)
    for outcome in outcomes:
        if outcome.result not in ("killed", "timeout"):
            say(f"SURVIVED {outcome.file}:{outcome.line} [{outcome.kind}] {outcome.before}  ->  {outcome.after}")
    result = {"bench": "mutation", "metric": f"{package}_killed", "value": share, "unit": "%"}
    details = {"planted": len(outcomes), "killed": noticed, "equivalent": same, "seed": args.seed, "json": str(target)}
    if args.unchanged:
        details |= {"unchanged": args.unchanged, "red_by_themselves": len(by_themselves)}
    print(json.dumps(result | details), flush=True)
    return len(outcomes) - noticed


def cache_file() -> Path:
    """Where it is kept which test of this checkout runs what."""
    return Path(tempfile.gettempdir()) / f"mutation-tests-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}.json"

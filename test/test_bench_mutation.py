"""The slips that the mutation bench plants, and what it knows of them."""

import ast
import importlib
import json

import pytest

slips = importlib.import_module("bench._mutants")
bench = importlib.import_module("bench.mutation")
worker = importlib.import_module("bench._mutation_worker")
EQUIVALENT = bench.HERE / "equivalent_mutants.toml"

SOURCE = '''"""A module."""

import math

LIMIT = 3


class Arm:
    """An arm."""

    def reach(self, x, low, high=2.0):
        """Where x is kept: min(low) is no code here."""
        if not x > low and len(x) < LIMIT:
            return -low
        self.last = x * 2
        print(f"at {x + 1}")
        return max(low, abs(x)) if x else math.sin(high)
'''


@pytest.fixture
def module(tmp_path):
    file = tmp_path / "arm.py"
    file.write_text(SOURCE)
    return file


def after(module):
    """(kind, function, line before, line after) of every slip."""
    source = module.read_bytes()
    return {(m.kind, m.function, *m.lines(source)) for m in slips.mutants(module.parent, module)}


@pytest.mark.parametrize(
    ("kind", "function", "before", "line"),
    [
        ("constant", "", "LIMIT = 3", "LIMIT = 4"),
        ("constant", "Arm.reach()", "def reach(self, x, low, high=2.0):", "def reach(self, x, low, high=4.0):"),
        ("arithmetic", "Arm.reach()", "self.last = x * 2", "self.last = (x / 2)"),
        ("statement dropped", "Arm.reach()", "self.last = x * 2", "pass"),
        ("opposite name", "Arm.reach()", "return max(low, abs(x)) if x else math.sin(high)",
         "return min(low, abs(x)) if x else math.sin(high)"),
        ("call dropped", "Arm.reach()", "return max(low, abs(x)) if x else math.sin(high)",
         "return max(low, x) if x else math.sin(high)"),
        ("branches exchanged", "Arm.reach()", "return max(low, abs(x)) if x else math.sin(high)",
         "return (math.sin(high) if x else max(low, abs(x)))"),
        ("sign or not", "Arm.reach()", "return -low", "return low"),
        ("comparison", "Arm.reach()", "if not x > low and len(x) < LIMIT:", "if not x > low and (len(x) <= LIMIT):"),
        ("and / or", "Arm.reach()", "if not x > low and len(x) < LIMIT:", "if (not x > low or len(x) < LIMIT):"),
    ],
)  # fmt: skip
def test_what_can_go_wrong_in_a_line_is_planted_there(module, kind, function, before, line):
    assert (kind, function, before, line) in after(module)


def test_text_and_what_is_only_said_are_left_alone(module):
    assert not {before for _, _, before, _ in after(module) if "print" in before or "no code here" in before}


def test_a_comparison_of_floats_has_no_slip_that_only_equality_shows(module):
    assert not any("x >= low" in line for *_, line in after(module))


@pytest.mark.parametrize(
    ("call", "exchanged"),
    [
        ("np.clip(x, low, high)", 0),
        ("x.clip(low, high)", 1),
        ("np.clip(x, high)", 1),
        ("np.convolve(x, y)", 0),
        ("contextlib.suppress(ValueError, OSError)", 0),
        ("f(x, y)", 1),
    ],
)
def test_arguments_are_exchanged_only_if_their_order_matters(tmp_path, call, exchanged):
    (tmp_path / "m.py").write_text(f"def f():\n    return {call}\n")
    found = slips.mutants(tmp_path, tmp_path / "m.py")
    assert sum(m.kind == "arguments exchanged" for m in found) == exchanged


def test_another_negative_size_of_a_reshape_is_no_slip(tmp_path):
    (tmp_path / "m.py").write_text("def f():\n    return x.reshape(2, -1)[-1]\n")
    found = [m.new for m in slips.mutants(tmp_path, tmp_path / "m.py") if m.kind in ("constant", "sign or not")]
    assert sorted(found) == ["1", "1", "2", "3"], "both signs, the last place but one, and the size that is given"


def test_every_slip_is_python_and_differs_from_what_was_there(module):
    source = module.read_bytes()
    for slip in slips.mutants(module.parent, module):
        assert slip.apply(source) != source
        ast.parse(slip.apply(source))


def test_the_same_seed_draws_the_same_slips_and_no_place_twice(module):
    first, again = (slips.sample(module.parent, [module], 8, 5) for _ in range(2))
    assert first == again and len({(m.line, m.start) for m in first}) == 8
    assert first != slips.sample(module.parent, [module], 8, 6)


def test_more_slips_of_a_seed_begin_with_the_fewer_ones(module):
    assert slips.sample(module.parent, [module], 11, 5)[:4] == slips.sample(module.parent, [module], 4, 5)


def checkout(folder, tests):
    """A small checkout with one module, one test file and the recorder of the bench."""
    (folder / "pi0_ros").mkdir(exist_ok=True)
    (folder / "pi0_ros/a.py").write_text("def f():\n    return 1\n\n\ndef g():\n    return 2\n")
    (folder / "bench").mkdir(exist_ok=True)
    (folder / "bench/_mutation_tests.py").write_text((bench.HERE / "_mutation_tests.py").read_text())
    (folder / "test_a.py").write_text("from pi0_ros.a import f, g\n" + tests)
    return [folder / "test_a.py"]


def test_a_new_test_in_a_recorded_file_is_recorded_without_running_the_old_ones_again(tmp_path):
    cache, ran = tmp_path / "known.json", {"work": 0.5, "wall": 0.5, "ok": True, "functions": ["pi0_ros/a.py:f"]}
    cache.write_text(json.dumps({"test_a.py": {"digest": "of before", "tests": {"test_a.py::test_old": ran}}}))
    tests = "def test_old():\n    assert f() == 1\n\n\ndef test_new():\n    assert g() == 2\n"
    now = bench.recorded(checkout(tmp_path, tests), tmp_path, cache, changed_too=False)
    assert set(now) == {"test_a.py::test_old", "test_a.py::test_new"}
    assert now["test_a.py::test_new"]["functions"] == ["pi0_ros/a.py:g"]
    assert now["test_a.py::test_old"]["work"] == 0.5  # it was not run once more
    assert set(json.loads(cache.read_text())["test_a.py"]["tests"]) == set(now)


def test_all_packages_with_planted_faults_are_planted_at_once():
    every = bench.arguments(["--package", "all", "--planted"])
    assert {"control", "policy", "robot", "ros", "train"} <= set(bench.packages(every, bench.ROOT))
    assert bench.packages(bench.arguments(["--package", "ros"]), bench.ROOT) == ["ros"]


def test_a_planted_fault_is_called_by_its_name():
    kinds = [slip.kind for _, slip in bench.planted(bench.ROOT, "robot")]
    assert "planted: roll, pitch, yaw in the wrong order" in kinds


def test_a_line_is_known_by_the_function_around_it(module):
    assert [bench.enclosing(module, line) for line in (5, 9, 13)] == ["", "Arm", "Arm.reach()"]


def test_the_tests_that_run_a_function_are_chosen_and_those_that_run_little_else_come_first():
    slip = slips.Mutant("pi0_ros/a.py", 3, "constant", 0, 1, "2", "f()")
    ran = {"work": 1.0, "wall": 1.0}
    tests = {
        "test_wide": ran | {"functions": ["pi0_ros/a.py:f", *(f"pi0_ros/b.py:{k}" for k in range(90))]},
        "test_narrow": ran | {"functions": ["pi0_ros/a.py:f"]},
        "test_other": ran | {"functions": ["pi0_ros/a.py:g"]},
        "test_long": ran | {"functions": ["pi0_ros/a.py:f"], "work": 2.0 * bench.SLOWEST},
    }
    assert bench.tests_of(slip, tests, {}) == ["test_narrow", "test_wide"]
    unknown = slips.Mutant("pi0_ros/a.py", 3, "constant", 0, 1, "2", "h()")
    assert set(bench.tests_of(unknown, tests, {})) == {"test_narrow", "test_wide", "test_other"}


def test_every_equivalent_slip_has_a_reason():
    assert all(len(why) > 10 for why in bench.equivalent().values())


@pytest.mark.parametrize(
    ("code", "by", "said", "result"),
    [
        (0, "", "3 passed", ("survived", "")),
        (1, "test_a.py::test_x", "1 failed", ("killed", "test_a.py::test_x")),
        (2, "test_a.py (import)", "", ("killed", "test_a.py (import)")),
        (
            4,
            "",
            "ImportError while loading conftest '/c/test/conftest.py'.",
            ("killed", "(a conftest cannot be imported)"),
        ),
        (4, "", "ERROR: not found: /c/test_a.py::test_x", ("no test", "")),
        (5, "", "no tests ran", ("no test", "")),
    ],
)
def test_a_slip_is_noticed_by_a_test_that_fails_or_by_tests_that_cannot_be_loaded(tmp_path, code, by, said, result):
    (tmp_path / "log").write_text(said)
    assert worker.judged(code, by, tmp_path / "log") == result


def test_every_slip_that_changes_nothing_stands_once_and_still_has_its_line():
    entries = [(e["file"], e["before"], e["after"]) for e in bench.tomllib.loads(EQUIVALENT.read_text())["mutant"]]
    assert len(set(entries)) == len(entries)
    sources = {file: " ".join((bench.ROOT / file).read_text().split()) for file, *_ in entries}
    assert [before for file, before, _ in entries if before not in sources[file]] == []

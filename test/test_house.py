"""How the house is built stays so: no new large class, no attribute born late, nothing that imports upwards or in a circle."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SHORTEST = 20
"""Letters of a reason why a class is large."""


@pytest.fixture(scope="module")
def house():
    spec = importlib.util.spec_from_file_location("house", ROOT / "scripts" / "house.py")
    module = sys.modules["house"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def modules(house):
    return house.read(ROOT)


def test_a_large_class_says_in_its_docstring_why_and_no_other_does(modules):
    shapes = [s for m in modules for s in m.classes]
    silent = [f"{s.module}.{s.name}" for s in shapes if s.large and len(s.reason) < SHORTEST]
    assert silent == [], 'split it, or say in its docstring: "Larger than a class should be because …"'
    excused = [f"{s.module}.{s.name}" for s in shapes if s.reason and not s.large]
    assert excused == [], "it is not large any more: take the reason out of its docstring"


def test_every_object_has_every_attribute_from_the_start(modules):
    parts = [s for m in modules for s in m.classes]
    assert {f"{s.module}.{s.name}": sorted(s.late) for s in parts if s.late} == {}


def test_nothing_imports_upwards(house, modules):
    assert house.arrows_up(modules) == []


def test_nothing_imports_in_a_circle(house, modules):
    assert house.circles(modules) == []


OWNER = """class Owner:
    '''Owns much. Larger than a class should
    be because the robot has as many parts. That is all.'''
    b: int
    def __init__(self): self.a0 = 0
"""


def test_a_class_that_grows_and_an_attribute_that_is_born_late_are_noticed(house, tmp_path):
    methods = "".join(f"    def m{k}(self): self.a{k} = {k}\n" for k in range(13))
    (tmp_path / "pi0_ros").mkdir()
    (tmp_path / "pi0_ros" / "a.py").write_text(OWNER + methods)
    (module,) = house.read(tmp_path)
    (owner,) = module.classes
    assert (owner.methods, len(owner.attributes), owner.large) == (14, 13, True)
    assert owner.late == {f"a{k}" for k in range(1, 13)}
    assert owner.reason == "the robot has as many parts"


def test_an_arrow_up_and_a_circle_are_noticed(house, tmp_path):
    for name, text in (("control/a", "from pi0_ros.ros import b"), ("ros/b", "from pi0_ros.ros.c import C"),
                       ("ros/c", "def f():\n    import pi0_ros.ros.b")):  # fmt: skip
        file = tmp_path / "pi0_ros" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = house.read(tmp_path)
    assert house.arrows_up(found) == [("pi0_ros.control.a", "pi0_ros.ros.b")]
    assert house.circles(found) == [("pi0_ros.ros.b", "pi0_ros.ros.c")]


def test_no_two_test_files_have_one_name():
    """pytest imports them by their names alone: the second one would keep the whole run from beginning."""
    names = [file.name for file in ROOT.glob("test/**/test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []

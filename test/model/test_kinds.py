"""One place says what the kinds of networks differ in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pi0_ros.model
from pi0_ros.model.kinds import KINDS, UnknownKindError, traits

PACKAGE = Path(pi0_ros.model.__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("kind", "label", "length", "horizon", "state_token", "adarms", "acts_in_tokens", "text_head"),
    [
        ("pi0", "π0", 48, 50, True, False, False, False),
        ("pi05", "π0.5", 200, 50, False, True, False, True),
        ("pi0_fast", "π0-FAST", 250, 32, False, False, True, True),
    ],
)
def test_the_released_networks(kind, label, length, horizon, state_token, adarms, acts_in_tokens, text_head):
    """Lengths and rows as in openpi's configurations (models/pi0_config.py, pi0_fast.py)."""
    own = traits(kind)
    assert (own.label, own.prompt_length, own.horizon) == (label, length, horizon)
    assert (own.state_token, own.adarms, own.acts_in_tokens) == (state_token, adarms, acts_in_tokens)
    assert own.has_text_head is text_head


def test_a_kind_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(UnknownKindError, match="pi0, pi05, pi0_fast"):
        traits("pi1")


def compared_by_name(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) and side.value in KINDS for side in sides):
                yield node.lineno


def test_nothing_compares_a_kind_with_a_name():
    found = {
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in PACKAGE.rglob("*.py")
        for line in compared_by_name(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found == set(), "ask `traits` of pi0_ros/model/kinds.py"


def test_what_the_package_offers_is_there_and_its_configuration_needs_no_torch():
    assert [name for name in pi0_ros.model.__all__ if not hasattr(pi0_ros.model, name)] == []
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pi0_ros.model.config import preset; import pi0_ros.policy.checkpoint, pi0_ros.policy.normalize\n"
        "print(preset('pi05').kind)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout.strip(), done.returncode) == ("pi05", 0), done.stderr

"""The `pi0` command: finds its subcommands, starts fast, and says what went wrong in one line."""

import importlib
import subprocess
import sys
import textwrap

import pytest

from pi0_ros import cli

COMMANDS = {
    "well": '''
        """Ends well, 100 %."""
        def run(args):
            return 0
    ''',
    "badly": '''
        """Fails as the project's own code does."""
        class ConfigError(Exception):
            pass
        ConfigError.__module__ = "pi0_ros.example"
        def run(args):
            raise ConfigError("robots/x.yaml:3: unknown key 'colour';\\n  use 'color'")
    ''',
    "surprised": '''
        """Fails as nobody expected."""
        def run(args):
            return {}["missing"]
    ''',
    "nowhere": '''
        """Opens a file that is not there."""
        def run(args):
            open("/nowhere/at_all.json")
    ''',
    "stopped": '''
        """Is stopped by Ctrl-C."""
        def run(args):
            raise KeyboardInterrupt
    ''',
    "heavy": '''
        """Cannot even be imported."""
        raise ImportError("no such accelerator")
    ''',
    "stopped_early": '''
        """Is stopped by Ctrl-C while it is imported."""
        raise KeyboardInterrupt
    ''',
    "_helper": '''
        """Not a subcommand."""
    ''',
}
ADD_PARSER = """
def add_parser(subparsers):
    subparsers.add_parser(__name__.rpartition(".")[2])
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of subcommands made for the test."""
    folder = tmp_path / "example_commands"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, body in COMMANDS.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(body).strip() + "\n" + ADD_PARSER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("example_commands")
    for name in [name for name in sys.modules if name.startswith("example_commands")]:
        del sys.modules[name]


def test_help_lists_every_subcommand_and_imports_none(package, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"], package)
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "Ends well, 100 %." in shown
    assert "Cannot even be imported." in shown
    assert "_helper" not in shown
    assert not [name for name in sys.modules if name.startswith("example_commands.")]


def test_a_subcommand_that_ends_well_gives_zero(package, capsys):
    assert cli.main(["well"], package) == 0
    assert capsys.readouterr().err == ""


def test_an_error_of_the_project_is_one_line_with_its_own_words(package, capsys):
    assert cli.main(["badly"], package) == 1
    assert capsys.readouterr().err == "pi0: robots/x.yaml:3: unknown key 'colour'; use 'color'\n"


def test_an_unexpected_error_is_one_line_that_names_its_kind_and_the_way_to_more(package, capsys):
    assert cli.main(["surprised"], package) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "KeyError: 'missing'" in told
    assert "--debug" in told


def test_debug_shows_the_traceback(package, capsys):
    assert cli.main(["surprised", "--debug"], package) == 1
    assert "Traceback" in capsys.readouterr().err


def test_letters_that_the_locale_has_not_are_said_to_be_so_and_are_no_damaged_file(package, capsys):
    assert cli.main(["well", "/robots/\udcc3\udcbcber/data"], package) == 1
    told = capsys.readouterr().err
    assert "has letters that this locale has not; set LC_ALL=C.UTF-8" in told and told.count("\n") == 1


def test_a_missing_file_is_named(package, capsys):
    assert cli.main(["nowhere"], package) == 1
    assert capsys.readouterr().err == "pi0: /nowhere/at_all.json: No such file or directory\n"


@pytest.mark.parametrize("when", ["stopped", "stopped_early"])
def test_ctrl_c_is_no_error_and_no_success(package, capsys, when):
    assert cli.main([when], package) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["nonsense"], [], ["well", "--nonsense"]])
def test_wrong_use_ends_with_2_and_says_what_is_possible(package, capsys, words):
    with pytest.raises(SystemExit) as ended:
        cli.main(words, package)
    assert ended.value.code == 2
    assert "usage: pi0" in capsys.readouterr().err


HELP_OF_ALL = """
import sys
from pi0_ros import cli
for name in cli.command_names():
    try:
        cli.main([name, "--help"])
    except SystemExit as ended:
        assert ended.code == 0, name
    heavy = {"torch", "rclpy", "mujoco", "matplotlib", "cv2"} & set(sys.modules)
    assert not heavy, f"pi0 {name} --help imports {heavy}"
"""


def test_every_subcommand_has_help_and_shows_it_without_importing_anything_heavy():
    done = subprocess.run([sys.executable, "-c", HELP_OF_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"up", "check", "evaluate", "train", "collect", "convert", "parity", "demo"} <= set(cli.command_names())
    for name in cli.command_names():
        assert f"usage: pi0 {name}" in done.stdout
        assert cli.summary(cli.commands, name), f"pi0 {name} has no line in pi0 --help"

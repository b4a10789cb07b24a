"""The `pi0` command: finds the subcommands in `pi0_ros.commands`, and turns errors into one line."""

import argparse
import ast
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from pi0_ros import commands
from pi0_ros.robot.disk import full_disk_line, is_disk_full
from pi0_ros.robot.errors import UserError
from pi0_ros.ros.missing import missing_module

FAILURE = 1
INTERRUPTED = 130
BROKEN_PIPE = 141


def command_names(package: ModuleType = commands) -> list[str]:
    """The subcommands there are, sorted: one for each module of the package that does not start with `_`."""
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def summary(package: ModuleType, name: str) -> str:
    """The first line of a subcommand's module docstring, read without importing it: `pi0 --help` stays fast."""
    spec = importlib.util.find_spec(f"{package.__name__}.{name}")
    docstring = (
        ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) if spec and spec.origin else None
    )
    return (docstring or "").partition("\n")[0]


def overview(package: ModuleType = commands) -> argparse.ArgumentParser:
    """The parser of `pi0` alone: it knows the subcommands by name and imports none."""
    parser = argparse.ArgumentParser(prog="pi0", description="π0 and π0.5 policies on ROS 2 robots.")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in command_names(package):
        # argparse formats help with %, so a % in a docstring has to be doubled.
        subparsers.add_parser(name, help=summary(package, name).replace("%", "%%"), add_help=False)
    return parser


def command_parser(module: ModuleType) -> argparse.ArgumentParser:
    """The parser of `pi0` with the one subcommand that `module` adds."""
    parser = argparse.ArgumentParser(prog="pi0")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    module.add_parser(subparsers)
    for subparser in subparsers.choices.values():
        subparser.conflict_handler = "resolve"
        subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def one_line(error: BaseException) -> str:
    """What went wrong as one line. The project's own errors are sentences; others need their type to make sense."""
    if is_disk_full(error) and not isinstance(error, UserError):
        return full_disk_line(error)
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename is not None else ""
        return f"{named}{error.strerror}"
    if missing := missing_module(error):
        return missing
    text = " ".join(str(error).split())
    if type(error).__module__.startswith("pi0_ros."):
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)" if text else type(error).__name__


def guarded(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a subcommand; an error becomes one line on stderr and exit code 1, Ctrl-C becomes 130."""
    try:
        return int(run(args) or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line and an exit code
        if args.debug:
            traceback.print_exc()
        else:
            print(f"pi0: {one_line(error)}", file=sys.stderr)
        return FAILURE


def main(argv: Sequence[str] | None = None, package: ModuleType = commands) -> int:
    """Run `pi0` with the given arguments (default: the process's own).

    Returns the exit code: 0 only on success, 1 for an error, 130 for Ctrl-C. Wrong use exits with 2, as argparse does.
    """
    try:
        return _main(list(sys.argv[1:] if argv is None else argv), package)
    except KeyboardInterrupt:  # while it was still being imported
        return INTERRUPTED


def _main(argv: list[str], package: ModuleType) -> int:
    if not argv or argv[0] not in command_names(package):
        overview(package).parse_args(argv)
        return FAILURE
    for word in argv:
        # Letters that the locale does not have come as halves of surrogates, which no library writes into a path.
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            print(f"pi0: {word!a} has letters that this locale has not; set LC_ALL=C.UTF-8", file=sys.stderr)
            return FAILURE
    try:
        module = importlib.import_module(f"{package.__name__}.{argv[0]}")
    except ImportError as error:
        print(f"pi0: {one_line(error)}", file=sys.stderr)
        return FAILURE
    return guarded(module.run, command_parser(module).parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())

"""Which test runs which function of pi0_ros, and how long each test works: a pytest plugin that writes it, and who reads it.

Loaded with `-p bench._mutation_tests`; writes to the file that PI0_ROS_TESTED names. A trace function that sees calls
only, not lines, costs little.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = str(ROOT / "pi0_ros") + os.sep


class Recorder:
    """Remembers every code object that was called since `begin`."""

    def __init__(self) -> None:
        self.codes: set = set()
        self.tests: dict[str, dict] = {}

    def trace(self, frame, event, argument):
        self.codes.add(frame.f_code)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        self.codes.clear()
        began = time.process_time(), time.monotonic()
        threading.settrace(self.trace)
        sys.settrace(self.trace)
        yield
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        functions = {function_of(code) for code in list(self.codes) if code.co_filename.startswith(FOLDER)}
        work, wall = time.process_time() - began[0], time.monotonic() - began[1]
        self.tests[item.nodeid] = {
            "work": round(work, 3),
            "wall": round(wall, 3),
            "ok": self.tests.get(item.nodeid, {}).get("ok", True),
            "functions": sorted(functions),
        }

    def pytest_runtest_logreport(self, report):
        self.tests.setdefault(report.nodeid, {"ok": True})
        if not report.passed:
            self.tests[report.nodeid]["ok"] = False

    def pytest_sessionfinish(self):
        Path(os.environ["PI0_ROS_TESTED"]).write_text(json.dumps(self.tests))


def function_of(code) -> str:
    """`pi0_ros/control/limits.py:Class.method` for a code object; what is defined in a function counts as that function."""
    name = code.co_qualname.split(".<locals>")[0]
    return f"{Path(code.co_filename).relative_to(ROOT)}:{name}"


if "PI0_ROS_TESTED" in os.environ:

    def pytest_configure(config):
        config.pluginmanager.register(Recorder())

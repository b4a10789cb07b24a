"""`make bench`: results on stdout as JSON, everything else beside it."""

import importlib
import json
import shutil

import pytest

runner = importlib.import_module("bench.__main__")

TALKATIVE = """
import json
import sys

def main(argv):
    print("warming up")
    print("to the side", file=sys.stderr)
    print(json.dumps({"bench": "talkative", "metric": "words", "value": len(argv), "unit": "1"}))
    return 0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of benchmarks with the real runner in it."""
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "talkative.py").write_text(TALKATIVE)
    (bench / "broken.py").write_text("def main(argv):\n    return 3\n")
    shutil.copy(runner.__file__, bench)
    monkeypatch.setattr(runner, "FOLDER", bench)
    return bench


def test_only_results_come_on_stdout(folder, capsys):
    assert runner.main(["talkative", "--quick", "x"]) == 0
    shown = capsys.readouterr()
    assert [json.loads(line)["value"] for line in shown.out.splitlines()] == [2]
    assert "warming up" in shown.err


def test_all_run_when_none_is_named_and_one_that_fails_is_a_failure(folder, capsys):
    assert runner.main(["--quick"]) == 3
    assert json.loads(capsys.readouterr().out)["bench"] == "talkative"


def test_what_takes_hours_runs_by_its_name_alone(folder, capsys, monkeypatch):
    monkeypatch.setattr(runner, "LONG", ("broken",))
    assert runner.main(["--quick"]) == 0
    assert "by name alone: broken" in capsys.readouterr().err
    assert runner.main(["broken"]) == 3


def test_a_name_that_does_not_exist_is_told_with_those_that_do(folder, capsys):
    assert runner.main(["motoin"]) == 2
    assert capsys.readouterr().err == "bench: there is no benchmark motoin; there are broken, talkative\n"


def test_every_benchmark_has_a_main():
    assert set(runner.LONG) <= set(runner.names())
    for name in runner.names():
        source = (runner.FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert "\ndef main(" in source, name

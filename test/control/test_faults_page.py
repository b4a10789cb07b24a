"""docs/faults.md says which test holds which promise; here it is held to that."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]*) \|$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)


def test_all_forty_four_faults_have_a_row():
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 45))


@pytest.mark.parametrize(("number", "tests"), [(n, t) for n, _, t in ROWS], ids=[n for n, _, _ in ROWS])
def test_every_row_names_tests_that_exist(number, tests):
    ids = [t.strip(" `") for t in tests.split("<br>")]
    for name in ids:
        file, _, function = name.partition("::")
        assert (ROOT / file).is_file(), f"row {number}: {file} is missing"
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.MULTILINE), f"row {number}: {name}"

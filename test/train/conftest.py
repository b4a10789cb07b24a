"""Two processes for all tests of training in several."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pair import Pair


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    with Pair() as both:
        yield both

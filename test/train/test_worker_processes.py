"""Processes that train together: how they end."""

import atexit
import os
from pathlib import Path

import pytest

from pi0_ros.train.workers import run_workers


def aborts_at_its_exit(rank, asked, folder):
    """Work that is done, in a process that would die of a signal when Python ends it."""
    (Path(folder) / str(rank)).touch()
    if rank:
        atexit.register(os.abort)


def test_a_run_that_is_complete_ends_well_if_a_process_beside_the_first_would_die_at_its_exit(tmp_path):
    assert run_workers(2, aborts_at_its_exit, str(tmp_path)) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0", "1"]


def fails(rank, asked):
    if rank:
        raise ValueError("the second process found no rows")


def test_what_a_process_beside_the_first_raised_ends_the_run(tmp_path):
    with pytest.raises(Exception, match="the second process found no rows"):
        run_workers(2, fails)

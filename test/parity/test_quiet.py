"""Running recorded cases leaves no logger silent behind it."""

import logging
from pathlib import Path

import pytest

from pi0_ros.parity.quiet import quiet

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
NAMES = ("pi0_ros.policy.prompts", "pi0_ros.policy.fast")


def test_warnings_are_held_back_only_within_the_block_even_where_it_fails(caplog):
    logger = logging.getLogger("pi0_ros.probe")
    with pytest.raises(KeyError), quiet("pi0_ros.probe"):
        logger.warning("unheard")
        raise KeyError
    logger.warning("heard")
    assert [record.getMessage() for record in caplog.records] == ["heard"]


@pytest.mark.parametrize("case", ["state_prompt", "fast"])
def test_a_recorded_case_leaves_the_loggers_as_they_were(case):
    pytest.importorskip("torch")
    from pi0_ros.parity.cases import rows

    before = [logging.getLogger(name).level for name in NAMES]
    assert list(rows(GOLDEN / case))
    assert [logging.getLogger(name).level for name in NAMES] == before

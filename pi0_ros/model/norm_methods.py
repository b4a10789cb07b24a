"""Names of the ways to normalise a vector. `policy/normalize.py` has their formulas."""

from __future__ import annotations

from collections.abc import Mapping

LEROBOT_METHODS: Mapping[str, str] = {
    "MEAN_STD": "lerobot_mean_std",
    "QUANTILES": "lerobot_quantiles",
    "QUANTILE10": "lerobot_quantile10",
    "MIN_MAX": "lerobot_min_max",
    "IDENTITY": "identity",
}
"""By LeRobot's own words (`normalization_mapping`)."""
METHODS = ("openpi_zscore", "openpi_quantile", *LEROBOT_METHODS.values())

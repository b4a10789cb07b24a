"""The qualities of service this project uses; every topic names one of them."""

from __future__ import annotations

import math

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _newest(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


_BEST, _SURE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
_NOW, _KEPT = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL

SENSOR = _newest(5, _BEST, _NOW)
"""Measurements: the newest counts, a lost one is not sent again."""

NEWEST = _newest(1, _BEST, _NOW)
"""The reading end of SENSOR if only the newest is ever looked at: small pictures for the black box."""

MEASURED = _newest(64, _BEST, _NOW)
"""The reading end of SENSOR if it is read once a period: a fast publisher does not push out a slow one."""

RELIABLE = _newest(1, _SURE, _NOW)
"""Commands and plans: every one arrives, an old one is worth nothing."""

LATCHED = _newest(1, _SURE, _KEPT)
"""What is true until the next message: mode, task, subtask. A late joiner gets it too."""

EVENTS = _newest(50, _SURE, _NOW)
"""Many writers on one topic (/diagnostics), and observers that must not miss one."""

OBSERVED = _newest(500, _SURE, _NOW)
"""Commands, for an observer that counts them: it must not be the reason that one is missing."""

READ = _newest(16, _SURE, _NOW)
"""The reading end of RELIABLE if it is read once a period: nothing that came meanwhile is lost."""

COMMAND_LIFE = 0.1
"""Seconds for which a command is still sent to a reader that has not got it."""


def command_quality(period: float) -> QoSProfile:
    """Commands sent every `period` [s]: for `COMMAND_LIFE` each is sent again to who missed it, then no more.

    With depth 1 a writer whose reader stalls overwrites what it has not delivered: 108 of 600 commands were lost over six
    stalls of 0.3 s, the others came up to 0.57 s late, and a smooth motion arrived as steps; with depth 10 none was lost. What
    lies in the reader's own queue is the reader's to drop (Fast DDS does not).
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=math.ceil(COMMAND_LIFE / period) + 1,
        lifespan=Duration(seconds=COMMAND_LIFE),
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )

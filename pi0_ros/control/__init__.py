"""Action chunks and a person's input become limited, continuous commands. Pure."""

from pi0_ros.control.blackbox import BlackBox, Record
from pi0_ros.control.chunk import Chunk, Verdict, unflatten
from pi0_ros.control.events import Event
from pi0_ros.control.executor import Executor
from pi0_ros.control.modes import Mode
from pi0_ros.control.settings import STRATEGIES, ExecutorSettings
from pi0_ros.control.step import Answer, Command, Counters, Seam, Step

__all__ = [
    "STRATEGIES",
    "Answer",
    "BlackBox",
    "Chunk",
    "Command",
    "Counters",
    "Event",
    "Executor",
    "ExecutorSettings",
    "Mode",
    "Record",
    "Seam",
    "Step",
    "Verdict",
    "unflatten",
]

"""Reading and writing checkpoints: openpi (PyTorch, JAX), LeRobot (all layouts) and ours."""

from pi0_ros.model.checkpoints.load import LoadedCheckpoint, Report, check_weights, load, open_checkpoint
from pi0_ros.model.checkpoints.save import save
from pi0_ros.model.checkpoints.start import Start, start_config, start_from
from pi0_ros.model.conventions import Conventions
from pi0_ros.model.errors import CheckpointError

__all__ = [
    "CheckpointError",
    "Conventions",
    "LoadedCheckpoint",
    "Report",
    "Start",
    "check_weights",
    "load",
    "open_checkpoint",
    "save",
    "start_config",
    "start_from",
]

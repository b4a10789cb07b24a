"""Reading and writing checkpoints: openpi (PyTorch, JAX), LeRobot (all layouts) and ours."""

from pi0_ros.model.checkpoints.conventions import Conventions
from pi0_ros.model.checkpoints.errors import CheckpointError
from pi0_ros.model.checkpoints.load import Loaded, Report, check_weights, load, open_checkpoint
from pi0_ros.model.checkpoints.save import save
from pi0_ros.model.checkpoints.start import Start, start_config, start_from

__all__ = [
    "CheckpointError",
    "Conventions",
    "Loaded",
    "Report",
    "Start",
    "check_weights",
    "load",
    "open_checkpoint",
    "save",
    "start_config",
    "start_from",
]

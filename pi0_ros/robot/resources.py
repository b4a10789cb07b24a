"""Where the package's own files are: in a checkout, or in the share folder where ROS or pip installed the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pi0_ros.robot.errors import RobotError

_CHECKOUT = Path(__file__).resolve().parents[2]


def share(*parts: str) -> Path:
    """A file or folder of this package, such as share("config", "robots").

    Returns the checkout's own when it is there, else the one under `share/pi0_ros` of the first
    AMENT_PREFIX_PATH entry, or of this Python's prefix, that has it, else the path in the checkout where it
    should have been.
    """
    candidates = [_CHECKOUT, *_ament_shares("pi0_ros"), Path(sys.prefix, "share", "pi0_ros")]
    for root in candidates:
        path = root.joinpath(*parts)
        if path.exists():
            return path
    return _CHECKOUT.joinpath(*parts)


def config_names(kind: str) -> tuple[str, ...]:
    """Names of the YAML files that come with the package below config/KIND."""
    return tuple(sorted(file.stem for file in share("config", kind).glob("*.yaml")))


def config_file(kind: str, name: str) -> Path:
    """The file of that path, or else the YAML file of that name below config/KIND, which may not be there."""
    return Path(name) if Path(name).is_file() else share("config", kind, f"{name}.yaml")


def checkpoint_folder(checkpoint: str | Path) -> str:
    """The name of one of this package's checkpoints as its folder; any other folder, file or address as it is."""
    named = share("checkpoints", str(checkpoint))
    return str(named) if not Path(checkpoint).exists() and named.is_dir() else str(checkpoint)


def resolve(uri: str, relative_to: Path) -> Path:
    """The file behind `package://NAME/path`, an absolute path, or a path relative to a folder.

    Raises RobotError when the package is not found.
    """
    if not uri.startswith("package://"):
        return (relative_to / uri).resolve()
    package, _, inside = uri.removeprefix("package://").partition("/")
    if package == "pi0_ros":
        return share(*inside.split("/"))
    for root in _ament_shares(package):
        return root / inside
    raise RobotError(f"{uri}: package {package} is not in AMENT_PREFIX_PATH; source the workspace that has it")


def _ament_shares(package: str) -> list[Path]:
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    shares = [Path(prefix) / "share" / package for prefix in prefixes if prefix]
    return [path for path in shares if path.is_dir()]

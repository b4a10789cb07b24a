"""One executor per robot and machine: a lock that the kernel releases when its process ends, however it ends.

A name in the abstract socket namespace of Linux: no file stays behind, and it is the same for all users and for all
containers that share the network, which are those that can reach the same ROS graph.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

LINUX = sys.platform == "linux"
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class RobotLockError(RuntimeError):
    """Somebody else commands this robot; the text says who."""


class RobotLock:
    """Held from `RobotLock(...)` to `release()`. Raises RobotLockError if another process holds it."""

    def __init__(self, robot: str, namespace: str) -> None:
        """`robot`: its name in the robot YAML; `namespace` of the node."""
        self._socket: socket.socket | None = None
        if not LINUX:
            return
        domain = os.environ.get("ROS_DOMAIN_ID") or "0"
        address = f"\0pi0_ros/executor/{domain}/{namespace.strip('/')}/{robot}"
        held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            held.bind(address)
        except OSError:
            held.close()
            raise RobotLockError(
                f"the robot {robot} has an executor on this machine already{_holder(address)}; end one of the two,"
                " or give each robot a namespace of its own"
            ) from None
        held.listen(8)
        self._socket = held

    def release(self) -> None:
        """Release the lock."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _holder(address: str) -> str:
    """Which process listens at an address, as ": process 12 (command line)"; "" if it cannot be found."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(0.2)
            asking.connect(address)
            number, _, _ = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except (OSError, struct.error):
        return ""
    command = " ".join(word.decode(errors="replace") for word in words[:4]).strip()
    return f": process {number} ({command[:80]!r})"

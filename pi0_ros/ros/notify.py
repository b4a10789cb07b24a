"""A process that is stopping tells its supervisor how long that takes: systemd's own protocol (sd_notify(3)).

A fixed timeout would kill the process while a heavy base is still braking. `pi0 up` grants what is
asked for here. Nobody tells systemd that a node is ready, so a unit must not have `Type=notify`. Nothing here imports ROS.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import sys
import time

LONGEST = 60.0
"""Seconds that `Extensions` grants at most."""
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_numbers = itertools.count()


def extend_timeout(seconds: float) -> None:
    """Ask the supervisor for this many seconds before it kills this process; does nothing without a supervisor."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or sys.platform != "linux":
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}".encode()
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.1)
        asking.sendto(message, address)


class Extensions:
    """The supervisor's end: which of its processes asked for how long."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        """For the processes."""
        self._until: dict[int, float] = {}
        self._socket: socket.socket | None = None
        if sys.platform == "linux":
            name = f"pi0_ros/notify/{os.getpid()}/{next(_numbers)}"
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind("\0" + name)
            self.environment = {"NOTIFY_SOCKET": "@" + name}

    def until(self, process: int) -> float:
        """The steady time [s] until which a process, by its number, asked not to be killed; 0 if it did not ask."""
        self._read()
        return self._until.get(process, 0.0)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        while self._socket is not None:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1024, socket.CMSG_SPACE(_CREDENTIALS.size))
            except OSError:
                return  # nothing more has come
            senders = [_CREDENTIALS.unpack(d)[0] for _, kind, d in ancillary if kind == socket.SCM_CREDENTIALS]
            key, _, value = data.decode(errors="replace").strip().partition("=")
            if senders and key == "EXTEND_TIMEOUT_USEC" and value.isdigit():
                self._until[senders[0]] = time.monotonic() + min(int(value) * 1e-6, LONGEST)

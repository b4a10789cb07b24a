"""The black box of an executor, beside the control thread: pictures go into its memory, and its files are written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from pi0_ros.data.blackbox_file import Keep
from pi0_ros.robot import Robot
from pi0_ros.ros.black_box_folder import black_box_folder, black_box_problem
from pi0_ros.ros.black_box_writer import BlackBoxWriter
from pi0_ros.ros.camera_thumbnails import CameraThumbnails
from pi0_ros.ros.control_thread import ControlThread
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.lifecycle import ManagedNode


class ExecutorBlackBox:
    """A folder for the files and small pictures of the cameras, while the node is configured; a writer, while it is active."""

    def __init__(self, node: ManagedNode, robot: Robot, values: SimpleNamespace) -> None:
        """`values`: the node's parameters black_box, black_box_gb, black_box_days and picture_period."""
        self._logger, self._channels = node.get_logger(), robot.channel_names
        self._folder = (
            black_box_folder(values.black_box, node.get_namespace(), robot.name) if values.black_box else None
        )
        self._keep = Keep(bytes=int(values.black_box_gb * 1e9), days=values.black_box_days)
        self._problem = black_box_problem(self._folder) if self._folder is not None else ""
        if self._problem:
            self._logger.error(self._problem)
        self._thumbnails: CameraThumbnails | None = None
        if self._folder is not None and values.picture_period:
            self._thumbnails = CameraThumbnails(node, robot.cameras, values.picture_period, self._add_picture)
        self._control: ControlThread | None = None
        self._writer: BlackBoxWriter | None = None

    def start(self, control: ControlThread) -> list[GuardedThread]:
        """Begin to take pictures and to write what this control thread remembers. The threads that do it."""
        self._control, threads = control, []
        if self._folder is not None:
            self._writer = BlackBoxWriter(self._folder, self._channels, self._written, self._logger.error, self._keep)
            threads.append(self._writer.thread)
        if self._thumbnails is not None:
            threads.append(self._thumbnails.start())
        return threads

    def save(self, reason: str) -> None:
        """Have a file written of what is remembered now."""
        if self._writer is not None and self._control is not None:
            self._writer.save(self._control.core.blackbox.snapshot(), reason)

    def stop(self, timeout: float) -> None:
        """Take no more pictures, and wait up to `timeout` [s] for the last file."""
        self._control = None
        if self._thumbnails is not None:
            self._thumbnails.stop()
        if self._writer is not None:
            self._writer.close(timeout)
            self._writer = None

    def close(self) -> None:
        """Unsubscribe from the cameras."""
        if self._thumbnails is not None:
            self._thumbnails.close()

    @property
    def failure(self) -> str:
        """Why there is no black box, or not the newest one; "" if all were written."""
        return self._problem or (self._writer.last_failure if self._writer is not None else "")

    def values(self) -> dict[str, object]:
        """What /diagnostics says of it."""
        control, box, thumbnails = self._control, self._writer, self._thumbnails
        values: dict[str, object] = {"black_box_mb": control.core.blackbox.size / 1e6 if control is not None else 0.0}
        values["black_box_pictures"] = thumbnails.taken if thumbnails is not None else 0
        if thumbnails is not None:
            values |= {f"camera {name} refused": why for name, why in list(thumbnails.refused.items())}
        return values | ({} if box is None else {"black_box_files": box.files, "black_box_failures": box.failures})

    def _add_picture(self, camera: str, stamp: float, jpeg: bytes) -> None:
        if (control := self._control) is not None:
            box = control.core.blackbox
            control.post(lambda steady, ros: box.add(steady, ros, "picture", (camera, stamp or ros, jpeg), len(jpeg)))

    def _written(self, file: Path) -> None:
        self._logger.info(f"black box: {file}")

"""What a recorder says of itself in /diagnostics, and on its topic state."""

from __future__ import annotations

from pathlib import Path

from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health
from pi0_ros.ros.recording_session import RecordingSession


def values(session: RecordingSession, folder: Path) -> dict[str, object]:
    """The numbers of a recording, for /diagnostics."""
    client = session.episodes.client
    found: dict[str, object] = {
        "recording": session.recording,
        "folder": str(folder),
        "episodes": session.episodes.number,
        "frames": session.episodes.frames,
        "saved": len(client.saved) if client is not None else 0,
        "frames that could not be taken": sum(session.episodes.dropped.values()),
        **{f"dropped: {cause}": number for cause, number in session.episodes.dropped.items()},
    }
    if client is None:
        return found
    report = client.report
    return found | {
        "backlog": client.backlog,
        "disk_free_mb": report.disk_free / 1e6,
        "writer_cpu_s": report.cpu,
        "writer_memory_mb": report.memory / 1e6,
    }


def health(session: RecordingSession, folder: Path, problem: str, odd: list[str], numbers: dict[str, object]) -> Health:
    """The status. problem: why recording fails, "" if it does not. odd: what is odd about the sources."""
    client = session.episodes.client
    if client is not None and not client.alive:
        return Health(ERROR, "the process that writes has ended; deactivate and activate the recorder", numbers)
    if client is not None and (client.problem or client.ended):
        return Health(ERROR, client.problem or f"recording has ended: {client.ended}", numbers)
    if client is not None and client.report.disk_full:
        return Health(ERROR, f"the disk of {folder} is nearly full: nothing is recorded", numbers)
    if problem:
        return Health(ERROR, problem, numbers)
    if client is not None and client.report.disk_low:
        return Health(
            WARN, f"the disk of {folder} becomes full: {client.report.disk_free / 1e6:.0f} MB are left", numbers
        )
    if session.recording and session.why:
        return Health(WARN, f"no frame: {session.why}", numbers)
    if odd:
        return Health(WARN, "; ".join(odd), numbers)
    return Health(OK, f"recording episode {session.episodes.number}" if session.recording else "ready", numbers)

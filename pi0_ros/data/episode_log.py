"""What is known of each episode beside its frames: outcome, score, note, and what it was recorded with.

It lies in meta/pi0_episodes.json, which other tools do not read, by the number of the episode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from pi0_ros.data.errors import DataError
from pi0_ros.data.stored import Note
from pi0_ros.data.tables import read_json, write_json

FILE = "meta/pi0_episodes.json"
OUTCOMES = ("success", "failure", "discarded", "")


class EpisodeLog:
    """The notes of a dataset's episodes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def read(self) -> dict[int, dict[str, object]]:
        """The notes by episode number; {} if there are none. Raises DataError for a damaged file."""
        if not self._file.is_file():
            return {}
        found = read_json(self._file)
        if not isinstance(found, dict) or not all(isinstance(note, dict) for note in found.values()):
            raise DataError(f"{self._file}: holds no notes of episodes; remove it, or copy it again")
        return {int(number): note for number, note in found.items()}

    def write(self, notes: Mapping[int, Note]) -> None:
        """Replace all notes."""
        write_json(self._file, {str(number): dict(note) for number, note in sorted(notes.items()) if note})

    def set(self, episode: int, note: Note) -> None:
        """Replace the note of one episode."""
        notes = self.read()
        if note or episode in notes:
            self.write({**notes, episode: note})

    def label(self, episode: int, label: Note) -> None:
        """Add outcome, score or note to an episode."""
        notes = self.read()
        self.write({**notes, episode: {**notes.get(episode, {}), **label}})


def checked_label(outcome: str | None = None, score: float | None = None, note: str | None = None) -> dict[str, object]:
    """A label of an episode from what is given. Raises DataError for an outcome that is none, or a score that is no number."""
    if outcome is not None and outcome not in OUTCOMES:
        raise DataError(f"outcome {outcome!r} is none; choose from {', '.join(o for o in OUTCOMES if o)}")
    if score is not None and not math.isfinite(score):
        raise DataError(f"score {score} is no number")
    given = {"outcome": outcome, "score": score, "note": note}
    return {name: value for name, value in given.items() if value is not None}

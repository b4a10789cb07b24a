"""How long steps wait for their examples, and how fast these are made."""

from __future__ import annotations

from pi0_ros.train.examples import Examples


class LoadingMeter:
    """Adds up waiting and pictures of the steps since the last `take`. Times are arguments [s]."""

    def __init__(self, now: float) -> None:
        self._since, self._waited, self._pictures, self._steps = now, 0.0, 0, 0

    def add(self, seconds: float, pictures: int) -> None:
        """One step waited so long for examples with so many pictures."""
        self._waited += seconds
        self._pictures += pictures
        self._steps += 1

    def take(self, now: float) -> dict[str, float]:
        """Since the last time: `loading`, the share of the time spent waiting; seconds a step and seconds of waiting in it;
        pictures made per second of waiting. Counts anew. {} if no step was done."""
        steps, passed, waited, pictures = self._steps, now - self._since, self._waited, self._pictures
        self._since, self._waited, self._pictures, self._steps = now, 0.0, 0, 0
        if not steps:
            return {}
        return {
            "loading": round(waited / max(passed, 1e-9), 3),
            "step_s": round(passed / steps, 4),
            "data_s": round(waited / steps, 4),
            "pictures_per_s": round(pictures / max(waited, 1e-9), 1),
        }


def picture_count(examples: Examples | None) -> int:
    """Pictures in a batch; masked ones do not count."""
    return 0 if examples is None else sum(int(mask.sum()) for mask in examples.inputs.image_masks)

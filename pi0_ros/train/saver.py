"""What a run leaves on disk: its state, the newest checkpoint, copies of it, and the best one."""

from __future__ import annotations

from collections.abc import Callable

from pi0_ros.model import Pi0
from pi0_ros.model.checkpoints.peft_save import PeftAdapter, peft_adapter
from pi0_ros.robot.disk import DiskFull
from pi0_ros.train.checkpoints import BEST, NEWEST, keep_copy, write_adapter, write_checkpoint
from pi0_ros.train.errors import TrainError
from pi0_ros.train.job import Job
from pi0_ros.train.learner import Learner
from pi0_ros.train.so_far import SoFar
from pi0_ros.train.state import save_sharded_state, save_state


class Saver:
    """Writes on behalf of one process. A full disk is reported and the next save tries again; at the end it is an error."""

    def __init__(self, job: Job, learner: Learner, now: Callable[[], SoFar]) -> None:
        """`now()` is what was done until now."""
        self._job, self._learner, self._now = job, learner, now

    def save(self, last: bool) -> None:
        """State and checkpoint. `last`: there is no next time. Raises TrainError."""
        job, learner = self._job, self._learner
        if job.rank and not learner.sharded:
            return
        model = learner.unfolded()
        adapter = peft_adapter(model, job.base) if job.settings.lora_export == "peft" and not job.rank else None
        model = learner.folded(model)
        if not job.rank and not all(bool(p.isfinite().all()) for p in model.parameters()):
            raise TrainError(
                f"{job.folder}: weights are not finite at step {self._now().step}; the last checkpoint is kept"
            )
        self._written(lambda: self._save_all(model, adapter), last)

    def save_best(self, model: Pi0) -> bool:
        """The weights of the best validation; whether they could be written."""
        return self._written(lambda: write_checkpoint(self._job, model, BEST, self._note()), last=False)

    def _save_all(self, model: Pi0, adapter: PeftAdapter | None) -> None:
        """Raises OSError."""
        job, learner = self._job, self._learner
        write_state = save_sharded_state if learner.sharded else save_state
        write_state(job.folder, learner.objective, learner.optimizer, learner.ema, self._now())
        if job.rank:
            return
        write_checkpoint(job, model, NEWEST, self._note())
        keep_copy(job.folder, self._now().step, job.settings.keep, tuple(name for name, _, _ in job.others))
        if adapter is not None:
            write_adapter(job, adapter)

    def _written(self, write: Callable[[], None], last: bool) -> bool:
        """Whether it could be written; a full disk is reported, and at the end it is an error."""
        try:
            write()
        except OSError as problem:
            place = problem.place if isinstance(problem, DiskFull) else None
            cause = f"the disk is full at {place}" if place is not None else problem.strerror or problem
            sentence = f"{self._job.folder}: state and checkpoint could not be written ({cause})"
            if last:
                raise TrainError(f"{sentence}; make room and give the same command again") from problem
            print(f"{sentence}; make room: the run goes on, and tries again at the next save", flush=True)
            return False
        return True

    def _note(self) -> str:
        """One sentence on how far the training was."""
        now = self._now()
        seed, minutes = self._job.settings.seed, now.seconds / 60
        return f"Seed {seed}, {now.step} steps, {now.examples} examples, {minutes:.0f} minutes; see docs/training.md.\n"

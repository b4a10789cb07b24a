"""What the loggers of other makers are given, by stand-ins for their packages."""

import sys
from types import SimpleNamespace

import pytest

from pi0_ros.train import loggers
from pi0_ros.train.errors import TrainError


class Asked:
    """A package's class or function that keeps how it was called, and what was called on what it gave."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def __call__(self, *args: object, **options: object) -> "Asked":
        self.calls.append(("made", args, options))
        return self

    def __getattr__(self, name: str):
        return lambda *args, **options: self.calls.append((name, args, options))


@pytest.mark.parametrize(("step", "purged"), [(0, None), (1, 2), (500, 501)])
def test_tensorboard_goes_on_after_the_step_and_writes_a_file_of_its_own(tmp_path, monkeypatch, step, purged):
    writer = Asked()
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=writer))
    board = loggers.TensorBoard(tmp_path, step)
    board.write(step + 7, {"loss": 0.5, "loss left arm": 0.25})
    board.close()
    options = {"purge_step": purged, "flush_secs": 1, "filename_suffix": f".{step}"}
    assert writer.calls == [
        ("made", (str(tmp_path / "tensorboard"),), options),
        ("add_scalar", ("loss", 0.5, step + 7), {}),
        ("add_scalar", ("loss/left/arm", 0.25, step + 7), {}),
        ("close", (), {}),
    ]


def test_a_run_at_weights_and_biases_is_gone_on_with_under_its_own_id(tmp_path, monkeypatch):
    wandb = Asked()
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=wandb))
    first = loggers.WeightsAndBiases(tmp_path, "arms", {"steps": 3})
    again = loggers.WeightsAndBiases(tmp_path, "arms", {"steps": 3})
    first.write(4, {"loss": 0.5})
    again.close()
    text = (tmp_path / loggers.WANDB_RUN).read_text()
    options = {"project": "arms", "name": tmp_path.name, "dir": str(tmp_path), "id": text.strip(), "resume": "allow"}
    made = ("made", (), {**options, "config": {"steps": 3}})
    assert wandb.calls == [made, made, ("log", ({"loss": 0.5},), {"step": 4}), ("finish", (), {})]
    assert len(text) == 9 and text.endswith("\n")
    assert int(text, 16) >= 0


@pytest.mark.parametrize(
    ("tensorboard", "wandb", "there", "missing"),
    [
        (True, "", (), "--tensorboard needs the package tensorboardX .*'pi0_ros.tensorboard.'"),
        (False, "arms", (), "--wandb needs the package wandb .*'pi0_ros.wandb.'"),
        (True, "arms", ("tensorboardX",), "--wandb needs"),
        (True, "arms", ("tensorboardX", "wandb"), None),
        (False, "", (), None),
    ],
)
def test_a_package_that_is_asked_for_has_to_be_there(monkeypatch, tensorboard, wandb, there, missing):
    monkeypatch.setattr(loggers, "find_spec", lambda name: object() if name in there else None)
    settings = SimpleNamespace(tensorboard=tensorboard, wandb=wandb)
    if missing is None:
        loggers.check_loggers(settings)
    else:
        with pytest.raises(TrainError, match=missing):
            loggers.check_loggers(settings)


@pytest.mark.parametrize(("tensorboard", "wandb"), [(False, ""), (True, ""), (False, "arms"), (True, "arms")])
def test_only_what_is_asked_for_is_made(tmp_path, monkeypatch, tensorboard, wandb):
    monkeypatch.setattr(loggers, "TensorBoard", lambda *given: ("board", *given))
    monkeypatch.setattr(loggers, "WeightsAndBiases", lambda *given: ("wandb", *given))
    settings = SimpleNamespace(tensorboard=tensorboard, wandb=wandb, to_dict=lambda: {"seed": 3})
    board, run = ("board", tmp_path, 9), ("wandb", tmp_path, "arms", {"seed": 3})
    assert loggers.make_loggers(tmp_path, settings, 9) == (*[board] * tensorboard, *[run] * bool(wandb))


def test_a_line_is_written_to_all_without_what_is_no_finite_number():
    one, two = Asked(), Asked()
    loggers.write_all(
        (one, two), {"step": 12, "loss": 1, "rate": 0.5, "nan": float("nan"), "why": "text", "none": None}
    )
    assert one.calls == two.calls == [("write", (12, {"loss": 1.0, "rate": 0.5}), {})]

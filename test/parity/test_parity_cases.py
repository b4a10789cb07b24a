"""Every recorded case of the reference projects gives the same numbers here."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pi0_ros.cli import main
from pi0_ros.model.checkpoints.tensorfile import read_all, write
from pi0_ros.parity import train_case
from pi0_ros.parity.cases import case_kind, rows
from pi0_ros.parity.report import ParityError, Row, close, equal, line
from pi0_ros.parity.train_case import read_train_case
from pi0_ros.policy.statistics import running

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
RECORDED = GOLDEN.parent / "recorded"
KINDS = {
    "openpi_pi0": "model",
    "openpi_pi05": "model",
    "lerobot_pi0": "model",
    "lerobot_pi05": "model",
    "orbax_pi0": "model",
    "orbax_pi05": "model",
    "rtc": "rtc",
    "fast": "fast",
    "resize": "resize",
    "transforms": "transforms",
    "state_prompt": "state_prompt",
    "dataset": "dataset",
}
TRAINED = {
    "train_lerobot_pi0": 5,
    "train_lerobot_pi05": 5,
    "train_lerobot_pi0_fast": 3,
    "train_openpi_jax_pi0": 5,
    "train_openpi_jax_pi05": 5,
    "train_openpi_jax_lora": 5,
    "train_pi0_fast": 3,
}
STAGES = ("image_features", "prefix_last_hidden", "prefix_keys", "velocity", "loss", "sampled_actions_10")


@pytest.fixture(scope="module")
def measured():
    """Rows of a case, computed once."""
    known: dict[str, list[Row]] = {}

    def get(case: str) -> list[Row]:
        if case not in known:
            known[case] = list(rows(GOLDEN / case))
        return known[case]

    return get


def assert_same_numbers(found: list[Row]) -> None:
    """Within the tolerances of the reference: narrow for what is computed once, wider for what adds up."""
    assert len(found) > 10
    # Guided sampling multiplies an error of the velocity by up to 10 near t = 1, sampling adds up ten of them, and so does the
    # loss of an element: it is the square of up to 4.8. Processors add up in orders of their own.
    wide = [row for row in found if "sampled_actions" in row.name or row.name.startswith(("vjp.", "identity."))]
    wide += [row for row in found if row.name == "loss"]
    narrow = [row for row in found if row not in wide]
    assert [row for row in wide if not row.passes(1e-4)] == []
    assert [row for row in narrow if not row.passes(2e-5)] == []


@pytest.mark.parametrize("case", KINDS)
def test_a_recorded_case_gives_the_same_numbers(measured, case):
    assert_same_numbers(measured(case))


@pytest.mark.parametrize("case", TRAINED)
def test_recorded_optimiser_steps_are_taken_the_same_way(case):
    """Losses, norms, rates, the first gradient, weights and averages; tolerances of the recording's own README."""
    if "lerobot" not in case:
        pytest.importorskip("tensorstore", reason="reading JAX folders needs the optional tensorstore package")
    assert case_kind(GOLDEN / case) == "train"
    found = {row.name: row for row in rows(GOLDEN / case)}
    assert [row for row in found.values() if not row.passes(1e-4)] == []
    last = TRAINED[case]
    for name in (
        f"s{last - 1}.loss",
        f"s{last - 1}.lr",
        f"s{last - 1}.grad_norm",
        "grad.s0",
        f"params.after_step{last} overall",
    ):
        assert name in found
    exact = [row for row in found.values() if row.name.endswith((".loss", ".lr", ".grad_norm"))]
    assert len(exact) == 3 * last and all(row.passes(1e-5) for row in exact)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"weight_decay": 0.01}, "weight decay"),
        ({"clip": 0.0}, "no clipping"),
        ({"warmup": 3}, "a longer warm-up"),
        ({"ema": 0.99}, "a slower average"),
    ],
)
def test_a_slip_in_the_recipe_shows_far_above_the_tolerance(change, what, monkeypatch):
    pytest.importorskip("tensorstore", reason="reading JAX folders needs the optional tensorstore package")
    case = read_train_case(GOLDEN / "train_openpi_jax_pi0")
    slip = replace(case, settings=replace(case.settings, **change))
    monkeypatch.setattr(train_case, "read_train_case", lambda folder: slip)
    worst = max(row.difference for row in train_case.train_rows(GOLDEN / "train_openpi_jax_pi0"))
    assert worst > 1e-3, what


@pytest.mark.parametrize("case", ["lerobot_pi05_odd", "lerobot_pi05_odd_rtc0", "lerobot_pi0_odd"])
def test_odd_sizes_masks_cameras_norms_and_offsets_give_the_same_numbers(case):
    """Several key/value heads, heads that do not make up the width, text with holes, rows without a camera, empty
    cameras, offsets with exceptions, statistics that are constant, other steps, delays and schedules."""
    assert_same_numbers(list(rows(RECORDED / case, tokenizer=GOLDEN / "lerobot_pi05")))


@pytest.mark.parametrize("case", [case for case, kind in KINDS.items() if kind == "model"])
def test_every_stage_of_a_model_is_compared(measured, case):
    names = [row.name for row in measured(case)]
    for stage in STAGES:
        assert any(name.startswith(stage) for name in names), stage
    assert "sampled_actions_10 (fast path)" in names


@pytest.mark.parametrize("case", ["lerobot_pi0", "lerobot_pi05"])
def test_lerobots_observations_go_all_the_way_to_actions(measured, case):
    names = {row.name for row in measured(case)}
    for stage in ("token_ids", "model.image.0", "action_chunk_normalized", "action_chunk", "train_action_normalized"):
        assert {f"obs0.{stage}", f"obs1.{stage}"} <= names


@pytest.mark.parametrize(("case", "kind"), KINDS.items())
def test_the_kind_of_a_case_is_told_by_its_files(case, kind):
    assert case_kind(GOLDEN / case) == kind


def test_a_folder_that_is_no_case_is_refused(tmp_path):
    with pytest.raises(ParityError, match="no recorded case"):
        case_kind(tmp_path)
    with pytest.raises(ParityError, match="no such folder"):
        case_kind(tmp_path / "gone")


def test_the_command_prints_every_output_and_succeeds(capsys):
    assert main(["parity", str(GOLDEN / "openpi_pi05")]) == 0
    printed = capsys.readouterr().out
    assert "velocity.t1.0" in printed and "adarms_cond.t0.3" in printed and "DIFFERS" not in printed


def test_a_changed_weight_fails_the_case(tmp_path, capsys):
    folder = tmp_path / "case"
    shutil.copytree(GOLDEN / "openpi_pi0", folder)
    tensors = read_all(folder / "model.safetensors")
    tensors["action_out_proj.bias"] += 0.01
    write(folder / "model.safetensors", tensors)
    assert main(["parity", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "DIFFERS" in next(line for line in printed.splitlines() if line.startswith("velocity.t1.0"))
    assert "ok" in next(line for line in printed.splitlines() if line.startswith("prefix_keys"))
    assert main(["parity", str(folder), "--tolerance", "10"]) == 0


def test_a_changed_recording_fails_the_case(tmp_path):
    folder = tmp_path / "fast"
    shutil.copytree(GOLDEN / "fast", folder)
    io = read_all(folder / "io.safetensors")
    io["ids.10x7"][0, 0] += 1
    write(folder / "io.safetensors", io)
    assert [row.name for row in rows(folder) if not row.passes(1e-4)] == ["ids.10x7", "decoded.10x7"]


def test_a_changed_text_fails_the_case(tmp_path):
    folder = tmp_path / "state_prompt"
    shutil.copytree(GOLDEN / "state_prompt", folder)
    recorded = json.loads((folder / "state_prompt.json").read_text())
    recorded["states"][2]["bins"][1] += 1
    recorded["prompts"][3]["lerobot_pi0_text"] += "!"
    (folder / "state_prompt.json").write_text(json.dumps(recorded))
    assert [r.name for r in rows(folder) if not r.passes(1e-4)] == ["states.2.bins", "prompts.3.lerobot_pi0_text"]


def test_statistics_take_their_batches_by_number_and_not_by_name(tmp_path):
    """From the eleventh batch on the order of the names is another one, and quantiles depend on the order."""
    folder = tmp_path / "transforms"
    shutil.copytree(GOLDEN / "transforms", folder)
    io = read_all(folder / "io.safetensors")
    generator = np.random.default_rng(5)
    batches = [(1 + i) * generator.standard_normal((9, 3)).astype(np.float32) for i in range(12)]
    for key in ("state", "actions"):
        io = {name: tensor for name, tensor in io.items() if not name.startswith(f"stats_in.{key}.")}
        io |= {f"stats_in.{key}.{i}": torch.from_numpy(batch) for i, batch in enumerate(batches)}
        found = running(batches).statistics()
        io |= {f"stats.{key}.{name}": torch.tensor(found[name]) for name in ("mean", "std", "q01", "q99")}
    write(folder / "io.safetensors", io)
    compared = [row for row in rows(folder) if row.name.startswith("stats.")]
    assert len(compared) == 8 and all(row.difference == 0 for row in compared)


@pytest.mark.parametrize(
    ("case", "lacking", "told"),
    [("openpi_pi0", "image.base_0_rgb", "image.base_0_rgb"), ("transforms", "x.state", "has no 'x.state'")],
)
def test_a_recording_that_lacks_what_another_entry_needs_says_so(tmp_path, capsys, case, lacking, told):
    folder = tmp_path / case
    shutil.copytree(GOLDEN / case, folder)
    io = read_all(folder / "io.safetensors")
    write(folder / "io.safetensors", {name: t for name, t in io.items() if name != lacking})
    assert main(["parity", str(folder)]) == 1
    error = capsys.readouterr().err
    assert told in error and str(folder) in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("found", "recorded", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.nan], [1.0], np.inf),
        ([1.0], [np.nan], np.inf),
        ([np.nan], [np.nan], 0.0),
        ([np.inf], [np.inf], 0.0),
        ([1.0], [1.0, 2.0], np.inf),
        (torch.zeros(2, dtype=torch.bfloat16), [0.0, 0.25], 0.25),
    ],
)
def test_the_largest_difference_counts_shapes_and_nan(found, recorded, difference):
    assert close("x", found, recorded).difference == difference


def test_exact_rows_tolerate_nothing():
    assert equal("ids", [1, 2, 3], [1, 2, 4]).difference == 1
    assert not equal("ids", [1, 2, 3], [1, 2, 4]).passes(100.0)
    assert not equal("text", "a", "b").passes(100.0) and equal("text", "a", "a").passes(0.0)


def test_a_line_says_what_differs():
    found = [Row("good", 1e-6), Row("bad", 1e-3), Row("nan", float("nan")), Row("ids", 2, True), Row("text", 0, True)]
    assert [line(row, 1e-4).split()[-1] for row in found] == ["ok", "DIFFERS", "DIFFERS", "DIFFERS", "ok"]
    assert line(found[3], 1e-4).split() == ["ids", "2", "differ", "DIFFERS"]


def test_slots_that_only_the_recording_names_come_last(tmp_path):
    """A case whose files list fewer cameras than were recorded, as with LeRobot's empty cameras."""
    folder = tmp_path / "case"
    shutil.copytree(GOLDEN / "openpi_pi05", folder)
    sizes = json.loads((folder / "sizes.json").read_text())
    sizes["cameras"] = sizes["cameras"][:2]
    (folder / "sizes.json").write_text(json.dumps(sizes))
    found = list(rows(folder))
    assert "image_features.right_wrist_0_rgb" in {row.name for row in found}
    assert [row.name for row in found if not row.passes(2e-5)] == []

"""Adapters written as PEFT reads them are the merged weights again, over the base that they were trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pi0_ros.model import LoraConfig, add_lora, load, merge_lora
from pi0_ros.model.checkpoints import CheckpointError
from pi0_ros.model.checkpoints.peft_save import base_keys, peft_adapter
from pi0_ros.model.lora import LoraLinear

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden"


def trained(base: Path, config: LoraConfig):
    """The base with adapters of asymmetric sizes, and what learns in full moved a little."""
    generator = torch.Generator().manual_seed(4)
    model = add_lora(load(base).model, config, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("case", ["lerobot_pi0", "lerobot_pi05", "openpi_pi05"])
@pytest.mark.parametrize("per_head", [False, True])
def test_an_adapter_over_its_base_is_the_merged_network(case, per_head, tmp_path):
    base = GOLDEN / case
    model = trained(base, LoraConfig(2, 6.0, 3, 3.0, per_head))
    folder = peft_adapter(model, base).save(tmp_path / "adapter")
    for name in ("config.json", "sizes.json", "options.json"):  # the settings of the policy stand beside an adapter
        if (base / name).is_file():
            (folder / name).write_bytes((base / name).read_bytes())
    merged = merge_lora(model).state_dict()
    read = load(folder).model.state_dict()
    assert read.keys() == merged.keys()
    for name, tensor in merged.items():
        assert torch.allclose(read[name].float(), tensor.float(), atol=2e-6), name


def test_the_config_says_rank_scale_and_what_was_trained_whole(tmp_path):
    base = GOLDEN / "lerobot_pi05"
    folder = peft_adapter(trained(base, LoraConfig(2, 6.0, 3, 3.0)), base).save(tmp_path / "runs" / "a")
    config = json.loads((folder / "adapter_config.json").read_text())
    attention = next(n for n in config["target_modules"] if "language_model" in n and n.endswith("q_proj"))
    mlp = next(n for n in config["target_modules"] if "language_model" in n and n.endswith("up_proj"))
    ranks = {**dict.fromkeys(config["target_modules"], config["r"]), **config["rank_pattern"]}
    alphas = {**dict.fromkeys(config["target_modules"], config["lora_alpha"]), **config["alpha_pattern"]}
    assert ranks[attention] == 2 and alphas[attention] / ranks[attention] == pytest.approx(3.0)
    assert ranks[mlp] == 2 and alphas[mlp] / ranks[mlp] == pytest.approx(1.0)
    assert any(n.endswith("action_in_proj") for n in config["modules_to_save"])


def test_heads_that_come_out_are_one_pair_of_all_their_ranks():
    linear = torch.nn.Linear(5, 6, bias=False)
    layer = LoraLinear(linear, 2, 0.5, torch.Generator().manual_seed(0), out=3)
    from pi0_ros.model.checkpoints.peft_save import pair_of

    a, b = pair_of(layer)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    assert a.shape == (6, 5) and torch.allclose(x @ linear.weight.T + 0.5 * x @ a.T @ b.T, layer(x), atol=1e-6)


def test_a_base_that_peft_does_not_know_is_refused(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "config.json").write_text('{"format": "pi0_ros"}')
    with pytest.raises(CheckpointError, match="export the adapters merged"):
        base_keys(tmp_path / "ours")
    with pytest.raises(CheckpointError, match="no LoRA adapters to write"):
        peft_adapter(load(GOLDEN / "lerobot_pi05").model, GOLDEN / "lerobot_pi05")

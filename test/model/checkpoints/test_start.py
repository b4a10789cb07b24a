"""What training begins with: any checkpoint, or a PaliGemma, and an expert if there is none."""

import json

import pytest
import torch

from pi0_ros.model import CheckpointError, load, save
from pi0_ros.model.checkpoints import open_checkpoint, start_config, start_from
from pi0_ros.model.checkpoints.names import EMBEDDING, canonical
from pi0_ros.model.checkpoints.tensorfile import read_all, write
from pi0_ros.model.config import GEMMA_2B, GEMMA_300M

TEXT = {"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 16}
EXPERT = ("expert", "action_in_proj", "action_out_proj", "time_mlp_in", "time_mlp_out")


def old_name(name):
    """transformers before 4.52."""
    name = name.replace("paligemma.model.language_model.", "language_model.model.")
    return name.replace("paligemma.model.", "")


def new_name(name):
    return name.replace("paligemma.model.", "model.")


@pytest.fixture
def paligemma(golden, tmp_path):
    """paligemma(naming, tie): a recorded trunk as Hugging Face's PaliGemma holds it, with seven rows behind the vocabulary."""

    def make(naming, tied=True, name="paligemma"):
        folder = tmp_path / name
        folder.mkdir()
        tensors = read_all(golden / "openpi_pi05" / "model.safetensors")
        _, names = canonical(tensors)
        parts = {n: tensors[key] for n, key in names.sources.items() if n.startswith("paligemma.model.")}
        rows = parts.setdefault(
            EMBEDDING, tensors[names.sources.get(EMBEDDING, "") or names.sources["paligemma.lm_head.weight"]]
        )
        parts[EMBEDDING] = torch.cat([rows, torch.full((7, rows.shape[1]), 9.0)])
        written = {naming(n): t for n, t in parts.items()}
        if not tied:
            written["language_model.lm_head.weight" if naming is old_name else "lm_head.weight"] = parts[EMBEDDING]
        write(folder / "model.safetensors", written)
        config = {"model_type": "paligemma", "image_token_index": len(rows), "text_config": TEXT}
        config["vision_config"] = {"num_attention_heads": 2}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("naming", [old_name, new_name])
@pytest.mark.parametrize("tied", [True, False])
def test_both_namings_of_a_paligemma_are_the_trunk_of_a_new_policy(golden, paligemma, naming, tied):
    folder = paligemma(naming, tied)
    config = start_config(open_checkpoint(folder, as_start=True), "pi05", {"horizon": 12, "action_dim": 7})
    found = start_from(folder, config, generator=seeded())
    trunk = load(golden / "openpi_pi05").model
    for part in ("siglip", "projector", "gemma"):
        weights = getattr(found.model, part).state_dict()
        for name, value in getattr(trunk, part).state_dict().items():
            assert torch.equal(weights[name], value), (part, name)
    assert found.drawn == EXPERT and found.origin == "paligemma"
    assert found.model.action_out_proj.weight.shape[0] == 7
    assert (config.horizon, config.prompt_length) == (12, 200)
    assert not any(p.is_meta for p in found.model.parameters())


def test_what_is_drawn_is_told_by_the_seed(paligemma):
    folder = paligemma(new_name)
    config = start_config(open_checkpoint(folder, as_start=True), "pi0")
    one, same, other = (start_from(folder, config, generator=seeded(s)).model.state_dict() for s in (3, 3, 4))
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert not torch.equal(one["action_in_proj.weight"], other["action_in_proj.weight"])
    assert torch.equal(one["gemma.embed_tokens.weight"], other["gemma.embed_tokens.weight"])


def test_the_published_trunk_gets_the_published_expert(paligemma):
    from pi0_ros.model.checkpoints.start import expert_for

    assert expert_for(GEMMA_2B) == GEMMA_300M


def test_a_paligemma_is_no_policy(paligemma):
    folder = paligemma(old_name)
    with pytest.raises(CheckpointError, match=r"gives no actions\. Train one from it: pi0 train --init"):
        load(folder)


@pytest.mark.parametrize(("case", "kind", "left"), [("openpi_pi05", "pi0_fast", EXPERT), ("openpi_pi0", "pi05", ())])
def test_another_kind_keeps_the_trunk_alone(golden, case, kind, left):
    config = start_config(open_checkpoint(golden / case, as_start=True), kind)
    found = start_from(golden / case, config, generator=seeded())
    assert set(left) <= set(found.left)
    assert torch.equal(found.model.siglip.post_layernorm.weight, load(golden / case).model.siglip.post_layernorm.weight)
    assert ("expert" in found.drawn) == (kind == "pi05")


def test_the_second_stage_adds_the_expert_to_what_the_first_made(golden, tmp_path):
    first = start_config(open_checkpoint(golden / "openpi_pi05", as_start=True), "pi0_fast")
    tokens_only = start_from(golden / "openpi_pi05", first, generator=seeded()).model
    save(tokens_only, tmp_path / "stage1")
    second = start_config(open_checkpoint(tmp_path / "stage1", as_start=True), "pi05", {"horizon": 6})
    found = start_from(tmp_path / "stage1", second, generator=seeded())
    assert found.drawn == EXPERT and found.left == ()
    assert torch.equal(found.model.gemma.norm.weight, tokens_only.gemma.norm.weight)


def test_the_same_kind_is_taken_whole(golden):
    found = start_from(golden / "lerobot_pi0", generator=seeded())
    whole = load(golden / "lerobot_pi0").model.float().state_dict()
    assert found.drawn == () and all(torch.equal(v, whole[n]) for n, v in found.model.state_dict().items())


def test_what_the_checkpoint_fixes_cannot_be_asked_for(golden):
    opened = open_checkpoint(golden / "openpi_pi05", as_start=True)
    assert start_config(opened, "", {"horizon": 9, "prompt_length": 30}).horizon == 9
    with pytest.raises(CheckpointError, match=r"action dim is the checkpoint's own \(8\)"):
        start_config(opened, "", {"action_dim": 9})
    with pytest.raises(CheckpointError, match="choose one of pi0, pi05, pi0_fast"):
        start_config(opened, "pi07")

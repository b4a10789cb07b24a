"""The network that a start is grown to, and which of its parts are drawn, from shapes alone."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pi0_ros.model.checkpoints.load import OpenedCheckpoint
from pi0_ros.model.checkpoints.start import _divided, _draw, expert_for, start_config
from pi0_ros.model.config import FAST_NUMERICS, NUMERICS, GemmaConfig, ModelConfig, VisionConfig
from pi0_ros.model.conventions import conventions_for
from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.network import Pi0

LANGUAGE = GemmaConfig(width=12, depth=2, heads=2, kv_heads=1, head_dim=4, mlp=18)
OWN = ModelConfig(
    "pi0", VisionConfig(8, 1, 2, 10, 8, 4), LANGUAGE, replace(LANGUAGE, width=6, mlp=5), vocab=31, action_dim=7, horizon=9,
    prompt_length=21, cameras=("a", "b"), state_dim=5, numerics=NUMERICS["lerobot"],
)  # fmt: skip


def opened(config=OWN, origin="pi0_ros", shapes=None):
    source = SimpleNamespace(shapes=shapes or {}, key=lambda name: name)
    return OpenedCheckpoint(source, origin, config, Path("there"), conventions_for("pi0_ros", "pi0", {}), {}, ())


def shapes_of(config):
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in Pi0(config).state_dict().items()}


def test_the_same_kind_keeps_all_but_rows_and_prompt():
    assert start_config(opened()) == OWN == start_config(opened(), "pi0")
    assert start_config(opened(), "", {"horizon": 4, "prompt_length": 6}) == replace(OWN, horizon=4, prompt_length=6)
    for field, value in (("action_dim", 3), ("cameras", ("a",)), ("vocab", 4), ("state_dim", 3)):
        with pytest.raises(CheckpointError, match=f"{field.replace('_', ' ')} is the checkpoint's own"):
            start_config(opened(), "", {field: value})


def test_another_kind_takes_its_own_arithmetic_and_prompt_and_may_have_other_actions():
    found = start_config(opened(origin="lerobot"), "pi05")
    assert found == replace(OWN, kind="pi05", numerics=NUMERICS["lerobot"], prompt_length=200)
    changes = {"action_dim": 3, "cameras": ("c",), "prompt_length": 8}
    found = start_config(opened(origin="openpi"), "pi05", changes)
    assert (found.action_dim, found.cameras, found.prompt_length, found.numerics) == (3, ("c",), 8, NUMERICS["openpi"])
    with pytest.raises(CheckpointError, match="vocab is the checkpoint's own"):
        start_config(opened(), "pi05", {"vocab": 3})


def test_a_network_of_tokens_has_no_expert_and_any_number_of_actions():
    found = start_config(opened(origin="lerobot"), "pi0_fast", {"action_dim": 3})
    assert (found.expert, found.action_dim, found.prompt_length) == (None, 3, 250) and not found.untied
    assert found.numerics == FAST_NUMERICS["lerobot"]
    untied = replace(found, untied=True)
    assert start_config(opened(untied), "", {"action_dim": 4}) == replace(untied, action_dim=4)
    assert start_config(opened(untied), "pi0_fast").untied and not start_config(opened(untied), "pi05").untied
    with pytest.raises(CheckpointError, match="cameras is the checkpoint's own"):
        start_config(opened(untied), "", {"cameras": ("c",)})


def test_a_paligemma_grows_an_expert_whatever_kind_it_becomes():
    trunk = replace(OWN, kind="pi0_fast", expert=None)
    found = start_config(opened(trunk, "paligemma"), "pi0")
    assert found.expert == replace(LANGUAGE, width=6, mlp=4) and found.numerics == NUMERICS["pi0_ros"]
    tokens = start_config(opened(trunk, "paligemma"), "", {"cameras": ("c",)})
    assert (tokens.kind, tokens.expert, tokens.cameras) == ("pi0_fast", None, ("c",))
    assert tokens.numerics == FAST_NUMERICS["pi0_ros"]


def test_an_expert_is_half_as_wide_as_its_trunk_and_even_with_a_quarter_of_its_mlp():
    for width, mlp, own in ((2048, 16384, (1024, 4096)), (14, 19, (6, 4)), (3, 3, (2, 1)), (8, 8, (4, 2))):
        assert expert_for(replace(LANGUAGE, width=width, mlp=mlp)) == replace(LANGUAGE, width=own[0], mlp=own[1])


def test_what_cannot_be_is_refused():
    with pytest.raises(CheckpointError, match="model 'pi9' is not known; choose one of pi0, pi05, pi0_fast"):
        start_config(opened(), "pi9")
    with pytest.raises(CheckpointError, match="'horizon' has to be a whole number"):
        start_config(opened(), "", {"horizon": 0})


EXPERT = ("expert", "action_in_proj", "action_out_proj")


def divided(there, config, origin="pi0_ros"):
    with torch.device("meta"):
        return _divided(opened(there, origin, shapes_of(there)), Pi0(config))


def test_an_expert_is_taken_as_a_whole_or_not_at_all():
    plan, drawn, left = divided(OWN, OWN)
    assert plan == {name: name for name in shapes_of(OWN)} and drawn == left == ()
    for config in (
        replace(OWN, action_dim=8),
        replace(OWN, expert=replace(OWN.expert, mlp=6)),
        replace(OWN, state_dim=6),
    ):
        plan, drawn, left = divided(OWN, config)
        assert {name.split(".")[0] for name in plan} == {"siglip", "projector", "gemma"}
        assert drawn == left == (*EXPERT, "state_proj", "action_time_mlp_in", "action_time_mlp_out")
    plan, drawn, left = divided(OWN, replace(OWN, kind="pi05"))
    assert drawn == (*EXPERT, "time_mlp_in", "time_mlp_out") and "state_proj" in left
    plan, drawn, left = divided(OWN, replace(OWN, kind="pi0_fast", expert=None))
    assert drawn == () and left[0] == "expert"


def test_another_trunk_is_refused_with_both_shapes_and_how_many_differ():
    with pytest.raises(
        CheckpointError, match=r"gemma.embed_tokens.weight is \[31, 12\], \[32, 12\] is asked for \(1 weights differ\)"
    ):
        divided(OWN, replace(OWN, vocab=32))
    shapes = shapes_of(OWN)
    del shapes["projector.bias"], shapes["projector.weight"]
    with (
        torch.device("meta"),
        pytest.raises(CheckpointError, match=r"projector.weight is missing, \[12, 8\] .*\(2 weights differ\)"),
    ):
        _divided(opened(OWN, "pi0_ros", shapes), Pi0(OWN))


def test_what_is_drawn_is_the_networks_own_parts_in_the_type_asked_for():
    with torch.device("meta"):
        model = Pi0(OWN)
    parts = (*EXPERT, "state_proj")
    _draw(model, OWN, parts, torch.Generator().manual_seed(4), torch.bfloat16, torch.device("cpu"))
    right = shapes_of(OWN)
    for name, value in model.state_dict().items():
        assert tuple(value.shape) == right[name] and value.is_meta is (name.split(".")[0] not in parts)
    assert model.expert.norm.weight.dtype == model.state_proj.weight.dtype == torch.bfloat16
    assert model.action_out_proj.weight.float().std() > 0.0

"""A small checkpoint with random weights, for tests of policies and of the nodes that run them."""

import numpy as np
import torch

from pi0_ros.model import GemmaConfig, Pi0, VisionConfig, initialise, preset, save
from pi0_ros.policy import load_adapter, tiny_tokenizer
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.normalize import Statistics, write_norm_stats

TOWER = GemmaConfig(width=32, depth=2, heads=4, kv_heads=1, head_dim=8, mlp=64)


def statistics(size, seed):
    """Plausible statistics of that many dimensions."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-2, -0.5, size)
    return Statistics({"mean": low + 1, "std": rng.uniform(0.3, 1, size), "q01": low, "q99": low + 2.5})


def make_checkpoint(folder, adapter="mobile_bimanual", **changes):
    """A small checkpoint of ours with random weights, fit for the adapter's robot."""
    found = load_adapter(adapter)
    sizes = {
        "vocab": tiny_tokenizer.build().vocab_size,
        "prompt_length": 72,
        "cameras": tuple(found.cameras),
        "action_dim": len(found.action_channels),
        "vision": VisionConfig(width=32, depth=1, heads=2, mlp=64, image_size=32, patch=16),
        "language": TOWER,
        "expert": TOWER,
    }
    generator = torch.Generator().manual_seed(0)
    model = initialise(Pi0(preset("tiny", **{**sizes, **changes})), generator)
    for parameter in model.parameters():  # a fresh network has closed gates, so nothing it sees would matter
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    save(model, folder, policy=adapter_to_dict(found))
    tiny_tokenizer.save(folder / "tokenizer.json")
    state, actions = statistics(len(found.state_channels), 1), statistics(len(found.action_channels), 2)
    write_norm_stats(folder, {"state": state, "actions": actions})
    return folder

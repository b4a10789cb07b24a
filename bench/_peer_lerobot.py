"""LeRobot's pi0.5 as a peer, run by its own Python: `python _peer_lerobot.py FOLDER THREADS CLOCK DTYPE`.

FOLDER holds sizes.json, model.safetensors (LeRobot's key names) and io.safetensors. After "PEER ready" it answers
every line on stdin with one on stdout: the seconds of one call ("full") and of its ten steps ("steps"), by the function
CLOCK of `time`. The first call's actions are written to actions.safetensors. The published sizes are patched, the code
that runs is LeRobot's own, eager as it is delivered. DTYPE is its configuration's ("bfloat16" keeps vision and norms in
float32).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.pi05 import modeling_pi05 as peer
from lerobot.policies.pi05.configuration_pi05 import PI05Config
from safetensors.torch import load_file, save_file


def resized(make: Callable[..., Any], change: Callable[[Any], None]) -> Callable[..., Any]:
    """A constructor whose configuration is changed first."""

    def build(config: Any) -> Any:
        change(config)
        return make(config=config)

    return build


def build(sizes: dict[str, Any], dtype: str) -> Any:
    """LeRobot's network with other tower sizes."""
    vision, vocab = sizes["vision"], sizes["vocab"]
    towers = {"gemma_2b": sizes["language"], "gemma_300m": sizes["expert"]}

    def gemma(variant: str) -> Any:
        t = towers[variant]
        return peer.GemmaConfig(t["width"], t["depth"], t["mlp"], t["heads"], t["kv_heads"], t["head_dim"])

    def shrink(config: Any) -> None:
        own = config.vision_config
        own.hidden_size, own.num_hidden_layers = vision["width"], vision["depth"]
        own.num_attention_heads, own.intermediate_size = vision["heads"], vision["mlp"]
        own.patch_size, own.projection_dim = vision["patch"], sizes["language"]["width"]
        config.text_config.vocab_size = config._vocab_size = vocab

    peer.get_gemma_config = gemma
    peer.PaliGemmaForConditionalGenerationWithPiGemma = resized(
        peer.PaliGemmaForConditionalGenerationWithPiGemma, shrink
    )
    peer.PiGemmaForCausalLM = resized(peer.PiGemmaForCausalLM, lambda config: setattr(config, "vocab_size", vocab))
    size = (vision["image_size"], vision["image_size"])
    config = PI05Config(
        max_action_dim=sizes["action_dim"],
        chunk_size=sizes["horizon"],
        n_action_steps=sizes["horizon"],
        tokenizer_max_length=sizes["prompt_length"],
        image_resolution=size,
        dtype=dtype,
        device="cpu",
    )
    return peer.PI05Pytorch(config).eval()


def load(folder: Path, dtype: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """The network with the folder's weights, and the inputs. Missing keys other than unused heads are an error."""
    model = build(json.loads((folder / "sizes.json").read_text()), dtype)
    missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    if lost := [key for key in (*missing, *unexpected) if not key.endswith("lm_head.weight")]:
        raise SystemExit(f"weights do not fit LeRobot's network: {', '.join(lost[:5])}")
    return model, load_file(folder / "io.safetensors")


@torch.no_grad()
def main(folder: Path, threads: int, clock: Callable[[], float], dtype: str) -> None:
    torch.set_num_threads(threads)
    model, io = load(folder, dtype)
    cameras = sum(key.startswith("image.") for key in io)
    images = [io[f"image.{index}"] for index in range(cameras)]
    masks = [io[f"mask.{index}"] for index in range(cameras)]

    def full() -> torch.Tensor:
        return model.sample_actions(images, masks, io["tokens"], io["token_mask"], noise=io["noise"], num_steps=10)

    inside: list[float] = []
    integrate = peer.euler_integrate

    def timed(*args: Any, **kwargs: Any) -> torch.Tensor:
        begin = clock()
        answer = integrate(*args, **kwargs)
        inside.append(clock() - begin)
        return answer

    peer.euler_integrate = timed
    save_file({"actions": full().contiguous()}, folder / "actions.safetensors")
    print("PEER ready", flush=True)
    for _ in sys.stdin:
        begin = clock()
        full()
        print("PEER", json.dumps({"full": clock() - begin, "steps": inside[-1]}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), getattr(time, sys.argv[3]), sys.argv[4])

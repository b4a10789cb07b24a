"""Peak memory and time of loading full-size checkpoints: 3.3 and 3.6 billion parameters, bfloat16, as openpi and LeRobot
lay them out, in one file and in shards.

Random weights are written to a temporary folder and deleted again (8 GB of disk). Each load runs in a process of its
own, whose peak resident memory the kernel reports; "ready" is with the fast path's rearranged weights, as the policy
holds them. Prints one JSON object a line.

    python -m bench load_full [--quick] [--folder PATH]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOADER = """
import json, sys, time
from pathlib import Path
from pi0_ros.model import FastSampler, load
def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
base, start = status("VmRSS"), time.perf_counter()
loaded = load(sys.argv[1])
seconds, grown = time.perf_counter() - start, status("VmHWM") - base
parameters = sum(p.numel() for p in loaded.model.parameters())
size = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
start = time.perf_counter()
sampler = FastSampler(loaded.model, release=True)
print(json.dumps({"kind": loaded.config.kind, "origin": loaded.origin, "parameters": parameters, "size": size,
                  "grown": grown, "seconds": seconds, "peak": status("VmHWM"), "peak_ready": status("VmHWM") - base,
                  "ready": status("VmRSS") - base, "seconds_ready": time.perf_counter() - start}))
"""

# name, preset, layout, bytes a shard (0: one file)
CASES = (
    ("openpi_pi0", "pi0", "openpi", 0),
    ("openpi_pi05_sharded", "pi05", "openpi", 2_000_000_000),
    ("lerobot_pi05", "pi05", "lerobot", 0),
    ("lerobot_pi0_sharded", "pi0", "lerobot", 2_000_000_000),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the cases one after the other, one checkpoint on disk at a time."""
    parser = argparse.ArgumentParser(prog="python -m bench load_full", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small model instead: does the bench itself work?")
    parser.add_argument("--folder", help="where to write the checkpoints (default: the system's temporary folder)")
    args = parser.parse_args(argv)
    for name, preset, layout, shard_bytes in CASES:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            print(f"writing {name}", file=sys.stderr)
            write_checkpoint(Path(folder), "pi0_small" if args.quick else preset, layout, shard_bytes)
            report(name, measure(folder))
    return 0


def write_checkpoint(folder: Path, preset: str, layout: str, shard_bytes: int) -> None:
    """Random bfloat16 weights under the project's key names. Each tensor is one random row repeated, so that nothing of
    the model's size is held while writing."""
    import torch

    from pi0_ros.model import Pi0
    from pi0_ros.model import preset as config_of
    from pi0_ros.model.checkpoints.names import EMBEDDING, LM_HEAD, from_network
    from pi0_ros.model.checkpoints.save import sizes_json, write_json, write_weights

    def random(shape: tuple[int, ...]) -> torch.Tensor:
        return (0.02 * torch.randn(shape[-1])).to(torch.bfloat16).expand(shape)

    with torch.device("meta"):
        model = Pi0(config_of(preset))
    shapes = {from_network(name): tuple(meta.shape) for name, meta in model.state_dict().items()}
    shapes[LM_HEAD] = shapes[EMBEDDING]
    if layout == "openpi":
        del shapes[EMBEDDING]
    shapes["gemma_expert.lm_head.weight"] = (model.config.vocab, model.config.expert.width)
    write_weights(folder, {_key(name, layout): random(shape) for name, shape in shapes.items()}, shard_bytes)
    write_json(folder / "sizes.json", sizes_json(model.config))


def _key(canonical: str, layout: str) -> str:
    inner = "paligemma_with_expert." if canonical.startswith(("paligemma.", "gemma_expert.")) else ""
    return ("model." if layout == "lerobot" else "") + inner + canonical


def measure(folder: str) -> dict[str, Any]:
    """Loads the folder in a process of its own and returns what that process saw."""
    done = subprocess.run([sys.executable, "-c", LOADER, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"load_full: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def report(name: str, found: dict[str, Any]) -> None:
    """Size, peak memory as a multiple of it (what loading added, the process's imports left out), and time; the same with
    the sampler that the policy runs on."""
    metrics = (
        ("parameters", found["parameters"], "1"),
        ("size", found["size"], "byte"),
        ("peak_added", found["grown"], "byte"),
        ("peak_over_size", found["grown"] / found["size"], "1"),
        ("seconds", found["seconds"], "s"),
        ("ready_over_size", found["ready"] / found["size"], "1"),
        ("ready_peak_over_size", found["peak_ready"] / found["size"], "1"),
        ("ready_seconds", found["seconds_ready"], "s"),
        ("process_peak", found["peak"], "byte"),
    )
    for metric, value, unit in metrics:
        print(json.dumps({"bench": f"load_full/{name}", "metric": metric, "value": value, "unit": unit}), flush=True)


if __name__ == "__main__":
    sys.exit(main())

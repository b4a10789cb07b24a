"""Key names: every project's and version's names brought to one form, openpi's without `paligemma_with_expert.`.

Sources: openpi src/openpi/models_pytorch, examples/convert_jax_model_to_pytorch.py; lerobot policies pi0, pi05, pi0_fast
(`_fix_pytorch_state_dict_keys`) and its 0.3 files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.kinds import Kind, traits

EMBEDDING = "paligemma.model.language_model.embed_tokens.weight"
LM_HEAD = "paligemma.lm_head.weight"
VISION = "paligemma.model.vision_tower.vision_model."
PROJECTOR = "paligemma.model.multi_modal_projector.linear."
LANGUAGE = "paligemma.model.language_model."
EXPERT = "gemma_expert.model."

# Wrappers that training frameworks leave in front of every key.
WRAPPERS = ("module.", "_orig_mod.", "model.")
# And those that torch.compile, FSDP and activation checkpointing of a part leave in the middle of one.
# A plain PaliGemma's parts, of transformers before 4.52 and since (`model.` is a wrapper): no `paligemma.` in front.
BARE = re.compile(r"^(language_model|vision_tower|multi_modal_projector|lm_head)\.")
INNER_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
LEGACY = (
    (re.compile(r"^paligemma\.language_model\.lm_head\."), "paligemma.lm_head."),
    (re.compile(r"^paligemma\.language_model\.model\."), "paligemma.model.language_model."),
    (re.compile(r"^paligemma\.(vision_tower|multi_modal_projector|language_model)\."), r"paligemma.model.\1."),
    # transformers >= 5 drops the inner `vision_model`.
    (re.compile(r"^paligemma\.model\.vision_tower\.(?!vision_model\.)"), "paligemma.model.vision_tower.vision_model."),
)
# Present in files, never used by the network.
JUNK = (
    re.compile(r"^gemma_expert\.lm_head\."),
    re.compile(r"^gemma_expert\.model\.embed_tokens\."),
    re.compile(r"\.rotary_emb\.inv_freq$"),
    re.compile(r"\.position_ids$"),
    re.compile(r"^paligemma\.model\.vision_tower\.vision_model\.head\."),
    re.compile(r"^(normalize|unnormalize)_(inputs|targets|outputs)\."),  # lerobot <= 0.3 kept its statistics here
)


@dataclass(frozen=True)
class Names:
    """`sources[canonical] = key in the file`, the keys `skipped` as junk, and whether every key began with `model.`.

    bare: whether they are a PaliGemma's own names, without a policy around them.
    """

    sources: dict[str, str]
    skipped: tuple[str, ...]
    wrapped: bool
    legacy: bool
    bare: bool = False


def strip(key: str) -> str:
    """The key without wrappers and without `paligemma_with_expert.`: `model.`, `module.`, `_orig_mod.` in any order.

    A PaliGemma's own keys get the `paligemma.` that they have in a policy.
    """
    key, done = ".".join(part for part in key.split(".") if part not in INNER_WRAPPERS), False
    while not done:
        done = True
        for wrapper in WRAPPERS:
            if key.startswith(wrapper):
                key, done = key[len(wrapper) :], False
    key = key.removeprefix("paligemma_with_expert.")
    return "paligemma." + key if BARE.match(key) else key


def modernise(key: str) -> str:
    """The key with the names of old layouts replaced by today's."""
    for pattern, new in LEGACY:
        key = pattern.sub(new, key)
    return key


def is_junk(key: str) -> bool:
    return any(pattern.search(key) for pattern in JUNK)


def detect_kind(keys: Iterable[str]) -> Kind:
    """The kind from canonical keys: adaRMS Dense in the expert means "pi05", no expert "pi0_fast", else "pi0".

    Raises CheckpointError if the keys are no member of the family.
    """
    names = set(keys)
    if not any(name.startswith(LANGUAGE) for name in names):
        raise CheckpointError(
            f"these keys are no pi0-family model: none begins with {LANGUAGE!r} "
            f"(first key: {min(names, default='-')!r})"
        )
    if any(re.fullmatch(re.escape(EXPERT) + r"(layers\.\d+\.input_layernorm|norm)\.dense\.weight", n) for n in names):
        return "pi05"
    return "pi0" if any(name.startswith(EXPERT) for name in names) else "pi0_fast"


def _for_kind(key: str, kind: str) -> str | None:
    """LeRobot swaps time_mlp_* and action_time_mlp_* by policy type, and files of π0.5 may still carry a state_proj."""
    if traits(kind).adarms:
        if key.startswith("state_proj."):
            return None
        return re.sub(r"^action_time_mlp_(in|out)\.", r"time_mlp_\1.", key)
    if traits(kind).state_token:
        return re.sub(r"^time_mlp_(in|out)\.", r"action_time_mlp_\1.", key)
    return key


def canonical_name(key: str, kind: str) -> str | None:
    """The canonical name of one key in a network of `kind`; None for what the network never uses."""
    name = modernise(strip(key))
    return None if is_junk(name) else _for_kind(name, kind)


def canonical(keys: Iterable[str]) -> tuple[Kind, Names]:
    """Kind and canonical names of a file's keys. Raises CheckpointError if two keys come out the same."""
    keys = list(keys)
    stripped = {key: strip(key) for key in keys}
    modern = {key: modernise(name) for key, name in stripped.items()}
    kind = detect_kind(name for name in modern.values() if not is_junk(name))
    sources: dict[str, str] = {}
    skipped = []
    for key, name in modern.items():
        final = None if is_junk(name) else _for_kind(name, kind)
        if final is None:
            skipped.append(key)
        elif final in sources:
            raise CheckpointError(f"the keys {sources[final]!r} and {key!r} both mean {final!r}")
        else:
            sources[final] = key
    wrapped = bool(keys) and all(key.startswith("model.") for key in keys)
    bare = traits(kind).acts_in_tokens and not any("paligemma." in key for key in keys)
    return kind, Names(sources, tuple(sorted(skipped)), wrapped, modern != stripped, bare)


# Where the network keeps what the canonical names begin with; the heads have the same names in both.
PLACES = (
    (VISION, "siglip."),
    (PROJECTOR, "projector."),
    (LANGUAGE, "gemma."),
    (EXPERT, "expert."),
    ("paligemma.lm_head.", "lm_head."),
)


def to_network(name: str) -> str:
    """The network's parameter name of a canonical name."""
    for prefix, place in PLACES:
        if name.startswith(prefix):
            return place + name[len(prefix) :]
    return name


def from_network(name: str) -> str:
    """The canonical name of a network parameter."""
    for prefix, place in PLACES:
        if name.startswith(place):
            return prefix + name[len(place) :]
    return name

"""What a model of the family is: sizes, kind, cameras, and the arithmetic of the project its weights come from.

Sizes follow facts of the published models: PaliGemma = SigLIP So400m/14 + Gemma 2B, action expert 300M.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pi0_ros.model.kinds import KINDS, Kind, traits
from pi0_ros.robot.errors import UserError
from pi0_ros.robot.quoting import quote_value

CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")


LARGEST = {"vocab": 1 << 22, "action_dim": 4096, "horizon": 1000, "prompt_length": 4096, "width": 1 << 17, "depth": 512}
"""Several times the largest of any published model: what is beyond is a damaged file, and would ask for its memory."""
MAX_CAMERAS = 32


HABITS: Mapping[str, tuple[str, ...]] = {
    "time_grid": ("accumulate", "multiply"),
    "time_embedding": ("float64", "float32"),
    "rope": ("float32", "activation"),
    "embedding_scale": ("float32", "activation", "bfloat16"),
    "text_positions": ("cumsum", "arange"),
}
"""The words of `Numerics`; any other would be taken for one of them."""


class ConfigError(UserError):
    """A model configuration that cannot exist; the message names the field and what it has to be."""


@dataclass(frozen=True)
class VisionConfig:
    """SigLIP tower: square pictures of `image_size` pixels cut into `patch` x `patch` tokens."""

    width: int
    depth: int
    heads: int
    mlp: int
    image_size: int = 224
    patch: int = 14

    @property
    def tokens(self) -> int:
        """Tokens a camera gives."""
        return (self.image_size // self.patch) ** 2


@dataclass(frozen=True)
class GemmaConfig:
    """One Gemma stack. `heads` query heads share `kv_heads` key/value heads of `head_dim` numbers."""

    width: int
    depth: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int


@dataclass(frozen=True)
class Numerics:
    """Where projects that run the same weights differ in arithmetic; the loader picks a row of `NUMERICS`.

    time_grid: "accumulate" adds dt in float32 step by step (openpi), "multiply" rounds 1 + i*dt (LeRobot).
    time_embedding: precision of the sine and cosine angles.
    rope: "float32", or "activation" to round cos/sin to the activation type first (Hugging Face).
    embedding_scale: sqrt(width) as "float32" number, or rounded to the "activation" type (JAX, LeRobot >= 0.6), or to
        "bfloat16" whatever that is (openpi's LoRA training, whose frozen table is stored so).
    text_positions: pi0-FAST training positions, "cumsum" over valid tokens or "arange" over the padded row (openpi).
    decode_offset: extra positions a generated token is moved by (openpi's pi0-FAST skips one).
    decode_start: token ids put after the prompt before generating (LeRobot's pi0-FAST starts with BOS).
    min_period, max_period: of the time embedding.
    """

    time_grid: Literal["accumulate", "multiply"] = "multiply"
    time_embedding: Literal["float64", "float32"] = "float64"
    rope: Literal["float32", "activation"] = "float32"
    embedding_scale: Literal["float32", "activation", "bfloat16"] = "float32"
    text_positions: Literal["cumsum", "arange"] = "cumsum"
    decode_offset: int = 0
    decode_start: tuple[int, ...] = ()
    min_period: float = 4e-3
    max_period: float = 4.0

    def __post_init__(self) -> None:
        for name, words in HABITS.items():
            if getattr(self, name) not in words:
                raise ConfigError(
                    f"numerics: '{name}' has to be {' or '.join(words)}, got {quote_value(getattr(self, name))}"
                )
        periods = (self.min_period, self.max_period)
        if not all(type(p) in (int, float) for p in periods) or not 1e-9 < periods[0] < periods[1] < 1e9:
            raise ConfigError(f"numerics: min_period and max_period are {quote_value(periods)}, no two rising times")
        start, offset = self.decode_start, self.decode_offset
        if type(offset) is not int or not 0 <= offset <= 1000:
            raise ConfigError(f"numerics: 'decode_offset' is {quote_value(offset)}, no number of positions")
        if not isinstance(start, tuple) or len(start) > 16 or not all(type(i) is int and i >= 0 for i in start):
            raise ConfigError(f"numerics: 'decode_start' has to be a list of ids, got {quote_value(start)}")


NUMERICS: Mapping[str, Numerics] = {
    "pi0_ros": Numerics(),
    "openpi": Numerics(time_grid="accumulate"),
    "openpi_jax": Numerics(time_grid="accumulate", time_embedding="float32", embedding_scale="activation"),
    "lerobot": Numerics(embedding_scale="activation"),
}
FAST_NUMERICS: Mapping[str, Numerics] = {
    "pi0_ros": Numerics(),
    "openpi": Numerics(time_grid="accumulate", text_positions="arange", decode_offset=1),
    "openpi_jax": Numerics(
        time_grid="accumulate",
        time_embedding="float32",
        embedding_scale="activation",
        text_positions="arange",
        decode_offset=1,
    ),
    "lerobot": Numerics(embedding_scale="activation", decode_start=(2,)),
}


def numerics_for(origin: str, kind: str) -> Numerics:
    """The arithmetic of `origin` ("pi0_ros", "openpi", "openpi_jax", "lerobot") for a model kind."""
    table = FAST_NUMERICS if traits(kind).acts_in_tokens else NUMERICS
    if origin not in table:
        raise ConfigError(f"origin '{origin}' is not known; choose one of {', '.join(table)}")
    return table[origin]


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build the network; `state_dim` 0 stands for `action_dim`.

    untied: whether logits come from a matrix of their own (LeRobot's fine-tuned pi0-FAST) and not from the embedding.
    """

    kind: Kind
    vision: VisionConfig
    language: GemmaConfig
    expert: GemmaConfig | None
    vocab: int = 257152
    action_dim: int = 32
    horizon: int = 50
    prompt_length: int = 48
    cameras: tuple[str, ...] = CAMERAS
    state_dim: int = 0
    untied: bool = False
    numerics: Numerics = field(default_factory=Numerics)

    def __post_init__(self) -> None:
        _check_kind(self)
        _check_towers(self)
        if not self.state_dim:
            object.__setattr__(self, "state_dim", self.action_dim)

    @property
    def adarms(self) -> bool:
        """Whether the expert is conditioned on time through its norms (pi0.5)."""
        return traits(self.kind).adarms

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return {key: _plain(item) for key, item in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The configuration written by `to_dict`. Raises ConfigError naming a missing, unknown or impossible field."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"model configuration: 'model' has to be a mapping, got {quote_value(values)}")
        values = dict(values)
        for name, part in (("vision", VisionConfig), ("language", GemmaConfig), ("numerics", Numerics)):
            if name in values or name != "numerics":
                values[name] = _build(part, values.get(name), name)
        if values.get("expert") is not None:
            values["expert"] = _build(GemmaConfig, values["expert"], "expert")
        config: ModelConfig = _build(cls, values, "model")
        return config

    def with_origin(self, origin: str) -> ModelConfig:
        """The same network with the arithmetic of another project."""
        return replace(self, numerics=numerics_for(origin, self.kind))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _build(cls: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"model configuration: '{where}' has to be a mapping, got {quote_value(values)}")
    known = {f.name for f in fields(cls)}
    if unknown := sorted(set(values) - known):
        choices = ", ".join(sorted(known))
        raise ConfigError(
            f"model configuration: unknown field {quote_value(unknown[0])} in '{where}'; known: {choices}"
        )
    values = {key: tuple(item) if isinstance(item, list) else item for key, item in values.items()}
    try:
        return cls(**values)
    except ConfigError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"model configuration: '{where}' is incomplete ({error})") from None


def _check_kind(config: ModelConfig) -> None:
    if not isinstance(config.kind, str) or config.kind not in KINDS:
        raise ConfigError(f"model kind {quote_value(config.kind)} is not known; choose one of {', '.join(KINDS)}")
    alone = traits(config.kind).acts_in_tokens
    if (config.expert is None) != alone:
        raise ConfigError(f"kind '{config.kind}' {'has no' if alone else 'needs an'} expert")
    for name in ("vocab", "action_dim", "horizon", "prompt_length"):
        _check_whole(name, getattr(config, name), LARGEST[name])
    if type(config.state_dim) is not int or not 0 <= config.state_dim <= LARGEST["action_dim"]:
        raise ConfigError(
            f"model configuration: 'state_dim' is {quote_value(config.state_dim)}, no number of dimensions"
        )
    if type(config.untied) is not bool:
        raise ConfigError(f"model configuration: 'untied' has to be true or false, got {quote_value(config.untied)}")
    _check_cameras(config.cameras)


def _check_cameras(cameras: object) -> None:
    names = cameras if isinstance(cameras, tuple) else ()
    named = all(isinstance(name, str) and name for name in names)
    if not named or not 1 <= len(names) <= MAX_CAMERAS or len(set(names)) != len(names):
        raise ConfigError(
            f"model configuration: 'cameras' has to be a list of 1 to {MAX_CAMERAS} different names, got {quote_value(cameras)}"
        )


def _check_whole(name: str, value: object, largest: int) -> None:
    if type(value) is not int or not 0 < value <= largest:
        raise ConfigError(
            f"model configuration: '{name}' has to be a whole number from 1 to {largest}, got {quote_value(value)}"
        )


def _check_towers(config: ModelConfig) -> None:
    vision, language, expert = config.vision, config.language, config.expert
    for name, part in (("vision", vision), ("language", language), ("expert", expert)):
        for f in fields(part) if part else ():
            _check_whole(f"{name}.{f.name}", getattr(part, f.name), LARGEST["depth" if f.name == "depth" else "width"])
    if vision.image_size % vision.patch:
        raise ConfigError(f"image_size {vision.image_size} is not a multiple of patch {vision.patch}")
    if vision.width % vision.heads:
        raise ConfigError(f"vision width {vision.width} is not a multiple of its {vision.heads} heads")
    if language.heads % language.kv_heads or language.head_dim % 2:
        raise ConfigError("language heads have to be a multiple of kv_heads, and head_dim even")
    if expert is None:
        return
    for name in ("depth", "heads", "kv_heads", "head_dim"):
        if getattr(expert, name) != getattr(language, name):
            raise ConfigError(f"expert and language share attention: '{name}' has to be equal in both")
    if expert.width % 2:
        raise ConfigError(f"expert width {expert.width} has to be even (sines and cosines of the time embedding)")


SO400M = VisionConfig(width=1152, depth=27, heads=16, mlp=4304)
GEMMA_2B = GemmaConfig(width=2048, depth=18, heads=8, kv_heads=1, head_dim=256, mlp=16384)
GEMMA_300M = GemmaConfig(width=1024, depth=18, heads=8, kv_heads=1, head_dim=256, mlp=4096)
DUMMY = GemmaConfig(width=64, depth=4, heads=8, kv_heads=1, head_dim=16, mlp=128)

PRESETS: Mapping[str, ModelConfig] = {
    "pi0": ModelConfig("pi0", SO400M, GEMMA_2B, GEMMA_300M, prompt_length=48),
    "pi05": ModelConfig("pi05", SO400M, GEMMA_2B, GEMMA_300M, prompt_length=200),
    "pi0_fast": ModelConfig(
        "pi0_fast", SO400M, GEMMA_2B, None, prompt_length=250, horizon=32, numerics=FAST_NUMERICS["pi0_ros"]
    ),
    # No VLM initialisation: a ViT-B tower and a narrow trunk over the same vocabulary, 470 million parameters.
    "pi0_small": ModelConfig(
        "pi0",
        VisionConfig(width=768, depth=12, heads=12, mlp=3072),
        GemmaConfig(width=768, depth=12, heads=8, kv_heads=1, head_dim=128, mlp=4096),
        GemmaConfig(width=512, depth=12, heads=8, kv_heads=1, head_dim=128, mlp=2048),
    ),
    "dummy": ModelConfig(
        "pi05",
        VisionConfig(width=32, depth=2, heads=2, mlp=56, image_size=56),
        DUMMY,
        DUMMY,
        vocab=320,
        prompt_length=16,
    ),
    "tiny": ModelConfig(
        "pi05",
        VisionConfig(width=128, depth=4, heads=4, mlp=512, image_size=96, patch=16),
        GemmaConfig(width=128, depth=6, heads=4, kv_heads=2, head_dim=32, mlp=512),
        GemmaConfig(width=128, depth=6, heads=4, kv_heads=2, head_dim=32, mlp=512),
        vocab=1536,
        action_dim=18,
        horizon=16,
        prompt_length=64,
        cameras=("base", "left_wrist", "right_wrist"),
    ),
}


def preset(name: str, **changes: Any) -> ModelConfig:
    """A named configuration with some fields changed, e.g. preset("pi05", horizon=10)."""
    if name not in PRESETS:
        raise ConfigError(f"preset '{name}' is not known; choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)

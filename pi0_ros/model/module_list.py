"""A list of modules that keeps their type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

from torch import nn

Part = TypeVar("Part", bound=nn.Module)


def module_list(parts: Iterable[Part]) -> Sequence[Part]:
    """A `torch.nn.ModuleList`. torch says of its items only that they are modules; here they keep the type they come with."""
    return cast(Sequence[Part], nn.ModuleList(parts))

"""What a node is made of while it is configured, as one object."""

from __future__ import annotations

from typing import Generic, TypeVar

Parts = TypeVar("Parts")


class Configured(Generic[Parts]):
    """A node whose `setup` sets `_parts`, and whose `teardown` sets it to None."""

    _parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """What `setup` made; only while the node is configured."""
        assert self._parts is not None
        return self._parts

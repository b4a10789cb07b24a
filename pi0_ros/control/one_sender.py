"""Who is followed on a topic that has room for one sender: whoever came first, for as long as it sends."""

from __future__ import annotations

LATELY = 1.0
"""Seconds within which a sender that is there says something; its place is free after that."""
MOST = 16  # senders that are distinguished


class OneSender:
    """The senders of one topic. What the others say is not followed, so that nothing ever moves as an alternation of two.

    A sender is any bytes that tell it from the others, such as the id of a publisher. All times are steady seconds.
    """

    def __init__(self) -> None:
        self._heard: dict[bytes, float] = {}  # in the order in which they came: the first one is followed

    def hear(self, steady: float, sender: bytes) -> bool:
        """Note a message of `sender`; whether this is the one to follow."""
        self._forget(steady)
        if sender in self._heard or len(self._heard) < MOST:
            self._heard[sender] = steady
        return next(iter(self._heard)) == sender

    def senders(self, steady: float) -> tuple[bytes, ...]:
        """Recent senders, the one that is followed first."""
        self._forget(steady)
        return tuple(self._heard)

    def _forget(self, steady: float) -> None:
        if any(steady - at > LATELY for at in self._heard.values()):
            self._heard = {sender: at for sender, at in self._heard.items() if steady - at <= LATELY}

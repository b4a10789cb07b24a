"""Settings for the connection to a policy server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSettings:
    """How a policy server is reached. Times in seconds.

    key: sent as `Authorization: Api-Key`. ca_file: certificate of the authority that signed the server's. proxy: "none",
    "auto" (as the environment says) or an address. connect: for the handshake and the server's metadata. answer: for
    each answer, first_answer: for the first one, which a server may compile for. wait: for a server that is not there
    yet, 0: as long as it takes.
    """

    key: str = ""
    ca_file: str = ""
    proxy: str = "none"
    connect: float = 5.0
    answer: float = 1.0
    first_answer: float = 300.0
    wait: float = 0.0

"""The address of a policy server, recognised before anybody looks for a folder of that name."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from pi0_ros.policy.errors import PolicyError

SCHEMES = ("ws", "wss")
HELP = "a policy server's address begins with ws:// or wss://, as in ws://host:8000"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9_.-]+:\d+(/.*)?")


def server_address(checkpoint: str | Path) -> str | None:
    """The server's address with its scheme in lower case; None for a folder or a name.

    Raises: PolicyError for a malformed address: another scheme, no host, no port number.
    """
    text = str(checkpoint).strip()
    scheme = _SCHEME.match(text)
    if scheme is None:
        if _HOST_AND_PORT.fullmatch(text) and not Path(text).exists():
            raise PolicyError(f"{text}: {HELP}")
        return None
    if Path(text).exists():
        return None
    name, rest = scheme[1].lower(), text[scheme.end() - 1 :]
    if name not in SCHEMES or not rest.startswith("//"):
        raise PolicyError(f"{text}: {HELP}")
    return _checked(f"{name}:{rest}")


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise PolicyError(f"{url}: {str(error).lower()}; {HELP}") from None
    if not host or port == 0:
        raise PolicyError(f"{url}: has no {'port from 1 to 65535' if host else 'host'}; {HELP}")
    return url

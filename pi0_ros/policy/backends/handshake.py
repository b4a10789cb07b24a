"""How a policy server is reached, and one sentence for everything that can keep it from being reached."""

from __future__ import annotations

import socket
import ssl
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI, ProxyError
from websockets.sync.client import ClientConnection, connect

from pi0_ros.policy.backends.server_errors import ServerError, ServerNotReadyError, quote
from pi0_ros.policy.backends.wire import MAX_BYTES
from pi0_ros.policy.server_settings import ServerSettings

CLOSING = 0.05
"""Seconds that the closing handshake may take; a plan may be waiting for the next connection."""
KNOWN_PATHS = "vllm-omni serves at /v1/realtime/robot/openpi, SGLang at /openpi/policy, openpi at /"


def handshake(url: str, settings: ServerSettings, limit: float) -> AbstractContextManager[ClientConnection]:
    """An open connection, as a context manager, within `limit` seconds.

    Raises: ServerNotReadyError if a later try may succeed; ServerError for a key, path, certificate or proxy that
    somebody has to put right.
    """
    proxies: dict[str, str | bool | None] = {"none": None, "auto": True}
    try:
        return connect(
            url,
            ssl=_tls(url, settings),
            compression=None,
            proxy=proxies.get(settings.proxy, settings.proxy),  # type: ignore[arg-type]
            max_size=MAX_BYTES,
            max_queue=4,
            open_timeout=max(limit, 0.01),
            close_timeout=CLOSING,
            ping_interval=None,  # every answer has its own time limit, and a server that infers answers no ping
            additional_headers={"Authorization": f"Api-Key {settings.key}"} if settings.key else None,
        )
    except InvalidStatus as error:
        raise _http(url, settings, error) from error
    except ssl.SSLError as error:
        raise _certificate(url, error) from error
    except (ProxyError, InvalidProxy, ImportError) as error:
        kind = ServerNotReadyError if isinstance(error, ProxyError) else ServerError
        raise kind(
            f"{url}: not through the proxy of {settings.proxy!r} ({quote(str(error))}); "
            "set the parameter proxy to none, or no_proxy to this host"
        ) from error
    except socket.gaierror as error:
        host = urlsplit(url).hostname
        raise ServerNotReadyError(f"{url}: no computer is known as {host} ({error.strerror})") from error
    except (OSError, TimeoutError, InvalidHandshake) as error:
        through = "" if settings.proxy == "none" else f", proxy {settings.proxy}"
        raise ServerNotReadyError(
            f"{url}: no openpi server answers ({quote(str(error) or 'in time')}{through}); is it running?"
        ) from error
    except (InvalidURI, ValueError) as error:
        raise ServerError(f"{url}: {quote(str(error))}") from error


def _tls(url: str, settings: ServerSettings) -> ssl.SSLContext | None:
    if not url.startswith("wss://") or not settings.ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ServerError(f"ca_file {settings.ca_file}: no certificate can be read ({error})") from error


def _http(url: str, settings: ServerSettings, error: InvalidStatus) -> ServerError:
    status, body = error.response.status_code, error.response.body or b""
    text = quote(bytes(body[:200]).decode("utf-8", "replace"))
    what = f"{url}: HTTP {status}" + (f" ({text})" if text else "")
    if status in (401, 403):
        given = "the key was refused" if settings.key else "a key is wanted"
        return ServerError(f"{what}: {given}; set the parameter api_key, or PI0_API_KEY in the environment")
    if status == 404:
        return ServerError(f"{what}: no policy at this path; {KNOWN_PATHS}")
    if 300 <= status < 400:
        return ServerError(f"{what}: the server is at {error.response.headers.get('Location', 'another place')}")
    if status >= 500 or status == 429:
        return ServerNotReadyError(f"{what}: the server is not ready")
    return ServerError(f"{what}: the server refuses the connection")


def _certificate(url: str, error: ssl.SSLError) -> ServerError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerError(
            f"{url}: its certificate is not trusted ({error.verify_message}); "
            "name the authority's certificate with the parameter ca_file"
        )
    return ServerError(f"{url}: no TLS there ({error.reason or error}); is it a ws:// server?")

"""How a connection is asked for, and the one sentence for everything that can keep it from being made."""

import socket
import ssl

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.http11 import Response

from pi0_ros.policy.backends import handshake as module
from pi0_ros.policy.backends.handshake import handshake
from pi0_ros.policy.backends.server_errors import ServerError, ServerNotReadyError
from pi0_ros.policy.backends.wire import MAX_BYTES
from pi0_ros.policy.server_settings import ServerSettings

URL = "ws://arm:8000"


@pytest.fixture
def asked(monkeypatch):
    """What websockets' `connect` is asked."""
    calls = []
    monkeypatch.setattr(module, "connect", lambda url, **how: calls.append((url, how)) or "open")
    return calls


@pytest.mark.parametrize(("proxy", "given"), [("none", None), ("auto", True), ("http://p:1", "http://p:1")])
def test_a_connection_is_plain_bounded_and_goes_through_the_proxy_that_is_named(asked, proxy, given):
    assert handshake(URL, ServerSettings(proxy=proxy), 2.5) == "open"
    ((url, how),) = asked
    assert url == URL and how == {
        "ssl": None, "compression": None, "proxy": given, "max_size": MAX_BYTES, "max_queue": 4, "open_timeout": 2.5,
        "close_timeout": 0.05, "ping_interval": None, "additional_headers": None,
    }  # fmt: skip


def test_a_key_is_sent_as_openpis_servers_want_it_and_some_time_is_always_left(asked):
    handshake(URL, ServerSettings(key="secret"), -1.0)
    ((_, how),) = asked
    assert how["additional_headers"] == {"Authorization": "Api-Key secret"} and how["open_timeout"] == 0.01


def test_the_authority_of_a_certificate_is_read_for_tls_alone(asked, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(module.ssl, "create_default_context", lambda cafile: made.append(cafile) or "context")
    handshake("wss://arm", ServerSettings(ca_file="ca.pem"), 1.0)
    handshake("wss://arm", ServerSettings(), 1.0)
    handshake("ws://arm", ServerSettings(ca_file="ca.pem"), 1.0)
    assert [how["ssl"] for _, how in asked] == ["context", None, None] and made == ["ca.pem"]
    monkeypatch.undo()
    (tmp_path / "no.pem").write_text("nothing")
    for file in (tmp_path / "gone.pem", tmp_path / "no.pem"):
        with pytest.raises(ServerError, match=f"ca_file {file}: no certificate can be read") as problem:
            handshake("wss://arm", ServerSettings(ca_file=str(file)), 1.0)
        assert type(problem.value) is ServerError


def refused(monkeypatch, error, url=URL, **settings):
    def connect(*_, **__):
        raise error

    monkeypatch.setattr(module, "connect", connect)
    with pytest.raises(ServerError) as problem:
        handshake(url, ServerSettings(**settings), 1.0)
    assert str(problem.value).startswith(f"{url}: ")
    return type(problem.value), str(problem.value).removeprefix(f"{url}: ")


def untrusted():
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed"
    return error


def no_tls(reason):
    error = ssl.SSLError(1, "[SSL] odd")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "settings", "kind", "words"),
    [
        (untrusted(), {}, ServerError, "its certificate is not trusted (self-signed); name the authority's"),
        (no_tls("WRONG_VERSION"), {}, ServerError, "no TLS there (WRONG_VERSION); is it a ws:// server?"),
        (no_tls(None), {}, ServerError, "no TLS there ("),
        (ProxyError("down"), {"proxy": "auto"}, ServerNotReadyError, "not through the proxy of 'auto' (down); set the"),
        (InvalidProxy("p", "odd"), {"proxy": "p"}, ServerError, "not through the proxy of 'p' ("),
        (ImportError("no socks"), {"proxy": "p"}, ServerError, "not through the proxy of 'p' (no socks)"),
        (socket.gaierror(-2, "Name unknown"), {}, ServerNotReadyError, "no computer is known as arm (Name unknown)"),
        (OSError("refused"), {}, ServerNotReadyError, "no openpi server answers (refused); is it running?"),
        (OSError("refused"), {"proxy": "auto"}, ServerNotReadyError,
         "no openpi server answers (refused, proxy auto); is it running?"),
        (TimeoutError(), {}, ServerNotReadyError, "no openpi server answers (in time); is it running?"),
        (InvalidHandshake("odd"), {}, ServerNotReadyError, "no openpi server answers (odd)"),
        (InvalidURI(URL, "odd"), {}, ServerError, f"{URL} isn't a valid URI: odd"),
        (ValueError("no such thing"), {}, ServerError, "no such thing"),
    ],
)  # fmt: skip
def test_what_keeps_a_connection_from_being_made_is_one_sentence(monkeypatch, error, settings, kind, words):
    found, sentence = refused(monkeypatch, error, **settings)
    assert found is kind and sentence.startswith(words)


@pytest.mark.parametrize(
    ("status", "settings", "kind", "words"),
    [
        (401, {}, ServerError, "a key is wanted; set the parameter api_key"),
        (403, {"key": "k"}, ServerError, "the key was refused; set the parameter api_key"),
        (404, {}, ServerError, "no policy at this path; vllm-omni serves at"),
        (300, {}, ServerError, "the server is at /there"),
        (399, {}, ServerError, "the server is at /there"),
        (400, {}, ServerError, "the server refuses the connection"),
        (402, {}, ServerError, "the server refuses the connection"),
        (299, {}, ServerError, "the server refuses the connection"),
        (429, {}, ServerNotReadyError, "the server is not ready"),
        (500, {}, ServerNotReadyError, "the server is not ready"),
        (503, {}, ServerNotReadyError, "the server is not ready"),
        (499, {}, ServerError, "the server refuses the connection"),
    ],
)
def test_a_refusal_by_http_says_its_number_and_what_it_says(monkeypatch, status, settings, kind, words):
    headers = Headers({"Location": "/there"})
    found, sentence = refused(monkeypatch, InvalidStatus(Response(status, "x", headers, b"no \xff way")), **settings)
    assert found is kind and sentence.startswith(f"HTTP {status} (no � way): {words}")
    _, silent = refused(monkeypatch, InvalidStatus(Response(status, "x", Headers(), b"")), **settings)
    assert silent.startswith(f"HTTP {status}: ")
    if 300 <= status < 400:
        assert silent.endswith("the server is at another place")


def test_of_a_refusal_two_hundred_bytes_are_told(monkeypatch):
    _, sentence = refused(monkeypatch, InvalidStatus(Response(500, "x", Headers(), b"x" * 201)))
    assert f"({'x' * 200})" in sentence

"""One connection to an openpi server: a request goes out, its answer comes back, and never another request's.

The protocol numbers nothing, so an answer belongs to the request before it only as long as exactly one message comes
back for each. Whatever breaks that (a late, a refused or an unasked message) ends the connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from pi0_ros.policy.backends.handshake import handshake
from pi0_ros.policy.backends.server_errors import (
    LateAnswerError,
    ServerError,
    ServerNotReadyError,
    error_line,
    quote,
)
from pi0_ros.policy.backends.wire import MAX_BYTES, pack, unpack
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.server_settings import ServerSettings


@dataclass
class Connection:
    """A connection that is made when it is first needed, and again after anything that makes it doubtful.

    accept: called with the server's metadata after every handshake; raises PolicyError for a server of another robot.
    warn: called with what somebody should know.
    """

    url: str
    settings: ServerSettings = field(default_factory=ServerSettings)
    accept: Callable[[Mapping[str, object]], None] = lambda _: None
    warn: Callable[[str], None] = lambda _: None
    metadata: Mapping[str, object] = field(default_factory=dict)
    _socket: ClientConnection | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _unasked: bool = False

    def connect(self, limit: float | None = None) -> Mapping[str, object]:
        """Connect unless connected, within `limit` seconds; the server's metadata.

        Raises: ServerNotReadyError if a later try may succeed, ServerError if not, PolicyError of `accept`.
        """
        if self._socket is None:
            deadline = time.monotonic() + (self.settings.connect if limit is None else limit)
            self._open = ExitStack()
            self._socket = self._open.enter_context(handshake(self.url, self.settings, deadline - time.monotonic()))
            self.metadata = self._read_metadata(deadline)
            try:
                self.accept(self.metadata)
            except PolicyError:
                self.close()
                raise
        return self.metadata

    def ask(
        self, request: Mapping[str, object], limit: float | None = None, waiting: Callable[[float], None] | None = None
    ) -> object:
        """The server's answer to this request, within `limit` seconds (default: the settings' `answer`).

        A connection that broke is made again at once and the request is sent once more. `waiting` is called with the
        seconds so far, about every five.
        Raises: ServerNotReadyError, LateAnswerError, ServerError; PolicyError for what cannot be read. All of them
        close the connection.
        """
        limit = self.settings.answer if limit is None else limit
        began = time.monotonic()
        message = pack(request)
        try:
            answer = self._exchange(message, began, limit, waiting)
        except ServerNotReadyError:
            if time.monotonic() >= began + limit:
                raise
            answer = self._exchange(message, began, limit, waiting)
        return self._readable(answer)

    def tell(self, message: Mapping[str, object]) -> None:
        """Send what is no observation, such as a reset; the server's one message in reply is read and says nothing.

        Raises: as `ask`, and ServerError for a traceback.
        """
        limit = self.settings.answer
        began = time.monotonic()
        reply = self._exchange(pack(message), began, limit, None)
        if isinstance(reply, str) and "Traceback" in reply:
            self.refuse("this message cannot be used")
            raise self._text(reply)

    def refuse(self, reason: str) -> None:
        """Close after an answer that cannot be used: whatever else the server sends belongs to no request of ours."""
        self.close(1008, reason)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            with suppress(ConnectionClosed, OSError):
                self._socket.close(code, reason.encode()[:100].decode("utf-8", "ignore"))
        self._socket = None
        with suppress(ConnectionClosed, OSError):
            self._open.close()

    # --- one exchange ---

    def _exchange(
        self, message: bytes, began: float, limit: float, waiting: Callable[[float], None] | None
    ) -> str | bytes:
        deadline = began + limit
        if self._unasked:  # this server has sent more than one message a request: a fresh connection has no rest
            self.close()
        self._drop_unread()
        self.connect(max(min(self.settings.connect, deadline - time.monotonic()), 0.01))
        assert self._socket is not None
        try:
            self._socket.send(message)
        except (ConnectionClosed, OSError) as error:
            raise self._broken(error) from error
        return self._receive(deadline, limit, waiting)

    def _drop_unread(self) -> None:
        """Close where a message waits that nobody asked for; later answers would be those of earlier requests."""
        if self._socket is None:
            return
        try:
            self._socket.recv(timeout=0)
        except TimeoutError:
            return
        except (ConnectionClosed, OSError):
            self.close()
            return
        self._unasked = True
        self.refuse("a message that was not asked for")
        self.warn(
            f"{self.url} sent more than one message for a request, so the newest plan may be an older observation's: "
            "from now on every request has a connection of its own"
        )

    def _receive(self, deadline: float, limit: float, waiting: Callable[[float], None] | None) -> str | bytes:
        assert self._socket is not None
        while True:
            left = deadline - time.monotonic()
            try:
                return self._socket.recv(timeout=max(min(left, 5.0), 0.0))
            except TimeoutError:
                if left > 5.0:
                    if waiting is not None:
                        waiting(limit - left + 5.0)
                    continue
            except (ConnectionClosed, OSError) as error:
                raise self._broken(error) from error
            self.close(1001, "no answer in time")
            raise LateAnswerError(f"{self.url}: no answer within {limit:g} s")

    def _readable(self, answer: str | bytes) -> object:
        try:
            if isinstance(answer, str):  # the server's way of sending a traceback
                raise self._text(answer)
            return unpack(answer)
        except PolicyError as error:
            self.refuse("this message cannot be used")
            if isinstance(error, ServerError):
                raise
            raise ServerError(f"{self.url}: {error}") from error

    def _text(self, answer: str) -> ServerError:
        if answer.lstrip()[:1] in ("{", "["):
            return ServerError(f"{self.url}: sends JSON, and not openpi's msgpack: {quote(answer)}", answer)
        return ServerError(f"{self.url}: the server failed: {error_line(answer)}", answer)

    def _broken(self, error: Exception) -> ServerError:
        self.close()
        sent = getattr(error, "sent", None)
        if sent is not None and sent.code == 1009:
            return ServerError(f"{self.url}: an answer of more than {MAX_BYTES} bytes is refused")
        return ServerNotReadyError(f"{self.url}: the connection broke ({quote(str(error))})")

    def _read_metadata(self, deadline: float) -> Mapping[str, object]:
        limit = max(deadline - time.monotonic(), 0.01)
        try:
            metadata = self._receive(deadline, limit, None)
        except LateAnswerError as error:
            raise ServerNotReadyError(f"{self.url}: connected, and no metadata within {limit:.3g} s") from error
        if isinstance(metadata, str):
            self.close()
            raise ServerNotReadyError(f"{self.url}: the server is not ready: {error_line(metadata)}", metadata)
        value = self._readable(metadata)
        if not isinstance(value, Mapping):
            self.refuse("metadata must be a map")
            raise ServerError(f"{self.url}: its first message is a {type(value).__name__}, not a map of metadata")
        return value

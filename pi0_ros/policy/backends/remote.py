"""A policy on an openpi server (`scripts/serve_policy.py`): observations over a websocket, chunks back.

The server does everything around its network itself, so the adapter here says only how the robot's own vectors and
pictures are called there (its `remote` section). Pictures are resized here, to spare the network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import ClientConnection, connect

from pi0_ros.policy.adapter import Adapter, Remote, actions_from_model, load_adapter, state_to_model
from pi0_ros.policy.backends.wire import pack, unpack
from pi0_ros.policy.contract import Contract, check_fit, contract_of_remote
from pi0_ros.policy.engine import MisfitError, NotFiniteError, Observation, Plan, PlanPrefix, in_plan_order
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.resize import pil_bilinear
from pi0_ros.robot.spec import Robot


class ServerError(PolicyError):
    """The server cannot be reached, does not answer in time, or answers with an error."""


@dataclass
class Client:
    """One connection to an openpi server, made when first needed and again after a failure.

    timeout: seconds for connecting and for each answer. key: sent as `Authorization: Api-Key`.
    """

    url: str
    timeout: float = 5.0
    key: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    _connection: ClientConnection | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def connect(self) -> Mapping[str, Any]:
        """Connect unless connected; the server's metadata. Raises ServerError."""
        if self._connection is None:
            headers = {"Authorization": f"Api-Key {self.key}"} if self.key else None
            try:
                opening = connect(
                    self.url,
                    compression=None,
                    max_size=None,
                    open_timeout=self.timeout,
                    close_timeout=min(self.timeout, 1.0),
                    additional_headers=headers,
                )
                self._connection = self._open.enter_context(opening)
            except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
                raise ServerError(f"{self.url}: no openpi server answers ({error}); is it running?") from error
            self.metadata = self._receive()
        return self.metadata

    def ask(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        """The server's answer. After an error the connection is dropped, so that the next call makes a new one.

        Raises: ServerError.
        """
        self.connect()
        assert self._connection is not None
        try:
            self._connection.send(pack(observation))
        except (ConnectionClosed, OSError) as error:
            raise self._dropped(f"the connection broke ({error})") from error
        return self._receive()

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection = None
        self._open.close()

    def _receive(self) -> Mapping[str, Any]:
        assert self._connection is not None
        try:
            answer = self._connection.recv(timeout=self.timeout)
        except TimeoutError as error:
            raise self._dropped(f"no answer within {self.timeout:g} s") from error
        except (ConnectionClosed, OSError) as error:
            raise self._dropped(f"the connection broke ({error})") from error
        if isinstance(answer, str):  # the server's way of sending a traceback
            raise self._dropped(
                f"the server failed: {answer.strip().splitlines()[-1] if answer.strip() else 'no word'}"
            )
        value = unpack(answer)
        if not isinstance(value, dict):
            raise self._dropped("the answer is not a map")
        return value

    def _dropped(self, reason: str) -> ServerError:
        with suppress(ConnectionClosed, OSError):
            self.close()
        return ServerError(f"{self.url}: {reason}")


class RemotePolicy:
    """The same face as `Policy`, the network elsewhere. The protocol has no real-time chunking and no subtasks."""

    def __init__(self, robot: Robot, adapter: Adapter, client: Client) -> None:
        if adapter.remote is None:
            raise PolicyError(f"{adapter.file}: key remote is missing; it says how the server calls what the robot has")
        self.contract: Contract = contract_of_remote(adapter, client.url, robot)
        fit = check_fit(robot, self.contract)
        if not fit.ok:
            raise MisfitError(f"robot {robot.name} and server {client.url} do not fit:\n" + "\n".join(fit.lines))
        self.robot, self.adapter, self.client, self._remote = robot, adapter, client, adapter.remote

    def infer(
        self, obs: Observation, noise: object = None, prefix: PlanPrefix | None = None, seed: object = None
    ) -> Plan:
        """A plan from the server. Noise is its own affair and plan prefixes are not in its protocol, so `noise`,
        `seed` and `prefix` are ignored, and no row is frozen.

        Raises: ServerError; PolicyError for a missing state or an empty prompt; NotFiniteError.
        """
        started = time.perf_counter()
        answer = self.client.ask(packed(self.adapter, self._remote, obs))
        actions = np.asarray(answer.get("actions", ()))
        if actions.ndim != 2 or not len(actions) or actions.dtype.kind not in "fiu":
            raise ServerError(f"{self.client.url}: the answer has no actions [H, D], but {sorted(map(str, answer))}")
        if not np.all(np.isfinite(actions)):
            raise NotFiniteError(f"{self.client.url} sent NaN or infinity; no plan made")
        values = actions_from_model(self.adapter, actions)
        values = in_plan_order(self.robot, self.adapter, self.contract.channels, values, obs.state)
        return Plan(values, self.contract.channels, self.contract.period, 0, time.perf_counter() - started)

    def subtask(self, obs: Observation, task: str, max_tokens: int = 32) -> str:
        """Not in the protocol. Raises PolicyError."""
        raise PolicyError("an openpi server gives no subtasks; run the high level with a checkpoint of its own")


def packed(adapter: Adapter, remote: Remote, obs: Observation) -> dict[str, Any]:
    """An observation as the server wants it. Cameras without a picture are left out.

    Raises: PolicyError for a missing state, an empty prompt or no picture at all.
    """
    if not obs.prompt.strip():
        raise PolicyError("the prompt is empty: publish a task or subtask that says what to do")
    pictures = {key: obs.images[camera] for key, camera in remote.images.items() if camera in obs.images}
    if not pictures:
        raise PolicyError(f"no picture at all; the server sees with {', '.join(remote.images.values())}")
    message: dict[str, Any] = {"prompt": obs.prompt}
    for key, image in pictures.items():
        small = pil_bilinear(np.asarray(image), (remote.size, remote.size))
        _put(message, key, np.ascontiguousarray(small.transpose(2, 0, 1) if remote.layout == "chw" else small), remote)
    state, start = state_to_model(adapter, obs.state), 0
    for key, size in remote.state.items():
        _put(message, key, state[start : start + size], remote)
        start += size
    return message


def _put(message: dict[str, Any], key: str, value: np.ndarray, remote: Remote) -> None:
    """openpi's ALOHA observations are nested maps, its DROID and LIBERO keys are flat names with a slash in them."""
    *path, last = key.split("/") if remote.nested else [key]
    for part in path:
        message = message.setdefault(part, {})
    message[last] = value


def connect_policy(url: str, robot: Robot, adapter: str | Adapter | None = None, timeout: float = 5.0) -> RemotePolicy:
    """A policy on the openpi server at `url` (ws://host:8000). Raises PolicyError, ServerError."""
    found = adapter if isinstance(adapter, Adapter) else load_adapter(adapter or robot.name)
    client = Client(url, timeout)
    policy = RemotePolicy(robot, found, client)
    client.connect()
    return policy

"""A policy on an openpi server (`scripts/serve_policy.py`): observations over a websocket, chunks back.

The server does everything around its network itself, so the adapter here says only how the robot's own vectors and
pictures are called there (its `remote` section). Pictures are resized here, to spare the network.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.adapter import Adapter, Remote
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.adapter_vectors import actions_from_model, state_to_model
from pi0_ros.policy.address import server_address
from pi0_ros.policy.backends.answers import NotFiniteAnswerError, WrongShapeError, actions_of, described
from pi0_ros.policy.backends.connection import Connection
from pi0_ros.policy.backends.metadata import misfits, notes
from pi0_ros.policy.backends.server_errors import LateAnswerError, ServerError, ServerNotReadyError
from pi0_ros.policy.contract import Contract, check_fit, contract_of_remote
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.plan import (
    MisfitError,
    NotFiniteError,
    Observation,
    Plan,
    PlanPrefix,
    in_plan_order,
    values_before,
)
from pi0_ros.policy.resize import pil_bilinear
from pi0_ros.policy.server_settings import ServerSettings
from pi0_ros.policy.turns import rows_beside_robot
from pi0_ros.robot.spec import Robot

POLL = 1.0
"""Seconds between two tries to reach a server that is not there yet."""

__all__ = ["Connection", "RemotePolicy", "ServerError", "ServerSettings", "connect_policy", "packed"]


class RemotePolicy:
    """The same methods as `Policy`, with the network elsewhere. The protocol has no real-time chunking and no subtasks.

    Nothing is connected before `rehearse`, or the first `infer`. warn: called with what somebody should know.
    """

    def __init__(
        self,
        robot: Robot,
        adapter: Adapter,
        url: str,
        settings: ServerSettings | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        if adapter.remote is None:
            raise PolicyError(
                f"{adapter.file}: key remote is missing; it has the server's keys for the robot's cameras and state"
            )
        address = server_address(url)
        if address is None:
            raise PolicyError(f"{url}: is no address of a server")
        self.contract: Contract = contract_of_remote(adapter, address, robot)
        fit = check_fit(robot, self.contract)
        if not fit.ok:
            raise MisfitError(f"robot {robot.name} and server {address} do not fit:", fit.lines)
        self.robot, self.adapter, self._remote = robot, adapter, adapter.remote
        self._width = self._remote.width or len(adapter.action_channels)
        self._rows, self._prompt, self._session = 0, "", ""
        self._metadata: dict[str, object] | None = None
        self._warned: set[str] = set()
        self._warn = warn
        self.connection = Connection(address, settings or ServerSettings(), self._accept, self._warn_once)

    def infer(
        self, obs: Observation, noise: object = None, prefix: PlanPrefix | None = None, seed: object = None
    ) -> Plan:
        """A plan from the server, of this very observation. Noise is its own affair and plan prefixes are not in its
        protocol, so `noise` and `seed` are ignored, and no row is frozen; of `prefix` only its first row counts, for
        grippers that are open or closed.

        Raises: ServerError (ServerNotReadyError, LateAnswerError); PolicyError for a missing state or an empty prompt;
        NotFiniteError. After any of them the connection is a new one.
        """
        return self._plan(obs, None, None, prefix)

    def rehearse(self, obs: Observation, progress: Callable[[str], None]) -> None:
        """Wait for the server and for its first answer, which may be compiled for; learn how many rows it gives.

        progress: called now and then with what is being waited for.
        Raises: PolicyError if the server does not fit or fails; ServerError if it does not come in time.
        """
        began = time.monotonic()
        while True:
            try:
                self._connect(began, progress)
                self._plan(obs, self.connection.settings.first_answer, self._compiling(progress))
            except LateAnswerError as error:
                raise ServerError(f"{error} (parameter first_answer_timeout)") from error
            except ServerNotReadyError as error:
                self._wait(began, error, progress)
                continue
            break
        self.contract = replace(self.contract, horizon=self._rows)
        for text in notes(self.connection.metadata, self.adapter, self._remote, self._rows):
            self._warn_once(f"{self.connection.url}: {text}")

    def new_episode(self) -> None:
        """Somebody else was driving: a server with a memory starts anew with the next observation."""
        self._prompt = ""

    def lanes(self, most: int) -> list[RemotePolicy]:
        """This policy and up to `most` - 1 more of the same server, each with a connection of its own and for one thread.

        One alone where the server remembers requests (a session, a reset): those have to come one after another.
        Call it after `rehearse`. The others connect with their first plan.
        """
        if self._remote.session or self._remote.reset:
            return [self]
        twins = [
            RemotePolicy(self.robot, self.adapter, self.connection.url, self.connection.settings, self._warn)
            for _ in range(most - 1)
        ]
        for twin in twins:
            twin.contract, twin._rows = self.contract, self._rows
            twin._metadata, twin._warned = self._metadata, self._warned
        return [self, *twins]

    def close(self) -> None:
        """Close its connection; the next request makes another one."""
        self.connection.close()

    def subtask(self, obs: Observation, task: str, max_tokens: int = 32) -> str:
        """Not in the protocol. Raises PolicyError."""
        raise PolicyError("an openpi server gives no subtasks; run the high level with a checkpoint of its own")

    # --- waiting ---

    def _connect(self, began: float, progress: Callable[[str], None]) -> None:
        while True:
            try:
                self.connection.connect()
                return
            except ServerNotReadyError as error:
                self._wait(began, error, progress)

    def _wait(self, began: float, error: ServerError, progress: Callable[[str], None]) -> None:
        waited, most = time.monotonic() - began, self.connection.settings.wait
        if 0.0 < most < waited + POLL:
            raise ServerError(f"{error} (waited {waited:.0f} s, parameter server_wait)", error.details) from error
        progress(f"waiting for the policy server, {waited:.0f} s: {error}")
        time.sleep(POLL)

    def _compiling(self, progress: Callable[[str], None]) -> Callable[[float], None]:
        def say(seconds: float) -> None:
            progress(f"{self.connection.url}: waiting for the first answer, {seconds:.0f} s; a JAX server compiles now")

        return say

    # --- one plan ---

    def _plan(
        self,
        obs: Observation,
        limit: float | None,
        waiting: Callable[[float], None] | None,
        prefix: PlanPrefix | None = None,
    ) -> Plan:
        started = time.perf_counter()
        request = packed(self.adapter, self._remote, obs, self._warn_once)
        self._begin_episode(obs.prompt)
        if self._remote.session:
            request[self._remote.session] = self._session
        answer = self.connection.ask(request, limit, waiting)
        actions = self._actions(answer)
        before = values_before(obs, prefix)
        values = actions_from_model(self.adapter, actions[:, : len(self.adapter.action_channels)], before)
        values = rows_beside_robot(self.adapter, values, obs.state)
        values = in_plan_order(self.robot, self.adapter, self.contract.channels, values, {**obs.state, **obs.command})
        return Plan(values, self.contract.channels, self.contract.period, 0, time.perf_counter() - started)

    def _actions(self, answer: object) -> NDArray[np.float64]:
        try:
            actions = actions_of(answer, self._remote.actions, self._width, str(self.adapter.file))
            if self._rows and len(actions) != self._rows:
                raise WrongShapeError(f"{len(actions)} rows, {self._rows} before: another checkpoint is served now")
        except ServerError as error:
            self.connection.refuse(str(error))
            kind = NotFiniteError if isinstance(error, NotFiniteAnswerError) else type(error)
            raise kind(f"{self.connection.url}: {error}") from error
        self._rows = len(actions)
        return actions

    def _begin_episode(self, prompt: str) -> None:
        if prompt == self._prompt:
            return
        self._session = uuid.uuid4().hex
        if self._remote.reset:
            message = {**self._remote.constants, **self._remote.reset}
            if self._remote.session:
                message[self._remote.session] = self._session
            self.connection.tell(message)
        self._prompt = prompt

    def _accept(self, metadata: Mapping[str, object]) -> None:
        found = misfits(metadata, self.adapter, self._remote, self.robot)
        if found:
            raise MisfitError(
                f"{self.connection.url} and {self.adapter.file} do not fit: the server says " + "; ".join(found)
            )
        if self._metadata is not None and dict(metadata) != self._metadata:
            self._warn(f"{self.connection.url}: another policy is served now: {described(metadata)}")
        self._metadata = dict(metadata)
        self._prompt = ""  # a new connection is a new episode

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)


def packed(
    adapter: Adapter, remote: Remote, obs: Observation, warn: Callable[[str], None] = lambda _: None
) -> dict[str, object]:
    """An observation as the server wants it. A camera without a picture is black or left out, as the adapter says.

    Raises: PolicyError for a missing state, an empty prompt or no picture at all.
    """
    if not obs.prompt.strip():
        raise PolicyError("the prompt is empty: publish a task or subtask that says what to do")
    if not any(camera in obs.images for camera in remote.images.values()):
        raise PolicyError(f"no picture at all; the server sees with {', '.join(remote.images.values())}")
    message: dict[str, object] = {**remote.constants, remote.prompt: obs.prompt}
    for key, camera in remote.images.items():
        image = obs.images.get(camera)
        if image is None and remote.missing == "masked":
            continue
        if image is None:
            warn(f"no picture of {camera}: the server gets a black one as {key} (remote: {{missing_cameras: black}})")
            image = np.zeros((*remote.size, 3), np.uint8)
        small = pil_bilinear(np.asarray(image), remote.size)
        _put(message, key, np.ascontiguousarray(small.transpose(2, 0, 1) if remote.layout == "chw" else small), remote)
    state, start = state_to_model(adapter, obs.state), 0
    for key, size in remote.state.items():
        _put(message, key, state[start : start + size], remote)
        start += size
    return message


def _put(message: dict[str, object], key: str, value: NDArray[np.generic], remote: Remote) -> None:
    """openpi's ALOHA observations are nested maps, its DROID and LIBERO keys are flat names with a slash in them."""
    *path, last = key.split("/") if remote.nested else [key]
    for part in path:
        inner = message.setdefault(part, {})
        if not isinstance(inner, dict):
            raise PolicyError(f"the keys of the request contradict each other: {part} is a value, and a map in {key}")
        message = inner
    message[last] = value


def connect_policy(
    url: str,
    robot: Robot,
    adapter: str | Adapter | None = None,
    settings: ServerSettings | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> RemotePolicy:
    """A policy on the openpi server at `url` (ws://host:8000), connected. Raises PolicyError, ServerError."""
    policy = open_policy(url, robot, adapter, settings, warn)
    policy.connection.connect()
    return policy


def open_policy(
    url: str,
    robot: Robot,
    adapter: str | Path | Adapter | None = None,
    settings: ServerSettings | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> RemotePolicy:
    """The same, not connected yet: `rehearse` waits for the server. Raises PolicyError."""
    found = adapter if isinstance(adapter, Adapter) else load_adapter(adapter or robot.name)
    return RemotePolicy(robot, found, url, settings, warn)

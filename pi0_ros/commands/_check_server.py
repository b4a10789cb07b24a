"""`pi0 check` with the address of a policy server: reads its metadata, and requests two plans for an empty scene."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pi0_ros.commands._numbers import number
from pi0_ros.robot import Robot

if TYPE_CHECKING:
    from pi0_ros.policy.backends.remote import RemotePolicy

KEY_VARIABLE = "PI0_API_KEY"


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how a server is reached."""
    group = parser.add_argument_group("with a policy server (--checkpoint ws://host:8000)")
    group.add_argument("--ca-file", default="", help="certificate of the authority that signed a wss:// server's")
    group.add_argument("--proxy", default="none", help="none (default), auto (the environment's), or an address")
    group.add_argument(
        "--first-answer-timeout", type=number(0.1, 86400), default=300.0, help="seconds; a JAX server compiles"
    )


def check_server(args: argparse.Namespace, robot: Robot, address: str) -> int:
    """Print what the server says and answers beside what robot and policy YAML say; 0 if they fit.

    Raises PolicyError (ServerError if nothing usable answers).
    """
    from pi0_ros.policy.backends.remote import open_policy
    from pi0_ros.policy.contract import check_fit
    from pi0_ros.policy.server_settings import ServerSettings

    key = os.environ.get(KEY_VARIABLE, "")
    settings = ServerSettings(key, args.ca_file, args.proxy, first_answer=args.first_answer_timeout, wait=0.5)
    policy = open_policy(address, robot, args.adapter, settings, lambda text: print(f"??  {text}"))
    first, second = _two_answers(policy)
    print(f"robot      {robot.name} ({robot.file})")
    print(f"server     {address} ({_shown(policy.connection.metadata)})")
    print(f"adapter    {policy.contract.name} ({policy.contract.source})")
    fit = check_fit(robot, policy.contract)
    print("\n".join(fit.lines))
    lasts = policy.contract.plan_seconds
    print(
        f"ok  actions: {policy.contract.horizon} rows of {len(policy.adapter.action_channels)} numbers, {lasts:.2f} s"
    )
    late = 2.0 * second > lasts
    print(f"{'??' if late else 'ok'}  an answer takes {second:.2f} s (the first one {first:.2f} s)")
    if late:
        print("    that is more than half of what a plan lasts: the robot will stop between plans")
    print("they fit" if fit.ok else "they do not fit")
    return 0 if fit.ok else 1


def _two_answers(policy: RemotePolicy) -> tuple[float, float]:
    """Seconds for the first answer, which may have been compiled for, and for the next."""
    from pi0_ros.policy.rehearsal import empty_scene

    scene = empty_scene(policy.robot, policy.contract.cameras)
    began = time.monotonic()
    policy.rehearse(scene, lambda text: print(text, file=sys.stderr))
    first = time.monotonic()
    policy.infer(scene)
    last = time.monotonic()
    policy.connection.close()
    return first - began, last - first


def _shown(metadata: Mapping[str, object]) -> str:
    from pi0_ros.policy.backends.answers import described

    plain = {name: value for name, value in metadata.items() if isinstance(value, str | int | float | bool)}
    entries = [f"{name}: {value}" for name, value in plain.items()]
    others = {name: value for name, value in metadata.items() if name not in plain}
    return ", ".join([*entries, *([described(others)] if others else [])])[:300] or "says nothing of itself"

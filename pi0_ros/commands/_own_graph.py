"""A ROS graph of one's own: simulated robots and benches neither read nor command a real robot."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

DOMAINS = 100  # 1 to 100: the portable ones (ROS 2 documentation, About Domain ID)
TRIES = 5
TIMEOUT = 60.0


class OwnGraphError(RuntimeError):
    """No ROS domain was found in which nobody could be commanded by mistake; the text says who would be."""


def graph_environment(domain: int) -> dict[str, str]:
    """Variables that put a process into a ROS domain on this machine alone, whatever the environment says."""
    return {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_STATIC_PEERS": "",
        "ROS_DISCOVERY_SERVER": "",
    }


def candidates(environment: Mapping[str, str], seed: int) -> Iterator[int]:
    """Domains to try, beginning at one that `seed` chooses; never the one that the environment names."""
    taken = environment.get("ROS_DOMAIN_ID", "")
    for step in range(TRIES + 1):
        domain = 1 + (seed + step) % DOMAINS
        if str(domain) != taken.strip():
            yield domain


def look_around(robot: str, domain: int) -> list[str]:
    """Sentences about nodes that look like this robot in a domain, on this machine."""
    words = [sys.executable, "-m", "pi0_ros.ros.neighbours", robot]
    env = {**os.environ, **graph_environment(domain)}
    try:
        done = subprocess.run(words, check=False, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise OwnGraphError(
            f"looking into ROS domain {domain} took more than {TIMEOUT:g} s: end what keeps this computer busy, and try again"
        ) from None
    if done.returncode:
        raise OwnGraphError(f"cannot look into ROS domain {domain}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return list(json.loads(done.stdout.strip().splitlines()[-1]))


@functools.cache
def own_graph(robot: str = "mobile_bimanual") -> dict[str, str]:
    """Variables for a domain in which nobody looks like this robot; the same for the whole process."""
    found: list[str] = []
    for domain in candidates(os.environ, os.getpid()):
        found = look_around(robot, domain)
        if not found:
            return graph_environment(domain)
    raise OwnGraphError(f"every ROS domain that was tried is in use; the last: {'; '.join(found)}")


def joined_graph(robot: str, domain: int) -> dict[str, str]:
    """Variables for a domain that was asked for. Raises OwnGraphError if a robot is there."""
    if not 0 <= domain <= 232:
        raise OwnGraphError(f"--domain {domain}: a ROS domain is a number from 0 to 232")
    if found := look_around(robot, domain):
        raise OwnGraphError(f"--domain {domain}: the demo would command what is there: {'; '.join(found)}")
    return graph_environment(domain)

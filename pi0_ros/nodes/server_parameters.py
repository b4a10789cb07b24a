"""The parameters of a policy server, for the nodes that may use one."""

from __future__ import annotations

import os
from types import SimpleNamespace

from pi0_ros.policy.server_settings import ServerSettings
from pi0_ros.ros.parameters import Parameter

KEY_VARIABLE = "PI0_API_KEY"

SERVER_PARAMETERS = (
    Parameter(
        "api_key", "", f"key of a policy server; empty: {KEY_VARIABLE} of the environment, which nobody can list"
    ),
    Parameter("ca_file", "", "certificate of the authority that signed a wss:// server's; empty: the system's"),
    Parameter("proxy", "none", "proxy to a policy server: none, auto (as the environment says), or its address"),
    Parameter(
        "answer_timeout",
        1.0,
        "seconds for an answer of a policy server; longer than the executor's chunk_max_age is of no use",
        low=0.05,
        high=60.0,
    ),
    Parameter(
        "first_answer_timeout",
        300.0,
        "seconds for its first answer, which a JAX server compiles for",
        low=1.0,
        high=3600.0,
    ),
    Parameter(
        "server_wait",
        0.0,
        "seconds to wait for a server that is not there yet; 0: as long as it takes",
        low=0.0,
        high=86400.0,
    ),
)


def server_settings(values: SimpleNamespace) -> ServerSettings:
    """How the parameters of a node say that a server is reached."""
    return ServerSettings(
        key=values.api_key or os.environ.get(KEY_VARIABLE, ""),
        ca_file=values.ca_file,
        proxy=values.proxy,
        answer=values.answer_timeout,
        first_answer=values.first_answer_timeout,
        wait=values.server_wait,
    )

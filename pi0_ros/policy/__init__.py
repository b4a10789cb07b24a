"""Observation -> action chunk: transforms, normalisation, prompts, and the backends that run the network."""

from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.backends.loading import load_policy
from pi0_ros.policy.contract import Contract, Fit, check_fit
from pi0_ros.policy.engine import Policy
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.plan import MisfitError, NotFiniteError, Observation, Plan, PlanPrefix
from pi0_ros.policy.reading import read_policy

__all__ = [
    "Adapter",
    "Contract",
    "Fit",
    "MisfitError",
    "NotFiniteError",
    "Observation",
    "Plan",
    "PlanPrefix",
    "Policy",
    "PolicyError",
    "check_fit",
    "load_adapter",
    "load_policy",
    "read_policy",
]

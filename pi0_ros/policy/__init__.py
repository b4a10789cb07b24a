"""Observation -> action chunk: transforms, normalisation, prompts, and the backends that run the network."""

from pi0_ros.policy.adapter import Adapter, load_adapter
from pi0_ros.policy.contract import Contract, Fit, check_fit
from pi0_ros.policy.engine import Policy, load_policy, read_policy
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.plan import MisfitError, NotFiniteError, Observation, Plan, PlanPrefix

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

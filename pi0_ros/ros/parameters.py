"""Node parameters declared in one table: name, default, range, description. A bad value is refused with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

Overrides = list[RosParameter] | None
"""What the parameters of a node are to be in place of what its YAML and command line say."""
Value = bool | int | float | str


class ParameterError(ValueError):
    """A parameter with a value that cannot be used; the text names it and what is allowed."""


@dataclass(frozen=True)
class Parameter:
    """One parameter. The type is the default's. `low`, `high` bound a number, `choices` a text; `live` may be set later."""

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    live: bool = False

    def check(self, value: object) -> Value:
        """The value in this parameter's type. Raises ParameterError."""
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ParameterError(f"parameter {self.name} is a {kind.__name__}, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ParameterError(f"parameter {self.name} must be finite, got {value!r}")
        self._check_bounds(value)
        return value

    def _check_bounds(self, value: object) -> None:
        low, high = self.low, self.high
        if (low is not None and value < low) or (high is not None and value > high):  # type: ignore[operator]
            raise ParameterError(f"parameter {self.name} must be in {low} .. {high}, got {value!r}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"parameter {self.name} must be one of {', '.join(self.choices)}, got {value!r}")
        if self.required and value == "":
            raise ParameterError(f"parameter {self.name} must be given: {self.description}")

    def descriptor(self) -> ParameterDescriptor:
        """What `ros2 param describe` shows."""
        # Dynamic typing lets `rate:=50` stand for 50.0; `check` holds the type.
        descriptor = ParameterDescriptor(description=self.description, dynamic_typing=True)
        if self.choices:
            descriptor.additional_constraints = "one of " + ", ".join(self.choices)
        if self.low is not None and self.high is not None and isinstance(self.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(self.low), to_value=float(self.high))
            ]
        elif self.low is not None and self.high is not None and isinstance(self.default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)]
        return descriptor


class Parameters:
    """The parameters of one node: declared at construction, read with `values()`, guarded against bad changes."""

    def __init__(self, node: Node, table: Iterable[Parameter]) -> None:
        self._node = node
        self._table: Mapping[str, Parameter] = {p.name: p for p in table}
        self._constant = False
        for parameter in self._table.values():
            try:
                node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())
            except InvalidParameterTypeException as error:
                raise ParameterError(f"parameter {parameter.name}: {error}") from None
            except InvalidParameterValueException:
                # rclpy knows the range already, but not how to say it in one sentence.
                raise ParameterError(
                    f"parameter {parameter.name} must be a finite number in {parameter.low} .. {parameter.high}"
                ) from None
        node.add_on_set_parameters_callback(self._judge)

    def values(self) -> SimpleNamespace:
        """All values, checked. Raises ParameterError for the first bad one."""
        return SimpleNamespace(**{n: p.check(self._node.get_parameter(n).value) for n, p in self._table.items()})

    def freeze(self, constant: bool) -> None:
        """While constant, only parameters marked `live` may be set: the node has been configured with the others."""
        self._constant = constant

    def _judge(self, changes: list[RosParameter]) -> SetParametersResult:
        for change in changes:
            parameter = self._table.get(change.name)
            if parameter is None:
                continue
            if self._constant and not parameter.live:
                reason = f"parameter {change.name} is read when the node is configured; clean up first"
                return SetParametersResult(successful=False, reason=reason)
            try:
                parameter.check(change.value)
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

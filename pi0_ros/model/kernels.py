"""Linear layers laid out for the device they run on, with fused epilogues where the device has them.

On x86 CPUs oneDNN's blocked weights and epilogues are used (the operators that torch's own compiler emits): measured
1.3 to 2 times the plain product at the sizes of the action expert. Elsewhere, and for products so small that the
operator's own overhead of ten microseconds shows, the plain operators.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

WORTH_BLOCKING = 8_000_000  # multiplications
MIN_ROWS = 64  # of queries for one thread
MOST_SCORES = 1 << 20  # 4 MiB


class Linear:
    """x w^T + b; `weight` [out, in], `bias` [out] or None."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """gelu(x w^T + b), tanh form."""
        return F.gelu(self(x), approximate="tanh")

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """x w^T + b + other."""
        return self(x) + other

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """(x w^T + b) * other."""
        return self(x) * other


class OneDnnLinear(Linear):
    """The same with oneDNN's blocked weights, for about `rows` rows of x.

    torch's compiler cannot look at blocked weights: to it a product is a custom operator that refers to them by number.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
        super().__init__(packed, bias)
        self.number, self.width = next(_NUMBERS), weight.shape[0]
        _PACKED[self.number] = self

    def __call__(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return torch.ops.pi0_ros.product(x, self.number, self.width)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return torch.ops.pi0_ros.product_gelu(x, self.number, self.width)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "tanh")

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return torch.ops.pi0_ros.product_plus(x, other, self.number, self.width)
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "add")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return torch.ops.pi0_ros.product_times(x, other, self.number, self.width)
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "mul")


_NUMBERS = itertools.count()
_PACKED: WeakValueDictionary[int, OneDnnLinear] = WeakValueDictionary()


def _define(name: str, others: str, work: Callable[..., Tensor]) -> None:
    """An operator over x, more tensors, the number of a packed layer and its width."""
    torch.library.define(f"pi0_ros::{name}", f"(Tensor x{others}, int number, int width) -> Tensor")
    torch.library.impl(f"pi0_ros::{name}", "CPU")(lambda *given: work(_PACKED[given[-2]], *given[:-2]))
    torch.library.register_fake(f"pi0_ros::{name}")(lambda x, *given: x.new_empty((*x.shape[:-1], given[-1])))


_define("product", "", OneDnnLinear.__call__)
_define("product_gelu", "", OneDnnLinear.gelu)
_define("product_plus", ", Tensor other", OneDnnLinear.plus)
_define("product_times", ", Tensor other", OneDnnLinear.times)


def has_onednn(dtype: torch.dtype) -> bool:
    """Whether this torch has oneDNN's fused linear layers for `dtype` on this CPU."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass(frozen=True)
class Target:
    """Where and in which type packed weights live. blocked: whether in oneDNN's form, if that pays."""

    device: torch.device
    dtype: torch.dtype
    blocked: bool = True

    def __call__(self, tensor: Tensor) -> Tensor:
        """A copy on the device in the working type."""
        return tensor.detach().to(self.device, self.dtype)

    def full(self, tensor: Tensor) -> Tensor:
        """A copy on the device in float32."""
        return tensor.detach().to(self.device, torch.float32)

    def fuses(self, weight: Tensor, rows: int, dtype: torch.dtype) -> bool:
        """Whether a product with this weight and `rows` rows pays in oneDNN's form here."""
        large = rows * weight.numel() >= WORTH_BLOCKING
        return self.blocked and large and self.device.type == "cpu" and has_onednn(dtype)

    def linear(self, weight: Tensor, bias: Tensor | None = None, rows: int = 64, full: bool = False) -> Linear:
        """The quickest linear layer; `rows`: how many rows x will have, `full`: in float32."""
        place = self.full if full else self
        weight, bias = place(weight), None if bias is None else place(bias)
        return OneDnnLinear(weight, bias, rows) if self.fuses(weight, rows, weight.dtype) else Linear(weight, bias)


class GeGLU:
    """gelu(x g^T) * (x u^T), tanh form: two products with fused epilogues on the CPU, one product of both elsewhere."""

    def __init__(self, gate: Tensor, up: Tensor, to: Target, rows: int):
        self.split = to.fuses(gate, rows, to.dtype)
        if self.split:
            self.gate, self.up = to.linear(gate, rows=rows), to.linear(up, rows=rows)
        else:
            self.both = to.linear(torch.cat([gate, up]), rows=rows)

    def __call__(self, x: Tensor) -> Tensor:
        if self.split:
            return self.up.times(x, self.gate.gelu(x))
        gate, up = self.both(x).chunk(2, dim=-1)
        return F.gelu(gate, approximate="tanh") * up


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention of q [B, kv_heads, rows, d] over k and v [B, kv_heads, tokens, d]; `bias` is added to the scores.

    On a CPU torch hands threads whole blocks of 64 rows. The 400 of 50 actions and 8 heads are 7 blocks, of which one of
    two threads gets 256 rows; cut in as many equal parts as there are threads they take an eighth less. Where oneDNN
    multiplies and the scores fit into the caches, two whole products with a softmax between take a little less again.
    """
    if _in_products(q, k):
        attend = torch.ops.pi0_ros.attend if torch.compiler.is_compiling() else _attend
        hidden = None if bias is None else bias.reshape(-1)
        return attend(q[0, 0] * q.shape[-1] ** -0.5, k[0, 0], v[0, 0], hidden)[None, None]
    parts = _threads() if q.device.type == "cpu" else 1
    if parts == 1 or q.shape[1] != 1 or q.shape[2] % parts or q.shape[2] // parts < MIN_ROWS:
        return F.scaled_dot_product_attention(q, k, v, bias)
    cut = q.view(q.shape[0], parts, -1, q.shape[-1])
    k, v = (x.expand(-1, parts, -1, -1) for x in (k, v))
    return F.scaled_dot_product_attention(cut, k, v, bias).reshape(q.shape)


def _in_products(q: Tensor, k: Tensor) -> bool:
    """Whether attention pays as two products: float32 on a CPU with oneDNN, one row of the batch, one key head."""
    scores = q.shape[2] * k.shape[2]
    fits = q.shape[:2] == (1, 1) and scores <= MOST_SCORES and scores * q.shape[-1] >= WORTH_BLOCKING
    return fits and q.device.type == "cpu" and q.dtype == torch.float32 and _multiplies()


@torch.compiler.assume_constant_result
def _multiplies() -> bool:
    return has_onednn(torch.float32)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of scaled q [rows, d] over k and v [tokens, d], all scores at once; bias [tokens]."""
    multiply = torch.ops.mkldnn._linear_pointwise
    scores = multiply(q, k, bias, "none", [], "")
    return multiply(scores.softmax(-1), v.T, None, "none", [], "")


torch.library.define("pi0_ros::attend", "(Tensor q, Tensor k, Tensor v, Tensor? bias) -> Tensor")
torch.library.impl("pi0_ros::attend", "CPU")(_attend)
torch.library.register_fake("pi0_ros::attend")(lambda q, k, v, bias: q.new_empty((q.shape[0], v.shape[1])))


@torch.compiler.assume_constant_result
def _threads() -> int:
    return torch.get_num_threads()


def rotate_pairs(x: Tensor, table: Tensor) -> Tensor:
    """Rotary embedding in float32 of x [B, T, heads, d] whose pairs lie side by side; table [T, d / 2, 2] (cos, sin).

    Published weights pair dimensions i and i + d/2; `pair_rows` reorders the rows of query and key weights, which
    changes no score. A pair is then one complex number and the rotation one product (which torch's compiler does not
    know, but it needs no such help).
    """
    pairs = x.float().unflatten(-1, (-1, 2))
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table)[:, None])
    else:
        (cos, sin), (a, b) = table[:, None].unbind(-1), pairs.unbind(-1)
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def pair_rows(weight: Tensor, head_dim: int) -> Tensor:
    """Rows of a query or key weight [heads * d, in] with dimensions i and i + d/2 of a head side by side."""
    return weight.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def unpair(x: Tensor) -> Tensor:
    """The inverse on the last dimension of keys [..., d]."""
    return x.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)

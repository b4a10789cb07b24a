"""The kernels of `fused` in Triton, for NVIDIA GPUs. Each has a twin in `plain` that says what it computes.

Fifty actions are too few rows to fill a GPU: what counts is how few kernels a layer takes, that each has a block for
every multiprocessor, and that weights are read at the speed of memory. So norms, rotations, gates and activations ride
on the products whose rows they need, and attention is cut along its keys.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON = tl.constexpr(1e-6)
LOG2E = tl.constexpr(1.4426950408889634)
HIDDEN = tl.constexpr(-1e30)  # score of a key that is not seen; finite, so that a row without any stays finite


@triton.jit
def _gelu(x):
    """x * (1 + tanh(z)) / 2 = x * sigmoid(2 z), tanh form."""
    z = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    return x / (1.0 + tl.exp2(-2.0 * LOG2E * z))


@triton.jit
def qkv(
    a_ptr, weight, rope, q_ptr, k_ptr, v_ptr,
    M, T, start, capacity,
    K: tl.constexpr, HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """Query, key and value products, rotation; keys and values go into the cache."""
    first = tl.program_id(0) * BN
    rn = first + tl.arange(0, BN)
    rm = tl.program_id(1) * BM + tl.arange(0, BM)
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    here = rm < M
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        rk = k + tl.arange(0, BK)
        a = tl.load(a_ptr + rm[:, None] * K + rk[None, :], here[:, None], 0.0)
        w = tl.load(weight + rn[:, None] * K + rk[None, :])
        acc = tl.dot(a, tl.trans(w), acc, input_precision="ieee")
    head = first // D
    column = rn % D
    if head < HEADS + KV:
        pairs = (first % D) // 2 + tl.arange(0, BN // 2)
        at = rope + rm[:, None] * D + pairs[None, :] * 2
        cos = tl.load(at, here[:, None], 0.0)
        sin = tl.load(at + 1, here[:, None], 0.0)
        even, odd = tl.split(tl.reshape(acc, (BM, BN // 2, 2)))
        acc = tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), (BM, BN))
    y = acc.to(q_ptr.dtype.element_ty)
    if head < HEADS:
        tl.store(q_ptr + rm[:, None] * (HEADS * D) + rn[None, :], y, here[:, None])
    else:
        own = tl.where(head < HEADS + KV, head - HEADS, head - HEADS - KV)
        place = (((rm // T) * KV + own) * capacity + start + rm % T) * D
        if head < HEADS + KV:
            tl.store(k_ptr + place[:, None] + column[None, :], y, here[:, None])
        else:
            tl.store(v_ptr + place[:, None] + column[None, :], y, here[:, None])


@triton.jit
def gate_up(
    a_ptr, weight, out_ptr,
    M, N,
    K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """Gate and up products, GeGLU; weight [2 N, K], the gate's rows first."""
    rn = tl.program_id(0) * BN + tl.arange(0, BN)
    rm = tl.program_id(1) * BM + tl.arange(0, BM)
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    here = rm < M
    gate = tl.zeros((BM, BN), tl.float32)
    up = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        rk = k + tl.arange(0, BK)
        a = tl.load(a_ptr + rm[:, None] * K + rk[None, :], here[:, None], 0.0)
        wg = tl.load(weight + rn[:, None] * K + rk[None, :])
        wu = tl.load(weight + (N + rn)[:, None] * K + rk[None, :])
        gate = tl.dot(a, tl.trans(wg), gate, input_precision="ieee")
        up = tl.dot(a, tl.trans(wu), up, input_precision="ieee")
    y = _gelu(gate) * up
    tl.store(out_ptr + rm[:, None] * N + rn[None, :], y.to(out_ptr.dtype.element_ty), here[:, None])


@triton.jit
def parts(
    a_ptr, weight, part_ptr,
    M, N, K,
    KC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """a w^T over one of several stretches of K, in float32, for `close`."""
    rn = tl.program_id(0) * BN + tl.arange(0, BN)
    rm = tl.program_id(1) * BM + tl.arange(0, BM)
    split = tl.program_id(2)
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    here = rm < M
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, KC, BK):
        rk = split * KC + k + tl.arange(0, BK)
        a = tl.load(a_ptr + rm[:, None] * K + rk[None, :], here[:, None], 0.0)
        w = tl.load(weight + rn[:, None] * K + rk[None, :])
        acc = tl.dot(a, tl.trans(w), acc, input_precision="ieee")
    tl.store(part_ptr + (split * M + rm)[:, None] * N + rn[None, :], acc, here[:, None])


@triton.jit
def close(
    x_ptr, part_ptr, gate, zero_gate, scale, zero_scale, shift, zero_shift, given_ptr, y_ptr,
    M, T,
    W: tl.constexpr, BW: tl.constexpr, SPLITS: tl.constexpr, NORM: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """The parts of a branch added up, times its gate onto x; and the next adaRMS norm of x."""
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    m = tl.program_id(0)
    rw = tl.arange(0, BW)
    real = rw < W
    given = m % T < tl.load(given_ptr)
    x = tl.load(x_ptr + m * W + rw, real, 0.0)
    if SPLITS > 0:
        branch = tl.zeros((BW,), tl.float32)
        for s in tl.static_range(SPLITS):
            branch += tl.load(part_ptr + (s * M + m) * W + rw, real, 0.0).to(tl.float32)
        strength = tl.where(given, tl.load(zero_gate + rw, real, 0.0), tl.load(gate + rw, real, 0.0))
        x = (x.to(tl.float32) + branch * strength).to(x.dtype)
        tl.store(x_ptr + m * W + rw, x, real)
    if NORM:
        wide = x.to(tl.float32)
        a = tl.where(given, tl.load(zero_scale + rw, real, 0.0), tl.load(scale + rw, real, 0.0))
        b = tl.where(given, tl.load(zero_shift + rw, real, 0.0), tl.load(shift + rw, real, 0.0))
        y = wide * tl.rsqrt(tl.sum(wide * wide, 0) / W + EPSILON) * a + b
        tl.store(y_ptr + m * W + rw, y.to(y_ptr.dtype.element_ty), real)


@triton.jit
def attend(
    q_ptr, k_ptr, v_ptr, bias, out_ptr, part_ptr, sums_ptr,
    T, keys, capacity, q_row, scale,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, CHUNK: tl.constexpr, SPLITS: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """Attention over one part of the keys. A row is a token and a query head; all heads of a key head share its keys.

    With one part the answer is written, else that of the part, its largest score and its weight, for `merge`.
    """
    GROUP: tl.constexpr = HEADS // KV
    split = tl.program_id(1)
    row = tl.program_id(2)
    base = row.to(tl.int64) * capacity * D
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    rows = T * GROUP
    b = row // KV
    kv = row % KV
    r = tl.program_id(0) * BM + tl.arange(0, BM)
    here = r < rows
    rd = tl.arange(0, D)
    at = (b * T + r // GROUP) * q_row + (kv * GROUP + r % GROUP) * D
    q = tl.load(q_ptr + at[:, None] + rd[None, :], here[:, None], 0.0)
    top = tl.full((BM,), HIDDEN, tl.float32)
    weight = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    for n in range(0, CHUNK, BN):
        rn = split * CHUNK + n + tl.arange(0, BN)
        there = rn < keys
        k = tl.load(k_ptr + base + rn[:, None] * D + rd[None, :], there[:, None], 0.0)
        v = tl.load(v_ptr + base + rn[:, None] * D + rd[None, :], there[:, None], 0.0)
        hide = tl.load(bias + rn, there, 0.0)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * (scale * LOG2E)
        s = tl.where((hide < 0.0)[None, :], HIDDEN, s)
        s = tl.where(there[None, :], s, -float("inf"))
        higher = tl.maximum(top, tl.max(s, 1))
        p = tl.exp2(s - higher[:, None])
        shrink = tl.exp2(top - higher)
        weight = weight * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision="ieee")
        top = higher
    y = (acc / weight[:, None]).to(out_ptr.dtype.element_ty)
    if SPLITS == 1:
        at = (b * T + r // GROUP) * (HEADS * D) + (kv * GROUP + r % GROUP) * D
        tl.store(out_ptr + at[:, None] + rd[None, :], y, here[:, None])
    else:
        index = (split * tl.num_programs(2) + row) * rows + r
        tl.store(part_ptr + index[:, None] * D + rd[None, :], y, here[:, None])
        tl.store(sums_ptr + index * 2, top, here)
        tl.store(sums_ptr + index * 2 + 1, weight, here)


@triton.jit
def merge(
    part_ptr, sums_ptr, out_ptr,
    T, rows_of_all,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr, SPLITS: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """The parts of one row of `attend` put together."""
    GROUP: tl.constexpr = HEADS // KV
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    rd = tl.arange(0, D)
    index = tl.program_id(0)
    top = tl.load(sums_ptr + index * 2)
    for s in tl.static_range(1, SPLITS):
        top = tl.maximum(top, tl.load(sums_ptr + (s * rows_of_all + index) * 2))
    total = 0.0
    acc = tl.zeros((D,), tl.float32)
    for s in tl.static_range(SPLITS):
        at = s * rows_of_all + index
        share = tl.exp2(tl.load(sums_ptr + at * 2) - top) * tl.load(sums_ptr + at * 2 + 1)
        total += share
        acc += share * tl.load(part_ptr + at * D + rd).to(tl.float32)
    rows = T * GROUP
    row = index // rows
    r = index % rows
    at = ((row // KV) * T + r // GROUP) * (HEADS * D) + ((row % KV) * GROUP + r % GROUP) * D
    tl.store(out_ptr + at + rd, (acc / total).to(out_ptr.dtype.element_ty))


@triton.jit
def advance(
    hidden_ptr, scale, zero_scale, shift, zero_shift, out_weight, out_bias, x_ptr, previous_ptr, share_ptr, strength_ptr,
    given_ptr, in_weight, in_bias, zero_in_bias, tokens_ptr,
    T, t, dt,
    W: tl.constexpr, A: tl.constexpr, BA: tl.constexpr, BW: tl.constexpr,
    LEAVE: tl.constexpr, ENTER: tl.constexpr, SILU: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """One action row from a step into the next one: final norm, velocity, guidance, Euler step (LEAVE); token (ENTER)."""
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    m = tl.program_id(0)
    given = m % T < tl.load(given_ptr)
    ra = tl.arange(0, BA)
    real = ra < A
    x = tl.load(x_ptr + m * A + ra, real, 0.0)
    previous = tl.load(previous_ptr + m * A + ra, real, 0.0)
    if LEAVE:
        squares = 0.0
        velocity = tl.zeros((BA,), tl.float32)
        shifted = tl.zeros((BA,), tl.float32)
        for k in tl.static_range(0, W, BW):
            rk = k + tl.arange(0, BW)
            h = tl.load(hidden_ptr + m * W + rk).to(tl.float32)
            squares += tl.sum(h * h, 0)
            w = tl.load(out_weight + ra[:, None] * W + rk[None, :], real[:, None], 0.0)
            s = tl.where(given, tl.load(zero_scale + rk), tl.load(scale + rk))
            b = tl.where(given, tl.load(zero_shift + rk), tl.load(shift + rk))
            velocity += tl.sum(w * (h * s)[None, :], 1)
            shifted += tl.sum(w * b[None, :], 1)
        velocity = velocity * tl.rsqrt(squares / W + EPSILON) + shifted + tl.load(out_bias + ra, real, 0.0)
        pull = tl.load(strength_ptr) * tl.load(share_ptr + m % T)
        velocity -= pull * (previous - (x - t * velocity))
        x = x - velocity * dt
    x = tl.where(given, previous, x)
    tl.store(x_ptr + m * A + ra, x, real)
    if ENTER:
        for k in tl.static_range(0, W, BW):
            rk = k + tl.arange(0, BW)
            w = tl.load(in_weight + rk[:, None] * A + ra[None, :], real[None, :], 0.0)
            bias = tl.where(given, tl.load(zero_in_bias + rk), tl.load(in_bias + rk))
            y = tl.sum(w * x[None, :], 1) + bias
            if SILU:
                y = y / (1.0 + tl.exp2(-LOG2E * y))
            tl.store(tokens_ptr + m * W + rk, y.to(tokens_ptr.dtype.element_ty))


@triton.jit
def rotate_store(
    qkv_ptr, rope, k_ptr, v_ptr,
    T, start, capacity,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Rotates a row's queries in place; rotated keys and values go into the cache."""
    m = tl.program_id(0)
    rd = tl.arange(0, D)
    cos, sin = tl.split(tl.reshape(tl.load(rope + m * D + rd), (D // 2, 2)))
    for head in tl.static_range(HEADS + 2 * KV):
        at = qkv_ptr + m * ((HEADS + 2 * KV) * D) + head * D + rd
        x = tl.load(at)
        if head < HEADS + KV:
            even, odd = tl.split(tl.reshape(x.to(tl.float32), (D // 2, 2)))
            x = tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), (D,)).to(x.dtype)
        place = ((m // T) * KV * capacity + start + m % T) * D + rd
        if head < HEADS:
            tl.store(at, x)
        elif head < HEADS + KV:
            tl.store(k_ptr + place + (head - HEADS) * capacity * D, x)
        else:
            tl.store(v_ptr + place + (head - HEADS - KV) * capacity * D, x)


@triton.jit
def rms(
    x_ptr, delta_ptr, out_ptr, inverse_scale,
    W: tl.constexpr, BW: tl.constexpr, DELTA: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """x + delta into x, and x / rms(x); times 1 / scale if the answer is 8 bits wide."""
    m = tl.program_id(0)
    rw = tl.arange(0, BW)
    real = rw < W
    x = tl.load(x_ptr + m * W + rw, real, 0.0).to(tl.float32)
    if DELTA:
        x += tl.load(delta_ptr + m * W + rw, real, 0.0).to(tl.float32)
        x = x.to(x_ptr.dtype.element_ty).to(tl.float32)
        tl.store(x_ptr + m * W + rw, x.to(x_ptr.dtype.element_ty), real)
    y = x * tl.rsqrt(tl.sum(x * x, 0) / W + EPSILON)
    if NARROW:
        y = tl.minimum(tl.maximum(y * inverse_scale, -448.0), 448.0)
    tl.store(out_ptr + m * W + rw, y.to(out_ptr.dtype.element_ty), real)


@triton.jit
def layer_norm(
    x_ptr, pending, weight, bias, out_ptr,
    W: tl.constexpr, BW: tl.constexpr, PENDING: tl.constexpr,
):  # fmt: skip
    """x + pending into x, and its layer norm."""
    m = tl.program_id(0)
    rw = tl.arange(0, BW)
    real = rw < W
    x = tl.load(x_ptr + m * W + rw, real, 0.0).to(tl.float32)
    if PENDING:
        x += tl.load(pending + rw, real, 0.0).to(tl.float32)
        x = x.to(x_ptr.dtype.element_ty).to(tl.float32)
        tl.store(x_ptr + m * W + rw, x.to(x_ptr.dtype.element_ty), real)
    mean = tl.sum(x, 0) / W
    away = tl.where(real, x - mean, 0.0)
    y = away * tl.rsqrt(tl.sum(away * away, 0) / W + EPSILON)
    y = y * tl.load(weight + rw, real, 0.0).to(tl.float32) + tl.load(bias + rw, real, 0.0).to(tl.float32)
    tl.store(out_ptr + m * W + rw, y.to(out_ptr.dtype.element_ty), real)


@triton.jit
def geglu(both_ptr, out_ptr, inverse_scale, N, BLOCK: tl.constexpr, NARROW: tl.constexpr):
    """gelu(gate) * up of [M, 2 N]; times 1 / scale if the answer is 8 bits wide."""
    m = tl.program_id(0)
    rn = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = rn < N
    gate = tl.load(both_ptr + m * 2 * N + rn, real, 0.0).to(tl.float32)
    up = tl.load(both_ptr + m * 2 * N + N + rn, real, 0.0).to(tl.float32)
    y = _gelu(gate) * up
    if NARROW:
        y = tl.minimum(tl.maximum(y * inverse_scale, -448.0), 448.0)
    tl.store(out_ptr + m * N + rn, y.to(out_ptr.dtype.element_ty), real)

"""Damaged copies of sound files: bytes, numbers in text, JSON values, and pieces of other files."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

NUMBERS = (
    "0", "-1", "1e400", "-1e400", "nan", "inf", "-inf", "1e-400", "9" * 400, "2147483648", "4294967295", "9223372036854775808",
    "18446744073709551615", "0x7f", "1_0", "1e308", "true", "null", '""', "[]", "{}", "0.1", "1.5", "-0.0", "99999999",
)  # fmt: skip
TOKENS = (
    b"\0", b"\xff", b"\xc3\x28", "é".encode(), b"\xef\xbb\xbf", b"\x1b[2J", b"\n", b"../", b"/etc/passwd", b"{", b"}", b"[", b"]",
    b'"', b":", b"&a", b"*a", b"!!int ", b"!foo ", b"<<: ", b"%s", b"{0}", b"${", b"$(", b"<!--", b"&lt;", b"<![CDATA[", b"-",
    b"\xf0\x9f\xa4\x96", b"__class__", b"NaN", b"\t", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff",
)  # fmt: skip
WHOLE = (0, 1, -1, 2, 7, 127, 255, 65535, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64, 10**30)
VALUES: tuple[Any, ...] = (
    None, True, False, *WHOLE, 10**400, 0.5, -0.5, float("nan"), float("inf"), 1e308, -1e308, 1e-320, "", "a", "../../x", "/x", "\0",
    "\x1b[2J", "x" * 300, "é", "\ud800", [], {}, [[]], [None], ["a", 1], [[1.0], [2.0, 3.0]], {"a": {}}, {"": 0}, [0.0] * 40,
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
MAX_LENGTH = 1 << 20


def mutated(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """A damaged copy of one of the seeds; the same for the same state of `rng`."""
    data = rng.choice(seeds)
    value = _json(data) if rng.random() < 0.6 else None
    if value is not None:
        for _ in range(rng.randint(1, 3)):
            value = mutated_value(value, rng)
        try:
            data = json.dumps(value).encode("utf-8", "surrogatepass")
        except (ValueError, RecursionError):
            return data
        if rng.random() < 0.8:
            return data[:MAX_LENGTH]
    for _ in range(1 + int(rng.expovariate(0.7))):
        data = rng.choice(_BYTES)(data, rng, seeds)
    return data[:MAX_LENGTH]


def _json(data: bytes) -> Any:
    if data[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def mutated_value(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value with one thing changed somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        change = rng.random()
        if change < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if change < 0.15:
            return {(f"{k}x" if k == key else k): v for k, v in value.items()}
        if change < 0.2:
            return {**value, rng.choice(("", "x", "__metadata__", "\x1b[2J", key + ".a")): rng.choice(VALUES)}
        return {**value, key: mutated_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at, change = rng.randrange(len(value)), rng.random()
        if change < 0.15:
            return value[:at] + value[at + 1 :]
        if change < 0.3:
            return value + value[at : at + 1] * rng.choice((1, 2, 40))
        if change < 0.4:
            return value[::-1]
        return [*value[:at], mutated_value(value[at], rng), *value[at + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice(
            (-value, value + 1, value * 10**9, -1 - value, value / 3 if abs(value) < 1e300 else 0, [value])
        )
    if isinstance(value, str) and rng.random() < 0.5:
        return rng.choice((value[::-1], value + value, value[:-1], value.upper(), f"{value}\n", [value], f" {value}"))
    new = rng.choice(VALUES)
    if rng.random() < 0.02:
        for _ in range(rng.choice((3, 60, 1500))):
            new = [new]
    return new


def _flip(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return b"\0"
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _byte(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return b"\xff"
    out = bytearray(data)
    out[rng.randrange(len(out))] = rng.choice((0, 255, 127, 128, 10, 32, 34, rng.randrange(256)))
    return bytes(out)


def _cut(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, 40)) :]


def _repeat(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((1, 4, 16, 100))
    return data[:at] + data[at : at + size] * rng.choice((2, 3, 50)) + data[at + size :]


def _token(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at + rng.choice((0, 0, 1, 4)) :]


def _number(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    found = list(_NUMBER.finditer(data[:20000]))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(NUMBERS).encode() + data[one.end() :]


def _integer(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    if len(data) < size:
        return data
    at = rng.randrange(len(data) - size + 1)
    value = rng.choice((*WHOLE, len(data), len(data) - at)) % (1 << (8 * size))
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _splice(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _line(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[at], lines[to] = lines[to], rng.choice((lines[at], b"  " + lines[at], lines[at].strip(), b""))
    return b"\n".join(lines)


_BYTES: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    _flip, _byte, _cut, _remove, _repeat, _token, _number, _number, _integer, _splice, _line,
)  # fmt: skip

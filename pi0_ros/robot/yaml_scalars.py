"""Single values of YAML 1.2's core schema, and what to write instead of a malformed number.

YAML 1.1, which PyYAML reads, takes 010 for eight, 1:30 for ninety, `off` for false and 2e-2 for a text.
Source: YAML 1.2.2, section 10.3.2 (tag resolution of the core schema).
"""

from __future__ import annotations

import math
import re

Scalar = None | bool | int | float | str

_NULL = ("", "~", "null", "Null", "NULL")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_OLD_TRUTH = {"yes": True, "on": True, "no": False, "off": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9]+(:[0-9]{1,2})+(\.[0-9]*)?")
_PI = re.compile(r"([-+]?)([0-9.]*)\s*\*?\s*(?:math\.)?(?:pi|π)\s*(?:/\s*([0-9.]+))?", re.IGNORECASE)


def plain_value(text: str) -> Scalar:
    """What an unquoted YAML value means. Whole numbers too long for a float are infinite."""
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 19 else float(text)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def plain_truth(text: str) -> bool | None:
    """true or false as YAML 1.2 and 1.1 write them (yes, no, on, off), None for another text."""
    return _TRUTH.get(text, _OLD_TRUTH.get(text.lower()))


def ambiguous_number(text: str) -> str:
    """Why a number is ambiguous, and what to write instead; "" for any other text."""
    if _LEADING_ZERO.fullmatch(text):
        digits = text.lstrip("+-")
        decimal = digits.lstrip("0") or "0"
        if set(digits) <= set("01234567") and len(digits) < 19 and len(decimal) > 1:
            return f"{text} looks like octal; write {int(digits, 8)} or {decimal}"
        return f"{text} starts with 0; write {decimal}"
    if _SEXAGESIMAL.fullmatch(text):
        return f"{text} looks like minutes or hours; write one number"
    return ""


def number_hint(text: str) -> str:
    """What to write instead of a text that stands where a number belongs; "" if there is nothing to guess."""
    cleaned = text.replace("_", "").replace("−", "-").replace(",", ".")  # the second is the typographic minus
    if cleaned != text and _FLOAT.fullmatch(cleaned):
        return f"write {cleaned}"
    pi = _PI.fullmatch(text.strip())
    if pi:
        try:
            value = float(f"{pi.group(1)}1") * float(pi.group(2) or 1.0) * math.pi / float(pi.group(3) or 1.0)
        except (ValueError, ZeroDivisionError):
            return ""
        return f"write {value:.5f}"
    return ""

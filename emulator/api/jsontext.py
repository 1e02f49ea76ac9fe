"""Reads JSON as Go's encoding/json does, where Python's decoder takes more than that. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(text: bytes) -> Any:
    """Returns the value that JSON text is. Half of a surrogate pair is U+FFFD; NaN, and a number that no
    float64 holds, are no values. Raises ValueError, RecursionError.
    """
    found = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    return whole_letters(found) if _SURROGATE.search(text) else found


def _refuse(text: str) -> Any:
    raise ValueError(f"invalid character in literal {text}")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"json: cannot unmarshal number {text[:40]} into Go value of type float64")
    return value


def whole_letters(value: Any) -> Any:
    """Returns ``value`` with U+FFFD for each half of a surrogate pair in its texts, which no UTF-8 has."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [whole_letters(item) for item in value]
    if isinstance(value, dict):
        return {whole_letters(key): whole_letters(item) for key, item in value.items()}
    return value

"""Reads and writes quantities of resources as Kubernetes does. Pure.

A quantity keeps the form in which it was written: decimal (``500m``), binary (``1Gi``) or with an exponent
(``1e3``). Its canonical text has the largest suffix that leaves no fraction (apimachinery,
pkg/api/resource/quantity.go).
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil

_FORM = re.compile(
    r"([+-]?)([0-9]{0,60}(?:\.[0-9]{0,60})?)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?\Z"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def amount(text: str) -> Fraction | None:
    """Returns the number that ``text`` stands for, None if it is no quantity."""
    read = _read(text)
    return None if read is None else read[0]


def canonical(text: str) -> str:
    """Returns the canonical form of a quantity; another text as it is."""
    read = _read(text)
    if read is None:
        return text
    number, form = read
    nano = Fraction(ceil(abs(number) * 10**9), 10**9)
    sign = "-" if number < 0 else ""
    if not nano:
        return "0"
    if form == "binary" and nano.denominator == 1:
        suffix = max(
            (one for one in _BINARY if nano % 2 ** _BINARY[one] == 0), key=_BINARY.__getitem__, default=""
        )
        return f"{sign}{int(nano) >> _BINARY.get(suffix, 0)}{suffix}"
    fits = (one for one in _DECIMAL if (nano / Fraction(10) ** _DECIMAL[one]).denominator == 1)
    suffix = max(fits, key=_DECIMAL.__getitem__)
    whole = int(nano / Fraction(10) ** _DECIMAL[suffix])
    if form == "exponent":
        return f"{sign}{whole}e{_DECIMAL[suffix]}" if suffix else f"{sign}{whole}"
    return f"{sign}{whole}{suffix}"


def _read(text: str) -> tuple[Fraction, str] | None:
    match = _FORM.match(text)
    if match is None or not re.search("[0-9]", match[2]):
        return None
    sign, digits, suffix, exponent = match.groups()
    number = Fraction(digits if not digits.startswith(".") else f"0{digits}") * (-1 if sign == "-" else 1)
    if exponent is not None:
        return number * Fraction(10) ** int(exponent), "exponent"
    if suffix in _BINARY:
        return number * 2 ** _BINARY[suffix], "binary"
    return number * Fraction(10) ** _DECIMAL[suffix or ""], "decimal"

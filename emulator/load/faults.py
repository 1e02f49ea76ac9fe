"""Describes faults of a field before its file is known. Pure.

Readers make a :class:`Fault`; ``load`` adds file, document and line and makes a ``Problem`` of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, TypeAlias

from ..errors import Words, worded
from ..objects.warnings import Code, OddValue

FieldPath: TypeAlias = tuple[str | int, ...]

LONGEST_SHOWN = 60  # characters of a user's value that a message repeats
_MAPS = ("labels", "annotations", "selector")  # their keys are the user's own
IS_REQUIRED = "is required"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_STEP = re.compile(r'\[(?P<index>[0-9]+)\]|\["(?P<quoted>[^"]*)"\]|\.?(?P<plain>[A-Za-z_][A-Za-z0-9_-]*)')


class FaultKind(Enum):
    """Lists the kinds of a field's faults. The value is the reason in the causes of a Status (apimachinery,
    pkg/util/validation/field/errors.go, ErrorType).
    """

    INVALID = "FieldValueInvalid"
    TYPE_INVALID = "FieldValueTypeInvalid"
    REQUIRED = "FieldValueRequired"
    NOT_SUPPORTED = "FieldValueNotSupported"
    DUPLICATE = "FieldValueDuplicate"
    FORBIDDEN = "FieldValueForbidden"
    TOO_MANY = "FieldValueTooMany"


@dataclass(frozen=True, slots=True)
class Fault:
    """Holds one mistake at ``path`` of an object: a sentence's predicate (``must be an integer, is
    'eighty'``) and a hint what to do about it. ``supported`` has the values of a field that takes no others.
    """

    path: FieldPath
    what: str
    hint: str = ""
    kind: FaultKind = FaultKind.INVALID
    supported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Oddity:
    """Holds an oddity at ``path`` of an object that is read all the same: a warning. ``why`` says what is odd
    about ``value``, which is read as ``meant``, if ``code`` leaves that open.
    """

    path: FieldPath
    code: Code
    why: OddValue | None = None
    value: str = ""
    meant: str = ""


def required(path: FieldPath, more: str = "", hint: str = "") -> Fault:
    """Returns the fault of a field that is not set; ``more`` continues the sentence."""
    return Fault(path, IS_REQUIRED + more, hint, FaultKind.REQUIRED)


def not_supported(path: FieldPath, value: Any, supported: Sequence[str], hint: str = "") -> Fault:
    """Returns the fault of a field that has none of the ``supported`` words; its default hint is the nearest
    of them.
    """
    what = worded("must be one of {}, is {}", Words(", ".join(supported)), shown(value))
    near_one = did_you_mean(value, supported) if isinstance(value, str) else ""
    return Fault(path, what, hint or near_one, FaultKind.NOT_SUPPORTED, tuple(supported))


def path_text(path: FieldPath) -> str:
    """Returns ``path`` as a user writes it: ``spec.ports[0].port``,
    ``metadata.labels["app.kubernetes.io/name"]``.
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.match(step):
            text += f".{step}" if text else step
        else:
            text += f'["{cut(step)}"]'
    return text


def field_of(path: FieldPath) -> tuple[str, ...]:
    """Returns the steps of ``path`` that every object of a kind shares. Indices are the list's ("[]"), and so
    are the keys of a map whose keys are the user's own.
    """
    steps: list[str] = []
    for step in path:
        own = bool(steps) and steps[-1].lower().endswith(_MAPS)
        steps.append("[]" if own or isinstance(step, int) else step)
    return tuple(steps)


def path_of(text: str) -> FieldPath:
    """Returns the path that :func:`path_text` wrote as ``text``. If a key was too long to repeat, this is the
    path of the mapping around it.
    """
    path: list[str | int] = []
    at = 0
    while step := _STEP.match(text, at):
        path.append(int(step["index"]) if step["index"] else step["quoted"] or step["plain"])
        at = step.end()
    return tuple(path)


def cut(text: str) -> str:
    """Returns ``text``, cut if it is too long to repeat."""
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def shown(value: Any) -> Words:
    """Returns ``value`` as a message repeats it: scalars in YAML's words, of a collection only its type."""
    if isinstance(value, str):
        return Words(f"'{cut(value)}'", "…")
    if isinstance(value, bool):
        return Words("true" if value else "false")
    if value is None:
        return Words("null")
    if isinstance(value, dict):
        return Words("a mapping")
    if isinstance(value, (list, tuple)):
        return Words("a list")
    return Words(cut(str(value)), "…")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a hint that names what ``word`` may have meant ("" if nothing comes near)."""
    close = near(word, known)
    return f"did you mean {' or '.join(close)}?" if close else ""


def near(word: str, known: Iterable[str]) -> list[str]:
    """Returns the names, at most three, that ``word`` may have meant, the nearest first."""
    names = {name.lower(): name for name in sorted(known)}
    return [names[name] for name in get_close_matches(cut(word).lower(), names, n=3, cutoff=0.6)]

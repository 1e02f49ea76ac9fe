"""Matches labels with label selectors. Pure.

Kubernetes' rules (Labels and Selectors): every requirement must hold; ``NotIn`` and ``DoesNotExist`` hold for
an absent key. An empty selector matches everything here; a Service with an empty selector selects nothing,
which is its reader's affair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from .kinds import LabelSelector, LabelSelectorRequirement

_KEY = r"(?P<key>[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?)"
_VALUE = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_Membership: TypeAlias = Literal["In", "NotIn"]
_SETS: Mapping[str, _Membership] = {"in": "In", "notin": "NotIn"}
_EQUALITY: Mapping[str, _Membership] = {"=": "In", "==": "In", "!=": "NotIn"}
_REQUIREMENT = re.compile(
    rf"{_KEY}\s*(?P<equality>=|==|!=)\s*(?P<value>(?:{_VALUE})?)"
    rf"|{_KEY.replace('key', 'set_key')}\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|(?P<absent>!?)\s*{_KEY.replace('key', 'bare_key')}"
)
_COMMA = re.compile(r",(?![^()]*\))")  # not one between parentheses


def matches_labels(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Returns whether ``labels`` carry every key of ``selector`` with its value (``matchLabels``,
    ``nodeSelector``, a Service's selector).
    """
    return all(labels.get(key) == value for key, value in selector.items())


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Returns whether ``labels`` satisfy ``matchLabels`` and every one of ``matchExpressions``."""
    return matches_labels(selector.matchLabels, labels) and all(
        _holds(r, labels) for r in selector.matchExpressions
    )


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    present = requirement.key in labels
    listed = present and labels[requirement.key] in requirement.values
    return {"In": listed, "NotIn": not listed, "Exists": present, "DoesNotExist": not present}[
        requirement.operator
    ]


def parse_selector(text: str) -> LabelSelector:
    """Returns the selector that ``text`` spells as kubectl's ``-l`` takes it: ``app=web,tier!=cache``,
    ``env in (a, b)``, ``env notin (a)``, ``env``, ``!env``. Raises ValueError with the part that it cannot
    read.
    """
    return LabelSelector(matchExpressions=tuple(_requirement(part.strip()) for part in _COMMA.split(text)))


def _requirement(text: str) -> LabelSelectorRequirement:
    found = _REQUIREMENT.fullmatch(text)
    if not found:
        raise ValueError(text)
    if found["equality"]:
        return LabelSelectorRequirement(
            key=found["key"], operator=_EQUALITY[found["equality"]], values=(found["value"],)
        )
    if found["set"]:
        values = tuple(value.strip() for value in found["values"].split(","))
        if not all(re.fullmatch(_VALUE, value) for value in values):
            raise ValueError(text)
        return LabelSelectorRequirement(key=found["set_key"], operator=_SETS[found["set"]], values=values)
    return LabelSelectorRequirement(
        key=found["bare_key"], operator="DoesNotExist" if found["absent"] else "Exists"
    )

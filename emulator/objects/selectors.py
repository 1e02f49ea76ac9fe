"""Matches labels with label selectors. Pure; imports ``objects.kinds`` only.

Kubernetes' rules (Labels and Selectors): every requirement must hold; ``NotIn`` and ``DoesNotExist`` hold for
an absent key. An empty selector matches everything here; a Service with an empty selector selects nothing,
which is its reader's affair.
"""

from __future__ import annotations

from collections.abc import Mapping

from .kinds import LabelSelector, LabelSelectorRequirement


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

"""Says how far the roll-out of a Deployment is, in the words of ``kubectl rollout status`` (k/k
staging/src/k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Progress(NamedTuple):
    """Holds how far a roll-out is: ``text`` says what is waited for. ``failed``: it has not come on within
    its progress deadline.
    """

    done: bool
    failed: bool
    text: str


def progress_of(deployment: Mapping[str, Any]) -> Progress:
    """Returns how far the roll-out of ``deployment``, a document of the API, is."""
    meta, spec, status = (deployment.get(name) or {} for name in ("metadata", "spec", "status"))
    name = meta.get("name")
    if meta.get("generation", 0) > status.get("observedGeneration", 0):
        return Progress(False, False, "Waiting for deployment spec update to be observed...")
    if _has_failed(status.get("conditions") or ()):
        return Progress(False, True, f'deployment "{name}" exceeded its progress deadline')
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    replicas, available = status.get("replicas", 0), status.get("availableReplicas", 0)
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        text = f"{waiting}{updated} out of {wanted} new replicas have been updated..."
        return Progress(False, False, text)
    if replicas > updated:
        text = f"{waiting}{replicas - updated} old replicas are pending termination..."
        return Progress(False, False, text)
    if available < updated:
        text = f"{waiting}{available} of {updated} updated replicas are available..."
        return Progress(False, False, text)
    return Progress(True, False, f'deployment "{name}" successfully rolled out')


def _has_failed(conditions: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        one.get("type") == "Progressing" and one.get("reason") == "ProgressDeadlineExceeded"
        for one in conditions
    )

"""Collects the Pods that run nowhere, and reports why: one warning for each cause.

A waiting Pod has no network: it is no endpoint, sends nothing and is not reached.
"""

from __future__ import annotations

from ..cluster.state import WaitingPod
from ..errors import printable
from ..objects.kinds import Origin, Pod
from ..objects.references import ObjectRef
from ..objects.warnings import Code
from .findings import Draft, Findings

_NAMED = 3  # Pods that a warning names
_LONGEST = 300  # characters of the cluster's own message that a warning repeats


class Waiting:
    """Collects while Pods are read and placed."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Draft[Pod], WaitingPod]]] = {}

    @property
    def pods(self) -> tuple[WaitingPod, ...]:
        return tuple(waiting for rows in self._rows.values() for _, waiting in rows)

    def add(self, draft: Draft[Pod], reason: str) -> None:
        """Adds the Pod, which waits for ``reason``."""
        reason = printable(reason)
        self._rows.setdefault(reason[:_LONGEST], []).append((draft, WaitingPod(draft.object, reason)))

    def lost(self, draft: Draft[Pod], hint: str) -> None:
        """Adds a Pod that is bound to a node that does not exist. Until Kubernetes deletes it, its status
        stands: with an address it may be an endpoint.
        """
        pod = draft.object
        reason = f"it is bound to node {pod.spec.nodeName}, which is not there" + (
            f" ({hint})" if hint else ""
        )
        if pod.ips:
            reason += "; its address stays in the slices that are given"
        self._rows.setdefault(reason, []).append((draft, WaitingPod(pod, reason, lost=bool(pod.ips))))

    def tell(self, findings: Findings) -> None:
        """Reports each cause once for each object that makes Pods, with the Pods that wait for it."""
        groups: dict[tuple[str, Origin], list[Pod]] = {}
        for reason, rows in self._rows.items():
            for draft, waiting in rows:
                groups.setdefault((reason, draft.origin), []).append(waiting.pod)
        for (reason, _), pods in groups.items():
            findings.warn(
                Code.RUNS_NOWHERE,
                ObjectRef("Pod", pods[0].key, "spec"),
                reason=reason,
                pods=tuple(pod.key for pod in pods[:_NAMED]),
                more=max(0, len(pods) - _NAMED),
            )

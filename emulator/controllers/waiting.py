"""Collects the Pods that run nowhere, and tells the user why: one notice for each cause.

May import ``objects`` and this room. A Pod that waits has no network: it is no endpoint, sends nothing and is
not reached.
"""

from __future__ import annotations

from emulator.cluster.state import WaitingPod
from emulator.controllers.findings import Draft, Findings
from emulator.errors import printable
from emulator.objects.kinds import Pod

_NAMED = 3  # Pods that a notice names
_LONGEST = 300  # characters of a message of the cluster's that a notice repeats


class Waiting:
    """Filled in while Pods are read and placed."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Draft[Pod], WaitingPod]]] = {}

    @property
    def pods(self) -> tuple[WaitingPod, ...]:
        return tuple(waiting for rows in self._rows.values() for _, waiting in rows)

    def add(self, draft: Draft[Pod], reason: str) -> None:
        """The Pod waits for ``reason``."""
        reason = printable(reason)
        self._rows.setdefault(reason[:_LONGEST], []).append((draft, WaitingPod(draft.object, reason)))

    def lost(self, draft: Draft[Pod], hint: str) -> None:
        """The Pod is bound to a node that is not there. Until Kubernetes deletes it, what the API server says
        of it stands: one that has an address may be an endpoint.
        """
        pod = draft.object
        reason = f"it is bound to node {pod.spec.nodeName}, which is not there" + (
            f" ({hint})" if hint else ""
        )
        if pod.ip:
            reason += "; its address stays in the slices that are given"
        self._rows.setdefault(reason, []).append((draft, WaitingPod(pod, reason, lost=bool(pod.ip))))

    def tell(self, findings: Findings) -> None:
        """Says once for each cause which Pods wait."""
        for reason, rows in self._rows.items():
            names = [waiting.pod.key for _, waiting in rows]
            named = ", ".join(names[:_NAMED]) + (
                f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            )
            origin, base = rows[0][0].origin, rows[0][0].base
            line = origin.line(f"{base}spec") if base else origin.line("spec")
            place = f" ({origin.file}:{line})" if line else ""
            what = (
                f"Pod {named} runs nowhere" if len(names) == 1 else f"{len(names)} Pods run nowhere, {named}"
            )
            findings.notice(f"{what}: {reason}{place}")

"""What comes of an address that every node answers ARP for: whichever is heard first serves (docs/semantics 13, 14). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emulator.probe.expect.promise import Promise
from emulator.probe.expect.source import name_source
from emulator.probe.model import Backend, SourceRule


def promise_by_any(promises: Sequence[Promise]) -> Promise:
    """All that ``promises``, one for each node that may be heard first, say: as one."""
    delivered = [promise for promise in promises if promise.outcome == "delivered"]
    if not delivered:
        return promises[0]
    rules: dict[Backend, set[SourceRule]] = {}
    straight: set[Backend] = set()
    for promise in delivered:
        straight |= promise.backends.keys() - promise.astray
        for backend, rule in promise.backends.items():
            rules.setdefault(backend, set()).add(rule)
    astray = frozenset().union(*(promise.astray for promise in delivered))
    backends: dict[Backend, SourceRule] = {b: "node" if "node" in seen else "preserved" for b, seen in rules.items()}
    return replace(
        next((promise for promise in delivered if not promise.astray), delivered[0]),
        backends=backends,
        source=name_source(backends.values()),
        needed=delivered[0].needed if all(promise.backends.keys() == backends.keys() for promise in promises) else 0,
        astray=astray - straight,
        perhaps_astray=astray & straight,
        perhaps_own=any(len(seen) > 1 for seen in rules.values()),
    )

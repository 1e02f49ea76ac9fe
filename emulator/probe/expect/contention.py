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
    for backend, rule in (pair for promise in delivered for pair in promise.backends.items()):
        rules.setdefault(backend, set()).add(rule)
    backends: dict[Backend, SourceRule] = {b: "node" if "node" in seen else "preserved" for b, seen in rules.items()}
    straight = [promise for promise in delivered if not promise.astray]
    return replace(
        (straight or delivered)[0],
        backends=backends,
        source=name_source(backends.values()),
        needed=delivered[0].needed if all(promise.backends.keys() == backends.keys() for promise in promises) else 0,
        astray=not straight,
        perhaps_astray=0 < len(straight) < len(delivered),
        perhaps_own=any(len(seen) > 1 for seen in rules.values()),
    )

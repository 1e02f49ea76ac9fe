"""Promises what comes of an address that every node answers ARP for (ARP flux): the node whose reply is heard
first serves (docs/semantics 13, 14). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..model.expectations import Possibilities, SourceRule
from ..net import Endpoint
from .promise import Promise, merged
from .source import name_source


def promise_under_arp_flux(promises: Sequence[Promise]) -> Promise:
    """Returns one promise with all possibilities of ``promises``, one for each node that may be heard
    first. Another one may be heard in the middle of a connection, which then breaks.
    """
    if len(promises) > 1:
        promises = [replace(one, possibilities=_wavering(one.possibilities)) for one in promises]
    delivered = [promise for promise in promises if "delivered" in promise.possibilities.outcomes]
    if not delivered:
        return replace(promises[0], possibilities=merged(p.possibilities for p in promises))
    every = merged(p.possibilities for p in promises)
    rules: dict[Endpoint, SourceRule] = {}
    for end in every:
        if end.backend and end.source and rules.get(end.backend) != "node":
            rules[end.backend] = end.source
    alike = all(p.possibilities.endpoints == delivered[0].possibilities.endpoints for p in promises)
    telling = next((promise for promise in delivered if not promise.possibilities.asymmetric), delivered[0])
    return replace(
        telling,
        possibilities=every,
        source=name_source(rules.values()),
        needed=delivered[0].needed if alike else 0,
    )


def _wavering(possibilities: Possibilities) -> Possibilities:
    return Possibilities(replace(p, wavers=p.outcome == "delivered") for p in possibilities)

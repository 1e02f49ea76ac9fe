"""Promises what becomes of a connection that is open when the cluster changes (docs/semantics 11, 13, 15).
Pure.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.expectations import Expectation, Possibilities, Possibility
from ..model.flows import Flow
from ..model.reasons import Reason, Why
from ..model.results import FlowResult
from ..net import Endpoint, is_loopback
from .choice import choose_endpoints
from .destination import Translation
from .direct import (
    is_unanswered,
    outcome_at,
    promise_direct,
    why_not,
)
from .facts import Facts
from .promise import answers


def expect_kept(facts: Facts, flow: Flow, met: Translation | None, before: FlowResult) -> Expectation | None:
    """Returns the expectation of a connection that stays as it was translated, whatever the rules say now:
    conntrack does not ask them again. None: it does not stay, and ``flow`` is promised the same as a new one.

    A TCP connection ends with its endpoint. A UDP client is forgotten by the node when its endpoint no longer
    serves (docs/semantics 11); there is no connection to end.
    """
    backend = next(iter(before.observed.backends), None)
    if backend is None:
        return None
    if flow.protocol == "UDP" and not _keeps_udp_clients(facts, flow, met, backend):
        return None
    if (
        facts.deviates("ends connections with the Service")
        and met is None
        and backend != Endpoint.of(flow.to.ip, flow.to.port)
    ):
        ended = promise_direct(facts, flow)
        return Expectation(
            possibilities=Possibilities(map(_to_an_open_connection, ended.possibilities)),
            because=Reason(why=Why.ENDS_WITH_SERVICE, mode=facts.mode, then=(ended.because,)),
        )
    outcome = outcome_at(facts, backend.address, backend.port, flow.protocol)
    if outcome != "delivered":
        why = why_not(facts, backend.address, backend.port, flow.protocol, outcome)
        because = Reason(why=Why.CONNECTION_BOUND, endpoints=(backend,), then=(why,))
        end = Possibility(outcome=outcome, backend=backend, late=is_unanswered(facts, backend.address))
        return Expectation(
            possibilities=Possibilities([_to_an_open_connection(end) if flow.protocol == "TCP" else end]),
            because=because,
        )
    if before.flow.to.how == "nodePort" and flow.to.ip not in facts.owners:
        return None  # with its node went the translation
    ends = Possibilities(end for end in before.expected.possibilities.delivering if end.backend == backend)
    ends = ends or answers({backend: "preserved"}, relayed=before.expected.relayed)
    rule = before.expected.backends.get(backend, "preserved")
    seen = frozenset(before.observed.sources)
    return Expectation(
        possibilities=ends,
        because=Reason(why=Why.CONNECTION_KEPT, endpoints=(backend,)),
        addresses=dict.fromkeys((end.source for end in ends if end.source), seen)
        if seen
        else before.expected.addresses,
        source=rule,
    )


def _keeps_udp_clients(facts: Facts, flow: Flow, met: Translation | None, backend: Endpoint) -> bool:
    """Returns whether a UDP client that was led to ``backend``, and never stops sending, still is. ``met``
    None: it dials no Service any more.
    """
    stays = facts.semantics.udp_stays
    if stays == "while it serves" and backend != Endpoint.of(flow.to.ip, flow.to.port):
        return _is_left(facts, met, flow.to.ip, backend)
    if met is None:
        return False
    if stays == "until it is refused":
        return outcome_at(facts, backend.address, backend.port, "UDP") != "rejected"
    if stays == "while it is chosen":  # and who was silent may be forgotten (docs/semantics 13)
        return backend in choose_endpoints(facts, met) and not facts.state.proxy.ipvsTimeouts.udp
    return any(c.backend == backend and (c.ready or c.draining) for c in met.endpoints.candidates)


def _is_left(facts: Facts, met: Translation | None, ip: str, backend: Endpoint) -> bool:
    """Returns whether kube-proxy leaves the node's entry of a UDP client that dialled ``ip`` and was led to
    ``backend``.
    """
    cleanup = facts.state.proxy.behaviour.udp_cleanup
    if met is None:
        return cleanup != "of what went" or ip not in facts.state.serviceSubnet
    serving = {c.backend for c in met.endpoints.candidates if c.ready or c.draining}
    if serving or cleanup in ("of what went", "of every Service"):
        return backend in serving
    at_node = is_loopback(ip) or any(ip in ips for ips in facts.node_ips.values())
    return cleanup == "of served Services" or at_node


def _to_an_open_connection(end: Possibility) -> Possibility:
    """Returns the end of a new connection as an open TCP connection meets it: a missing route is a passing
    error, and TCP retransmits (RFC 1122 4.2.3.9).
    """
    return replace(end, outcome="dropped") if end.outcome == "unreachable" else end

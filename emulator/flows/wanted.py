"""Puts the expectation that a user wrote (``expect`` in a FlowCheck) in place of what the objects promise.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..controllers.references import container_port, read_backend
from ..model.expectations import (
    Expectation,
    Possibilities,
    ReplyFrom,
    SourceRule,
)
from ..model.flows import Flow
from ..model.frames import Health
from ..model.reasons import Reason, Why
from ..net import Endpoint
from ..objects.config import ASYMMETRIC, FlowExpect
from ..objects.references import ObjectRef
from ..oracle.expectations import Expectations
from ..oracle.promise import answers, just


class UnresolvableError(Exception):
    """Reports a reference of one flow that cannot be resolved: its place in the flow, and the fault."""

    def __init__(self, path: str, what: str) -> None:
        self.path, self.what = path, what


def apply_expect(
    expectation: Expectation,
    wanted: FlowExpect,
    flow: Flow,
    expectations: Expectations,
    *,
    kept: bool = False,
) -> Expectation:
    """Returns ``expectation`` of ``flow`` with the user's words in place of what the objects promise; what
    they leave open stays promised.

    A source, backends or a health check's answer without an outcome want it delivered. Where delivery is
    wanted and none is promised, the backends are those that the Service port has. ``kept``: it goes over an
    open connection, whose endpoint goes on seeing the address that it saw. A reference that leads nowhere is
    an error of :func:`flows_from_checks` already.
    """
    if wanted == FlowExpect():
        return expectation
    result = _wanted(expectation, wanted, flow, expectations, kept=kept)
    return replace(result, promised=expectation)


def _wanted(
    expectation: Expectation, wanted: FlowExpect, flow: Flow, expectations: Expectations, *, kept: bool
) -> Expectation:
    arrived = expectation.outcome == "delivered"
    outcome = wanted.outcome or "delivered"
    said = Reason(
        why=Why.FLOW_CHECK,
        objects=(ObjectRef("FlowCheck", flow.check),),
        outcome=outcome,
        then=(expectation.because,),
    )
    if outcome not in ("delivered", ASYMMETRIC):
        end = just(outcome, late=expectation.possibilities.late, relayed=expectation.relayed)
        return Expectation(possibilities=end, because=said)
    if wanted.backends is not None:
        backends = tuple(
            dict.fromkeys(
                b for text in wanted.backends for b in _backends_named(text, expectation, flow, expectations)
            )
        )
        result = (
            _kept(expectation, backends)
            if kept and arrived
            else expectations.expect_delivered(flow, backends)
        )
    elif not arrived:
        result = replace(expectations.expect_delivered(flow, expectations.may_meet(flow)), must_meet=())
    else:
        result = expectation
    if wanted.source is not None:
        balancer = expectations.state.balancerIP
        if wanted.source == "balancer" and not balancer:
            raise UnresolvableError(
                "source", "there is no balancer: no Service has a load-balancer address of ipMode Proxy"
            )
        result = _with_source(result, wanted.source, balancer or "")
    ends = result.possibilities.answering(_health(expectation.health, wanted))
    result = replace(result, possibilities=ends, unpromised=None)
    return replace(_answered(result, "endpoint" if outcome == ASYMMETRIC else "dialled"), because=said)


def acceptable(promise: Expectation) -> FlowExpect:
    """Returns what a FlowCheck may expect so that a flow passes which keeps ``promise``: the outcome where
    there is one, else nothing, which means what the objects promise.
    """
    if (
        promise.outcomes != {promise.outcome}
        or (promise.asymmetric and promise.symmetric)
        or promise.unpromised
    ):
        return FlowExpect()
    return FlowExpect(outcome=ASYMMETRIC if promise.asymmetric else promise.outcome)


def _answered(expectation: Expectation, reply: ReplyFrom) -> Expectation:
    """Returns ``expectation`` where every attempt is wanted delivered, and answered from the address dialled
    or by the endpoint itself.
    """
    ends = expectation.possibilities.delivering
    return replace(
        expectation, possibilities=Possibilities(dict.fromkeys(replace(end, reply=reply) for end in ends))
    )


def wants_health(wanted: FlowExpect) -> bool:
    """Returns whether a health check's answer is wanted."""
    return wanted.status is not None or wanted.localEndpoints is not None


def _kept(expectation: Expectation, backends: Sequence[Endpoint]) -> Expectation:
    rule: SourceRule = next(iter(expectation.backends.values()), "preserved")
    return replace(
        expectation, possibilities=answers(dict.fromkeys(backends, rule), relayed=expectation.relayed)
    )


def _with_source(expectation: Expectation, source: str, balancer: str) -> Expectation:
    named: Mapping[str, SourceRule] = {"preserved": "preserved", "node": "node", "balancer": "balancer"}
    rule = named.get(source, "preserved")
    addresses = dict(expectation.addresses)
    if balancer:
        addresses["balancer"] = frozenset({balancer})
    if source not in named:
        addresses[rule] = frozenset({source})
    ends = tuple(
        replace(end, source=rule) if end.outcome == "delivered" else end for end in expectation.possibilities
    )
    return replace(
        expectation, possibilities=Possibilities(dict.fromkeys(ends)), addresses=addresses, source=source
    )


def _health(promised: Health | None, wanted: FlowExpect) -> Health | None:
    """Returns the answer that is wanted of a health check. Status and count imply much of each other; what
    neither says stays promised, or open.
    """
    status, count = wanted.status, wanted.localEndpoints
    if not wants_health(wanted):
        return promised
    if count is None:
        count = (
            0
            if status == 503
            else promised.localEndpoints
            if promised and promised.status == status
            else None
        )
    return Health(status or (200 if count else 503), count)


def _backends_named(
    text: str, promised: Expectation, flow: Flow, expectations: Expectations
) -> Sequence[Endpoint]:
    """Returns the backends that "default/web-0", "default/web-0:8080" or "10.244.1.7:8080" stands for.

    Without a port: those that the flow may meet at that Pod, else the port that is dialled at it.
    """
    named = read_backend(text)
    if named is None:
        raise UnresolvableError("backends", f"{text!r} is no backend")
    pod = expectations.state.pod.get(named.pod)
    ip = pod.ip if pod else named.ip
    if named.port:
        return [Endpoint.of(ip, named.port)]
    ips = set(pod.ips) if pod else {ip}
    met = expectations.translation(flow)
    known = [
        *promised.backends,
        *expectations.may_meet(flow),
        *(c.backend for c in (met.endpoints.candidates if met else ())),
    ]
    found = [b for b in dict.fromkeys(known) if b.address in ips]
    if found or flow.protocol == "ICMP":
        return found or [Endpoint.of(ip, 0)]
    if met is None:
        return [Endpoint.of(ip, flow.to.port)]
    target = met.endpoints.port.targetPort
    number = container_port(pod, target, flow.protocol) if pod is not None and target is not None else None
    if number is None:
        raise UnresolvableError("backends", f"{text} is no endpoint of {flow.to.label}: which port is meant?")
    return [Endpoint.of(ip, number)]

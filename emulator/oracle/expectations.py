"""Promises how a flow may end: outcome, the complete set of endpoints, and the source address that each of
them sees.

Read from the objects and the published semantics alone (docs/semantics, cited by section), never from rules,
and never through the code that makes rules. Where a mode of kube-proxy was seen to deviate, the promise is
what it does: each deviation is a row of ``oracle.modes``. Invariants: the same state and flow always give the
same expectation; each endpoint that a flow may be led to has an end of its own in it (:class:`Possibility`).
Pure.

Each step to a promise is a module: ``destination`` finds the Service port that is taken up on a node, the
balancer, or neither; ``choice`` the endpoint list that applies; ``source`` the source address that each
endpoint sees; ``replies`` the way of its reply. ``services`` promises where rules translate, ``relay`` where
a process does, ``direct`` where no Service is dialled, ``arp_flux`` where any node may serve, ``balancer`` in
front of all of them, ``connections`` for those that are open already. ``facts`` are their indexes;
:class:`Expectations` calls them in order.

Where the semantics leave something open, it is settled so:

- An endpoint that no server serves is still an endpoint, which attempts are led to: what comes of that is one
  possibility among those of the others. Those that answer must all be met, if the attempts are enough.
- An endpoint on the translating node's own address (a hostNetwork Pod) is delivered locally and never passes
  POSTROUTING, where masquerading happens: it sees the client's own address even where section 5 says "a
  node's" (measured on kernel 6.18). The node's own packets do pass POSTROUTING on their way to ``lo``, and
  are masqueraded.
- ARP requests that no machine answers mean silence: a client that waits for three seconds is told "host
  unreachable" (:attr:`Possibility.late`).
- A node that stops announcing an address sends no gratuitous ARP: clients outside that have a neighbour entry
  go on to that node (:func:`remember`).
- A reply that is not masqueraded may go past the node that translated the request (``replies``): then the
  client hears from the endpoint itself (:attr:`Possibility.reply`), or the reply is lost on that way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ..cluster.state import ClusterState
from ..model.expectations import Expectation, SourceRule
from ..model.flows import Flow
from ..model.reasons import Reason, Why
from ..model.results import FlowResult
from ..net import Address, Endpoint
from ..objects.references import node_ref
from .arp_flux import promise_under_arp_flux
from .attempts import (
    MAX_ATTEMPTS,
    attempts_for,
    attempts_for_stranger,
    attempts_of,
    attempts_to_meet,
    attempts_to_meet_each,
    chances,
    count_choices,
    find_required,
)
from .balancer import expect_balanced
from .choice import choose_endpoints
from .connections import expect_kept
from .destination import (
    Translation,
    find_legs,
    find_translation,
    is_martian_client,
)
from .direct import direct_likeness, promise_direct
from .endpoints import PortEndpoints, ServiceTable
from .facts import Facts, Likeness
from .health import HealthChecks
from .martian import home_of_hairpin, is_martian
from .parties import Owner
from .promise import Promise, answers, ending
from .relay import promise_relayed
from .services import promise_by_client, promise_by_endpoints, service_likeness
from .source import (
    direct_source,
    explain_source,
    name_source,
    seen_addresses,
    translated_source,
)

__all__ = [
    "MAX_ATTEMPTS",
    "Expectations",
    "Translation",
    "attempts_for",
    "attempts_of",
    "attempts_to_meet_each",
    "expect",
    "remember",
]


def _dialled(flow: Flow) -> tuple[str, int, str]:
    return flow.to.ip, flow.to.port, flow.protocol


class Expectations:
    """Describes the promises of one cluster state. Builds its indexes once; :meth:`expect` then costs
    microseconds.
    """

    def __init__(self, state: ClusterState, asked: Mapping[Address, str] = MappingProxyType({})) -> None:
        """Builds the indexes of ``state``; ``asked`` is the ARP cache of clients outside before
        (:func:`remember`).
        """
        self._facts = Facts(state, asked)
        self._promises: dict[Likeness, Promise] = {}  # flows that are alike share one
        self._unselected: dict[tuple[object, ...], Promise] = {}  # whatever the client's namespace and labels
        # equal values are kept once
        self._addresses: dict[tuple[frozenset[str], ...], Mapping[SourceRule, frozenset[str]]] = {}

    @property
    def state(self) -> ClusterState:
        return self._facts.state

    @property
    def table(self) -> ServiceTable:
        return self._facts.table

    @property
    def owners(self) -> Mapping[str, Owner]:
        return self._facts.owners

    @property
    def health_checks(self) -> HealthChecks:
        return self._facts.health_checks

    def expect(self, flow: Flow, before: FlowResult | None = None) -> Expectation:
        """Returns the expectation of ``flow``. ``before``: it is sent over a connection on which that flow
        was answered.
        """
        expectation = self._expect(flow, before)
        if self._facts.shared and self._facts.shared & self._parties(flow):
            why = Reason(why=Why.SHARED_MACHINE_ADDRESS, mode=self._facts.mode, then=(expectation.because,))
            return replace(expectation, unpromised=why)
        if not self._facts.is_on_link(flow.to.ip):
            return expectation
        at = Endpoint.of(flow.to.ip, flow.to.port)
        return replace(expectation, unpromised=Reason(why=Why.ON_LINK, at=at, then=(expectation.because,)))

    def _parties(self, flow: Flow) -> frozenset[str]:
        """Returns the network namespaces that ``flow`` begins in, passes, or may be led to."""
        met, ips = self.translation(flow), [flow.to.ip]
        names = {flow.client.netns, flow.client.node, self._facts.first_node(flow)}
        if met is not None:
            names.add(met.node)
            ips += [one.backend.address for one in met.endpoints.entries]
        owners = [owner for ip in ips if (owner := self.owners.get(ip))]
        return frozenset(names).union(*({owner.netns, owner.node} for owner in owners))

    def _expect(self, flow: Flow, before: FlowResult | None) -> Expectation:
        met = self.translation(flow)
        if before is not None and (kept := expect_kept(self._facts, flow, met, before)):
            return kept
        if (legs := find_legs(self._facts, flow)) is not None:
            return expect_balanced(self._facts, flow, [self.expect(leg) for leg in legs])
        promise = self._promise(flow, met)
        if (
            flow.client.kind == "external"
            and not flow.via
            and (node := self._facts.remembered.get(flow.to.ip))
        ):
            stale = Reason(
                why=Why.STALE_NEIGHBOUR,
                objects=(node_ref(node),),
                at=Endpoint.of(flow.to.ip, flow.to.port),
                then=(promise.because,),
            )
            promise = replace(promise, because=stale)
        contested = met is not None and self.is_contested(flow)
        if contested and any(p.outcome != "delivered" for p in promise.possibilities):
            promise = replace(promise, unpromised=Reason(why=Why.CONTESTED, then=(promise.because,)))
        elif met is not None and self._is_mixed(flow):
            promise = replace(
                promise,
                unpromised=Reason(why=Why.SHARED_ADDRESS, mode=self._facts.mode, then=(promise.because,)),
            )
        expectation = self._expectation(flow, met, promise)
        if expectation.outcome == "delivered" and (
            answer := self.health_checks.promise(flow.client, flow.to, self.owners.get(flow.to.ip))
        ):
            health, because = answer
            ends = expectation.possibilities.answering(health)
            expectation = replace(expectation, possibilities=ends, because=because)
        return expectation

    def expect_delivered(self, flow: Flow, backends: Sequence[Endpoint]) -> Expectation:
        """Returns the expectation of ``flow`` if it were delivered to exactly ``backends``: the source that
        each would see.
        """
        if legs := find_legs(self._facts, flow):
            return expect_balanced(self._facts, flow, [self.expect_delivered(leg, backends) for leg in legs])
        met = self.translation(flow)
        if met is None:
            rules = {b: direct_source(self._facts, flow.client, b.address) for b in backends}
            promise = Promise(
                answers(rules),
                Reason(why=Why.NO_SERVICE),
                name_source(rules.values()),
                attempts_to_meet_each(len(rules)),
            )
            return self._expectation(flow, met, promise)
        rules = {b: translated_source(self._facts, flow.client, met, b) for b in backends}
        needed = attempts_to_meet(met.endpoints.service, len(rules))
        ends = answers(rules, relayed=self._facts.semantics.relays)
        because = explain_source(self._facts, flow.client, met, rules)
        source = name_source(rules.values())
        return self._expectation(flow, met, Promise(ends, because, source, needed))

    def may_meet(self, flow: Flow) -> tuple[Endpoint, ...]:
        """Returns the endpoints that ``flow`` may end at; where it is promised none, all that its Service
        port has.
        """
        if legs := find_legs(self._facts, flow):
            return tuple(dict.fromkeys(backend for leg in legs for backend in self.may_meet(leg)))
        met = self.translation(flow)
        if met is None:
            return (Endpoint.of(flow.to.ip, flow.to.port),)
        return choose_endpoints(self._facts, met) or tuple(
            c.backend for c in met.endpoints.usable or met.endpoints.candidates
        )

    def with_attempts(self, flow: Flow) -> Flow:
        """Returns ``flow`` with the connections that meet every endpoint that it may, and with those that are
        enough once it has: an endpoint too many would have been met by then.
        """
        if legs := find_legs(self._facts, flow):
            choices = chances([self.expect(leg) for leg in legs])
        else:
            choices = count_choices(self.expect(flow))
        return replace(flow, attempts=attempts_for(choices), enough=attempts_for_stranger(choices))

    def translation(self, flow: Flow) -> Translation | None:
        """Returns the node whose kube-proxy takes ``flow`` up, and for which Service port (with a balancer in
        the path: one of the nodes). None where no Service is dialled, or no node is passed.
        """
        return find_translation(self._facts, flow)

    @property
    def has_unpromised(self) -> bool:
        """Returns whether nothing is promised of some address of a Service or Pod, or of some node."""
        facts = self._facts
        mixed = self.table.mixed and facts.deviates("shares a contested address")
        return bool(self.table.contested or facts.shared or facts.nested or mixed) or any(
            map(facts.is_on_link, self.table.ips)
        )

    def is_contested(self, flow: Flow) -> bool:
        """Returns whether several Services claim the address and port that ``flow`` dials."""
        return _dialled(flow) in self.table.contested

    def _is_mixed(self, flow: Flow) -> bool:
        """Returns whether the mode treats packets to the address dialled as each of several fields asks."""
        return self._facts.deviates("shares a contested address") and _dialled(flow) in self.table.mixed

    def is_nested(self, endpoints: PortEndpoints) -> bool:
        """Returns whether a usable endpoint is itself an address of a Service: then nothing is promised."""
        return endpoints in self._facts.nested

    def is_martian(self, flow: Flow, backend: Endpoint) -> bool:
        """Returns whether ``flow`` gets no connection where it is led to ``backend``, since its packets are
        martian there (docs/semantics 13).
        """
        met = self.translation(flow)
        return met is not None and is_martian(self._facts, flow, met, backend)

    def _promise(self, flow: Flow, met: Translation | None) -> Promise:
        facts = self._facts
        if is_martian_client(facts, flow):
            at = Endpoint.of(flow.client.ip, 0)
            return ending("dropped", Reason(why=Why.MARTIAN_SOURCE, at=at, mode=facts.mode))
        if met is None:
            return self._shared(direct_likeness(facts, flow), lambda: promise_direct(facts, flow))
        if facts.semantics.relays:
            return promise_relayed(facts, flow, met)
        if facts.has_arp_flux(flow):
            return promise_under_arp_flux(
                [self._translated(flow, replace(met, node=node.name)) for node in facts.state.nodes]
            )
        return self._translated(flow, met)

    def _translated(self, flow: Flow, met: Translation) -> Promise:
        by_client = promise_by_client(self._facts, flow, met)
        return by_client or self._shared(
            service_likeness(self._facts, flow, met), lambda: promise_by_endpoints(self._facts, flow, met)
        )

    def _shared(self, likeness: Likeness, promise: Callable[[], Promise]) -> Promise:
        """Returns the promise of all flows of ``likeness``. No policy selects clients yet: the promise is
        worked out once for those that differ in nothing that it depends on today.
        """
        found = self._promises.get(likeness)
        if found is None:
            place, _ = likeness
            if place not in self._unselected:
                self._unselected[place] = promise()
            found = self._promises[likeness] = self._unselected[place]
        return found

    def _expectation(self, flow: Flow, met: Translation | None, promise: Promise) -> Expectation:
        if "delivered" not in promise.possibilities.outcomes:
            return Expectation(
                possibilities=promise.possibilities,
                because=promise.because,
                unpromised=promise.unpromised,
            )
        node = met.node if met else self._facts.first_node(flow)
        if met and home_of_hairpin(self._facts, flow, met, promise.possibilities.sources):
            node = flow.client.node
        addresses = seen_addresses(self._facts, flow, node)
        required = (
            () if flow.connection else find_required(promise.possibilities, flow.attempts, promise.needed)
        )
        return Expectation(
            possibilities=promise.possibilities,
            because=promise.because,
            must_meet=required,
            addresses=self._addresses.setdefault(tuple(addresses.values()), addresses),
            source=promise.source,
            unpromised=promise.unpromised,
        )


def remember(
    asked: Mapping[Address, str], state: ClusterState, flows: Iterable[Flow]
) -> Mapping[Address, str]:
    """Returns the ARP cache of clients outside (address → node) after sending ``flows``; ``asked`` is the
    cache before. A new speaker sends gratuitous ARP, a departing one does not, so stale entries stay.
    """
    outside = {flow.to.ip for flow in flows if flow.client.kind == "external" and not flow.via}
    return {
        ip: state.speakers.get(ip) or asked[ip]
        for ip in sorted(asked.keys() | outside & state.speakers.keys())
    }


def expect(state: ClusterState, flow: Flow) -> Expectation:
    """Returns :meth:`Expectations.expect` of one flow. For many, keep the ``Expectations``."""
    return Expectations(state).expect(flow)

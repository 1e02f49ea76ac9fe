"""Checks the Kubernetes network model's own sentences, each against packets or interfaces. Pure.

Invariant: a sentence that no fact was found for is "unknown", never "pass".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..cluster.state import ClusterState, pod_netns
from ..model.flows import FlowKind
from ..model.journeys import Journey
from ..model.requirements import Breach, Disguised, Misknown, Misplaced, Missed, Sentence, Translated
from ..model.results import FlowResult, Requirement, Verdict
from ..net import addresses_of, family_of
from ..objects.references import ObjectRef, service_ref
from ..oracle.modes import SEMANTICS

_Facts = Iterator[Breach | None]  # None: a fact that bears a sentence out
# unknown: there was nothing to look at, at that moment
_WORST_FIRST: tuple[Verdict, ...] = ("fail", "pass", "unknown")


def check_requirements(
    state: ClusterState, results: Sequence[FlowResult], addresses: Mapping[str, frozenset[str]]
) -> tuple[Requirement, ...]:
    """Returns every sentence with its verdict, those that nothing of the run bears on, too. ``addresses``:
    network namespace → the addresses on its interfaces, 127.0.0.0/8 left out.
    """
    proxy = state.proxy.mode
    return (
        _requirement(
            Sentence.PODS_REACH_PODS,
            _reached(state, results, "pod-to-pod"),
            lost=_is_lost(state, results, "pod-to-pod"),
        ),
        _requirement(
            Sentence.NODES_REACH_PODS,
            _reached(state, results, "node-to-pod"),
            lost=_is_lost(state, results, "node-to-pod"),
        ),
        _requirement(
            Sentence.SAME_ADDRESS,
            _seen_as(state, results, addresses),
            lost=_is_lost(state, results, "pod-to-pod"),
        ),
        _requirement(Sentence.OWN_INTERFACE, _on_own_interface(state, addresses)),
        replace(
            _requirement(Sentence.NO_INTERFACE, _on_no_interface(state, addresses)),
            mode=proxy,
            service_interface=SEMANTICS[proxy].service_interface,
        ),
    )


def merge_requirements(moments: Sequence[Sequence[Requirement]]) -> tuple[Requirement, ...]:
    """Returns one row for each sentence that was asked, of what was found at several moments: a sentence that
    is broken once is broken.
    """
    merged = []
    for rows in (rows for rows in zip(*moments, strict=True) if any(row.asked for row in rows)):
        verdicts = [row.verdict for row in rows]
        verdict = next(verdict for verdict in _WORST_FIRST if verdict in verdicts)
        first = next(row for row in rows if row.verdict == verdict and (row.asked or verdict != "unknown"))
        merged.append(replace(first, checked=sum(row.checked for row in rows)))
    return tuple(merged)


def _requirement(sentence: Sentence, facts: _Facts, *, lost: bool = False) -> Requirement:
    """Returns ``sentence`` with its verdict. ``lost``: evidence about it was lost."""
    found = list(facts)
    against = [fact for fact in found if fact]
    if against:
        return Requirement(
            sentence=sentence,
            verdict="fail",
            checked=len(found),
            breach=against[0],
            more=len(against) - 1,
        )
    if not found:
        return Requirement(sentence=sentence, verdict="unknown", checked=0, asked=lost)
    return Requirement(sentence=sentence, verdict="pass", checked=len(found))


def _direct(
    state: ClusterState, results: Sequence[FlowResult], kind: FlowKind
) -> Iterator[tuple[FlowResult, Journey]]:
    """Yields the journeys of ``kind`` to the address of a Pod other than the client itself."""
    for result in results:
        if _is_direct(state, result, kind) and not _is_doubtful(result):
            for journey in result.journeys:
                yield result, journey


def _is_direct(state: ClusterState, result: FlowResult, kind: FlowKind) -> bool:
    flow = result.flow
    return flow.kind == kind and flow.to.ip in state.pod_by_ip and flow.to.ip != flow.client.ip


def _is_doubtful(result: FlowResult) -> bool:
    """Returns whether packets may have been lost without a fault of the network."""
    return bool(result.observed.lost_frames or (result.silent and result.verdict == "unknown"))


def _is_lost(state: ClusterState, results: Sequence[FlowResult], kind: FlowKind) -> bool:
    """Returns whether the evidence of some flow of ``kind`` to another Pod was lost."""
    direct = (result for result in results if _is_direct(state, result, kind))
    return any(_is_doubtful(result) or not result.journeys for result in direct)


def _reached(state: ClusterState, results: Sequence[FlowResult], kind: FlowKind) -> _Facts:
    """Yields whether each Pod was reached without NAT.

    A changed port is no translation of an address: conntrack gives a connection another source port where it
    would be the same as one that goes on, after DNAT, between the same two ends (nf_nat_core.c:
    get_unique_tuple).
    """
    for result, journey in _direct(state, results, kind):
        promised = result.expected.outcome == "delivered"
        translated = [change for change in journey.changes if change.readdressed]
        if translated:
            yield Translated(result.flow.name, translated[0])
        elif journey.unserved:
            continue  # it came to the Pod, whose server did not take it: no fault of the network
        elif promised and journey.outcome != "delivered":
            yield Missed(result.flow.name, journey.outcome, journey.ending)
        elif journey.source_seen and journey.source_seen != journey.sent.src.address:
            yield Disguised(result.flow.name, journey.source_seen, journey.sent.src.address)
        elif promised or journey.backend:
            yield None


def _seen_as(
    state: ClusterState, results: Sequence[FlowResult], addresses: Mapping[str, frozenset[str]]
) -> _Facts:
    for result, journey in _direct(state, results, "pod-to-pod"):
        if journey.source_seen:
            own = addresses.get(result.flow.client.netns, frozenset())
            client, server = result.flow.client.label, result.flow.to.label
            yield (None if journey.source_seen in own else Misknown(client, own, server, journey.source_seen))


def _on_own_interface(state: ClusterState, addresses: Mapping[str, frozenset[str]]) -> _Facts:
    holders = _holders(addresses)
    for ip, pod in state.pod_by_ip.items():
        if family_of(ip) is not state.family:
            continue  # no address of the other family is built
        elsewhere = [netns for netns in holders.get(ip, ()) if netns != pod_netns(pod)]
        if ip not in addresses.get(pod_netns(pod), ()):
            yield Misplaced(ip, ObjectRef("Pod", pod.key), pod_netns(pod), missing=True)
        elif elsewhere:
            yield Misplaced(ip, ObjectRef("Pod", pod.key), elsewhere[0])
        else:
            yield None


def _on_no_interface(state: ClusterState, addresses: Mapping[str, frozenset[str]]) -> _Facts:
    """Yields a fact for each ClusterIP. Nodes may have them on an interface if the mode needs Service
    addresses to be local (docs/semantics 13).
    """
    allowed = state.node if SEMANTICS[state.proxy.mode].service_interface else ()
    holders = _holders({netns: own for netns, own in addresses.items() if netns not in allowed})
    for service in state.services:
        if service.proxied:
            for ip in addresses_of(state.family, service.spec.clusterIPs):
                yield Misplaced(ip, service_ref(service.key), holders[ip][0]) if ip in holders else None


def _holders(addresses: Mapping[str, frozenset[str]]) -> Mapping[str, list[str]]:
    """Returns the network namespaces that have each address on an interface."""
    holders: dict[str, list[str]] = {}
    for netns, own in addresses.items():
        for ip in own:
            holders.setdefault(ip, []).append(netns)
    return holders

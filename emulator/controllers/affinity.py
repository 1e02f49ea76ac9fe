"""Compares a Pod's affinities and topology spread constraints with the Nodes and with the Pods that are
placed.

Sources: kube-scheduler, ``component-helpers/scheduling/corev1/nodeaffinity``,
``framework/plugins/interpodaffinity/filtering.go`` and ``podtopologyspread/filtering.go``. Invariant: a term
is counted once for each Node and brought up to date with every Pod that is placed, so that placing a Pod does
not scan the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..objects.kinds import (
    LabelSelector,
    LabelSelectorRequirement,
    Node,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    TopologySpreadConstraint,
)
from ..objects.selectors import matches, matches_labels

NAMESPACE_LABEL = "kubernetes.io/metadata.name"  # the label of every Namespace
NO_AFFINITY = "didn't match pod affinity rules"
ANTI_AFFINITY = "didn't match pod anti-affinity rules"
OTHERS_ANTI_AFFINITY = "didn't satisfy existing pods anti-affinity rules"
SPREAD = "didn't match pod topology spread constraints"
SPREAD_LABEL = f"{SPREAD} (missing required label)"

# --- Nodes ------------------------------------------------------------------------------------------------


def wants_node(spec: PodSpec, node: Node) -> bool:
    """Returns whether nodeSelector and the required node affinity of ``spec`` match ``node``."""
    if not matches_labels(spec.nodeSelector, node.metadata.labels):
        return False
    required = (
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution if spec.affinity else None
    )
    return required is None or any(matches_node(term, node) for term in required.nodeSelectorTerms)


def matches_node(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.matchExpressions and not term.matchFields:
        return False
    fields = {"metadata.name": node.name}
    return all(_holds(r, node.metadata.labels) for r in term.matchExpressions) and all(
        _holds(r, fields) for r in term.matchFields
    )


def _holds(requirement: NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    operator, value = requirement.operator, labels.get(requirement.key)
    if operator in ("In", "NotIn"):
        return (value in requirement.values) is (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) is (operator == "Exists")
    try:
        have, bound = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if operator == "Gt" else have < bound


def node_preference(spec: PodSpec, node: Node) -> int:
    """Returns the weight of the preferred node affinities of ``spec`` that match ``node``."""
    preferred = (
        spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution if spec.affinity else ()
    )
    return sum(term.weight for term in preferred if matches_node(term.preference, node))


# --- Pods -------------------------------------------------------------------------------------------------


class _Term(NamedTuple):
    """Describes a set of Pods: those that every part matches. A part: namespaces (None: all) and a selector
    (None: no Pod at all).
    """

    key: str  # equal terms have equal ones
    parts: tuple[tuple[frozenset[str] | None, LabelSelector | None], ...]

    def matches(self, pod: Pod) -> bool:
        return all(
            (namespaces is None or pod.namespace in namespaces)
            and selector is not None
            and matches(selector, pod.metadata.labels)
            for namespaces, selector in self.parts
        )


class _Counted:
    """Counts the Pods on each Node that a term matches."""

    def __init__(self, term: _Term) -> None:
        self.term = term
        self.on: Counter[str] = Counter()


class Neighbourhood:
    """Counts the placed Pods as the terms of Pods still to be placed need them."""

    def __init__(self, nodes: Sequence[Node], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        """Starts empty. ``namespaces`` are the labels of the Namespaces, by name."""
        self._nodes = {node.name: node for node in nodes}
        self._namespaces = namespaces
        # Pods by each of their labels; None: all
        self._placed: dict[tuple[str, str] | None, list[tuple[Pod, str]]] = {}
        self._counted: dict[str, _Counted] = {}
        # by one label that a term demands; None: it demands none
        self._by_label: dict[tuple[str, str] | None, list[_Counted]] = {}
        # anti-affinity of placed Pods: the term, its topologyKey, and the Nodes of the Pods that
        # have it
        self._kept_away: dict[tuple[str, str], tuple[_Term, Counter[str]]] = {}
        self._away_by_label: dict[tuple[str, str] | None, list[tuple[str, str]]] = {}

    def add(self, pod: Pod, node: str) -> None:
        """Counts ``pod`` as placed on ``node``."""
        for label in (None, *pod.metadata.labels.items()):
            self._placed.setdefault(label, []).append((pod, node))
            for counted in self._by_label.get(label, ()):
                if counted.term.matches(pod):
                    counted.on[node] += 1
        for written in _required(pod, "podAntiAffinity"):
            term = self._resolve(written, pod)
            key = (term.key, written.topologyKey)
            if key not in self._kept_away:
                self._kept_away[key] = (term, Counter())
                self._away_by_label.setdefault(_demanded(term), []).append(key)
            self._kept_away[key][1][node] += 1

    def obstacles(
        self, pod: Pod, eligible: Mapping[str, bool], tolerated: Mapping[str, bool]
    ) -> dict[str, str]:
        """Returns why ``pod`` may not run on a node, for each node where these rules forbid it.

        ``eligible``: the nodes that its node affinity matches; ``tolerated``: those whose taints it
        tolerates.
        """
        why: dict[str, str] = {}
        for check in (
            self._spread(pod, eligible, tolerated),
            self._affinity(pod),
            self._anti_affinity(pod),
            self._others(pod),
        ):
            for name, reason in check:
                why.setdefault(name, reason)
        return why

    def preference(self, pod: Pod) -> Counter[str]:
        """Returns the weight of preferred affinities less that of anti-affinities and of crowded spread
        domains, by node.
        """
        score: Counter[str] = Counter()
        affinity = pod.spec.affinity
        for sign, wishes in (
            (1, affinity and affinity.podAffinity),
            (-1, affinity and affinity.podAntiAffinity),
        ):
            for wish in wishes.preferredDuringSchedulingIgnoredDuringExecution if wishes else ():
                counted = self._count(self._resolve(wish.podAffinityTerm, pod))
                for name, number in self._per_node(counted.on, wish.podAffinityTerm.topologyKey):
                    score[name] += sign * wish.weight * number
        for constraint in pod.spec.topologySpreadConstraints:
            if constraint.whenUnsatisfiable == "ScheduleAnyway":
                for name, number in self._per_node(
                    self._count(self._of_constraint(constraint, pod)).on, constraint.topologyKey
                ):
                    score[name] -= number
        return score

    # --- the filters --------------------------------------------------------------------------------------

    def _affinity(self, pod: Pod) -> Iterator[tuple[str, str]]:
        written = _required(pod, "podAffinity")
        if not written:
            return
        terms = [self._resolve(term, pod) for term in written]
        together = self._count(_all_of(terms))
        anywhere = [self._domains(together.on, term.topologyKey) for term in written]
        first_of_its_kind = not any(anywhere) and all(term.matches(pod) for term in terms)
        for name, node in self._nodes.items():
            places = [node.metadata.labels.get(term.topologyKey) for term in written]
            met = all(
                place is not None and place in domain for place, domain in zip(places, anywhere, strict=True)
            )
            if not met and not (first_of_its_kind and None not in places):
                yield name, NO_AFFINITY

    def _anti_affinity(self, pod: Pod) -> Iterator[tuple[str, str]]:
        for written in _required(pod, "podAntiAffinity"):
            counted = self._count(self._resolve(written, pod))
            for name, number in self._per_node(counted.on, written.topologyKey):
                if number:
                    yield name, ANTI_AFFINITY

    def _others(self, pod: Pod) -> Iterator[tuple[str, str]]:
        for label in (None, *pod.metadata.labels.items()):
            for key in self._away_by_label.get(label, ()):
                term, on = self._kept_away[key]
                if term.matches(pod):
                    for name, number in self._per_node(on, key[1]):
                        if number:
                            yield name, OTHERS_ANTI_AFFINITY

    def _spread(
        self, pod: Pod, eligible: Mapping[str, bool], tolerated: Mapping[str, bool]
    ) -> Iterator[tuple[str, str]]:
        constraints = [
            c for c in pod.spec.topologySpreadConstraints if c.whenUnsatisfiable == "DoNotSchedule"
        ]
        keys = [constraint.topologyKey for constraint in constraints]
        for constraint in constraints:
            term = self._of_constraint(constraint, pod)
            on, key = self._count(term).on, constraint.topologyKey
            domains: Counter[str] = Counter()
            for name, node in self._nodes.items():
                counts = constraint.nodeAffinityPolicy == "Ignore" or eligible[name]
                counts &= constraint.nodeTaintsPolicy == "Ignore" or tolerated[name]
                if counts and all(k in node.metadata.labels for k in keys):
                    domains[node.metadata.labels[key]] += on[name]
            least = min(domains.values(), default=0)
            if constraint.minDomains is not None and len(domains) < constraint.minDomains:
                least = 0
            for name, node in self._nodes.items():
                place = node.metadata.labels.get(key)
                if place is None:
                    yield name, SPREAD_LABEL
                elif domains[place] + term.matches(pod) - least > constraint.maxSkew:
                    yield name, SPREAD

    # --- counting -----------------------------------------------------------------------------------------

    def _per_node(self, on: Mapping[str, int], topology_key: str) -> Iterator[tuple[str, int]]:
        """Yields for each Node with the label how many there are in the same topology domain."""
        domains = self._domains(on, topology_key)
        for name, node in self._nodes.items() if domains else ():
            place = node.metadata.labels.get(topology_key)
            if place is not None:
                yield name, domains.get(place, 0)

    def _domains(self, on: Mapping[str, int], topology_key: str) -> dict[str, int]:
        domains: dict[str, int] = {}
        for name, number in on.items():
            node = self._nodes.get(name)
            place = node.metadata.labels.get(topology_key) if node else None
            if place is not None and number:
                domains[place] = domains.get(place, 0) + number
        return domains

    def _count(self, term: _Term) -> _Counted:
        counted = self._counted.get(term.key)
        if counted is None:
            counted = self._counted[term.key] = _Counted(term)
            demanded = _demanded(term)
            for pod, node in self._placed.get(demanded, ()):
                counted.on[node] += term.matches(pod)
            self._by_label.setdefault(demanded, []).append(counted)
        return counted

    def _of_constraint(self, constraint: TopologySpreadConstraint, pod: Pod) -> _Term:
        return _term(
            frozenset({pod.namespace}), _with_keys(constraint.labelSelector, pod, constraint.matchLabelKeys)
        )

    def _resolve(self, term: PodAffinityTerm, pod: Pod) -> _Term:
        """Returns ``term`` of ``pod`` as a set of Pods."""
        selector = _with_keys(term.labelSelector, pod, term.matchLabelKeys, term.mismatchLabelKeys)
        if term.namespaceSelector is None:
            return _term(frozenset(term.namespaces) or frozenset({pod.namespace}), selector)
        if not term.namespaceSelector.matchLabels and not term.namespaceSelector.matchExpressions:
            return _term(None, selector)
        chosen = {
            name
            for name, labels in self._namespaces.items()
            if matches(term.namespaceSelector, {NAMESPACE_LABEL: name, **labels})
        }
        return _term(frozenset(term.namespaces) | chosen, selector)


def _required(pod: Pod, kind: str) -> Sequence[PodAffinityTerm]:
    affinity: PodAffinity | None = getattr(pod.spec.affinity, kind) if pod.spec.affinity else None
    return affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else ()


def _term(namespaces: frozenset[str] | None, selector: LabelSelector | None) -> _Term:
    where = "*" if namespaces is None else ",".join(sorted(namespaces))
    return _Term(f"{where} {selector}", ((namespaces, selector),))


def _all_of(terms: Sequence[_Term]) -> _Term:
    """Returns the Pods that all of ``terms`` match."""
    return _Term(
        " and ".join(term.key for term in terms), tuple(part for term in terms for part in term.parts)
    )


def _demanded(term: _Term) -> tuple[str, str] | None:
    """Returns a label of every Pod that ``term`` matches; None if it demands none."""
    selectors = (selector for _, selector in term.parts if selector is not None)
    return next((label for selector in selectors for label in _demands(selector)), None)


def _demands(selector: LabelSelector) -> Iterator[tuple[str, str]]:
    yield from selector.matchLabels.items()
    yield from (
        (r.key, r.values[0]) for r in selector.matchExpressions if r.operator == "In" and len(r.values) == 1
    )


def _with_keys(
    selector: LabelSelector | None, pod: Pod, same: Iterable[str], other: Iterable[str] = ()
) -> LabelSelector | None:
    """Returns ``selector`` with matchLabelKeys and mismatchLabelKeys spelled out for ``pod``."""
    if selector is None:
        return None
    labels = pod.metadata.labels
    more = [
        LabelSelectorRequirement(key=key, operator="In", values=(labels[key],))
        for key in same
        if key in labels
    ]
    more += [
        LabelSelectorRequirement(key=key, operator="NotIn", values=(labels[key],))
        for key in other
        if key in labels
    ]
    return replace(selector, matchExpressions=(*selector.matchExpressions, *more)) if more else selector

"""The same flows under several modes of kube-proxy, beside each other: what differs, and whether the objects promise that it does.

Imports the model and ``evidence.compare``; pure. A difference is *known* only if every packet kept its mode's promise and the promises
themselves differ in what the packets differ in; it is never known by a flow's name. Chance is no difference: backends are compared as
sets, whose address they see backend by backend, and where the promise is a sample (:attr:`Expectation.partial`) an endpoint that was not met
says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

from emulator.evidence.compare import heard_from
from emulator.probe.model import Backend, Expectation, Flow, FlowResult, Report, SourceRule

Aspect = Literal["outcome", "backends", "source", "reply"]
ASPECTS: tuple[Aspect, ...] = ("outcome", "backends", "source", "reply")
# known: as the objects promise; unexplained: a bug, in podwire or in a mode; unknown: frames or a control were missing
Status = Literal["same", "known", "unexplained", "unknown"]
DIALLED = "dialled"  # the client heard from the address that it had dialled

NOWHERE: Mapping[str, str] = {}

_SECTION = re.compile(r"docs/semantics (\d+)")
_RULES: tuple[SourceRule, ...] = ("node", "preserved")


class ServiceChange(NamedTuple):
    """How much of one Service's traffic the modes treat differently. ``proxied``: kube-proxy has a part in it at all."""

    service: str  # namespace/name; "" stands for everything that is no Service's
    proxied: bool
    flows: int
    changed: int
    unexplained: int  # of the changed ones
    how: Mapping[str, int]  # what changes ("delivered → rejected"), and in how many flows


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFlow:
    """One flow's results by mode, and in which aspects any two of them differ."""

    results: Mapping[str, FlowResult]
    aspects: tuple[Aspect, ...]
    status: Status
    sections: tuple[int, ...] = ()  # of docs/semantics, that a known difference rests on

    @property
    def flow(self) -> Flow:
        return next(iter(self.results.values())).flow

    @property
    def change(self) -> str:
        """What a client notices first, mode by mode: ``delivered → rejected``, ``source node → preserved``; "" if nothing differs."""
        if "outcome" in self.aspects:
            return " → ".join("/".join(sorted(r.observed.outcomes)) or "nothing observed" for r in self.results.values())
        if "source" in self.aspects:
            return "source " + " → ".join("/".join(self.sources(mode)) or "none" for mode in self.results)
        return "other " + " and ".join(self.aspects) if self.aspects else ""

    def sources(self, mode: str) -> tuple[str, ...]:
        """Whose address the backends saw in ``mode``: "preserved", "node", or an address that is neither."""
        labels = _sources(self.results[mode], _Addresses(r.expected for r in self.results.values()))
        return tuple(sorted(frozenset().union(*labels.values())))

    def reply(self, mode: str) -> tuple[str, ...]:
        """Whom the client heard from in ``mode``: "dialled", or the address and port that it had not dialled."""
        return tuple(sorted(_replies(self.results[mode])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The runs of the same flows by mode, in the order in which the modes were asked for."""

    topology: str
    reports: Mapping[str, Report]
    flows: tuple[ComparedFlow, ...]
    guests: Mapping[str, str]  # the modes that ran in user-mode Linux, each with what this machine's kernel lacks

    @property
    def modes(self) -> tuple[str, ...]:
        return tuple(self.reports)

    @property
    def differing(self) -> tuple[ComparedFlow, ...]:
        return tuple(flow for flow in self.flows if flow.status != "same")

    @property
    def ok(self) -> bool:
        """Whether every run is as promised and every difference is known."""
        return all(r.ok for r in self.reports.values()) and all(f.status in ("same", "known") for f in self.flows)

    @property
    def services(self) -> tuple[ServiceChange, ...]:
        """One a Service of the cluster, then one for all other flows, if there are any. Controls are nobody's traffic."""
        by_service: dict[str, list[ComparedFlow]] = {}
        for compared in self.flows:
            if not compared.flow.control:
                by_service.setdefault(compared.flow.to.service, []).append(compared)
        rows = next(iter(self.reports.values())).services
        named = [(name, kind != "ExternalName" and ip != "None") for name, kind, ip, *_ in rows]
        return tuple(
            ServiceChange(
                name,
                proxied,
                len(flows),
                sum(f.status != "same" for f in flows),
                sum(f.status not in ("same", "known") for f in flows),
                dict(Counter(f.change for f in flows if f.change)),
            )
            for name, proxied in [*named, ("", True)]
            if (flows := by_service.get(name, [])) or name
        )


def compare_modes(topology: str, reports: Mapping[str, Report], guests: Mapping[str, str] = NOWHERE) -> Comparison:
    """``reports`` of the same flows by mode, ``guests`` as in :class:`Comparison`. Raises ValueError if their flows are not the same."""
    every = list(reports.values())
    names = [[result.flow.name for result in report.flows] for report in every]
    if any(other != names[0] for other in names):
        raise ValueError("reports of different flows cannot be compared")
    rows = zip(*(report.flows for report in every), strict=True)
    flows = tuple(_compare(dict(zip(reports, row, strict=True))) for row in rows)
    return Comparison(topology=topology, reports=reports, flows=flows, guests=guests)


def _compare(results: Mapping[str, FlowResult]) -> ComparedFlow:
    found: set[Aspect] = set()
    explained = True
    addresses = _Addresses(r.expected for r in results.values())
    for one, other in combinations(results.values(), 2):
        differing = _observed_to_differ(one, other, addresses)
        found |= differing
        explained = explained and differing <= _promised_to_differ(one.expected, other.expected)
    verdicts = {result.verdict for result in results.values()}
    status: Status = "same"
    if found:
        status = "unexplained" if "fail" in verdicts or not explained else "unknown" if "unknown" in verdicts else "known"
    return ComparedFlow(
        results=results,
        aspects=tuple(aspect for aspect in ASPECTS if aspect in found),
        status=status,
        sections=_sections([r.expected for r in results.values()]) if status == "known" else (),
    )


def _sections(promises: Sequence[Expectation]) -> tuple[int, ...]:
    """The sections that say why some mode does not deliver; where all deliver, those that say to whom and as whom."""
    telling = [p for p in promises if p.outcome != "delivered"] or promises
    return tuple(sorted({int(number) for p in telling for number in _SECTION.findall(p.because)}))


def _promised_to_differ(one: Expectation, other: Expectation) -> set[Aspect]:
    """No mode promises that anybody answers but whom the client dialled."""
    common = one.backends.keys() & other.backends.keys()
    differing: dict[Aspect, bool] = {
        "outcome": one.outcome != other.outcome,
        "backends": one.backends.keys() != other.backends.keys(),
        "source": any(one.backends[b] != other.backends[b] for b in common),
    }
    return {aspect for aspect, differs in differing.items() if differs}


def _observed_to_differ(one: FlowResult, other: FlowResult, addresses: _Addresses) -> set[Aspect]:
    seen, also = _sources(one, addresses), _sources(other, addresses)
    heard, too = _replies(one), _replies(other)
    differing: dict[Aspect, bool] = {
        "outcome": one.observed.outcomes.keys() != other.observed.outcomes.keys(),
        "backends": _backends_differ(one, other),
        "source": any(seen[b] != also[b] for b in seen.keys() & also.keys()),
        "reply": bool(heard and too) and heard != too,
    }
    return {aspect for aspect, differs in differing.items() if differs}


def _backends_differ(one: FlowResult, other: FlowResult) -> bool:
    met, also = one.observed.backends.keys(), other.observed.backends.keys()
    if one.expected.partial or other.expected.partial:
        return not (met <= also | other.expected.backends.keys() and also <= met | one.expected.backends.keys())
    return met != also


class _Addresses:
    """What to call an address that a backend saw, by the promises of all modes together: the same word in each of them."""

    def __init__(self, promises: Iterable[Expectation]) -> None:
        self._allowed: dict[SourceRule, frozenset[str]] = dict.fromkeys(_RULES, frozenset())
        self._promised: set[SourceRule] = set()
        for promise in promises:
            self._promised |= set(promise.backends.values())
            for rule, ips in promise.addresses.items():
                self._allowed[rule] |= ips

    def name(self, ip: str) -> str:
        """ "node" or "preserved" (of a node's own packets both may be true: then what some mode promises); ``ip`` itself if it is neither."""
        rules = [rule for rule in _RULES if ip in self._allowed[rule]]
        return next((rule for rule in rules if rule in self._promised), rules[0] if rules else ip)


def _sources(result: FlowResult, addresses: _Addresses) -> Mapping[Backend, frozenset[str]]:
    """Whose address each backend saw."""
    seen: dict[Backend, frozenset[str]] = {}
    for journey in result.journeys:
        if journey.outcome == "delivered" and journey.backend and journey.source_seen:
            seen[journey.backend] = seen.get(journey.backend, frozenset()) | {addresses.name(journey.source_seen)}
    return seen


def _replies(result: FlowResult) -> frozenset[str]:
    return frozenset(DIALLED if heard_from(result.flow, reply) else reply for reply in result.observed.reply_from)

"""Compares the same flows under several modes of kube-proxy: what differs, and whether the objects promise
that it does. Pure.

A difference is *known* only if every packet kept its mode's promise and the promises themselves differ in
what the packets differ in; it is never known by a flow's name, and what a FlowCheck says is no promise of a
mode. Chance is no difference: backends are compared as sets, source addresses backend by backend, and where
the promise is a sample (:attr:`Expectation.partial`) an endpoint that was not met says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal, NamedTuple

from ..flows.wanted import acceptable
from ..model.expectations import SOURCE_RULES, Expectation, SourceRule
from ..model.flows import Flow
from ..model.notices import Notice
from ..model.results import FlowResult, Report
from ..net import Endpoint
from ..objects.config import ASYMMETRIC, FlowExpect
from ..objects.warnings import ManifestWarning
from .compare import answers, heard_from, keeps

Aspect = Literal["outcome", "backends", "source", "reply", "health"]
ASPECTS: tuple[Aspect, ...] = ("outcome", "backends", "source", "reply", "health")
# known: as the objects promise; unwanted: known too, but a FlowCheck says otherwise; unexplained: a bug, in
# podwire or in a mode; unknown: frames or a control were missing
Status = Literal["same", "known", "unwanted", "unexplained", "unknown"]
DIALLED = "dialled"  # the client heard from the address that it had dialled

Promised = Callable[[Flow], Expectation]
NOTHING: Mapping[str, Promised] = {}
NOWHERE: Mapping[str, str] = {}

_OF_ONE_MODE = frozenset({13, 15})  # the sections that say what one mode does otherwise


class ServiceDifference(NamedTuple):
    """Holds how much of one Service's traffic the modes treat differently. ``proxied``: kube-proxy has a part
    in it at all.
    """

    service: str  # namespace/name; "" stands for everything that is no Service's
    proxied: bool
    flows: int
    changed: int
    unwanted: int  # changed flows: known, but a FlowCheck expects otherwise
    unexplained: int  # changed flows: a bug, or unknown
    how: Mapping[str, int]  # the change ("delivered → rejected"), and in how many flows


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFlow:
    """Holds one flow's results by mode, and in which aspects any two of them differ. ``promises``: what the
    objects alone promise, by mode.
    """

    results: Mapping[str, FlowResult]
    promises: Mapping[str, Expectation]
    aspects: tuple[Aspect, ...]
    status: Status

    @property
    def flow(self) -> Flow:
        return next(iter(self.results.values())).flow

    @property
    def telling(self) -> Mapping[str, Expectation]:
        """Returns the promises that explain a difference: not those that deliver as every mode could; unless
        there are no others.
        """
        return {
            mode: p
            for mode, p in self.promises.items()
            if p.outcomes != {"delivered"} or not _OF_ONE_MODE.isdisjoint(p.because.sections)
        } or self.promises

    @property
    def sections(self) -> tuple[int, ...]:
        """Returns the sections of docs/semantics that a known difference rests on."""
        if self.status not in ("known", "unwanted"):
            return ()
        return tuple(sorted({n for promise in self.telling.values() for n in promise.because.sections}))

    @property
    def change(self) -> str:
        """Returns what is noticed first, mode by mode: ``delivered → rejected``, ``source node → preserved``;
        "" if nothing differs.
        """
        if "outcome" in self.aspects or "reply" in self.aspects:
            return " → ".join(self.outcome(mode) for mode in self.results)
        if "source" in self.aspects:
            return "source " + " → ".join("/".join(self.sources(mode)) or "none" for mode in self.results)
        if "health" in self.aspects:
            return "answer " + " → ".join(answers(result) for result in self.results.values())
        return "other " + " and ".join(self.aspects) if self.aspects else ""

    def outcome(self, mode: str) -> str:
        """Returns the outcome in ``mode``; "asymmetric" where the client heard from another address than it
        dialled, and so has no connection.
        """
        heard, outcomes = set(self.reply(mode)), set(self.results[mode].observed.outcomes)
        if heard - {DIALLED}:
            outcomes = outcomes - (set() if DIALLED in heard else {"delivered"}) | {ASYMMETRIC}
        return "/".join(sorted(outcomes)) or "nothing observed"

    def sources(self, mode: str) -> tuple[str, ...]:
        """Returns the source rules that hold for the addresses that the backends saw in ``mode``:
        "preserved", "node", "balancer", or an address that is none of these.
        """
        labels = _sources(self.results[mode], _Addresses(self.promises.values()))
        return tuple(sorted(frozenset().union(*labels.values())))

    @property
    def failed(self) -> tuple[str, ...]:
        """Returns the modes in which the flow is not as expected."""
        return tuple(mode for mode, result in self.results.items() if result.verdict == "fail")

    def reply(self, mode: str) -> tuple[str, ...]:
        """Returns the senders of replies in ``mode``: "dialled", or the address and port that was not
        dialled.
        """
        return tuple(sorted(_replies(self.results[mode])))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Holds the runs of the same flows by mode, in the order in which the modes were asked for."""

    topology: str
    reports: Mapping[str, Report]
    flows: tuple[ComparedFlow, ...]
    # the modes that ran in user-mode Linux, each with what this machine's kernel lacks
    guests: Mapping[str, str]

    @property
    def modes(self) -> tuple[str, ...]:
        return tuple(self.reports)

    @property
    def differing(self) -> tuple[ComparedFlow, ...]:
        return tuple(flow for flow in self.flows if flow.status != "same")

    @property
    def directories(self) -> Mapping[str, str]:
        """Returns mode → the directory of its evidence, of the modes that left captures there."""
        return {
            mode: report.directory
            for mode, report in self.reports.items()
            if report.directory and any(result.captures for result in report.flows)
        }

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Returns the notices of all runs, each once."""
        return tuple(dict.fromkeys(notice for report in self.reports.values() for notice in report.notices))

    @property
    def warnings(self) -> tuple[ManifestWarning, ...]:
        """Returns the warnings of all runs, each once."""
        return tuple(dict.fromkeys(one for report in self.reports.values() for one in report.warnings))

    @property
    def strict(self) -> bool:
        """Returns whether warnings count as failures."""
        return any(report.strict for report in self.reports.values())

    def accepted(self, compared: ComparedFlow, mode: str) -> FlowExpect:
        """Returns what a FlowCheck may expect in ``mode`` so that all flows of one FlowCheck entry
        pass.
        """
        alike = [compared] if not compared.flow.check else self._entries[_entry(compared.flow)]
        first, *others = (acceptable(flow.promises[mode]) for flow in alike)
        return first if all(other == first for other in others) else FlowExpect()

    @cached_property
    def _entries(self) -> Mapping[tuple[str, str, str], list[ComparedFlow]]:
        entries: dict[tuple[str, str, str], list[ComparedFlow]] = {}
        for compared in self.flows:
            entries.setdefault(_entry(compared.flow), []).append(compared)
        return entries

    @property
    def ok(self) -> bool:
        """Returns whether every run is as promised and every difference is known."""
        return all(r.ok for r in self.reports.values()) and all(
            f.status in ("same", "known") for f in self.flows
        )

    @property
    def services(self) -> tuple[ServiceDifference, ...]:
        """Returns a row for each Service of the cluster, then one for all other flows, if there are any.
        Controls count for no Service.
        """
        by_service: dict[str, list[ComparedFlow]] = {}
        for compared in self.flows:
            if not compared.flow.control:
                by_service.setdefault(compared.flow.to.service, []).append(compared)
        rows = next(iter(self.reports.values())).services
        named = [(row.name, row.proxied) for row in rows]
        return tuple(
            ServiceDifference(
                name,
                proxied,
                len(flows),
                sum(f.status != "same" for f in flows),
                sum(f.status == "unwanted" for f in flows),
                sum(f.status in ("unexplained", "unknown") for f in flows),
                dict(Counter(f.change for f in flows if f.change)),
            )
            for name, proxied in [*named, ("", True)]
            if (flows := by_service.get(name, [])) or name
        )


def compare_modes(
    topology: str,
    reports: Mapping[str, Report],
    promised: Mapping[str, Promised] = NOTHING,
    guests: Mapping[str, str] = NOWHERE,
) -> Comparison:
    """Compares ``reports`` of the same flows by mode. ``promised``: by mode, what the objects alone promise
    for a flow, where that is not what the report says since FlowChecks say more; ``guests`` as in
    :class:`Comparison`. Raises ValueError if their flows are not the same.
    """
    every = list(reports.values())
    names = [[result.flow.name for result in report.flows] for report in every]
    if any(other != names[0] for other in names):
        raise ValueError("reports of different flows cannot be compared")
    rows = [
        dict(zip(reports, row, strict=True)) for row in zip(*(report.flows for report in every), strict=True)
    ]
    flows = tuple(
        _compare(
            row, {mode: promised[mode](r.flow) if mode in promised else r.expected for mode, r in row.items()}
        )
        for row in rows
    )
    return Comparison(topology=topology, reports=reports, flows=flows, guests=guests)


def _entry(flow: Flow) -> tuple[str, str, str]:
    """Returns which flow of which FlowCheck ``flow`` comes from. A control comes from none."""
    return ("", "", flow.name) if flow.control else (flow.check, flow.step, flow.entry)


def _compare(results: Mapping[str, FlowResult], promises: Mapping[str, Expectation]) -> ComparedFlow:
    found: set[Aspect] = set()
    explained = True
    addresses = _Addresses(promises.values())
    for one, other in combinations(results, 2):
        differing = _observed_to_differ(
            results[one], results[other], promises[one], promises[other], addresses
        )
        found |= differing
        explained = explained and differing <= _promised_to_differ(promises[one], promises[other])
    return ComparedFlow(
        results=results,
        promises=promises,
        aspects=tuple(aspect for aspect in ASPECTS if aspect in found),
        status=_status(results, promises, explained) if found else "same",
    )


def _status(
    results: Mapping[str, FlowResult], promises: Mapping[str, Expectation], explained: bool
) -> Status:
    """Returns the status of a flow that differs."""
    failed = [mode for mode, result in results.items() if result.verdict == "fail"]
    if not all(_kept(results[mode], promises[mode]) for mode in failed):
        return "unexplained"
    if any(result.verdict == "unknown" for result in results.values()):
        return "unknown"
    if not explained:
        return "unexplained"
    return "unwanted" if failed else "known"


def _kept(result: FlowResult, promise: Expectation) -> bool:
    """Returns whether a result that failed keeps ``promise``: then it is a FlowCheck that says otherwise."""
    return result.expected != promise and keeps(result, promise)


def _promised_to_differ(one: Expectation, other: Expectation) -> set[Aspect]:
    common = one.backends.keys() & other.backends.keys()
    differing: dict[Aspect, bool] = {
        "outcome": len(one.outcomes | other.outcomes) > 1,
        "backends": one.backends.keys() != other.backends.keys(),
        "source": any(one.rules_at(b) != other.rules_at(b) for b in common),
        "reply": bool(one.asymmetric & one.symmetric or other.asymmetric & other.symmetric)
        or (bool(one.asymmetric or other.asymmetric) and _answering(one) != _answering(other)),
        "health": one.health != other.health,
    }
    return {aspect for aspect, differs in differing.items() if differs}


def _answering(promise: Expectation) -> set[Endpoint | None]:
    """Returns the senders that clients hear from: endpoints themselves, or (None) the address dialled."""
    return {*promise.asymmetric, *([None] if promise.symmetric else [])}


def _observed_to_differ(
    one: FlowResult, other: FlowResult, promise: Expectation, too: Expectation, addresses: _Addresses
) -> set[Aspect]:
    seen, also = _sources(one, addresses), _sources(other, addresses)
    heard, also_heard = _replies(one), _replies(other)
    differing: dict[Aspect, bool] = {
        "outcome": _outcomes_differ(one, other, promise, too),
        "backends": _backends_differ(one, other, promise, too),
        "source": any(seen[b] != also[b] for b in seen.keys() & also.keys()),
        "reply": bool(heard and also_heard) and heard != also_heard,
        "health": bool(one.observed.health and other.observed.health)
        and set(one.observed.health) != set(other.observed.health),
    }
    return {aspect for aspect, differs in differing.items() if differs}


def _outcomes_differ(one: FlowResult, other: FlowResult, promise: Expectation, too: Expectation) -> bool:
    """Returns whether the outcomes differ. Where an attempt may end in several ways, which of them were met
    is chance; a difference is an outcome that the other mode has not.
    """
    met, also = one.observed.outcomes.keys(), other.observed.outcomes.keys()
    if len(promise.outcomes) > 1 or len(too.outcomes) > 1:
        return not (met <= also | too.outcomes and also <= met | promise.outcomes)
    return met != also


def _backends_differ(one: FlowResult, other: FlowResult, promise: Expectation, too: Expectation) -> bool:
    met, also = one.observed.backends.keys(), other.observed.backends.keys()
    if promise.partial or too.partial:
        return not (met <= also | too.backends.keys() and also <= met | promise.backends.keys())
    return met != also


class _Addresses:
    """Names an address that a backend saw, by the promises of all modes together: the same word in each of
    them.
    """

    def __init__(self, promises: Iterable[Expectation]) -> None:
        self._allowed: dict[SourceRule, frozenset[str]] = dict.fromkeys(SOURCE_RULES, frozenset())
        self._promised: set[SourceRule] = set()
        for promise in promises:
            self._promised |= set().union(*promise.possibilities.sources.values())
            for rule, ips in promise.addresses.items():
                self._allowed[rule] |= ips

    def name(self, ip: str) -> str:
        """Returns the rule that ``ip`` satisfies (a node's own packets may satisfy two: then what some mode
        promises); ``ip`` itself if none.
        """
        rules = [rule for rule in SOURCE_RULES if ip in self._allowed[rule]]
        return next((rule for rule in rules if rule in self._promised), rules[0] if rules else ip)


def _sources(result: FlowResult, addresses: _Addresses) -> Mapping[Endpoint, frozenset[str]]:
    """Returns the names of the source addresses that each backend saw."""
    seen: dict[Endpoint, frozenset[str]] = {}
    for journey in result.journeys:
        if journey.outcome == "delivered" and journey.backend and journey.source_seen:
            seen[journey.backend] = seen.get(journey.backend, frozenset()) | {
                addresses.name(journey.source_seen)
            }
    return seen


def _replies(result: FlowResult) -> frozenset[str]:
    return frozenset(
        DIALLED if heard_from(result.flow, reply) else str(reply) for reply in result.observed.reply_from
    )

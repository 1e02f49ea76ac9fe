"""Judges journeys against the expectation: one flow's observation and verdict. Pure.

``_RULES`` is the whole judgement, in order: the first rule that finds something gives the verdict and its
finding; if none does, the flow passes. Every attempt must be one of the possibilities, and every endpoint
that must be met was met. Invariant: "fail" rests on frames that were seen; where frames or controls are
missing the verdict is "unknown", never a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..model.expectations import OUTCOMES, Expectation, Possibility
from ..model.findings import Finding, FlowFault
from ..model.flows import Attempt, Flow
from ..model.journeys import Ending, Journey, find_dialled
from ..model.results import FlowResult, Observation, Verdict
from ..net import Endpoint
from ..objects.config import Outcome

# The outcome by the client's error, of an attempt without frames.
_ACCOUNTS: Mapping[str, Outcome] = {
    "": "delivered",
    "ECONNREFUSED": "rejected",
    "timeout": "dropped",
    "EPERM": "dropped",
    "ENETUNREACH": "unreachable",
    "EHOSTUNREACH": "unreachable",
}


def summarise(journeys: Iterable[Journey], lost_frames: int) -> Observation:
    """Returns the observation of ``journeys`` together. Backends, sources and senders of replies are those of
    the delivered ones.
    """
    journeys = list(journeys)
    delivered = [journey for journey in journeys if journey.outcome == "delivered"]
    return Observation(
        outcomes=dict(Counter(journey.outcome for journey in journeys)),
        backends=dict(Counter(journey.backend for journey in delivered if journey.backend)),
        sources=tuple(dict.fromkeys(journey.source_seen for journey in delivered if journey.source_seen)),
        reply_from=tuple(dict.fromkeys(journey.reply_from for journey in delivered if journey.reply_from)),
        lost_frames=lost_frames,
    )


def judge(
    flow: Flow,
    expectation: Expectation,
    journeys: Sequence[Journey | None],
    attempts: Sequence[Attempt],
    lost_frames: int,
    control_verdicts: Mapping[str, Verdict],
    frames: Sequence[int] = (),
    full: Collection[str] = (),
    sole_sctp: Mapping[str, Endpoint] = MappingProxyType({}),
) -> FlowResult:
    """Returns the verdict on ``flow``. ``journeys[i]`` is that of ``attempts[i]``; None: it has none.

    ``lost_frames`` counts what the flow's taps lost, ``control_verdicts`` has the verdicts of other flows by
    name, ``full`` the network namespaces where an accept queue has overflowed, ``sole_sctp`` the endpoints
    that alone speak SCTP on their node (:func:`emulator.traffic.servers.find_sole_sctp`). A result's journeys
    are one of each kind: endpoint, source, outcome, sender of the reply, crafted or by socket.
    """
    traced = [
        (
            _unless_unserved(
                _unless_late(expectation, _unless_hidden(flow, expectation, journey, attempt, sole_sctp)),
                attempt,
                full,
            ),
            attempt,
        )
        for journey, attempt in zip(journeys, attempts, strict=True)
        if journey is not None
    ]
    untraced = [attempt for journey, attempt in zip(journeys, attempts, strict=True) if journey is None]
    answers = dict.fromkeys(attempt.health for _, attempt in traced if attempt.health)
    met = {journey.backend for journey, _ in traced if journey.outcome == "delivered"}
    counted = [
        journey
        for journey, _ in traced
        if not (journey.unserved and journey.outcome == "dropped" and journey.backend in met)
    ]
    observed = replace(summarise(counted, lost_frames), health=tuple(answers))
    case = _Case(flow, expectation, observed, traced, untraced, control_verdicts)
    verdict, finding = _decide(case)
    kinds: dict[tuple[object, ...], Journey] = {}
    for journey, _ in traced:
        kinds.setdefault(
            (journey.backend, journey.source_seen, journey.outcome, journey.reply_from, journey.crafted),
            journey,
        )
    return FlowResult(
        flow=flow,
        expected=expectation,
        observed=observed,
        journeys=tuple(kinds.values()),
        verdict=verdict,
        finding=finding,
        frames=frames,
        silent=_rests_on_silence(case, verdict),
        took=_span(attempts),
    )


def _span(attempts: Sequence[Attempt]) -> int:
    """Returns the nanoseconds from the first attempt to the end of the last."""
    return max((a.finished for a in attempts), default=0) - min((a.started for a in attempts), default=0)


@dataclass(frozen=True, slots=True)
class _Case:
    """Holds all that a rule may look at. ``traced`` has at least one entry for every rule but the first."""

    flow: Flow
    expected: Expectation
    observed: Observation
    traced: Sequence[tuple[Journey, Attempt]]
    untraced: Sequence[Attempt]
    control_verdicts: Mapping[str, Verdict]

    @property
    def delivered(self) -> Iterable[tuple[Journey, Attempt]]:
        return (pair for pair in self.traced if pair[0].outcome == "delivered")


def _unless_hidden(
    flow: Flow,
    expectation: Expectation,
    journey: Journey,
    attempt: Attempt,
    sole_sctp: Mapping[str, Endpoint],
) -> Journey:
    """Returns ``journey`` without its endpoint, where the last tap saw the Service's own address (or the node
    port that a balancer dialled) and the server did not say: the packet was translated behind that tap, for a
    process of that node.
    """
    known = attempt.answer is not None and attempt.answer.local
    dialled = find_dialled(journey.sent.dst, journey.there)
    if known or not flow.to.service or journey.backend != dialled or dialled in expectation.backends:
        return journey
    netns = journey.there[-1].netns if journey.there else ""
    if flow.protocol == "SCTP" and sole_sctp.get(netns) in expectation.backends:
        return replace(journey, backend=sole_sctp[netns])
    endpoints = {server.backend for server in attempt.servers if server.netns == netns}
    if len(endpoints) == 1 and not any(
        b not in endpoints and b.address == next(iter(endpoints)).address for b in expectation.backends
    ):
        # a node's own process: no other endpoint is in that namespace
        return replace(journey, backend=next(iter(endpoints)))
    return replace(journey, backend=None)


def _unless_unserved(journey: Journey, attempt: Attempt, full: Collection[str]) -> Journey:
    """Returns ``journey`` marked, if it came to a real command that did not take it: the network has done its
    part.
    """
    if journey.outcome not in ("dropped", "rejected") or not journey.there:
        return journey
    last, refused = journey.there[-1], journey.outcome == "rejected"
    # the frames do not tell which of a proxy's own connections was this one's
    if attempt.relayed and attempt.servers:
        pods = tuple(sorted({server.pod for server in attempt.servers}))
        ending = Ending(kind="proxy silent", pods=pods, last=last)
        return replace(journey, unserved=pods, outcome="dropped", ending=ending)
    server = next(
        (s for s in attempt.servers if (s.netns, s.backend, "in") == (last.netns, last.dst, last.direction)),
        None,
    )
    if server is None or (refused and (not journey.back or journey.back[0].netns != server.netns)):
        return journey
    if not refused and (journey.back or not (server.own or server.netns in full)):
        return journey  # or a rule of the node has dropped it
    pods = (server.pod,)
    if refused:
        ending = Ending(kind="server refused", pods=pods, endpoint=server.backend, after=journey.ending)
    else:
        ending = Ending(kind="server silent", pods=pods, last=last, full=server.netns in full)
    return replace(journey, unserved=pods, backend=server.backend, ending=ending)


def _unless_late(expectation: Expectation, journey: Journey) -> Journey:
    """Returns ``journey`` as silence, where a kernel says in the end that no neighbour answers its ARP
    requests. That takes three seconds, longer than clients wait, but a packet sent at the end of these is
    refused at once (net/ipv4/arp.c, arp_error_report).
    """
    if not expectation.possibilities.late or not journey.ending.no_neighbour:
        return journey
    ending = Ending(kind="late refusal", after=journey.ending)
    return replace(journey, outcome="dropped", ending=ending)


def _decide(case: _Case) -> tuple[Verdict, Finding | None]:
    """Returns what the first rule that finds something says; where frames were lost it is no proof."""
    verdict, finding = next(
        ((verdict, finding) for rule, verdict in _RULES if (finding := rule(case))), _PASS
    )
    lost = case.observed.lost_frames
    if not lost:
        return verdict, finding
    if finding:
        return "unknown", replace(finding, lost_frames=lost)
    if "dropped" in case.expected.outcomes and "dropped" in case.observed.outcomes:
        return "unknown", Finding(fault=FlowFault.SILENCE, lost_frames=lost)
    if case.untraced:
        return "unknown", Finding(fault=FlowFault.UNFOLLOWED, count=len(case.untraced), lost_frames=lost)
    return verdict, finding


def _rests_on_silence(case: _Case, verdict: Verdict) -> bool:
    """Returns whether the verdict would be another one, or is no proof, if packets were lost without a trace:
    what the other attempts came to breaks no promise, save that an endpoint was not met.
    """
    if verdict != "fail":
        return verdict == "pass" and any(_is_silence(journey) for journey, _ in case.traced)
    heard = [pair for pair in case.traced if not _is_silence(pair[0])]
    in_time = [pair for pair in heard if pair[1].error != "timeout"]
    rules = [rule for rule, verdict in _RULES if verdict == "fail" and rule is not _unmet]
    broken = any(
        rule(replace(case, traced=in_time if rule in (_client_disagrees, _health_differs) else heard))
        for rule in rules
    )
    return len(in_time) < len(case.traced) and not broken


def _is_silence(journey: Journey) -> bool:
    """Returns whether nothing came back, and no server is known to be why: no machine answered, not even an
    ARP request.
    """
    return (journey.outcome == "dropped" and not journey.unserved) or journey.ending.no_neighbour


# --- the rules: a finding, or None ------------------------------------------------------------------------


def _nothing_observed(case: _Case) -> Finding | None:
    if case.traced:
        return None
    errors = tuple(dict.fromkeys(attempt.error for attempt in case.untraced if attempt.error))
    return Finding(fault=FlowFault.UNOBSERVED, seen=errors)


def _control_failed(case: _Case) -> Finding | None:
    failed = next((name for name in case.flow.controls if case.control_verdicts.get(name) == "fail"), "")
    return Finding(fault=FlowFault.CONTROL, control=failed) if failed else None


def _outcome_differs(case: _Case) -> Finding | None:
    wrong = [
        journey
        for journey, _ in case.traced
        if journey.outcome not in ends_of(case.expected, journey) and not journey.unserved
    ]
    if not wrong:
        return None
    return Finding(
        fault=FlowFault.OUTCOME,
        journey=wrong[0],
        count=sum(journey.outcome == wrong[0].outcome for journey in wrong),
        total=len(case.traced),
        expected=next(outcome for outcome in OUTCOMES if outcome in ends_of(case.expected, wrong[0])),
    )


def ends_of(expected: Expectation, journey: Journey) -> frozenset[Outcome]:
    """Returns the outcomes that ``journey`` may have: those of the endpoint that it was led to, if frames
    show which, else any.
    """
    led_to = _led_to(journey)
    if len(expected.outcomes) == 1 or led_to not in expected.endpoints:
        return expected.outcomes
    return frozenset(end.outcome for end in expected.possibilities if end.backend in (led_to, None))


def _led_to(journey: Journey) -> Endpoint | None:
    """Returns the endpoint that ``journey`` was led to; None where no frame shows it."""
    translated = (c.led_to for c in reversed(journey.changes) if c.what in ("DNAT", "relayed"))
    return journey.backend or next(translated, None)


def _backend_outside(case: _Case) -> Finding | None:
    expected = case.expected.backends
    for journey, _ in case.delivered:
        if expected and journey.backend and journey.backend not in expected:
            return Finding(fault=FlowFault.BACKEND, journey=journey)
    return None


def _source_differs(case: _Case) -> Finding | None:
    expected = case.expected
    for journey, _ in case.delivered:
        rules = expected.rules_at(journey.backend)
        allowed = frozenset().union(*(expected.addresses.get(rule, frozenset()) for rule in rules))
        if journey.source_seen and allowed and journey.source_seen not in allowed:
            return Finding(
                fault=FlowFault.SOURCE,
                journey=journey,
                rules=tuple(sorted(rules)),
                allowed=tuple(sorted(allowed)),
            )
    return None


def _reply_from_elsewhere(case: _Case) -> Finding | None:
    for journey, _ in case.delivered:
        if journey.reply_from not in {None, *_meant(case, journey)}:  # None: a real command owes no answer
            return Finding(fault=FlowFault.REPLY, journey=journey)
    return None


def _fits_no_possibility(case: _Case) -> Finding | None:
    """Finds an attempt of which each aspect is possible, but not all of them together."""
    for journey, _ in case.traced:
        if not journey.unserved and not any(
            _fits(end, case.expected, journey) for end in _ends(case, journey)
        ):
            return Finding(fault=FlowFault.COMBINATION, journey=journey)
    return None


def _ends(case: _Case, journey: Journey) -> Iterable[Possibility]:
    """Yields the possibilities of the endpoint that ``journey`` was led to, if frames show which; else
    all.
    """
    led_to = _led_to(journey)
    known = led_to in case.expected.endpoints
    return (end for end in case.expected.possibilities if not known or end.backend in (led_to, None))


def _fits(end: Possibility, expected: Expectation, journey: Journey) -> bool:
    """Returns whether ``journey`` ended as ``end`` says."""
    if journey.outcome != end.outcome:
        return False
    if end.outcome != "delivered":
        return True
    allowed = expected.addresses.get(end.source, frozenset()) if end.source else frozenset[str]()
    meant = journey.sent.dst if end.reply == "dialled" else end.backend
    return (not allowed or journey.source_seen in {None, *allowed}) and journey.reply_from in (None, meant)


def _meant(case: _Case, journey: Journey) -> set[Endpoint | None]:
    """Returns the addresses that the client may hear from: the one that it dialled, or the endpoint's own."""
    expected, backend = case.expected, journey.backend
    itself: set[Endpoint | None] = {backend} if backend in expected.asymmetric else set()
    return itself if itself and backend not in expected.symmetric else itself | {journey.sent.dst}


def _is_asymmetric(case: _Case, journey: Journey) -> bool:
    """Returns whether the client heard from the endpoint itself, as it may: an asymmetric reply, which its
    socket does not take.
    """
    expected, backend = case.expected, journey.backend
    return backend in expected.asymmetric and (
        backend not in expected.symmetric or journey.reply_from == backend
    )


def _server_disagrees(case: _Case) -> Finding | None:
    """Compares the server's own account of the client, of its address and of its name with the frames."""
    names: dict[Endpoint, str] = {}
    for journey, attempt in case.delivered:
        answer, backend = attempt.answer, journey.backend
        if answer is None or backend is None:
            continue
        found = Finding(fault=FlowFault.SERVER_SAW, journey=journey, attempt=attempt)
        if journey.source_seen and answer.client.address != journey.source_seen:
            return found
        if answer.local and answer.local != backend:
            return replace(found, fault=FlowFault.SERVER_REACHED)
        if case.expected.relayed and answer.dialled != answer.local:
            return replace(found, fault=FlowFault.NOT_RELAYED)
        if names.setdefault(backend, answer.pod) != answer.pod:
            return replace(found, fault=FlowFault.SERVER_NAME, seen=(names[backend],))
    return None


def _client_disagrees(case: _Case) -> Finding | None:
    for journey, attempt in case.delivered:
        # a real command that accepted after the client's time-out
        late = attempt.servers and attempt.error == "timeout"
        expected = late or _is_asymmetric(case, journey) or _wavers(case, journey, attempt)
        if attempt.error and journey.reply_from and not expected:
            return Finding(fault=FlowFault.CLIENT_ERROR, journey=journey, attempt=attempt)
    return None


def _wavers(case: _Case, journey: Journey, attempt: Attempt) -> bool:
    """Returns whether the connection was reset by a node that had no part in its handshake, as promised."""
    ends = case.expected.possibilities
    return attempt.error == "ECONNRESET" and any(p.wavers and p.backend == journey.backend for p in ends)


def _health_differs(case: _Case) -> Finding | None:
    """Compares the answer of a health check; a crafted packet opens no connection, and hears none."""
    wanted = case.expected.health
    for journey, attempt in case.delivered:
        if wanted is None or attempt.crafted or (attempt.health and attempt.health.keeps(wanted)):
            continue
        return Finding(fault=FlowFault.HEALTH, journey=journey, attempt=attempt, allowed=(str(wanted),))
    return None


def _server_refused(case: _Case) -> Finding | None:
    """Finds a real command that does not listen."""
    return _count_unserved(case, [j for j, _ in case.traced if j.unserved and j.outcome == "rejected"])


def _server_did_not_accept(case: _Case) -> Finding | None:
    """Finds a real command that takes no connections, or not so many, unless it has shown that it is
    reached.
    """
    met = case.observed.backends
    return _count_unserved(
        case, [j for j, _ in case.traced if j.unserved and j.outcome == "dropped" and j.backend not in met]
    )


def _count_unserved(case: _Case, journeys: Sequence[Journey]) -> Finding | None:
    if not journeys or "delivered" not in case.expected.outcomes:
        return None
    return Finding(fault=FlowFault.SERVER, journey=journeys[0], count=len(journeys), total=len(case.traced))


def _untraced_disagrees(case: _Case) -> Finding | None:
    for attempt in case.untraced:
        if _ACCOUNTS.get(attempt.error) not in case.expected.outcomes and not (
            attempt.crafted and not attempt.error
        ):
            return Finding(fault=FlowFault.UNTRACED, attempt=attempt)
    return None


def _unmet(case: _Case) -> Finding | None:
    unmet = tuple(group for group in case.expected.must_meet if not case.observed.backends.keys() & group)
    return Finding(fault=FlowFault.UNMET, unmet=unmet, total=len(case.traced)) if unmet else None


def _perhaps_unmet(case: _Case) -> Finding | None:
    """Finds an endpoint that was not seen, but may be that of an attempt without a journey, or of one that
    ended behind the last tap.

    Over TCP and UDP the attempts by socket are enough to meet every endpoint. The crafted packet, which no
    server tells its name, is not needed for that.
    """
    by_socket = case.flow.protocol in ("TCP", "UDP")
    hidden = [
        journey
        for journey, attempt in case.delivered
        if journey.backend is None and not (by_socket and attempt.crafted)
    ]
    found = _unmet(case) if hidden or case.untraced else None
    if found is None:
        return None
    if hidden:
        return replace(found, fault=FlowFault.UNMET_HIDDEN, journey=hidden[0], count=len(hidden))
    return replace(found, fault=FlowFault.UNMET_UNTRACED, count=len(case.untraced))


def _nothing_promised(case: _Case) -> Finding | None:
    because = case.expected.unpromised
    return Finding(fault=FlowFault.UNPROMISED, because=because) if because else None


_PASS: tuple[Verdict, Finding | None] = ("pass", None)
_RULES: tuple[tuple[Callable[[_Case], Finding | None], Verdict], ...] = (
    (_nothing_promised, "unknown"),
    (_nothing_observed, "unknown"),
    (_server_refused, "fail"),
    (_control_failed, "unknown"),
    (_outcome_differs, "fail"),
    (_backend_outside, "fail"),
    (_source_differs, "fail"),
    (_reply_from_elsewhere, "fail"),
    (_fits_no_possibility, "fail"),
    (_server_disagrees, "fail"),
    (_client_disagrees, "fail"),
    (_health_differs, "fail"),
    (_untraced_disagrees, "unknown"),
    (_server_did_not_accept, "unknown"),
    (_perhaps_unmet, "unknown"),
    (_unmet, "fail"),
)

"""Journeys beside the expectation: one flow's observation and verdict.

``_RULES`` is the whole judgement, in order: the first rule that has something to say gives the verdict and
its sentence; if none has, the flow passes. Imports the standard library and pure modules of ``probe``.
Invariant: "fail" rests on frames that were seen; where frames or controls are missing the verdict is
"unknown", never a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from emulator.journeys.tokens import parse_endpoint
from emulator.model.expectations import OUTCOMES, Expectation
from emulator.model.flows import Attempt, Flow
from emulator.model.frames import Backend
from emulator.model.journeys import Hop, Journey, find_dialled
from emulator.model.results import FlowResult, Observation, Verdict
from emulator.objects.config import Outcome

# What the error that a client met says of an attempt that no frame can be found for.
_ACCOUNTS: Mapping[str, Outcome] = {
    "": "delivered",
    "ECONNREFUSED": "rejected",
    "timeout": "dropped",
    "EPERM": "dropped",
    "ENETUNREACH": "unreachable",
    "EHOSTUNREACH": "unreachable",
}


# what a kernel says when nobody has answered its ARP requests
_NO_NEIGHBOUR = ("ICMP host unreachable", "no route: EHOSTUNREACH")


def observe(journeys: Iterable[Journey], lost_frames: int) -> Observation:
    """What ``journeys`` together say. Backends, sources and who was heard are those of the delivered ones."""
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
    frames: tuple[int, ...] = (),
    full: Collection[str] = (),
    sole_sctp: Mapping[str, Backend] = MappingProxyType({}),
) -> FlowResult:
    """The verdict on ``flow``. ``journeys[i]`` is that of ``attempts[i]``; None: it has none.

    ``lost_frames`` counts what the flow's taps lost, ``control_verdicts`` has the verdicts of other flows by
    name, ``full`` the network namespaces where an accept queue has overflowed, ``sole_sctp`` the endpoints
    that alone speak SCTP on their node (:func:`emulator.traffic.servers.find_sole_sctp`). A result's journeys
    are one of each kind: endpoint, source, outcome, who was heard, crafted or by socket.
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
    told = [
        journey
        for journey, _ in traced
        if not (journey.unserved and journey.outcome == "dropped" and journey.backend in met)
    ]
    observed = replace(observe(told, lost_frames), health=tuple(answers))
    case = _Case(flow, expectation, observed, traced, untraced, control_verdicts)
    verdict, reason = _decide(case)
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
        reason=reason,
        frames=frames,
        silent=_rests_on_silence(case, verdict),
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """All that a rule may look at. ``traced`` has at least one entry for every rule but the first."""

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
    flow: Flow, expectation: Expectation, journey: Journey, attempt: Attempt, sole_sctp: Mapping[str, Backend]
) -> Journey:
    """``journey`` without its endpoint, where the last tap saw the Service's own address (or the node port
    that a balancer dialled) and the server did not tell: the packet was translated behind that tap, for a
    process of that node.
    """
    told = attempt.answer is not None and attempt.answer.local
    dialled = parse_endpoint(find_dialled(journey.sent[1], journey.there))
    if told or not flow.to.service or journey.backend != dialled or dialled in expectation.backends:
        return journey
    netns = journey.there[-1].netns if journey.there else ""
    if flow.protocol == "SCTP" and sole_sctp.get(netns) in expectation.backends:
        return replace(journey, backend=sole_sctp[netns])
    endpoints = {server.backend for server in attempt.servers if server.netns == netns}
    if len(endpoints) == 1 and not any(
        b not in endpoints and b.ip == next(iter(endpoints)).ip for b in expectation.backends
    ):
        # a node's own process: no other endpoint is in that namespace
        return replace(journey, backend=next(iter(endpoints)))
    return replace(journey, backend=None)


def _unless_unserved(journey: Journey, attempt: Attempt, full: Collection[str]) -> Journey:
    """``journey`` marked, if it came to a real command that did not take it: the network has done its part."""
    if journey.outcome not in ("dropped", "rejected") or not journey.there:
        return journey
    last, refused = journey.there[-1], journey.outcome == "rejected"
    # the frames do not tell which of a proxy's own connections was this one's
    if attempt.relayed and attempt.servers:
        pods = " or ".join(sorted({server.pod for server in attempt.servers}))
        why = f"a proxy let it in ({_place(last)}), and no word of it came in at Pod {pods}, whose server may have refused it or closed at once"
        return replace(journey, unserved=pods, outcome="dropped", evidence=why)
    server = next(
        (
            s
            for s in attempt.servers
            if (s.netns, str(s.backend), "in") == (last.netns, last.dst, last.direction)
        ),
        None,
    )
    if server is None or (refused and (not journey.back or journey.back[0].netns != server.netns)):
        return journey
    if not refused and (journey.back or not (server.own or server.netns in full)):
        return journey  # or a rule of the node has dropped it
    why = (
        f"{journey.evidence}: nothing listens at {server.backend}"
        if refused
        else f"no answer to what came in at {_place(last)}"
    )
    if not refused and server.netns in full:
        why += ": its accept queue was full"
    verb = "refused it" if refused else "did not accept"
    return replace(
        journey,
        unserved=server.pod,
        backend=server.backend,
        evidence=f"the server in Pod {server.pod} {verb} ({why})",
    )


def _unless_late(expectation: Expectation, journey: Journey) -> Journey:
    """``journey`` as silence, where a kernel says in the end that nobody answers its ARP requests: that takes
    three seconds, longer than anybody here waits, but what is sent at the end of these hears it at once
    (net/ipv4/arp.c, arp_error_report).
    """
    if not expectation.possibilities.late or not journey.evidence.startswith(_NO_NEIGHBOUR):
        return journey
    return replace(journey, outcome="dropped", evidence=f"silence, and then {journey.evidence}")


def _decide(case: _Case) -> tuple[Verdict, str]:
    verdict: Verdict
    reason: str
    verdict, reason = next(
        ((verdict, reason) for rule, verdict in _RULES if (reason := rule(case))), ("pass", "")
    )
    lost = case.observed.lost_frames
    if not lost:
        return verdict, reason
    if reason:
        return "unknown", f"the capture lost {_count(lost, 'frame')}, and for want of them perhaps {reason}"
    if "dropped" in case.expected.outcomes and "dropped" in case.observed.outcomes:
        return "unknown", f"the capture lost {_count(lost, 'frame')}, so silence proves nothing"
    if case.untraced:
        return (
            "unknown",
            f"the capture lost {_count(lost, 'frame')}, and {_count(len(case.untraced), 'attempt')} could not be followed",
        )
    return verdict, reason


def _rests_on_silence(case: _Case, verdict: Verdict) -> bool:
    """Whether the verdict would be another one, or is no proof, if packets were lost without a trace: what
    the other attempts came to breaks no promise, save that an endpoint was not met.
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
    """Returns whether nothing came back, and no server is known to be why: nobody answered, not even an ARP
    request.
    """
    return (journey.outcome == "dropped" and not journey.unserved) or journey.evidence.startswith(
        _NO_NEIGHBOUR
    )


# --- the rules: a sentence, or ""
# ------------------------------------------------------------------------------


def _nothing_observed(case: _Case) -> str:
    if case.traced:
        return ""
    errors = ", ".join(dict.fromkeys(attempt.error for attempt in case.untraced if attempt.error))
    return "no attempt was observed" + (f": the client met {errors}" if errors else "")


def _control_failed(case: _Case) -> str:
    failed = next((name for name in case.flow.controls if case.control_verdicts.get(name) == "fail"), "")
    return f"its control “{failed}” failed, so this says nothing of the Service" if failed else ""


def _outcome_differs(case: _Case) -> str:
    wrong = [
        journey
        for journey, _ in case.traced
        if journey.outcome not in ends_of(case.expected, journey) and not journey.unserved
    ]
    if not wrong:
        return ""
    same = sum(journey.outcome == wrong[0].outcome for journey in wrong)
    whose = (
        "it was"
        if same == len(case.traced)
        else f"{same} of {_count(len(case.traced), 'attempt')} {'was' if same == 1 else 'were'}"
    )
    expected = next(outcome for outcome in OUTCOMES if outcome in ends_of(case.expected, wrong[0]))
    return f"{whose} {wrong[0].outcome}, not {expected}: {_how_it_ended(wrong[0])}"


def ends_of(expected: Expectation, journey: Journey) -> frozenset[Outcome]:
    """The outcomes that ``journey`` may have: those of the endpoint that it was led to, if frames show which,
    else any.
    """
    translated = (
        parse_endpoint(c.led_to) for c in reversed(journey.changes) if c.what in ("DNAT", "relayed")
    )
    led_to = journey.backend or next(translated, None)
    if len(expected.outcomes) == 1 or led_to not in expected.endpoints:
        return expected.outcomes
    return frozenset(end.outcome for end in expected.possibilities if end.backend in (led_to, None))


def _backend_outside(case: _Case) -> str:
    expected = case.expected.backends
    for journey, _ in case.delivered:
        if expected and journey.backend and journey.backend not in expected:
            return f"{journey.backend} answered, which is none of its endpoints: {_rewrite(journey, 'DNAT') or _seen_at(journey.there)}"
    return ""


def _source_differs(case: _Case) -> str:
    expected = case.expected
    for journey, _ in case.delivered:
        rules = expected.rules_at(journey.backend)
        allowed = frozenset().union(*(expected.addresses.get(rule, frozenset()) for rule in rules))
        if journey.source_seen and allowed and journey.source_seen not in allowed:
            how = _rewrite(journey, "SNAT")
            return (
                f"{journey.backend or 'the endpoint'} saw {journey.source_seen}, not {' or '.join(sorted(rules))} "
                f"({', '.join(sorted(allowed))}): {how + ', ' if how else ''}{_seen_at(journey.there)}"
            )
    return ""


def _reply_from_elsewhere(case: _Case) -> str:
    for journey, _ in case.delivered:
        if journey.reply_from not in {"", *_meant(case, journey)}:  # "": a real command owes no answer
            return f"the client dialled {journey.sent[1]} and heard from {journey.reply_from}: {_seen_at(journey.back)}"
    return ""


def _meant(case: _Case, journey: Journey) -> set[str]:
    """The addresses that the client may hear from: the one that it dialled, or the endpoint's own."""
    expected, backend = case.expected, journey.backend
    itself = {str(backend)} if backend in expected.astray else set()
    return itself if itself and backend not in expected.straight else itself | {journey.sent[1]}


def _is_astray(case: _Case, journey: Journey) -> bool:
    """Returns whether the client heard from the endpoint itself, as it may, which its socket takes for a
    stranger.
    """
    expected, backend = case.expected, journey.backend
    return backend in expected.astray and (
        backend not in expected.straight or journey.reply_from == str(backend)
    )


def _server_disagrees(case: _Case) -> str:
    """The server's own account of the client, of its address and of its name."""
    names: dict[Backend, str] = {}
    for journey, attempt in case.delivered:
        answer, backend = attempt.answer, journey.backend
        if answer is None or backend is None:
            continue
        client = answer.client.partition(":")[0]
        if journey.source_seen and client != journey.source_seen:
            return f"{answer.pod} says that it saw {client}, the frames say {journey.source_seen}: {_seen_at(journey.there)}"
        if answer.local and answer.local != str(backend):
            return f"{answer.pod} says that it was reached at {answer.local}, the frames say {backend}: {_seen_at(journey.there)}"
        if case.expected.relayed and answer.dialled != answer.local:
            return f"{answer.dialled} was translated to {answer.local} for {answer.pod}, and not relayed: {_seen_at(journey.there)}"
        if names.setdefault(backend, answer.pod) != answer.pod:
            return f"{backend} says that it is {names[backend]}, and then that it is {answer.pod}: {_seen_at(journey.there)}"
    return ""


def _client_disagrees(case: _Case) -> str:
    for journey, attempt in case.delivered:
        # a real command that accepted when nobody waited any more
        late = attempt.servers and attempt.error == "timeout"
        if attempt.error and journey.reply_from and not late and not _is_astray(case, journey):
            return f"the answer came in, and yet the client's socket met {attempt.error}: {_seen_at(journey.back)}"
    return ""


def _health_differs(case: _Case) -> str:
    """What a health check said to those who asked; a crafted packet only knocks."""
    wanted = case.expected.health
    for journey, attempt in case.delivered:
        if wanted is None or attempt.crafted or (attempt.health and attempt.health.keeps(wanted)):
            continue
        said = f"answered {attempt.health}" if attempt.health else "gave no HTTP answer"
        return f"{journey.backend or 'it'} {said}, not {wanted}: {_seen_at(journey.back)}"
    return ""


def _server_refused(case: _Case) -> str:
    """A real command that does not listen."""
    return _count_unserved(case, [j for j, _ in case.traced if j.unserved and j.outcome == "rejected"])


def _server_did_not_accept(case: _Case) -> str:
    """A real command that takes no connections, or not so many, unless it has shown that it is reached."""
    met = case.observed.backends
    return _count_unserved(
        case, [j for j, _ in case.traced if j.unserved and j.outcome == "dropped" and j.backend not in met]
    )


def _count_unserved(case: _Case, journeys: Sequence[Journey]) -> str:
    if not journeys or "delivered" not in case.expected.outcomes:
        return ""
    some = (
        ""
        if len(journeys) == len(case.traced)
        else f" ({len(journeys)} of {_count(len(case.traced), 'attempt')})"
    )
    return journeys[0].evidence + some


def _untraced_disagrees(case: _Case) -> str:
    for attempt in case.untraced:
        if _ACCOUNTS.get(attempt.error) not in case.expected.outcomes and not (
            attempt.crafted and not attempt.error
        ):
            met = f"met {attempt.error}" if attempt.error else "was answered"
            return f"a client {met}, and the frames of that attempt ({_endpoints(attempt)}) cannot be told from others"
    return ""


def _unmet(case: _Case) -> str:
    unmet = [group for group in case.expected.must_meet if not case.observed.backends.keys() & group]
    missing = [" and ".join(sorted(map(str, group))) for group in unmet]
    return f"{', '.join(missing)} never answered in {_count(len(case.traced), 'attempt')}" if missing else ""


def _perhaps_unmet(case: _Case) -> str:
    """An endpoint that was not seen may be the one of an attempt without a journey, or of one that ended
    behind the last tap.

    Over TCP and UDP the attempts by socket are enough to meet every endpoint. The crafted packet, which no
    server tells its name, is not needed for that.
    """
    by_socket = case.flow.protocol in ("TCP", "UDP")
    hidden = [
        journey
        for journey, attempt in case.delivered
        if journey.backend is None and not (by_socket and attempt.crafted)
    ]
    reason = _unmet(case) if hidden or case.untraced else ""
    if not reason:
        return ""
    if hidden:
        ended = "one attempt" if len(hidden) == 1 else _count(len(hidden), "attempt")
        return (
            f"{reason} as far as frames show: {ended} ended behind the last tap, {_seen_at(hidden[0].there)}"
        )
    return f"{reason} that could be followed; {_count(len(case.untraced), 'attempt')} could not"


def _nothing_promised(case: _Case) -> str:
    return "nothing is promised of it" if case.expected.unpromised else ""


_RULES: tuple[tuple[Callable[[_Case], str], Verdict], ...] = (
    (_nothing_promised, "unknown"),
    (_nothing_observed, "unknown"),
    (_server_refused, "fail"),
    (_control_failed, "unknown"),
    (_outcome_differs, "fail"),
    (_backend_outside, "fail"),
    (_source_differs, "fail"),
    (_reply_from_elsewhere, "fail"),
    (_server_disagrees, "fail"),
    (_client_disagrees, "fail"),
    (_health_differs, "fail"),
    (_untraced_disagrees, "unknown"),
    (_server_did_not_accept, "unknown"),
    (_perhaps_unmet, "unknown"),
    (_unmet, "fail"),
)


# --- words
# ----------------------------------------------------------------------------------------------------


def _how_it_ended(journey: Journey) -> str:
    if journey.outcome == "delivered":
        return f"{journey.backend or 'somebody'} answered, {_seen_at(journey.there or journey.back)}"
    refused = journey.outcome != "dropped" and journey.back
    return f"{journey.evidence}, first seen at {_place(journey.back[0])}" if refused else journey.evidence


def _rewrite(journey: Journey, what: str) -> str:
    """The last rewrite of that kind; a proxy gave what it relayed another source and destination."""
    return next((str(change) for change in reversed(journey.changes) if change.what in (what, "relayed")), "")


def _seen_at(hops: Sequence[Hop]) -> str:
    return f"at {hops[-1]}" if hops else "at no hop that was seen"


def _place(hop: Hop) -> str:
    return f"{hop.netns}/{hop.interface} {hop.direction}"


def _endpoints(attempt: Attempt) -> str:
    return f"{Backend(*attempt.src)} → {Backend(*attempt.dst)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

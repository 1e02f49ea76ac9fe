"""Examines the flows of one moment: sends, correlates, judges, and reads the state of the nodes if something
is not as promised.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from ..journeys.correlate import Correlation, correlate
from ..journeys.tokens import find_answering
from ..kernel.apply import Applied, do
from ..kernel.inspect import collect_state, count_overflows, read_addresses
from ..model.expectations import Expectation
from ..model.findings import Reached
from ..model.flows import Attempt, Flow
from ..model.frames import Frame
from ..model.journeys import Journey
from ..model.notices import RunNotice, UnansweredUdp
from ..model.results import FlowResult, Requirement, Verdict
from ..net import Endpoint, Family
from ..report.bundle import netns_on_path
from ..schedule.schedule import Moment, Schedule, rounds
from ..traffic.send import Prober
from ..traffic.servers import find_hidden, find_servers, find_sole_sctp
from ..verdicts.judge import judge
from ..verdicts.limits import doubt
from ..verdicts.requirements import check_requirements
from .live import Live
from .spilled import Journeys

_BUNDLES = 20  # flows that are not as promised and get a bundle of their own


@dataclass(slots=True)
class RunResults:
    """Holds the results of the moments so far."""

    results: list[FlowResult] = field(default_factory=list)
    requirements: list[Sequence[Requirement]] = field(default_factory=list)  # by moment
    # flow that is not as promised → namespace → its state then
    dumps: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    # by open connection (FlowCheck, name): the last result
    answered: dict[tuple[str, str], FlowResult] = field(default_factory=dict)
    limits: dict[Reached, None] = field(default_factory=dict)  # those that made a verdict "unknown"
    # by open TCP connection: the frames that opened it
    kept: dict[tuple[str, str], Sequence[Frame]] = field(default_factory=dict)
    journeys: Journeys = field(default_factory=Journeys)  # those of earlier moments

    def put_away(self) -> None:
        """Puts the journeys of the moments so far where they take little memory."""
        for index in range(self._away, len(self.results)):
            self.results[index] = self.journeys.put(self.results[index])
        self._away = len(self.results)

    _away: int = 0  # how many results are put away


def examine(
    schedule: Schedule, moment: Moment, live: Live, prober: Prober, found: RunResults, *, evidence: bool
) -> None:
    """Sends the flows of ``moment`` and judges them. If ``evidence`` is wanted, keeps the numbers of each
    flow's frames, and the state of the nodes on the path of a flow that is not as promised.
    """
    found.put_away()
    attempts, full = _probe(schedule, moment, live, prober)
    live.note_ended_commands(moment.state)
    live.said += _note_unanswered_udp(attempts)
    with live.clock.phase("correlate"):
        live.recording.finish()
    with prober.chatter():  # clients that never stop sending do not stop for verdicts either
        live.check()
        results = _find_verdicts(schedule, moment, live, attempts, found, full, evidence)
        found.results += results
        requirements = check_requirements(
            moment.state, results, read_addresses(live.applied.namespaces, live.applied.namespaces)
        )
        found.requirements.append(requirements)
        if evidence:
            _dump(results, live.applied, schedule.state.family, found)
        live.recording.begin_moment()


def _probe(
    schedule: Schedule, moment: Moment, live: Live, prober: Prober
) -> tuple[list[Attempt], frozenset[str]]:
    """Returns the attempts, and the network namespaces in which an accept queue has overflowed meanwhile."""
    attempts: list[Attempt] = []
    relayed = {flow.name for flow in moment.flows if schedule.expectations[flow.name].relayed}
    promised = [(flow, schedule.expectations[flow.name]) for flow in moment.flows]
    hidden, servers = find_hidden(moment.state, promised), find_servers(moment.state, promised)
    netns = {server.netns for known in servers.values() for server in known}
    before = count_overflows(live.applied.namespaces, netns)
    with live.clock.phase("probe"):
        for routes, flows in rounds(moment.state, moment.flows):
            do(routes, live.applied)
            send = partial(
                prober.probe, talk=not schedule.pairs, relayed=relayed, hidden=hidden, servers=servers
            )
            attempts += _send(send, flows, schedule.expectations, {*hidden, *servers}, prober, schedule.pairs)
            do([gone for route in routes for gone in route.undo()], live.applied)
    after = count_overflows(live.applied.namespaces, netns)
    return attempts, frozenset(name for name in netns if after[name] > before[name])


def _send(
    send: Callable[..., list[Attempt]],
    flows: Sequence[Flow],
    expectations: Mapping[str, Expectation],
    unseen: Collection[str],
    prober: Prober,
    pairs: bool,
) -> list[Attempt]:
    """Sends the attempts that are enough, and as many again of flows of which an endpoint was not met, until
    all that were planned are sent. Crafted packets go with the first.
    """
    recording, sent, left, crafted = prober.recording, list[Attempt](), list(flows), not pairs
    seen = len(recording.frames)
    while left:
        now = [_part(flow, expectations[flow.name], unseen) for flow in left]
        sent += send(now, crafted=crafted)
        crafted = False
        rest = [
            replace(flow, attempts=flow.attempts - part.attempts)
            for flow, part in zip(left, now, strict=True)
            if part.attempts < flow.attempts
        ]
        if rest:
            recording.drain()
        left = find_missed(rest, expectations, sent, recording.frames[seen:])
        prober.pass_over(sum(flow.attempts for flow in rest) - sum(flow.attempts for flow in left))
    return sent


def _part(flow: Flow, expected: Expectation, unseen: Collection[str]) -> Flow:
    """Returns ``flow`` with the attempts that are sent before it is asked who answered. These are all of
    them if frames cannot show its endpoint (``unseen``), if no endpoint must be met, or if no socket sends
    it: crafted packets are sent once.
    """
    by_socket = flow.protocol in ("TCP", "UDP")
    if not (flow.enough and by_socket and expected.must_meet) or flow.name in unseen:
        return flow
    return replace(flow, attempts=min(flow.attempts, flow.enough))


def find_missed(
    flows: Sequence[Flow],
    expectations: Mapping[str, Expectation],
    sent: Sequence[Attempt],
    frames: Sequence[Frame],
) -> list[Flow]:
    """Returns those of ``flows`` with an endpoint that must be met and that no frame of ``frames`` shows
    answering ``sent``.
    """
    if not flows:
        return []
    names = {flow.name for flow in flows}
    answering = find_answering([attempt for attempt in sent if attempt.flow in names], frames)
    return [
        flow
        for flow in flows
        if any(group.isdisjoint(answering[flow.name]) for group in expectations[flow.name].must_meet)
    ]


def _note_unanswered_udp(attempts: Sequence[Attempt]) -> list[RunNotice]:
    pods = sorted(
        {server.pod for attempt in attempts if attempt.protocol == "UDP" for server in attempt.servers}
    )
    return [UnansweredUdp(pods[0], len(pods) - 1)] if pods else []


def _find_verdicts(
    schedule: Schedule,
    moment: Moment,
    live: Live,
    attempts: Sequence[Attempt],
    found: RunResults,
    full: frozenset[str],
    evidence: bool,
) -> list[FlowResult]:
    with live.clock.phase("correlate"):
        frames = [*chain.from_iterable(found.kept.values()), *live.recording.frames]
        correlation = correlate(attempts, frames)
        _keep(moment.flows, attempts, correlation, frames, found.kept)
    with live.clock.phase("judge"):
        doubted = _doubting(live, found)
        sole_sctp = find_sole_sctp(moment.state)
        lost = live.recording.lost_now()
        numbers = correlation.frames if evidence else {}
        return _judge(
            schedule,
            moment.flows,
            attempts,
            correlation.journeys,
            numbers,
            lost,
            found.answered,
            full,
            sole_sctp,
            doubted,
        )


def _doubting(live: Live, found: RunResults) -> Callable[[FlowResult], FlowResult]:
    """Returns each result, changed to unknown if a limit of the machine, or of a network namespace on the
    flow's path, was met meanwhile.
    """
    machine = live.watch.look()

    def doubted(result: FlowResult) -> FlowResult:
        if not result.silent:
            return result
        reached = (*machine, *(one for netns in netns_on_path(result) for one in live.watch.look_into(netns)))
        found.limits |= dict.fromkeys(reached)
        return doubt(result, reached)

    return doubted


def _keep(
    flows: Sequence[Flow],
    attempts: Sequence[Attempt],
    correlation: Correlation,
    frames: Sequence[Frame],
    kept: dict[tuple[str, str], Sequence[Frame]],
) -> None:
    """Keeps the frames that opened the TCP connections that stay open: later packets on one are recognised by
    them. Its other frames are not kept, however long it is open.
    """
    open_ = {
        flow.name: (flow.check, flow.connection)
        for flow in flows
        if flow.connection and flow.protocol == "TCP"
    }
    openings = {frame.number: frame for frame in frames if "S" in frame.flags} if open_ else {}
    for index, attempt in enumerate(attempts):
        connection = open_.get(attempt.flow)
        if connection is None:
            continue
        if attempt.error:
            kept.pop(connection, None)
        elif index in correlation.frames:
            numbers = correlation.frames[index]
            kept[connection] = [openings[number] for number in numbers if number in openings]


def _dump(results: Sequence[FlowResult], applied: Applied, family: Family, found: RunResults) -> None:
    seen: dict[str, dict[str, str]] = {}
    for result in [result for result in results if result.verdict != "pass"][: _BUNDLES - len(found.dumps)]:
        for netns in netns_on_path(result):
            if netns in applied.namespaces and netns not in seen:
                seen[netns] = collect_state(applied.namespaces, netns, applied.iptables, family)
        found.dumps[result.flow.name] = {
            netns: seen[netns] for netns in netns_on_path(result) if netns in seen
        }


def _judge(
    schedule: Schedule,
    flows: Sequence[Flow],
    attempts: Sequence[Attempt],
    journeys: Mapping[int, Journey],
    frames: Mapping[int, Sequence[int]],
    lost: int,
    answered: dict[tuple[str, str], FlowResult],
    full: frozenset[str],
    sole_sctp: Mapping[str, Endpoint],
    doubted: Callable[[FlowResult], FlowResult],
) -> list[FlowResult]:
    """Returns the results in the order of ``flows``; ``answered`` is updated.

    Controls come first: the verdict on a Service's flow depends on theirs. ``journeys`` and ``frames`` are by
    the attempt's index.
    """
    own: dict[str, list[int]] = {flow.name: [] for flow in flows}
    for index, attempt in enumerate(attempts):
        own[attempt.flow].append(index)
    results: dict[str, FlowResult] = {}
    verdicts: dict[str, Verdict] = {}
    for flow in sorted(flows, key=lambda flow: bool(flow.controls)):
        indexes = own[flow.name]
        connection = (flow.check, flow.connection)
        before = answered.get(connection) if any(attempts[index].continued for index in indexes) else None
        numbers = {number for index in indexes for number in frames.get(index, ())}
        result = judge(
            flow,
            schedule.promise(flow, before) if before else schedule.expectations[flow.name],
            [journeys.get(index) for index in indexes],
            [attempts[index] for index in indexes],
            lost,
            verdicts,
            array("I", sorted(numbers)),  # the capture holds less than 2**32
            full,
            sole_sctp,
        )
        results[flow.name] = result = doubted(result)
        # the server's fault proves nothing
        verdicts[flow.name] = "unknown" if any(j.unserved for j in result.journeys) else result.verdict
        if flow.connection:
            last = answered.pop(connection, None)
            if result.observed.backends:
                answered[connection] = result
            elif last and result.stays_bound:
                answered[connection] = last
    return [results[flow.name] for flow in flows]

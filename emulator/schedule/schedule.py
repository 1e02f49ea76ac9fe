"""Schedules a run: its flows, the promise for each, and the changes of the cluster between them.

Pure: everything here is known before the first packet. Here the planner's operations and the flows meet;
neither depends on the other.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, cast

from ..cluster.scenario import Scenario, Step
from ..cluster.state import ROUTER, ClusterState
from ..errors import InputError, Problem, worded
from ..flows.checks import check_connections, flows_from_checks
from ..flows.derive import all_pairs, derive_flows
from ..flows.mode_differences import derive_mode_differences
from ..flows.wanted import apply_expect
from ..model.expectations import Expectation
from ..model.flows import Flow
from ..model.results import FlowResult
from ..net import Address, host_prefix
from ..objects.config import FlowExpect
from ..oracle.expectations import Expectations, remember
from ..plan.operations import AddRoute, Plan
from ..plan.packed import pack
from ..proxy.planner import ProxyPlanner
from .planner import plan_change, plan_cluster

T = TypeVar("T", bound=Hashable)


class PromiseOf(Protocol):
    """Returns the promise for a flow; ``before``: the flow whose answered connection it uses."""

    def __call__(self, flow: Flow, before: FlowResult | None = None) -> Expectation: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """Describes a point in time: ``plan`` turns the cluster into ``state``, then ``wait`` seconds pass, then
    the flows are sent.
    """

    step: str
    state: ClusterState
    plan: Plan
    flows: tuple[Flow, ...]
    wait: float = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Describes a run. ``flows`` are those of all moments; ``pairs``: all Pods to all Pods and Services, and
    only handshakes.
    """

    scenario: Scenario
    moments: tuple[Moment, ...]
    flows: tuple[Flow, ...]
    promise: PromiseOf
    expectations: Mapping[str, Expectation]  # by flow, as if none used an open connection
    pairs: bool

    @property
    def state(self) -> ClusterState:
        """Returns the cluster at the beginning."""
        return self.scenario.state


def plan_flows(
    scenario: Scenario, *, pairs: bool = False, differences: bool = False
) -> tuple[tuple[Flow, ...], PromiseOf]:
    """Returns the flows to send, and the function that promises their outcome (from the objects, or from the
    user's FlowChecks).

    ``pairs``: all Pods to all Pods and Services, without any steps; ``differences``: with derived flows to
    the places where the modes differ.
    """
    if pairs:
        promised = Expectations(scenario.state)
        nested = {
            endpoints.service.key for endpoints in promised.table.ports if promised.is_nested(endpoints)
        }
        return tuple(
            flow for flow in all_pairs(scenario.state) if flow.to.service not in nested
        ), promised.expect
    flows: list[Flow] = []
    promises = Promises()
    asked: Mapping[Address, str] = {}
    for moment in scenario.moments:
        more = promises.plan(moment, asked, differences and not moment.name)
        asked = remember(asked, moment.state, more)
        flows += more
    check_connections(flows)
    return tuple(flows), promises


def require_flows(scenario: Scenario, flows: Sequence[Flow]) -> None:
    """Raises InputError where FlowChecks leave nothing to send: that would pass on any network."""
    checks = [loaded for moment in scenario.moments for loaded in moment.flowChecks]
    if flows or not checks:
        return
    origin = checks[0].origin
    what = worded("FlowCheck {} sends nothing: no flow, no verdict", checks[0].object.metadata.name)
    hint = "write flows, at first or in a step; --keep stays up without any"
    raise InputError([Problem(origin.file, what, hint, origin.document, "spec", origin.line("spec"))])


class Promises:
    """Promises the outcome of the flows of every moment. One moment's indexes are in memory at a time, and
    equal promises of several moments once.
    """

    def __init__(self) -> None:
        self._equal: dict[Hashable, Hashable] = {}  # parts of promises
        self._alone: dict[str, Expectation] = {}  # by flow, as if none used an open connection
        self._said: dict[str, Mapping[str, FlowExpect]] = {}  # FlowChecks' words, by step and flow
        self._moments: dict[
            str, tuple[ClusterState, Mapping[Address, str]]
        ] = {}  # each index is made of them
        self._latest: tuple[str, Expectations] | None = None

    def plan(self, moment: Step, asked: Mapping[Address, str], differences: bool) -> tuple[Flow, ...]:
        """Returns the flows that are sent at ``moment``. ``asked``: the ARP cache of clients outside."""
        promised = Expectations(moment.state, asked)
        self._moments[moment.name], self._latest = (moment.state, asked), (moment.name, promised)
        flows, self._said[moment.name] = _plan_moment(moment, promised, differences)
        alone = {flow.name: self._promise(flow, promised, None) for flow in flows}
        if moment.name:
            alone = {name: self._share(expectation) for name, expectation in alone.items()}
        self._alone |= alone
        return flows

    def __call__(self, flow: Flow, before: FlowResult | None = None) -> Expectation:
        """Returns the promise for ``flow``; ``before``: the flow whose answered connection it uses."""
        if before is None and (expectation := self._alone.get(flow.name)):
            return expectation
        if self._latest is None or self._latest[0] != flow.step:
            self._latest = flow.step, Expectations(*self._moments[flow.step])
        return self._promise(flow, self._latest[1], before)

    def _share(self, expectation: Expectation) -> Expectation:
        """Returns ``expectation`` with the parts of an equal one of another moment."""
        expectation.possibilities.forget()
        return replace(
            expectation,
            possibilities=self._one(expectation.possibilities),
            must_meet=self._one(expectation.must_meet),
            because=self._one(expectation.because),
        )

    def _one(self, value: T) -> T:
        """Returns the first value that is equal to ``value``."""
        return cast(T, self._equal.setdefault(value, value))

    def _promise(self, flow: Flow, promised: Expectations, before: FlowResult | None) -> Expectation:
        expectation, said = promised.expect(flow, before), self._said[flow.step].get(flow.name)
        if said is None:
            return expectation
        return apply_expect(expectation, said, flow, promised, kept=before is not None)


def _plan_moment(
    moment: Step, promised: Expectations, differences: bool
) -> tuple[tuple[Flow, ...], Mapping[str, FlowExpect]]:
    """Returns the flows that are sent after the step, when the cluster is as ``promised`` knows it, and what
    FlowChecks say of their outcome.
    """
    state = promised.state
    derived: tuple[Flow, ...] = ()
    at_first = not moment.name
    if not moment.flowChecks or (at_first and any(one.object.derive for one in moment.flowChecks)):
        derived = derive_flows(state, promised)
        derived = (*derived, *(derive_mode_differences(promised, derived) if differences else ()))
        if promised.has_unpromised:
            derived = tuple(flow for flow in derived if not promised.expect(flow).unpromised)
    if not moment.flowChecks:
        return derived, {}
    checked, said = flows_from_checks(moment.flowChecks, promised, moment.name)
    names = {flow.name for flow in derived}  # a control may be the same
    return (*(flow for flow in checked if flow.name not in names), *derived), said


def plan_schedule(
    scenario: Scenario, flows: Sequence[Flow], promise: PromiseOf, *, pairs: bool = False
) -> Schedule:
    """Returns the run of ``scenario`` in which just these flows are sent."""
    expectations = {flow.name: promise(flow) for flow in flows}
    moments = _moments(scenario, flows, expectations)
    return Schedule(scenario, moments, tuple(flows), promise, expectations, pairs)


def plan_once(scenario: Scenario, flows: Sequence[Flow], promise: PromiseOf) -> Schedule:
    """Returns the run in which ``flows`` are sent at one moment, through a cluster that is up. Its plan
    changes nothing: :func:`plan_move` leads there.
    """
    expectations = {flow.name: promise(flow) for flow in flows}
    moment = Moment("", scenario.state, Plan(name=scenario.state.name, operations=()), tuple(flows))
    return Schedule(scenario, (moment,), tuple(flows), promise, expectations, pairs=False)


def plan_move(was: Schedule, now: Schedule) -> Plan:
    """Returns what changes the cluster from the first moment of ``was`` to that of ``now``."""
    old, new = was.moments[0], now.moments[0]
    were, are = _meetings(old.flows, was.expectations), _meetings(new.flows, now.expectations)
    return plan_change(old.state, new.state, were, are, ProxyPlanner())


def _moments(
    scenario: Scenario, flows: Sequence[Flow], expectations: Mapping[str, Expectation]
) -> tuple[Moment, ...]:
    """Returns the beginning, and each step after which ``flows`` are sent, or that leads to one of those."""
    at: dict[str, list[Flow]] = {"": []}
    for flow in flows:
        at.setdefault(flow.step, []).append(flow)
    meetings = _meetings(at[""], expectations)
    state, steps, proxy = scenario.state, scenario.steps, ProxyPlanner()
    moments = [Moment("", state, plan_cluster(state, meetings, proxy), tuple(at[""]))]
    last = max((index for index, step in enumerate(steps, 1) if step.name in at), default=0)
    for step in steps[:last]:
        now = tuple(at.get(step.name, ()))
        were, meetings = meetings, _meetings(now, expectations)
        change = plan_change(moments[-1].state, step.state, were, meetings, proxy)
        moments.append(Moment(step.name, step.state, pack(change), now, step.wait))
    return tuple(moments)


def _meetings(flows: Sequence[Flow], expectations: Mapping[str, Expectation]) -> dict[tuple[str, str], None]:
    """Returns the addresses of Pods that send to each other: the client of each flow with the address that it
    dials, and with the endpoints that see it.
    """
    meetings: dict[tuple[str, str], None] = {}
    for flow in flows:
        if flow.client.kind == "pod":
            meetings[flow.client.ip, flow.to.ip] = None
            meetings |= {
                (flow.client.ip, end.address): None
                for end, sees in expectations[flow.name].backends.items()
                if sees == "preserved"
            }
    return meetings


def rounds(state: ClusterState, flows: Sequence[Flow]) -> Iterator[tuple[list[AddRoute], list[Flow]]]:
    """Yields groups of flows that may be sent together. An external client's packet to an address that no
    node has enters through ``via`` because the router has a route there, and it has one such route per
    address at a time.
    """
    together: list[tuple[dict[str, str], list[Flow]]] = [({}, [])]
    for flow in flows:
        if not flow.via or flow.to.ip in state.node_by_ip:
            together[0][1].append(flow)
            continue
        for ways, members in together[1:]:
            if ways.setdefault(flow.to.ip, flow.via) == flow.via:
                members.append(flow)
                break
        else:
            together.append(({flow.to.ip: flow.via}, [flow]))
    for ways, members in together:
        routes = [
            AddRoute(
                netns=ROUTER,
                dst=host_prefix(ip),
                dev="eth0",
                via=Address(state.node[node].internalIPs[0]),
                why=f"{ip} is reached through {node}",
            )
            for ip, node in ways.items()
        ]
        if members:
            yield routes, members

"""Runs a scenario in which Deployments are rolled out, in a cluster that lives as that of ``podwire up``,
with controllers, kubelets and probes, and the flows of a FlowCheck at its moments.

Its later states are not known before it runs, so each moment's flows are planned when it has come.
The scenario that the controllers settle beforehand (:func:`emulator.controllers.settle.play`), in which a
roll-out is over at once, has shown every mistake, and tells how much of the machine is needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from socket import socket
from threading import Event, Thread

from ..cluster.scenario import Scenario, Step
from ..cluster.state import ClusterState
from ..controllers.findings import Findings
from ..controllers.kubelet import Facts, rfc3339
from ..controllers.plane import ControlPlane
from ..controllers.rollout import Progress, progress_of
from ..controllers.settle import send_once
from ..controllers.steps import write_step
from ..errors import Exit, InputError, Problem, UsageError
from ..flows.checks import flows_from_checks
from ..journeys.correlate import correlate
from ..kernel import sandbox
from ..kernel.netns import Entered
from ..model.expectations import Expectation
from ..model.flows import Attempt, Flow
from ..model.results import Requirement
from ..model.timeline import ClusterEvent
from ..net import Address
from ..objects.config import FlowCheck, FlowExpect, FlowStep, Inventory, ProxyMode
from ..objects.kinds import Loaded
from ..oracle.expectations import Expectations, remember
from ..plan.operations import Plan
from ..proxy.backends import backend_of
from ..proxy.planner import ProxyPlanner
from ..report.describe import pod_names
from ..report.output import complain
from ..schedule.planner import plan_cluster
from ..schedule.schedule import Moment, Promises, Schedule, plan_flows, require_flows
from ..serving.identity import Identity
from ..store.manifests import render
from ..store.objects import Key
from ..traffic.send import Prober
from ..traffic.steady import SteadySender
from ..verdicts.traffic import PodPlaces, judge_rollout, judge_traffic
from .announcement import announcement
from .clock import Clock
from .engine import Engine
from .examine import RunResults, examine
from .live import Live
from .probes import Probes
from .reporting import Delivery, make_report, name_pods
from .run import Options, Run, bring_up, exit_code, hand_over, prepare
from .runtime import PodRuntime
from .up import Settings, settled
from .watching import Follower

_BEFORE, _AFTER = 0.5, 0.5  # seconds of traffic before the change, and when all has come to rest
_PATIENCE = 60.0  # seconds for Deployments that a step does not roll out
_LOOK = 0.05  # seconds between two looks at the taps, and at a roll-out


def run_rollouts(
    inventory: Inventory, scenario: Scenario, options: Options, *, proxy_mode: ProxyMode | None, run: bool
) -> int:
    """Runs the ``scenario`` of ``inventory``, prints and writes what ``options`` ask for; returns the exit
    code.
    """
    scripted = _find_script(inventory)
    if options.keep or options.all_pairs:
        option = "--keep" if options.keep else "--all-pairs"
        raise UsageError(
            f"{option} does not go with a FlowCheck that rolls out: podwire up runs such a cluster"
        )
    clock = Clock()
    with clock.phase("plan"):
        flows, promise = plan_flows(scenario)
        require_flows(scenario, flows)
        planned = prepare(scenario, flows, promise, options, clock)
        settings = Settings(
            seed=scenario.state.seed,
            proxy_mode=proxy_mode,
            run=run,
            iptables=options.iptables,
            quiet=options.quiet,
        )
        plane, facts, state = settled(inventory, settings)
        proxy = ProxyPlanner()
        first = Moment("", state, plan_cluster(state, (), proxy), ())
        begin = Scenario(state=state, origins=scenario.origins)
        built = replace(planned, schedule=Schedule(begin, (first,), (), _promise_nothing, {}, pairs=False))
    delivery = Delivery(
        {},
        options.output,
        options.json,
        options.junit,
        planned.directory,
        html=options.html,
        quiet=options.quiet,
    )
    checks = tuple(one for one in inventory.flowChecks if one is scripted or not one.object.steps)
    living = _Living(plane, facts, proxy, checks, scripted)

    def inside(channel: sandbox.Channel) -> Exit:
        started = datetime.now(timezone.utc)
        with bring_up(channel, built, started, lives=True) as live:
            with live.listening(planned.schedule):
                play = _Play(living, live, state, channel, started, built)
                asyncio.run(play.run())
                found, schedule = play.found, play.schedule()
                report = make_report(
                    schedule, live, found, started, strict=options.strict, ignore=options.ignore
                )
                report = replace(report, requirements=(*report.requirements, *play.judged))
                delivery.name_pods(name_pods(schedule))
                report = hand_over(replace(built, schedule=schedule), delivery, report, live, found)
            if options.verbose:
                complain(str(clock))
            return exit_code(delivery, report)

    return sandbox.run(inside)


def _promise_nothing(flow: Flow, before: object = None) -> Expectation:
    raise AssertionError(
        f"no flow is planned before the cluster is there, but {flow.name} is, after {before}"
    )


def _find_script(inventory: Inventory) -> Loaded[FlowCheck]:
    """Returns the FlowCheck with steps. Raises InputError if there are several: a cluster that lives cannot
    begin anew for the next one.
    """
    scripted = [one for one in inventory.flowChecks if one.object.steps]
    if len(scripted) == 1:
        return scripted[0]
    what = "has steps, and so has another FlowCheck, and one of them rolls out"
    hint = "run them one by one: a cluster that lives does not begin anew"
    raise InputError(
        [
            Problem(
                one.origin.file, what, hint, one.origin.document, "spec.steps", one.origin.line("spec.steps")
            )
            for one in scripted[1:]
        ]
    )


@dataclass(frozen=True, slots=True)
class _Living:
    """Holds the cluster before it is built, and what is checked in it: ``checks`` at the beginning."""

    plane: ControlPlane
    facts: Facts
    proxy: ProxyPlanner
    checks: tuple[Loaded[FlowCheck], ...]
    scripted: Loaded[FlowCheck]


class _CapturedEngine(Engine):
    """Changes the kernel while frames are captured."""

    def _change(self, plan: Plan, state: ClusterState) -> None:
        self._live.change(Moment("", state, plan, ()))


@dataclass(slots=True)
class _Traffic:
    """Holds the requests of a step, sent by a thread of their own until ``stop``."""

    flows: tuple[Flow, ...]
    stop: Event = field(default_factory=Event)
    attempts: list[Attempt] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    thread: Thread | None = None


class _Play:
    """Runs the scenario in a cluster that is built. ``judged`` are the requirements of its steps."""

    def __init__(
        self,
        living: _Living,
        live: Live,
        state: ClusterState,
        channel: sandbox.Channel,
        started: datetime,
        run: Run,
    ) -> None:
        self._living, self._live, self._first, self._run = living, live, state, run
        self._channel, self._started = channel, started
        self.found = RunResults()
        self.judged: list[Requirement] = []
        self._promises = Promises()
        self._asked: Mapping[Address, str] = {}  # the ARP cache of clients outside
        self._steps: list[Step] = []
        self._moments: list[Moment] = []
        self._flows: list[Flow] = []
        self._expectations: dict[str, Expectation] = {}
        self._events: list[ClusterEvent] = []
        self._pods: dict[str, str] = {}  # address → namespace/name, of every Pod that was there
        self._nodes: dict[str, str] = {}  # namespace/name → node

    def schedule(self) -> Schedule:
        """Returns what was done so far."""
        begin, *steps = self._steps
        scenario = Scenario(
            state=begin.state,
            flowChecks=begin.flowChecks,
            steps=tuple(steps),
            origins=self._run.schedule.scenario.origins,
        )
        return Schedule(
            scenario,
            tuple(self._moments),
            tuple(self._flows),
            self._promises,
            self._expectations,
            pairs=False,
        )

    async def run(self) -> None:
        """Runs it. Raises InputError where a step names what is not there then."""
        living, live = self._living, self._live
        if live.launcher is None or live.journal is None:
            raise AssertionError("a cluster that lives has a launcher and logs")
        self._engine = engine = _CapturedEngine(
            living.plane,
            living.facts,
            live,
            living.proxy,
            self._first,
            lambda _: False,
            self._tell,
            complain,
        )
        identity = Identity.make([])
        runtime = PodRuntime(engine, live.launcher, live.journal, identity)
        probes = Probes(engine, runtime.run, complain)
        follower = Follower(engine, self._events.append)
        engine.followers += [probes.follow, runtime.follow, follower.look, self._note_pods]
        work = [asyncio.ensure_future(engine.run()), asyncio.ensure_future(self._drain())]
        playing = asyncio.ensure_future(self._play())
        try:
            await asyncio.wait((*work, playing), return_when=asyncio.FIRST_COMPLETED)
            for task in (*work, playing):
                if task.done():
                    task.result()
        finally:
            probes.close()
            runtime.close()
            for task in (*work, playing):
                task.cancel()
            await asyncio.gather(*work, playing, return_exceptions=True)

    def _tell(self, state: ClusterState) -> None:
        self._channel.announce(announcement(state, self._started, False))

    async def _drain(self) -> None:
        """Reads the rings as long as the cluster lives."""
        while True:
            await self._engine.in_kernel(self._live.recording.drain)
            await asyncio.sleep(_LOOK)

    async def _play(self) -> None:
        engine, live = self._engine, self._live
        scripted = self._living.scripted
        await engine.settled()
        await self._rest()
        with closing(
            Prober(
                live.applied.namespaces,
                live.recording,
                self._first.seed,
                fresh_ports=backend_of(self._first).fresh_ports,
                busy=live.busy,
            )
        ) as prober:
            await self._examine("", self._living.checks, prober)
            for index, step in enumerate(scripted.object.steps):
                await self._step(index, step, prober)

    async def _step(self, index: int, step: FlowStep, prober: Prober) -> None:
        scripted, path, engine = self._living.scripted, f"spec.steps[{index}]", self._engine
        flows = FlowCheck(metadata=scripted.object.metadata, flows=step.flows, step=step.name, path=path)
        loaded = replace(scripted, object=flows)
        traffic = await self._begin_traffic(step, loaded) if step.traffic else None
        begin = len(self._events)
        try:
            findings = Findings()
            self._living.plane.now = rfc3339(time.time())
            write_step(
                self._living.plane, step, scripted.object.applied[index], scripted.origin, path, findings
            )
            if findings.problems:
                raise InputError(findings.problems)
            engine.poke()
            await engine.settled()
            if step.rollout:
                key = Key("Deployment", step.rollout.namespace, step.rollout.deployment)
                progress = await self._rolled_out(key)
                self.judged.append(judge_rollout(f"{step.name}, {key}", progress))
            await self._rest()
            await asyncio.sleep(step.wait + (_AFTER if traffic else 0))
        finally:
            if traffic:
                await self._end_traffic(traffic)
        if traffic and step.traffic:
            await self._judge(traffic, self._events[begin:], step.traffic.maxLost)
        await self._examine(f"{scripted.object.metadata.name}, {step.name}", (loaded,), prober, step)

    async def _rolled_out(self, key: Key) -> Progress:
        """Waits until a Deployment is rolled out, or cannot be; returns how far it is then."""
        while True:
            stored = self._living.plane.store.get(key)
            if stored is None:
                return Progress(False, True, f"there is no {key} any more")
            progress = progress_of(render(stored))
            if progress.done or progress.failed:
                await self._engine.settled()
                return progress
            await asyncio.sleep(_LOOK)

    async def _rest(self) -> None:
        """Waits until every Deployment is rolled out, for a time, and no Pod is ending any more."""
        store = self._living.plane.store
        with suppress(asyncio.TimeoutError):
            for one in store.list("Deployment"):
                await asyncio.wait_for(self._rolled_out(one.key), _PATIENCE)
        while any(one.deletionTimestamp and not one.finalizers for one in store.list("Pod")):
            await asyncio.sleep(_LOOK)
        await self._engine.settled()

    # --- traffic ------------------------------------------------------------------------------------------

    async def _begin_traffic(self, step: FlowStep, loaded: Loaded[FlowCheck]) -> _Traffic:
        wanted = step.traffic
        if wanted is None:
            raise AssertionError("there is no traffic to begin")
        plain = tuple(
            replace(flow, expect=FlowExpect(), connection="", attempts=1) for flow in loaded.object.flows
        )
        state = self._engine.state
        check = replace(loaded, object=replace(loaded.object, flows=plain))
        scenario = send_once(state, (check,))
        flows, _ = flows_from_checks(scenario.flowChecks, Expectations(scenario.state))
        traffic = _Traffic(tuple(flow for flow in flows if not flow.control))
        entered = Entered(1, {flow.client.netns for flow in traffic.flows})  # PID 1 is the sandbox's

        def send() -> None:
            try:
                SteadySender(
                    traffic.flows,
                    lambda netns, family, kind: entered.call_in(netns, partial(socket, family, kind)),
                    traffic.attempts.append,
                    rate=wanted.rate,
                    timeout=wanted.timeout,
                    keep=wanted.keepAlive,
                    seed=state.seed,
                ).run(traffic.stop.is_set)
            except Exception as error:
                traffic.errors.append(error)

        traffic.thread = Thread(target=send, daemon=True)
        traffic.thread.start()
        await asyncio.sleep(_BEFORE)
        return traffic

    async def _end_traffic(self, traffic: _Traffic) -> None:
        traffic.stop.set()
        while traffic.thread and traffic.thread.is_alive():
            await asyncio.sleep(_LOOK)
        if traffic.errors:
            raise traffic.errors[0]

    async def _judge(self, traffic: _Traffic, events: Sequence[ClusterEvent], most: int) -> None:
        """Judges the requests, with the frames that were captured meanwhile."""

        def find() -> list[Requirement]:
            recording = self._live.recording
            recording.drain()
            frames = sorted(recording.frames, key=lambda frame: frame.time)
            journeys = correlate(traffic.attempts, frames).journeys
            return [
                judge_traffic(flow, traffic.attempts, journeys, events, places, most)
                for flow in traffic.flows
            ]

        self._note_pods()
        places = PodPlaces(self._pods, self._nodes)
        self.judged += await self._engine.in_kernel(find)

    def _note_pods(self) -> None:
        state = self._engine.state
        self._pods |= pod_names(state)
        self._nodes |= {pod.key: pod.spec.nodeName for pod in state.pods}

    # --- flows --------------------------------------------------------------------------------------------

    async def _examine(
        self, name: str, checks: tuple[Loaded[FlowCheck], ...], prober: Prober, step: FlowStep | None = None
    ) -> None:
        """Sends the flows of ``checks`` at the moment ``name``, and judges them by the objects then."""
        engine = self._engine
        await engine.settled()
        self._note_pods()
        state = engine.state
        if not name:
            state = replace(state, warnings=self._living.plane.warnings(state))
        sent = tuple(replace(one, object=replace(one.object, steps=())) for one in checks)

        def work() -> None:
            scenario = send_once(state, sent)
            moment = Step(
                name=name,
                state=scenario.state,
                flowChecks=scenario.flowChecks,
                wait=step.wait if step else 0,
                rolls=bool(step and step.rollout),
            )
            flows = self._promises.plan(moment, self._asked, False)
            self._asked = remember(self._asked, moment.state, flows)
            self._steps.append(moment)
            self._moments.append(
                Moment(name, scenario.state, Plan(name=state.name, operations=()), flows, moment.wait)
            )
            self._flows += flows
            self._expectations |= {flow.name: self._promises(flow) for flow in flows}
            examine(
                self.schedule(),
                self._moments[-1],
                self._live,
                prober,
                self.found,
                evidence=self._run.evidence,
            )

        await engine.in_kernel(work)

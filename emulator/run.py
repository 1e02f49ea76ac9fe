"""One run from cluster state to evidence: build, probe, correlate, judge, report.

Everything that touches the kernel happens inside the sandbox, in :func:`_inside`; the rest is the pure rooms' work, in order. This module only
wires them together; ``cli`` decides what a user asked for.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol, TypeVar

from emulator import __version__, sandbox
from emulator.control.state import BALANCER, ROUTER, SWITCH, ClusterState, pod_netns
from emulator.errors import Exit, KernelError, MissingCapabilityError, printable
from emulator.plan.operations import AddNetns, AddRoute, Plan
from emulator.planner import plan_change, plan_cluster
from emulator.podnet import plan_all_pairs
from emulator.probe.checks import apply_expect, check_connections, flows_from_checks
from emulator.probe.derive import MOST_PORTS, all_pairs, count_represented, derive_flows
from emulator.probe.edges import edge_flows
from emulator.probe.expect import Expectations
from emulator.probe.model import Attempt, Expectation, Flow, FlowResult, Report, Requirement, Verdict


class Promise(Protocol):
    """What is promised for a flow; ``before``: it is sent over a connection on which that flow was answered."""

    def __call__(self, flow: Flow, before: FlowResult | None = None) -> Expectation: ...


T = TypeVar("T")

if TYPE_CHECKING:
    import subprocess

    from emulator.kernel.apply import Applied
    from emulator.probe.correlate import Correlation
    from emulator.probe.send import Prober, Recording
    from emulator.workload.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asks of a run. ``captures`` None: no evidence is written; ``iptables`` "" is "what works"."""

    output: str = "table"
    json: Path | None = None
    junit: Path | None = None
    captures: Path | None = None
    all_pairs: bool = False
    keep: bool = False
    iptables: str = ""
    verbose: int = 0


@dataclass(slots=True)
class Clock:
    """Where the time went: seconds by phase, in order."""

    phases: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0) + time.monotonic() - begin

    def __str__(self) -> str:
        rows = [f"{name} {seconds:.2f}" for name, seconds in self.phases.items()]
        return f"{', '.join(rows)}; together {time.monotonic() - self.started:.2f} s"


def run_cluster(state: ClusterState, options: Options) -> int:
    """Run ``state`` and print and write everything that ``options`` ask for; returns the exit code."""
    clock = Clock()
    with clock.phase("plan"):
        flows, promise = plan_flows(state, pairs=options.all_pairs)
        run = _prepare(state, flows, promise, options, clock)
    return sandbox.run(lambda channel: _inside(channel, run, lambda report: _show(run, report)))


def observe(state: ClusterState, flows: Sequence[Flow], promise: Promise, options: Options) -> Report:
    """Run ``state`` with just these flows: the report, with nothing printed; evidence is written as ``options`` ask for."""
    run = _prepare(state, flows, promise, options, Clock())
    return sandbox.run(lambda channel: _inside(channel, run, lambda report: _timed(run, report)))


def plan_flows(state: ClusterState, *, pairs: bool = False, edges: bool = False) -> tuple[tuple[Flow, ...], Promise]:
    """What to send, and what the objects (or the user's FlowChecks) promise for a flow.

    ``pairs``: all Pods to all Pods and Services, without any steps; ``edges``: what is derived goes to the edges of the semantics too.
    """
    if pairs:
        return all_pairs(state), Expectations(state).expect
    flows, promise = _plan_moment(state, "", edges)
    promises = {"": promise}
    for step in state.steps:
        more, promises[step.name] = _plan_moment(step.state, step.name, False)
        flows = (*flows, *more)
    check_connections(flows)
    return flows, lambda flow, before=None: promises[flow.step](flow, before)


def _plan_moment(state: ClusterState, step: str, edges: bool) -> tuple[tuple[Flow, ...], Promise]:
    """The flows that are sent when the cluster is as in ``state``, after the step of that name."""
    promised = Expectations(state)
    if not state.flowChecks:
        flows = derive_flows(state, promised)
        return (*flows, *(edge_flows(promised, flows) if edges else ())), promised.expect
    flows, said = flows_from_checks(state, promised, step)

    def promise(flow: Flow, before: FlowResult | None = None) -> Expectation:
        expectation = promised.expect(flow, before)
        if flow.name not in said:
            return expectation
        return apply_expect(expectation, said[flow.name], flow, promised, kept=before is not None)

    return flows, promise


def evidence_directory(state: ClusterState, options: Options) -> Path | None:
    """Where a run's evidence goes; None: nowhere."""
    from emulator.evidence.captures import slug

    return options.captures / slug(state.name) if options.captures else None


def _prepare(state: ClusterState, flows: Sequence[Flow], promise: Promise, options: Options, clock: Clock) -> _Run:
    """Everything that can be known before a sandbox is made, and files that can be written."""
    from emulator.evidence import files

    directory = evidence_directory(state, options)
    if directory:
        files.check_writable(directory)
    for path in (options.json, options.junit):
        if path:
            files.check_writable_file(path)
    plan = plan_cluster(state)
    if options.all_pairs:
        plan = replace(plan, operations=(*plan.operations, *plan_all_pairs(state)))
    moments = _moments(state, plan, flows)
    if options.verbose > 1:
        for moment in moments:
            _print_plan(moment.plan)
    return _Run(state, moments, tuple(flows), promise, {flow.name: promise(flow) for flow in flows}, options, directory, clock)


def _moments(state: ClusterState, plan: Plan, flows: Sequence[Flow]) -> tuple[_Moment, ...]:
    """The beginning, made by ``plan``, and the steps that ``flows`` are sent after, or that lead to one of those."""
    at: dict[str, list[Flow]] = {"": []}
    for flow in flows:
        at.setdefault(flow.step, []).append(flow)
    moments = [_Moment("", state, plan, tuple(at[""]))]
    last = max((index for index, step in enumerate(state.steps, 1) if step.name in at), default=0)
    for step in state.steps[:last]:
        change = plan_change(moments[-1].state, step.state)
        moments.append(_Moment(step.name, step.state, change, tuple(at.get(step.name, ())), step.wait))
    return tuple(moments)


def _print_plan(plan: Plan) -> None:
    from emulator.plan.shell import shell_commands

    for operation in plan.operations:
        print(f"# {operation.why}\n{shell_commands(operation)}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Moment:
    """A point in time: ``plan`` makes the cluster what ``state`` is, then ``wait`` seconds pass, then the flows are sent."""

    step: str
    state: ClusterState
    plan: Plan
    flows: tuple[Flow, ...]
    wait: float = 0


@dataclass(frozen=True, slots=True)
class _Run:
    """``state`` is the one at the beginning, ``flows`` those of all moments."""

    state: ClusterState
    moments: tuple[_Moment, ...]
    flows: tuple[Flow, ...]
    promise: Promise
    expectations: Mapping[str, Expectation]  # of the flows, none of which goes over an open connection yet
    options: Options
    directory: Path | None
    clock: Clock


# --- inside the sandbox -----------------------------------------------------------------------------------


def _inside(channel: sandbox.Channel, run: _Run, then: Callable[[Report], T]) -> T:
    """Build, probe at every moment, and write; then ``then``, while everything is still up."""
    from emulator.kernel.ipvs import require_ipvs
    from emulator.probe.send import Prober

    state, options = run.state, run.options
    started = datetime.now(timezone.utc)
    _raise_descriptor_limit()
    gc.disable()  # a process of seconds that holds millions of frames: looking for cycles among them costs more than they could free
    channel.announce(_announcement(state, started))
    with run.clock.phase("build"):
        if state.proxy.mode == "nftables" and not shutil.which("nft"):
            raise MissingCapabilityError("the tool nft", "apt-get install nftables")
        if state.proxy.mode == "ipvs":
            require_ipvs()
        applied = _apply(run.moments[0].plan, options.iptables)
        applied.wait_until_up()
    with TemporaryDirectory(dir="/run") as logs:
        live = _Live(applied, options.all_pairs, Path(logs), run.clock)
        try:
            live.begin(state)
            findings = _Findings()
            with progress(len(run.flows)) as step:
                prober = Prober(applied.namespaces, live.recording, state.seed, step, fresh_ports=state.proxy.mode == "ipvs")
                for moment in run.moments:
                    if moment is not run.moments[0]:
                        with prober.chatter():
                            live.change(moment)
                            prober.rest(moment.wait)
                        live.run_commands(moment.state)
                        channel.announce(_announcement(moment.state, started))
                    _examine(run, moment, live, prober, findings)
            report = _report(run, live, findings, started)
            with run.clock.phase("evidence"):
                report = _write_evidence(run, live, report, findings)
        finally:
            with run.clock.phase("tear-down"):
                live.taps.close()
        return then(report)


class _Live:
    """A cluster that runs: what the kernel holds of it, what runs beside, and what is captured."""

    def __init__(self, applied: Applied, all_pairs: bool, logs: Path, clock: Clock) -> None:
        from emulator.kernel.ring import Taps
        from emulator.probe.send import Recording

        self.applied, self.logs = applied, logs
        self._all_pairs, self._clock = all_pairs, clock
        self._workers: list[Worker] = []
        self.commands: dict[str, subprocess.Popen[bytes]] = {}
        self.answered: dict[tuple[str, str], FlowResult] = {}  # of each connection that is open, by FlowCheck and name, the last result
        self.said: list[str] = []  # what the kernel refused, and commands that do not listen
        self.taps = Taps()
        self.recording = Recording(self.taps)

    def begin(self, state: ClusterState) -> None:
        """Start what runs beside the rules that are loaded, and capture from now on."""
        self._workers = _workers(state, self.applied)
        self._tell(state)
        self.run_commands(state)
        self._tap(state, self.applied.namespaces)

    def change(self, moment: _Moment) -> None:
        """Become what ``moment`` says. What leaves loses its links first; what comes is served before the next flow."""
        from emulator.kernel.apply import apply

        self.recording.drain()
        with self._clock.phase("change"):
            apply(moment.plan, self.applied)
            self.applied.wait_until_up()
        new = {op.netns for op in moment.plan.operations if isinstance(op, AddNetns)}
        self._tap(moment.state, new)
        self._tell(moment.state)

    def _tell(self, state: ClusterState) -> None:
        with self._clock.phase("servers"):
            self.said += [word for worker in self._workers for word in worker.tell(state)]

    def run_commands(self, state: ClusterState) -> None:
        """End the real commands of containers that are no more, and start those of new ones. No other thread may run now."""
        from emulator.workload.commands import end_commands, start_commands, wait_until_listening

        with self._clock.phase("servers"):
            end_commands(state, self.commands)
            started = start_commands(state, self.applied.namespaces, self.logs, self.commands)
            self.said += wait_until_listening(state, self.applied.namespaces, started)
            self.commands |= started

    def _tap(self, state: ClusterState, names: Collection[str]) -> None:
        """Tap the namespaces ``names``, and know the links of those that are tapped already."""
        from emulator.kernel.ring import HANDSHAKES

        with self._clock.phase("taps"):
            self.taps.open(
                self.applied.namespaces,
                {name: self.applied.interfaces(name) for name in self.applied.namespaces},
                self.applied.ports,
                {name: size for name, size in _ring_sizes(state, self.applied.namespaces, self._all_pairs).items() if name in names},
                width=256 if self._all_pairs else 2048,
                program=HANDSHAKES if self._all_pairs and state.proxy.mode != "userspace" else None,  # there requests are followed
            )


def _workers(state: ClusterState, applied: Applied) -> list[Worker]:
    """What runs beside the rules, in the order in which it is told of a state."""
    from emulator.workload.serve import servers
    from emulator.workload.speakers import speakers

    workers = [servers(applied.namespaces), speakers(applied.namespaces)]
    if state.proxy.mode == "userspace":
        from emulator.workload.proxying import proxies  # and asyncio, which takes its time to import

        workers.append(proxies(applied.namespaces))
    return workers


def _show(run: _Run, report: Report) -> Exit:
    _print_report(run, report)
    _timed(run, report)
    if run.options.keep:
        _stay_up(run.moments[-1].state)
    return Exit.OK if report.ok else Exit.FLOW_FAILED


def _timed(run: _Run, report: Report) -> Report:
    """``report``, having said where the time went if that was asked for."""
    if run.options.verbose:
        print(f"podwire: {run.clock}", file=sys.stderr)
    return report


def _apply(plan: Plan, flavour: str) -> Applied:
    """``plan`` in the kernel; with the other flavour of iptables where none was asked for and the first does not work here: the kernel
    lacks it, or lets an ordinary user send it no more than ``net.core.wmem_default`` bytes at once."""
    from emulator.kernel.apply import Applied, apply

    applied = Applied(find_iptables(flavour))
    try:
        return apply(plan, applied)
    except KernelError as error:
        if flavour or applied.iptables not in error.command or not shutil.which("iptables-legacy-restore"):
            raise
        applied.empty_tables()  # of the nodes whose load went well: two flavours at once would both translate
        applied.iptables = "iptables-legacy-restore"
        try:
            return apply(plan, applied)
        except KernelError:
            raise error from None


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def find_iptables(flavour: str) -> str:
    """The restore command to use. Raises MissingCapabilityError when the one asked for, or any, is not there."""
    names = [f"iptables-{flavour}-restore"] if flavour else ["iptables-nft-restore", "iptables-legacy-restore", "iptables-restore"]
    for name in names:
        if shutil.which(name):
            return name
    raise MissingCapabilityError(f"the tool {names[0]}", "apt-get install iptables (podwire doctor tells more)")


def _machines(state: ClusterState) -> Iterator[str]:
    """The namespaces that are no Pod's."""
    yield from (SWITCH, ROUTER)
    yield from (BALANCER,) if state.balancerIP else ()
    yield from (*state.node, *state.client)


def _announcement(state: ClusterState, started: datetime) -> dict[str, object]:
    names = {netns: netns for netns in _machines(state)}
    once: dict[str, str] = {}
    for pod in state.pods:
        names[pod.key] = pod_netns(pod)
        once[pod.name] = "" if pod.name in once else pod_netns(pod)
    names = {name: netns for name, netns in once.items() if netns} | names
    return {
        "topology": state.name,
        "started": started.isoformat(timespec="seconds"),
        "nodes": len(state.nodes),
        "pods": len(state.pods),
        "services": len(state.services),
        "names": names,
    }


_POD_FRAMES = 1 << 17  # slots of all Pods' rings together: 256 MiB at 2 KiB each


def _ring_sizes(state: ClusterState, names: Mapping[str, int], handshakes: bool) -> dict[str, int]:
    """How many frames each namespace's ring holds: where many Pods' packets meet, more; twice as many where every attempt of a Service is two
    whole connections."""
    shared = {SWITCH, ROUTER, BALANCER, *(node.name for node in state.nodes)}
    relayed = state.proxy.mode == "userspace"
    many = 16384 if handshakes or relayed else 8192
    few = max(32, min(1024 if relayed else 512, _POD_FRAMES // len(names)))
    return {name: many if name in shared else few for name in names}


@dataclass(slots=True)
class _Findings:
    """What the moments so far have shown."""

    results: list[FlowResult] = field(default_factory=list)
    requirements: list[Sequence[Requirement]] = field(default_factory=list)  # of each moment
    dumps: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)  # flow that is not as promised → namespace → its state then


_BUNDLES = 20  # the first so many flows that are not as promised have a bundle of their own


def _examine(run: _Run, moment: _Moment, live: _Live, prober: Prober, findings: _Findings) -> None:
    """Send the flows of ``moment`` and judge them; keep the state of the nodes that a flow passed which is not as promised."""
    from emulator.evidence.bundle import netns_on_path
    from emulator.kernel.inspect import collect_state, read_addresses
    from emulator.probe.requirements import check_requirements

    applied = live.applied
    results = _probe(run, moment, live, prober)
    findings.results += results
    findings.requirements.append(check_requirements(moment.state, results, read_addresses(applied.namespaces, applied.namespaces)))
    if not run.directory:
        return
    seen: dict[str, dict[str, str]] = {}
    for result in [result for result in results if result.verdict != "pass"][: _BUNDLES - len(findings.dumps)]:
        for netns in netns_on_path(result):
            if netns in applied.namespaces and netns not in seen:
                seen[netns] = collect_state(applied.namespaces, netns, applied.iptables)
        findings.dumps[result.flow.name] = {netns: seen[netns] for netns in netns_on_path(result) if netns in seen}


def _probe(run: _Run, moment: _Moment, live: _Live, prober: Prober) -> list[FlowResult]:
    from emulator.probe.correlate import correlate

    attempts: list[Attempt] = []
    relayed = {name for name, expectation in run.expectations.items() if expectation.relayed}
    with run.clock.phase("probe"):
        for routes, flows in _rounds(moment.state, moment.flows):
            for route in routes:
                live.applied.add_route(route)
            attempts += prober.probe(flows, crafted=not run.options.all_pairs, talk=not run.options.all_pairs, relayed=relayed)
            for route in routes:
                live.applied.delete_route(route)
    with run.clock.phase("correlate"):
        live.recording.finish()
        correlation = correlate(attempts, live.recording.frames)
    with run.clock.phase("judge"):
        return _judge(run, moment.flows, attempts, correlation, live)


def _judge(run: _Run, flows: Sequence[Flow], attempts: Sequence[Attempt], correlation: Correlation, live: _Live) -> list[FlowResult]:
    """Controls first: the verdict on a Service's flow depends on theirs. In the order of ``flows``."""
    from emulator.probe.judge import judge

    own: dict[str, list[int]] = {flow.name: [] for flow in flows}
    for index, attempt in enumerate(attempts):
        own[attempt.flow].append(index)
    results: dict[str, FlowResult] = {}
    verdicts: dict[str, Verdict] = {}
    for flow in sorted(flows, key=lambda flow: bool(flow.controls)):
        indexes = own[flow.name]
        connection = (flow.check, flow.connection)
        before = live.answered.get(connection) if any(attempts[index].continued for index in indexes) else None
        numbers = {number for index in indexes for number in correlation.frames.get(index, ())}
        results[flow.name] = result = judge(
            flow,
            run.promise(flow, before) if before else run.expectations[flow.name],
            [correlation.journeys.get(index) for index in indexes],
            [attempts[index] for index in indexes],
            live.recording.lost(),
            verdicts,
            tuple(sorted(numbers)),
        )
        verdicts[flow.name] = result.verdict
        if flow.connection:
            live.answered.pop(connection, None)
            if result.observed.backends:
                live.answered[connection] = result
    return [results[flow.name] for flow in flows]


def _rounds(state: ClusterState, flows: Sequence[Flow]) -> Iterator[tuple[list[AddRoute], list[Flow]]]:
    """Flows that may be sent together. An external client's packet to an address that is no node's enters through ``via`` because the
    router has a route, and has one such route an address at a time."""
    rounds: list[tuple[dict[str, str], list[Flow]]] = [({}, [])]
    for flow in flows:
        if not flow.via or flow.to.ip in state.node_by_ip:
            rounds[0][1].append(flow)
            continue
        for ways, members in rounds[1:]:
            if ways.setdefault(flow.to.ip, flow.via) == flow.via:
                members.append(flow)
                break
        else:
            rounds.append(({flow.to.ip: flow.via}, [flow]))
    for ways, members in rounds:
        routes = [
            AddRoute(netns=ROUTER, dst=f"{ip}/32", dev="eth0", via=state.node[node].internalIPs[0], why=f"{ip} is reached through {node}")
            for ip, node in ways.items()
        ]
        if members:
            yield routes, members


def _report(run: _Run, live: _Live, findings: _Findings, started: datetime) -> Report:
    from emulator.evidence.describe import describe_nodes, describe_services
    from emulator.probe.requirements import merge_requirements

    state, said, lost = run.state, live.said, live.recording.lost()
    settled = dict.fromkeys(notice for moment in run.moments for notice in moment.state.notices)
    notices = [
        *(n for n in settled if not any(word.startswith(n) for word in said)),
        *dict.fromkeys(said),
    ]  # once, with the kernel's own word
    sampled = sum(run.expectations[flow.name].partial for flow in run.flows if not flow.connection)
    if sampled and not run.options.all_pairs:
        notices.append(f"{sampled} flows met a sample of their Service's endpoints only; a FlowCheck with attempts: meets them all")
    represented = 0 if run.options.all_pairs or state.flowChecks else count_represented(state)
    if represented:
        notices.append(f"{represented} Service ports, all but the first {MOST_PORTS}, were dialled by one Pod and one client outside only")
    if lost:
        notices.append(f"{lost} frames were lost: the taps' rings were full; flows that miss one are UNKNOWN")
    return Report(
        topology=state.name,
        seed=state.seed,
        proxy_mode=state.proxy.mode,
        machine={
            "kernel": platform.release(),
            "iptables": live.applied.iptables.removesuffix("-restore"),
            "podwire": __version__,
            "started": started.isoformat(timespec="seconds"),
            "seconds": f"{time.monotonic() - run.clock.started:.2f}",
        },
        cluster=describe_nodes(state),
        services=describe_services(state),
        flows=tuple(findings.results),
        requirements=merge_requirements(findings.requirements),
        notices=tuple(notices),
    )


# --- evidence ---------------------------------------------------------------------------------------------


def _write_evidence(run: _Run, live: _Live, report: Report, findings: _Findings) -> Report:
    from emulator.evidence import files, junit, report_json
    from emulator.evidence.captures import plan_captures

    pods = _pods(run)
    if run.directory:
        report, captures = plan_captures(report, live.recording.captured, _names(run), _macs(run))
        bundles = _bundles(report, live.recording, findings.dumps, pods)
        output = [(f"logs/{path.name}", path.read_bytes()) for path in sorted(live.logs.iterdir())] if live.commands else []
        files.write_evidence(run.directory, chain(captures, bundles, output))
    if run.options.json:
        files.write_file(run.options.json, report_json.to_json(report, pods).encode())
    if run.options.junit:
        files.write_file(run.options.junit, junit.to_junit(report, pods))
    return report


def _names(run: _Run) -> Mapping[str, str]:
    """Address → name, of every moment; whoever had an address first."""
    from emulator.evidence.describe import name_addresses

    return {ip: name for moment in reversed(run.moments) for ip, name in name_addresses(moment.state).items()}


def _macs(run: _Run) -> Mapping[str, str]:
    """MAC → node, of every moment."""
    from emulator.evidence.describe import name_macs

    return {mac: name for moment in run.moments for mac, name in name_macs(moment.state).items()}


def _pods(run: _Run) -> Mapping[str, str]:
    """Address → ``namespace/name`` of every Pod that ever was."""
    from emulator.evidence.describe import pod_names

    return {ip: name for moment in reversed(run.moments) for ip, name in pod_names(moment.state).items()}


def _bundles(
    report: Report, recording: Recording, dumps: Mapping[str, Mapping[str, Mapping[str, str]]], pods: Mapping[str, str]
) -> list[tuple[str, bytes]]:
    from emulator.evidence.bundle import plan_bundle

    out: list[tuple[str, bytes]] = []
    for result in report.flows:
        if result.flow.name in dumps:
            lines = [str(recording.frames[number]) for number in result.frames]
            out += plan_bundle(result, dumps[result.flow.name], lines, pods)
    return out


def _print_report(run: _Run, report: Report) -> None:
    from emulator.evidence import report_json, tables

    pods = _pods(run)
    if run.options.output == "json":
        print(report_json.to_json(report, pods), end="")
    elif run.options.output == "yaml":
        print(report_json.to_yaml(report, pods), end="")
    else:
        tty = sys.stdout.isatty()
        color = tty and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        width = shutil.get_terminal_size((132, 24)).columns
        print(tables.render_text(report, wide=run.options.output == "wide", color=color, width=width, pods=pods), end="")
        if run.directory:
            print(f"Evidence: {printable(str(run.directory))}/ (all.pcapng holds every frame; one more file a flow)")
    sys.stdout.flush()


def _stay_up(state: ClusterState) -> None:
    """Until Ctrl-C."""
    example = next((pod.key for pod in state.pods if not pod.spec.hostNetwork), state.nodes[0].name)
    print(
        f"{state.name} stays up until Ctrl-C. From another terminal:\n"
        f"  podwire shell {example}\n"
        f"  podwire exec {state.nodes[-1].name} -- ip route\n"
        "  podwire ps",
        file=sys.stderr,
    )
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # waited for, not interrupted by: nothing can come between
    signal.sigwait({signal.SIGINT})
    print(file=sys.stderr)


@contextmanager
def progress(flows: int) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on a terminal, once something takes more than a moment; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=None, desc=f"{flows} flows", unit=" attempts", delay=0.7, leave=False, file=sys.stderr) as bar:

        def step(n: int) -> None:
            bar.update(n)

        yield step

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from emulator import __version__, sandbox
from emulator.control.state import ROUTER, SWITCH, ClusterState, pod_netns
from emulator.errors import Exit, KernelError, MissingCapabilityError, printable
from emulator.plan.operations import AddRoute, Plan
from emulator.planner import plan_cluster
from emulator.podnet import plan_all_pairs
from emulator.probe.checks import apply_expect, flows_from_checks
from emulator.probe.derive import all_pairs, derive_flows
from emulator.probe.edges import edge_flows
from emulator.probe.expect import Expectations
from emulator.probe.model import Attempt, Expectation, Flow, FlowResult, Report, Verdict

Promise = Callable[[Flow], Expectation]
T = TypeVar("T")

if TYPE_CHECKING:
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

    ``pairs``: all Pods to all Pods and Services; ``edges``: what is derived goes to the edges of the semantics too.
    """
    promised = Expectations(state)
    if pairs:
        return all_pairs(state), promised.expect
    if not state.flowChecks:
        flows = derive_flows(state, promised)
        return (*flows, *(edge_flows(promised, flows) if edges else ())), promised.expect
    flows, said = flows_from_checks(state, promised)

    def promise(flow: Flow) -> Expectation:
        expectation = promised.expect(flow)
        return apply_expect(expectation, said[flow.name], flow, promised) if flow.name in said else expectation

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
    if options.verbose > 1:
        _print_plan(plan)
    return _Run(state, plan, tuple(flows), {flow.name: promise(flow) for flow in flows}, options, directory, clock)


def _print_plan(plan: Plan) -> None:
    from emulator.plan.shell import shell_commands

    for operation in plan.operations:
        print(f"# {operation.why}\n{shell_commands(operation)}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Run:
    state: ClusterState
    plan: Plan
    flows: tuple[Flow, ...]
    expectations: Mapping[str, Expectation]
    options: Options
    directory: Path | None
    clock: Clock


# --- inside the sandbox -----------------------------------------------------------------------------------


def _inside(channel: sandbox.Channel, run: _Run, then: Callable[[Report], T]) -> T:
    """Build, probe and write; then ``then``, while everything is still up."""
    from emulator.kernel.ipvs import require_ipvs
    from emulator.kernel.ring import HANDSHAKES, Taps
    from emulator.probe.send import Prober, Recording
    from emulator.workload.commands import start_commands, wait_until_listening

    state, options, clock = run.state, run.options, run.clock
    started = datetime.now(timezone.utc)
    _raise_descriptor_limit()
    gc.disable()  # a process of seconds that holds millions of frames: looking for cycles among them costs more than they could free
    channel.announce(_announcement(state, started))
    with clock.phase("build"):
        if state.proxy.mode == "nftables" and not shutil.which("nft"):
            raise MissingCapabilityError("the tool nft", "apt-get install nftables")
        if state.proxy.mode == "ipvs":
            require_ipvs()
        applied = _apply(run.plan, options.iptables)
        applied.wait_until_up()
    with TemporaryDirectory(dir="/run") as logs:
        with clock.phase("servers"):
            said = [word for worker in _workers(applied) for word in worker.tell(state)]
            commands = start_commands(state, applied.namespaces, Path(logs))
            said += wait_until_listening(state, applied.namespaces, commands)
        taps = Taps()
        with clock.phase("taps"):
            width = 256 if options.all_pairs else 2048
            taps.open(
                applied.namespaces,
                {name: applied.interfaces(name) for name in applied.namespaces},
                applied.ports,
                _ring_sizes(state, applied.namespaces, options.all_pairs),
                width=width,
                program=HANDSHAKES if options.all_pairs else None,
            )
        try:
            recording = Recording(taps)
            with progress(len(run.flows)) as step:
                prober = Prober(applied.namespaces, recording, state.seed, step)
                results = _probe(run, applied, prober, recording)
            report = _report(run, applied, results, recording.lost(), started, said)
            with clock.phase("evidence"):
                report = _write_evidence(run, applied, report, recording, commands, Path(logs))
        finally:
            with clock.phase("tear-down"):
                taps.close()
        return then(report)


def _workers(applied: Applied) -> list[Worker]:
    """What runs beside the rules, in the order in which it is told of a state."""
    from emulator.workload.serve import servers
    from emulator.workload.speakers import speakers

    return [servers(applied.namespaces), speakers(applied.namespaces)]


def _show(run: _Run, report: Report) -> Exit:
    _print_report(run, report)
    _timed(run, report)
    if run.options.keep:
        _stay_up(run.state)
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


def _announcement(state: ClusterState, started: datetime) -> dict[str, object]:
    names = {netns: netns for netns in (SWITCH, ROUTER, *(n.name for n in state.nodes), *(c.name for c in state.clients))}
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
    """How many frames each namespace's ring holds: where many Pods' packets meet, more."""
    shared = {SWITCH, ROUTER, *(node.name for node in state.nodes)}
    many = 16384 if handshakes else 8192
    few = max(32, min(512, _POD_FRAMES // len(names)))
    return {name: many if name in shared else few for name in names}


def _probe(run: _Run, applied: Applied, prober: Prober, recording: Recording) -> list[FlowResult]:
    from emulator.probe.correlate import correlate

    attempts: list[Attempt] = []
    with run.clock.phase("probe"):
        for routes, flows in _rounds(run.state, run.flows):
            for route in routes:
                applied.add_route(route)
            attempts += prober.probe(flows, crafted=not run.options.all_pairs, talk=not run.options.all_pairs)
            for route in routes:
                applied.delete_route(route)
    with run.clock.phase("correlate"):
        recording.finish()
        correlation = correlate(attempts, recording.frames)
    with run.clock.phase("judge"):
        return _judge(run, attempts, correlation, recording.lost())


def _judge(run: _Run, attempts: Sequence[Attempt], correlation: Correlation, lost: int) -> list[FlowResult]:
    """Controls first: the verdict on a Service's flow depends on theirs. In the order of the flows."""
    from emulator.probe.judge import judge

    own: dict[str, list[int]] = {flow.name: [] for flow in run.flows}
    for index, attempt in enumerate(attempts):
        own[attempt.flow].append(index)
    results: dict[str, FlowResult] = {}
    verdicts: dict[str, Verdict] = {}
    for flow in sorted(run.flows, key=lambda flow: bool(flow.controls)):
        indexes = own[flow.name]
        numbers = {number for index in indexes for number in correlation.frames.get(index, ())}
        results[flow.name] = result = judge(
            flow,
            run.expectations[flow.name],
            [correlation.journeys.get(index) for index in indexes],
            [attempts[index] for index in indexes],
            lost,
            verdicts,
            tuple(sorted(numbers)),
        )
        verdicts[flow.name] = result.verdict
    return [results[flow.name] for flow in run.flows]


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


def _report(run: _Run, applied: Applied, results: Sequence[FlowResult], lost: int, started: datetime, said: Sequence[str]) -> Report:
    from emulator.evidence.describe import describe_nodes, describe_services
    from emulator.kernel.inspect import read_addresses
    from emulator.probe.requirements import check_requirements

    state = run.state
    addresses = read_addresses(applied.namespaces, applied.namespaces)
    notices = [*(n for n in state.notices if not any(word.startswith(n) for word in said)), *said]  # once, with the kernel's own word
    sampled = sum(e.partial for e in run.expectations.values())
    if sampled and not run.options.all_pairs:
        notices.append(f"{sampled} flows met a sample of their Service's endpoints only; a FlowCheck with attempts: meets them all")
    if lost:
        notices.append(f"{lost} frames were lost: the taps' rings were full; flows that miss one are UNKNOWN")
    return Report(
        topology=state.name,
        seed=state.seed,
        proxy_mode=state.proxy.mode,
        machine={
            "kernel": platform.release(),
            "iptables": applied.iptables.removesuffix("-restore"),
            "podwire": __version__,
            "started": started.isoformat(timespec="seconds"),
            "seconds": f"{time.monotonic() - run.clock.started:.2f}",
        },
        cluster=describe_nodes(state),
        services=describe_services(state),
        flows=tuple(results),
        requirements=check_requirements(state, results, addresses),
        notices=tuple(notices),
    )


# --- evidence ---------------------------------------------------------------------------------------------

_BUNDLES = 20  # a bundle for each of the first so many flows that are not as promised


def _write_evidence(
    run: _Run, applied: Applied, report: Report, recording: Recording, commands: Sequence[tuple[str, object]], logs: Path
) -> Report:
    from emulator.evidence import files, junit, report_json
    from emulator.evidence.captures import plan_captures
    from emulator.evidence.describe import name_addresses, name_macs, pod_names

    pods = pod_names(run.state)
    if run.directory:
        report, captures = plan_captures(report, recording.captured, name_addresses(run.state), name_macs(run.state))
        bundles = _bundles(applied, report, recording, pods)
        output = [(f"logs/{path.name}", path.read_bytes()) for path in sorted(logs.iterdir())] if commands else []
        files.write_evidence(run.directory, chain(captures, bundles, output))
    if run.options.json:
        files.write_file(run.options.json, report_json.to_json(report, pods).encode())
    if run.options.junit:
        files.write_file(run.options.junit, junit.to_junit(report, pods))
    return report


def _bundles(applied: Applied, report: Report, recording: Recording, pods: Mapping[str, str]) -> list[tuple[str, bytes]]:
    from emulator.evidence.bundle import netns_on_path, plan_bundle
    from emulator.kernel.inspect import collect_state

    bad = [result for result in report.flows if result.verdict != "pass"][:_BUNDLES]
    dumps: dict[str, dict[str, str]] = {}
    out: list[tuple[str, bytes]] = []
    for result in bad:
        path = [netns for netns in netns_on_path(result) if netns in applied.namespaces]
        for netns in path:
            if netns not in dumps:
                dumps[netns] = collect_state(applied.namespaces, netns, applied.iptables)
        lines = [str(recording.frames[number]) for number in result.frames]
        out += plan_bundle(result, {netns: dumps[netns] for netns in path}, lines, pods)
    return out


def _print_report(run: _Run, report: Report) -> None:
    from emulator.evidence import report_json, tables
    from emulator.evidence.describe import pod_names

    pods = pod_names(run.state)
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

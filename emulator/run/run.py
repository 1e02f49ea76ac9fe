"""Runs one scenario from cluster state to evidence: plan, build, examine every moment, report.

Everything that touches the kernel happens inside the sandbox, in :func:`run_inside`. This module only wires
the others together, in order: ``schedule`` (what is done when), ``live`` (the cluster that runs), ``examine``
(probe, correlate, judge), ``reporting``; ``cli`` decides what a user asked for.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from ..cluster.scenario import Scenario
from ..cluster.state import ClusterState
from ..errors import Exit, UsageError
from ..kernel import sandbox
from ..kernel.counters import read_settings
from ..kernel.iptables import apply_with_iptables
from ..kernel.limits import Size, check_limits, sockets_at_once, use_limits
from ..model.flows import Flow
from ..model.results import Report
from ..objects.warnings import Code
from ..plan.operations import Plan
from ..plan.shell import shell_commands
from ..proxy.backends import backend_of
from ..report import files
from ..report.captures import note_missing, slug
from ..report.output import complain
from ..schedule.schedule import (
    PromiseOf,
    Schedule,
    plan_flows,
    plan_schedule,
    require_flows,
)
from ..starting import collect_rarely
from ..traffic.send import Prober
from ..workload.kubeproxy import check_mode
from .announcement import announcement, machines
from .clock import Clock
from .clusters import find_running
from .examine import RunResults, examine
from .live import Live
from .machine import require
from .progress import Step, phase
from .reporting import (
    Delivery,
    make_report,
    name_pods,
    plan_evidence,
    save_evidence,
    tell_missing,
)

if TYPE_CHECKING:
    from .control import Door

T = TypeVar("T")

_RELAYING = 512  # descriptors for connections and clients that the proxies of userspace mode relay at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Holds the command line's options of a run. ``captures`` None: no evidence is written; ``source``: where
    the input is, whose evidence replaces that of its own last run; ``iptables`` "": the flavour that works;
    ``strict``: warnings count as failures, save those of the codes in ``ignore``.
    """

    output: str = "table"
    json: Path | None = None
    junit: Path | None = None
    html: Path | None = None
    captures: Path | None = None
    source: str = ""
    all_pairs: bool = False
    keep: bool = False
    quiet: bool = False
    iptables: str = ""
    verbose: int = 0
    strict: bool = False
    ignore: frozenset[Code] = frozenset()


def run_cluster(scenario: Scenario, options: Options) -> int:
    """Runs ``scenario`` and prints and writes everything that ``options`` ask for; returns the exit code."""
    clock = Clock()
    with clock.phase("plan"):
        flows, promise = plan_flows(scenario, pairs=options.all_pairs)
        if not options.keep:
            require_flows(scenario, flows)
        run = prepare(scenario, flows, promise, options, clock)
    delivery = Delivery(
        name_pods(run.schedule),
        options.output,
        options.json,
        options.junit,
        run.directory,
        html=options.html,
        quiet=options.quiet,
    )
    others = options.keep and any(one.stays for one in find_running())  # seen from out here alone
    which = f" --cluster {os.getpid()}" if others else ""

    def inside(channel: sandbox.Channel, at: Door | None = None) -> Exit:
        def conclude(report: Report, live: Live) -> Exit:
            return _conclude(run, delivery, report, live, which, at)

        if at:
            channel.announce({"control": at.name})  # whoever asks before the verdicts waits
        return run_inside(channel, run, delivery, conclude)

    if not options.keep:
        return sandbox.run(inside)
    from .control import door  # with asyncio, which is slow to import

    with door() as at:
        return sandbox.run(partial(inside, at=at))


def observe(scenario: Scenario, flows: Sequence[Flow], promise: PromiseOf, options: Options) -> Report:
    """Runs ``scenario`` with just these flows; returns the report, with nothing printed. Evidence is written
    as ``options`` ask for.
    """
    run = prepare(scenario, flows, promise, options, Clock())
    return sandbox.run(lambda channel: run_inside(channel, run, None, lambda report, _: _timed(run, report)))


def find_directory(state: ClusterState, options: Options) -> tuple[Path | None, str]:
    """Returns where a run's evidence goes (None: nowhere), and why it cannot be written ("" if it can).

    That reason is printed on standard error, too.
    """
    directory = options.captures / slug(state.name) if options.captures else None
    if directory:
        try:
            if options.source:
                directory = files.claim_directory(directory, options.source)
            else:
                files.check_writable(directory)
        except UsageError as error:
            tell_missing(str(error))
            return None, str(error)
    return directory, ""


def prepare(
    scenario: Scenario, flows: Sequence[Flow], promise: PromiseOf, options: Options, clock: Clock
) -> Run:
    """Returns the run with everything that is known before a sandbox is made."""
    check_mode(scenario.state)
    directory, missing = find_directory(scenario.state, options)
    schedule = plan_schedule(scenario, flows, promise, pairs=options.all_pairs)
    check_limits(_size(schedule))
    if options.verbose > 1:
        for moment in schedule.moments:
            _print_plan(moment.plan)
    return Run(schedule, options, directory, missing, clock, read_settings())


def _print_plan(plan: Plan) -> None:
    for operation in plan.operations:
        print(f"# {operation.why}\n{shell_commands(operation)}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class Run:
    """Holds one run. ``directory``: the place of evidence, if any; ``missing``: why there is none ("" if it
    was not wanted).
    """

    schedule: Schedule
    options: Options
    directory: Path | None
    missing: str
    clock: Clock
    settings: Mapping[str, str]  # the machine's limits outside the sandbox, by sysctl

    @property
    def evidence(self) -> bool:
        """Returns whether frames are wanted when all is judged."""
        return self.directory is not None


# --- inside the sandbox -----------------------------------------------------------------------------------


def run_inside(
    channel: sandbox.Channel, run: Run, delivery: Delivery | None, then: Callable[[Report, Live], T]
) -> T:
    """Builds the cluster, examines every moment, delivers and writes; then calls ``then``, while everything
    is still up.
    """
    started = datetime.now(timezone.utc)
    with bring_up(channel, run, started) as live:
        with live.listening():
            announce = partial(announcement, started=started, stays=run.options.keep)
            found = send_flows(
                run.schedule,
                live,
                lambda state: channel.announce(announce(state)),
                run.evidence,
                shown=not run.options.quiet,
            )
            options = run.options
            report = make_report(
                run.schedule, live, found, started, strict=options.strict, ignore=options.ignore
            )
            with run.clock.phase("evidence"):
                report = hand_over(run, delivery, report, live, found)
        return then(report, live)


@contextmanager
def bring_up(
    channel: sandbox.Channel, run: Run, started: datetime, *, lives: bool = False, access: str = ""
) -> Iterator[Live]:
    """Yields the cluster at the first moment of ``run``, with the processes beside the rules. ``lives``: it
    is one whose API is served; ``access``: the kubeconfig by which real kube-proxies reach that. Nothing is
    captured yet. Only for the inside of a sandbox: it is never taken down piece by piece.
    """
    schedule = run.schedule
    use_limits()
    collect_rarely()
    gc.freeze()  # all that was loaded and planned stays
    channel.announce(announcement(schedule.state, started, run.options.keep))
    size = f"building {len(schedule.state.nodes)} nodes, {len(schedule.state.pods)} Pods"
    with run.clock.phase("build"), phase(size, shown=not run.options.quiet):
        require(backend_of(schedule.state))
        applied = apply_with_iptables(schedule.moments[0].plan, run.options.iptables)
        applied.wait_until_up()
    with closing(applied), TemporaryDirectory(dir="/run") as logs:
        live = Live(
            applied,
            schedule,
            Path(logs),
            run.clock,
            run.settings,
            keep=run.evidence,
            lives=lives,
            access=access,
        )
        live.begin(schedule.state)
        yield live


def send_flows(
    schedule: Schedule,
    live: Live,
    announce: Callable[[ClusterState], None],
    evidence: bool,
    *,
    shown: bool = True,
) -> RunResults:
    """Sends the flows of every moment of ``schedule`` through the cluster, which is in the state of its first
    moment, and judges them. ``announce`` gets every later state; ``evidence``: the numbers of each flow's
    frames are kept; ``shown``: a terminal shows how far it is.
    """
    found = RunResults()
    with (
        phase("sending", sum(flow.attempts for flow in schedule.flows), shown=shown) as step,
        closing(
            Prober(
                live.applied.namespaces,
                live.recording,
                schedule.state.seed,
                step,
                fresh_ports=backend_of(schedule.state).fresh_ports,
                busy=live.busy,
                window=sockets_at_once(_size(schedule)),
            )
        ) as prober,
    ):
        for before, moment in zip((None, *schedule.moments), schedule.moments, strict=False):
            if before:
                for flow in before.flows:
                    schedule.expectations[flow.name].possibilities.forget()
                _collect_garbage()
                with prober.chatter():
                    live.change(moment)
                    prober.rest(moment.wait)
                live.run_commands(moment.state)
                announce(moment.state)
            examine(schedule, moment, live, prober, found, evidence=evidence)
    return found


def _collect_garbage() -> None:
    """Frees the reference cycles of a moment. Objects that stay are not scanned again: the time is that of
    one moment, however many there were.
    """
    gc.collect()
    gc.freeze()


def hand_over(run: Run, delivery: Delivery | None, report: Report, live: Live, found: RunResults) -> Report:
    """Delivers ``report`` and writes its evidence; returns the report with a notice of what is missing."""
    evidence: Iterable[tuple[str, files.Content]] = ()
    if run.missing:
        report = note_missing(report, run.missing)
    if run.directory:
        report = replace(report, directory=str(run.directory))
        report, evidence = plan_evidence(run.schedule, live, found, report)
    if delivery:
        delivery.tell_verdicts(report)
    if run.directory:
        names = {name for result in report.flows for name in result.captures}
        with phase("writing", 1 + len(names), shown=not run.options.quiet) as step:
            report = save_evidence(run.directory, _counted(evidence, step), report)
    if delivery:
        delivery.tell_evidence(report)
    return report


def _counted(items: Iterable[T], step: Step) -> Iterator[T]:
    """Yields ``items``, and counts each when the next one is wanted."""
    for item in items:
        yield item
        step(1)


def _conclude(run: Run, delivery: Delivery, report: Report, live: Live, which: str, at: Door | None) -> Exit:
    _timed(run, report)
    if at:
        from .stay import stay  # with asyncio, which is slow to import

        state = run.schedule.moments[-1].state
        stay(live, invite(state, which), at, state, run.schedule.scenario.flowChecks)
    return exit_code(delivery, report)


def exit_code(delivery: Delivery, report: Report) -> Exit:
    """Returns the exit code of a run whose report is delivered."""
    if delivery.failed:
        return Exit.BAD_INPUT
    return Exit.OK if report.ok else Exit.FLOW_FAILED


def _timed(run: Run, report: Report) -> Report:
    """Returns ``report``, after printing the times of the phases if asked for."""
    if run.options.verbose:
        complain(str(run.clock))
    return report


def _size(schedule: Schedule) -> Size:
    """Returns the parts of the run that take descriptors."""
    states = [moment.state for moment in schedule.moments]
    namespaces = (
        sum(1 for _ in machines(state)) + sum(not pod.spec.hostNetwork for pod in state.pods)
        for state in states
    )
    proxies = (
        len(relays(state)) * len(state.nodes) + _RELAYING if (relays := backend_of(state).relays) else 0
        for state in states
    )
    changed = (len({operation.netns for operation in moment.plan.operations}) for moment in schedule.moments)
    return Size(
        namespaces=max(namespaces),
        nodes=max(len(state.nodes) for state in states),
        changed=max(islice(changed, 1, None), default=0),
        listeners=max(len(state.listeners) for state in states),
        proxies=max(proxies),
        connections=len({(flow.check, flow.connection) for flow in schedule.flows if flow.connection}),
    )


def invite(state: ClusterState, which: str) -> str:
    """Returns how to look around in a cluster that stays up. ``which``: the option that names it, where
    others stay up too.
    """
    example = next((pod.key for pod in state.pods if not pod.spec.hostNetwork), state.nodes[0].name)
    return (
        f"{state.name} stays up until Ctrl-C. From another terminal:\n"
        f"  podwire shell{which} {example}\n"
        f"  podwire exec{which} {state.nodes[-1].name} -- ip route\n"
        "  podwire ps"
    )

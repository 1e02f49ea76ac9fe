"""From what a run has found to what it hands over: the report, printed and written, and the evidence beside it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path

from emulator import __version__
from emulator.errors import printable
from emulator.evidence import files, junit, report_json, tables
from emulator.evidence.bundle import plan_bundle
from emulator.evidence.captures import plan_captures
from emulator.evidence.describe import describe_nodes, describe_services, name_addresses, name_macs, pod_names
from emulator.examine import Findings
from emulator.live import Live
from emulator.output import say
from emulator.probe.derive import MOST_PORTS, count_represented
from emulator.probe.expect import attempts_to_meet_each
from emulator.probe.model import Expectation, Flow, Report
from emulator.probe.requirements import merge_requirements
from emulator.schedule import Schedule


def make_report(schedule: Schedule, live: Live, findings: Findings, started: datetime) -> Report:
    state = schedule.state
    return Report(
        topology=state.name,
        seed=state.seed,
        proxy_mode=state.proxy.mode,
        machine={
            "kernel": platform.release(),
            "iptables": live.applied.iptables.removesuffix("-restore"),
            "podwire": __version__,
            "started": started.isoformat(timespec="seconds"),
            "seconds": f"{time.monotonic() - live.clock.started:.2f}",
        },
        cluster=describe_nodes(state),
        services=describe_services(state),
        flows=tuple(findings.results),
        requirements=merge_requirements(findings.requirements),
        notices=tuple(_notices(schedule, live)),
    )


def _notices(schedule: Schedule, live: Live) -> Iterator[str]:
    """What a reader must know to judge the report: each word once, where the kernel said more than the objects with what it said."""
    said = dict.fromkeys(live.said)
    for notice in dict.fromkeys(notice for moment in schedule.moments for notice in moment.state.notices):
        if not any(word.startswith(notice) for word in said):
            yield notice
    yield from said
    if not schedule.pairs:
        if sampled := sum(is_sample(flow, schedule.expectations[flow.name]) for flow in schedule.flows):
            yield f"{sampled} flows met a sample of their Service's endpoints only; a FlowCheck with attempts: meets them all"
        represented = 0 if schedule.state.flowChecks else count_represented(schedule.state)
        if represented:
            yield f"{represented} Service ports, all but the first {MOST_PORTS}, were dialled by one Pod and one client outside only"
    lost = live.recording.lost()
    if lost:
        yield f"{lost} frames were lost: the taps' rings were full; flows that miss one are UNKNOWN"


def is_sample(flow: Flow, expectation: Expectation) -> bool:
    """Whether more attempts would meet more endpoints. (Session affinity leads to the same one, however often it is asked.)"""
    return expectation.partial and not flow.connection and flow.attempts < attempts_to_meet_each(len(expectation.backends))


def write_evidence(schedule: Schedule, live: Live, findings: Findings, report: Report, directory: Path) -> Report:
    """Write the captures, the bundles and the output of real commands into ``directory``; the report, now with the captures' names."""
    states = [moment.state for moment in schedule.moments]
    names = {ip: name for state in reversed(states) for ip, name in name_addresses(state).items()}  # whoever had an address first
    macs = {mac: name for state in states for mac, name in name_macs(state).items()}
    report, captures = plan_captures(report, live.recording.captured, names, macs)
    output = [(f"logs/{path.name}", path.read_bytes()) for path in sorted(live.logs.iterdir())] if live.commands else []
    files.write_evidence(directory, chain(captures, _bundles(schedule, live, findings, report), output))
    return report


def _bundles(schedule: Schedule, live: Live, findings: Findings, report: Report) -> Iterator[tuple[str, bytes]]:
    pods = name_pods(schedule)
    for result in report.flows:
        if result.flow.name in findings.dumps:
            lines = [str(live.recording.frames[number]) for number in result.frames]
            yield from plan_bundle(result, findings.dumps[result.flow.name], lines, pods)


def name_pods(schedule: Schedule) -> Mapping[str, str]:
    """Address → ``namespace/name`` of every Pod that ever was; whoever had an address first."""
    return {ip: name for moment in reversed(schedule.moments) for ip, name in pod_names(moment.state).items()}


def write_report(report: Report, pods: Mapping[str, str], json: Path | None, xml: Path | None) -> None:
    """To the files that were asked for: JSON, and JUnit's XML."""
    if json:
        files.write_file(json, report_json.to_json(report, pods).encode())
    if xml:
        files.write_file(xml, junit.to_junit(report, pods))


def print_report(report: Report, pods: Mapping[str, str], output: str, directory: Path | None) -> None:
    """To standard output in the form ``output``; ``directory`` is where the evidence is."""
    if output == "json":
        text = report_json.to_json(report, pods)
    elif output == "yaml":
        text = report_json.to_yaml(report, pods)
    else:
        tty = sys.stdout.isatty()
        color = tty and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        width = shutil.get_terminal_size((132, 24)).columns
        text = tables.render_text(report, wide=output == "wide", color=color, width=width, pods=pods)
        if directory:
            text += f"Evidence: {printable(str(directory))}/ (all.pcapng holds every frame; one more file a flow)\n"
    say(text)

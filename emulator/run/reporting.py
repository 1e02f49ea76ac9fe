"""Delivers the results of a run: the report, printed and written, and the evidence beside it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import cast

from .. import __version__
from ..capture.decode import decode_frame
from ..capture.recording import MOST_OTHER_BYTES
from ..cluster.state import Listener
from ..errors import UsageError, printable
from ..flows.derive import MOST_PORTS, count_represented
from ..model.expectations import Expectation
from ..model.flows import Flow, SourcePlace
from ..model.notices import (
    FramesLeftOut,
    FramesLost,
    LimitReached,
    Notice,
    PortRefused,
    Represented,
    Sampled,
)
from ..model.results import FlowResult, Report
from ..objects.references import ObjectRef, service_ref
from ..objects.warnings import Code, ManifestWarning
from ..oracle.expectations import attempts_to_meet_each
from ..report import (
    files,
    github,
    junit,
    report_html,
    report_json,
    run_text,
)
from ..report.bundle import bundle_directory, plan_bundle
from ..report.captures import keep_written, plan_captures
from ..report.describe import (
    describe_nodes,
    describe_services,
    describe_steps,
    name_addresses,
    name_macs,
    name_replicas,
    pod_names,
)
from ..report.layout import Screen, wants_color
from ..report.output import Attempts, complain, say, unread_by_runner
from ..schedule.schedule import Schedule
from ..verdicts.limits import group_by_limit
from ..verdicts.requirements import merge_requirements
from .examine import RunResults
from .live import Live


def make_report(
    schedule: Schedule,
    live: Live,
    found: RunResults,
    started: datetime,
    *,
    strict: bool = False,
    ignore: frozenset[Code] = frozenset(),
) -> Report:
    """Returns the report. ``strict``: warnings count as failures; those of the codes in ``ignore`` are left
    out.
    """
    state = schedule.state
    return Report(
        topology=state.name,
        seed=state.seed,
        proxy_mode=state.proxy.mode,
        release=state.proxy.program.release if state.proxy.program else state.proxy.release,
        program=state.proxy.program.path if state.proxy.program else "",
        machine={
            "kernel": platform.release(),
            "iptables": live.applied.iptables.removesuffix("-restore"),
            "podwire": __version__,
            "started": started.isoformat(timespec="seconds"),
            "seconds": f"{time.monotonic() - live.clock.started:.2f}",
        },
        cluster=describe_nodes(state),
        services=describe_services(state),
        flows=tuple(found.results),
        requirements=merge_requirements(found.requirements),
        notices=tuple(_notices(schedule, live, found)),
        warnings=warnings_of(schedule, ignore),
        strict=strict,
        replicas=name_replicas(moment.state for moment in schedule.moments),
        steps=describe_steps(schedule.scenario.moments),
        places=_places(schedule, found.results),
    )


def warnings_of(schedule: Schedule, ignore: frozenset[Code]) -> tuple[ManifestWarning, ...]:
    """Returns the warnings about the objects of every moment, each once, in the order of their codes, without
    those of the codes in ``ignore``.
    """
    found = dict.fromkeys(one for moment in schedule.moments for one in moment.state.warnings)
    wanted = (one for one in found if one.code not in ignore)
    return tuple(sorted(wanted, key=lambda one: one.code.value))


def _places(schedule: Schedule, results: Iterable[FlowResult]) -> Mapping[ObjectRef, SourcePlace]:
    """Returns where the Services are written that flows dial, and the objects of those that are not as
    promised.
    """
    origins, places = schedule.scenario.origins, dict[ObjectRef, SourcePlace]()
    for result in results:
        wrong = result.verdict != "pass"
        about = [ref for reason in result.expected.because.each() for ref in reason.objects] if wrong else []
        for ref in (*about, service_ref(result.flow.to.service)):
            whole = ref._replace(field="")
            if whole in origins and whole not in places:
                places[whole] = SourcePlace(origins[whole].file, origins[whole].line(""))
    return places


def _notices(schedule: Schedule, live: Live, found: RunResults) -> Iterator[Notice]:
    """Yields the notices that a reader needs to judge the report, each once."""
    refused = {
        _port_of(listener)
        for moment in schedule.moments
        for listener in moment.state.listeners
        if listener.refused
    }
    yield from dict.fromkeys(notice for moment in schedule.moments for notice in moment.state.notices)
    for notice in dict.fromkeys(live.said):
        if not (isinstance(notice, PortRefused) and _port_of(notice.listener) in refused):
            yield notice  # a warning says that the objects refuse a port
    if not schedule.pairs:
        if sampled := sum(is_sample(flow, schedule.expectations[flow.name]) for flow in schedule.flows):
            yield Sampled(sampled)
        represented = 0 if schedule.scenario.flowChecks else count_represented(schedule.state)
        if represented:
            yield Represented(represented, MOST_PORTS)
    yield from map(LimitReached, group_by_limit(found.limits))
    if lost := live.recording.lost():
        yield FramesLost(lost)
    if left := live.recording.left_out:
        yield FramesLeftOut(left, MOST_OTHER_BYTES)


def _port_of(listener: Listener) -> tuple[str, str, int, str]:
    return listener.netns, listener.container, listener.port, listener.protocol


def is_sample(flow: Flow, expectation: Expectation) -> bool:
    """Returns whether more attempts would meet more endpoints. (Session affinity leads to the same one,
    however often it is asked.)
    """
    return (
        expectation.partial
        and not flow.connection
        and flow.attempts < attempts_to_meet_each(len(expectation.endpoints))
    )


def plan_evidence(
    schedule: Schedule, live: Live, found: RunResults, report: Report
) -> tuple[Report, Iterator[tuple[str, files.Content]]]:
    """Returns ``report`` with the captures' names, and the files, each made when it is taken.

    They are captures, bundles and the output of real commands.
    """
    states = [moment.state for moment in schedule.moments]
    # the first holder of an address counts
    names = {ip: name for state in reversed(states) for ip, name in name_addresses(state).items()}
    macs = {mac: name for state in states for mac, name in name_macs(state).items()}
    report, captures = plan_captures(report, live.recording.capture, names, macs)
    bundled = (
        replace(r, bundle=bundle_directory(r)) if r.flow.name in found.dumps else r for r in report.flows
    )
    report = replace(report, flows=tuple(bundled))
    output = (
        (f"logs/{path.name}", path.read_bytes())
        for path in (sorted(live.logs.iterdir()) if live.commands or schedule.state.proxy.program else [])
    )
    return report, chain(captures, _bundles(schedule, live, found, report), output)


def save_evidence(directory: Path, evidence: Iterable[tuple[str, files.Content]], report: Report) -> Report:
    """Writes ``evidence`` into ``directory`` as far as possible; returns ``report`` with a notice of what is
    missing.
    """
    written = files.write_evidence(directory, evidence)
    if written.missing:
        tell_missing(written.missing)
    return keep_written(report, written.names, written.missing)


def tell_missing(missing: str) -> None:
    """Reports on standard error that evidence is missing."""
    complain(f"evidence is not complete: {missing}")


def _bundles(
    schedule: Schedule, live: Live, found: RunResults, report: Report
) -> Iterator[tuple[str, files.Content]]:
    pods = name_pods(schedule)
    for result in report.flows:
        if result.flow.name in found.dumps:
            lines = [str(decode_frame(number, live.recording.capture[number])) for number in result.frames]
            yield from plan_bundle(result, found.dumps[result.flow.name], lines, pods)


def name_pods(schedule: Schedule) -> Mapping[str, str]:
    """Returns address → ``namespace/name`` of every Pod of any moment; the first holder of an address
    counts.
    """
    return {ip: name for moment in reversed(schedule.moments) for ip, name in pod_names(moment.state).items()}


def relative_path(directory: Path, file: Path) -> str:
    """Returns the path of ``directory`` as links of the page ``file`` have it. A page that goes to a pipe or
    a device will be somewhere else: the current directory, as far as anybody knows.
    """
    nowhere = file.is_relative_to("/dev") or file.is_relative_to("/proc")
    return os.path.relpath(directory, os.curdir if nowhere else file.parent)


class Delivery:
    """Prints a report and writes it to the files that were asked for.

    Verdicts come before evidence, which may fill the disk. An output that cannot be written is named on
    standard error, and ``failed`` is set; the others are written all the same.
    """

    def __init__(
        self,
        pods: Mapping[str, str],
        output: str,
        json: Path | None,
        xml: Path | None,
        directory: Path | None,
        *,
        html: Path | None = None,
        quiet: bool = False,
    ) -> None:
        """Proves that the files can be written. ``output`` is the form that is printed, ``directory`` the
        place of the evidence (None: nowhere). ``quiet``: no table where everything is as expected.
        """
        self._quiet = quiet and output in run_text.FORMS
        self._pods, self._output, self._directory = pods, output, directory
        self._attempt = Attempts()
        self._json, self._xml = self._provable(json), self._provable(xml)
        self._html = self._provable(html)
        self._delivered: Report | None = None

    @property
    def failed(self) -> bool:
        return self._attempt.failed

    def name_pods(self, pods: Mapping[str, str]) -> None:
        """Takes the names of Pods (:func:`name_pods`) that nobody knew before the run."""
        self._pods = pods

    def _provable(self, path: Path | None) -> Path | None:
        return path if path and self._attempt(lambda: files.check_writable_file(path)) else None

    def tell_verdicts(self, report: Report) -> None:
        """Writes the files and prints the table, before evidence is written."""
        self._json = self._written(self._json, lambda: self._pieces(report))
        self._xml = self._written(self._xml, lambda: junit.to_junit(report, self._pods))
        self._html = self._written(self._html, lambda: self._page(report))
        self._quiet &= report.ok
        if self._output in run_text.FORMS:
            self._say(unread_by_runner(self._table(report)))
            if os.environ.get("GITHUB_ACTIONS") == "true":
                self._say(github.annotate(report))
        if path := os.environ.get("GITHUB_STEP_SUMMARY"):
            summary = github.summarize(report, self._pods)
            Attempts()(lambda: files.append_text(Path(path), summary))  # no verdict hangs on it
        self._delivered = report

    def _pieces(self, report: Report) -> Iterator[bytes]:
        return (piece.encode() for piece in report_json.json_pieces(report, self._pods))

    def _written(self, path: Path | None, encode: Callable[[], files.Content]) -> Path | None:
        return path if path and self._attempt(lambda: files.write_file(path, encode())) else None

    def tell_evidence(self, report: Report) -> None:
        """Reports the place or the lack of the evidence; prints a report that is one document (JSON,
        YAML).
        """
        if report != self._delivered:
            with suppress(UsageError):  # the disk may be full now: the earlier output has all but this
                self._rewrite(report)
        if self._output == "json":
            self._say(report_json.to_json(report, self._pods))
        elif self._output == "yaml":
            self._say(report_json.to_yaml(report, self._pods))
        elif report != self._delivered:
            self._say(f"{run_text.notes(report.notices[-1:], Screen(_columns()))}\n")
        elif self._directory:
            self._say(run_text.evidence(report, _inside(self._directory), _columns()))

    def _rewrite(self, report: Report) -> None:
        if self._json and self._json.is_file():  # a pipe has had its report
            files.write_file(self._json, self._pieces(report))
        if self._xml and self._xml.is_file():
            files.write_file(self._xml, junit.to_junit(report, self._pods))
        if self._html and self._html.is_file():
            files.write_file(self._html, self._page(report))

    def _page(self, report: Report) -> bytes:
        captures = relative_path(self._directory, self._html) if self._directory and self._html else None
        return report_html.to_html(report, self._pods, captures)

    def _table(self, report: Report) -> str:
        return run_text.render_text(
            report,
            form=cast(run_text.Form, self._output),
            color=wants_color(os.environ, sys.stdout.isatty()),
            width=_columns(),
            wide_width=_columns() if sys.stdout.isatty() else None,
            pods=self._pods,
            directory=_inside(self._directory) if self._directory else "",
        )

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._attempt(lambda: say(text))


def _columns() -> int:
    return shutil.get_terminal_size((132, 24)).columns


def _inside(directory: Path) -> str:
    return f"{printable(str(directory))}/"

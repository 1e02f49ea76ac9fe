"""Sends flows through a cluster that is up, for ``podwire check`` in another terminal, and judges them by the
objects as they are at that moment.

The cluster's own process does it, by the thread that alone changes the kernel: so nothing changes between
the first packet and the verdict, and the rings of the taps, the question whether a server is still busy and
the state that the kernel has are at hand. The caller reads the FlowChecks and prints the report.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, cast

from ..cluster.state import ClusterState
from ..controllers.settle import send_once
from ..errors import InputError, Problem, UsageError
from ..kernel.counters import read_settings
from ..kernel.environment import TOPOLOGIES
from ..load.faults import did_you_mean
from ..load.load import load
from ..load.targets import MANIFEST_SUFFIXES
from ..model.results import Report
from ..objects.config import FlowCheck
from ..objects.kinds import Loaded
from ..objects.warnings import Code
from ..report import files
from ..report.captures import slug
from ..report.describe import pod_names
from ..schedule.schedule import plan_flows, plan_once, require_flows
from .clock import Clock
from .clusters import Running
from .control import ask
from .kustomize import build
from .live import Live
from .reporting import Delivery, make_report, tell_missing
from .run import Options, Run, exit_code, hand_over, send_flows

Known = Callable[[], Iterable[Loaded[FlowCheck]]]
InKernel = Callable[[Callable[[], "Checked"]], Awaitable["Checked"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Asks a cluster to send flows: those of ``checks`` and of the FlowChecks in the cluster that ``names``
    names; without any, those that the objects call for. ``directory``: where the evidence goes (None:
    nowhere); ``missing``: why there is no such place ("" if it was not wanted).
    """

    checks: tuple[Loaded[FlowCheck], ...] = ()
    names: tuple[str, ...] = ()
    derive: bool = False
    directory: Path | None = None
    missing: str = ""
    strict: bool = False
    ignore: frozenset[Code] = frozenset()


@dataclass(frozen=True, slots=True)
class Checked:
    """Holds the answer: the report, and address → ``namespace/name`` of the Pods."""

    report: Report
    pods: Mapping[str, str]


# --- the caller -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Holds the command line: ``words`` are files, or names of FlowChecks in the cluster."""

    words: tuple[str, ...] = ()
    derive: bool = False
    output: str = "table"
    json: Path | None = None
    junit: Path | None = None
    html: Path | None = None
    captures: Path | None = None
    quiet: bool = False
    strict: bool = False
    ignore: frozenset[Code] = frozenset()


def check(running: Running, wanted: Wanted) -> int:
    """Lets the cluster ``running`` send what is ``wanted``, and prints the report; returns the exit code."""
    targets = [word for word in wanted.words if is_file(word)]
    checks = read_checks(targets) if targets else ()
    directory, missing = _claim(wanted.captures, running, wanted.words)
    request = Check(
        checks=checks,
        names=tuple(word for word in wanted.words if not is_file(word)),
        derive=wanted.derive,
        directory=directory,
        missing=missing,
        strict=wanted.strict,
        ignore=wanted.ignore,
    )
    answers = ask(running, request)
    checked = cast("Checked | None", next(answers, None))
    if checked is None:
        raise UsageError(f"cluster {running} has ended before it answered")
    delivery = Delivery(
        checked.pods,
        wanted.output,
        wanted.json,
        wanted.junit,
        directory,
        html=wanted.html,
        quiet=wanted.quiet,
    )
    delivery.tell_verdicts(checked.report)
    delivery.tell_evidence(checked.report)
    return exit_code(delivery, checked.report)


def is_file(word: str) -> bool:
    """Returns whether a word of the command line names a file, and not a FlowCheck in the cluster."""
    return word == "-" or Path(word).suffix in (*MANIFEST_SUFFIXES, ".py") or Path(word).exists()


def _claim(captures: Path | None, running: Running, words: Sequence[str]) -> tuple[Path | None, str]:
    """Returns the place of the evidence, and why there is none."""
    if captures is None:
        return None, ""
    directory = captures.absolute() / f"{slug(running.topology)}-check"
    try:
        return files.claim_directory(directory, f"check {' '.join(words)}"), ""
    except UsageError as error:
        tell_missing(str(error))
        return None, str(error)


def read_checks(targets: Sequence[str]) -> tuple[Loaded[FlowCheck], ...]:
    """Returns the FlowChecks of ``targets``, each with a place that can be sent to another process; other
    objects in these files are left out. Raises InputError with every problem, and where there is none.
    """
    found = load(targets, topologies=TOPOLOGIES, build=build).flowChecks
    if not found:
        what = "holds no FlowCheck"
        raise InputError([Problem(", ".join(targets), what, "podwire check without a file sends the flows")])
    problems = [
        Problem(
            one.origin.file,
            "has steps, which change the cluster",
            "podwire run sends them; check sends flows",
            one.origin.document,
            "spec.steps",
            one.origin.line("spec.steps"),
        )
        for one in found
        if one.object.steps
    ]
    if problems:
        raise InputError(problems)
    return tuple(replace(one, origin=replace(one.origin, line=_lines_of(one))) for one in found)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Finds lines as ``Origin.line`` does. It can be sent to another process."""

    known: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, path: str) -> int:
        while path and path not in self.known:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.known.get(path, 0)


def _lines_of(loaded: Loaded[Any]) -> _Lines:
    return _Lines({path: loaded.origin.line(path) for path in _paths(loaded.raw)})


def _paths(value: Any, path: str = "") -> Iterator[str]:
    yield path
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _paths(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _paths(item, f"{path}[{index}]")


# --- the cluster ------------------------------------------------------------------------------------------


class Checking:
    """Sends flows through a cluster that is up, one :class:`Check` after the other."""

    def __init__(
        self, live: Live, now: Callable[[], Awaitable[ClusterState]], known: Known, in_kernel: InKernel
    ) -> None:
        """Prepares it. ``now`` returns the state that the kernel has, when all that was written before is in
        it; ``known`` yields the FlowChecks in the cluster; ``in_kernel`` calls a function by the thread that
        changes the kernel.
        """
        self._live, self._now, self._known, self._in_kernel = live, now, known, in_kernel
        self._settings = read_settings()

    async def check(self, request: Check) -> Checked:
        """Sends what is asked. Raises InputError for names and references that lead nowhere."""
        checks = (*request.checks, *find_checks(request.names, tuple(self._known())))
        if request.derive:
            checks = tuple(replace(one, object=replace(one.object, derive=True)) for one in checks)
        state = await self._now()
        return await self._in_kernel(partial(self._send, state, checks, request))

    def _send(self, state: ClusterState, checks: tuple[Loaded[FlowCheck], ...], request: Check) -> Checked:
        started, live = datetime.now(timezone.utc), self._live
        scenario = send_once(state, checks)
        flows, promise = plan_flows(scenario)
        require_flows(scenario, flows)
        schedule = plan_once(scenario, flows, promise)
        run = Run(
            schedule,
            Options(strict=request.strict, ignore=request.ignore, quiet=True),
            request.directory,
            request.missing,
            Clock(),
            self._settings,
        )
        before, live.clock = len(live.said), run.clock
        try:
            with live.listening(schedule, keep=run.evidence):
                found = send_flows(schedule, live, lambda _: None, run.evidence, shown=False)
                made = make_report(
                    schedule, live, found, started, strict=request.strict, ignore=request.ignore
                )
                report = hand_over(run, None, made, live, found)
        finally:
            del live.said[before:]
        return Checked(report, pod_names(state))


def find_checks(names: Sequence[str], known: Sequence[Loaded[FlowCheck]]) -> list[Loaded[FlowCheck]]:
    """Returns the FlowChecks among ``known`` that ``names`` name: NAME (in any namespace, default first) or
    NAMESPACE/NAME. Raises InputError with each that is not there.
    """
    problems, found = [], []
    by_name = {one.object.metadata.name: one for one in reversed(known)}
    by_name |= {
        one.object.metadata.name: one for one in known if one.object.metadata.namespace in ("", "default")
    }
    by_name |= {
        f"{one.object.metadata.namespace or 'default'}/{one.object.metadata.name}": one for one in known
    }
    for name in names:
        if name in by_name:
            found.append(by_name[name])
            continue
        there = [one.object.metadata.name for one in known]
        listed = f"there is: {', '.join(sorted(there)[:8])}" if there else "the cluster has none"
        hint = did_you_mean(name, there) or f"{listed}; a file has an ending, as in checks.yaml"
        problems.append(Problem(name, "is neither a file nor a FlowCheck in the cluster", hint))
    if problems:
        raise InputError(problems)
    return found


def checks_in(documents: Iterable[Mapping[str, Any]]) -> Iterator[Loaded[FlowCheck]]:
    """Yields the FlowChecks of the API's objects ``documents``. Raises InputError for one that podwire cannot
    read: the API server checks less.
    """
    for document in documents:
        meta = document["metadata"]
        manifest = {**document, "metadata": {"name": meta["name"], "namespace": meta.get("namespace")}}
        place = f"FlowCheck {meta.get('namespace')}/{meta['name']}"
        try:
            loaded = load(["-"], topologies=TOPOLOGIES, stdin=StringIO(json.dumps(manifest))).flowChecks
        except InputError as error:
            problems = (replace(one, file=place, document=0, line=0) for one in error.problems)
            raise InputError(tuple(problems)) from None
        for one in loaded:
            yield replace(one, origin=replace(one.origin, file=place, document=0, line=_Lines()))

"""Lets a program have a cluster: method calls bring it up, enter it, test it and take it down.

Two processes. The caller keeps a :class:`RunningCluster`; a child process runs the sandbox and does what it
is told (:func:`serve`). They talk through a socket pair that nobody else can open, in pickles, since the same
code is at both ends. The child ends when the caller closes its end, or ends itself.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from ..cluster.scenario import Scenario
from ..controllers.settle import every_problem, play
from ..errors import InputError, Problem, UsageError
from ..kernel import sandbox
from ..kernel.environment import DEFAULT_TOPOLOGY, TOPOLOGIES, prepare_path
from ..kernel.signals import end_at_once, prepare_signals
from ..load.load import ReadingError, load
from ..model.results import FlowResult, Report
from ..objects.config import Inventory, ProxyMode
from ..objects.warnings import ManifestWarning
from ..report.describe import pod_names
from ..report.run_text import render_text, tell_cause
from ..report.tables import render_difference
from ..schedule.schedule import plan_flows, plan_move, plan_once
from .clock import Clock
from .clusters import choose
from .codes import known_codes
from .kustomize import build
from .live import Live
from .reporting import make_report, warnings_of
from .run import Options, Run, bring_up, hand_over, prepare, send_flows

_PACKAGE = __name__.removesuffix(".run.session")
_ROOT = Path(__file__).resolve().parents[__name__.count(".")]  # where that package is found
_WIDTH = 100  # columns of what an error shows


class CheckFailedError(AssertionError):
    """Reports that some flow of a check was not as expected. ``report`` has all of them.

    The first line of its text is the cause: pytest's summary shows no other.
    """

    __module__ = "podwire"  # its public name, whatever package it is in

    def __init__(self, report: Report, pods: Mapping[str, str]) -> None:
        self.report = report
        text = render_text(report, width=_WIDTH, pods=pods, called=True)
        super().__init__(f"{tell_cause(report)}\n\n{text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Holds the arguments of :func:`cluster`."""

    targets: tuple[str, ...]
    seed: int
    proxy_mode: ProxyMode | None
    run: bool
    options: Options


@dataclass(frozen=True, slots=True)
class _Check:
    """Names FlowChecks to send: targets, and manifests as JSON. Without any: the flows of the cluster's own
    targets.
    """

    targets: tuple[str, ...] = ()
    manifests: str = ""


@dataclass(frozen=True, slots=True)
class _Checked:
    report: Report
    pods: Mapping[str, str]


class RunningCluster:
    """Controls a cluster that is up. Made by :func:`cluster`; it is gone when that context ends."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: Connection,
        warnings: tuple[ManifestWarning, ...],
    ) -> None:
        self._process, self._connection, self._warnings = process, connection, warnings
        self._report: Report | None = None
        self._pods: Mapping[str, str] = {}  # address → namespace/name

    @property
    def pid(self) -> int:
        """Returns the process id by which ``podwire exec --cluster`` finds this cluster."""
        return self._process.pid

    @property
    def report(self) -> Report:
        """Returns the report of the cluster's own flows: those of the FlowChecks among its targets, or those
        that its objects call for. They are sent when this is read first.
        """
        __tracebackhide__ = True
        if self._report is None:
            found = self._ask(_Check())
            self._report, self._pods = found.report, found.pods
        return self._report

    @property
    def warnings(self) -> tuple[ManifestWarning, ...]:
        """Returns the warnings about the objects of the cluster's targets (docs/warnings.md); no flow is sent
        for them.
        """
        return self._warnings

    @property
    def flows(self) -> tuple[FlowResult, ...]:
        """Returns each flow of :attr:`report`, with its verdict, what was expected and what was seen."""
        return self.report.flows

    def explain(self, result: FlowResult) -> str:
        """Returns why a flow of :attr:`flows` is not as expected: the reason, what was expected beside what
        was seen, and the hop where its way ended.
        """
        return render_difference(result, self._pods, _WIDTH)

    def exec(
        self,
        name: str,
        command: Sequence[str],
        *,
        input: str | None = None,
        timeout: float | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Runs ``command`` in the Pod (name or namespace/name), node or external client ``name``.

        Returns its exit code and what it wrote. ``input`` is written to its standard input, ``timeout`` is in
        seconds, ``check`` as in subprocess.run, which also says what is raised. Raises UsageError where there
        is no such name.
        """
        __tracebackhide__ = True
        choose(name, str(self.pid))
        return subprocess.run(
            [*_in_python("cli", "main"), "exec", "--cluster", str(self.pid), name, "--", *command],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )

    def check(self, *checks: str | Path | Mapping[str, Any]) -> Report:
        """Sends the flows of FlowChecks through the cluster as it is; returns the report if all are as
        expected.

        ``checks`` are files, directories, or manifests as mappings. Raises CheckFailedError with the report
        if some flow is not as expected, InputError for what cannot be read, and for FlowChecks with steps.
        """
        __tracebackhide__ = True
        targets = tuple(str(check) for check in checks if not isinstance(check, Mapping))
        manifests = [check for check in checks if isinstance(check, Mapping)]
        if not checks:
            raise UsageError("check() needs a FlowCheck: a file, a directory or a manifest")
        found = self._ask(_Check(targets, "\n".join(map(_document, manifests))))
        if not found.report.ok:
            raise CheckFailedError(found.report, found.pods)
        return found.report

    def _ask(self, check: _Check) -> _Checked:
        __tracebackhide__ = True
        with suppress(BrokenPipeError):
            self._connection.send(check)
        return cast(_Checked, _hear(self._connection))


@contextmanager
def cluster(
    *targets: str | Path,
    seed: int = 0,
    proxy_mode: ProxyMode | None = None,
    run: bool = False,
    captures: str | Path | None = None,
    iptables: str = "",
    ignore: Sequence[str] = (),
) -> Iterator[RunningCluster]:
    """Brings up the cluster that ``targets`` describe; it is taken down when the context ends.

    ``targets``, ``seed``, ``proxy_mode``, ``run`` (whether the commands of annotated containers run) and
    ``iptables`` are those of the command line; ``captures`` is the directory of the evidence (None: none is
    written), ``ignore`` are codes of warnings to leave out. Raises PodwireError: InputError with every
    problem of the input, MissingCapabilityError where this machine lacks something.
    """
    __tracebackhide__ = True
    job = _Job(
        targets=tuple(map(str, targets)) or (DEFAULT_TOPOLOGY,),
        seed=seed,
        proxy_mode=proxy_mode,
        run=run,
        options=Options(
            captures=None if captures is None else Path(captures),
            iptables=iptables,
            ignore=known_codes(ignore),
        ),
    )
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [*_in_python("run.session", "serve"), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the caller, who ends it
        )
    with process, Connection(ours.detach()) as connection:
        with suppress(BrokenPipeError):
            connection.send(job)
        warnings = cast("tuple[ManifestWarning, ...]", _hear(connection))
        yield RunningCluster(process, connection, warnings)


def _in_python(module: str, function: str) -> list[str]:
    """Returns the command that calls ``function`` in a Python of its own. Its modules are those of this one,
    whatever the current directory holds.
    """
    code = (
        f"import sys; sys.path.insert(0, sys.argv.pop(1)); from {_PACKAGE}.{module} import {function}; "
        f"sys.exit({function}())"
    )
    return [sys.executable, "-I", "-c", code, str(_ROOT)]


def _document(manifest: Mapping[str, Any]) -> str:
    try:
        return "---\n" + json.dumps(manifest)
    except (TypeError, ValueError) as error:
        raise UsageError(f"check(): a manifest cannot be written as JSON: {error}") from None


def _hear(connection: Connection) -> object:
    """Returns what the child answers; raises what it raised."""
    __tracebackhide__ = True
    try:
        answer = connection.recv()
    except (EOFError, ConnectionResetError):
        raise sandbox.SandboxDiedError("the cluster has ended: standard error may say why") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


# --- the child ---------------------------------------------------------------------------------------------


def serve() -> None:
    """Runs a cluster for the process at the other end of the socket pair whose descriptor is the last
    argument.
    """
    prepare_signals()
    prepare_path()
    os.set_inheritable(descriptor := int(sys.argv[-1]), False)
    connection = Connection(descriptor)
    try:
        job = cast(_Job, connection.recv())
        inventory = _read(job.targets)
        scenario = play(inventory, seed=job.seed, proxy_mode=job.proxy_mode, run=job.run)
        if scenario.rolls:
            raise UsageError("a FlowCheck rolls a Deployment out, which podwire run alone does")
        run = prepare(scenario, *plan_flows(scenario), job.options, Clock())
        sandbox.run(lambda channel: _attend(channel, _Session(job, inventory, run), connection))
    except (EOFError, KeyboardInterrupt):
        pass
    except BaseException as error:
        with suppress(OSError):
            connection.send(sandbox.picklable(error))
    end_at_once()


def _read(targets: Sequence[str], manifests: str = "") -> Inventory:
    """Returns what ``targets`` hold; "-" are the ``manifests`` that check() was given, a line each."""
    try:
        return load(targets, topologies=TOPOLOGIES, stdin=StringIO(manifests), build=build)
    except ReadingError as error:
        problems = (
            replace(problem, file="check()", line=0) if problem.file == "stdin" else problem
            for problem in every_problem(error)
        )
        raise InputError(tuple(problems)) from None


def _attend(channel: sandbox.Channel, session: _Session, connection: Connection) -> None:
    """Brings the cluster up, reports that, and does what is asked until the caller closes its end."""
    with bring_up(channel, session.run, datetime.now(timezone.utc)) as live:
        connection.send(warnings_of(session.run.schedule, session.run.options.ignore))
        while True:
            try:
                check = cast(_Check, connection.recv())
            except (EOFError, ConnectionResetError):
                return
            connection.send(_tried(partial(session.answer, check, live)))


def _tried(function: Callable[[], object]) -> object:
    """Returns what ``function`` returns or raises."""
    try:
        return function()
    except Exception as error:
        return sandbox.picklable(error)


class _Session:
    """Holds a cluster's run, and its state when the caller asks."""

    def __init__(self, job: _Job, inventory: Inventory, run: Run) -> None:
        self.run, self._job, self._inventory = run, job, inventory
        self._now = run.schedule  # the schedule at whose first moment the cluster is
        self._checks = 0
        self._changed = ""  # the FlowCheck whose steps have changed the cluster

    def answer(self, check: _Check, live: Live) -> _Checked:
        """Sends the flows of ``check`` through the cluster that is ``live``."""
        if check == _Check():
            return self._send(self.run, live)
        if self._changed:
            raise UsageError(
                f"the steps of FlowCheck {self._changed} have changed the cluster: check() before them"
            )
        self._checks += 1
        scenario = self._scenario(check)
        schedule = plan_once(scenario, *plan_flows(scenario))
        directory = self.run.directory
        run = replace(
            self.run,
            schedule=schedule,
            directory=directory and directory.with_name(f"{directory.name}-check-{self._checks}"),
        )
        return self._send(run, live)

    def _scenario(self, check: _Check) -> Scenario:
        """Returns the cluster with the FlowChecks of ``check`` in place of its own."""
        given = _read([*check.targets, *(["-"] if check.manifests else [])], check.manifests)
        problems = [
            Problem(
                loaded.origin.file,
                "has steps, which change the cluster",
                "give it to cluster(), as a target",
                loaded.origin.document,
                "spec.steps",
            )
            for loaded in given.flowChecks
            if loaded.object.steps
        ]
        checks = Inventory(
            name=given.name, flowChecks=given.flowChecks, notices=given.notices, warnings=given.warnings
        )
        if given != checks:
            problems.append(
                Problem(given.name, "holds more than FlowChecks", "give it to cluster(), as a target")
            )
        if problems:
            raise InputError(problems)
        job = self._job
        inventory = replace(self._inventory, flowChecks=given.flowChecks)
        return play(inventory, seed=job.seed, proxy_mode=job.proxy_mode, run=job.run)

    def _send(self, run: Run, live: Live) -> _Checked:
        started, schedule = datetime.now(timezone.utc), run.schedule
        with live.listening(schedule):
            if schedule is not self._now:
                live.change(replace(schedule.moments[0], plan=plan_move(self._now, schedule)))
            found = send_flows(schedule, live, lambda _: None, run.evidence)
            made = make_report(schedule, live, found, started, ignore=run.options.ignore)
            report = hand_over(run, None, made, live, found)
        self._now = schedule
        if len(schedule.moments) > 1:
            self._changed = next(flow.check for flow in schedule.flows if flow.step)
        return _Checked(report, pod_names(schedule.moments[-1].state))

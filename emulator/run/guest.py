"""Runs one mode in user-mode Linux, if this kernel lacks a feature that the guest's has. Both sides: here,
and in the guest that ``scripts/uml`` boots.

Files in the guest are lost with it, so the job goes there through standard input and everything comes back
through standard output: pickles, one after the other, first the report (or the error), then each file of
evidence, then None. Pickles, since the same code is at both ends of pipes that we made, as in ``sandbox``.
Invariant: a guest ends with the process that started it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

from ..cluster.scenario import Scenario
from ..errors import Exit, PodwireError
from ..kernel.environment import SHARE, UML, complete_path
from ..model.expectations import Expectation
from ..model.flows import Flow
from ..model.results import FlowResult, Report
from ..report import files
from ..report.captures import note_missing, slug
from ..schedule.schedule import PromiseOf, plan_flows
from .reporting import save_evidence
from .run import Options, find_directory, observe

KERNEL = "user-mode Linux"
MEMORY = "2G"  # only the touched part of it is taken from the host; the rings of a node take 16 MiB


class GuestError(PodwireError):
    """Reports that a run in the guest failed, or ended without a result: then its last output is on standard
    error.
    """

    def __init__(self, mode: str, what: str, exit_code: Exit) -> None:
        super().__init__(f"{mode} mode in {KERNEL}: {what}")
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Holds the job for the guest. ``evidence``: whether packets are wanted back."""

    scenario: Scenario
    flows: tuple[Flow, ...]
    expectations: dict[str, Expectation]
    options: Options
    evidence: bool

    def promise(self, flow: Flow, before: FlowResult | None = None) -> Expectation:
        """Returns the promise that was made outside; for an open connection it depends on earlier results
        here, and is made here.
        """
        return self.expectations[flow.name] if before is None else plan_flows(self.scenario)[1](flow, before)


def why_no_guest() -> str:
    """Returns why no guest can run here, with the remedy; "" if one can."""
    if not UML.is_file():
        return f"{UML} is not there: the installation is not whole; install podwire again"
    check = [sys.executable, "-I", str(UML), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False, start_new_session=True)
    return (done.stdout or done.stderr).strip() if done.returncode else ""


@contextmanager
def observing(
    scenario: Scenario, flows: Sequence[Flow], promise: PromiseOf, options: Options
) -> Iterator[Callable[[], Report]]:
    """Runs ``run.observe`` in a guest that starts at once and runs beside us. The yielded function waits for
    it, and returns its result or raises its error.

    Raises GuestError for every error of the guest. Leaving ends it.
    """
    directory, missing = find_directory(scenario.state, options)
    inside = replace(options, captures=None, iptables="")  # the guest has one flavour of iptables only
    expectations = {flow.name: promise(flow) for flow in flows}
    job = _Job(
        scenario=scenario,
        flows=tuple(flows),
        expectations=expectations,
        options=inside,
        evidence=directory is not None,
    )
    with _started([sys.executable, "-m", __name__], pickle.dumps(job)) as (process, output):
        yield lambda: _collect(process, output, directory, scenario.state.proxy.mode, missing)


@contextmanager
def _started(command: Sequence[str], stdin: bytes) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    words = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        sys.executable,
        "-I",
        str(UML),
        "--stdin",
        "--memory",
        MEMORY,
        *command,
    ]
    environment = {**os.environ, "PATH": complete_path(os.environ.get("PATH"))}
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=SHARE,
        env=environment,
        start_new_session=True,  # Ctrl-C is for podwire, which ends the guest
    )
    assert process.stdin  # noqa: S101 - both were asked for
    assert process.stdout  # noqa: S101
    try:
        with (
            suppress(BrokenPipeError),
            process.stdin as job,
        ):  # a dead guest shows itself by the missing result
            job.write(stdin)
        yield process, process.stdout
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


def _collect(
    process: subprocess.Popen[bytes], output: IO[bytes], directory: Path | None, mode: str, missing: str
) -> Report:
    try:
        result = _load(output)
        if isinstance(result, PodwireError):
            raise GuestError(mode, str(result), result.exit_code)
        report = cast(Report, result)
        if directory:
            report = replace(report, directory=str(directory))
            report = save_evidence(directory, iter(partial(_load, output), None), report)
    except pickle.UnpicklingError as error:
        what = (
            f"the guest ended without a result that can be read ({error}): was this checkout changed "
            "meanwhile?"
        )
        raise GuestError(mode, what, Exit.MACHINE_LACKS) from None
    except EOFError:
        output.close()
        what = f"the guest ended without a result (exit code {process.wait()})"
        raise GuestError(mode, what, Exit.MACHINE_LACKS) from None  # no flow was seen to fail
    return note_missing(report, missing) if missing else report


def _load(output: IO[bytes]) -> Any:
    """Returns the next value. Raises EOFError if there is none, UnpicklingError for one of another release of
    podwire.
    """
    try:
        return pickle.load(output)  # noqa: S301 - our own code wrote it, in a guest that we started
    except (EOFError, pickle.UnpicklingError):
        raise
    except Exception as error:  # any exception of a class that has changed
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from None


# --- inside the guest -------------------------------------------------------------------------------------


def _serve(job: _Job) -> Iterator[object]:
    """Yields the values that go back, in order."""
    with TemporaryDirectory() as name:
        options = replace(job.options, captures=Path(name) if job.evidence else None)
        try:
            yield observe(job.scenario, job.flows, job.promise, options)
        except PodwireError as error:
            yield error
            return
        if options.captures:
            directory = options.captures / slug(job.scenario.state.name)
            for path in sorted(directory.rglob("*")):
                if path.is_file() and path.name != files.INDEX:
                    yield path.relative_to(directory).as_posix(), path.read_bytes()
        yield None


def _main() -> None:
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # other output is no part of the result
    with open(output, "wb") as stream:
        for value in _serve(pickle.load(sys.stdin.buffer)):  # noqa: S301 - as above
            pickle.dump(value, stream)


if __name__ == "__main__":
    _main()

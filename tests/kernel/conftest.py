"""Tests marked ``ipvs("NAME")`` need a kernel with IPVS. Where this one has none they run in a guest that has
(scripts/uml): all of one name that were asked for in one guest, and each reports here as if it had run here.
The guests start first and run beside all other tests, which leave the processors idle half of the time; the
tests that they run come last. (A guest has one processor: two of about the same length are the fastest.)
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from emulator.kernel.generic_netlink import find_family
from tests.guest import GUEST_LACKS, uml_command
from tests.sandboxed import ROOT

SECONDS = 1800  # for all tests of a guest, on a busy machine too
Outcome = tuple[str, str]  # "passed", "skipped" or "failed", and why
_OUTCOME = pytest.StashKey[Outcome]()
_DIRECTORY = pytest.StashKey[Path]()  # where the guests' results are: one for all workers
_STARTED = pytest.StashKey[list["subprocess.Popen[bytes]"]]()


@cache
def _has_ipvs() -> bool:
    return find_family("IPVS") is not None


def _guest(item: pytest.Item) -> str:
    """Returns the guest in which the test runs; "" for here."""
    mark = item.get_closest_marker("ipvs")
    return str(mark.args[0]) if mark and not _has_ipvs() else ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders unit tests first. One worker has the end of the list, and must find the guests ended there: so
    the slowest tests come before.
    """
    items.sort(
        key=lambda item: (
            bool(_guest(item)),
            *(item.get_closest_marker(mark) is not None for mark in ("slow", "kernel")),
        )
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    guests = sorted({_guest(item) for item in session.items} - {""})
    if not guests or GUEST_LACKS or session.config.option.collectonly:
        return
    base: Path = session.config._tmp_path_factory.getbasetemp()
    session.stash[_DIRECTORY] = directory = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    started = (
        _start(directory, name, [item.nodeid for item in session.items if _guest(item) == name])
        for name in guests
    )
    session.stash[_STARTED] = [process for process in started if process]


def _start(directory: Path, name: str, ids: list[str]) -> subprocess.Popen[bytes] | None:
    """Has ``ids`` run, unless another worker does. The lock is the guest's: a worker that takes it later
    finds that the guest has ended.
    """
    with (directory / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        listed = directory / f"{name}.ids"
        if listed.exists():
            return None
        listed.write_text("\n".join(ids))
        command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "--",
            *uml_command(sys.executable, "-m", "tests.in_guest", listed, seconds=SECONDS),
        ]
        with (
            (directory / f"{name}.stdout").open("wb") as stdout,
            (directory / f"{name}.stderr").open("wb") as stderr,
        ):
            return subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[lock.fileno()],
            )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leaves what another worker may still wait for; a worker that was interrupted waits for nothing."""
    finished = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not session.shouldfail
    for process in session.stash.get(_STARTED, []):
        if not finished:
            process.terminate()
        process.wait()


@pytest.fixture(autouse=True)
def _elsewhere(request: pytest.FixtureRequest) -> None:
    """Has a test that this kernel cannot run run in a guest."""
    item = request.node
    if guest := _guest(item):
        item.stash[_OUTCOME] = (
            ("skipped", GUEST_LACKS)
            if GUEST_LACKS
            else _outcome(item.session.stash[_DIRECTORY], guest, item.nodeid)
        )


def _outcome(directory: Path, guest: str, nodeid: str) -> Outcome:
    outcomes, errors = _outcomes(directory, guest)
    return outcomes.get(nodeid) or ("failed", f"the guest did not run it:\n{errors}")


@cache
def _outcomes(directory: Path, name: str) -> tuple[Mapping[str, Outcome], str]:
    """Returns how each test went in the guest that was started, and its last words on standard error."""
    with (directory / f"{name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    # text after the last newline was cut off
    lines = (directory / f"{name}.stdout").read_text().split("\n")[:-1]
    outcomes = {nodeid: (outcome, why) for nodeid, outcome, why in map(json.loads, lines)}
    return outcomes, (directory / f"{name}.stderr").read_text(errors="replace")[-4000:]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if _OUTCOME not in pyfuncitem.stash:
        return None
    outcome, why = pyfuncitem.stash[_OUTCOME]
    if outcome == "skipped":
        pytest.skip(why)
    if outcome != "passed":
        pytest.fail(f"in the guest:\n{why}", pytrace=False)
    return True

"""Tests marked ``ipvs("NAME")`` need a kernel with IPVS. Where this one has none they run in a guest that has (scripts/uml): all of one name that
were asked for in one guest; the first to come waits for them, and each reports here as if it had run here. (A guest has one processor: two of
about the same length are the fastest.)
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from emulator.kernel.generic_netlink import find_family
from tests.guest import GUEST_LACKS, uml

SECONDS = 900  # for all tests of a guest, on a busy machine too
Outcome = tuple[str, str]  # "passed", "skipped" or "failed", and why
_OUTCOME = pytest.StashKey[Outcome]()


@cache
def _has_ipvs() -> bool:
    return find_family("IPVS") is not None


@pytest.fixture(autouse=True)
def _elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have a test that this kernel cannot run run in a guest."""
    item = request.node
    guest = _guest(item)
    if not guest or _has_ipvs():
        return
    if GUEST_LACKS:
        item.stash[_OUTCOME] = ("skipped", GUEST_LACKS)
        return
    together = [other.nodeid for other in item.session.items if _guest(other) == guest]
    base = tmp_path_factory.getbasetemp()
    directory = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # the one that all workers share
    outcomes = _outcomes(directory, guest, together)
    item.stash[_OUTCOME] = outcomes.get(item.nodeid) or ("failed", f"the guest did not run it:\n{outcomes.get('', ('', ''))[1]}")


def _guest(item: pytest.Item) -> str:
    mark = item.get_closest_marker("ipvs")
    return str(mark.args[0]) if mark else ""


def _outcomes(directory: Path, name: str, ids: list[str]) -> Mapping[str, Outcome]:
    """How each of ``ids`` went in the guest, and under "" what it wrote to standard error; whoever asks first has them run."""
    file = directory / f"{name}.guest.json"
    with (directory / f"{name}.guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            listed = directory / f"{name}.guest.ids"
            listed.write_text("\n".join(ids))
            done = uml(sys.executable, "-m", "tests.in_guest", listed, seconds=SECONDS)
            outcomes = {nodeid: (outcome, why) for nodeid, outcome, why in map(json.loads, done.stdout.splitlines())}
            file.write_text(json.dumps(outcomes | {"": ("", done.stderr.decode(errors="replace")[-4000:])}))
    return {nodeid: (outcome, why) for nodeid, (outcome, why) in json.loads(file.read_text()).items()}


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

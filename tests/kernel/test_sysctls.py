"""Tests sysctls of many namespaces."""

from __future__ import annotations

import errno
import os

import pytest

from emulator.errors import KernelError
from emulator.kernel import linux, sysctls
from emulator.kernel.apply import apply
from emulator.kernel.sysctls import read_sysctl
from emulator.plan.operations import AddNetns, Plan, SetSysctl
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel

KEY = "net.ipv4.icmp_ratemask"
PATH = "/proc/sys/net/ipv4/icmp_ratemask"


def _no_procfs() -> int:
    raise OSError(errno.EPERM, "no procfs")


@in_sandbox
@pytest.mark.parametrize("own", [True, False], ids=["a procfs of our own", "/proc"])
def test_each_namespace_has_its_value_whichever_procfs_wrote_it(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysctls, "_WRITES", 4)
    if not own:
        monkeypatch.setattr(linux, "open_proc", _no_procfs)
    names = [f"n{number}" for number in range(10)]
    new = [AddNetns(netns=name, why="t") for name in names]
    settings = [SetSysctl(netns=name, key=KEY, value=name[1:], why="t") for name in names]
    before = len(os.listdir("/proc/self/fd"))
    applied = apply(Plan(name="t", operations=(*new, *settings)))
    assert len(os.listdir("/proc/self/fd")) - before == len(names) + 1, "the namespaces and the sandbox's own"
    found = {name: applied.namespaces.call_in(name, lambda: read_sysctl(PATH)) for name in names}
    assert found == {name: name[1:] for name in names}
    with pytest.raises(KernelError, match="No such file"):
        apply(
            Plan(name="t", operations=(SetSysctl(netns="n0", key="net.ipv4.none", value="1", why="t"),)),
            applied,
        )
    applied.close()

"""Tests the rendered rules in a real kernel: loaded by both iptables flavours, read back, and compared with
the real kube-proxy's.
"""

from __future__ import annotations

import subprocess

import pytest

from emulator.plan.rules import RuleSet, compose
from emulator.proxy import rules_for
from tests.conftest import GOLDEN, UNSHARE
from tests.iptables_save import normal, parse
from tests.objects import golden_state

pytestmark = pytest.mark.kernel

DIRECTORY = GOLDEN / "kube-proxy-v1.30.5"
RULES = rules_for(golden_state(DIRECTORY), "worker-1")
REAL = (DIRECTORY / "iptables.iptables-save.txt").read_text()
FLAVOURS = ["nft", "legacy"]


def load(flavour: str, text: str, times: int = 1) -> str:
    """Returns the output of ``iptables-save`` after ``text`` was loaded into a network namespace of its own
    (with a lock file of its own).
    """
    steps = ["mount -t tmpfs run /run", "text=$(cat; echo .)"]
    steps += [f'printf %s "${{text%.}}" | iptables-{flavour}-restore --noflush'] * times
    # One table at a time: the list of tables (/proc/net/ip_tables_names) is closed to the root of a user
    # namespace.
    steps += [f"iptables-{flavour}-save -t {table}" for table in parse(text)]
    command = [*UNSHARE, "sh", "-ec", "; ".join(steps)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_kernel_holds_what_kube_proxy_leaves(flavour: str) -> None:
    assert normal(load(flavour, compose(RULES))) == normal(REAL)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_loading_twice_is_loading_once(flavour: str) -> None:
    text = compose(RULES, RuleSet({"nat": {"POSTROUTING": ("-s 10.244.1.0/24 -j MASQUERADE",)}}))
    assert parse(load(flavour, text, times=2)) == parse(load(flavour, text))


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    "settings",
    [
        {"masqueradeAll": True},
        {"localMode": ""},
        {"localMode": "NodeCIDR"},
        {"localMode": "BridgeInterface"},
        {"localMode": "InterfaceNamePrefix"},
        {"localhostNodePorts": False},
        {"nodePortAddresses": ("172.18.0.0/16",)},
        {"nodePortAddresses": ("127.0.0.0/8", "172.18.0.0/16")},
    ],
    ids=lambda s: "-".join(f"{k}={v}" for k, v in s.items()),
)
def test_rules_are_spelled_as_the_kernel_prints_them(flavour: str, settings: dict[str, object]) -> None:
    text = compose(rules_for(golden_state(DIRECTORY, **settings), "worker-1"))
    assert normal(load(flavour, text)) == normal(text)

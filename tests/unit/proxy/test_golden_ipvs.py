"""Compares ipvs mode with the real kube-proxy for the same objects: rules, virtual servers, sets, and
addresses of kube-ipvs0.
"""

from __future__ import annotations

import pytest

from emulator.plan.ipvs import create_line, ipvsadm_text
from emulator.plan.rules import compose
from emulator.proxy.ipvs import DUMMY, balancing
from tests.conftest import GOLDEN
from tests.iptables_save import parse
from tests.objects import golden_state

DIRECTORY = GOLDEN / "kube-proxy-v1.30.5"
RULES = parse((DIRECTORY / "ipvs.iptables-save.txt").read_text())
SERVERS, SETS, ADDRESSES = (DIRECTORY / "ipvs.ipvsadm-save.txt").read_text().split("\n\n")
# The real node had no Pod bridge, so that its only address was eth0's.
OURS = balancing(golden_state(DIRECTORY, nodePortAddresses=("172.18.0.0/16",)))("worker-1")
SET_NAMES = sorted(
    line.split()[1] for line in SETS.splitlines() if line.startswith("create ") and " KUBE-6-" not in line
)


def test_there_is_a_golden_file() -> None:
    assert len(SERVERS.splitlines()) > 30
    assert len(SET_NAMES) == 17


@pytest.mark.parametrize("table", RULES)
def test_table_has_the_real_chains(table: str) -> None:
    assert sorted(parse(compose(OURS.rules))[table]) == sorted(
        RULES[table] | ({"INPUT": []} if table == "nat" else {})
    )


@pytest.mark.parametrize(("table", "chain"), [(t, c) for t in RULES for c in RULES[t]])
def test_chain_has_the_real_rules_in_their_order(table: str, chain: str) -> None:
    assert parse(compose(OURS.rules))[table][chain] == RULES[table][chain]


def _by_server(text: str) -> dict[str, list[str]]:
    servers: dict[str, list[str]] = {}
    for line in text.splitlines():
        servers.setdefault(" ".join(line.split()[1:3]), []).append(line)
    return servers


@pytest.mark.parametrize("server", sorted(_by_server(SERVERS)))
def test_virtual_server_has_the_real_ones_behind_it(server: str) -> None:
    assert _by_server(ipvsadm_text(OURS.servers))[server] == _by_server(SERVERS)[server]


def test_no_other_virtual_server() -> None:
    assert sorted(_by_server(ipvsadm_text(OURS.servers))) == sorted(_by_server(SERVERS))


@pytest.mark.parametrize("name", SET_NAMES)
def test_set_holds_what_the_real_one_does(name: str) -> None:
    real = [line for line in SETS.splitlines() if line.split()[1] == name]
    ours = next(item for item in OURS.sets if item.name == name)
    assert [create_line(ours), *sorted(f"add {name} {entry}" for entry in ours.entries)] == [
        real[0],
        *sorted(real[1:]),
    ]


def test_no_other_set() -> None:
    assert sorted(item.name for item in OURS.sets) == SET_NAMES


def test_the_dummy_interface_has_the_real_addresses() -> None:
    real = [line.split()[1] for line in ADDRESSES.splitlines() if line.strip().startswith("inet ")]
    assert f" {DUMMY}: <BROADCAST,NOARP> " in ADDRESSES
    assert sorted(f"{ip}/32" for ip in OURS.addresses) == sorted(real)

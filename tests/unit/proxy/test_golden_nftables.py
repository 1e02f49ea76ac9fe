"""Compares our nftables rules with those of the real kube-proxy for the same objects: other chains, the same
promises.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulator.proxy import rules_for
from tests.conftest import GOLDEN
from tests.nft_ruleset import Table, parse, promise
from tests.objects import golden_state

DIRECTORY = GOLDEN / "kube-proxy-v1.30.5"
REAL = parse((DIRECTORY / "nftables.ruleset.txt").read_text())


@pytest.fixture(scope="module")
def text() -> str:
    return rules_for(golden_state(DIRECTORY, mode="nftables"), "worker-1").nft


@pytest.fixture(scope="module")
def ours(text: str) -> Table:
    return parse(text)


@pytest.mark.parametrize(
    "name", ["cluster-ips", "nodeport-ips", "no-endpoint-services", "no-endpoint-nodeports", "firewall-ips"]
)
def test_set_has_the_real_elements(name: str, ours: Table) -> None:
    assert REAL.elements[name]
    assert ours.elements[name] == REAL.elements[name]


@pytest.mark.parametrize(
    ("where", "key"), [(m, key) for m in ("service-ips", "service-nodeports") for key in REAL.elements[m]]
)
def test_address_leads_to_the_real_endpoints_for_everybody(where: str, key: str, ours: Table) -> None:
    assert promise(ours, ours.elements[where][key], key) == promise(REAL, REAL.elements[where][key], key)


@pytest.mark.parametrize("where", ["service-ips", "service-nodeports"])
def test_no_other_address_is_translated(where: str, ours: Table) -> None:
    assert set(ours.elements[where]) == set(REAL.elements[where])


def test_every_endpoint_that_can_meet_itself_is_a_hairpin(ours: Table) -> None:
    """Compares with kube-proxy's chains of endpoints, which mark hairpin packets there."""
    marked = {rules[0].split()[2] for name, rules in REAL.chains.items() if name.startswith("endpoint-")}
    assert set(ours.elements["hairpin-connections"]) == {f"{ip} . {ip}" for ip in marked}


@pytest.mark.parametrize("start", ["affinity-", "endpoint-O4", "endpoint-MT", "firewall-D2"])
def test_what_a_service_has_of_its_own_has_the_real_name(start: str, ours: Table) -> None:
    def names(table: Table) -> set[str]:
        return {name for name in (*table.elements, *table.chains) if name.startswith(start)}

    assert names(ours) == names(REAL) != set()


def test_source_ranges_are_the_real_ones(ours: Table) -> None:
    chain = "firewall-D2RGPZ6L-default/lb/tcp/http"
    assert ours.chains[chain] == ["ip saddr != { 203.0.113.0/24 } drop"]
    assert REAL.chains[chain] == ["ip saddr != 203.0.113.0/24 drop"]  # as the kernel prints a set of one


def test_text_is_stable(text: str, golden: Callable[[str, str], None]) -> None:
    golden("worker-1.nft.txt", text)

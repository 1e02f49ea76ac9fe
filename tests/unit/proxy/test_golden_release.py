"""Compares our rules with those of a current kube-proxy (scripts/record-kube-proxy) for the same objects:
where they decide about packets, not in every word. The names and comments are v1.30.5's
(test_golden_iptables.py, test_golden_nftables.py).
"""

from __future__ import annotations

import re

import pytest

from emulator.plan.rules import compose
from emulator.proxy import rules_for
from tests.conftest import GOLDEN
from tests.iptables_save import Tables, normal
from tests.nft_ruleset import Table, parse, promise
from tests.objects import golden_state

RELEASE = GOLDEN / "kube-proxy-v1.37.2"
OBJECTS = GOLDEN / "kube-proxy-v1.30.5"  # both releases were given the same

REAL_TABLES = normal((RELEASE / "iptables.iptables-save.txt").read_text())
REAL = parse((RELEASE / "nftables.ruleset.txt").read_text())

COUNTS = re.compile(r"-m nfacct --nfacct-name +\S+ ")


@pytest.fixture(scope="module")
def tables() -> Tables:
    return normal(compose(rules_for(golden_state(OBJECTS), "worker-1")))


@pytest.fixture(scope="module")
def table() -> Table:
    state = golden_state(OBJECTS, mode="nftables")
    return parse(rules_for(state, "worker-1").nft)


# --- iptables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mangle", "filter", "nat"])
def test_table_has_the_real_chains(name: str, tables: Tables) -> None:
    assert sorted(tables[name]) == sorted(REAL_TABLES[name])


@pytest.mark.parametrize(("name", "chain"), [(t, c) for t in REAL_TABLES for c in REAL_TABLES[t]])
def test_chain_has_the_real_rules_but_for_its_counters(name: str, chain: str, tables: Tables) -> None:
    """Leaves the named counters (nfacct) out, and the rules of node ports at 127.0.0.0/8 that are there to be
    counted: each has the target of the rule behind it.
    """
    rules = [
        COUNTS.sub("", rule)
        for rule in REAL_TABLES[name][chain]
        if not (rule.startswith("-d 127.0.0.0/8 ") and COUNTS.search(rule))
    ]
    assert tables[name][chain] == rules


def test_rules_that_only_count_change_nothing() -> None:
    rules = REAL_TABLES["nat"]["KUBE-NODEPORTS"]
    counting = [rule for rule in rules if COUNTS.search(rule)]
    assert len(counting) == 4
    for rule in counting:
        assert COUNTS.sub("", rule).removeprefix("-d 127.0.0.0/8 ") in rules


# --- nftables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["cluster-ips", "nodeport-ips", "no-endpoint-services", "no-endpoint-nodeports", "firewall-ips"]
)
def test_set_has_the_real_elements(name: str, table: Table) -> None:
    assert REAL.elements[name]
    assert table.elements[name] == REAL.elements[name]


@pytest.mark.parametrize(
    ("where", "key"), [(m, key) for m in ("service-ips", "service-nodeports") for key in REAL.elements[m]]
)
def test_address_leads_to_the_real_endpoints_for_everybody(where: str, key: str, table: Table) -> None:
    assert promise(table, table.elements[where][key], key) == promise(REAL, REAL.elements[where][key], key)


@pytest.mark.parametrize("where", ["service-ips", "service-nodeports"])
def test_no_other_address_is_translated(where: str, table: Table) -> None:
    assert set(table.elements[where]) == set(REAL.elements[where])


def test_the_same_endpoints_of_this_node_can_meet_themselves(table: Table) -> None:
    """Compares addresses: the release names protocol and port of the endpoint as well. It leaves out those of
    other nodes, as v1.30.5 and iptables mode do not: a Pod that dials another node's port of a Service with
    externalTrafficPolicy Local, and is drawn itself, is not masqueraded there.
    """
    pairs = {" . ".join(key.split(" . ")[:2]) for key in REAL.elements["hairpin-connections"]}
    ours = {key for key in table.elements["hairpin-connections"] if key.startswith("10.244.1.")}
    assert ours == pairs != set()


@pytest.mark.parametrize("chain", [c for c in REAL.chains if c.startswith(("filter-", "nat-"))])
def test_hook_is_the_real_one(chain: str, table: Table) -> None:
    """Compares priorities and jumps: Services without endpoints are refused after the translation."""
    assert table.chains[chain] == REAL.chains[chain]


def test_an_address_of_no_service_is_dropped(table: Table) -> None:
    """Compares but for the range: the recorded server's is a /16, the golden cluster's a /12."""
    real = [rule.replace("10.96.0.0/16", "10.96.0.0/12") for rule in REAL.chains["cluster-ips-check"]]
    assert table.chains["cluster-ips-check"] == real


@pytest.mark.parametrize("start", ["affinity-", "endpoint-O4", "endpoint-MT", "firewall-D2"])
def test_what_a_service_has_of_its_own_has_the_real_name(start: str, table: Table) -> None:
    def names(each: Table) -> set[str]:
        return {name for name in (*each.elements, *each.chains) if name.startswith(start)}

    assert names(table) == names(REAL) != set()

"""Tests the flows of every mode, and which modes can be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.cluster.scenario import Scenario
from emulator.cluster.state import Program
from emulator.errors import MissingCapabilityError, UsageError
from emulator.run import diff, guest
from emulator.run import machine as machine_needs
from emulator.run.diff import check_modes, merge_flows, settle_modes
from emulator.schedule.schedule import plan_flows
from tests.told import noticed
from tests.unit.load.reading import load_text
from tests.unit.states import make_state, node_port_service


def test_every_mode_is_sent_what_any_mode_needs() -> None:
    states = [make_state(node_port_service(), proxy={"mode": mode}) for mode in ("nftables", "iptables")]
    planned = [plan_flows(Scenario(state=state), differences=True)[0] for state in states]
    merged = merge_flows(planned)
    by_name = {flow.name: flow for flow in merged}
    assert by_name.keys() == {flow.name for flows in planned for flow in flows}
    for flows in planned:
        for flow in flows:
            got = by_name[flow.name]
            assert got.attempts >= flow.attempts
            assert set(got.controls) >= set(flow.controls)
            assert got.enough >= flow.enough
            assert got == replace(flow, attempts=got.attempts, enough=got.enough, controls=got.controls)
    assert all(set(flow.controls) <= by_name.keys() for flow in merged)
    assert [flow.control for flow in merged] == sorted(flow.control for flow in merged)


def test_only_one_mode_translates_a_node_port_on_localhost() -> None:
    name = "node control-plane → localhost:30080 (svc default/web)"
    states = [make_state(node_port_service(), proxy={"mode": mode}) for mode in ("nftables", "iptables")]
    alone, both = (
        {flow.name: flow for flow in merge_flows([plan_flows(Scenario(state=s))[0] for s in given])}
        for given in (states[:1], states)
    )
    assert (alone[name].attempts, alone[name].controls) == (1, ())
    assert both[name].attempts > 1
    assert both[name].controls


@pytest.mark.parametrize("modes", [["iptables", "carrier-pigeon"], ["carrier-pigeon", "smoke", "iptables"]])
def test_modes_that_there_are_not_are_all_named(modes: list[str]) -> None:
    with pytest.raises(UsageError, match=", ".join(m for m in modes if m != "iptables")):
        check_modes(modes)


def test_one_mode_is_no_comparison() -> None:
    with pytest.raises(UsageError, match="two modes"):
        check_modes(["iptables"])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Returns a machine that has every tool, a kernel without IPVS, and user-mode Linux; a test takes away
    from it.
    """
    has: dict[str, Any] = {"tools": {"nft", "ipset"}, "family": None, "obstacle": ""}
    monkeypatch.setattr(machine_needs.shutil, "which", lambda tool: tool if tool in has["tools"] else None)
    monkeypatch.setattr(machine_needs, "find_family", lambda _: has["family"])
    monkeypatch.setattr(diff, "why_no_guest", lambda: has["obstacle"])
    return has


def test_what_this_kernel_lacks_runs_in_a_guest(machine: dict[str, Any]) -> None:
    assert check_modes(["ipvs", "iptables"]) == {"ipvs": "ip_vs"}
    assert check_modes(["nftables", "iptables"]) == {}


def test_what_this_kernel_has_runs_here(machine: dict[str, Any]) -> None:
    machine.update(family=29, obstacle="nothing works")
    assert check_modes(["ipvs", "iptables"]) == {}


@pytest.mark.parametrize(
    ("lacks", "modes", "says"),
    [
        (
            {"tools": {"ipset"}},
            ["iptables", "nftables"],
            ["the tool nft (for mode nftables): apt-get install nftables"],
        ),
        ({"tools": {"nft"}}, ["iptables", "ipvs"], ["the tool ipset (for mode ipvs): apt-get install ipset"]),
        (
            {"obstacle": "not installed: run: x"},
            ["iptables", "ipvs"],
            ["ip_vs in its kernel (for mode ipvs): modprobe ip_vs", "run: x"],
        ),
        (
            {"tools": set(), "obstacle": "not installed: run: x"},
            ["ipvs", "nftables"],
            [
                "the tool ipset (for mode ipvs)",
                "the tool nft (for mode nftables)",
                "ip_vs in its kernel",
                "install nftables",
                "run: x",
            ],
        ),
    ],
    ids=["a tool", "a guest's tool", "a guest", "all at once"],
)
def test_modes_that_cannot_be_had_are_all_named_with_the_remedy(
    machine: dict[str, Any], lacks: dict[str, Any], modes: list[str], says: list[str]
) -> None:
    machine.update(lacks)
    with pytest.raises(MissingCapabilityError) as caught:
        check_modes(modes)
    assert all(words in str(caught.value) for words in says), str(caught.value)


def test_nobody_looks_for_a_guest_that_is_not_needed(
    machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff, "why_no_guest", lambda: pytest.fail("a process was started for nothing"))
    assert check_modes(["iptables", "nftables"]) == {}


def test_why_there_can_be_no_guest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(guest, "UML", tmp_path / "uml")
    assert "the installation is not whole" in guest.why_no_guest()
    guest.UML.write_text("import sys; print('not installed: run: this'); sys.exit('uml: the same')")
    assert guest.why_no_guest() == "not installed: run: this"
    guest.UML.write_text("import sys; assert sys.argv[1:] == ['--check']")
    assert guest.why_no_guest() == ""


POD = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web}]}}"
DUMP = """
{apiVersion: v1, kind: Node, metadata: {name: a}, status: {addresses: [{type: InternalIP, \
address: 172.18.0.3}]}}
"""
SETTINGS = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system}
data:
  config.conf: |
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    mode: MODE
"""


def settings(mode: str) -> str:
    return SETTINGS.replace("MODE", mode)


@pytest.mark.parametrize(
    ("text", "given", "modes"),
    [
        (POD, [], ["iptables", "nftables"]),
        (DUMP + settings("ipvs"), [], ["ipvs", "nftables"]),
        (DUMP + settings("''"), [], ["iptables", "nftables"]),
        (DUMP + settings("ipvs"), ["nftables", "iptables"], ["nftables", "iptables"]),
        (DUMP + settings("nftables"), ["nftables", "ipvs"], ["nftables", "ipvs"]),
    ],
    ids=["manifests", "its own mode", "its own, which is the default", "others", "its own and another"],
)
def test_the_clusters_own_mode_is_compared_with_what_it_will_be(
    text: str, given: list[str], modes: list[str]
) -> None:
    scenarios = settle_modes(load_text(text), given, 0)
    assert [(mode, scenario.state.proxy.mode) for mode, scenario in scenarios.items()] == [
        (mode, mode) for mode in modes
    ]


def test_a_cluster_that_has_the_new_mode_needs_another_one_to_compare_with() -> None:
    with pytest.raises(UsageError, match=r"is in nftables mode already: .*--modes iptables,nftables"):
        settle_modes(load_text(DUMP + settings("nftables")), [], 0)


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        (DUMP, [], True),
        (DUMP, ["iptables", "nftables"], False),
        (DUMP + settings("ipvs"), [], False),
        (POD, [], False),
    ],
    ids=["a dump without", "modes were named", "a dump with", "no dump"],
)
def test_a_dump_that_does_not_tell_its_mode_is_told_of(text: str, given: list[str], said: bool) -> None:
    scenarios = settle_modes(load_text(text), given, 0)
    notices = [
        notice
        for one in scenarios.values()
        for notice in noticed(one.state)
        if "KubeProxyConfiguration" in notice
    ]
    assert len(notices) == said
    assert not said or "iptables mode stands for the cluster's own" in notices[0]


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every path be a kube-proxy of v1.37.2."""
    monkeypatch.setattr(diff, "_program", lambda path: Program(str(path), "v1.37.2"))


@pytest.mark.usefixtures("released")
def test_a_real_kube_proxy_runs_in_the_clusters_own_mode_or_in_the_one_that_is_named() -> None:
    given = ["iptables", "real:/opt/kube-proxy", "real:ipvs:/opt/kube-proxy", "real:/other:one"]
    scenarios = settle_modes(load_text(DUMP + settings("nftables")), given, 0)
    found = {name: (one.state.proxy.mode, one.state.proxy.program) for name, one in scenarios.items()}
    assert found == {
        "iptables": ("iptables", None),
        "nftables-v1.37.2": ("nftables", Program("/opt/kube-proxy", "v1.37.2")),
        "ipvs-v1.37.2": ("ipvs", Program("/opt/kube-proxy", "v1.37.2")),
        "nftables-v1.37.2-4": ("nftables", Program("/other:one", "v1.37.2")),
    }


@pytest.mark.usefixtures("machine", "released")
def test_a_real_kube_proxy_is_never_sent_to_a_guest() -> None:
    assert check_modes(["ipvs", "real:ipvs:/opt/kube-proxy"]) == {"ipvs": "ip_vs"}
    assert check_modes(["iptables", "real:ipvs:/opt/kube-proxy"]) == {}
    scenarios = settle_modes(load_text(POD), ["ipvs", "real:ipvs:/opt/kube-proxy"], 0)
    assert diff._check_machine(scenarios) == {"ipvs": "ip_vs"}


def test_a_real_kube_proxy_has_a_path() -> None:
    with pytest.raises(UsageError, match=r"real: names no kube-proxy, as in real:\./kube-proxy"):
        check_modes(["iptables", "real:"])


def test_a_real_kube_proxy_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="/nowhere: there is no such file"):
        settle_modes(load_text(POD), ["iptables", "real:/nowhere"], 0)

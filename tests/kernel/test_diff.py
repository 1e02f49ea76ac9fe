"""Tests podwire diff: the Services that change between modes of kube-proxy, proved by packets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from emulator.kernel.generic_netlink import find_family
from emulator.plan.operations import LoadRules, Plan
from emulator.run.diff import run_modes
from emulator.run.run import Options, observe
from emulator.schedule.schedule import plan_flows
from emulator.verdicts.modes import compare_modes
from tests.guest import with_guest
from tests.sandboxed import ROOT, TOPOLOGIES, podwire, scenario_of

read_xml = ElementTree.fromstring  # our own output, not a stranger's

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SHOP = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: worker-1, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-too, labels: {app: web}}
spec: {nodeName: worker-2, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: worker-2, containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {name: inner}
spec: {selector: {app: web}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: outer}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
MASQUERADE_ALL = """
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
iptables: {masqueradeAll: true}
"""
CHECK = """
---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: localhost}
spec:
  flows:
  - name: a node port on localhost
    from: {node: worker-1}
    to: {ip: 127.0.0.1, port: 30080}
    expect: {outcome: delivered}
"""


def differences(exported: dict[str, Any]) -> dict[str, tuple[str, list[str], list[int]]]:
    """Returns the outcomes and the sections, by what was dialled, and from where."""
    return {
        f["name"]: (f["status"], [m["outcomes"][0] for m in f["modes"].values()], f["sections"])
        for f in exported["flows"]
        if f["status"] != "same"
    }


def test_every_difference_is_known_and_every_known_one_is_seen(tmp_path: Path) -> None:
    done = podwire("diff", "-", "-o", "json", "--captures", str(tmp_path), stdin=SHOP)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    exported = json.loads(done.stdout)
    assert differences(exported) == {
        "node worker-1 → localhost:30080 (svc default/outer)": ("known", ["delivered", "rejected"], [9]),
        "node control-plane → localhost:30080 (svc default/outer)": ("known", ["delivered", "rejected"], [9]),
        "node worker-1 → node worker-1:30080 (svc default/outer, at its bridge's address)": (
            "known",
            ["delivered", "rejected"],
            [9],
        ),
        "pod default/web → node worker-1:30080 (svc default/outer, at its bridge's address)": (
            "known",
            ["delivered", "rejected"],
            [9],
        ),
        "pod default/client → svc default/inner:81 (a port that it does not have)": (
            "known",
            ["unreachable", "rejected"],
            [8],
        ),
        "pod default/client → 10.111.255.254:80 (an address that no Service has)": (
            "known",
            ["unreachable", "dropped"],
            [8],
        ),
    }
    services = {s["name"]: (s["proxied"], s["changed"], s["how"]) for s in exported["services"]}
    assert services == {
        "default/kubernetes": (True, 0, {}),
        "default/inner": (True, 0, {}),
        "default/outer": (True, 4, {"delivered → rejected": 4}),
        "default/peers": (False, 0, {}),
        "": (True, 2, {"unreachable → rejected": 1, "unreachable → dropped": 1}),
    }
    assert exported["summary"]["known"] == 6
    assert exported["summary"]["notAsPromised"] == 0
    for mode in ("iptables", "nftables"):
        directory = tmp_path / f"{exported['topology']}-{mode}"
        for flow in exported["flows"]:
            assert flow["modes"][mode]["captures"]
            assert all((directory / name).is_file() for name in flow["modes"][mode]["captures"])


def test_the_report_says_first_whether_ordinary_clients_notice(tmp_path: Path) -> None:
    prefix = ["env", "COLUMNS=100", f"GITHUB_STEP_SUMMARY={tmp_path / 'summary.md'}"]
    done = podwire("diff", "-", "--captures", "none", "-o", "wide", "--exit-code", prefix=prefix, stdin=SHOP)
    assert done.returncode == 1, done.stdout + done.stderr
    assert (tmp_path / "summary.md").read_text().startswith("## podwire diff: ")
    lines = done.stdout.splitlines()
    assert lines[0].endswith("   iptables → nftables")
    assert lines[2].startswith("Nothing changes for clients inside or outside that dial what is there: ")
    assert "6 differ as documented, 0 unexplained." in lines[3]
    assert re.search(
        r"^1  Node ports at localhost: delivered → rejected +1 Service$", done.stdout, re.MULTILINE
    )
    assert "   who   nodes worker-1, control-plane that dial localhost:30080" in lines
    assert "   who   node worker-1 and Pod web that dial 10.244.1.1:30080" in lines
    assert "Unchanged: inner, kubernetes" in lines
    assert "Not kube-proxy's: peers" in lines
    assert done.stdout.count("known: podwire doc semantics 9") == 4


def test_who_follows_the_advice_sees_it_work() -> None:
    """Sets nodePortAddresses: node ports at a node's other addresses come back, those on localhost do not."""
    everywhere = """
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
nodePortAddresses: [0.0.0.0/0]
"""
    done = podwire("diff", "-", "--captures", "none", stdin=SHOP + everywhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Node ports at other addresses" not in done.stdout
    assert "Node ports at localhost" in done.stdout


def test_the_readme_shows_what_it_says_of_the_default_topology() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = readme[readme.index("podwire diff three-networks   iptables → nftables") :].split("```")[0]
    done = podwire("diff", "--captures", "none", prefix=["env", "COLUMNS=80"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(shown)


def test_a_setting_of_one_mode_alone_changes_whose_address_is_seen() -> None:
    done = podwire("diff", "-", "--captures", "none", "-o", "json", stdin=SHOP + MASQUERADE_ALL)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    exported = json.loads(done.stdout)
    flow = next(
        f for f in exported["flows"] if f["name"] == "pod default/client → svc default/outer:80 (same node)"
    )
    assert (flow["status"], flow["differs"], flow["sections"]) == ("known", ["source"], [5])
    assert [m["sources"] for m in flow["modes"].values()] == [["node"], ["preserved"]]
    outer = next(s for s in exported["services"] if s["name"] == "default/outer")
    assert "source node → preserved" in outer["how"]


def test_a_flow_check_that_another_mode_breaks_is_no_success(tmp_path: Path) -> None:
    written = {"--json": "diff.json", "--junit": "diff.xml", "--html": "diff.html"}
    files = [word for option, name in written.items() for word in (option, str(tmp_path / name))]
    done = podwire("diff", "-", "--captures", "none", "-o", "yaml", *files, stdin=SHOP + CHECK)
    assert done.returncode == 1, done.stderr
    exported = yaml.safe_load(done.stdout)
    [flow] = [f for f in exported["flows"] if not f["control"]]
    assert flow["name"] == "localhost: a node port on localhost"
    assert [m["verdict"] for m in flow["modes"].values()] == ["pass", "fail"]
    assert (flow["status"], flow["sections"]) == ("unwanted", [9])
    assert not exported["summary"]["ok"]
    assert json.loads((tmp_path / "diff.json").read_text()) == exported
    page = (tmp_path / "diff.html").read_text()
    assert '<span class="verdict unwanted">UNWANTED</span>' in page
    assert "nftables: it was rejected, not delivered" in page
    junit = read_xml((tmp_path / "diff.xml").read_bytes())
    assert (junit.get("failures"), junit.get("errors")) == ("1", "0")
    [failure] = junit.iter("failure")
    assert (failure.get("message") or "").startswith(
        "delivered → rejected; nftables: it was rejected, not delivered"
    )


def test_a_flow_check_may_expect_of_one_mode_what_it_does_otherwise() -> None:
    accepted = CHECK.replace(
        "expect: {outcome: delivered}", "expect: {outcome: delivered, modes: {nftables: {outcome: rejected}}}"
    )
    done = podwire("diff", "-", "--captures", "none", "-o", "json", stdin=SHOP + accepted)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    [flow] = [f for f in json.loads(done.stdout)["flows"] if not f["control"]]
    assert [m["expected"]["outcome"] for m in flow["modes"].values()] == ["delivered", "rejected"]
    assert (flow["status"], flow["sections"]) == ("known", [9])


@pytest.mark.parametrize("topology", ["source-address", "no-endpoints", "udp-client"])
def test_shipped_topologies_have_known_differences_only(topology: str) -> None:
    done = podwire("diff", topology, "--captures", "none", "-o", "json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert {f["status"] for f in json.loads(done.stdout)["flows"]} <= {"same", "known"}


def test_a_mode_that_breaks_its_promise_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets worker-2's kube-proxy never sync in one of the modes: connections to it are lost, and no promise
    says so.
    """
    import emulator.schedule.schedule

    states = {mode: scenario_of(text=SHOP, proxy_mode=mode) for mode in ("iptables", "nftables")}
    plan_cluster = emulator.schedule.schedule.plan_cluster

    def without_rules(state: Any, *meetings: Any) -> Plan:
        plan = plan_cluster(state, *meetings)
        kept = tuple(
            op
            for op in plan.operations
            if not (isinstance(op, LoadRules) and op.tool == "nft" and op.netns == "worker-2")
        )
        return Plan(name=plan.name, operations=kept)

    monkeypatch.setattr(emulator.schedule.schedule, "plan_cluster", without_rules)
    comparison = run_modes(states, Options())
    assert not comparison.ok
    status = {compared.flow.name: compared.status for compared in comparison.flows}
    assert status["pod default/client → svc default/outer:80 (same node)"] == "unexplained"
    assert status["node control-plane → localhost:30080 (svc default/outer)"] == "known"
    outer = next(change for change in comparison.services if change.service == "default/outer")
    assert 0 < outer.unexplained < outer.changed


def test_a_run_compared_with_itself_differs_in_nothing() -> None:
    """Compares two runs of one mode. They meet endpoints in another order, and session affinity leads
    elsewhere: chance is no difference.
    """
    scenario = scenario_of(text=SHOP)
    flows, promise = plan_flows(scenario, differences=True)
    runs = {name: observe(scenario, flows, promise, Options()) for name in ("first", "second")}
    comparison = compare_modes("shop", runs)
    assert {compared.status for compared in comparison.flows} == {"same"}
    assert comparison.ok


@with_guest
def test_what_this_kernel_lacks_is_compared_in_a_guest(tmp_path: Path) -> None:
    done = podwire(
        "diff", "-", "--modes", "iptables,ipvs", "-o", "json", "--captures", str(tmp_path), stdin=SHOP
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    exported = json.loads(done.stdout)
    assert differences(exported) == {
        "node worker-1 → localhost:30080 (svc default/outer)": ("known", ["delivered", "rejected"], [9]),
        "node control-plane → localhost:30080 (svc default/outer)": ("known", ["delivered", "rejected"], [9]),
        "pod default/client → svc default/inner:81 (a port that it does not have)": (
            "known",
            ["unreachable", "rejected"],
            [8, 13],
        ),
    }
    here, there = exported["machine"]["iptables"], exported["machine"]["ipvs"]
    assert here["guest"] == ""
    if find_family("IPVS") is None:
        assert there["guest"] == "ip_vs"
        assert there["kernel"] != here["kernel"]
    for mode in exported["modes"]:
        directory = tmp_path / f"{exported['topology']}-{mode}"
        assert all(
            (directory / name).is_file()
            for flow in exported["flows"]
            for name in flow["modes"][mode]["captures"]
        )
        assert (directory / "all.pcapng").is_file()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (
            ["--modes", "iptables,carrier-pigeon"],
            2,
            "carrier-pigeon is not supported; supported: iptables, nftables, ipvs",
        ),
        (["--modes", "nftables"], 2, "two modes or more"),
        (["--modes", "nftables,nftables"], 2, "two modes or more"),
        (["--modes", ""], 2, "--modes names no mode; supported: iptables"),
        (["--proxy-mode", "nftables"], 2, "unrecognized arguments"),
        (["--captures", ""], 2, "names no directory"),
    ],
)
def test_what_cannot_be_compared(words: list[str], code: int, says: str) -> None:
    done = podwire("diff", str(TOPOLOGIES / "hairpin.py"), *words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert done.stdout == ""


def test_what_an_open_connection_is_promised_explains_what_it_does_in_another_mode() -> None:
    """Compares a UDP client that never stops sending, once its endpoint is gone. It hears from the next
    endpoint, in userspace mode from none.
    """
    states = {mode: scenario_of("udp-client", proxy_mode=mode) for mode in ("iptables", "userspace")}
    comparison = run_modes(states, Options())
    compared = {compared.flow.name: compared for compared in comparison.flows}
    gone = compared["udp-client, it is gone: a Pod"]
    assert {mode: set(result.observed.outcomes) for mode, result in gone.results.items()} == {
        "iptables": {"delivered"},
        "userspace": {"dropped"},
    }
    assert "unexplained" not in {one.status for one in compared.values()}

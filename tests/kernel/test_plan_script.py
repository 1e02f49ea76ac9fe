"""Tests the script of a plan, run in a sandbox: it builds the planned network, with no process of ours."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from emulator.plan.shell import render_shell
from tests.conftest import UNSHARE
from tests.small_plan import PLAN

pytestmark = pytest.mark.kernel

QUESTIONS = {
    "node links": "ip -d -j -n worker-1 link",
    "pod links": "ip -j -n default_a link",
    "node addresses": "ip -j -n worker-1 -4 address",
    "pod addresses": "ip -j -n default_a -4 address",
    "node routes": "ip -j -n worker-1 route",
    "pod routes": "ip -j -n default_a route",
    "sysctls": "ip netns exec worker-1 sysctl -n net.ipv4.ip_forward net.ipv4.ip_local_port_range",
    "rules": "ip netns exec worker-1 iptables-save -t nat",
    "nft": "ip netns exec default_a nft -j list tables",
    "connect": "ip netns exec default_a bash -c 'echo > /dev/tcp/10.244.1.3/9' 2>&1 || true",
    "second time": "bash /run/script.sh 2>&1 || echo refused",
    "another word": "bash /run/script.sh claen 2>&1 || echo $?",
    "clean": "bash /run/script.sh clean && ip netns list && echo removed",
}


@pytest.fixture(scope="module")
def network() -> dict[str, Any]:
    """Returns the answers to all questions, from inside the sandbox."""
    script = render_shell(PLAN, title="small")
    asked = "\n".join(f"echo; echo '=== {name}'; {command}" for name, command in QUESTIONS.items())
    wrapper = f"mount -t tmpfs tmpfs /run && cat > /run/script.sh && bash /run/script.sh\n{asked}"
    done = subprocess.run(
        [*UNSHARE, "sh", "-ec", wrapper],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = [part.partition("\n") for part in done.stdout.split("\n=== ")[1:]]
    return {
        name: json.loads(answer) if " -j " in QUESTIONS[name] else answer.splitlines()
        for name, _, answer in answers
    }


def by_name(links: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {link["ifname"]: link for link in links}


def test_links_are_up_with_their_macs(network: dict[str, Any]) -> None:
    links = by_name(network["node links"])
    up = {name: link["address"] for name, link in links.items() if "UP" in link["flags"]}
    macs = {"cbr0": "02:00:00:00:00:01", "veth2": "02:00:00:00:02:02", "veth3": "02:00:00:00:02:03"}
    assert up == {"lo": "00:00:00:00:00:00", **macs}


def test_ports_are_hairpin_ports_of_the_bridge(network: dict[str, Any]) -> None:
    links = by_name(network["node links"])
    ports = {
        name: link["linkinfo"]["info_slave_data"]["hairpin"]
        for name, link in links.items()
        if link.get("master") == "cbr0"
    }
    assert ports == {"veth2": True, "veth3": True}


def test_pod_has_its_end_of_the_pair(network: dict[str, Any]) -> None:
    links = by_name(network["pod links"])
    assert sorted(links) == ["eth0", "lo"]
    assert links["eth0"]["address"] == "02:00:00:00:01:02"
    assert links["eth0"]["operstate"] == "UP"


@pytest.mark.parametrize(
    ("where", "dev", "address"), [("node", "cbr0", "10.244.1.1"), ("pod", "eth0", "10.244.1.2")]
)
def test_addresses(network: dict[str, Any], where: str, dev: str, address: str) -> None:
    assert [
        (a["local"], a["prefixlen"]) for a in by_name(network[f"{where} addresses"])[dev]["addr_info"]
    ] == [(address, 24)]


def test_routes(network: dict[str, Any]) -> None:
    pod = {route["dst"]: route for route in network["pod routes"]}
    assert pod["default"]["gateway"] == "10.244.1.1"
    assert "onlink" in pod["192.0.2.0/24"]["flags"]
    node = {route["dst"]: route for route in network["node routes"]}
    assert (node["10.99.0.0/16"]["scope"], node["10.99.0.0/16"]["prefsrc"]) == ("link", "10.244.1.1")


def test_sysctls_are_set(network: dict[str, Any]) -> None:
    assert network["sysctls"] == ["1", "20000\t30000"]


def test_rules_are_loaded(network: dict[str, Any]) -> None:
    assert "-A POSTROUTING -s 10.244.1.0/24 ! -o cbr0 -j MASQUERADE" in network["rules"]
    assert [t["table"]["name"] for t in network["nft"]["nftables"] if "table" in t] == ["podwire"]


def test_pods_reach_each_other(network: dict[str, Any]) -> None:
    assert "Connection refused" in "".join(network["connect"])  # by the other Pod, which serves nothing


def test_a_second_run_is_refused_with_the_way_out(network: dict[str, Any]) -> None:
    said, how, names, refused = network["second time"]
    assert "is there already, made by this script or by somebody else" in said
    assert "with clean as its argument, this script deletes all network namespaces of these" in how
    assert "worker-1" in names.split()
    assert refused == "refused"


def test_another_word_is_refused(network: dict[str, Any]) -> None:
    assert network["another word"] == ["usage: bash script.sh [clean]", "2"]


def test_clean_removes_the_network(network: dict[str, Any]) -> None:
    assert network["clean"] == ["removed"]

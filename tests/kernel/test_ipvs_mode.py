"""Tests kube-proxy's ipvs mode with packets, by the command line; and the message of a kernel without
IPVS.
"""

from __future__ import annotations

import json

import pytest

from emulator.kernel.generic_netlink import find_family
from tests.sandboxed import flavour, podwire

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

TARGETS = ("three-networks", "load-balancer", "source-address")

# FlowChecks of these topologies that want a client from outside dropped, where ipvs mode lets the endpoint
# answer past the node.
ASYMMETRIC_WAY = {
    "load-balancer": "local-keeps-who-may-come: inside the ranges, through a node without one",
    "source-address": "local-keeps-them-or-drops-them: outside, through a node without one",
}


@pytest.mark.ipvs("changes")
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.split("/")[-1])
def test_packets_do_what_is_promised(target: str) -> None:
    done = podwire(
        target, "--proxy-mode", "ipvs", "--iptables", flavour(), "--captures", "none", "-o", "json"
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    wrong = [f"{flow['name']}: {flow['reason']}" for flow in report["flows"] if flow["verdict"] != "pass"]
    allowed = ASYMMETRIC_WAY.get(target)
    assert len(wrong) == (1 if allowed else 0), wrong
    assert all(line.startswith(allowed or " ") and "was delivered, not dropped" in line for line in wrong)
    assert [r["text"] for r in report["requirements"] if r["verdict"] == "fail"] == []
    assert any("kube-ipvs0" in r["text"] for r in report["requirements"])


@pytest.mark.skipif(find_family("IPVS") is not None, reason="this kernel has IPVS")
def test_a_kernel_without_ipvs_is_named_with_the_remedy() -> None:
    done = podwire("hairpin", "--proxy-mode", "ipvs", "--captures", "none")
    assert (done.returncode, done.stdout) == (3, "")
    assert "this machine lacks ip_vs" in done.stderr
    assert "scripts/uml" in done.stderr

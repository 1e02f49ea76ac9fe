"""Tests the printed rules, each with its origin behind it."""

from __future__ import annotations

import pytest

from emulator.objects.config import ProxyMode
from emulator.proxy import MODES
from emulator.report.origins import render_origins
from tests.objects import node, service, slice_of, state


@pytest.mark.parametrize("mode", MODES)
def test_every_node_has_its_rules_a_line_each(mode: ProxyMode) -> None:
    made = service(externalIPs=("192.0.2.1",))
    cluster = state(
        nodes=[node("worker-1"), node("worker-2", ip="172.18.0.4", podCIDR="10.244.2.0/24")],
        services=[made],
        slices=[slice_of(made, {"ip": "10.244.1.2", "nodeName": "worker-1"})],
        mode=mode,
    )
    lines = render_origins(cluster).splitlines()
    assert [line for line in lines if line.startswith("# Node ")] == ["# Node worker-1", "# Node worker-2"]
    caused = [line for line in lines if line.endswith("  # Service default/web spec.externalIPs")]
    assert caused
    assert all("192.0.2.1" in line for line in caused)
    assert [line for line in lines if line.endswith("  # Node worker-2 spec.podCIDR")] == [
        "iptables -t nat -A POSTROUTING -s 10.244.2.0/24 -m comment --comment "
        '"ip-masq-agent: Pods of this node" -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT'
        "  # Node worker-2 spec.podCIDR"
    ]
    assert "# The balancer in the path" not in lines
    assert {line.split()[0] for line in lines if line} <= {"#", "iptables", "nft", "ipset", "ipvsadm"}

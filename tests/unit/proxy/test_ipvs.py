"""Tests ipvs mode beside the golden file: the addresses on kube-ipvs0, and the commands to the kernel."""

from __future__ import annotations

from emulator.objects.config import IPVSTimeouts
from emulator.plan.operations import LoadIpvs
from emulator.proxy.ipvs import balancing
from emulator.schedule.planner import plan_cluster
from tests.unit.states import (
    NODE_IP,
    WEB_1,
    WEB_IP,
    make_endpoint,
    make_slice,
    make_state,
    node_port_service,
)

OWN = NODE_IP["worker-1"]


def test_a_node_does_not_get_its_own_address_a_second_time() -> None:
    """Leaves the node's own address out, or everything else there would be rejected (kube-proxy v1.30.5,
    pkg/proxy/ipvs/proxier.go, shouldBind).
    """
    part = balancing(make_state(node_port_service(externalIPs=(OWN,)), proxy={"mode": "ipvs"}))
    for node, addresses in (("worker-1", {WEB_IP}), ("worker-2", {WEB_IP, OWN})):
        found = part(node)
        assert set(found.addresses) == addresses
        assert {
            entry for item in found.sets if item.name == "KUBE-IPVS-IPS" for entry in item.entries
        } == addresses
        assert (OWN, 80) in {(server.ip, server.port) for server in found.servers}


def test_an_endpoint_that_the_kernel_refuses_is_left_out() -> None:
    """Leaves out what the node's kernel takes for no machine's (net/netfilter/ipvs/ip_vs_ctl.c,
    ip_vs_new_dest): kube-proxy logs that and goes on.
    """
    ends = ("10.244.1.255", "172.18.255.255", "224.1.2.3", WEB_1)
    slices = (make_slice(*map(make_endpoint, ends)),)
    part = balancing(make_state(node_port_service(), slices=slices, proxy={"mode": "ipvs"}))
    for node, taken in (("worker-1", {WEB_1}), ("worker-2", {WEB_1, "10.244.1.255"})):
        assert {real.ip for server in part(node).servers for real in server.servers} == taken


def test_time_outs_are_every_nodes() -> None:
    timeouts = IPVSTimeouts(tcp=900, udp=1)
    plan = plan_cluster(make_state(proxy={"mode": "ipvs", "ipvsTimeouts": timeouts}))
    assert [op.timeouts for op in plan.operations if isinstance(op, LoadIpvs)] == [timeouts] * 3

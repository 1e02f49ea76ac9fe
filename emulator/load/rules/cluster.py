"""Checks the cluster's shape (kind's fields, and those that podwire adds) and its proxy's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeVar

from ...errors import Words, worded
from ...net import Prefix
from ...objects.config import (
    ClusterConfig,
    ExternalClient,
    ExternalServer,
    KubeProxyConfiguration,
    LoadBalancerPool,
    NodeShape,
)
from ...objects.durations import parse_duration
from ...objects.families import BUILT, ONLY_BUILT, is_other, is_other_range
from ...objects.warnings import Code, OddValue
from ..faults import FieldPath, shown
from .checks import (
    LABEL,
    MAX_INT32,
    SUBDOMAIN,
    Checks,
    address_range,
)

MAX_IPVS_SECONDS = (
    MAX_INT32 // 1000
    # net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_set_timeout: INT_MAX of the kernel's ticks, at most 1000 of them a
    # second
)


# by detectLocalMode: the field of detectLocal that it reads, and what that names
_DETECTED_BY = {
    "BridgeInterface": ("bridgeInterface", "bridges"),
    "InterfaceNamePrefix": ("interfaceNamePrefix", "interfaces"),
}


def check_cluster(cluster: ClusterConfig, _namespaced: bool, checks: Checks) -> ClusterConfig:
    networking = cluster.networking
    if networking.ipFamily == "ipv6":
        checks.fault(
            ("networking", "ipFamily"),
            f"ipv6: {ONLY_BUILT}",
            f"write {BUILT.word.lower()}, or leave it out",
        )
    if networking.ipFamily == "dual":
        checks.odd(("networking", "ipFamily"), OddValue.DUAL_STACK, "dual", code=Code.IPV6)
    names = ("podSubnet", "serviceSubnet", "hostSubnet")
    subnets = {name: checks.ipv4_prefix(("networking", name), getattr(networking, name)) for name in names}
    for one, other in combinations(names, 2):
        if _overlap(subnets[one], subnets[other]):
            what = worded("{} overlaps {}, {}", shown(subnets[other]), Words(one), shown(subnets[one]))
            checks.fault(("networking", other), what, f"change {one} or {other}")
    checks.optional_name(("networking", "podNetwork"), networking.podNetwork, LABEL)
    checks.optional_name(("metadata", "name"), cluster.metadata.name, SUBDOMAIN)
    checks.unique([(("nodes", i, "name"), n.name) for i, n in enumerate(cluster.nodes) if n.name], "name")
    clients = _outside("externalClients", cluster.externalClients, checks)
    servers = _outside("externalServers", cluster.externalServers, checks)
    rows = [(("externalClients", i), client) for i, client in enumerate(clients)]
    rows += [(("externalServers", i), server) for i, server in enumerate(servers)]
    checks.unique([((*path, "name"), machine.name) for path, machine in rows if machine.name], "name")
    checks.unique([((*path, "address"), machine.address) for path, machine in rows], "address")
    for i, server in enumerate(cluster.externalServers):
        _served(("externalServers", i, "ports"), server, checks)
    return replace(
        cluster,
        nodes=tuple(_node_shape(("nodes", i), n, checks) for i, n in enumerate(cluster.nodes)),
        networking=replace(
            networking,
            podSubnet=subnets["podSubnet"],
            serviceSubnet=subnets["serviceSubnet"],
            hostSubnet=subnets["hostSubnet"],
        ),
        externalClients=clients,
        externalServers=servers,
        loadBalancer=_pool(("loadBalancer",), cluster.loadBalancer, checks) if cluster.loadBalancer else None,
    )


M = TypeVar("M", bound=ExternalClient)


def _outside(field: str, machines: Sequence[M], checks: Checks) -> tuple[M, ...]:
    """Checks names and addresses of machines outside the cluster."""
    for i, machine in enumerate(machines):
        checks.name((field, i, "name"), machine.name, LABEL)
    addressed = tuple(
        replace(m, address=checks.address((field, i, "address"), m.address)) for i, m in enumerate(machines)
    )
    for i, machine in enumerate(addressed):
        if is_other(machine.address):
            checks.fault((field, i, "address"), worded("{}: {}", shown(machine.address), Words(ONLY_BUILT)))
        else:
            checks.routable((field, i, "address"), machine.address)
    return addressed


def _served(path: FieldPath, server: ExternalServer, checks: Checks) -> None:
    if not server.ports:
        checks.required(path, ": what does it serve?", "write ports: [{port: 5432}]")
    for i, port in enumerate(server.ports):
        checks.port((*path, i, "port"), port.port)
    checks.unique(
        [((*path, i), f"{port.port}/{port.protocol}") for i, port in enumerate(server.ports)], "port"
    )


def _pool(path: FieldPath, pool: LoadBalancerPool, checks: Checks) -> LoadBalancerPool:
    ranges = tuple(
        address_range((*path, "addresses", i), text, checks) for i, text in enumerate(pool.addresses)
    )
    for i, (text, ends) in enumerate(zip(pool.addresses, ranges, strict=True)):
        if is_other_range(ends):
            checks.fault((*path, "addresses", i), worded("{}: {}", shown(text), Words(ONLY_BUILT)))
    return replace(pool, addresses=ranges)


def _overlap(one: str, other: str) -> bool:
    try:
        return Prefix(one).overlaps(Prefix(other))
    except ValueError:
        return False  # not given, or reported already


def _node_shape(path: FieldPath, node: NodeShape, checks: Checks) -> NodeShape:
    checks.optional_name((*path, "name"), node.name, SUBDOMAIN)
    checks.labels((*path, "labels"), node.labels)
    checks.taints((*path, "taints"), node.taints)
    return replace(
        node,
        podCIDR=checks.ipv4_prefix((*path, "podCIDR"), node.podCIDR),
        addresses=checks.addresses((*path, "addresses"), node.addresses),
    )


def check_proxy(config: KubeProxyConfiguration, _namespaced: bool, checks: Checks) -> KubeProxyConfiguration:
    addresses = tuple(
        value if value == "primary" else checks.prefix(("nodePortAddresses", i), value)
        for i, value in enumerate(config.nodePortAddresses)
    )
    if "primary" in addresses and len(addresses) > 1:
        checks.fault(("nodePortAddresses",), "must be primary alone, or prefixes alone")
    for name in ("tcpTimeout", "tcpFinTimeout", "udpTimeout"):
        _ipvs_timeout(("ipvs", name), getattr(config.ipvs, name), checks)
    field, what = _DETECTED_BY.get(config.detectLocalMode, ("", ""))
    if name := getattr(config.detectLocal, field, ""):
        said = f"{shown(name)} names {what} of the cluster's nodes: those of Pods here stand for them"
        checks.notice(("detectLocal", field), said)
    cidr = config.clusterCIDR
    return replace(
        config,
        clusterCIDR=checks.ipv4_prefix(("clusterCIDR",), cidr) if cidr is not None else None,
        nodePortAddresses=addresses,
    )


def _ipvs_timeout(path: FieldPath, text: str, checks: Checks) -> None:
    seconds = parse_duration(text)
    if seconds is None:
        checks.fault(path, worded("must be a duration, is {}", shown(text)), "15m0s, say")
    elif not 0 <= seconds <= MAX_IPVS_SECONDS:
        checks.fault(path, worded("{} must be between 0s and {}s", shown(text), MAX_IPVS_SECONDS))

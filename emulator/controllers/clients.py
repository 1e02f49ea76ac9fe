"""Makes external clients, and checks the names of network namespaces.

If the user declared none there is one, and as many more as are needed so that each Service's
loadBalancerSourceRanges admit one and refuse one. Invariant: client addresses lie outside the cluster's
prefixes; node and client names, "switch", "router" and "balancer" are distinct.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from ..cluster.state import BALANCER, ROUTER, SWITCH
from ..errors import Words, worded
from ..net import Address, Prefix, addresses_of, prefixes_of
from ..objects.config import ExternalClient, ExternalServer, Inventory
from ..objects.families import BUILT
from ..objects.kinds import Node, Origin
from .findings import Draft, Findings
from .networks import Networks

DEFAULT_CLIENT = ExternalClient(name="client-1", address="203.0.113.10")  # TEST-NET-3
# RFC 5737
_DOCUMENTATION = tuple(Prefix(text) for text in ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"))
_TENTH = tuple(network.nth(10) for network in _DOCUMENTATION)
_EVERYWHERE = Prefix("0.0.0.0/0")
# RFC 6890; 224/4, 240/4
_NO_HOSTS = tuple(Prefix(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))


def external_clients(
    inventory: Inventory,
    nodes: Sequence[Draft[Node]],
    networks: Networks,
    taken: Collection[str],
    findings: Findings,
) -> tuple[ExternalClient, ...]:
    """Returns the machines outside the cluster, servers last: the declared clients, else
    :func:`_default_clients`, which have none of the addresses ``taken``. A wrong address or name is a
    problem.
    """
    origin = inventory.cluster.origin if inventory.cluster else Origin(inventory.name)
    declared = inventory.cluster.object.externalClients if inventory.cluster else ()
    servers = inventory.cluster.object.externalServers if inventory.cluster else ()
    taken = [*taken, *(server.address for server in servers)]
    asking = declared or _default_clients(inventory, [draft.object for draft in nodes], networks, taken)
    clients = (*asking, *servers)
    check_clients(clients, nodes, networks, origin, findings)
    return clients


def check_clients(
    clients: Sequence[ExternalClient],
    nodes: Sequence[Draft[Node]],
    networks: Networks,
    origin: Origin,
    findings: Findings,
) -> None:
    """Reports addresses and names that ``clients``, servers last, cannot have beside ``nodes``."""
    asking = [client for client in clients if not isinstance(client, ExternalServer)]
    holders: dict[str, str] = {
        ip: f"node {node.object.name}" for node in nodes for ip in node.object.internalIPs
    }
    prefixes = (
        ("podSubnet", networks.pods),
        ("serviceSubnet", networks.services),
        ("hostSubnet", networks.hosts),
    )
    for index, client in enumerate(clients):
        path = f"{_place(index, asking)}.address"
        address = Address(client.address)
        inside = next((f"{name} {prefix}" for name, prefix in prefixes if address in prefix), "")
        if inside:
            what = worded("{} of {} {} lies in {}", address, Words(_kind(client)), client.name, inside)
            findings.problem(
                origin,
                path,
                what,
                "external clients are outside the cluster: 203.0.113.0/24 is free for them",
            )
        elif holder := holders.get(str(address)):
            what = worded(
                "{} of {} {} is the address of {} already", address, Words(_kind(client)), client.name, holder
            )
            findings.problem(origin, path, what, "give it an address of its own")
        holders.setdefault(str(address), f"{_kind(client)} {client.name}")
    _check_names(clients, asking, nodes, origin, findings)


def _default_clients(
    inventory: Inventory, nodes: Sequence[Node], networks: Networks, taken: Collection[str]
) -> tuple[ExternalClient, ...]:
    """Returns one client. If flows are derived, also one inside and one outside each Service's
    loadBalancerSourceRanges, unless those leave no address outside the cluster.
    """
    cluster = [
        networks.pods,
        networks.services,
        networks.hosts,
        *prefixes_of(networks.pods.family, (cidr for node in nodes for cidr in node.spec.podCIDRs)),
    ]
    single = {
        *addresses_of(networks.hosts.family, taken),
        *(ip for node in nodes for ip in node.internalIPs),
    }
    first = next(_addresses(_without(_DOCUMENTATION, cluster), single), Address(DEFAULT_CLIENT.address))
    clients = [replace(DEFAULT_CLIENT, address=str(first))]
    if inventory.flowChecks and not inventory.derives:  # FlowChecks name their clients
        return tuple(clients)
    names = (f"client-{number}" for number in range(2, len(nodes) + 2 * len(inventory.services) + 3))
    free = (name for name in names if all(name != node.name for node in nodes))
    for ranges in dict.fromkeys(_source_ranges(inventory)):
        for wanted in (ranges, _without([_EVERYWHERE], ranges)):
            if any(client.address in network for client in clients for network in wanted):
                continue
            address = next(_addresses(_without(wanted, (*cluster, *_NO_HOSTS)), single), None)
            if address is not None:
                clients.append(ExternalClient(name=next(free), address=str(address)))
    return tuple(clients)


def _source_ranges(inventory: Inventory) -> Iterator[tuple[Prefix, ...]]:
    """Yields the loadBalancerSourceRanges of each Service that has any."""
    for loaded in inventory.services:
        spec = loaded.object.spec
        ranges = prefixes_of(BUILT, spec.loadBalancerSourceRanges)
        if spec.type == "LoadBalancer" and ranges:
            yield ranges


def _addresses(networks: Sequence[Prefix], single: Collection[Address]) -> Iterator[Address]:
    """Yields the addresses of ``networks`` but for ``single``, those for documentation first."""
    yield from (ip for ip in _TENTH if ip not in single and any(ip in network for network in networks))
    inside = [
        network
        for network in networks
        if any(network.is_within(documentation) for documentation in _DOCUMENTATION)
    ]
    for network in (*inside, *networks):
        yield from (ip for ip in network.hosts() if ip not in single)


def _without(networks: Sequence[Prefix], taken: Sequence[Prefix]) -> list[Prefix]:
    """Returns the prefixes that are left of ``networks`` without ``taken``, in order."""
    left = list(networks)
    for hole in taken:
        rest: list[Prefix] = []
        for network in left:
            if hole.is_within(network):
                rest += network.without(hole)
            elif not network.is_within(hole):
                rest.append(network)
        left = rest
    return sorted(left)


def _kind(machine: ExternalClient) -> str:
    return "external server" if isinstance(machine, ExternalServer) else "external client"


def _place(index: int, asking: Sequence[ExternalClient]) -> str:
    """Returns the path in the Cluster of the machine number ``index``: servers come after clients."""
    return f"externalClients[{index}]" if index < len(asking) else f"externalServers[{index - len(asking)}]"


def _check_names(
    clients: Sequence[ExternalClient],
    asking: Sequence[ExternalClient],
    nodes: Sequence[Draft[Node]],
    origin: Origin,
    findings: Findings,
) -> None:
    rows = [
        (d.object.name, f"node {d.object.name}", d.origin, f"{d.base}name" if d.base else "metadata.name")
        for d in nodes
    ]
    for index, client in enumerate(clients):
        rows.append((client.name, f"{_kind(client)} {client.name}", origin, f"{_place(index, asking)}.name"))
    owners = {
        SWITCH: "the switch of the host network",
        ROUTER: "the upstream router",
        BALANCER: "the load balancer in the path",
    }
    for name, whose, where, path in rows:
        if name in owners:
            what = worded("{} has the name of {}", whose, owners[name])
            findings.problem(where, path, what, "each becomes a network namespace: give it a name of its own")
        owners.setdefault(name, whose)

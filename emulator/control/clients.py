"""External clients, and the names that network namespaces will have.

May import ``objects`` and this room. Invariant: client addresses lie outside the cluster's prefixes; node and client names, "switch",
"router" and "balancer" are distinct.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from emulator.control.findings import Draft, Findings
from emulator.control.networks import Networks
from emulator.control.state import BALANCER, ROUTER, SWITCH
from emulator.objects.config import ExternalClient, Inventory
from emulator.objects.kinds import Node, Origin

DEFAULT_CLIENT = ExternalClient(name="client-1", address="203.0.113.10")  # TEST-NET-3 (RFC 5737)


def external_clients(
    inventory: Inventory, nodes: Sequence[Draft[Node]], networks: Networks, findings: Findings
) -> tuple[ExternalClient, ...]:
    """The clients outside the cluster: those declared, else one. A problem says what is wrong with an address or a name."""
    origin = inventory.cluster.origin if inventory.cluster else Origin(inventory.name)
    clients = (inventory.cluster.object.externalClients if inventory.cluster else ()) or (DEFAULT_CLIENT,)
    holders = {ip: f"node {node.object.name}" for node in nodes for ip in node.object.internalIPs}
    prefixes = (("podSubnet", networks.pods), ("serviceSubnet", networks.services), ("hostSubnet", networks.hosts))
    for index, client in enumerate(clients):
        path = f"externalClients[{index}].address"
        address = IPv4Address(client.address)
        inside = next((f"{name} {prefix}" for name, prefix in prefixes if address in prefix), "")
        if inside:
            what = f"{address} of external client {client.name} lies in {inside}"
            findings.problem(origin, path, what, "external clients are outside the cluster: 203.0.113.0/24 is free for them")
        elif holder := holders.get(str(address)):
            what = f"{address} of external client {client.name} is the address of {holder} already"
            findings.problem(origin, path, what, "give it an address of its own")
        holders.setdefault(str(address), f"external client {client.name}")
    _check_names(clients, nodes, origin, findings)
    return clients


def _check_names(clients: Sequence[ExternalClient], nodes: Sequence[Draft[Node]], origin: Origin, findings: Findings) -> None:
    rows = [(d.object.name, f"node {d.object.name}", d.origin, f"{d.base}name" if d.base else "metadata.name") for d in nodes]
    for index, client in enumerate(clients):
        rows.append((client.name, f"external client {client.name}", origin, f"externalClients[{index}].name"))
    owners = {SWITCH: "the switch of the host network", ROUTER: "the upstream router", BALANCER: "the load balancer in the path"}
    for name, whose, where, path in rows:
        if name in owners:
            what = f"{whose} has the name of {owners[name]}"
            findings.problem(where, path, what, "each becomes a network namespace: give it a name of its own")
        owners.setdefault(name, whose)

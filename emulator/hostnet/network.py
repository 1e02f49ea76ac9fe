"""Plans the host network: a switch, every node's eth0 on it, a router, and external clients behind the
router. Pure.

External links are unnumbered (RFC 5309 in spirit): a client has its own /32 on its eth0, and the router's
host-network address as its gateway. So clients may have any addresses, and no subnet is made up for them.
Invariant: nothing here depends on Pods or Services, except that the router has routes to Pods, as a cloud's
route table does (``pod_routes``).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster.state import (
    BALANCER,
    ROUTER,
    SWITCH,
    ClusterState,
)
from ..net import (
    IPV4,
    Address,
    InterfaceAddress,
    everything,
    host_prefix,
    interface_name,
    mac_of_ip,
    mac_of_name,
)
from ..objects.kinds import Node
from ..plan.operations import (
    AddAddress,
    AddBridge,
    AddNeighbour,
    AddNetns,
    AddRoute,
    AddVeth,
    LoadRules,
    Operation,
    ResetDevices,
    SetNeighbourDefaults,
    SetSysctl,
)
from ..plan.rules import RuleSet

ROUTER_BELIEVES = 4 * 3600 * 1000  # milliseconds: the ARP timeout of Cisco IOS; Linux has 30 seconds
WHY_NEIGHBOURS = (
    "a permanent neighbour entry: learnt ones share 1,024 places with every other network namespace of "
    "the machine (gc_thresh3)"
)
OWN_WAY_TO_ASK = (
    "a new device copies the host's neighbour parameters (net.ipv4.neigh.default): set the kernel's defaults"
)
_OWN_DEFAULTS = (
    "a new namespace copies these from the host (devconf_inherit_init_net): set the kernel's defaults"
)
_UNLIMITED = (
    "no rate limit on ICMP errors, or a refusal would look dropped: for the types in this mask Linux sends "
    "a destination one a second, and 1,000 a second in all (older kernels: in the whole machine)"
)
_NO_IPV6 = "IPv4 only: without it every link would flood router and neighbour discovery"


def plan_base(netns: str, why: str) -> Iterator[Operation]:
    """Plans a network namespace without IPv6 and without the host's settings. Its ICMP errors have no rate
    limit.
    """
    yield AddNetns(netns=netns, why=why)
    yield ResetDevices(netns=netns, why=_OWN_DEFAULTS)
    # "all" sets "default" too (net/ipv6/addrconf.c); a kernel that was started with ipv6.disable=1 has no
    # such key
    yield SetSysctl(netns=netns, key="net.ipv6.conf.all.disable_ipv6", value="1", why=_NO_IPV6, optional=True)
    yield SetSysctl(netns=netns, key="net.ipv4.icmp_ratemask", value="0", why=_UNLIMITED)
    # the one neighbour entry of "lo", for every address (net/ipv4/arp.c: __ipv4_neigh_lookup_noref)
    yield AddNeighbour(
        netns=netns, dev="lo", address=Address(IPV4.unspecified), mac="00:00:00:00:00:00", why=WHY_NEIGHBOURS
    )


def forwarding(netns: str, why: str) -> Iterator[Operation]:
    """Plans forwarding in ``netns``. A namespace of :func:`plan_base` has no rp_filter, so asymmetric paths
    are forwarded too: a Pod's packet may come in where the way back does not lead.
    """
    yield SetSysctl(netns=netns, key="net.ipv4.ip_forward", value="1", why=why)


def _refusing_the_rest(state: ClusterState) -> Iterator[Operation]:
    """Plans an ICMP error for every packet that the router has no route for. By default a kernel sends one
    sender five of them in a row, then one a second (net/ipv4/route.c: ip_error; error_burst and error_cost
    are the machine's, not a namespace's), and a sixth flow would look dropped.
    """
    why = "no route: a rule refuses every packet, without the kernel's rate limit"
    yield AddRoute(netns=ROUTER, dst=everything(state.routerIP.family), dev="lo", why=why)
    rules = RuleSet(
        {"filter": {"FORWARD": (f"-o lo -j REJECT --reject-with {state.routerIP.family.reject_net}",)}}
    )
    yield LoadRules(
        netns=ROUTER,
        tool="iptables-restore",
        family=state.routerIP.family,
        rules=rules,
        why="a router without a route answers network unreachable",
    )


def plan_hostnet(state: ClusterState) -> Iterator[Operation]:
    """Plans namespaces, links, addresses and routes of the host network, nodes included."""
    length = state.hostSubnet.length
    yield from plan_base(SWITCH, "the host network's switch: a plain Ethernet bridge")
    yield SetSysctl(
        netns=SWITCH,
        key="net.bridge.bridge-nf-call-iptables",
        value="0",
        why="a switch does not look into IP (the default is per namespace: set it)",
    )
    yield AddBridge(
        netns=SWITCH,
        name="br0",
        mac=mac_of_name("switch br0"),
        why="the host network's switch: a plain Ethernet bridge",
    )

    yield from plan_base(
        ROUTER, "the upstream router: the nodes' default gateway, external clients behind it"
    )
    yield from forwarding(ROUTER, "a router forwards")
    yield uplink(ROUTER, state.routerIP, "the router's port on the switch")
    yield AddAddress(
        netns=ROUTER,
        dev="eth0",
        address=InterfaceAddress.of(state.routerIP, length),
        why="the router's address on the host network",
    )
    why = "routers keep ARP entries for hours: a stale entry must not depend on the time of a flow"
    yield SetNeighbourDefaults(
        netns=ROUTER, dev="eth0", family=state.hostSubnet.family, reachable=ROUTER_BELIEVES, why=why
    )
    yield from _refusing_the_rest(state)

    for node in state.nodes:
        why = f"Node {node.name}"
        yield from plan_base(node.name, why)
        yield from forwarding(node.name, "a node forwards its Pods' packets")
        yield SetSysctl(
            netns=node.name,
            key="net.bridge.bridge-nf-call-iptables",
            value="1",
            why="replies between Pods of one node cross the bridge only: without it they would not be "
            "un-NATed (kubelet and kube-proxy require it)",
        )
        yield uplink(node.name, node.internalIPs[0], f"{node.name}'s eth0 on the switch")
        yield SetNeighbourDefaults(
            netns=node.name, dev="eth0", family=state.hostSubnet.family, why=OWN_WAY_TO_ASK
        )
        for ip in node.internalIPs:
            inside = ip in state.hostSubnet
            yield AddAddress(
                netns=node.name,
                dev="eth0",
                address=InterfaceAddress.of(ip, length if inside else None),
                why=f"{node.name}'s InternalIP",
            )
            if not inside:
                yield from _routes_to(state, node, ip)
        if node.internalIPs[0] not in state.hostSubnet:
            why = (
                f"{node.name}'s address is of another network: the router and other nodes are on its "
                "link all the same"
            )
            yield AddRoute(netns=node.name, dst=state.hostSubnet, dev="eth0", why=why)
        yield AddRoute(
            netns=node.name,
            dst=everything(state.routerIP.family),
            dev="eth0",
            via=state.routerIP,
            why="addresses outside the cluster are reached through the router",
        )

    for client in state.clients:
        why = f"external client {client.name}"
        port = interface_name("ext", client.name)
        yield from plan_base(client.name, why)
        yield AddVeth(
            netns=ROUTER,
            name=port,
            mac=_mac_towards(client.name),
            peer_netns=client.name,
            peer="eth0",
            peer_mac=mac_of_ip(client.address),
            why=f"the link between the router and {why}",
        )
        yield AddAddress(
            netns=client.name, dev="eth0", address=InterfaceAddress.of(client.address), why=f"{why}'s address"
        )
        yield AddRoute(
            netns=client.name,
            dst=everything(state.routerIP.family),
            dev="eth0",
            via=state.routerIP,
            onlink=True,
            why="every other address is behind the router",
        )
        yield AddRoute(
            netns=ROUTER,
            dst=host_prefix(client.address),
            dev=port,
            src=state.routerIP,
            why=f"the way to {why}",
        )
    yield from _plan_neighbours(state)


def _plan_neighbours(state: ClusterState) -> Iterator[Operation]:
    """Plans the neighbour entries of the host network: between any two of nodes, router and balancer, and
    between each client and the router.

    Load-balancer addresses that speakers announce have none: they are resolved by ARP, as in a cluster.
    """
    machines = [
        (node.name, ip, mac_of_ip(node.internalIPs[0])) for node in state.nodes for ip in node.internalIPs
    ]
    machines += [
        (netns, ip, mac_of_ip(ip))
        for netns, ip in ((ROUTER, state.routerIP), (BALANCER, state.balancerIP))
        if ip
    ]
    for netns in dict.fromkeys(name for name, _, _ in machines):
        for other, ip, mac in machines:
            if other != netns:
                yield AddNeighbour(netns=netns, dev="eth0", address=ip, mac=mac, why=WHY_NEIGHBOURS)
    for client in state.clients:
        port = interface_name("ext", client.name)
        yield AddNeighbour(
            netns=client.name,
            dev="eth0",
            address=state.routerIP,
            mac=_mac_towards(client.name),
            why=WHY_NEIGHBOURS,
        )
        yield AddNeighbour(
            netns=ROUTER,
            dev=port,
            address=Address(client.address),
            mac=mac_of_ip(client.address),
            why=WHY_NEIGHBOURS,
        )


def _mac_towards(client: str) -> str:
    """Returns the MAC of the router's end of the link to ``client``."""
    return mac_of_name(f"router {client}")


def _routes_to(state: ClusterState, node: Node, ip: str) -> Iterator[Operation]:
    """Plans the routes to an InternalIP outside ``hostSubnet``: on-link if it is the node's primary one,
    otherwise by way of that.
    """
    primary = node.internalIPs[0]
    others = (
        ROUTER,
        *(n.name for n in state.nodes if n is not node),
        *([BALANCER] if state.balancerIP else []),
    )
    for other in others:
        why = f"{node.name} has an InternalIP of another subnet"
        yield AddRoute(
            netns=other,
            dst=host_prefix(ip),
            dev="eth0",
            via=None if ip == primary else Address(primary),
            why=why,
        )


def uplink(netns: str, ip: str, why: str) -> AddVeth:
    """Returns the eth0 of ``netns``, on the switch; ``ip`` is its first address."""
    return AddVeth(
        netns=SWITCH,
        name=interface_name("sw", netns),
        mac=mac_of_name(f"switch {netns}"),
        bridge="br0",
        peer_netns=netns,
        peer="eth0",
        peer_mac=mac_of_ip(ip),
        why=why,
    )

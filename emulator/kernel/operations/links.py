"""Makes and deletes bridges, dummies and veth pairs (linux/if_link.h, linux/if_bridge.h)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ...plan.operations.links import AddBridge, AddDummy, AddVeth, DelLink
from ..applied import Applied
from ..netlink import (
    IFF_UP,
    IFINFO,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_NEWLINK,
    U32,
    attribute,
    link_up,
    mac_attribute,
    mac_bytes,
    message,
    name_attribute,
)
from .registry import handles

RTM_DELLINK, RTM_NEWNEIGH = 17, 28
IFLA_MASTER, IFLA_GROUP, IFLA_NET_NS_FD = 10, 27, 28
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 2, 4, 5
VETH_INFO_PEER = 1
IFLA_BRPORT_MODE = 4
AF_BRIDGE, NDA_LLADDR, NUD_NOARP, NTF_MASTER = 7, 2, 0x40, 0x04
DOOMED = 1  # the group of links that are about to be deleted; others are in group 0


@handles(AddBridge)
def add_bridges(ops: Sequence[AddBridge], kernel: Applied) -> None:
    for op in ops:
        index = kernel.links.new(op.netns, op.name)
        kernel.links.queue(op, new_bridge(index, op.name, op.mac))


@handles(AddDummy)
def add_dummies(ops: Sequence[AddDummy], kernel: Applied) -> None:
    for op in ops:
        kernel.links.queue(op, new_dummy(kernel.links.new(op.netns, op.name), op.name))


@handles(AddVeth)
def add_pairs(ops: Sequence[AddVeth], kernel: Applied) -> None:
    """Makes the pairs from ``netns``, then sets the peers up from inside their namespaces."""
    links = kernel.links
    for op in ops:
        index, peer_index = links.new(op.netns, op.name), links.new(op.peer_netns, op.peer)
        links.pair((op.netns, op.name), (op.peer_netns, op.peer))
        peer_fd = kernel.namespaces[op.peer_netns]
        pair = new_veth(index, op.name, op.mac, peer_fd, peer_index, op.peer, op.peer_mac)
        if op.bridge:
            pair += _join(kernel, op.netns, index, op.bridge, op.hairpin, op.peer_mac)
        links.queue(op, pair)
    links.flush()
    for op in ops:
        peer_index = links.index(op.peer_netns, op.peer)
        peer = link_up(peer_index)
        if op.peer_bridge:
            peer += _join(kernel, op.peer_netns, peer_index, op.peer_bridge, op.peer_hairpin, op.mac)
        links.queue(op, peer, op.peer_netns)


def _join(kernel: Applied, netns: str, index: int, bridge: str, hairpin: bool, other: str) -> bytes:
    kernel.ports.setdefault(netns, set()).add(index)
    return bridge_port(index, kernel.links.index(netns, bridge), hairpin) + bridge_knows(index, other)


@handles(DelLink)
def delete(ops: Sequence[DelLink], kernel: Applied) -> None:
    links = kernel.links
    links.flush()
    doomed: dict[str, list[tuple[DelLink, int]]] = {}
    for op in ops:
        doomed.setdefault(op.netns, []).append((op, links.index(op.netns, op.name)))
        links.forget((op.netns, op.name))
    for rows in doomed.values():
        links.queue(rows[0][0], delete_links([index for _, index in rows]))
    links.flush_at_once()


def new_bridge(index: int, name: str, mac: str) -> bytes:
    """Creates a bridge that is up."""
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"))
    return message(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        IFINFO.pack(0, 0, 0, index, IFF_UP, IFF_UP) + name_attribute(name) + mac_attribute(mac) + info,
    )


def new_dummy(index: int, name: str) -> bytes:
    """Creates a dummy interface that is down."""
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"dummy"))
    return message(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        IFINFO.pack(0, 0, 0, index, 0, 0) + name_attribute(name) + info,
    )


def new_veth(
    index: int, name: str, mac: str, peer_fd: int, peer_index: int, peer: str, peer_mac: str
) -> bytes:
    """Creates a veth pair, this end up, the other in the namespace behind ``peer_fd`` and down.

    The peer cannot be set up in the same message (ENOTCONN, kernel 6.18): set it up from inside. Both ends
    have one queue: without the numbers the kernel makes one for each processor, takes all but one back, and
    waits for an RCU grace period to do so (drivers/net/veth.c, veth_init_queues).
    """
    queues = attribute(IFLA_NUM_TX_QUEUES, U32.pack(1)) + attribute(IFLA_NUM_RX_QUEUES, U32.pack(1))
    other = (
        IFINFO.pack(0, 0, 0, peer_index, 0, 0)
        + queues
        + name_attribute(peer)
        + mac_attribute(peer_mac)
        + attribute(IFLA_NET_NS_FD, U32.pack(peer_fd))
    )
    info = attribute(
        IFLA_LINKINFO,
        attribute(IFLA_INFO_KIND, b"veth") + attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other)),
    )
    return message(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        IFINFO.pack(0, 0, 0, index, IFF_UP, IFF_UP)
        + queues
        + name_attribute(name)
        + mac_attribute(mac)
        + info,
    )


def bridge_port(index: int, bridge: int, hairpin: bool) -> bytes:
    """Makes the link ``index`` a port of the bridge with index ``bridge``, in hairpin mode if asked."""
    joins = message(
        RTM_NEWLINK, 0, IFINFO.pack(0, 0, 0, index, 0, 0) + attribute(IFLA_MASTER, U32.pack(bridge))
    )
    if hairpin:
        slave = attribute(IFLA_INFO_SLAVE_KIND, b"bridge") + attribute(
            IFLA_INFO_SLAVE_DATA, attribute(IFLA_BRPORT_MODE, b"\x01")
        )
        joins += message(RTM_NEWLINK, 0, IFINFO.pack(0, 0, 0, index, 0, 0) + attribute(IFLA_LINKINFO, slave))
    return joins


def bridge_knows(index: int, mac: str) -> bytes:
    """Adds a static entry to the forwarding database: the bridge sends frames for ``mac`` to its port
    ``index`` without having learnt it.
    """
    payload = struct.pack("=BBHiHBB", AF_BRIDGE, 0, 0, index, NUD_NOARP, NTF_MASTER, 0)
    return message(
        RTM_NEWNEIGH,
        NLM_F_CREATE | NLM_F_REPLACE,
        payload + attribute(NDA_LLADDR, mac_bytes(mac)),
    )


def delete_links(indexes: Sequence[int]) -> bytes:
    """Deletes the links ``indexes`` of one namespace, all at once: the kernel waits for an RCU grace period
    for each request that deletes, some 10 ms (net/core/dev.c, unregister_netdevice_many_notify). A request
    can name a group of links (rtnetlink.c, rtnl_group_dellink).
    """
    group = attribute(IFLA_GROUP, U32.pack(DOOMED))
    joins = [message(RTM_NEWLINK, 0, IFINFO.pack(0, 0, 0, index, 0, 0) + group) for index in indexes]
    return b"".join([*joins, message(RTM_DELLINK, 0, IFINFO.pack(0, 0, 0, 0, 0, 0) + group)])

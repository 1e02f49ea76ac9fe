"""From cluster state to one plan: host network, Pod network, rules. Pure: a plan is a value that can be
printed, compared and applied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import TypeAlias

from emulator.cluster.state import ROUTER, ClusterState
from emulator.hostnet.balancer import plan_balancer
from emulator.hostnet.network import plan_hostnet
from emulator.objects.kinds import Pod
from emulator.plan.difference import difference
from emulator.plan.naming import mac_of_ip
from emulator.plan.operations import AddNeighbour, LoadRules, Operation, Plan, SetSysctl, Stage
from emulator.plan.operations.links import AddLink
from emulator.plan.rules import compose, merge
from emulator.podnet import plan_meetings, plan_podnet, podnet_rules
from emulator.proxy import changed_rules, rules_renderer
from emulator.proxy.iptables import serves_localhost
from emulator.proxy.ipvs import balancing, ipvs_rules, plan_ipvs
from emulator.proxy.stale import stale_connections
from emulator.proxy.userspace import stale_relays

# What of a state the plans of the host network and the Pod network read, beside its Pods.
_NETWORK = ("podNetwork", "podSubnet", "serviceSubnet", "hostSubnet", "routerIP", "nodes", "clients")

Meetings: TypeAlias = Collection[tuple[str, str]]  # addresses of Pods that send to each other


def plan_cluster(state: ClusterState, meetings: Meetings = ()) -> Plan:
    """Everything that the kernel must hold for ``state``, in the order in which it must be done."""
    return _in_order(state, (*_plan_networks(state), *plan_meetings(state, meetings), *plan_rules(state)))


def plan_change(old: ClusterState, new: ClusterState, were: Meetings = (), are: Meetings = ()) -> Plan:
    """What makes a kernel that holds ``old`` hold ``new``: the difference of their plans, and then the
    connections that became wrong.

    ``were`` and ``are``: the meetings that the plan of ``old`` has, and those that the new one is to have. It
    costs what changed if the states share the Services and EndpointSlices that did not. Raises
    :class:`UsageError` where kube-proxy would have to be started anew.
    """
    if set(were) == set(are) and _have_one_network(old, new):
        return _plan_change(old, new, (), ())
    before, after = (
        chain(_plan_networks(state), plan_meetings(state, pairs))
        for state, pairs in ((old, were), (new, are))
    )
    return _plan_change(old, new, before, after)


def _have_one_network(old: ClusterState, new: ClusterState) -> bool:
    """Returns True where the plans of both states differ in rules at most: machines, addresses and links are
    the same. A balancer's connections depend on more, so with one it is False.
    """
    if old.balancerIP or new.balancerIP or len(old.pods) != len(new.pods):
        return False
    if any(getattr(old, name) != getattr(new, name) for name in _NETWORK):
        return False
    pairs = zip(old.pods, new.pods, strict=True)
    return all(was is now or _wiring(was) == _wiring(now) for was, now in pairs)


def _wiring(pod: Pod) -> tuple[object, ...]:
    return pod.key, pod.spec.nodeName, pod.spec.hostNetwork, pod.status.podIPs


def _plan_networks(state: ClusterState) -> Iterator[Operation]:
    yield from plan_hostnet(state)
    yield from plan_balancer(state)
    yield from plan_podnet(state)


def _in_order(state: ClusterState, operations: Iterable[Operation]) -> Plan:
    """Returns the plan with its operations by stage, within a stage as planned.

    A node has its eth0 before its bridge, as machines have. MASQUERADE takes the address of the first
    interface for what leaves by lo (net/ipv4/devinet.c: inet_select_addr), and that is to be the node's own.
    """

    def order(op: Operation) -> tuple[Stage, bool, Stage]:
        own = isinstance(op, AddLink) and op.netns in state.node
        return Stage.PAIRS if own else op.stage, own, op.stage

    return Plan(name=state.name, operations=tuple(sorted(operations, key=order)))


def _plan_change(
    old: ClusterState, new: ClusterState, before: Iterable[Operation], after: Iterable[Operation]
) -> Plan:
    """``before`` and ``after`` are all operations of ``old`` and ``new`` but the rules and what belongs to
    them.
    """
    loads = _changed_loads(old, new)
    if loads is None:
        before, after = chain(before, plan_rules(old)), chain(after, plan_rules(new))
    change = difference(_in_order(old, before), _in_order(new, after))
    stale = stale_relays if new.proxy.mode == "userspace" else stale_connections
    return replace(change, operations=(*change.operations, *(loads or ()), *stale(old, new)))


def _changed_loads(old: ClusterState, new: ClusterState) -> tuple[LoadRules, ...] | None:
    """What changes in each node's rules, if that can be told Service by Service."""
    changed = changed_rules(old, new)
    if changed is None:
        return None
    if not _have_one_network(old, new) and any(
        podnet_rules(old, node.name) != podnet_rules(new, node.name) for node in new.nodes
    ):
        return None
    tool, texts = changed
    why = "{}: kube-proxy's rules, in one load: what changed"
    return tuple(
        [
            LoadRules(netns=node, tool=tool, text=text, why=why.format(node))
            for node, text in texts.items()
            if text
        ]
    )


def plan_script(state: ClusterState) -> Plan:
    """The plan of ``state`` for a script, which can start no process that goes on running."""
    plan = plan_cluster(state)
    return replace(plan, operations=(*plan.operations, *plan_speakers(state)))


def plan_script_change(old: ClusterState, new: ClusterState) -> Plan:
    """:func:`plan_change` for a script."""
    before, after = (chain(_plan_networks(state), plan_speakers(state)) for state in (old, new))
    return _plan_change(old, new, before, after)


def plan_speakers(state: ClusterState) -> Iterator[Operation]:
    """What stands in for the speakers where none can run, as in a script: the router is told what it would be
    answered.
    """
    for ip, node in state.speakers.items():
        why = f"{node} announces {ip}: a speaker there answers ARP for it, which no tool of a shell does; the router is told the answer instead"
        yield AddNeighbour(
            netns=ROUTER, dev="eth0", address=ip, mac=mac_of_ip(state.node[node].internalIPs[0]), why=why
        )


def plan_rules(state: ClusterState) -> Iterator[Operation]:
    """Each node's rules, in one atomic load per tool; and the sysctl that node ports on localhost need."""
    balanced = cache(balancing(state)) if state.proxy.mode == "ipvs" else None
    if balanced:  # the rules are but a part of it
        yield from plan_ipvs(state, balanced)
    proxy_rules = ipvs_rules(balanced) if balanced else rules_renderer(state)
    for node in state.nodes:
        if state.proxy.mode == "iptables" and serves_localhost(state.proxy):
            why = "node ports answer on 127.0.0.1 too (iptables.localhostNodePorts)"
            yield SetSysctl(netns=node.name, key="net.ipv4.conf.all.route_localnet", value="1", why=why)
        rules = proxy_rules(node.name)
        owners = "the Pod network's rules"
        if rules.nft:
            yield LoadRules(
                netns=node.name,
                tool="nft",
                text=rules.nft,
                why=f"{node.name}: kube-proxy's rules, in one load",
                rules=rules,
            )
        else:
            owners = "kube-proxy's and " + owners
        why = f"{node.name}: {owners}, in one load"
        if state.proxy.mode == "userspace":
            why += "; they lead to ports where a process has to listen, which podwire starts and no script can be"
        both = merge(rules, podnet_rules(state, node.name))
        yield LoadRules(netns=node.name, tool="iptables-restore", text=compose(both), why=why, rules=both)

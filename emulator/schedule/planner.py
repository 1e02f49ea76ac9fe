"""Plans a cluster state as a whole: host network, Pod network, rules. Pure: a plan is a value that can be
printed, compared and applied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TypeAlias

from ..cluster.state import ROUTER, ClusterState
from ..hostnet.balancer import plan_balancer
from ..hostnet.network import plan_hostnet
from ..net import Address, mac_of_ip
from ..objects.kinds import Pod
from ..plan.difference import difference
from ..plan.operations import AddNeighbour, ChangeRules, LoadRules, Operation, Plan, Stage
from ..plan.operations.links import AddLink
from ..plan.rules import merge
from ..podnet import plan_meetings, plan_podnet, podnet_rules
from ..proxy.backend import Rules
from ..proxy.backends import backend_of
from ..proxy.planner import ProxyChange, ProxyPlanner

# Fields of a state, beside its Pods, that the plans of the host network and the Pod network read.
_NETWORK = ("podNetwork", "podSubnet", "serviceSubnet", "hostSubnet", "routerIP", "nodes", "clients")

Meetings: TypeAlias = Collection[tuple[str, str]]  # addresses of Pods that send to each other


def plan_cluster(state: ClusterState, meetings: Meetings = (), proxy: ProxyPlanner | None = None) -> Plan:
    """Returns all operations that the kernels need for ``state``, in the order in which they must be applied.

    ``proxy``: plans kube-proxy's part of the states that follow, too.
    """
    rules = (proxy or ProxyPlanner()).rules(state)
    return _in_order(
        state, (*plan_networks(state), *plan_meetings(state, meetings), *plan_rules(state, rules))
    )


def plan_change(
    old: ClusterState,
    new: ClusterState,
    were: Meetings = (),
    are: Meetings = (),
    proxy: ProxyPlanner | None = None,
) -> Plan:
    """Returns the operations that turn a kernel that holds ``old`` into one that holds ``new``: the
    difference of their plans, and then the deletion of stale conntrack entries.

    ``were`` and ``are``: the meetings in the plan of ``old``, and those in the plan of ``new``. It costs what
    changed if ``proxy`` planned ``old``, and the states share the Services and EndpointSlices that did not
    change. Raises :class:`UsageError` if kube-proxy would have to be restarted.
    """
    if set(were) == set(are) and _have_one_network(old, new):
        return _plan_change(old, new, (), (), proxy or ProxyPlanner())
    before, after = (
        chain(plan_networks(state), plan_meetings(state, pairs)) for state, pairs in ((old, were), (new, are))
    )
    return _plan_change(old, new, before, after, proxy or ProxyPlanner())


def _have_one_network(old: ClusterState, new: ClusterState) -> bool:
    """Returns True if the plans of both states differ at most in rules: machines, addresses and links are the
    same. A balancer's connections depend on more, so with one it is False.
    """
    if old.balancerIP or new.balancerIP or len(old.pods) != len(new.pods):
        return False
    if any(getattr(old, name) != getattr(new, name) for name in _NETWORK):
        return False
    pairs = zip(old.pods, new.pods, strict=True)
    return all(was is now or _wiring(was) == _wiring(now) for was, now in pairs)


def _wiring(pod: Pod) -> tuple[object, ...]:
    return pod.key, pod.spec.nodeName, pod.spec.hostNetwork, pod.status.podIPs


def plan_networks(state: ClusterState) -> Iterator[Operation]:
    """Yields the operations of the host network and the Pod network: machines, links, addresses, routes."""
    yield from plan_hostnet(state)
    yield from plan_balancer(state)
    yield from plan_podnet(state)


def _in_order(state: ClusterState, operations: Iterable[Operation]) -> Plan:
    """Returns the plan with its operations by stage, within a stage as planned.

    A node has its eth0 before its bridge, as machines have. MASQUERADE takes the address of the first
    interface for packets that leave by lo (net/ipv4/devinet.c: inet_select_addr), and that is to be the
    node's own.
    """

    def order(op: Operation) -> tuple[Stage, bool, Stage]:
        own = isinstance(op, AddLink) and op.netns in state.node
        return Stage.PAIRS if own else op.stage, own, op.stage

    return Plan(name=state.name, operations=tuple(sorted(operations, key=order)))


def _plan_change(
    old: ClusterState,
    new: ClusterState,
    before: Iterable[Operation],
    after: Iterable[Operation],
    proxy: ProxyPlanner,
) -> Plan:
    """Returns the change; ``before`` and ``after`` are all operations of ``old`` and ``new`` but the rules
    and the operations that belong to them.
    """
    rules = proxy.change(old, new)
    loads = _changed_loads(old, new, rules)
    if loads is None:
        before = chain(before, plan_rules(old, rules.before))
        after = chain(after, plan_rules(new, rules.after))
    change = difference(_in_order(old, before), _in_order(new, after))
    return replace(change, operations=(*change.operations, *(loads or ()), *rules.stale))


def _changed_loads(
    old: ClusterState, new: ClusterState, rules: ProxyChange
) -> tuple[ChangeRules, ...] | None:
    """Returns the changes of each node's rules, if they can be computed Service by Service."""
    if rules.changes is None:
        return None
    if not _have_one_network(old, new) and any(
        podnet_rules(old, node.name) != podnet_rules(new, node.name) for node in new.nodes
    ):
        return None
    why = "{}: changes of kube-proxy's rules, in one load"
    return tuple(
        [
            ChangeRules(
                netns=node, tool=rules.after.tool, family=new.family, change=change, why=why.format(node)
            )
            for node, change in rules.changes.items()
            if change
        ]
    )


def plan_script(state: ClusterState) -> Plan:
    """Returns the plan of ``state`` for a script, which can start no process that goes on running."""
    plan = plan_cluster(state)
    return replace(plan, operations=(*plan.operations, *plan_speakers(state)))


def plan_script_change(old: ClusterState, new: ClusterState) -> Plan:
    """Returns :func:`plan_change` for a script."""
    before, after = (chain(plan_networks(state), plan_speakers(state)) for state in (old, new))
    return _plan_change(old, new, before, after, ProxyPlanner())


def plan_speakers(state: ClusterState) -> Iterator[Operation]:
    """Yields static neighbour entries on the router in place of the ARP speakers, which a script
    cannot run.
    """
    for ip, node in state.speakers.items():
        why = (
            f"{node} announces {ip}: a speaker there answers ARP; a script has none, so the router gets "
            "a static entry"
        )
        yield AddNeighbour(
            netns=ROUTER,
            dev="eth0",
            address=Address(ip),
            mac=mac_of_ip(state.node[node].internalIPs[0]),
            why=why,
        )


def plan_rules(state: ClusterState, proxy: Rules) -> Iterator[Operation]:
    """Yields each node's rules, in one atomic load per tool, and the other operations that ``proxy`` needs
    there.
    """
    yield from proxy.operations()
    for node in state.nodes:
        rules = proxy.on(node.name)
        owners = "the Pod network's rules"
        if rules.table:
            yield LoadRules(
                netns=node.name,
                tool="nft",
                family=state.family,
                why=f"{node.name}: kube-proxy's rules, in one load",
                rules=rules,
            )
        elif rules.tables:
            owners = "kube-proxy's and " + owners
        why = f"{node.name}: {owners}, in one load"
        if backend_of(state).relays:
            why += "; their targets are ports of a proxy process, which podwire starts and a script cannot"
        both = merge(rules, podnet_rules(state, node.name))
        yield LoadRules(netns=node.name, tool="iptables-restore", family=state.family, rules=both, why=why)

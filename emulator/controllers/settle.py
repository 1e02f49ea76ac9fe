"""Control: from what the user wrote to the cluster's complete state, as a real control plane would fill it
in.

May import ``objects``, ``errors`` and this room; pure, and deterministic for a seed. Data goes through the
modules of this room in one direction: shape → networks → pools → workloads → placement → addresses → services
→ slices → listeners → checks → loadbalancers. A module that meets a mistake reports it and goes on as well as
it can: every mistake is reported at once. A FlowCheck's step (``steps``) is another way through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from emulator.cluster.state import ClusterState, Step
from emulator.controllers.addresses import address_pods
from emulator.controllers.checks import check_flows
from emulator.controllers.clients import external_clients
from emulator.controllers.clusterflags import cluster_flags
from emulator.controllers.commands import real_commands
from emulator.controllers.contested import notice_contested, notice_nested, notice_outside
from emulator.controllers.controlplane import kubernetes_service, static_pods
from emulator.controllers.findings import Draft, Findings
from emulator.controllers.ipvs import notice_ipvs
from emulator.controllers.listeners import make_listeners
from emulator.controllers.loadbalancers import (
    address_balancer,
    choose_speakers,
    choose_targets,
    give_addresses,
)
from emulator.controllers.networks import address_nodes, choose_networks, notice_networks
from emulator.controllers.placement import place
from emulator.controllers.pools import choose_pools
from emulator.controllers.room import is_too_large, room_for_pods
from emulator.controllers.services import complete_services
from emulator.controllers.settings import proxy_settings
from emulator.controllers.shape import make_nodes
from emulator.controllers.slices import make_slices
from emulator.controllers.steps import edit, live_inventory
from emulator.controllers.waiting import Waiting
from emulator.controllers.workloads import controlled_pods, given_pods
from emulator.errors import InputError, Problem
from emulator.load.load import ReadingError
from emulator.objects.config import FlowCheck, Inventory, ProxyMode
from emulator.objects.kinds import Loaded, Origin


def settle(
    inventory: Inventory, *, seed: int = 0, proxy_mode: ProxyMode | None = None, run: bool = False
) -> ClusterState:
    """The cluster that ``inventory`` describes, every object complete and every address given, and all that
    the steps of its FlowChecks make of it, one after the other. The steps of each FlowCheck begin with the
    cluster as it is at first.

    ``seed`` draws names and node ports; ``proxy_mode`` overrides what the input says; ``run``: commands of
    containers may run. Raises InputError with every problem.
    """
    story = _Story(seed, proxy_mode, run)
    first = story.settle(inventory)
    scripted = [loaded for loaded in inventory.flowChecks if loaded.object.steps]
    steps: list[Step] = []
    for index, loaded in enumerate(scripted):
        if index:
            steps.append(Step(name=loaded.object.metadata.name, state=replace(first, flowChecks=(loaded,))))
        steps += story.play(inventory, first, loaded)
    if story.problems:
        raise InputError(tuple(story.problems))
    return replace(
        first, flowChecks=tuple(c for c in first.flowChecks if c not in scripted[1:]), steps=tuple(steps)
    )


class _Story:
    """How states are settled: the first one, and each later one out of the one before."""

    def __init__(self, seed: int, proxy_mode: ProxyMode | None, run: bool) -> None:
        self._seed, self._proxy_mode, self._run = seed, proxy_mode, run
        self.problems: dict[Problem, None] = {}  # of later states

    def play(self, inventory: Inventory, first: ClusterState, loaded: Loaded[FlowCheck]) -> Iterator[Step]:
        """The steps of one FlowCheck, each after the one before. What is wrong with one is left out of what
        the next begins with.
        """
        check, states = loaded.object, [first]
        for index, step in enumerate(check.steps):
            path = f"spec.steps[{index}]"
            findings, names = Findings(), _pod_names(states)
            live = live_inventory(inventory, states[-1])
            live = edit(live, states[-1], step, check.applied[index], loaded.origin, path, names, findings)
            self.problems.update(dict.fromkeys(findings.problems))
            flows = replace(
                loaded, object=FlowCheck(metadata=check.metadata, flows=step.flows, step=step.name, path=path)
            )
            state = self._next(replace(live, flowChecks=(flows,)), states) or self._next(live, states)
            if state is None:
                return
            states.append(state)
            inventory = live
            yield Step(name=f"{check.metadata.name}, {step.name}", state=state, wait=step.wait)

    def _next(self, inventory: Inventory, earlier: Sequence[ClusterState]) -> ClusterState | None:
        """``inventory`` settled; None if it cannot be, for reasons that are kept."""
        try:
            return self.settle(inventory, earlier)
        except InputError as error:
            self.problems.update(dict.fromkeys(error.problems))
            return None

    def settle(self, inventory: Inventory, earlier: Sequence[ClusterState] = ()) -> ClusterState:
        """``inventory`` complete. ``earlier``: the states before it; addresses that Pods had in them are
        given out last, and whoever listened in the last one and still runs goes on listening.
        """
        findings = Findings(inventory.notices)
        origin = inventory.cluster.origin if inventory.cluster else Origin(inventory.name)
        waiting = Waiting()
        given = given_pods(inventory, self._seed, findings, waiting)
        shaped = make_nodes(inventory, given, findings)
        if is_too_large(inventory.pods, shaped, findings):
            raise InputError(findings.problems)
        flags = cluster_flags(inventory)
        networks = choose_networks(
            inventory, shaped, given, [s.object for s in inventory.services], flags, findings
        )
        if earlier:  # what was chosen at first stands
            first = earlier[0]
            router = IPv4Address(first.routerIP)
            networks = replace(
                networks, router=router, madeUp=first.madeUpBridges, ignoredCIDRs=False, said=frozenset()
            )
        else:
            notice_networks(networks, [draft.object for draft in shaped], flags, findings)
        pools = choose_pools(inventory, networks.hosts, findings)
        external = list(_external_addresses(inventory))
        node_drafts = address_nodes(shaped, networks, given, external, pools, origin, findings)
        nodes = [draft.object for draft in node_drafts]
        held = [*external, *(address.ip for draft in given for address in draft.object.status.podIPs)]
        clients = external_clients(inventory, node_drafts, networks, held, findings)
        taken = {str(networks.router), *(ip for node in nodes for ip in node.internalIPs)}

        running = [*static_pods(node_drafts, given), *given]
        running += controlled_pods(
            inventory, running, nodes, self._seed, room_for_pods(nodes, len(running)), findings
        )
        used = {address.ip for state in earlier for pod in state.pods for address in pod.status.podIPs}
        namespaces = {
            loaded.object.metadata.name: loaded.object.metadata.labels for loaded in inventory.namespaces
        }
        placed = place(running, nodes, namespaces, waiting)
        pod_drafts = address_pods(placed, nodes, networks, clients, findings, used)
        pods = [draft.object for draft in pod_drafts]

        written = [Draft(loaded.object, loaded.origin) for loaded in inventory.services]
        service_drafts = complete_services(
            [*kubernetes_service(written, origin), *written], networks, self._seed, findings
        )
        service_drafts = give_addresses(service_drafts, pools, networks.hosts, {*taken, *external}, findings)
        services = sorted(
            (draft.object for draft in service_drafts), key=lambda service: (service.namespace, service.name)
        )
        notice_contested(services, findings)
        waiting.tell(findings)
        lost = [row.pod for row in waiting.pods if row.lost]
        slices = make_slices(inventory, service_drafts, [*pods, *lost], nodes, self._seed, findings)
        notice_nested(services, slices, nodes, findings)
        cidrs = (IPv4Network(cidr) for node in nodes for cidr in node.spec.podCIDRs if ":" not in cidr)
        given_ips = {address.ip for pod in pods for address in pod.status.podIPs} | {
            client.address for client in clients
        }
        inside = (networks.pods, networks.services, networks.hosts, *cidrs)
        notice_outside(slices, inside, taken | given_ips, findings)

        commands = real_commands(pod_drafts, findings, allowed=self._run)
        before = earlier[-1].listeners if earlier else ()
        listeners = make_listeners(pods, nodes, clients, services, slices, commands, findings, before)
        check_flows(
            inventory.flowChecks, pods, waiting.pods, services, nodes, clients, listeners, commands, findings
        )
        proxy = (
            earlier[0].proxy
            if earlier
            else proxy_settings(inventory, networks, flags, self._proxy_mode, findings)
        )
        if proxy.mode == "userspace":
            # that mode never answered any
            listeners = tuple(listener for listener in listeners if not listener.healthCheck)
        balancer = address_balancer(services, pools, networks.hosts, {*taken, *external}, origin, findings)
        balanced = choose_targets(services, nodes, listeners, findings)
        speakers = choose_speakers(services, slices, nodes, pools, networks.hosts, taken)
        if proxy.mode == "ipvs":
            notice_ipvs(services, nodes, speakers, proxy, findings)
        if findings.problems:
            raise InputError(findings.problems)
        return ClusterState(
            name=inventory.name,
            seed=self._seed,
            podSubnet=networks.pods,
            serviceSubnet=networks.services,
            hostSubnet=networks.hosts,
            routerIP=str(networks.router),
            podNetwork="kubenet",
            madeUpBridges=networks.madeUp,
            proxy=proxy,
            nodes=tuple(nodes),
            pods=tuple(pods),
            waiting=waiting.pods,
            services=tuple(services),
            endpointSlices=tuple(slices),
            clients=clients,
            listeners=listeners,
            commands=commands,
            speakers=speakers,
            balancerIP=balancer,
            balanced=balanced,
            flowChecks=inventory.flowChecks,
            notices=findings.notices,
        )


def _pod_names(states: Iterable[ClusterState]) -> dict[str, set[str]]:
    """By namespace, the names that Pods have had."""
    names: dict[str, set[str]] = {}
    for pod in (pod for state in states for pod in state.pods):
        names.setdefault(pod.namespace, set()).add(pod.name)
    return names


def every_problem(error: ReadingError) -> tuple[Problem, ...]:
    """The problems of reading, and with them what the Services that could be read claim against one another
    and the cluster: ClusterIPs and node ports. Nothing is said of objects that are missing, since they may be
    among those that could not be read.
    """
    aside, findings = Findings(), Findings()
    inventory = error.sound
    given = given_pods(inventory, 0, aside, Waiting())
    services, nodes = [s.object for s in inventory.services], make_nodes(inventory, given, aside)
    networks = choose_networks(inventory, nodes, given, services, cluster_flags(inventory), aside)
    complete_services(
        [Draft(loaded.object, loaded.origin) for loaded in error.services], networks, 0, findings
    )
    told = {(problem.file, problem.document, problem.path) for problem in error.problems}
    problems = [*error.problems, *(p for p in findings.problems if (p.file, p.document, p.path) not in told)]
    files = {file: index for index, file in enumerate(dict.fromkeys(problem.file for problem in problems))}
    return tuple(sorted(problems, key=lambda problem: (files[problem.file], problem.document, problem.line)))


def _external_addresses(inventory: Inventory) -> Iterator[str]:
    """Addresses of Services that may lie in the host network and belong to no node."""
    for loaded in inventory.services:
        yield from loaded.object.spec.externalIPs
        yield from (ingress.ip for ingress in loaded.object.status.loadBalancer.ingress if ingress.ip)

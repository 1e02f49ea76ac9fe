"""Runs a control plane: the controllers over one store, until nothing changes any more.

Each controller reads the store, decides by the functions of this room, and writes its decisions. It runs when
a write by others concerns it; :meth:`ControlPlane.reconcile` ends when a round has written nothing. A
controller's notices are kept until it runs again, so that a cluster has the same notices whether it was
settled at once or change by change. :meth:`ControlPlane.snapshot` returns the cluster at that point; it
shares with the last one every object and every list that did not change.

Deterministic: names, addresses and ports depend on the seed, the objects and their order, never on time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from operator import is_
from typing import Any, NamedTuple, TypeVar

from ..cluster.state import ClusterState, Listener, Program, ProxySettings, WaitingPod
from ..errors import InputError, Words, worded
from ..net import Address, Prefix, prefixes_of
from ..objects.config import (
    BINDING_MODES,
    WITHOUT_HEALTH_CHECKS,
    ExternalClient,
    FlowCheck,
    Inventory,
    ProxyMode,
)
from ..objects.kinds import (
    EndpointSlice,
    Loaded,
    Node,
    Origin,
    Pod,
    Service,
    Uninterpreted,
    Workload,
)
from ..objects.references import ObjectRef
from ..objects.releases import CURRENT, known_release
from ..objects.selectors import matches_labels
from ..objects.warnings import ManifestWarning
from ..store.errors import ExpiredError
from ..store.objects import Key, Stored, key_of
from ..store.store import Event, Store
from .addresses import address_pods
from .bound import notice_bound, notice_not_taken
from .checks import check_flows, dialled_ports
from .clients import check_clients, external_clients
from .clusterflags import ClusterFlags, cluster_flags
from .commands import RUN_ANNOTATION, real_commands
from .contested import (
    find_outside,
    notice_contested,
    notice_nested,
    notice_on_link,
    notice_outside,
)
from .controlplane import api_servers, kubernetes_service, static_pods
from .findings import Draft, Findings
from .listeners import add_health_checks, make_listeners, notice_host_ports
from .loadbalancers import (
    address_balancer,
    choose_speakers,
    choose_targets,
    give_addresses,
)
from .networks import (
    Networks,
    address_nodes,
    choose_networks,
    notice_networks,
)
from .placement import place
from .pools import Pools, choose_pools
from .room import is_too_large, room_for_pods
from .services import complete_services
from .settings import proxy_settings
from .shape import complete_nodes, make_nodes
from .slices import (
    MANAGED_BY_LABEL,
    PodIndex,
    SelectorIndex,
    Sources,
    given_slices,
    managers_of,
    service_slices,
    zones_of,
)
from .waiting import Waiting
from .warnings import Written, find_warnings, place_warnings
from .workloads import (
    ENDED_PHASES,
    controlled_pods,
    controls,
    missing_pods,
    name_pods,
    running_pods,
    surplus_pods,
)

NOW = "0001-01-01T00:00:00Z"  # the time of a cluster that does not live: no controller reads a clock
WORKLOADS = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job")
_MOST_ROUNDS = 20  # a controller that still writes after so many is at fault
_ONE_BY_ONE = 20_000  # Pods times Services that are compared singly; beyond it an index is made

T = TypeVar("T")
_ServiceKey = tuple[str, str]  # namespace, name

# Controllers with notices, in the order in which a user reads them.
_TELLERS = (
    "pods",
    "nodes",
    "workloads",
    "addresses",
    "services",
    "contested",
    "waiting",
    "slices",
    "nested",
    "outside",
    "on link",
    "commands",
    "listeners",
    "healthChecks",
    "hostPorts",
    "checks",
    "proxy",
    "balancer",
    "targets",
    "bound",
    "not taken",
)


def _ref(one: Any) -> ObjectRef:
    """Returns the reference to a typed object."""
    kind, namespace, name = key_of(one)
    return ObjectRef(kind, f"{namespace}/{name}" if namespace else name)


class Controller(NamedTuple):
    """Describes a controller. ``run`` gets the events since its last run, None in its first run, when the
    time has come that it asked for, or if it has missed some; ``concerns`` returns whether it must run after
    an event.
    """

    name: str
    run: Callable[[ControlPlane, Sequence[Event] | None], None]
    concerns: Callable[[Event], bool]


class ControlPlane:
    """Runs the controllers. ``blame`` is the origin and path at which a problem with the number of Pods is
    reported; None: at the workload.
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        seed: int = 0,
        proxy_mode: ProxyMode | None = None,
        run: bool = False,
        workloads: Sequence[Controller] = (),
        now: str = NOW,
        program: Program | None = None,
        release: str = "",
    ) -> None:
        """Writes the objects of ``inventory``. ``seed`` draws names and node ports; ``proxy_mode`` overrides
        the input's; ``run``: commands of containers may run; ``program``: a real kube-proxy makes the rules,
        ``release``: the one whose behaviour is modelled ("": that of ``program``, or the current one).
        ``workloads``: the cluster lives, and these controllers make the Pods of its workloads; whoever holds
        it says the time (:attr:`now`), lets controllers run that asked for it (:meth:`wake`), and asks the
        store for its events.
        """
        self.store = Store()
        self.lives = bool(workloads)
        self.now = now
        self.due: dict[str, float] = {}  # by controller: in how many seconds from ``now`` it runs again
        self._woken: set[str] = set()
        self._controllers = _controllers(workloads)
        self.blame: tuple[Origin, str] | None = None
        self._inventory, self._seed, self._proxy_mode, self._run = inventory, seed, proxy_mode, run
        self._program = program
        self._release = known_release(program.release) if program else release or CURRENT
        cluster = inventory.cluster
        self._origin = cluster.origin if cluster else Origin(inventory.name)
        self._seen: dict[str, int] = {}  # by controller: the last version that it has seen
        self._findings: dict[str, Findings] = {}
        self._derived: dict[str, tuple[tuple[Any, ...], Any]] = {}  # inputs and the result for them
        self._order: dict[str, dict[int, int]] = {}  # by kind: created → rank of its objects
        self._static: set[int] = set()  # static Pods made since the last snapshot
        self._used: set[str] = set()  # addresses that Pods have had
        self._names: dict[str, set[str]] = {}  # by namespace: names that Pods have had
        self._made: dict[_ServiceKey, tuple[Key, ...]] = {}  # slices that a controller here made
        self._told_of: dict[_ServiceKey, Findings] = {}  # notices of making slices
        self._foreign: tuple[Stored, ...] = ()  # slices that no controller here made
        self._given: tuple[tuple[EndpointSlice, ...], Findings] = ((), Findings())
        self._services: tuple[Draft[Service], ...] = ()
        self._by_name: tuple[Service, ...] = ()
        self._placed: tuple[Key, ...] = ()
        self._ranked: tuple[Any, ...] = ()  # inputs of the present order of Pods and Services
        self._waiting = Waiting()
        self._flags: ClusterFlags
        self._networks: Networks
        self._pools: Pools
        self._clients: tuple[ExternalClient, ...]
        self._proxy: ProxySettings
        self._external: frozenset[str] = frozenset()
        self.last: ClusterState | None = None
        self._write(inventory)

    @property
    def seed(self) -> int:
        """Returns the number that draws names and node ports."""
        return self._seed

    @property
    def serviceSubnet(self) -> Prefix:
        """Returns the prefix of ClusterIPs, which the first reconciliation chooses."""
        return self._networks.services

    def fork(self) -> ControlPlane:
        """Returns a control plane over the same objects, which changes separately from here on."""
        twin = copy(self)
        for name in ("_seen", "_findings", "_derived", "_order", "_made", "_told_of"):
            setattr(twin, name, dict(getattr(self, name)))
        twin.store, twin._used = self.store.fork(), set(self._used)
        twin._names = {namespace: set(names) for namespace, names in self._names.items()}
        return twin

    def _write(self, inventory: Inventory) -> None:
        """Writes all of the user's objects: the first writes."""
        given: Iterable[Iterable[Loaded[Any]]] = (
            inventory.namespaces,
            inventory.nodes,
            name_pods(inventory.pods, self._seed),
            inventory.workloads,
            inventory.services,
            inventory.endpointSlices,
            inventory.endpoints,
            inventory.addressPools,
            inventory.l2Advertisements,
            inventory.uninterpreted,
        )
        for objects in given:
            for loaded in objects:
                self.store.apply_loaded(loaded, now=self.now)

    # --- the loop -----------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Runs the controllers to a fixed point. Raises InputError for more nodes or Pods than podwire takes;
        other problems are among :attr:`findings`.
        """
        for _ in range(_MOST_ROUNDS):
            before = self.store.resourceVersion
            for controller in self._controllers:
                self._consult(controller)
            if self.store.resourceVersion == before:
                if not self.lives:
                    self.store.forget()  # every controller has seen all events
                return
        raise AssertionError(f"the controllers reach no fixed point: {[*self.store.watch(before)][:3]}")

    def resync(self) -> None:
        """Runs every controller once more, whatever changed."""
        for controller in self._controllers:
            controller.run(self, None)
            self._seen[controller.name] = self.store.resourceVersion

    @property
    def waiting(self) -> tuple[WaitingPod, ...]:
        """Returns the Pods that run nowhere, each with the reason."""
        return self._waiting.pods

    def wake(self, seconds: float, name: str) -> None:
        """Asks that the controller ``name`` runs again in ``seconds``, or earlier if it asked for that
        before, whatever happens until then.
        """
        self.due[name] = min(seconds, self.due.get(name, seconds))

    def elapse(self, name: str) -> None:
        """Lets the controller ``name`` run in the next :meth:`reconcile`: the time that it asked for has
        come.
        """
        self.due.pop(name, None)
        self._woken.add(name)

    def _consult(self, controller: Controller) -> None:
        seen, woken = self._seen.get(controller.name), controller.name in self._woken
        if seen == self.store.resourceVersion and not woken:
            return
        self._woken.discard(controller.name)
        events = self._since(seen)
        if woken or events is None or any(controller.concerns(event) for event in events):
            controller.run(self, None if woken else events)  # the time concerns any object
        self._seen[controller.name] = self.store.resourceVersion

    def _since(self, seen: int | None) -> list[Event] | None:
        try:
            return None if seen is None else list(self.store.watch(seen))
        except ExpiredError:
            return None

    @property
    def findings(self) -> Findings:
        """Returns the problems and notices about the cluster as it is."""
        found = (self._findings.get(name) for name in _TELLERS)
        return Findings.join((Findings(self._inventory.notices), *filter(None, found)))

    def warnings(self, state: ClusterState) -> tuple[ManifestWarning, ...]:
        """Returns the warnings about the objects as they are in ``state``, the last snapshot."""
        findings = Findings.join([self.findings])
        find_warnings(state, self._inventory, findings)
        rows = [one for kind in self.store.kinds() for one in self.store.list(kind) if not one.base]
        pools = self._inventory.addressPools
        owners = {one.origin: _ref(one.object) for one in rows}
        notes = {_ref(one.object): one.object.metadata.annotations for one in rows}
        places = {_ref(one.object): one for one in pools}

        def written(about: ObjectRef) -> Written | None:
            namespace, _, name = about.name.rpartition("/")
            stored = self.store.get(Key(about.kind, namespace, name))
            if stored is not None:
                return Written(stored.origin, stored.base, stored.object.metadata.annotations)
            pool = places.get(ObjectRef(about.kind, about.name))
            if pool is not None:
                return Written(pool.origin, "", pool.object.metadata.annotations)
            proxy = self._inventory.proxy if about.kind == "KubeProxyConfiguration" else None
            return Written(proxy.origin, "", {}) if proxy else None

        return (
            *self._inventory.warnings,
            *place_warnings(findings.warnings, written, owners, notes),
        )

    @property
    def is_sound(self) -> bool:
        """Returns whether the cluster itself has no problem, whatever FlowChecks have."""
        return not any(found.problems for name, found in self._findings.items() if name != "checks")

    # --- reading and writing ------------------------------------------------------------------------------

    def _list(self, kind: str) -> Sequence[Stored]:
        """Returns the objects of ``kind``: those of the last snapshot in its order, then new ones."""
        rank = self._order.get(kind)
        stored = self.store.list(kind)
        if rank is None or not stored:
            return stored
        last = len(rank)
        return sorted(stored, key=lambda one: rank.get(one.created, last))

    def _drafts(self, kind: str) -> list[Draft[Any]]:
        return [_draft(one) for one in self._list(kind)]

    def _pods(self) -> list[Draft[Any]]:
        """Returns every Pod, new static Pods first."""
        rows = self._list("Pod")
        if self._static:
            rows = sorted(rows, key=lambda one: one.created not in self._static)
        return [_draft(one) for one in rows]

    def _running(self) -> list[Draft[Pod]]:
        return running_pods(self._pods(), Findings(), Waiting(), lives=self.lives)

    def _workloads(self) -> Iterator[Loaded[Workload]]:
        for one in self.workloads():
            yield Loaded(one.object, one.manifest, one.origin)

    def workloads(self) -> list[Stored]:
        """Returns every workload, in the order of creation."""
        rows = (one for kind in WORKLOADS for one in self.store.list(kind))
        return sorted(rows, key=lambda one: one.created)

    def _nodes(self) -> tuple[Node, ...]:
        return tuple(one.object for one in self._list("Node"))

    def _put(self, draft: Draft[Any], kind: str) -> Stored:
        """Writes a controller's result: a changed object, or a new one."""
        meta = draft.object.metadata
        stored = self.store.get(Key(kind, meta.namespace, meta.name))
        if stored is None:
            return self.store.add(draft.object, now=self.now, origin=draft.origin, base=draft.base)
        return stored if stored.object is draft.object else self.store.update(draft.object)

    def _rank(self, kind: str, rows: Iterable[Stored]) -> None:
        self._order[kind] = {one.created: index for index, one in enumerate(rows)}

    # --- nodes, and what the cluster's networks are -------------------------------------------------------

    def _reconcile_nodes(self, _: Sequence[Event] | None) -> None:
        findings = self._findings["nodes"] = Findings()
        given = self._running()
        first = "nodes" not in self._seen
        inventory = self._inventory
        if first:
            shaped = make_nodes(inventory, given, findings)
        else:
            shaped = complete_nodes(self._drafts("Node"), given, findings)
            given = [draft for draft in given if draft.object.ips]
        if is_too_large(self._pods(), shaped, findings):
            raise InputError(findings.problems)
        if first:
            self._flags = cluster_flags(inventory)
            services = [one.object for one in self.store.list("Service")]
            networks = choose_networks(inventory, shaped, given, services, self._flags, findings)
            notice_networks(networks, [draft.object for draft in shaped], self._flags, findings)
            self._networks = networks
        networks = self._networks
        self._pools = choose_pools(inventory, self._namespaces(), networks.hosts, findings)
        external = list(_external_addresses(one.object for one in self.store.list("Service")))
        drafts = address_nodes(shaped, networks, given, external, self._pools, self._origin, findings)
        if first:
            held = [*external, *(address.ip for draft in given for address in draft.object.status.podIPs)]
            self._clients = external_clients(inventory, drafts, networks, held, findings)
            self._networks = replace(networks, ignoredCIDRs=False)
        else:
            check_clients(self._clients, drafts, networks, self._origin, findings)
        self._rank("Node", [self._put(draft, "Node") for draft in drafts])

    def _namespaces(self) -> dict[str, Mapping[str, str]]:
        return {one.key.name: one.object.metadata.labels for one in self.store.list("Namespace")}

    # --- Pods ---------------------------------------------------------------------------------------------

    def _reconcile_static_pods(self, _: Sequence[Event] | None) -> None:
        nodes = [_draft(one) for one in self._list("Node")]
        servers = api_servers(
            [draft.object for draft in nodes],
            (draft.object for draft in self._drafts("Service")),
            (one.object for one in self.store.list("EndpointSlice")),
            (one.object for one in self.store.list("Endpoints")),
        )
        for draft in static_pods(nodes, self._pods(), servers):
            self._static.add(self._put(draft, "Pod").created)

    def _reconcile_workloads(self, events: Sequence[Event] | None) -> None:
        findings = self._findings["workloads"] = Findings()
        self._reconcile_static_pods(events)
        self.replace_outdated(events or ())
        if events is not None:
            self._follow(events, findings)
        running = self._running()
        pods = [one.object for one in self.store.list("Pod")]
        taken: dict[str, set[str]] = {}
        for pod in pods:
            taken.setdefault(pod.namespace, set()).add(pod.name)
        room = room_for_pods(self._nodes(), len(running))
        for draft in controlled_pods(
            tuple(self._workloads()), pods, taken, self._nodes(), self._seed, room, findings
        ):
            self._put(draft, "Pod")

    def replace_outdated(self, events: Iterable[Event]) -> None:
        """Deletes the Pods of each workload that got another template: all at once, without a roll-out."""
        for event in events:
            if (
                event.type == "MODIFIED"
                and event.old is not None
                and isinstance(event.stored.object, Workload)
                and event.old.object.spec.template != event.stored.object.spec.template
            ):
                for one in self.store.list("Pod", event.stored.key.namespace):
                    older = one.created < event.resourceVersion
                    if older and controls(event.stored.object, one.object):
                        self.store.finalize(one.key)

    def _follow(self, events: Sequence[Event], findings: Findings) -> None:
        """Creates the missing Pods, and deletes the surplus, of each workload whose Pods or replica count
        changed.
        """
        touched = {e.stored.key for e in events if e.type != "DELETED" and e.stored.key.kind in WORKLOADS}
        left = [pod for e in events if e.stored.key.kind == "Pod" for pod in self._left(e)]
        moved = any(e.stored.key.kind == "Node" and e.type != "MODIFIED" for e in events)
        for stored in self.workloads():
            workload: Workload = stored.object
            joins = workload.kind == "DaemonSet" and moved
            if stored.key in touched or joins or any(controls(workload, pod) for pod in left):
                self._scale(stored, findings)

    def _left(self, event: Event) -> Iterator[Pod]:
        """Yields the Pod of ``event`` as it was, if it went or is now ending."""
        was = event.stored if event.type == "DELETED" else event.old
        if was is not None:
            now = self.store.get(event.stored.key)
            if now is None or (now.deletionTimestamp is None) != (was.deletionTimestamp is None):
                yield was.object

    def _scale(self, stored: Stored, findings: Findings) -> None:
        workload: Workload = stored.object
        nodes = self._nodes()
        pods = [draft.object for draft in self._pods()]
        own = [pod for pod in pods if controls(workload, pod)]
        taken = {pod.name for pod in pods if pod.namespace == workload.namespace}
        if workload.kind != "StatefulSet":
            taken |= self._names.get(workload.namespace, set())
        running = len(self.last.pods) if self.last else 0
        room = room_for_pods(nodes, running - len(own))
        addresses = 0 if workload.spec.template.spec.hostNetwork else workload.replicas
        if workload.kind != "DaemonSet" and (refusal := room.refusal(workload.replicas, addresses)):
            origin, path = self.blame or (stored.origin, "spec.replicas")
            what = worded("{} replicas: {}", f"{workload.replicas:,}", Words(refusal))
            findings.problem(origin, path, what, "fewer replicas, or more nodes")
            return
        for pod in surplus_pods(workload, own):
            self.store.finalize(Key("Pod", pod.namespace, pod.name))
        loaded = Loaded(workload, stored.manifest, stored.origin)
        for draft in missing_pods(loaded, own, nodes, self._seed, taken, findings):
            self._put(draft, "Pod")

    def _reconcile_placement(self, _: Sequence[Event] | None) -> None:
        findings = self._findings["pods"] = Findings()
        self._waiting = waiting = Waiting()
        running = running_pods(self._pods(), findings, waiting, lives=self.lives)
        placed = place(running, self._nodes(), self._namespaces(), waiting)
        self._placed = tuple(self._put(draft, "Pod").key for draft in placed)
        told = self._findings["waiting"] = Findings()
        waiting.tell(told)

    def _reconcile_addresses(self, _: Sequence[Event] | None) -> None:
        findings = self._findings["addresses"] = Findings()
        drafts = [_draft(one) for key in self._placed if (one := self.store.get(key))]
        addressed = address_pods(drafts, self._nodes(), self._networks, self._clients, findings, self._used)
        for draft in addressed:
            self._put(draft, "Pod")

    # --- Services -----------------------------------------------------------------------------------------

    def _reconcile_services(self, _: Sequence[Event] | None) -> None:
        findings = self._findings["services"] = Findings()
        written = self._drafts("Service")
        self._external = frozenset(_external_addresses(draft.object for draft in written))
        drafts = complete_services(
            [*kubernetes_service(written, self._origin), *written], self._networks, self._seed, findings
        )
        taken = {*self._taken(), *self._external}
        drafts = give_addresses(drafts, self._pools, self._networks.hosts, taken, findings)
        stored = [self._put(draft, "Service") for draft in drafts]
        self._services = tuple(_draft(one) for one in stored)
        objects = (one.object for one in stored)
        self._by_name = tuple(sorted(objects, key=lambda one: (one.namespace, one.name)))

    def _taken(self) -> frozenset[str]:
        """Returns the addresses of the host network that machines have."""
        router = str(self._networks.router)
        return frozenset((router, *(ip for node in self._nodes() for ip in node.internalIPs)))

    def _reconcile_slices(self, events: Sequence[Event] | None) -> None:
        affected = None if events is None else self._affected(events)
        if events is None or affected is None or self._take_over(events):
            made = {key for keys in self._made.values() for key in keys}
            self._foreign = tuple(one for one in self.store.list("EndpointSlice") if one.key not in made)
        if affected is not None and not affected:
            return
        foreign = self._foreign
        findings = Findings()
        addressed = {draft.object.key for draft in self._services if foreign and draft.object.addressed}
        slices = tuple(given_slices((one.object for one in foreign), addressed, findings))
        self._given = slices, findings
        lost = [row.pod for row in self._waiting.pods if row.lost]
        pods = [one.object for key in self._placed if (one := self.store.get(key))]
        many = affected is None or len(affected) * len(pods) > _ONE_BY_ONE
        sources = Sources(
            select=_selecting([*pods, *lost], everything=many),
            nodes=self._nodes(),
            zones=zones_of(self._nodes()),
            endpoints={(e.key.namespace, e.key.name): e.object for e in self.store.list("Endpoints")},
            managers=managers_of(one.object for one in foreign),
            seed=self._seed,
        )
        present = self._present()
        for key in [key for key in self._made if key not in present]:
            self._keep_slices(key, ())
            self._told_of.pop(key, None)
        names: dict[str, set[str]] = {}
        for one in foreign:
            names.setdefault(one.key.namespace, set()).add(one.key.name)
        for key, mine in self._made.items():
            if affected is not None and key not in affected:
                names.setdefault(key[0], set()).update(own.name for own in mine)
        for key, draft in present.items():
            if affected is None or key in affected:
                told = Findings()
                new = service_slices(draft, sources, names.setdefault(key[0], set()), told)
                self._keep_slices(key, new)
                self._told_of.pop(key, None)
                if told:
                    self._told_of[key] = told
        rows = map(self._told_of.get, present if self._told_of else ())
        self._findings["slices"] = Findings.join((findings, *filter(None, rows)))

    def _present(self) -> Mapping[_ServiceKey, Draft[Service]]:
        """Returns the Services by namespace and name, in their order."""
        return self._once("present", _by_namespace_and_name, self._services)

    def _affected(self, events: Sequence[Event]) -> set[_ServiceKey] | None:
        """Returns the Services whose slices may change by ``events``; None: all."""
        made = {key for keys in self._made.values() for key in keys}
        affected = set[_ServiceKey]()
        selecting = self._once("selecting", SelectorIndex, self._services)
        for event in events:
            key = event.stored.key
            if key.kind == "Node" or (key.kind == "EndpointSlice" and key not in made):
                return None
            if key.kind in ("Service", "Endpoints"):
                affected.add((key.namespace, key.name))
            elif key.kind == "EndpointSlice":  # somebody else changed or deleted one that is made here
                affected.add((key.namespace, event.stored.object.serviceName))
            elif key.kind == "Pod":
                for pod in _pods_of(event):
                    affected |= selecting.select(pod)
        return affected

    def _take_over(self, events: Sequence[Event]) -> bool:
        """Deletes the slices of a dump's controllers for each Service that changed, or whose Pods did: they
        are made again here. Returns whether there was one.
        """
        changed = {
            (e.stored.key.namespace, e.stored.key.name)
            for e in events
            if e.stored.key.kind == "Service" and (e.old is None or e.old.object != e.stored.object)
        }
        moved = [e for e in events if e.stored.key.kind == "Pod"]
        taken = False
        for one in self._foreign:
            item: EndpointSlice = one.object
            key = (item.metadata.namespace, item.serviceName)
            draft = self._present().get(key)
            managed = item.metadata.labels.get(MANAGED_BY_LABEL, "").endswith(".k8s.io")
            if draft is None or not managed or self.store.get(one.key) is None:
                continue
            if key in changed or any(_is_moved(draft.object, event) for event in moved):
                self.store.finalize(one.key)
                taken = True
        return taken

    def _keep_slices(self, key: _ServiceKey, slices: Sequence[EndpointSlice]) -> None:
        """Makes ``slices`` the only made slices of a Service in the store."""
        keys = tuple(Key("EndpointSlice", item.metadata.namespace, item.metadata.name) for item in slices)
        for old in self._made.get(key, ()):
            if old not in keys and self.store.get(old):
                self.store.finalize(old)
        for item in slices:
            self._put(Draft(item, self._origin), "EndpointSlice")
        if keys:
            self._made[key] = keys
        else:
            self._made.pop(key, None)

    # --- the cluster as it is -----------------------------------------------------------------------------

    def snapshot(self, checks: Sequence[Loaded[FlowCheck]] = ()) -> ClusterState:
        """Returns the cluster, settled; ``checks`` are the FlowChecks about it as it is now. Problems of
        either are among :attr:`findings`.
        """
        networks, inventory = self._networks, self._inventory
        nodes = self._keep("nodes", self._nodes())
        pods = self._keep("pods", self._objects(self._placed))
        services = self._keep("services", self._by_name)
        slices = self._slices()
        # most results do not depend on the readiness of Pods and endpoints
        wired, led = self._alike("wired", pods, _wiring), self._alike("led", slices, _leads)
        self._derive("contested", notice_contested, services)
        self._derive("nested", notice_nested, services, led, nodes)
        outside = self._derive("outside addresses", self._find_outside, led, nodes, wired)
        self._derive("outside", notice_outside, outside, slices if outside else led)
        self._derive("on link", self._notice_on_link, services, nodes, wired)
        commands = self._derive("commands", self._commands, pods)
        own = self._derive("listeners", self._listeners, wired, nodes, led, commands)
        listeners = self._derive("healthChecks", add_health_checks, own, services, nodes, slices)
        self._derive("hostPorts", notice_host_ports, wired)
        waiting = self._keep("waiting", self._waiting.pods)
        told = self._findings["checks"] = Findings()
        check_flows(checks, pods, waiting, services, nodes, self._clients, listeners, commands, told)
        if "proxy" not in self._findings:
            self._findings["proxy"] = Findings()
            settings = proxy_settings(
                inventory, networks, self._flags, self._proxy_mode, self._findings["proxy"]
            )
            self._proxy = replace(settings, program=self._program, release=self._release)
        proxy = self._proxy
        if proxy.mode in WITHOUT_HEALTH_CHECKS:
            listeners = self._derive("relaying", _without_health_checks, listeners)
        balancer = self._derive("balancer", self._balancer, services, nodes)
        balanced = self._derive("targets", choose_targets, services, nodes, listeners)
        if proxy.program:  # which answers health checks itself
            listeners = self._derive("answering", _without_health_checks, listeners)
        speakers = self._derive("speakers", self._speakers, services, slices, nodes)
        if proxy.mode in BINDING_MODES:
            self._derive("bound", notice_bound, services, nodes, pods, speakers, proxy)
            self._derive("not taken", notice_not_taken, led, nodes, networks.hosts, proxy.mode)
        state = ClusterState(
            name=inventory.name,
            seed=self._seed,
            podSubnet=networks.pods,
            serviceSubnet=networks.services,
            hostSubnet=networks.hosts,
            routerIP=networks.router,
            podNetwork=self._networks.podNetwork.facts,
            madeUpBridges=networks.madeUp,
            proxy=proxy,
            nodes=nodes,
            pods=pods,
            waiting=waiting,
            services=services,
            endpointSlices=self._derive("sorted", _by_name, slices),
            clients=self._clients,
            listeners=listeners,
            commands=commands,
            speakers=speakers,
            balancerIP=balancer,
            balanced=balanced,
            dialled=self._keep("dialled", dialled_ports(checks)),
            namespaces=self._keep("namespaces", self._typed("Namespace")),
            workloads=self._keep("workloads", (one.object for one in self.workloads())),
            endpoints=self._keep("endpoints", self._typed("Endpoints")),
            uninterpreted=self._keep("uninterpreted", self._uninterpreted()),
            notices=self.findings.notices,
        )
        self._remember(state)
        return state

    def _remember(self, state: ClusterState) -> None:
        """Keeps what later states need of this one: its order, and the addresses and names of its Pods."""
        self.last = state
        self._static.clear()
        if self._networks.said:
            # a choice stands: addresses of later objects do not conflict with the user's prefixes
            self._networks = replace(self._networks, said=frozenset())
        made_of = (self._placed, state.waiting, len(self.store.list("Pod")), state.services)
        if self._ranked == made_of:
            return
        self._ranked = made_of
        waiting = (Key("Pod", row.pod.namespace, row.pod.name) for row in state.waiting)
        keys = dict.fromkeys((*self._placed, *waiting, *(one.key for one in self.store.list("Pod"))))
        self._rank("Pod", [one for key in keys if (one := self.store.get(key))])
        names = (Key("Service", one.namespace, one.name) for one in state.services)
        self._rank("Service", [one for key in names if (one := self.store.get(key))])
        self._used |= {address.ip for pod in state.pods for address in pod.status.podIPs}
        for pod in state.pods:
            self._names.setdefault(pod.namespace, set()).add(pod.name)

    def _derive(self, name: str, function: Callable[..., T], *inputs: Any) -> T:
        """Returns ``function`` of ``inputs``; it is computed again only if they change."""
        known = self._derived.get(name)
        if known is None or not all(map(is_, known[0], inputs)):
            findings = self._findings[name] = Findings()
            made = function(*inputs, findings)
            if known is not None and known[1] == made:
                made = known[1]
            known = self._derived[name] = (inputs, made)
        value: T = known[1]
        return value

    def _once(self, name: str, function: Callable[[Any], T], value: Any) -> T:
        """Returns ``function`` of ``value``; it is computed again only if that changes."""
        known = self._derived.get(name)
        if known is None or known[0][0] is not value:
            known = self._derived[name] = ((value,), function(value))
        made: T = known[1]
        return made

    def _alike(self, name: str, now: tuple[T, ...], question: Callable[[T], Any]) -> tuple[T, ...]:
        """Returns the last tuple under ``name`` if ``question`` has the same answer for each of its elements
        and for those of ``now``; otherwise keeps and returns ``now``.
        """
        known = self._derived.get(name)
        last: tuple[T, ...] = known[1] if known else ()
        if known and len(last) == len(now):
            pairs = zip(last, now, strict=True)
            if all(old is new or question(old) == question(new) for old, new in pairs):
                return last
        self._derived[name] = ((), now)
        return now

    def _objects(self, keys: Iterable[Key]) -> list[Any]:
        return [one.object for key in keys if (one := self.store.get(key))]

    def _keep(self, name: str, now: Iterable[T]) -> tuple[T, ...]:
        """Returns the last snapshot's value under ``name`` if ``now`` is the same."""
        return _shared(getattr(self.last, name) if self.last else None, now)

    def _typed(self, kind: str) -> Iterator[Any]:
        return (one.object for one in self.store.list(kind))

    def _uninterpreted(self) -> Iterator[Uninterpreted]:
        for kind in self.store.kinds():
            for one in self.store.list(kind):
                if isinstance(one.object, Uninterpreted):
                    yield one.object

    def _slices(self) -> tuple[EndpointSlice, ...]:
        """Returns the slices that a Service could use: the users' ones, then each Service's, in the Services'
        order.
        """
        made = (
            one.object
            for draft in self._services
            for key in self._made.get((draft.object.namespace, draft.object.name), ())
            if (one := self.store.get(key))
        )
        known = self._derived.get("slices")
        slices = _shared(known and known[1], [*self._given[0], *made])
        self._derived["slices"] = ((), slices)
        return slices

    def _find_outside(
        self, slices: Sequence[EndpointSlice], nodes: Sequence[Node], pods: Sequence[Pod], _: Findings
    ) -> Mapping[str, frozenset[str]]:
        networks = self._networks
        cidrs = prefixes_of(networks.pods.family, (cidr for node in nodes for cidr in node.spec.podCIDRs))
        inside = (networks.pods, networks.services, networks.hosts, *cidrs)
        return find_outside(slices, inside, self._had(pods))

    def _notice_on_link(
        self,
        services: Sequence[Service],
        nodes: Sequence[Node],
        pods: Sequence[Pod],
        findings: Findings,
    ) -> None:
        notice_on_link(services, nodes, self._networks, self._had(pods), findings)

    def _had(self, pods: Sequence[Pod]) -> frozenset[str]:
        """Returns the addresses that machines have."""
        had = {address.ip for pod in pods for address in pod.status.podIPs}
        return self._taken() | had | {client.address for client in self._clients}

    def _commands(self, pods: Sequence[Pod], findings: Findings) -> Mapping[str, tuple[str, ...]]:
        if not any(RUN_ANNOTATION in pod.metadata.annotations for pod in pods):
            return {}
        drafts = [_draft(one) for key in self._placed if (one := self.store.get(key))]
        return real_commands(drafts, findings, allowed=self._run)

    def _listeners(
        self,
        pods: Sequence[Pod],
        nodes: Sequence[Node],
        slices: Sequence[EndpointSlice],
        commands: Mapping[str, Sequence[str]],
        findings: Findings,
    ) -> tuple[Listener, ...]:
        before = self.last.listeners if self.last else ()
        return make_listeners(pods, nodes, self._clients, slices, commands, findings, before)

    def _balancer(self, services: Sequence[Service], _: Sequence[Node], findings: Findings) -> Address | None:
        taken = {*self._taken(), *self._external}
        return address_balancer(services, self._pools, self._networks.hosts, taken, self._origin, findings)

    def _speakers(
        self,
        services: Sequence[Service],
        slices: Sequence[EndpointSlice],
        nodes: Sequence[Node],
        _: Findings,
    ) -> dict[Address, str]:
        return choose_speakers(services, slices, nodes, self._pools, self._networks.hosts, self._taken())


# --- small questions --------------------------------------------------------------------------------------


def _draft(stored: Stored) -> Draft[Any]:
    return Draft(stored.object, stored.origin, stored.base)


def _shared(last: tuple[T, ...] | None, now: Iterable[T]) -> tuple[T, ...]:
    """Returns ``last`` if ``now`` has the same elements."""
    new = tuple(now)
    if last is None or len(last) != len(new):
        return new
    return last if all(map(is_, last, new)) or last == new else new


def _wiring(pod: Pod) -> tuple[Any, ...]:
    """Returns the part of a Pod that its readiness does not change."""
    return pod.key, pod.spec, pod.status.podIPs


def _leads(item: EndpointSlice) -> tuple[Any, ...]:
    """Returns the endpoints of a slice without their readiness."""
    ends = tuple((endpoint.addresses, endpoint.targetRef) for endpoint in item.endpoints)
    return item.metadata, ends, item.ports


def _by_name(slices: Sequence[EndpointSlice], _: Findings) -> tuple[EndpointSlice, ...]:
    return tuple(sorted(slices, key=lambda one: (one.metadata.namespace, one.metadata.name)))


def _without_health_checks(listeners: Iterable[Listener], _: Findings) -> tuple[Listener, ...]:
    return tuple(listener for listener in listeners if not listener.healthCheck)


def _external_addresses(services: Iterable[Service]) -> Iterator[str]:
    """Yields the addresses of Services that may lie in the host network and belong to no node."""
    for service in services:
        yield from service.spec.externalIPs
        yield from (ingress.ip for ingress in service.status.loadBalancer.ingress if ingress.ip)


def _selecting(pods: Sequence[Pod], *, everything: bool) -> Callable[[str, Mapping[str, str]], Sequence[Pod]]:
    """Returns a function that finds the Pods of a selector; ``everything``: for many selectors, so an index
    pays.
    """
    if everything:
        return PodIndex(pods).select
    return lambda namespace, selector: [
        pod
        for pod in pods
        if pod.metadata.namespace == namespace and selector.items() <= pod.metadata.labels.items()
    ]


def _by_namespace_and_name(services: Iterable[Draft[Service]]) -> dict[_ServiceKey, Draft[Service]]:
    return {(draft.object.namespace, draft.object.name): draft for draft in services}


def _selects(service: Service, pod: Pod) -> bool:
    selector = service.spec.selector
    return (
        bool(selector)
        and service.namespace == pod.namespace
        and matches_labels(selector, pod.metadata.labels)
    )


def _pods_of(event: Event) -> Iterator[Pod]:
    """Yields the Pod of an event as it was and as it is."""
    yield event.stored.object
    if event.old is not None and event.old is not event.stored:
        yield event.old.object


def _is_moved(service: Service, event: Event) -> bool:
    """Returns whether ``event`` changes a Pod of ``service`` for the EndpointSlice controller."""
    before = event.old and _seen_as(service, event.old.object)
    after = None if event.type == "DELETED" else _seen_as(service, event.stored.object)
    return before != after


def _seen_as(service: Service, pod: Pod) -> tuple[bool, bool] | None:
    if not _selects(service, pod):
        return None
    return pod.ready, pod.metadata.deletionTimestamp is not None


# --- which event concerns whom ----------------------------------------------------------------------------


def _concerns_nodes(event: Event) -> bool:
    return event.stored.key.kind in ("Node", "Namespace", "IPAddressPool", "L2Advertisement")


def _concerns_workloads(event: Event) -> bool:
    kind = event.stored.key.kind
    if kind != "Pod":
        return kind == "Node" or kind in WORKLOADS
    if event.old is None or event.type == "DELETED":
        return event.type == "DELETED"
    return (event.old.deletionTimestamp is None) != (event.stored.deletionTimestamp is None)


def _concerns_placement(event: Event) -> bool:
    kind = event.stored.key.kind
    if kind != "Pod":
        return kind in ("Node", "Namespace")
    if event.type != "MODIFIED" or event.old is None:
        return True
    was, now = event.old.object, event.stored.object
    return (
        not now.ips
        or was.spec != now.spec
        or was.metadata != now.metadata
        or (was.status.phase in ENDED_PHASES) != (now.status.phase in ENDED_PHASES)
    )


def _concerns_addresses(event: Event) -> bool:
    if event.stored.key.kind != "Pod":
        return event.stored.key.kind == "Node"
    moved = event.old is None or event.old.object.spec != event.stored.object.spec
    return event.type != "MODIFIED" or moved or not event.stored.object.ips


def _concerns_services(event: Event) -> bool:
    if event.stored.key.kind == "Node" and event.old is not None and event.type == "MODIFIED":
        moved: bool = event.old.object.internalIPs != event.stored.object.internalIPs
        return moved
    return event.stored.key.kind in ("Service", "Node", "Namespace", "IPAddressPool")


def _concerns_slices(event: Event) -> bool:
    return event.stored.key.kind in ("Service", "Endpoints", "EndpointSlice", "Pod", "Node")


_WORKLOADS = Controller("workloads", ControlPlane._reconcile_workloads, _concerns_workloads)
_NETWORK = (
    Controller("placement", ControlPlane._reconcile_placement, _concerns_placement),
    Controller("addresses", ControlPlane._reconcile_addresses, _concerns_addresses),
    Controller("services", ControlPlane._reconcile_services, _concerns_services),
    Controller("slices", ControlPlane._reconcile_slices, _concerns_slices),
)


def _controllers(workloads: Sequence[Controller]) -> tuple[Controller, ...]:
    """Returns the controllers in the order in which they run; ``workloads`` are those of a cluster that
    lives, if it does.
    """
    nodes = Controller("nodes", ControlPlane._reconcile_nodes, _concerns_nodes)
    if not workloads:
        return (nodes, _WORKLOADS, *_NETWORK)
    static = Controller("static Pods", ControlPlane._reconcile_static_pods, _concerns_nodes)
    return (nodes, static, *workloads, *_NETWORK)

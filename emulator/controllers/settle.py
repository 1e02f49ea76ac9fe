"""Settles a cluster: turns the user's objects into its complete state, and into the state after each step.

The first manifests and the steps of FlowChecks are writes to one store (:mod:`emulator.store`); after each
set of writes the controllers run to a fixed point (:mod:`emulator.controllers.plane`), and a snapshot is
taken. A controller reports a mistake and goes on as well as it can: every mistake is reported at once. Pure,
and deterministic for a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..cluster.scenario import Scenario, Step
from ..cluster.state import ClusterState, Program
from ..errors import InputError, Problem
from ..load.load import ReadingError
from ..objects.config import FlowCheck, Inventory, ProxyMode
from ..objects.kinds import Loaded, Origin
from ..objects.references import ObjectRef, node_ref, service_ref
from ..store.objects import key_of
from .checks import check_flows, dialled_ports
from .clusterflags import cluster_flags
from .findings import Draft, Findings
from .networks import choose_networks
from .plane import ControlPlane
from .services import complete_services
from .shape import make_nodes
from .steps import write_step
from .waiting import Waiting
from .workloads import name_pods, running_pods


def settle(
    inventory: Inventory, *, seed: int = 0, proxy_mode: ProxyMode | None = None, run: bool = False
) -> ClusterState:
    """Returns the cluster that ``inventory`` describes, every object complete and every address given, before
    any step. Raises InputError with every problem, those of steps too.

    ``seed`` draws names and node ports; ``proxy_mode`` overrides the input's; ``run``: commands of containers
    may run.
    """
    return play(inventory, seed=seed, proxy_mode=proxy_mode, run=run).state


def play(
    inventory: Inventory,
    *,
    seed: int = 0,
    proxy_mode: ProxyMode | None = None,
    run: bool = False,
    program: Program | None = None,
    release: str = "",
) -> Scenario:
    """Returns the cluster that ``inventory`` describes (:func:`settle`), and the state after each step of its
    FlowChecks. The steps of each FlowCheck begin with the cluster as it is at first. ``program``: a real
    kube-proxy makes the rules; ``release``: the one that podwire's rules are of ("": the current one).
    """
    plane = ControlPlane(
        inventory, seed=seed, proxy_mode=proxy_mode, run=run, program=program, release=release
    )
    plane.reconcile()
    first = plane.snapshot(inventory.flowChecks)
    if problems := plane.findings.problems:
        raise InputError(problems)
    first = replace(first, warnings=plane.warnings(first))
    scripted = [loaded for loaded in inventory.flowChecks if loaded.object.steps]
    later = scripted[1:]  # flows without a step are sent when the steps before are done
    begin = tuple(loaded for loaded in inventory.flowChecks if loaded not in later)
    steps: list[Step] = []
    told: dict[Problem, None] = {}
    for loaded in scripted:
        if loaded in later:
            again = _dialled(first, (loaded,))
            steps.append(Step(name=loaded.object.metadata.name, state=again, flowChecks=(loaded,)))
        steps += _play(plane.fork(), loaded, told)
    if told:
        raise InputError(tuple(told))
    return Scenario(
        state=_dialled(first, begin), flowChecks=begin, steps=tuple(steps), origins=_origins(inventory)
    )


def send_once(state: ClusterState, checks: tuple[Loaded[FlowCheck], ...]) -> Scenario:
    """Returns the scenario in which the flows of ``checks`` are sent through a cluster that is up, as it is
    in ``state``. Raises InputError with every reference that leads nowhere, and for steps.
    """
    findings = Findings()
    for loaded in checks:
        if loaded.object.steps:
            what = "has steps, which change the cluster"
            findings.problem(loaded.origin, "spec.steps", what, "podwire run sends them; check sends flows")
    check_flows(
        checks,
        state.pods,
        state.waiting,
        state.services,
        state.nodes,
        state.clients,
        state.listeners,
        state.commands,
        findings,
    )
    if findings.problems:
        raise InputError(findings.problems)
    return Scenario(state=_dialled(state, checks), flowChecks=checks)


def _origins(inventory: Inventory) -> Mapping[ObjectRef, Origin]:
    """Returns where Services, workloads, Pods and nodes are written."""
    found = {service_ref(one.object.key): one.origin for one in inventory.services}
    found |= {ObjectRef(one.object.kind, one.object.key): one.origin for one in inventory.workloads}
    found |= {ObjectRef("Pod", one.object.key): one.origin for one in inventory.pods if one.object.name}
    found |= {node_ref(one.object.name): one.origin for one in inventory.nodes}
    return found


def _dialled(state: ClusterState, checks: tuple[Loaded[FlowCheck], ...]) -> ClusterState:
    """Returns ``state`` with the ports that ``checks`` dial."""
    dialled = tuple(dialled_ports(checks))
    return state if dialled == state.dialled else replace(state, dialled=dialled)


def _play(plane: ControlPlane, loaded: Loaded[FlowCheck], told: dict[Problem, None]) -> Iterator[Step]:
    """Yields the steps of one FlowCheck, each after the one before. Problems go to ``told``; the next step
    begins without the faulty parts of this one.
    """
    check = loaded.object
    applied: set[tuple[str, str]] = set()  # kind and name of what the steps bring
    for index, step in enumerate(check.steps):
        path, findings = f"spec.steps[{index}]", Findings()
        write_step(plane, step, check.applied[index], loaded.origin, path, findings)
        told.update(dict.fromkeys(findings.problems))
        flows = FlowCheck(metadata=check.metadata, flows=step.flows, step=step.name, path=path)
        checks = (replace(loaded, object=flows),)
        try:
            plane.reconcile()
        except InputError as error:
            told.update(dict.fromkeys(error.problems))
            return
        plane.blame = None
        state = plane.snapshot(checks)
        told.update(dict.fromkeys(plane.findings.problems))
        if not plane.is_sound:
            return
        if new := {_named(one.object) for one in check.applied[index]}:
            applied |= new
            found = plane.warnings(state)
            state = replace(state, warnings=tuple(one for one in found if one.object[:2] in applied))
        name = f"{check.metadata.name}, {step.name}"
        yield Step(name=name, state=state, flowChecks=checks, wait=step.wait, rolls=step.rollout is not None)


def _named(one: Any) -> tuple[str, str]:
    """Returns kind and ``namespace/name`` of a typed object."""
    kind, namespace, name = key_of(one)
    return kind, f"{namespace}/{name}" if namespace else name


def every_problem(error: ReadingError) -> tuple[Problem, ...]:
    """Returns the problems of reading, and the conflicts of all readable Services with one another and the
    cluster: ClusterIPs and node ports. Missing objects are not reported, since they may be among the
    unreadable ones.
    """
    aside, findings = Findings(), Findings()
    inventory = error.sound
    named = (Draft(loaded.object, loaded.origin) for loaded in name_pods(inventory.pods, 0))
    given = running_pods(named, aside, Waiting())
    services, nodes = [s.object for s in inventory.services], make_nodes(inventory, given, aside)
    networks = choose_networks(inventory, nodes, given, services, cluster_flags(inventory), aside)
    complete_services(
        [Draft(loaded.object, loaded.origin) for loaded in error.services], networks, 0, findings
    )
    told = {(problem.file, problem.document, problem.path) for problem in error.problems}
    problems = [*error.problems, *(p for p in findings.problems if (p.file, p.document, p.path) not in told)]
    files = {file: index for index, file in enumerate(dict.fromkeys(problem.file for problem in problems))}
    return tuple(sorted(problems, key=lambda problem: (files[problem.file], problem.document, problem.line)))

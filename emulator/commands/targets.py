"""Reads the targets that a command line names."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..errors import InputError, UsageError
from ..kernel.environment import DEFAULT_TOPOLOGY, TOPOLOGIES

if TYPE_CHECKING:
    from ..cluster.scenario import Scenario  # at run time they would cost every --help
    from ..cluster.state import Program
    from ..objects.config import Inventory


def play_targets(args: argparse.Namespace, *, run: bool = False) -> Scenario:
    from ..controllers.settle import play

    inventory = load_targets(args)
    program = find_program(args)
    return play(
        inventory,
        seed=args.seed,
        proxy_mode=args.proxy_mode,
        run=run,
        program=program,
        release=getattr(args, "kube_proxy_version", ""),
    )


def find_program(args: argparse.Namespace) -> Program | None:
    """Returns the real kube-proxy that ``--kube-proxy`` names, None without that option."""
    if getattr(args, "kube_proxy", None) is None:
        return None
    if args.kube_proxy_version:
        raise UsageError("--kube-proxy says its version itself: leave --kube-proxy-version out")
    from ..run.kubeproxies import find_program

    return find_program(args.kube_proxy)


def load_targets(args: argparse.Namespace) -> Inventory:
    from ..controllers.settle import every_problem
    from ..load.load import ReadingError, load
    from ..load.selection import Selection
    from ..objects.selectors import parse_selector
    from ..run.kustomize import build

    try:
        selector = parse_selector(args.selector) if args.selector else None
    except ValueError as error:
        raise UsageError(
            f"-l {args.selector}: {str(error)!r} is no selector "
            "(as in app=web, app!=web, app in (web,api), app, !app)"
        ) from None
    try:
        given = [*args.targets, *args.filename]
        inventory = load(
            given or ([] if args.kustomize else [DEFAULT_TOPOLOGY]),
            topologies=TOPOLOGIES,
            stdin=sys.stdin,
            recursive=args.recursive,
            kustomizations=args.kustomize,
            build=build,
            selection=Selection(namespace=args.namespace, selector=selector, labels=args.selector),
        )
    except ReadingError as error:
        raise InputError(every_problem(error)) from None
    return inventory.deriving() if getattr(args, "derive", False) else inventory


def source_of_targets(args: argparse.Namespace, scenario: Scenario) -> str:
    from ..load.targets import source_of

    state = scenario.state
    return source_of(
        [*args.targets, *args.filename, *args.kustomize] or [DEFAULT_TOPOLOGY],
        topologies=TOPOLOGIES,
        objects=[
            *state.node,
            *(f"Service {service.key}" for service in state.services),
            *(f"{workload.kind} {workload.key}" for workload in state.workloads),
            *(f"Pod {pod.key}" for pod in state.pods if not pod.metadata.ownerReferences),
        ],
    )

"""Compares the same cluster and flows under several modes of kube-proxy, one sandbox after the other.

Wires ``run``, ``guest`` and the pure ``verdicts.modes`` together; ``cli`` prints the result. Invariant: every
mode gets the same flows, with as many attempts as the most demanding mode needs; before the first packet it
is known that every mode can run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

from ..cluster.scenario import Scenario
from ..cluster.state import Program
from ..controllers.settle import play
from ..errors import Exit, KernelError, MissingCapabilityError, PodwireError, UsageError
from ..kernel.environment import UML_SHOWN
from ..kernel.limits import LimitError
from ..model.expectations import Expectation
from ..model.flows import Flow
from ..model.results import FlowResult, Report
from ..net import Address
from ..objects.config import COMING_MODE, DEFAULT_MODE, Inventory, ProxyMode
from ..objects.notices import ModeAssumed
from ..oracle.expectations import Expectations, remember
from ..proxy import MODES
from ..schedule.schedule import PromiseOf, plan_flows, require_flows
from ..verdicts.modes import Comparison, compare_modes
from .guest import observing, why_no_guest
from .machine import find_guests, lacking_tools
from .run import Options, observe

_REAL = "real:"  # before the path of a real kube-proxy among modes


class _Chosen(NamedTuple):
    """Names what is compared: podwire's rules in ``mode``, or the real kube-proxy at ``path``; ``mode`` None
    is the cluster's own.
    """

    mode: ProxyMode | None
    path: Path | None = None


class ModeError(PodwireError):
    """Reports a mode that cannot run on this machine."""

    exit_code = Exit.MACHINE_LACKS

    def __init__(self, mode: str, why: str) -> None:
        super().__init__(f"{mode} mode cannot run here: {why}")


def run_modes(scenarios: Mapping[str, Scenario], options: Options) -> Comparison:
    """Runs each of ``scenarios`` (by mode, of the same objects and seed) and compares. Evidence goes to a
    directory ``<topology>-<mode>`` each.

    A mode that this kernel lacks runs in a guest, meanwhile. Raises UsageError or MissingCapabilityError,
    naming every mode that this version or this machine does not have.
    """
    guests = _check_machine(scenarios)
    planned = {mode: plan_flows(scenario, differences=True) for mode, scenario in scenarios.items()}
    flows = merge_flows([flows for flows, _ in planned.values()])
    require_flows(next(iter(scenarios.values())), flows)
    named = {mode: _renamed(scenario, mode) for mode, scenario in scenarios.items()}
    with ExitStack() as running:
        waiting: dict[str, Callable[[], Report]] = {
            mode: running.enter_context(observing(named[mode], flows, planned[mode][1], options))
            for mode in guests
        }
        reports = {
            mode: _observe(mode, scenario, flows, planned[mode][1], options)
            for mode, scenario in named.items()
            if mode not in guests
        }
        reports |= {mode: wait() for mode, wait in waiting.items()}
    promised = {
        mode: _by_step(scenario, flows, reports[mode])
        for mode, scenario in scenarios.items()
        if scenario.flowChecks
    }
    name = next(iter(scenarios.values())).state.name
    return compare_modes(name, {mode: reports[mode] for mode in scenarios}, promised, guests)


def _renamed(scenario: Scenario, mode: str) -> Scenario:
    """Returns ``scenario`` with its evidence in a directory of that mode."""
    return replace(scenario, state=replace(scenario.state, name=f"{scenario.state.name}-{mode}"))


def _observe(
    mode: str, scenario: Scenario, flows: Sequence[Flow], promise: PromiseOf, options: Options
) -> Report:
    """Runs one mode; an error of this kernel names that mode."""
    try:
        return observe(scenario, flows, promise, options)
    except (MissingCapabilityError, KernelError, LimitError) as error:
        raise ModeError(mode, str(error)) from error


def _by_step(scenario: Scenario, flows: Sequence[Flow], report: Report) -> Callable[[Flow], Expectation]:
    """Returns the function that gives the promise of the objects alone for one of ``flows``, as they are when
    it is sent; on an open connection, given the earlier results on it in ``report``.
    """
    moments: dict[str, Expectations] = {}
    asked: Mapping[Address, str] = {}
    results = {result.flow.name: result for result in report.flows}
    before: dict[str, FlowResult | None] = {}
    last: dict[tuple[str, str], FlowResult] = {}
    for moment in scenario.moments:
        name, then = moment.name, moment.state
        sent = [flow for flow in flows if flow.step == name]
        moments[name] = Expectations(then, asked)
        asked = remember(asked, then, sent)
        for flow in (flow for flow in sent if flow.connection):
            connection, result = (flow.check, flow.connection), results[flow.name]
            before[flow.name] = last.get(connection)
            if result.observed.backends:
                last[connection] = result
            elif not result.stays_bound:
                last.pop(connection, None)
    return lambda flow: moments[flow.step].expect(flow, before.get(flow.name))


def settle_modes(
    inventory: Inventory, modes: Sequence[str], seed: int, run: bool = False
) -> Mapping[str, Scenario]:
    """Returns the cluster of ``inventory`` in each of ``modes``; without any, in its own and in the one that
    Kubernetes 1.40 makes the default. The name of a real kube-proxy's is its mode and its release
    (``nftables-v1.37.2``).

    Raises UsageError if those two are one, or if a real kube-proxy is none.
    """
    own = play(inventory, seed=seed, run=run)
    state = own.state
    if not modes and state.proxy.mode == COMING_MODE:
        raise UsageError(
            f"{state.name} is in {COMING_MODE} mode already: name what to compare it with, as in "
            f"--modes {DEFAULT_MODE},{COMING_MODE}"
        )
    if not modes and inventory.nodes and not inventory.proxy:
        notices = (*state.notices, ModeAssumed(state.proxy.mode))
        own = replace(own, state=replace(state, notices=notices))
    found: dict[str, Scenario] = {}
    for chosen in map(_read, dict.fromkeys(modes or (state.proxy.mode, COMING_MODE))):
        mode = chosen.mode or state.proxy.mode
        program = _program(chosen.path) if chosen.path else None
        name = f"{mode}-{program.release}" if program else mode
        found[name if name not in found else f"{name}-{len(found) + 1}"] = (
            own
            if mode == state.proxy.mode and not program
            else play(inventory, seed=seed, proxy_mode=mode, run=run, program=program)
        )
    return found


def _program(path: Path) -> Program:
    from .kubeproxies import find_program  # with aiohttp, which is slow to import

    return find_program(path)


def _read(word: str) -> _Chosen:
    if not word.startswith(_REAL):
        return _Chosen(cast("ProxyMode", word))
    mode, colon, path = word.removeprefix(_REAL).partition(":")
    if colon and mode in MODES:
        return _Chosen(mode, Path(path))
    return _Chosen(None, Path(word.removeprefix(_REAL)))


def check_modes(words: Sequence[str]) -> Mapping[str, str]:
    """Returns the modes that must run in a guest, each with the feature that this kernel lacks for it.
    ``real:PATH`` among ``words`` is a real kube-proxy in the cluster's own mode, ``real:MODE:PATH`` one in
    ``MODE``.

    Raises UsageError for modes that podwire has not, or too few; MissingCapabilityError for those that cannot
    run on this machine.
    """
    if _REAL in words:
        raise UsageError(f"--modes {_REAL} names no kube-proxy, as in {_REAL}./kube-proxy")
    modes = [word for word in words if not word.startswith(_REAL)]
    if "" in modes:
        lacks = "has a comma too many" if any(modes) else "names no mode"
        raise UsageError(f"--modes {lacks}; supported: {', '.join(MODES)}")
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise UsageError(
            f"kube-proxy's mode {', '.join(unknown)} is not supported; supported: {', '.join(MODES)}"
        )
    if len(set(words)) < 2:
        raise UsageError(f"a comparison takes two modes or more; supported: {', '.join(MODES)}")
    return _check_modes(cast("Sequence[ProxyMode]", modes))


def _check_machine(scenarios: Mapping[str, Scenario]) -> Mapping[str, str]:
    """Returns those of ``scenarios`` that must run in a guest, by name, as :func:`check_modes` does. A real
    kube-proxy runs in no guest.
    """
    modes = {name: one.state.proxy.mode for name, one in scenarios.items() if not one.state.proxy.program}
    guests = _check_modes(list(modes.values()))
    return {name: guests[mode] for name, mode in modes.items() if mode in guests}


def _check_modes(known: Sequence[ProxyMode]) -> Mapping[str, str]:
    guests = find_guests(known)
    lacking = [*lacking_tools(known), *_lacking_kernels(guests)]
    if lacking:
        raise MissingCapabilityError(
            ", ".join(name for name, _ in lacking), "; ".join(remedy for _, remedy in lacking)
        )
    return guests


def _lacking_kernels(guests: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    obstacle = why_no_guest() if guests else ""
    for mode, lacked in guests.items():
        if obstacle:
            yield (
                f"{lacked} in its kernel (for mode {mode})",
                f"modprobe {lacked}, as root, or what {UML_SHOWN} needs to run that mode: {obstacle}",
            )


def merge_flows(planned: Sequence[Sequence[Flow]]) -> tuple[Flow, ...]:
    """Returns one list of the flows that were planned for each mode: for each flow the most attempts and all
    controls of any mode; the controls last.

    All modes' flows come from the same objects; only how many endpoints a flow may meet, and which, depends
    on the mode.
    """
    merged: dict[str, Flow] = {}
    for flow in (flow for flows in planned for flow in flows):
        known = merged.setdefault(flow.name, flow)
        merged[flow.name] = replace(
            known,
            attempts=max(known.attempts, flow.attempts),
            enough=max(known.enough, flow.enough),
            controls=tuple(dict.fromkeys((*known.controls, *flow.controls))),
        )
    return tuple(sorted(merged.values(), key=lambda flow: flow.control))

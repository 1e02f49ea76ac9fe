"""The same cluster and flows under several modes of kube-proxy, one sandbox after the other, compared.

Wires ``run`` and the pure ``evidence.modes`` together; ``cli`` prints what comes of it. Invariant: every mode is sent the very same flows,
with the attempts that the most demanding mode needs; before the first packet it is known that every mode can be had.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace

from emulator.control.state import ClusterState
from emulator.errors import MissingCapabilityError, UsageError
from emulator.evidence.modes import Comparison, compare_modes
from emulator.probe.model import Flow, Report
from emulator.proxy import MODES
from emulator.run import Options, observe, plan_flows

_TOOLS: Mapping[str, tuple[str, str]] = {"nftables": ("nft", "apt-get install nftables")}


def run_modes(states: Mapping[str, ClusterState], options: Options) -> Comparison:
    """Run each of ``states`` (by mode, of the same objects and seed) and compare. Evidence goes to a directory ``<topology>-<mode>`` each.

    Raises UsageError or MissingCapabilityError, naming every mode that this version or this machine does not have.
    """
    check_modes(list(states))
    planned = {mode: plan_flows(state, edges=True) for mode, state in states.items()}
    flows = merge_flows([flows for flows, _ in planned.values()])
    reports: dict[str, Report] = {}
    for mode, state in states.items():
        reports[mode] = observe(replace(state, name=f"{state.name}-{mode}"), flows, planned[mode][1], options)
    return compare_modes(next(iter(states.values())).name, reports)


def check_modes(modes: Sequence[str]) -> None:
    """Raises UsageError for modes that podwire has not, or too few; MissingCapabilityError for those whose tool is not installed."""
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise UsageError(f"kube-proxy's mode {', '.join(unknown)} is not supported; supported: {', '.join(MODES)}")
    if len(set(modes)) < 2:
        raise UsageError(f"a comparison takes two modes or more; supported: {', '.join(MODES)}")
    lacking = [(mode, *_TOOLS[mode]) for mode in modes if mode in _TOOLS and not shutil.which(_TOOLS[mode][0])]
    if lacking:
        tools = ", ".join(f"the tool {tool} (for mode {mode})" for mode, tool, _ in lacking)
        raise MissingCapabilityError(tools, "; ".join(remedy for _, _, remedy in lacking))


def merge_flows(planned: Sequence[Sequence[Flow]]) -> tuple[Flow, ...]:
    """One list of what was planned for each mode: of each flow as many attempts and all controls that any mode wants; the controls last.

    What is planned comes from the same objects; only how many endpoints a flow may meet, and which, depends on the mode.
    """
    merged: dict[str, Flow] = {}
    for flow in (flow for flows in planned for flow in flows):
        known = merged.setdefault(flow.name, flow)
        merged[flow.name] = replace(
            known,
            attempts=max(known.attempts, flow.attempts),
            controls=tuple(dict.fromkeys((*known.controls, *flow.controls))),
        )
    return tuple(sorted(merged.values(), key=lambda flow: flow.control))

"""Tests the FlowCheck entries that a comparison of modes advises: with them a run passes, wherever a mode
keeps its promise.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml

from emulator.cluster.scenario import Step
from emulator.controllers.settle import play
from emulator.errors import InputError
from emulator.flows.checks import flows_from_checks
from emulator.flows.derive import derive_flows
from emulator.flows.mode_differences import derive_mode_differences
from emulator.flows.wanted import acceptable, apply_expect
from emulator.load.load import load
from emulator.model.expectations import Expectation
from emulator.objects.config import FlowExpect, ProxyMode
from emulator.oracle.expectations import Expectations
from emulator.report.advice import expect_text
from tests.sandboxed import ROOT, SHIPPED, TOPOLOGIES, scenario_of
from tests.unit.expectations import expectation_of

CASES = ROOT / "tests" / "cases"
INPUTS = [
    *SHIPPED,
    *sorted(str(path) for path in CASES.glob("*.yaml") if not path.name.endswith(".want.yaml")),
]
MODES: tuple[ProxyMode, ...] = get_args(ProxyMode)


def _moments(target: str) -> Iterator[Step]:
    """Yields the cluster in each mode, and after each step; none where the input is wrong on purpose."""
    try:
        inventory = load([target], topologies=TOPOLOGIES)
        scenarios = [play(inventory, proxy_mode=mode) for mode in MODES]
    except InputError:
        return
    for scenario in scenarios:
        yield from scenario.moments


@cache
def read_back(text: str) -> FlowExpect:
    """Returns the expectation of a FlowCheck with ``text`` for ipvs mode, read as a manifest."""
    flow = (
        f"{{name: f, from: {{node: worker-1}}, to: {{ip: 192.0.2.1, port: 80}}, expect: {{modes: "
        f"{{ipvs: {text}}}}}}}"
    )
    check = (
        f"apiVersion: podwire.dev/v1alpha1\nkind: FlowCheck\nmetadata: {{name: c}}\nspec: {{flows: "
        f"[{flow}]}}\n"
    )
    nodes = "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{name: worker-1}]\n---\n"
    [loaded] = scenario_of(text=nodes + check).flowChecks
    return loaded.object.flows[0].expect.under("ipvs")


def accepts(wanted: Expectation, promise: Expectation) -> bool:
    """Returns whether everything that keeps ``promise`` passes where ``wanted`` is expected."""
    return (
        set(wanted.possibilities) >= set(promise.possibilities)
        and set(wanted.must_meet) <= set(promise.must_meet)
        and (wanted.health, wanted.relayed) == (promise.health, promise.relayed)
        and wanted.addresses == promise.addresses
    ) or (
        not promise.backends
        and wanted.outcomes == promise.outcomes
        and wanted.possibilities.late == promise.possibilities.late
    )


@pytest.mark.parametrize("target", INPUTS, ids=lambda target: Path(target).stem)
def test_whoever_writes_what_is_advised_passes(target: str) -> None:
    for moment in _moments(target):
        state, expectations = moment.state, Expectations(moment.state)
        for flow in (
            *derive_flows(state, expectations),
            *derive_mode_differences(expectations),
            *flows_from_checks(moment.flowChecks, expectations)[0],
        ):
            promised = expectations.expect(flow)
            advised = read_back(expect_text(acceptable(promised)))
            assert accepts(apply_expect(promised, advised, flow, expectations), promised), (
                state.proxy.mode,
                flow.name,
                advised,
            )


@pytest.mark.parametrize(
    ("promise", "text"),
    [
        pytest.param(expectation_of("rejected"), "{outcome: rejected}", id="one outcome"),
        pytest.param(expectation_of("dropped", others={None: "rejected"}), "{}", id="several outcomes"),
    ],
)
def test_what_has_one_outcome_is_advised_by_its_name(promise: Expectation, text: str) -> None:
    assert expect_text(acceptable(promise)) == text
    assert yaml.safe_load(text) == ({} if text == "{}" else {"outcome": promise.outcome})

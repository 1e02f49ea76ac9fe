"""Tests what is sent, and when."""

from __future__ import annotations

import pytest

from emulator.errors import InputError
from emulator.schedule.schedule import plan_flows, require_flows
from tests.sandboxed import scenario_of
from tests.told import told

POD = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c}]}}"
CHECK = "{apiVersion: podwire.dev/v1alpha1, kind: FlowCheck, metadata: {name: gone}, spec: {%s}}"
FLOW = "{name: a, protocol: ICMP, from: {node: worker-1}, to: {pod: web}}"
DELETE = "delete: [{kind: Pod, name: web}]"
UNCHECKED = "has no flows, and no step follows: its change is not checked"


@pytest.mark.parametrize(
    ("spec", "sends", "checked"),
    [
        (f"steps: [{{{DELETE}}}]", False, False),
        (f"flows: [{FLOW}], steps: [{{{DELETE}}}]", True, False),
        (f"steps: [{{wait: 0.1}}, {{wait: 0.1, flows: [{FLOW}]}}]", True, True),
    ],
)
def test_a_flow_check_that_sends_nothing_is_no_success(spec: str, sends: bool, checked: bool) -> None:
    scenario = scenario_of(text=f"{POD}\n---\n{CHECK % spec}")
    flows, _ = plan_flows(scenario)
    assert any(UNCHECKED in notice for notice in told(scenario.state)) is not checked
    if sends:
        require_flows(scenario, flows)
        return
    with pytest.raises(InputError, match=r"stdin:3.* FlowCheck gone sends nothing: no flow, no verdict"):
        require_flows(scenario, flows)


def test_derive_sends_the_flows_of_the_objects_as_well() -> None:
    """Returns each flow under one name, with a promise; after the beginning, only those of the FlowCheck."""
    derived, _ = plan_flows(scenario_of(text=POD))
    checked = f"derive: true, flows: [{FLOW}], steps: [{{wait: 1, flows: [{FLOW}]}}]"
    both, promise = plan_flows(scenario_of(text=f"{POD}\n---\n{CHECK % checked}"))
    assert {flow.name for flow in derived} < {flow.name for flow in both}
    assert {flow.name for flow in both if flow.check and not flow.control} == {"gone: a", "gone, step 1: a"}
    assert [flow.check for flow in both if flow.step] == ["gone"]
    assert len({flow.name for flow in both}) == len(both)
    assert all(promise(flow) for flow in both)
    alone, _ = plan_flows(scenario_of(text=f"{POD}\n---\n{CHECK % 'derive: true'}"))
    assert {flow.name for flow in alone} == {flow.name for flow in derived}


def test_derived_flows_need_no_flow_check() -> None:
    scenario = scenario_of(text=POD)
    require_flows(scenario, plan_flows(scenario)[0])

"""Tests what podwire plans where a real kube-proxy makes the rules: none of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from emulator.cluster.state import Program
from emulator.objects.config import ProxyMode
from emulator.plan.operations import DelConnections, LoadRules
from emulator.proxy import explain_rules, rules_for
from emulator.proxy.backends import BACKENDS, backend_of
from emulator.schedule.planner import plan_change, plan_cluster
from tests.conftest import GOLDEN
from tests.objects import golden_state

MODES = [mode for mode in get_args(ProxyMode) if BACKENDS[mode].prints]
PROGRAM = Program("/opt/kube-proxy", "v1.37.2")


@pytest.mark.parametrize("mode", MODES)
def test_no_rule_is_planned_but_the_pod_networks(mode: ProxyMode) -> None:
    state = golden_state(GOLDEN / "kube-proxy-v1.30.5", mode=mode, program=PROGRAM)
    loads = [
        op for op in plan_cluster(state).operations if isinstance(op, LoadRules) and op.netns == "worker-1"
    ]
    assert {op.tool for op in loads} == {"iptables-restore"}
    assert all("MASQ" in op.text and "KUBE-" not in op.text for op in loads)
    assert not rules_for(state, "worker-1").tables
    assert not list(explain_rules(state, "worker-1"))


@pytest.mark.parametrize("mode", MODES)
def test_a_change_of_services_plans_nothing(mode: ProxyMode) -> None:
    state = golden_state(GOLDEN / "kube-proxy-v1.30.5", mode=mode, program=PROGRAM)
    fewer = replace(state, services=state.services[1:], endpointSlices=())
    ours = [replace(one, proxy=replace(one.proxy, program=None)) for one in (state, fewer)]
    assert plan_change(*ours).operations
    assert any(isinstance(op, DelConnections) for op in plan_change(*ours).operations)
    assert plan_change(state, fewer).operations == ()


@pytest.mark.parametrize("mode", MODES)
def test_the_machine_needs_what_the_mode_needs(mode: ProxyMode) -> None:
    state = golden_state(GOLDEN / "kube-proxy-v1.30.5", mode=mode, program=PROGRAM)
    assert (backend_of(state).tools, backend_of(state).kernel) == (
        BACKENDS[mode].tools,
        BACKENDS[mode].kernel,
    )
    assert backend_of(state).relays is None

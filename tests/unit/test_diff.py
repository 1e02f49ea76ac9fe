"""What every mode is sent, and which modes can be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator import diff
from emulator.diff import check_modes, merge_flows
from emulator.errors import MissingCapabilityError, UsageError
from emulator.run import plan_flows
from tests.unit.probe.states import make_state, node_port_service


def test_every_mode_is_sent_what_any_mode_needs() -> None:
    states = [make_state(node_port_service(), proxy={"mode": mode}) for mode in ("nftables", "iptables")]
    planned = [plan_flows(state, edges=True)[0] for state in states]
    merged = merge_flows(planned)
    by_name = {flow.name: flow for flow in merged}
    assert by_name.keys() == {flow.name for flows in planned for flow in flows}
    for flows in planned:
        for flow in flows:
            got = by_name[flow.name]
            assert got.attempts >= flow.attempts
            assert set(got.controls) >= set(flow.controls)
            assert got == replace(flow, attempts=got.attempts, controls=got.controls)
    assert all(set(flow.controls) <= by_name.keys() for flow in merged)
    assert [flow.control for flow in merged] == sorted(flow.control for flow in merged)


def test_only_one_mode_translates_a_node_port_on_localhost() -> None:
    name = "node control-plane → localhost:30080 (svc default/web)"
    states = [make_state(node_port_service(), proxy={"mode": mode}) for mode in ("nftables", "iptables")]
    alone, both = ({flow.name: flow for flow in merge_flows([plan_flows(s)[0] for s in given])} for given in (states[:1], states))
    assert (alone[name].attempts, alone[name].controls) == (1, ())
    assert both[name].attempts > 1
    assert both[name].controls


@pytest.mark.parametrize("modes", [["iptables", "carrier-pigeon"], ["carrier-pigeon", "smoke", "iptables"]])
def test_modes_that_there_are_not_are_all_named(modes: list[str]) -> None:
    with pytest.raises(UsageError, match=", ".join(m for m in modes if m != "iptables")):
        check_modes(modes)


def test_one_mode_is_no_comparison() -> None:
    with pytest.raises(UsageError, match="two modes"):
        check_modes(["iptables"])


def test_a_mode_whose_tool_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff.shutil, "which", lambda _: None)
    with pytest.raises(MissingCapabilityError, match=r"the tool nft \(for mode nftables\): apt-get install nftables"):
        check_modes(["iptables", "nftables"])

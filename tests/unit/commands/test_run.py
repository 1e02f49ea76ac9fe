"""Tests that the options of ``run`` reach the scenario."""

from __future__ import annotations

import pytest

from emulator.cli import main
from emulator.cluster.scenario import Scenario
from emulator.run import kubeproxies, run


def test_a_real_kube_proxy_is_that_of_the_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[Scenario] = []

    def note(scenario: Scenario, _: object) -> int:
        played.append(scenario)
        return 0

    program = kubeproxies.Program(path="/kube-proxy", release="v1.37.2")
    monkeypatch.setattr(kubeproxies, "find_program", lambda _: program)
    monkeypatch.setattr(run, "run_cluster", note)
    assert main(["hairpin", "--kube-proxy", "/kube-proxy"]) == 0
    assert played[0].state.proxy.program == program

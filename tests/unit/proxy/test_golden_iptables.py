"""Compares the rendered rules with those of the real kube-proxy for the same objects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulator.plan.rules import compose
from emulator.proxy import rules_for
from tests.conftest import GOLDEN
from tests.iptables_save import normal
from tests.objects import golden_state

DIRECTORY = GOLDEN / "kube-proxy-v1.30.5"
REAL = normal((DIRECTORY / "iptables.iptables-save.txt").read_text())


@pytest.fixture(scope="module")
def text() -> str:
    return compose(rules_for(golden_state(DIRECTORY), "worker-1"))


@pytest.mark.parametrize("table", ["mangle", "filter", "nat"])
def test_table_has_the_real_chains(table: str, text: str) -> None:
    assert sorted(normal(text)[table]) == sorted(REAL[table])


@pytest.mark.parametrize(("table", "chain"), [(t, c) for t in REAL for c in REAL[t]])
def test_chain_has_the_real_rules(table: str, chain: str, text: str) -> None:
    assert normal(text)[table][chain] == REAL[table][chain]


def test_text_is_stable(text: str, golden: Callable[[str, str], None]) -> None:
    golden("worker-1.iptables-restore.txt", text)

"""Tests that a mode of kube-proxy is one row in two tables, and no other module has its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from emulator.objects.config import ProxyMode
from emulator.proxy.backends import BACKENDS

EMULATOR = Path(__file__).parents[2] / "emulator"
# the rules' table, the promises' table, the names, and the configuration with a section each
TABLES = {"proxy/backends.py", "oracle/modes.py", "objects/proxymodes.py", "objects/config.py"}
OTHER_MEANINGS = {
    ("net/family.py", "iptables"): "the tool of an address family",
    ("kernel/inspect.py", "nftables"): "the rules of that tool, in an evidence bundle",
    ("kernel/inspect.py", "ipvs"): "the kernel's virtual servers, likewise",
    ("load/rules/cluster.py", "ipvs"): "the field of a KubeProxyConfiguration",
    ("plan/operations/ipvs.py", "ipvs"): "the kernel's virtual servers, as what an operation is about",
    ("run/doctor.py", "iptables"): "Debian's package, and the kernel feature",
    ("run/doctor.py", "nftables"): "Debian's package",
    ("run/reporting.py", "iptables"): "the flavour of the tool, in the report",
    ("workload/kubeproxy.py", "iptables"): "the section of a KubeProxyConfiguration",
    ("workload/kubeproxy.py", "ipvs"): "likewise",
    ("workload/kubeproxy.py", "nftables"): "likewise",
}


def names_in(path: Path) -> Iterator[str]:
    for part in ast.walk(ast.parse(path.read_text())):
        if isinstance(part, ast.Constant) and part.value in get_args(ProxyMode):
            yield part.value


FOUND = sorted({(str(p.relative_to(EMULATOR)), name) for p in EMULATOR.rglob("*.py") for name in names_in(p)})


def test_every_mode_has_its_row() -> None:
    assert tuple(BACKENDS) == get_args(ProxyMode)


@pytest.mark.parametrize(("file", "name"), FOUND)
def test_only_the_tables_name_a_mode(file: str, name: str) -> None:
    assert file in TABLES or (file, name) in OTHER_MEANINGS


def test_no_other_meaning_is_listed_in_vain() -> None:
    assert set(OTHER_MEANINGS) <= set(FOUND)


@pytest.mark.parametrize("room", ["controllers", "flows", "journeys", "oracle", "schedule", "verdicts"])
def test_no_sentence_of_a_deciding_room_names_a_mode(room: str) -> None:
    """Says the mode that the cluster has."""
    said = re.compile(rf"\b({'|'.join(get_args(ProxyMode))}) mode\b")
    for path in (EMULATOR / room).glob("*.py"):
        tree = ast.parse(path.read_text())
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for part in ast.walk(tree):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in documents:
                assert not said.search(part.value), f"{path.name}:{part.lineno}"

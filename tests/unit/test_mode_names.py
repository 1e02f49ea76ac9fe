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


# files with sentences that name a mode, and why they may
TOLD = {
    "report/advice.py": "a document: what to do about each published difference between modes",
}
_MODE = "|".join(get_args(ProxyMode))
SAID = re.compile(rf"\b(?:{_MODE})(?:(?:, | and | or )(?:{_MODE}))* modes?\b|\bmodes? (?:\S+,)?(?:{_MODE})\b")


def sentences_in(source: str) -> Iterator[tuple[int, str]]:
    """Yields the line and the text of every string but docstrings; {…} stands for values."""
    tree = ast.parse(source)
    apart = set()  # docstrings, and the parts of strings with values
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            apart |= {id(each.value) for each in node.body[:1] if isinstance(each, ast.Expr)}
        if isinstance(node, ast.JoinedStr):
            apart |= {id(part) for part in node.values}
            texts = [str(part.value) if isinstance(part, ast.Constant) else "{…}" for part in node.values]
            yield node.lineno, "".join(texts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart:
            yield node.lineno, node.value


SENTENCES = sorted(
    {
        (str(path.relative_to(EMULATOR)), line)
        for path in EMULATOR.rglob("*.py")
        for line, text in sentences_in(path.read_text())
        if SAID.search(text)
    }
)


def test_no_sentence_names_a_mode_but_its_own() -> None:
    """Takes the mode from its values. A mode's own module may name it, and so may the tables."""
    outside = [(file, line) for file, line in SENTENCES if file not in TABLES and file not in TOLD]
    assert [one for one in outside if not one[0].startswith("proxy/")] == []


def test_no_file_is_listed_in_vain() -> None:
    assert set(TOLD) <= {file for file, _ in SENTENCES}


@pytest.mark.parametrize(
    "text",
    [
        'x = "kube-proxy\'s ipvs mode"',
        'x = f"{name}: iptables and nftables mode drop"',
        'x = "# ipvs mode: the one thing"',
        'x = f"--modes iptables,{COMING_MODE}"',
        'x = "run it with --proxy-mode userspace"',
        'x = "in mode nftables"',
    ],
)
def test_a_sentence_with_a_mode_would_be_found(text: str) -> None:
    assert any(SAID.search(told) for _, told in sentences_in(text))


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    """Returns the rules of ipvs mode."""',
        'x = f"{mode} mode needs it"',
        'x = "sudo apt-get install iptables"',
        'x = "in user-mode Linux"',
    ],
)
def test_a_sentence_without_one_is_not_found(text: str) -> None:
    assert not any(SAID.search(told) for _, told in sentences_in(text))

"""Tests facts beyond the import contract (pyproject.toml): it covers every module, and the cost of
``--help``.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for p in (ROOT / "emulator").rglob("*.py")
)

# The rooms that act: on the kernel, on processes, on the terminal. Every other room decides, and must be in
# the contract.
ACTING = tuple(
    f"emulator.{room}"
    for room in (
        "__main__",
        "starting",
        "cli",
        "commands",
        "kernel",
        "capture",
        "workload",
        "serving",
        "traffic",
        "run",
    )
)


def _is_in(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def _rooms_of(contract: str) -> tuple[str, ...]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return tuple(next(c["source_modules"] for c in contracts if c["name"] == contract))


@pytest.mark.parametrize("module", MODULES)
def test_module_is_pure_by_contract_or_one_of_those_that_act(module: str) -> None:
    if module != "emulator":
        assert _is_in(module, _rooms_of("Decisions are pure")) != _is_in(module, ACTING)


_IMPORT = re.compile(r"^ *from (emulator[\w.]*) import (\w+(?:, \w+)*)$", re.MULTILINE)
IMPORTS = sorted(
    {
        (f"{path.relative_to(ROOT)}", found[1], name)
        for path in (ROOT / "tests").rglob("*.py")
        for found in _IMPORT.finditer(path.read_text())
        for name in found[2].split(", ")
    }
)


@pytest.mark.parametrize(("module", "name"), sorted({(module, name) for _, module, name in IMPORTS}))
def test_what_a_test_imports_is_there(module: str, name: str) -> None:
    """Checks the programs that tests start, which are texts that no type checker reads."""
    users = {path for path, *imported in IMPORTS if imported == [module, name]}
    assert importlib.util.find_spec(module), users
    found = hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}")
    assert found, users


@pytest.mark.parametrize("command", ["--help", "--version", "run --help", "diff --help"])
def test_help_imports_nothing_heavy(command: str) -> None:
    code = """
import sys
from emulator.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""
    output = subprocess.run(
        [sys.executable, "-c", code, *command.split()], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    imported = set(output.rpartition("imported: ")[2].split())
    assert "argparse" in imported
    assert not imported & {
        *(
            "asyncio",
            "google_crc32c",
            "h11",
            "jinja2",
            "pydantic",
            "pyroute2",
            "scapy",
            "tabulate",
            "tqdm",
            "wcwidth",
            "yaml",
        )
    }

"""Recognises the files of a kustomization and of a Helm chart. The only effect is reading files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .yamltext import MAX_BYTES, read_documents

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
CHART = "Chart.yaml"


class KustomizationError(Exception):
    """Reports a kustomization that cannot be built, with a hint."""

    def __init__(self, what: str, hint: str = "") -> None:
        self.what, self.hint = what, hint
        super().__init__(what)


def is_kustomization(directory: Path) -> bool:
    return any(os.path.isfile(directory / name) for name in NAMES)  # False without permission to look into it


def why_no_kustomization(directory: Path) -> tuple[str, str]:
    """Returns what is wrong with ``directory``, and a hint ("" if there is none)."""
    if directory.name in NAMES and directory.is_file():
        return "is a file, and -k takes the directory", f"-k {shlex.quote(str(directory.parent))}"
    if directory.is_dir():
        return f"is no kustomization: none of {', '.join(NAMES)} is there", ""
    if os.path.lexists(directory):
        return "is no directory, and -k takes the directory of a kustomization", ""
    return "no such directory", ""


def pipe(directory: Path) -> str:
    """Returns the command that builds the kustomization in ``directory`` and pipes it to podwire."""
    return f"kubectl kustomize {shlex.quote(str(directory))} | podwire -"


def render(directory: Path) -> str:
    """Returns the command that renders the chart in ``directory`` and pipes it to podwire."""
    name = directory.resolve().name or "release"
    return f"helm template {shlex.quote(name)} {shlex.quote(str(directory))} | podwire -"


def parts_of(directory: Path) -> frozenset[Path]:
    """Returns the files that the kustomization in ``directory`` names and that are no manifests of their own:
    patches, and the inputs of its generators and transformers.
    """
    found: set[Path] = set()
    for name in NAMES:
        path = directory / name
        try:
            text = path.read_text("utf-8") if path.is_file() and path.stat().st_size <= MAX_BYTES else ""
        except (OSError, UnicodeDecodeError):
            continue
        for document in read_documents(text)[0]:
            if isinstance(document.value, dict):
                found.update(directory / part for part in _named(document.value) if "\0" not in part)
    return frozenset(path.resolve() for path in found)


def _named(value: dict[str, Any]) -> Iterator[str]:
    for key in (
        "patchesStrategicMerge",
        "configurations",
        "crds",
        "transformers",
        "generators",
        "validators",
        "components",
    ):
        yield from (entry for entry in _list(value.get(key)) if isinstance(entry, str) and "\n" not in entry)
    for key in ("patches", "patchesJson6902", "replacements"):
        yield from (
            entry["path"]
            for entry in _list(value.get(key))
            if isinstance(entry, dict) and isinstance(entry.get("path"), str)
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

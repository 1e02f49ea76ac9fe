"""Targets → files: what a user may name on the command line, and what it is called. May import ``objects``, ``errors``.

The only effect is looking for files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from emulator.errors import Problem
from emulator.objects.builder import question_of
from emulator.objects.faults import cut, did_you_mean

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"

_NAME_LENGTH = 100


def find_files(target: str, topologies: Path) -> tuple[Sequence[Path], Problem | None]:
    """The files that ``target`` names; none, and why, where it names nothing."""
    named = _topologies(topologies)
    path = named.get(target, Path(target))
    try:
        is_directory, is_file = bool(target) and path.is_dir(), path.exists() and not path.is_dir()
    except (OSError, ValueError):
        is_directory = is_file = False
    if is_directory:
        files = list(_manifests(path))
        return files, None if files else Problem(str(path), f"holds no manifest ({', '.join('*' + s for s in MANIFEST_SUFFIXES)})")
    if is_file:
        return [path], None
    known = f"topologies: {', '.join(sorted(named))}" if named else f"there are no topologies in {topologies}"
    hint = "; ".join(part for part in (did_you_mean(target, named), known) if part)
    return (), Problem(cut(target) or "''", "is neither a topology nor a file nor a directory", hint)


def name_of(targets: Sequence[str]) -> str:
    """A name for what ``targets`` hold together that is safe as a file name."""
    names = "+".join(dict.fromkeys(_slug(target) for target in targets))
    return names[:_NAME_LENGTH].strip("+-.") or "cluster"


def describe_topologies(directory: Path) -> list[tuple[str, str]]:
    """The name and the question of every topology in ``directory``, by name."""
    return [(name, question_of(path)) for name, path in sorted(_topologies(directory).items())]


def _topologies(directory: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            if next(_manifests(path), None):
                found[path.name] = path
        elif path.suffix in (".py", *MANIFEST_SUFFIXES):
            found[path.stem] = path
    return found


def _manifests(directory: Path) -> Iterator[Path]:
    """The manifests under ``directory`` in order, without what is hidden."""
    for root, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(MANIFEST_SUFFIXES) and not name.startswith("."):
                yield Path(root, name)


def _slug(target: str) -> str:
    name = "stdin" if target == STDIN else Path(target).name
    if name in ("", ".."):
        name = Path(target).resolve().name
    for suffix in (".py", *MANIFEST_SUFFIXES):
        name = name.removesuffix(suffix)
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.") or "cluster"

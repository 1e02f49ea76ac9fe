"""Finds the files that a target on the command line names, and what it is called. May import ``objects``,
``errors``.

Directories are read as kubectl reads them: their own files alone, and those below only where it is asked for.
The only effect is looking for files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from emulator.errors import Problem
from emulator.load.builder import question_of
from emulator.load.faults import cut, did_you_mean
from emulator.load.kustomization import (
    CHART,
    NAMES,
    is_kustomization,
    parts_of,
    render,
)

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
MAX_FILES = 10_000  # of one directory

_NAME_LENGTH = 100
_NOT_MANIFESTS = frozenset({"node_modules", "vendor", "charts"})  # directories of what others wrote


@dataclass(frozen=True, slots=True)
class Found:
    """What a target names: files, or why there are none. ``directory``: the files are those of a directory,
    whose other files may be anything. ``kustomization``: the directory is one, and is built. ``notices`` say
    what of the directory is not read.
    """

    files: Sequence[Path] = ()
    problem: Problem | None = None
    directory: bool = False
    kustomization: Path | None = None
    notices: tuple[str, ...] = ()


def find_files(target: str, topologies: Path, *, recursive: bool = False) -> Found:
    """Returns what ``target`` names: a topology of the directory ``topologies``, a file or a directory."""
    named = _topologies(topologies)
    path = named.get(target, Path(target))
    try:
        is_directory, is_file = bool(target) and path.is_dir(), path.exists() and not path.is_dir()
    except (OSError, ValueError):
        is_directory = is_file = False
    if is_directory:
        return _in_directory(path, recursive)
    if is_file and path.name in NAMES:
        return Found(
            problem=Problem(
                str(path), "is a kustomization's own file, and no manifest", f"-k {path.parent} builds it"
            )
        )
    if is_file and path.name == CHART:
        return Found(
            problem=Problem(str(path), "is a Helm chart's own file, and no manifest", render(path.parent))
        )
    if is_file:
        return Found([path])
    if re.match(r"[a-z]+://", target):
        return Found(
            problem=Problem(
                cut(target), "is a URL, and podwire fetches nothing", f"curl -sSL {cut(target)} | podwire -"
            )
        )
    if (
        "/" in target
        or "\\" in target
        or target.startswith(".")
        or target.endswith((".py", *MANIFEST_SUFFIXES))
    ):
        return Found(problem=Problem(cut(target), "no such file or directory"))
    known = f"topologies: {', '.join(sorted(named))}" if named else f"there are no topologies in {topologies}"
    hint = "; ".join(part for part in (did_you_mean(target, named), known) if part)
    return Found(
        problem=Problem(cut(target) or "''", "is neither a topology nor a file nor a directory", hint)
    )


def _in_directory(path: Path, recursive: bool) -> Found:
    if not _is_readable(path):
        return Found(problem=Problem(str(path), "cannot be read: permission denied"))
    if is_kustomization(path):
        return Found(directory=True, kustomization=path)
    if (path / CHART).is_file():
        return Found(
            problem=Problem(str(path), "is a Helm chart, which must be rendered first", render(path))
        )
    if not recursive:
        files = list(islice(_own_manifests(path), MAX_FILES + 1))
        below = (
            sum(1 for _ in islice(_below(path, []), MAX_FILES + 1)) - len(files)
            if len(files) <= MAX_FILES
            else 0
        )
        more = f"{below if below + len(files) <= MAX_FILES else f'more than {MAX_FILES}'} in the directories below"
        notices: tuple[str, ...] = (
            (f"{path}: {more} are not read, as with kubectl (-R reads them too)",) if below > 0 else ()
        )
        hint = f"there are {more}: -R reads them" if below > 0 else ""
    else:
        notes: list[str] = []
        files = list(islice(_below(path, notes), MAX_FILES + 1))
        notices, hint = tuple(notes), ""
    if len(files) > MAX_FILES:
        return Found(
            problem=Problem(
                str(path), f"holds more than {MAX_FILES} manifests", "name the directories that matter"
            )
        )
    if not files:
        what = f"holds no manifest ({', '.join('*' + suffix for suffix in MANIFEST_SUFFIXES)})"
        return Found(problem=Problem(str(path), what, hint))
    return Found(files, directory=True, notices=notices)


def _below(top: Path, notices: list[str]) -> Iterator[Path]:
    """Yields the manifests in and under ``top`` in order, without what is hidden, a chart's, or a part of a
    kustomization; ``notices`` gets a line for the charts and one for the kustomizations.
    """
    charts: list[Path] = []
    kustomizations: list[Path] = []
    parts: set[Path] = set()
    closed: list[Path] = []
    for root, directories, _ in os.walk(top, onerror=lambda error: closed.append(Path(error.filename))):
        here = Path(root)
        if here != top and os.path.isfile(here / CHART):
            charts.append(here)
            directories.clear()
            continue
        directories[:] = sorted(
            name for name in directories if not name.startswith(".") and name not in _NOT_MANIFESTS
        )
        if is_kustomization(here):
            kustomizations.append(here)
            parts |= parts_of(here)
        for path in _own_manifests(here):
            if not (parts and path.resolve() in parts):
                yield path
    if closed:
        notices.append(f"{_several(closed, 'directory', 'directories')} left out: permission denied")
    if charts:
        notices.append(f"{_several(charts, 'Helm chart')} left out: {render(charts[0])} renders one")
    if kustomizations:
        notices.append(
            f"{_several(kustomizations, 'kustomization')} not built, and their files read as they are: -k builds one"
        )


def _several(paths: Sequence[Path], what: str, plural: str = "") -> str:
    noun = what if len(paths) == 1 else plural or f"{what}s"
    return f"{len(paths)} {noun} ({paths[0]}{', …' if len(paths) > 1 else ''})"


def _is_readable(directory: Path) -> bool:
    return os.access(directory, os.R_OK | os.X_OK)


def _own_manifests(directory: Path) -> Iterator[Path]:
    """Yields the manifests that lie in ``directory`` itself, in order, without what is hidden."""
    for path in sorted(directory.iterdir()) if _is_readable(directory) else ():
        if (
            path.name.endswith(MANIFEST_SUFFIXES)
            and not path.name.startswith(".")
            and path.name not in NAMES
            and path.is_file()
        ):
            yield path


def name_of(targets: Sequence[str]) -> str:
    """Returns a name for what ``targets`` hold together that is safe as a file name."""
    names = "+".join(dict.fromkeys(_slug(target) for target in targets))
    return names[:_NAME_LENGTH].strip("+-.") or "cluster"


def describe_topologies(directory: Path) -> list[tuple[str, str]]:
    """Returns the name and the question of every topology in ``directory``, by name."""
    return [(name, question_of(path)) for name, path in sorted(_topologies(directory).items())]


def _topologies(directory: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            if next(_own_manifests(path), None):
                found[path.name] = path
        elif path.suffix in (".py", *MANIFEST_SUFFIXES):
            found[path.stem] = path
    return found


def _slug(target: str) -> str:
    name = "stdin" if target == STDIN else Path(target).name
    if name in ("", ".."):
        name = Path(target).resolve().name
    for suffix in (".py", *MANIFEST_SUFFIXES):
        name = name.removesuffix(suffix)
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.") or "cluster"

"""Finds the files that a target on the command line names, and names the result.

Directories are read as kubectl reads them: only their own files, and those below if asked for (``-R``). The
only effect is looking for files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from ..errors import Problem
from ..objects.notices import ChartsLeftOut, Forbidden, InputNotice, NotBuilt, NotRecursive
from .builder import question_of
from .faults import cut, did_you_mean
from .kustomization import (
    CHART,
    NAMES,
    is_kustomization,
    parts_of,
    render,
)

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
MAX_FILES = 10_000  # in one directory

_NAME_LENGTH = 100
_NOT_MANIFESTS = frozenset({"node_modules", "vendor", "charts"})  # directories of other people's files


@dataclass(frozen=True, slots=True)
class Found:
    """Holds the files that a target names, or why there are none. ``directory``: the files come from a
    directory, whose other files need not be manifests. ``kustomization``: the directory is one, and is built.
    ``notices`` name the parts of the directory that are not read. ``hint`` names where objects may be, if the
    files hold none.
    """

    files: Sequence[Path] = ()
    problem: Problem | None = None
    directory: bool = False
    kustomization: Path | None = None
    notices: tuple[InputNotice, ...] = ()
    hint: str = ""


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
    left_out = _LeftOut()
    below = list(islice(_below(path, left_out), MAX_FILES + 1))
    files = below if recursive else list(islice(_own_manifests(path), MAX_FILES + 1))
    if len(files) > MAX_FILES:
        return Found(
            problem=Problem(
                str(path), f"holds more than {MAX_FILES} manifests", "name the directories that matter"
            )
        )
    hints = left_out.hints()
    notices: tuple[InputNotice, ...] = left_out.notices() if recursive else ()
    if not recursive and len(below) > len(files):
        uncounted = len(below) > MAX_FILES
        number = MAX_FILES if uncounted else len(below) - len(files)
        notices = (NotRecursive(str(path), number, uncounted),)
        more = f"{'more than ' if uncounted else ''}{number} in the directories below"
        verb, them = ("is", "it") if number == 1 else ("are", "them")
        hints = (f"there {verb} {more}: -R reads {them}", *hints)
    hint = "; ".join(hints)
    if not files:
        what = f"holds no manifest ({', '.join('*' + suffix for suffix in MANIFEST_SUFFIXES)})"
        return Found(problem=Problem(str(path), what, hint))
    return Found(files, directory=True, notices=notices, hint=hint)


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """Collects the directories below a target that are not read as they are."""

    charts: list[Path] = field(default_factory=list)
    kustomizations: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)

    def notices(self) -> tuple[InputNotice, ...]:
        """Returns one for each sort."""
        told: list[InputNotice] = []
        if self.closed:
            told.append(Forbidden(str(self.closed[0]), len(self.closed)))
        if self.charts:
            chart = self.charts[0]
            told.append(ChartsLeftOut(str(chart), len(self.charts), render(chart)))
        if self.kustomizations:
            told.append(NotBuilt(str(self.kustomizations[0]), len(self.kustomizations)))
        return tuple(told)

    def hints(self) -> tuple[str, ...]:
        """Returns how to read its charts and kustomizations."""
        lines = []
        if self.charts:
            charts = _several(self.charts, "Helm chart")
            lines.append(f"{charts} must be rendered first: {render(self.charts[0])}")
        if self.kustomizations:
            lines.append(f"{_several(self.kustomizations, 'kustomization')}: -k builds one")
        return tuple(lines)


def _below(top: Path, left_out: _LeftOut) -> Iterator[Path]:
    """Yields the manifests in and under ``top`` in order, without hidden files, charts and parts of a
    kustomization. Adds the charts and kustomizations on the way to ``left_out``.
    """
    parts: set[Path] = set()
    closed = left_out.closed
    for root, directories, _ in os.walk(top, onerror=lambda error: closed.append(Path(error.filename))):
        here = Path(root)
        if here != top and os.path.isfile(here / CHART):
            left_out.charts.append(here)
            directories.clear()
            continue
        if "charts" in directories:
            left_out.charts.extend(_charts_in(here / "charts"))
        directories[:] = sorted(
            name for name in directories if not name.startswith(".") and name not in _NOT_MANIFESTS
        )
        if is_kustomization(here):
            left_out.kustomizations.append(here)
            parts |= parts_of(here)
        for path in _own_manifests(here):
            if not (parts and path.resolve() in parts):
                yield path


def _charts_in(directory: Path) -> list[Path]:
    entries = sorted(directory.iterdir()) if _is_readable(directory) else []
    return [path for path in entries if os.path.isfile(path / CHART)]


def _several(paths: Sequence[Path], what: str) -> str:
    noun = what if len(paths) == 1 else f"{what}s"
    return f"{len(paths)} {noun} ({paths[0]}{', …' if len(paths) > 1 else ''})"


def _is_readable(directory: Path) -> bool:
    return os.access(directory, os.R_OK | os.X_OK)


def _own_manifests(directory: Path) -> Iterator[Path]:
    """Yields the manifests in ``directory`` itself, in order, without hidden files."""
    for path in sorted(directory.iterdir()) if _is_readable(directory) else ():
        if (
            path.name.endswith(MANIFEST_SUFFIXES)
            and not path.name.startswith(".")
            and path.name not in NAMES
            and path.is_file()
        ):
            yield path


def name_of(targets: Sequence[str]) -> str:
    """Returns a name for all ``targets`` together that is safe as a file name."""
    names = "+".join(dict.fromkeys(_slug(target) for target in targets))
    return names[:_NAME_LENGTH].strip("+-.") or "cluster"


def source_of(targets: Sequence[str], topologies: Path, objects: Iterable[str] = ()) -> str:
    """Returns what tells ``targets`` from others of the same names: where they are. A shipped topology is the
    same one wherever podwire is installed; standard input is told by the names of the ``objects`` in it.
    """
    named = _topologies(topologies)
    places = [f"topology {target}" if target in named else _place(target) for target in targets]
    if STDIN in targets:
        places.append(blake2b("\n".join(sorted(objects)).encode(), digest_size=8).hexdigest())
    return " ".join(places)


def _place(target: str) -> str:
    return os.path.abspath(target) if os.path.exists(target) else target


def topology_names(directory: Path) -> list[str]:
    """Returns the names of the topologies in ``directory``."""
    return sorted(_topologies(directory))


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

"""Runs ``doc``: the documents of this podwire, wherever it is installed. Messages cite them by it."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ..errors import Exit, UsageError
from ..kernel.environment import REINSTALL, SHARE
from ..report.output import say

DOCUMENTS = SHARE / "docs"
_WARNINGS = "warnings"  # the document that has a section for each code
_CODE = re.compile(r"PW\d+", re.IGNORECASE)


def add_doc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "document",
        nargs="?",
        default="",
        metavar="NAME",
        help="a document, or a code of a warning (default: list the documents)",
    )
    parser.add_argument(
        "rest",
        nargs="*",
        default=[],
        metavar="SECTION",
        help="its sections alone: a number (semantics 7), a code (PW001), or words of a heading",
    )
    parser.add_argument("--path", action="store_true", help="print where it is instead")


def doc(args: argparse.Namespace) -> int:
    """Prints a document, sections of it, its path, or the list of documents."""
    if not DOCUMENTS.is_dir():
        raise UsageError(f"there are no documents in {DOCUMENTS}: {REINSTALL}")
    if not args.document:
        say(f"{DOCUMENTS}\n" if args.path else _list())
        return Exit.OK
    name, sections = args.document, args.rest
    if _CODE.fullmatch(name):
        name, sections = _WARNINGS, [name, *sections]
    path = _find(name)
    say(f"{path}\n" if args.path else _text(path, sections))
    return Exit.OK


def _text(path: Path, sections: Sequence[str]) -> str:
    from ..report.document import reflow, section

    text = (path / "README.md" if path.is_dir() else path).read_text()
    if sections:
        text = "\n".join(section(path.name, text, one) for one in sections)
    is_folded = path.suffix in ("", ".md") and sys.stdout.isatty()
    return reflow(text, shutil.get_terminal_size().columns) if is_folded else text


def documents() -> dict[str, Path]:
    """Returns the documents by name: ``.md`` is left out, and a directory has its README."""
    found = {
        path.stem if path.suffix == ".md" else path.name: path
        for path in DOCUMENTS.iterdir()
        if path.is_file() or (path / "README.md").is_file()
    }
    return dict(sorted(found.items()))


def _list() -> str:
    from ..report.entries import entries

    rows = [(name, _title(path)) for name, path in documents().items()]
    return entries([row for row in rows if row[1]], shutil.get_terminal_size((132, 24)).columns)


def _title(path: Path) -> str:
    """Returns the first heading of a document in Markdown; "" for another file."""
    readme = path / "README.md" if path.is_dir() else path
    first = readme.read_text().split("\n", 1)[0] if readme.suffix == ".md" else ""
    return first.removeprefix("# ").strip()


def _find(name: str) -> Path:
    known = documents()
    wanted = name.removeprefix("docs/").removesuffix("/").removesuffix("/README.md").removesuffix(".md")
    if wanted in known:
        return known[wanted]
    near = get_close_matches(wanted, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "podwire doc lists them"
    raise UsageError(f"there is no document {name!r} ({hint})")

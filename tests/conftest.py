"""Provides golden files, and a kernel of its own for a test."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.kernel.sentences")  # which asserts for several modules

GOLDEN = Path(__file__).parent / "golden"
# argv of a sandbox
UNSHARE = ("unshare", "--net", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))

settings.register_profile("podwire", deadline=None)  # which only a busy machine would miss
settings.load_profile("podwire")
# another user's checkout: Hypothesis has nowhere to remember failures
if not os.access(Path(__file__).parent, os.W_OK):
    settings.register_profile("read-only", settings.get_profile("podwire"), database=None)
    settings.load_profile("read-only")


# a shell's job in the background: what it starts would ignore Ctrl-C, too
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden files anew instead of comparing with them",
    )
    parser.addoption(
        "--thin",
        action="store_true",
        help="the first test of each file, and in tests/kernel, where tools are started, the first case "
        "of each test that is not slow",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--thin"):
        kept = {id(item) for item in thinned(items)}
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
        items[:] = [item for item in items if id(item) in kept]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Gives files that root's tests made in another user's checkout to its owner."""
    root, owner = config.rootpath, config.rootpath.stat()
    if os.geteuid() != 0 or owner.st_uid == 0 or "PYTEST_XDIST_WORKER" in os.environ:
        return
    for directory in (root / ".pytest_cache", root / ".hypothesis", *root.glob("[a-z]*/**/__pycache__")):
        for path in (directory, *directory.rglob("*")):
            with contextlib.suppress(OSError):  # gone, or not to be changed in this namespace
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def thinned(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Returns the items that ``--thin`` keeps; a test that runs in a guest is as slow as a slow one."""
    kept = []
    seen: set[str] = set()
    for item in items:
        file, _, rest = item.nodeid.partition("::")
        function = f"{file}::{rest.partition('[')[0]}"
        slow = any(item.get_closest_marker(mark) for mark in ("slow", "ipvs"))
        if file not in seen or (item.get_closest_marker("kernel") and not slow and function not in seen):
            kept.append(item)
        seen |= {file, function}
    return kept


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares text with ``tests/golden/NAME``; with ``--update-golden`` writes it there."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.write_text(text)
        assert text == file.read_text(), f"{name} differs: if that is meant, run pytest --update-golden"

    return compare

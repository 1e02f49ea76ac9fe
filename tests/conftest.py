"""What all tests share: golden files, and how a test gets a kernel of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.kernel.sentences")  # which asserts for several modules

GOLDEN = Path(__file__).parent / "golden"
UNSHARE = ("unshare", "--net", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))  # argv of a sandbox

settings.register_profile("podwire", deadline=None)  # which only a busy machine would miss
settings.load_profile("podwire")
if not os.access(Path(__file__).parent, os.W_OK):  # another user's checkout: Hypothesis has nowhere to remember failures
    settings.register_profile("read-only", settings.get_profile("podwire"), database=None)
    settings.load_profile("read-only")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background: what it starts would ignore Ctrl-C, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares text with ``tests/golden/NAME``; with ``--update-golden`` writes it there."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.write_text(text)
        assert text == file.read_text(), f"{name} differs: if that is meant, run pytest --update-golden"

    return compare

"""Checks and quotes words of shell commands. Invariant: no value can become an option, a second word or a
command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from ..checked import UnsafeTextError

DELIMITER = "PODWIRE_EOF"

# network namespaces and devices: never an option, never a path into a directory
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_WORD = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:/-]*")  # addresses, prefixes, MACs, sysctl keys


def name(text: str) -> str:
    """Returns ``text``, the name of a namespace or device, as a word. Raises ``UnsafeTextError``."""
    if not _NAME.fullmatch(text):
        raise UnsafeTextError("name", text)
    return shlex.quote(text)


def word(text: str) -> str:
    """Returns ``text``, an address, prefix, MAC or key, as a word. Raises ``UnsafeTextError``."""
    if not _WORD.fullmatch(text):
        raise UnsafeTextError("word of a command", text)
    return shlex.quote(text)


def ip(netns: str, *words: str) -> str:
    """Returns ``ip`` in ``netns``; ``words`` are ready for the shell."""
    return " ".join(("ip -n", name(netns), *words))


def run_in(netns: str, command: str) -> str:
    """Returns ``command``, which is ready for the shell, in ``netns``."""
    return f"ip netns exec {name(netns)} {command}"


def feed(netns: str, command: Sequence[str], text: str) -> Iterator[str]:
    """Yields the lines of ``command`` in ``netns`` with ``text`` on its standard input.

    Raises ``UnsafeTextError`` for a text that holds the here-document's delimiter as a line.
    """
    if DELIMITER in text.splitlines() or "\0" in text:
        raise UnsafeTextError("here-document", text)
    yield run_in(netns, f"{shlex.join(command)} <<'{DELIMITER}'")
    yield text.rstrip("\n")
    yield DELIMITER

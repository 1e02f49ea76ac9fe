"""Deletes conntrack entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ...net import Endpoint
from . import words
from .operation import Deletion, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class DelConnections(Deletion):
    """Deletes the conntrack entries of connections to ``dialled`` that ``server`` answers (equal if nothing
    was translated; None: whoever does).

    The next packet begins a new connection, and passes the present rules. There may be no such entry.
    """

    stage = Stage.CONNECTIONS

    protocol: Literal["UDP"]
    dialled: Endpoint
    server: Endpoint | None

    def commands(self) -> Iterator[str]:
        ip, port = self.dialled
        dialled = f"--orig-dst {words.word(ip)} --orig-port-dst {port}"
        command = f"conntrack -D -p {words.word(self.protocol.lower())} {dialled}"
        if self.server:
            command += f" --reply-src {words.word(self.server[0])} --reply-port-src {self.server[1]}"
        yield words.run_in(self.netns, f"{command} >/dev/null 2>&1 || true")

"""Connections that are tracked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from emulator.net import Endpoint
from emulator.plan.operations import words
from emulator.plan.operations.operation import Deletion, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class DelConnections(Deletion):
    """Forgets connections to ``dialled`` that ``server`` answers (the same one where nothing was translated).

    The next packet is a new connection's, and meets the rules as they are now. There may be no such
    connection.
    """

    stage = Stage.CONNECTIONS

    protocol: Literal["UDP"]
    dialled: Endpoint
    server: Endpoint

    def commands(self) -> Iterator[str]:
        (ip, port), (server, server_port) = self.dialled, self.server
        dialled = f"--orig-dst {words.word(ip)} --orig-port-dst {port}"
        answered = f"--reply-src {words.word(server)} --reply-port-src {server_port}"
        command = f"conntrack -D -p {words.word(self.protocol.lower())} {dialled} {answered}"
        yield words.run_in(self.netns, f"{command} >/dev/null 2>&1 || true")

"""Asks the servers of Pods for their identity, over sockets that a test has opened."""

from __future__ import annotations

import socket

from emulator.workload.answer import read_reply, request_line


def say(sock: socket.socket) -> str:
    """Returns the Pod (namespace/name) that answers on ``sock``."""
    sock.send(request_line(1))
    answer = read_reply(sock.recv(4096))
    assert answer
    return answer.pod

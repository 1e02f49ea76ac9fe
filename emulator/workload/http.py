"""Speaks HTTP/1.1 for echo servers, for health checks and for clients of real commands. Pure.

The syntax and the state machines are h11's; no socket is here. One exchange of request and response takes
370 µs of CPU with h11 on both ends, one of plain lines (:mod:`emulator.workload.answer`) 30 µs. So podwire's
own clients speak lines where they ask podwire's own servers, as all pairs do 10,000 times and more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

import h11

from ..net import Endpoint

MOST_BODY = 1 << 16  # bytes of a response that are kept
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Reply(NamedTuple):
    """Holds what a server answers. ``first`` are the headers that stand before all others."""

    status: HTTPStatus
    body: bytes = b""
    headers: Mapping[str, str] = _NO_HEADERS
    first: Mapping[str, str] = _NO_HEADERS


class Response(NamedTuple):
    """Holds what a client was answered. The names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Server:
    """Serves one connection, which it closes after one response."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER)
        self._target, self._is_head = "", False
        self.over = False

    def hear(self, data: bytes, answer: Callable[[str], Reply]) -> bytes:
        """Takes received bytes. Returns the bytes to send: the reply of ``answer`` to the request's target
        once the request is complete, or a refusal if it is no HTTP.
        """
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Request):
                    self._target, self._is_head = event.target.decode("ascii"), event.method == b"HEAD"
                elif isinstance(event, h11.EndOfMessage):
                    return self._send(answer(self._target))
        except h11.RemoteProtocolError as error:
            return self._send(Reply(HTTPStatus(error.error_status_hint)))
        if self._connection.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, reason="Continue", headers=[])
            return self._connection.send(go_on) or b""
        return b""

    def _send(self, reply: Reply) -> bytes:
        self.over = True
        if self._connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        body = reply.body and reply.body + b"\n"
        headers = {
            **reply.first,
            "Server": "podwire",
            **({"Content-Type": "application/json"} if body else {}),
            "Content-Length": str(len(body)),
            "Connection": "close",
            **reply.headers,
        }
        response = h11.Response(
            status_code=reply.status, reason=reply.status.phrase, headers=list(headers.items())
        )
        head = self._connection.send(response) or b""
        return head if self._is_head else head + (self._connection.send(h11.Data(data=body)) or b"")


class Client:
    """Asks ``server`` for ``target``, once. ``keep``: on a connection that is asked again. ``request`` are
    the bytes to send.
    """

    def __init__(self, server: Endpoint, target: str, *, keep: bool = False) -> None:
        self._connection = h11.Connection(h11.CLIENT)
        self._head: h11.Response | None = None
        self._body = b""
        headers = [
            ("Host", str(server)),
            ("User-Agent", "podwire"),
            ("Accept", "*/*"),
            ("Connection", "keep-alive" if keep else "close"),
        ]
        request = h11.Request(method="GET", target=target, headers=headers)
        self.request = (self._connection.send(request) or b"") + (
            self._connection.send(h11.EndOfMessage()) or b""
        )

    def hear(self, data: bytes) -> Response | None:
        """Takes received bytes; b"" is the end of the stream. Returns the response once it is complete; None
        if it is no HTTP.
        """
        if self._connection.their_state is h11.ERROR:
            return None
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body = (self._body + event.data)[:MOST_BODY]
                elif isinstance(event, h11.EndOfMessage) and self._head:
                    headers = {
                        name.decode("ascii"): value.decode("latin-1") for name, value in self._head.headers
                    }
                    return Response(self._head.status_code, headers, self._body)
                elif isinstance(event, h11.ConnectionClosed):
                    break
        except h11.RemoteProtocolError:
            pass
        return None

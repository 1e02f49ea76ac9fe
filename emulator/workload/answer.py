"""Makes and reads what echo servers and their clients say: words on the wire. Pure.

A client that speaks HTTP gets an HTTP reply with a JSON body; any other gets one line that begins with
:data:`REPLY_MAGIC` and the cookie of the request (16 hex digits, zeros if it carried none), then the same
JSON. HTTP itself is read and written by :mod:`emulator.workload.http`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from ..cluster.state import HealthCheck
from ..model.frames import HTTP_TARGET, REPLY_HEADER, REPLY_MAGIC, REQUEST_MAGIC, Answer, Health
from ..net import Endpoint
from . import http

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")
_MOST_LINE = 16 << 10  # bytes of a line
COOKIE_DIGITS = 16
_NO_COOKIE = b"0" * COOKIE_DIGITS
_NAMES = ("pod", "container", "node")
_ENDPOINTS = ("client", "dialled", "local")  # "" if it is unknown


# --- the server's side ------------------------------------------------------------------------------------


class Dialogue:
    """Holds the state of one TCP connection to an echo server. ``over``: the server closes it now."""

    def __init__(self) -> None:
        self._line = b""
        self._http: http.Server | None = None
        self.over = False

    def hear(self, data: bytes, answer: Callable[[], Answer], check: HealthCheck | None) -> bytes:
        """Takes received bytes. Returns the bytes to send. ``answer`` makes the answer; ``check`` is that of
        a healthCheckNodePort.
        """
        if self._http is None:
            self._line, data = b"", self._line + data
            if not is_http(data):
                return self._hear_line(data, answer)
            self._http = http.Server()
        said = self._http.hear(
            data, lambda target: health_reply(check) if check else http_reply(target, answer())
        )
        self.over = self._http.over
        return said

    def _hear_line(self, data: bytes, answer: Callable[[], Answer]) -> bytes:
        if b"\n" in data:
            return reply_line(data, answer())
        self._line = data
        self.over = len(data) > _MOST_LINE
        return b""


def is_http(data: bytes) -> bool:
    """Returns whether a client speaks HTTP: by its first word, as one port serves lines too."""
    return data.startswith(_METHODS)


def reply_line(request: bytes, answer: Answer) -> bytes:
    return b"%s%s %s\n" % (REPLY_MAGIC, _cookie_of(request, REQUEST_MAGIC), _body(answer))


def http_reply(target: str, answer: Answer) -> http.Reply:
    """Returns the reply to a request for ``target``; to one of ours it begins with the request's cookie."""
    ours = target.startswith(HTTP_TARGET)
    cookie = REPLY_MAGIC + _cookie_of(target.encode(), HTTP_TARGET.encode())
    return http.Reply(HTTPStatus.OK, _body(answer), first={REPLY_HEADER: cookie.decode()} if ours else {})


def health_reply(check: HealthCheck) -> http.Reply:
    """Returns what kube-proxy answers at a healthCheckNodePort, whatever the path
    (pkg/proxy/healthcheck/service_health.go, v1.28 and later).
    """
    namespace, _, name = check.service.partition("/")
    count = check.localEndpoints
    body = {
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": count,
        "serviceProxyHealthy": True,
    }
    headers = {"X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": str(count)}
    status = HTTPStatus.OK if count else HTTPStatus.SERVICE_UNAVAILABLE
    return http.Reply(status, json.dumps(body).encode(), headers)


def _cookie_of(request: bytes, magic: bytes) -> bytes:
    """Returns the 16 hex digits of the request's cookie; zeros when it is not one of ours."""
    return request[len(magic) : len(magic) + COOKIE_DIGITS] if request.startswith(magic) else _NO_COOKIE


def _body(answer: Answer) -> bytes:
    row = {name: getattr(answer, name) for name in _NAMES}
    row |= {name: str(getattr(answer, name) or "") for name in _ENDPOINTS}
    if answer.image:
        row["image"] = answer.image
    return json.dumps(row).encode()


# --- the client's side ------------------------------------------------------------------------------------


def request_line(cookie: int) -> bytes:
    """Returns what podwire's own clients send."""
    return b"%s%016x\n" % (REQUEST_MAGIC, cookie)


def http_request(cookie: int, server: Endpoint, *, keep: bool) -> http.Client:
    """Returns what podwire's clients ask a real command; ``keep``: on a connection that is asked again."""
    return http.Client(server, f"{HTTP_TARGET}{cookie:016x}", keep=keep)


def health_request(server: Endpoint) -> http.Client:
    """Returns what a load balancer asks a healthCheckNodePort."""
    return http.Client(server, "/healthz")


def read_reply(data: bytes) -> Answer | None:
    """Returns the answer in a reply line; None when it is not one of ours."""
    return _read_body(data[len(REPLY_MAGIC) + COOKIE_DIGITS :]) if data.startswith(REPLY_MAGIC) else None


def read_http_reply(response: http.Response) -> Answer | None:
    """Returns the answer in the response to an :func:`http_request`; None when it is not one of ours."""
    ours = response.headers.get(REPLY_HEADER.lower(), "").startswith(REPLY_MAGIC.decode())
    return _read_body(response.body) if ours else None


def _read_body(body: bytes) -> Answer | None:
    try:
        row = json.loads(body)
        pod, container, node = (str(row[name]) for name in _NAMES)
        client, dialled, local = (str(row[name]) for name in _ENDPOINTS)
        return Answer(
            pod=pod,
            container=container,
            node=node,
            client=Endpoint.parse(client),
            dialled=Endpoint.parse(dialled) if dialled else None,
            local=Endpoint.parse(local) if local else None,
            image=str(row.get("image", "")),
        )
    except (ValueError, KeyError, TypeError):
        return None


def read_health(response: http.Response) -> Health:
    """Returns the answer to a :func:`health_request`. One that is no kube-proxy says no count."""
    try:
        count = json.loads(response.body)["localEndpoints"]
    except (ValueError, KeyError, TypeError):
        count = None
    return Health(response.status, count if type(count) is int else None)

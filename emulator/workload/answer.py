"""What an echo server says: the words on the wire, made and read. Pure.

A client that speaks HTTP gets an HTTP reply with a JSON body; any other gets one line that begins with
:data:`REPLY_MAGIC` and the cookie of the request (16 hex digits, zeros if it carried none), then the same
JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType

from emulator.cluster.state import HealthCheck
from emulator.model.frames import (
    HTTP_REPLY_MAGIC,
    HTTP_REQUEST_MAGIC,
    REPLY_MAGIC,
    REQUEST_MAGIC,
    Answer,
    Health,
)
from emulator.net import Endpoint

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")
COOKIE_DIGITS = 16
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})\b")
_CONTENT_LENGTH = re.compile(rb"^content-length: *([0-9]{1,9})\r?$", re.IGNORECASE | re.MULTILINE)
_NAMES = ("pod", "container", "node")
_ENDPOINTS = ("client", "dialled", "local")  # "" where one is not known


def is_http(data: bytes) -> bool:
    return data.startswith(_METHODS)


def request_line(cookie: int) -> bytes:
    """What podwire's own clients send."""
    return b"%s%016x\n" % (REQUEST_MAGIC, cookie)


def http_request(cookie: int, ip: str, port: int, *, keep: bool) -> bytes:
    """What podwire's clients ask a real command; ``keep``: on a connection that is asked again."""
    line = b"%s%016x HTTP/1.%d" % (HTTP_REQUEST_MAGIC, cookie, keep)
    lines = (
        f"Host: {Endpoint.of(ip, port)}",
        "User-Agent: podwire",
        "Accept: */*",
        f"Connection: {'keep-alive' if keep else 'close'}",
        "",
        "",
    )
    return b"\r\n".join((line, *(text.encode() for text in lines)))


def cookie_of(data: bytes) -> bytes:
    """The 16 hex digits of the request's cookie; zeros when it is not one of ours."""
    magic = next((magic for magic in (REQUEST_MAGIC, HTTP_REQUEST_MAGIC) if data.startswith(magic)), None)
    return data[len(magic) : len(magic) + COOKIE_DIGITS] if magic else b"0" * COOKIE_DIGITS


def reply_line(request: bytes, answer: Answer) -> bytes:
    return b"%s%s %s\n" % (REPLY_MAGIC, cookie_of(request), _body(answer))


def reply_http(request: bytes, answer: Answer) -> bytes:
    ours = (
        {"X-Podwire": (REPLY_MAGIC + cookie_of(request)).decode()}
        if request.startswith(HTTP_REQUEST_MAGIC)
        else {}
    )
    return _http(request, "200 OK", _body(answer), before=ours)


def reply_health(request: bytes, check: HealthCheck) -> bytes:
    """As kube-proxy answers at a healthCheckNodePort, whatever the path
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
    return _http(
        request, "200 OK" if count else "503 Service Unavailable", json.dumps(body).encode(), headers
    )


def health_request(ip: str, port: int) -> bytes:
    """What a load balancer asks a healthCheckNodePort."""
    lines = (
        "GET /healthz HTTP/1.1",
        f"Host: {Endpoint.of(ip, port)}",
        "User-Agent: podwire",
        "Accept: */*",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def read_health(data: bytes) -> Health | None:
    """The answer to a :func:`health_request`; None while it is not whole, or if it is no HTTP. Whoever is no
    kube-proxy says no count.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    status = _STATUS_LINE.match(head)
    length = _CONTENT_LENGTH.search(head)
    if not (end and status) or len(body) < int(length[1] if length else 0):
        return None
    try:
        count = json.loads(body)["localEndpoints"]
    except (ValueError, KeyError, TypeError):
        count = None
    return Health(int(status[1]), count if type(count) is int else None)


def _http(
    request: bytes,
    status: str,
    body: bytes,
    headers: Mapping[str, str] = MappingProxyType({}),
    before: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The response; its first headers are those of ``before``."""
    lines = {
        **before,
        "Server": "podwire",
        "Content-Type": "application/json",
        "Content-Length": str(len(body) + 1),
        "Connection": "close",
        **headers,
    }
    head = "\r\n".join(
        (f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in lines.items()), "", "")
    ).encode()
    return head if request.startswith(b"HEAD ") else head + body + b"\n"


def _body(answer: Answer) -> bytes:
    row = {name: getattr(answer, name) for name in _NAMES}
    row |= {name: str(getattr(answer, name) or "") for name in _ENDPOINTS}
    return json.dumps(row).encode()


def read_reply(data: bytes) -> Answer | None:
    """The answer in a reply line, or in a response to an :func:`http_request`; None when it is not one of
    ours.
    """
    if data.startswith(REPLY_MAGIC):
        text = data[len(REPLY_MAGIC) + COOKIE_DIGITS :]
    elif data.startswith(HTTP_REPLY_MAGIC):
        text = data.partition(b"\r\n\r\n")[2]
    else:
        return None
    try:
        row = json.loads(text)
        pod, container, node = (str(row[name]) for name in _NAMES)
        client, dialled, local = (str(row[name]) for name in _ENDPOINTS)
        return Answer(
            pod=pod,
            container=container,
            node=node,
            client=Endpoint.parse(client),
            dialled=Endpoint.parse(dialled) if dialled else None,
            local=Endpoint.parse(local) if local else None,
        )
    except (ValueError, KeyError, TypeError):
        return None

"""Counts what probes of containers find, as the kubelet does (pkg/kubelet/prober/worker.go). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

ProbeKind = Literal["startup", "readiness", "liveness"]
KINDS: tuple[ProbeKind, ...] = ("startup", "readiness", "liveness")
_FIELD: Mapping[ProbeKind, str] = {
    "startup": "startupProbe",
    "readiness": "readinessProbe",
    "liveness": "livenessProbe",
}


class HttpGet(NamedTuple):
    """Describes an httpGet: a status from 200 to 399 is a success."""

    port: int
    path: str = "/"
    host: str = ""  # "": the Pod's address
    headers: tuple[tuple[str, str], ...] = ()
    scheme: str = "HTTP"


class TcpSocket(NamedTuple):
    """Describes a tcpSocket: a connection is a success."""

    port: int
    host: str = ""


class Exec(NamedTuple):
    """Describes an exec: exit code 0 is a success."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """Describes a probe; times are in seconds. Defaults are those of core/v1 Probe."""

    kind: ProbeKind
    container: str
    action: HttpGet | TcpSocket | Exec
    delay: float = 0
    period: float = 10
    timeout: float = 1
    successes: int = 1
    failures: int = 3


def find_probes(document: Mapping[str, Any]) -> Iterator[ProbeSpec]:
    """Yields the probes of a Pod's containers. A gRPC probe is none of them (:func:`find_unknown`)."""
    for container in document["spec"].get("containers", ()):
        for kind in KINDS:
            probe = container.get(_FIELD[kind])
            action = _action(container, probe) if probe else None
            if action is not None:
                yield ProbeSpec(
                    kind=kind,
                    container=container["name"],
                    action=action,
                    delay=probe.get("initialDelaySeconds") or 0,
                    period=probe.get("periodSeconds") or 10,
                    timeout=probe.get("timeoutSeconds") or 1,
                    successes=probe.get("successThreshold") or 1,
                    failures=probe.get("failureThreshold") or 3,
                )


def find_unknown(document: Mapping[str, Any]) -> Iterator[str]:
    """Yields the containers with a probe that podwire does not send: gRPC's."""
    for container in document["spec"].get("containers", ()):
        if any((container.get(field) or {}).get("grpc") for field in _FIELD.values()):
            yield container["name"]


def _action(container: Mapping[str, Any], probe: Mapping[str, Any]) -> HttpGet | TcpSocket | Exec | None:
    if http := probe.get("httpGet"):
        headers = tuple((str(one["name"]), str(one["value"])) for one in http.get("httpHeaders") or ())
        port = _port(container, http.get("port"))
        path = http.get("path") or "/"
        return HttpGet(port, path, http.get("host") or "", headers, http.get("scheme") or "HTTP")
    if tcp := probe.get("tcpSocket"):
        return TcpSocket(_port(container, tcp.get("port")), tcp.get("host") or "")
    if command := (probe.get("exec") or {}).get("command"):
        return Exec(tuple(map(str, command)))
    return None


def _port(container: Mapping[str, Any], port: Any) -> int:
    """Returns the number of a port: by number, or by the name of a container port (0: there is none)."""
    if isinstance(port, int):
        return port
    ports = container.get("ports") or ()
    return next((int(one["containerPort"]) for one in ports if one.get("name") == port), 0)


@dataclass(slots=True)
class Streak:
    """Counts the results of one probe in a row. ``good`` is what they say so far; it changes when enough of
    them agree.
    """

    spec: ProbeSpec
    good: bool
    _last: bool | None = None
    _count: int = 0

    def begin_anew(self) -> None:
        """Forgets all results: the container was started again."""
        self.good, self._last, self._count = self.spec.kind == "liveness", None, 0

    def note(self, good: bool) -> bool:
        """Takes a result; returns whether as many in a row agree as it takes to say so."""
        self._count = self._count + 1 if good is self._last else 1
        self._last = good
        enough = self._count >= (self.spec.successes if good else self.spec.failures)
        if enough:
            self.good = good
        return enough

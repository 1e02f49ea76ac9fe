"""Builds topologies that are written in Python. The builder reads like Mininet's and writes manifests. May
import ``objects`` and the standard library.

A topology is a module with ``def build(cluster: Cluster) -> None``; the first line of its docstring is its
question. Each call adds one manifest as plain data. It then passes the same schema and rules as every other
manifest, and a problem names the line of the call that wrote it.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

from .faults import FieldPath, cut
from .schema import OURS

Ports: TypeAlias = Sequence[int | str] | Mapping[str, int | str]
"""A container's ports: ``[8080, "53/UDP"]``, or with names ``{"http": 8080, "dns": "53/UDP"}``."""


class TopologyError(Exception):
    """Reports a topology module that cannot be built, at ``line`` (0: not known), with a hint."""

    def __init__(self, what: str, *, line: int = 0, hint: str = "") -> None:
        self.what, self.line, self.hint = what, line, hint
        super().__init__(what)


@dataclass(slots=True)
class Declared:
    """Holds the manifest, or YAML text, that one call wrote. ``label`` names it in problems. ``lines`` maps
    each field to the line of the call that wrote it.
    """

    label: str
    value: Any
    lines: dict[FieldPath, int] = field(default_factory=dict)


class Cluster:
    """Collects the manifests that a topology's ``build`` writes. An argument that is left out has Kubernetes'
    or podwire's default.
    """

    def __init__(self) -> None:
        self.written: list[Declared] = []
        self._shape: dict[str, Any] = {"apiVersion": OURS, "kind": "Cluster"}
        self._shape_written: Declared | None = None

    # --- the cluster's shape

    def networking(
        self,
        *,
        pod_subnet: str | None = None,
        service_subnet: str | None = None,
        host_subnet: str | None = None,
        pod_network: str | None = None,
        proxy_mode: str | None = None,
    ) -> None:
        """Sets the prefixes (CIDR) of the three networks, how Pods are connected (``kubenet``), and
        kube-proxy's mode.
        """
        said = {
            "podSubnet": pod_subnet,
            "serviceSubnet": service_subnet,
            "hostSubnet": host_subnet,
            "podNetwork": pod_network,
            "kubeProxyMode": proxy_mode,
        }
        self._of_shape(("networking",))
        self._shape.setdefault("networking", {}).update(_said(said))

    def node(
        self,
        name: str = "",
        *,
        role: str = "worker",
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, str]] = (),
        pod_cidr: str = "",
        addresses: Sequence[str] = (),
    ) -> None:
        """Adds a node; without a name it gets one from its role. ``addresses`` are its InternalIPs, the
        primary one first.
        """
        said = {
            "name": name,
            "role": role,
            "labels": labels,
            "taints": taints,
            "podCIDR": pod_cidr,
            "addresses": addresses,
        }
        self._entry_of_shape("nodes", _said(said))

    def external_client(self, name: str, address: str) -> None:
        """Adds a client outside the cluster, behind the upstream router."""
        self._entry_of_shape("externalClients", {"name": name, "address": address})

    def external_server(self, name: str, address: str, *, ports: Mapping[int, str] | Sequence[int]) -> None:
        """Adds a machine outside the cluster that serves ``ports``: numbers of TCP ports, or number →
        protocol.
        """
        pairs = ports.items() if isinstance(ports, Mapping) else ((port, "TCP") for port in ports)
        rows = [{"port": port, "protocol": protocol} for port, protocol in pairs]
        self._entry_of_shape("externalServers", {"name": name, "address": address, "ports": rows})

    def load_balancer(self, *, addresses: Sequence[str] = (), mode: str = "L2") -> None:
        """Sets the pool of load-balancer addresses (prefixes, or ``first-last``), which nodes announce
        (``L2``) or a balancer in the path holds (``Proxy``).
        """
        self._of_shape(("loadBalancer",))
        self._shape["loadBalancer"] = _said({"addresses": addresses, "mode": mode})

    # --- Kubernetes' objects

    def namespace(self, name: str, *, labels: Mapping[str, str] | None = None) -> None:
        self._write("v1", "Namespace", name, {"labels": labels})

    def pod(
        self,
        name: str,
        *,
        ports: Ports = (),
        containers: Mapping[str, Ports] | None = None,
        node: str = "",
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        node_selector: Mapping[str, str] | None = None,
        host_network: bool = False,
    ) -> None:
        """Adds a Pod of one container that serves ``ports``, or of several (``containers``: name → ports),
        with the label ``app: name``.
        """
        spec = _pod_spec(
            name, ports, containers, node=node, node_selector=node_selector, host_network=host_network
        )
        meta = {
            "namespace": namespace,
            "labels": _app(name) if labels is None else labels,
            "annotations": annotations,
        }
        self._write("v1", "Pod", name, meta, spec=spec)

    def deployment(
        self,
        name: str,
        *,
        replicas: int = 1,
        ports: Ports = (),
        containers: Mapping[str, Ports] | None = None,
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        node_selector: Mapping[str, str] | None = None,
        host_network: bool = False,
    ) -> None:
        """Adds a Deployment of ``replicas`` Pods. ``labels`` (``app: name``) and ``annotations`` are those of
        its Pods.
        """
        spec = _pod_spec(name, ports, containers, node_selector=node_selector, host_network=host_network)
        self._workload("Deployment", name, namespace, spec, labels, annotations, {"replicas": replicas})

    def statefulset(
        self,
        name: str,
        *,
        replicas: int = 1,
        service_name: str = "",
        ports: Ports = (),
        containers: Mapping[str, Ports] | None = None,
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        node_selector: Mapping[str, str] | None = None,
        host_network: bool = False,
    ) -> None:
        """Adds a StatefulSet with the Pods ``name-0``, ``name-1``…; ``service_name`` (``name``) is the
        headless Service that governs them.
        """
        spec = _pod_spec(name, ports, containers, node_selector=node_selector, host_network=host_network)
        more = {"replicas": replicas, "serviceName": service_name or name}
        self._workload("StatefulSet", name, namespace, spec, labels, annotations, more)

    def daemonset(
        self,
        name: str,
        *,
        ports: Ports = (),
        containers: Mapping[str, Ports] | None = None,
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        node_selector: Mapping[str, str] | None = None,
        host_network: bool = False,
    ) -> None:
        """Adds a DaemonSet: one Pod on every node whose taints it tolerates."""
        spec = _pod_spec(name, ports, containers, node_selector=node_selector, host_network=host_network)
        self._workload("DaemonSet", name, namespace, spec, labels, annotations, {})

    def service(
        self,
        name: str,
        *,
        port: int | None = None,
        target_port: int | str | None = None,
        node_port: int | None = None,
        protocol: str | None = None,
        ports: Sequence[Mapping[str, Any]] = (),
        selector: Mapping[str, str] | None = None,
        type: str = "ClusterIP",
        headless: bool = False,
        cluster_ip: str = "",
        external_traffic_policy: str = "",
        internal_traffic_policy: str = "",
        session_affinity: str = "",
        external_ips: Sequence[str] = (),
        publish_not_ready_addresses: bool = False,
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Adds a Service for the Pods that carry ``selector`` (default ``app: name``; ``{}``: no selector,
        its EndpointSlices are given).

        One port by ``port``, ``target_port``, ``node_port`` and ``protocol``; several as entries of ``ports``
        in Kubernetes' own form.
        """
        one = _said({"port": port, "targetPort": target_port, "nodePort": node_port, "protocol": protocol})
        if one and ports:
            raise ValueError(f"service {name!r}: give port or ports, not both")
        spec = {
            "type": type,
            "selector": _app(name) if selector is None else selector,
            "clusterIP": "None" if headless else cluster_ip,
            "ports": [one] if one else ports,
            "externalTrafficPolicy": external_traffic_policy,
            "internalTrafficPolicy": internal_traffic_policy,
            "sessionAffinity": session_affinity,
            "externalIPs": external_ips,
            "publishNotReadyAddresses": publish_not_ready_addresses,
        }
        self._write(
            "v1",
            "Service",
            name,
            {"namespace": namespace, "labels": labels, "annotations": annotations},
            spec=_said(spec),
        )

    def flow_check(
        self,
        name: str,
        flows: Sequence[Mapping[str, Any]] = (),
        *,
        steps: Sequence[Mapping[str, Any]] = (),
        namespace: str = "default",
        derive: bool = False,
    ) -> None:
        """Adds a FlowCheck; ``flows`` and ``steps`` have the form that its manifest has. ``derive``: the
        flows that the objects call for are sent as well.
        """
        spec = {"derive": derive, "flows": flows, "steps": steps}
        self._write(OURS, "FlowCheck", name, {"namespace": namespace}, spec=spec)

    def manifest(self, manifest: Mapping[str, Any] | str) -> None:
        """Adds a manifest of any kind: as data, or as YAML text of one or several."""
        self.written.append(Declared("manifest", manifest, {(): _caller_line()}))

    # --- how it is kept

    def _workload(
        self,
        kind: str,
        name: str,
        namespace: str,
        pod_spec: Mapping[str, Any],
        labels: Mapping[str, str] | None,
        annotations: Mapping[str, str] | None,
        more: Mapping[str, Any],
    ) -> None:
        labels = _app(name) if labels is None else labels
        template = {"metadata": _said({"labels": labels, "annotations": annotations}), "spec": pod_spec}
        spec = {**more, "selector": {"matchLabels": labels}, "template": template}
        self._write("apps/v1", kind, name, {"namespace": namespace, "labels": labels}, spec=spec)

    def _write(self, api_version: str, kind: str, name: str, meta: Mapping[str, Any], **rest: Any) -> None:
        value = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **_said(meta)}, **rest}
        self.written.append(Declared(f'{kind.lower()} "{cut(str(name))}"', value, {(): _caller_line()}))

    def _of_shape(self, path: FieldPath) -> None:
        if self._shape_written is None:
            self._shape_written = Declared("cluster", self._shape, {(): _caller_line()})
            self.written.append(self._shape_written)
        self._shape_written.lines[path] = _caller_line()

    def _entry_of_shape(self, name: str, entry: Mapping[str, Any]) -> None:
        entries = self._shape.setdefault(name, [])
        self._of_shape((name, len(entries)))
        entries.append(entry)


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns only the fields that were given a value."""
    return {
        key: value
        for key, value in fields.items()
        if value is not None and value is not False and value not in ("", (), {}, [])
    }


def _app(name: str) -> dict[str, str]:
    return {"app": name}


def _pod_spec(
    name: str, ports: Ports, containers: Mapping[str, Ports] | None, *, node: str = "", **more: Any
) -> dict[str, Any]:
    if ports and containers is not None:
        raise ValueError(f"{name!r}: give ports or containers, not both")
    served = {name: ports} if containers is None else containers
    spec = {
        "nodeName": node,
        "nodeSelector": more["node_selector"],
        "hostNetwork": more["host_network"],
        "containers": [
            _said({"name": container, "ports": _container_ports(its)}) for container, its in served.items()
        ],
    }
    return _said(spec)


def _container_ports(ports: Ports) -> list[dict[str, Any]]:
    named = ports.items() if isinstance(ports, Mapping) else [("", port) for port in ports]
    return [_said({"name": name, **_container_port(port)}) for name, port in named]


def _container_port(port: int | str) -> dict[str, Any]:
    if isinstance(port, str):
        number, slash, protocol = port.partition("/")
        return {
            "containerPort": int(number) if number.isdecimal() else number,
            "protocol": protocol if slash else None,
        }
    return {"containerPort": port}


def _caller_line() -> int:
    """Returns the line of the topology that called the builder."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals is globals():
        frame = frame.f_back
    return frame.f_lineno


# --- topology modules -------------------------------------------------------------------------------------


def build_topology(path: Path) -> list[Declared]:
    """Runs the topology module at ``path`` and returns what it wrote. Raises TopologyError, also for every
    exception of the module.
    """
    name = f"podwire_topology_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TopologyError("is no Python module")
    module = importlib.util.module_from_spec(spec)
    cluster = Cluster()
    sys.modules[name] = module  # dataclasses look their module up
    # no __pycache__ beside the user's file
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with redirect_stdout(sys.stderr):  # prints of the module are no part of a report
            spec.loader.exec_module(module)
            build = getattr(module, "build", None)
            if not callable(build):
                raise TopologyError("has no function build", hint="def build(cluster: Cluster) -> None")
            build(cluster)
    except TopologyError:
        raise
    except SyntaxError as error:
        raise TopologyError(f"is not valid Python: {error.msg}", line=error.lineno or 0) from error
    except (Exception, SystemExit) as error:
        own = os.path.abspath(path)
        frames = [
            frame.lineno or 0
            for frame in traceback.extract_tb(error.__traceback__)
            if os.path.abspath(frame.filename) == own
        ]
        raise TopologyError(
            f"raised {type(error).__name__}: {cut(str(error))}", line=frames[-1] if frames else 0
        ) from error
    finally:
        sys.modules.pop(name, None)
        sys.dont_write_bytecode = writes_bytecode
    return cluster.written


def question_of(path: Path) -> str:
    """Returns the question that the topology at ``path`` asks, "" if there is none: the first line of a
    module's docstring or of a directory's README, or the first comment of a YAML file up to its question
    mark.
    """
    if path.is_dir():
        readme = path / "README.md"
        if readme.is_file():
            return _first_line(_text(readme).replace("#", ""))
        files = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml"))
        return question_of(files[0]) if files else ""
    if path.suffix == ".py":
        try:
            return _first_line(ast.get_docstring(ast.parse(_text(path))) or "")
        except (SyntaxError, ValueError):
            return ""
    lines = [line.strip() for line in _text(path).splitlines() if line.strip() not in ("", "---")]
    comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
    question, mark, _ = comment.partition("?")
    return (question + mark).strip()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")

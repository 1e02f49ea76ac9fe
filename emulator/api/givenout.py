"""Refuses ClusterIPs and node ports that a Service cannot have: outside their range, or somebody else's.

The controllers give out what a Service does not name (:mod:`emulator.controllers.services`); this checks
what it does, before it is written, in the words of kube-apiserver (k/k pkg/registry/core/service/storage,
alloc.go; pkg/registry/core/service/ipallocator and portallocator).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..net import AddressError, Prefix, parse_sloppy
from ..objects.kinds import Service
from ..store.store import Store
from .structural import Violation
from .validation import invalid

_TAKEN_ADDRESS = "provided IP is already allocated"


@dataclass(frozen=True, slots=True)
class GivenOut:
    """Holds the ranges: ``services`` of ClusterIPs, None where every address may be one."""

    services: Prefix | None = None
    node_ports: range = range(30000, 32768)

    def violations(self, new: Mapping[str, Any], old: Mapping[str, Any], store: Store) -> Iterator[Violation]:
        """Yields what the Service ``new`` asks for in vain. ``old``: the Service before, {} if it is new."""
        spec, before = _map(new.get("spec")), _map(old.get("spec"))
        had = {one for one in (before.get("clusterIP"), *_list(before.get("clusterIPs"))) if one}
        given = _list(spec.get("clusterIPs")) or [spec.get("clusterIP")]
        asked = [one for one in given if isinstance(one, str) and one not in ("", "None", *had)]
        ports = {(one.get("nodePort"), one.get("protocol")) for one in _maps(before.get("ports"))}
        wanted = [
            (index, one["nodePort"], str(one.get("protocol")))
            for index, one in enumerate(_maps(spec.get("ports")))
            if one.get("nodePort") and (one["nodePort"], one.get("protocol")) not in ports
        ]
        if not asked and not wanted:
            return
        metadata = _map(new.get("metadata"))
        own = (metadata.get("namespace"), metadata.get("name"))
        others = [
            one.object
            for one in store.list("Service")
            if isinstance(one.object, Service) and (one.key.namespace, one.key.name) != own
        ]
        taken = {ip for one in others for ip in (one.spec.clusterIP, *one.spec.clusterIPs)}
        for ip in asked:
            why = _TAKEN_ADDRESS if ip in taken else self._outside(ip)
            if why:
                yield invalid("spec.clusterIPs", given, f"failed to allocate IP {ip}: {why}")
        claimed = {(port.nodePort, port.protocol) for one in others for port in one.spec.ports}
        claimed |= {(one.spec.healthCheckNodePort, "TCP") for one in others}
        for index, number, protocol in wanted:
            field = f"spec.ports[{index}].nodePort"
            if number not in self.node_ports:
                low, high = self.node_ports.start, self.node_ports.stop - 1
                words = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
                yield invalid(field, number, words)
            elif (number, protocol) in claimed:
                yield invalid(field, number, "provided port is already allocated")

    def _outside(self, ip: str) -> str:
        try:
            address = parse_sloppy(ip)
        except AddressError:
            return ""  # told already
        if self.services is None or address.family is not self.services.family:
            return ""
        if address not in self.services:
            return "the provided network does not match the current range"
        return "" if self.services.has_host(address) else "provided IP is not in the valid range"


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, Mapping)]

"""Names the object and the field that caused a rule, its origin. Pure.

Origins are made only when they are asked for: rules are made with :data:`UNASKED`, and explained with the
origins of their Service. Fields are spelled as ``kubectl explain`` takes them. A rule without an origin is
the same whatever the objects are, or follows from the settings of kube-proxy or the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..net import Address
from ..objects.kinds import EndpointSlice
from ..objects.references import ObjectRef, service_ref
from .rules import Rule

CLUSTER_IPS = "spec.clusterIPs"
EXTERNAL_IPS = "spec.externalIPs"
BALANCER_IPS = "status.loadBalancer.ingress"
NODE_PORT = "spec.ports.nodePort"
HEALTH_CHECK = "spec.healthCheckNodePort"
INTERNAL_POLICY = "spec.internalTrafficPolicy"
EXTERNAL_POLICY = "spec.externalTrafficPolicy"
SOURCE_RANGES = "spec.loadBalancerSourceRanges"
AFFINITY = "spec.sessionAffinity"


class Explained(NamedTuple):
    """Holds a rule, an element of a set or a server as the command that makes it, with its origin."""

    command: str
    origin: ObjectRef | None


class Origins:
    """Names the origins of one Service's rules: none here, since they are not asked for."""

    def of(self, field: str) -> ObjectRef | None:
        """Returns the reference to ``field`` of the Service."""

    def endpoint(self, ip: Address, port: int) -> ObjectRef | None:
        """Returns the reference to the first EndpointSlice that has the endpoint."""


UNASKED = Origins()


class ServiceOrigins(Origins):
    """Names the origins of the rules of the Service ``key``, which has ``slices``."""

    def __init__(self, key: str, slices: Sequence[EndpointSlice]) -> None:
        self._key = key
        self._slices = slices

    def of(self, field: str) -> ObjectRef:
        return service_ref(self._key, field)

    def endpoint(self, ip: Address, port: int) -> ObjectRef | None:
        for item in self._slices:
            if any(one.port == port for one in item.ports) and any(
                ip in endpoint.addresses[:1] for endpoint in item.endpoints
            ):
                return ObjectRef(
                    "EndpointSlice", f"{item.metadata.namespace}/{item.metadata.name}", "endpoints"
                )
        return None


def explained(rule: Rule) -> Explained:
    """Returns a rule of iptables as it is shown."""
    return Explained(f"iptables -t {rule.table} -A {rule.chain} {rule.text}", rule.origin)

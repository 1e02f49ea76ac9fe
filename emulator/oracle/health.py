"""Finds healthCheckNodePorts and what they answer (docs/semantics 10).

Counts the EndpointSlices themselves, not what the servers are told to say. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..cluster.state import ClusterState
from ..model.flows import Client, Destination
from ..model.frames import Health
from ..model.reasons import Reason, Why
from ..objects.kinds import Service
from ..objects.references import node_ref, service_ref
from .parties import Owner


class HealthChecks:
    """Holds the health checks of one cluster state. ``services``: port → the Service that has it."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self.services: Mapping[int, Service] = {
            s.spec.healthCheckNodePort: s for s in state.services if s.spec.healthCheckNodePort
        }
        taken = {(x.node, x.port) for x in state.listeners if x.healthCheck and x.refused}
        self._asked = {(node.name, port) for node in state.nodes for port in self.services} - taken

    def at(self, node: str, port: int, protocol: str) -> Service | None:
        """Returns the Service whose health check answers at ``port`` of ``node``; None where none does, or
        another server had the port first.
        """
        return self.services[port] if protocol == "TCP" and (node, port) in self._asked else None

    def promise(self, client: Client, to: Destination, owner: Owner | None) -> tuple[Health, Reason] | None:
        """Returns what ``to``, whose address is ``owner``'s, answers ``client``, and the reason; None where
        that is no health check.
        """
        node = client.node if owner is None else owner.node
        service = self.at(node, to.port, "TCP")
        if to.how != "healthCheck" or service is None:
            return None
        count = self._ready_on(node, service)
        health = Health(200 if count else 503, count)
        checked = service_ref(service.key, "spec.healthCheckNodePort")
        return health, Reason(why=Why.HEALTH_CHECK, objects=(checked, node_ref(node)), health=health)

    def _ready_on(self, node: str, service: Service) -> int:
        """Returns how many addresses of ready endpoints there are on ``node``, each once, whichever of the
        Service's ports they are for.
        """
        return len(
            {
                endpoint.addresses[0]
                for item in self._state.slices_of.get(service.key, ())
                if item.addressType == self._state.family.word and any(port.port for port in item.ports)
                for endpoint in item.endpoints
                if endpoint.ready and endpoint.nodeName == node
            }
        )

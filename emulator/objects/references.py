"""Names objects and their fields: references. Pure."""

from __future__ import annotations

from typing import NamedTuple


class ObjectRef(NamedTuple):
    """Describes a reference to an object, or to one of its fields.

    ``kind`` is the Kubernetes or podwire kind, ``name`` is ``namespace/name`` (the name alone where the kind
    has no namespaces), ``field`` the path of the field ("" for the whole object).
    """

    kind: str
    name: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" {self.field}" if self.field else "")


def service_ref(key: str, field: str = "") -> ObjectRef:
    """Returns the reference to the Service ``key`` (namespace/name)."""
    return ObjectRef("Service", key, field)


def node_ref(name: str) -> ObjectRef:
    """Returns the reference to the Node ``name``."""
    return ObjectRef("Node", name)

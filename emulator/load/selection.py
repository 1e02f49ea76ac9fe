"""Applies ``-n`` and ``-l`` of kubectl to what is read: a namespace for objects that name none, and labels
that objects must have. Pure.

Both concern the objects of Kubernetes. Nodes, kube-proxy's configuration, MetalLB's pools and podwire's own
kinds describe the cluster and what is asked of it: ``-l`` never leaves them out. A FlowCheck's references get
the namespace as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import worded
from ..objects.kinds import LabelSelector
from ..objects.selectors import matches
from .faults import Fault, shown
from .schema import Kind, is_cluster_scoped

_REFERENCES = ("from", "to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Holds both options. ``namespace`` "": Kubernetes' ``default``; ``selector`` None: every object.
    ``labels`` is the selector as it was written.
    """

    namespace: str = ""
    selector: LabelSelector | None = None
    labels: str = ""

    def takes(self, kind: Kind | None, value: Mapping[str, Any]) -> bool:
        """Returns whether ``value``, of ``kind`` (None: one without a meaning here), is read."""
        if self.selector is None or (kind and (kind.exact or kind.name == "Node")):
            return True
        labels = _mapping(_mapping(value).get("metadata")).get("labels")
        return matches(self.selector, {str(key): str(text) for key, text in _mapping(labels).items()})

    def is_namespaced(self, kind: Kind | None, value: Mapping[str, Any]) -> bool:
        """Returns whether the namespace concerns ``value``."""
        if not self.namespace:
            return False
        if kind:
            return kind.namespaced
        return not is_cluster_scoped(str(value.get("kind")), str(value.get("apiVersion")))

    def place(self, kind: Kind | None, value: Mapping[str, Any]) -> tuple[Mapping[str, Any], Fault | None]:
        """Returns ``value`` in the namespace, and what is wrong if it names another one: kubectl refuses
        that, too.
        """
        meta = value.get("metadata")
        if not self.is_namespaced(kind, value) or not isinstance(meta, dict):
            return value, None
        if kind and kind.name == "FlowCheck":
            value = {**value, "spec": self._in_spec(value.get("spec"))}
        named = meta.get("namespace")
        if named in (None, ""):
            return {**value, "metadata": {**meta, "namespace": self.namespace}}, None
        if named == self.namespace or not isinstance(named, str):
            return value, None
        what = worded("is {}, and -n says {}: kubectl apply refuses it", shown(named), self.namespace)
        hint = "leave -n out, and name the namespace in the objects that have none"
        return value, Fault(("metadata", "namespace"), what, hint)

    def _in_spec(self, spec: Any) -> Any:
        """Returns the spec of a FlowCheck whose references have the namespace."""
        if not isinstance(spec, dict):
            return spec
        spec = {**spec, **self._each(spec, "flows", self._in_flow)}
        return {**spec, **self._each(spec, "steps", self._in_step)}

    def _in_step(self, step: Mapping[str, Any]) -> Mapping[str, Any]:
        one = {key: self._filled(step[key]) for key in ("scale", "terminate") if key in step}
        return {
            **step,
            **one,
            **self._each(step, "delete", self._filled),
            **self._each(step, "flows", self._in_flow),
        }

    def _in_flow(self, flow: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**flow, **{key: self._filled(flow[key]) for key in _REFERENCES if key in flow}}

    def _filled(self, reference: Any) -> Any:
        return {"namespace": self.namespace, **reference} if isinstance(reference, dict) else reference

    def _each(self, value: Mapping[str, Any], key: str, change: Any) -> Mapping[str, Any]:
        """Returns the list ``value[key]``, changed item by item; nothing if there is none."""
        items = value.get(key)
        if not isinstance(items, list):
            return {}
        return {key: [change(item) if isinstance(item, dict) else item for item in items]}


EVERYTHING = Selection()


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}

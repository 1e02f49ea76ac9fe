"""Finds what podwire reads inside ConfigMaps: kube-proxy's configuration, and MetalLB's of before v0.13.

Where kube-proxy's stands: kubeadm (and k0s, minikube, kind) has kube-system/kube-proxy, key ``config.conf``;
EKS has kube-system/kube-proxy-config, key ``config``. MetalLB read ``config`` of metallb-system/config
(metallb v0.12, ``internal/config/config.go``); newer releases read IPAddressPools alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

METALLB_OBJECTS = "metallb.io/v1beta1"
ADDRESS_POOLS = ("metallb.io/v1alpha1", "metallb.io/v1beta1")


def texts_of(value: Mapping[str, Any]) -> tuple[str, str, dict[str, str]]:
    """Returns namespace, name and texts of a ConfigMap ("" and no texts for other objects)."""
    meta, data = value.get("metadata"), value.get("data")
    names = [meta.get(key) if isinstance(meta, dict) else None for key in ("namespace", "name")]
    namespace, name = (text if isinstance(text, str) else "" for text in names)
    texts = (
        {str(key): text for key, text in data.items() if isinstance(text, str)}
        if isinstance(data, dict)
        else {}
    )
    return namespace, name, texts


def kube_proxy_key(value: Mapping[str, Any]) -> str:
    """Returns the key under which a ConfigMap has kube-proxy's configuration ("" if it has none)."""
    namespace, name, texts = texts_of(value)
    if namespace != "kube-system" or not name.startswith("kube-proxy"):
        return ""
    return next((key for key, text in texts.items() if "KubeProxyConfiguration" in text), "")


def metallb_key(value: Mapping[str, Any]) -> str:
    """Returns the key under which a ConfigMap has MetalLB's address pools ("" if it has none)."""
    namespace, name, texts = texts_of(value)
    if not (namespace.startswith("metallb") or "metallb" in name):
        return ""
    return next((key for key, text in texts.items() if "address-pools" in text), "")


def address_pool_objects(pool: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields today's objects for a MetalLB AddressPool (metallb v0.13, ``internal/config``: poolsFor and
    l2AdvertisementsFor read it beside them).
    """
    spec, meta = pool.get("spec"), pool.get("metadata")
    if not isinstance(spec, dict) or not isinstance(meta, dict):
        yield {**pool, "apiVersion": METALLB_OBJECTS, "kind": "IPAddressPool"}
        return
    own = {key: value for key, value in spec.items() if key not in ("protocol", "bgpAdvertisements")}
    yield {**pool, "apiVersion": METALLB_OBJECTS, "kind": "IPAddressPool", "spec": own}
    if spec.get("protocol") == "layer2":
        name = meta.get("name")
        named = {"name": f"{name}.address-pool", "namespace": meta.get("namespace")}
        yield {
            "apiVersion": METALLB_OBJECTS,
            "kind": "L2Advertisement",
            "metadata": {key: value for key, value in named.items() if value is not None},
            "spec": {"ipAddressPools": [name]},
        }


def metallb_objects(configuration: Mapping[str, Any], namespace: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields today's objects for MetalLB's ConfigMap, each with the number of its pool."""
    pools = configuration.get("address-pools")
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        if not isinstance(pool, dict):
            continue
        meta = {"name": pool.get("name"), "namespace": namespace}
        renamed = {"addresses": "addresses", "auto-assign": "autoAssign", "avoid-buggy-ips": "avoidBuggyIPs"}
        spec = {new: pool[old] for old, new in renamed.items() if old in pool}
        yield index, {"apiVersion": METALLB_OBJECTS, "kind": "IPAddressPool", "metadata": meta, "spec": spec}
        if pool.get("protocol") == "layer2":
            announced = {"ipAddressPools": [pool.get("name")]}
            yield (
                index,
                {
                    "apiVersion": METALLB_OBJECTS,
                    "kind": "L2Advertisement",
                    "metadata": meta,
                    "spec": announced,
                },
            )

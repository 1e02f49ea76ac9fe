"""Lists the kinds that podwire does not read and that change where packets go. Pure: tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..objects.warnings import Code

_MOST_DEEP = 6  # mappings between an object's spec and the containers of its Pods

# Kinds that deny packets, by API group ("": whatever the group).
_POLICIES: Mapping[str, frozenset[str]] = {
    "networking.k8s.io": frozenset({"NetworkPolicy"}),
    "extensions": frozenset({"NetworkPolicy"}),
    "policy.networking.k8s.io": frozenset(
        {"AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"}
    ),
    "cilium.io": frozenset({"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"}),
    "crd.projectcalico.org": frozenset({"NetworkPolicy", "GlobalNetworkPolicy"}),
    "projectcalico.org": frozenset({"NetworkPolicy", "GlobalNetworkPolicy"}),
    "crd.antrea.io": frozenset({"NetworkPolicy", "ClusterNetworkPolicy"}),
    "security.istio.io": frozenset({"AuthorizationPolicy", "PeerAuthentication"}),
}

# Kinds that lead packets somewhere.
_TRAFFIC_RULES: Mapping[str, frozenset[str]] = {
    "networking.k8s.io": frozenset({"Ingress"}),
    "extensions": frozenset({"Ingress"}),
    "gateway.networking.k8s.io": frozenset(
        {"Gateway", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute"}
    ),
    "networking.istio.io": frozenset(
        {"Gateway", "VirtualService", "DestinationRule", "ServiceEntry", "EnvoyFilter", "Sidecar"}
    ),
    "traefik.io": frozenset({"IngressRoute", "IngressRouteTCP", "IngressRouteUDP"}),
    "traefik.containo.us": frozenset({"IngressRoute", "IngressRouteTCP", "IngressRouteUDP"}),
    "projectcontour.io": frozenset({"HTTPProxy"}),
    "route.openshift.io": frozenset({"Route"}),
    "k8s.nginx.org": frozenset({"VirtualServer", "VirtualServerRoute", "TransportServer"}),
    "multicluster.x-k8s.io": frozenset({"ServiceExport", "ServiceImport"}),
}

# Kinds whose operators make Pods, though no template of a Pod stands in them.
_POD_MAKERS: Mapping[str, frozenset[str]] = {
    "batch": frozenset({"CronJob"}),
    "monitoring.coreos.com": frozenset({"Prometheus", "PrometheusAgent", "Alertmanager", "ThanosRuler"}),
    "kafka.strimzi.io": frozenset({"Kafka", "KafkaNodePool", "KafkaConnect", "KafkaBridge"}),
    "elasticsearch.k8s.elastic.co": frozenset({"Elasticsearch"}),
    "kibana.k8s.elastic.co": frozenset({"Kibana"}),
    "logstash.k8s.elastic.co": frozenset({"Logstash"}),
    "postgresql.cnpg.io": frozenset({"Cluster", "Pooler"}),
    "acid.zalan.do": frozenset({"postgresql"}),
    "postgres-operator.crunchydata.com": frozenset({"PostgresCluster"}),
    "rabbitmq.com": frozenset({"RabbitmqCluster"}),
    "redis.redis.opstreelabs.in": frozenset({"Redis", "RedisCluster", "RedisReplication"}),
    "mongodbcommunity.mongodb.com": frozenset({"MongoDBCommunity"}),
    "mysql.oracle.com": frozenset({"InnoDBCluster"}),
    "pxc.percona.com": frozenset({"PerconaXtraDBCluster"}),
    "ceph.rook.io": frozenset({"CephCluster", "CephObjectStore", "CephFilesystem"}),
    "kubevirt.io": frozenset({"VirtualMachine", "VirtualMachineInstance"}),
    "serving.knative.dev": frozenset({"Service", "Configuration"}),
    "minio.min.io": frozenset({"Tenant"}),
    "jaegertracing.io": frozenset({"Jaeger"}),
    "opentelemetry.io": frozenset({"OpenTelemetryCollector"}),
    "operator.tigera.io": frozenset({"Installation", "APIServer"}),
    "install.istio.io": frozenset({"IstioOperator"}),
    "keda.sh": frozenset({"ScaledJob"}),
    "ray.io": frozenset({"RayCluster", "RayService", "RayJob"}),
    "sparkoperator.k8s.io": frozenset({"SparkApplication"}),
    "jobset.x-k8s.io": frozenset({"JobSet"}),
    "leaderworkerset.x-k8s.io": frozenset({"LeaderWorkerSet"}),
}
_NO_POD_MAKERS = frozenset({"CustomResourceDefinition", "PodTemplate", "ControllerRevision"})


def classify(kind: str, api_version: str, manifest: Mapping[str, Any]) -> Code | None:
    """Returns the code of the warning about an object of a kind that is left out; None where leaving it out
    changes no packet, as far as is known.
    """
    group = api_version.rpartition("/")[0]
    if kind in _POLICIES.get(group, ()):
        return Code.POLICY
    if kind in _TRAFFIC_RULES.get(group, ()):
        return Code.TRAFFIC_RULE
    if kind in _POD_MAKERS.get(group, ()):
        return Code.POD_MAKER
    made = kind not in _NO_POD_MAKERS and _has_containers(manifest.get("spec"), _MOST_DEEP)
    return Code.POD_MAKER if made else None


def _has_containers(value: Any, deep: int) -> bool:
    """Returns whether a Pod's template stands in ``value``, in mappings alone."""
    if not isinstance(value, Mapping) or not deep:
        return False
    containers = value.get("containers")
    if isinstance(containers, list) and any(
        isinstance(one, Mapping) and "image" in one for one in containers
    ):
        return True
    return any(_has_containers(inner, deep - 1) for inner in value.values())

"""Tests the environment variables of Services against the example of Kubernetes' own documentation."""

from __future__ import annotations

from emulator.objects.kinds import ObjectMeta, Service, ServicePort, ServiceSpec
from emulator.workload.servicevars import service_variables


def service(name: str, ip: str, *ports: ServicePort, namespace: str = "default") -> Service:
    meta = ObjectMeta(name=name, namespace=namespace)
    return Service(metadata=meta, spec=ServiceSpec(clusterIP=ip, clusterIPs=(ip,), ports=ports))


PRIMARY = service("redis-primary", "10.0.0.11", ServicePort(port=6379))
KUBERNETES = service("kubernetes", "10.96.0.1", ServicePort(port=443, name="https"))


def test_the_variables_are_those_of_the_documentation() -> None:
    assert service_variables([PRIMARY], "default") == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
    }


def test_named_ports_have_a_variable_each() -> None:
    found = service_variables([KUBERNETES], "default")
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_other_namespaces_see_the_api_alone() -> None:
    found = service_variables([PRIMARY, KUBERNETES], "shop")
    assert {name.partition("_")[0] for name in found} == {"KUBERNETES"}
    assert service_variables([PRIMARY, KUBERNETES], "default", links=False) == found


def test_services_without_an_address_have_none() -> None:
    headless = service("db", "None", ServicePort(port=5432))
    assert service_variables([headless], "default") == {}


def test_the_own_namespace_wins() -> None:
    own = service("kubernetes", "10.96.7.7", ServicePort(port=80), namespace="shop")
    assert service_variables([own, KUBERNETES], "shop")["KUBERNETES_SERVICE_HOST"] == "10.96.7.7"

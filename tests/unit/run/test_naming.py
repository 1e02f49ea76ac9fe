"""Tests the names by which Pods, nodes and clients of a running cluster are entered."""

from __future__ import annotations

import re

import pytest

from emulator.errors import UsageError
from emulator.run.naming import Member, check_container, resolve

MEMBERS = (
    Member(name="default/web-d98-abc", controller="Deployment/web", ready=False),
    Member(name="default/web-d98-xyz", controller="Deployment/web"),
    Member(name="shop/web-7f4-qqq", controller="Deployment/web"),
    Member(name="shop/api-5b1-zzz", controller="Deployment/api"),
    Member(name="default/db-0", controller="StatefulSet/db"),
    Member(name="default/client"),
)
NAMES = (
    {one.name: one.name.replace("/", "_") for one in MEMBERS}
    | {one.name.partition("/")[2]: one.name.replace("/", "_") for one in MEMBERS}
    | {"worker-1": "worker-1", "client-1": "client-1"}
)


def found(name: str, namespace: str = "") -> str:
    return resolve(name, NAMES, MEMBERS, "shop", namespace)


@pytest.mark.parametrize(
    ("name", "namespace", "expected"),
    [
        ("client", "", "client"),
        ("default/client", "", "default/client"),
        ("client", "default", "default/client"),
        ("pod/client", "", "client"),
        ("node/worker-1", "", "worker-1"),
        ("worker-1", "shop", "worker-1"),
        ("deploy/web", "", "default/web-d98-xyz"),  # the first that is ready
        ("Deployment/web", "shop", "shop/web-7f4-qqq"),
        ("deploy/api", "", "shop/api-5b1-zzz"),
        ("sts/db", "", "default/db-0"),
        ("api", "", "shop/api-5b1-zzz"),  # its only Pod
        ("db", "", "default/db-0"),
    ],
)
def test_a_name_means(name: str, namespace: str, expected: str) -> None:
    assert found(name, namespace) == expected


@pytest.mark.parametrize(
    ("name", "namespace", "said"),
    [
        ("web", "", "web is 2 Pods: default/web-d98-xyz, default/web-d98-abc (deploy/web takes the first)"),
        (
            "deploy/wbe",
            "",
            "no Deployment 'wbe' with Pods in shop: there are Deployment/api, Deployment/web, ",
        ),
        ("deploy/db", "", "no Deployment 'db' with Pods in shop"),
        ("deploy/api", "default", "no Deployment 'api' with Pods in namespace default of shop"),
        ("clinet", "", "no Pod, node or client 'clinet' in shop: did you mean client"),
        ("client", "shop", "no Pod, node or client 'client' in namespace shop of shop"),
        ("worker-9", "", "did you mean worker-1"),
    ],
)
def test_a_name_that_is_not_clear_is_asked_for(name: str, namespace: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        found(name, namespace)
    assert said in str(raised.value)


def test_a_container_is_one_of_the_pod() -> None:
    pod = Member(name="default/web-1", containers=("nginx", "proxy"))
    check_container("proxy", "deploy/web", pod)
    check_container("any", "web-1", Member(name="default/web-1"))  # another release does not announce them
    with pytest.raises(
        UsageError, match="container ngin not found in pod default/web-1 out of: nginx, proxy"
    ):
        check_container("ngin", "deploy/web", pod)
    with pytest.raises(UsageError, match="worker-1 is no Pod and has no containers: leave out -c nginx"):
        check_container("nginx", "worker-1", None)


@pytest.mark.parametrize(
    ("namespace", "said"),
    [
        ("shpo", "no Pod is in namespace 'shpo' of shop: did you mean shop?"),
        ("x", "no Pod is in namespace 'x' of shop: there are default, shop"),
    ],
)
def test_a_namespace_without_pods_is_told(namespace: str, said: str) -> None:
    for name in ("client", "deploy/web"):
        with pytest.raises(UsageError, match=re.escape(said)):
            found(name, namespace)

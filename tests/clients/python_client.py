"""Uses the official Python client: objects, a watch, an informer, patches, scale, exec and logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Any

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer
from kubernetes.stream import stream

NAMESPACE = "python"
LABELS = {"app": "web"}
SECONDS = 30.0


def deployment() -> Any:
    container = client.V1Container(
        name="web", image="example.com/web:1", ports=[client.V1ContainerPort(container_port=8080)]
    )
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=LABELS), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=2, selector=client.V1LabelSelector(match_labels=LABELS), template=template
    )
    return client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def main() -> None:
    config.load_kube_config()
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))

    events: list[tuple[str, str]] = []
    informer = SharedInformer(core.list_namespaced_pod, namespace=NAMESPACE)
    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, lambda pod, kind=kind: events.append((kind, pod.metadata.name)))
    informer.start()

    apps.create_namespaced_deployment(NAMESPACE, deployment())
    ready = Event()
    stream_ = watch.Watch()
    for event in stream_.stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=int(SECONDS)):
        if event["object"].status.ready_replicas == 2:
            ready.set()
            stream_.stop()
    assert ready.is_set()
    until(lambda: len(informer.cache.list()) == 2, "the informer has both Pods")
    names = {pod.metadata.name for pod in core.list_namespaced_pod(NAMESPACE).items}
    assert {name for kind, name in events if kind == ADDED} == names

    apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 1}})
    until(lambda: len(informer.cache.list()) == 1, "the informer sees a Pod go")
    assert any(kind == DELETED for kind, _ in events)

    port = client.V1ServicePort(port=80, target_port=8080)
    service = client.V1Service(
        metadata=client.V1ObjectMeta(name="web"), spec=client.V1ServiceSpec(selector=LABELS, ports=[port])
    )
    made = core.create_namespaced_service(NAMESPACE, service)
    assert made.spec.cluster_ip.startswith("10.96.")
    slices = client.DiscoveryV1Api()
    until(
        lambda: (
            sum(len(one.endpoints) for one in slices.list_namespaced_endpoint_slice(NAMESPACE).items) == 1
        ),
        "the Service has its endpoint",
    )
    (pod,) = core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items
    said = stream(
        core.connect_get_namespaced_pod_exec,
        pod.metadata.name,
        NAMESPACE,
        command=["curl", "-s", "--max-time", "5", f"http://{made.spec.cluster_ip}"],
        stderr=True, stdin=False, stdout=True, tty=False,
    )  # fmt: skip
    assert "example.com/web:1" in said, said
    until(lambda: bool(core.read_namespaced_pod_log(pod.metadata.name, NAMESPACE)), "the request is logged")

    refused = None
    try:
        core.create_namespaced_service(NAMESPACE, service)
    except ApiException as error:
        refused = (error.status, error.reason)
    assert refused == (409, "Conflict"), refused
    core.delete_namespace(NAMESPACE)
    until(lambda: NAMESPACE not in {one.metadata.name for one in core.list_namespace().items}, "it goes")
    informer.stop()


if __name__ == "__main__":
    main()
    print("done")

"""Uses lightkube: create, list by pages, watch, patch, server-side apply, scale, delete."""

from __future__ import annotations

from lightkube import ApiError, Client
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod
from lightkube.types import PatchType

NAMESPACE = "lightkube"
LABELS = {"app": "web"}


def deployment(image: str) -> Deployment:
    pod = PodSpec(containers=[Container(name="web", image=image)])
    template = PodTemplateSpec(metadata=ObjectMeta(labels=LABELS), spec=pod)
    spec = DeploymentSpec(replicas=2, selector=LabelSelector(matchLabels=LABELS), template=template)
    return Deployment(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=spec)


def main() -> None:
    client = Client(namespace=NAMESPACE, field_manager="lightkube")
    client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    for number in range(7):
        client.create(ConfigMap(metadata=ObjectMeta(name=f"c{number}"), data={"n": str(number)}))
    found = [one.metadata.name for one in client.list(ConfigMap, chunk_size=3)]
    assert {f"c{number}" for number in range(7)} <= set(found), found

    client.apply(deployment("example.com/web:1"))
    for event, one in client.watch(Deployment, server_timeout=30):
        if event != "DELETED" and one.status and one.status.readyReplicas == 2:
            break
    else:
        raise AssertionError("never ready")
    applied = client.apply(deployment("example.com/web:2"))
    assert applied.spec.template.spec.containers[0].image == "example.com/web:2"
    patched = client.patch(ConfigMap, "c0", {"data": {"n": None, "m": "1"}}, patch_type=PatchType.MERGE)
    assert patched.data == {"m": "1"}
    scale = Deployment.Scale(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=ScaleSpec(replicas=0))
    client.replace(scale)
    for event, _ in client.watch(Pod, labels=LABELS, server_timeout=30):
        if event == "DELETED" and not list(client.list(Pod, labels=LABELS)):
            break
    refused = None
    try:
        client.get(ConfigMap, "none")
    except ApiError as error:
        refused = (error.status.code, error.status.reason)
    assert refused == (404, "NotFound"), refused
    client.deletecollection(ConfigMap)
    client.delete(Namespace, NAMESPACE)


if __name__ == "__main__":
    main()
    print("done")

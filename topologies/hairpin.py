"""Can a Pod reach itself through its own Service, and whose address does it see then?

The packet leaves the Pod, is turned back by its node and comes in where it went out. Were its source still
the Pod's own address, the Pod would answer itself over its loopback and the reply would never be translated
back, so kube-proxy always masquerades this one case: the Pod sees a node's address. A Pod next to it that
dials the same Service keeps its own.

Also an example to copy: a topology in Python is a module with ``build``.
"""

from podwire import Cluster


def build(cluster: Cluster) -> None:
    cluster.node(role="control-plane")
    cluster.node("worker-1")
    cluster.pod("echo", node="worker-1", ports={"http": 8080, "dns": "5353/UDP"})
    cluster.pod("neighbour", node="worker-1")
    cluster.service(
        "echo",
        type="NodePort",
        ports=[
            {"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080},
            {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP", "nodePort": 30053},
        ],
    )
    itself = {"outcome": "delivered", "source": "node", "backends": ["default/echo"]}
    cluster.flow_check(
        "a-pod-reaches-itself",
        [
            {
                "name": "through its ClusterIP",
                "from": {"pod": "echo"},
                "to": {"service": "echo", "port": "http"},
                "expect": itself,
            },
            {
                "name": "through its ClusterIP, UDP",
                "from": {"pod": "echo"},
                "to": {"service": "echo", "port": "dns"},
                "protocol": "UDP",
                "expect": itself,
            },
            {
                "name": "through its node's port",
                "from": {"pod": "echo"},
                "to": {"node": "worker-1", "nodePort": 30080},
                "expect": itself,
            },
        ],
    )
    kept = {"outcome": "delivered", "source": "preserved", "backends": ["default/echo"]}
    cluster.flow_check(
        "others-keep-their-address",
        [
            {
                "name": "its neighbour, same Service",
                "from": {"pod": "neighbour"},
                "to": {"service": "echo", "port": "http"},
                "expect": kept,
            },
            {
                "name": "its node, straight to the Pod",
                "from": {"node": "worker-1"},
                "to": {"pod": "echo", "port": "http"},
                "expect": kept,
            },
        ],
    )

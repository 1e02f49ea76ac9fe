"""Runs a cluster that lives: it is built, serves its API, and stays until it is told to end.

The caller's process makes the certificates, the listener on the host's loopback and the kubeconfig, and
removes the kubeconfig at the end. All else happens in the sandbox: the event loop with the API server, the
controllers and the kubelets (:mod:`emulator.run.engine`), and a thread that changes the kernel. The API
server also listens on port 6443 of each control-plane node, inside its network namespace.
"""

from __future__ import annotations

import asyncio
import os
import select
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import IO

from .. import __version__
from ..api.discovery import VERSION
from ..cluster.scenario import Scenario
from ..cluster.state import ClusterState, Listener, Program
from ..controllers.apps import APPS
from ..controllers.controlplane import api_server_pod
from ..controllers.kubelet import Facts, kubelet, rfc3339
from ..controllers.plane import ControlPlane
from ..errors import Exit, InputError, UsageError
from ..kernel import sandbox
from ..model.expectations import Expectation
from ..model.flows import Flow
from ..model.results import FlowResult
from ..net import Endpoint
from ..objects.config import FlowCheck, Inventory, ProxyMode
from ..objects.kinds import Loaded
from ..proxy.planner import ProxyPlanner
from ..report.files import sudo_caller
from ..report.output import complain, say
from ..schedule.planner import plan_cluster
from ..schedule.schedule import Moment, plan_flows
from ..serving.certificates import kubeconfig
from ..serving.identity import PROXY, Identity
from .announcement import announcement
from .answers import Answers
from .clock import Clock
from .clusters import Running, choose_cluster, find_running
from .control import Door, answering, door
from .engine import Engine
from .live import Live
from .run import Options, Run, bring_up, prepare

_READY = "is ready"  # the word by which a detached cluster is known to be up
_PATIENCE = 120.0  # seconds that podwire up --detach waits for it
_END = 20.0  # seconds that podwire down waits
_LOOK = 0.05  # seconds between two looks whether real kube-proxies have begun
_MARK = "# podwire made this kubeconfig, and removes it when its cluster ends\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Holds the options of ``podwire up``. ``kubeconfig`` None: a file of its own; ``port`` 0: a free one."""

    kubeconfig: Path | None = None
    port: int = 0
    quiet: bool = False
    seed: int = 0
    proxy_mode: ProxyMode | None = None
    run: bool = False
    iptables: str = ""
    verbose: int = 0
    program: Program | None = None  # a real kube-proxy on every node
    release: str = ""  # that the rules are of, without one; "": the current one


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Holds the parts of a cluster that are made before its sandbox."""

    plane: ControlPlane
    facts: Facts
    state: ClusterState  # as it is built, without built-in servers where the API server listens
    served: tuple[Listener, ...]  # where the API server listens
    proxy: ProxyPlanner
    identity: Identity
    listener: socket.socket
    door: Door
    checks: tuple[Loaded[FlowCheck], ...]  # the FlowChecks of its input, which its API does not have
    path: Path  # where the kubeconfig lies
    settings: Settings


def run_up(inventory: Inventory, settings: Settings) -> int:
    """Runs the cluster of ``inventory`` until SIGINT or SIGTERM; returns the exit code."""
    clock = Clock()
    with clock.phase("plan"):
        plane, facts, whole = settled(inventory, settings)
        served = tuple(one for one in whole.listeners if is_api(one))
        state = replace(whole, listeners=tuple(one for one in whole.listeners if not is_api(one)))
        proxy = ProxyPlanner()
        run = prepared(state, proxy, settings, clock)
    identity = Identity.make([str(ip) for node in state.nodes for ip in node.internalIPs])
    with _listener(settings.port) as listener, door() as at:
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        text = kubeconfig(address, identity.authority.certificate, identity.admin, name=state.name)
        with _kubeconfig_file(settings.kubeconfig, text) as path:
            cluster = _Cluster(
                plane,
                facts,
                state,
                served,
                proxy,
                identity,
                listener,
                at,
                inventory.flowChecks,
                path,
                settings,
            )
            return sandbox.run(lambda channel: _inside(channel, run, cluster))


def settled(inventory: Inventory, settings: Settings) -> tuple[ControlPlane, Facts, ClusterState]:
    """Returns the control plane with all objects of ``inventory``, and its first state. Raises InputError
    with every problem.
    """
    facts = Facts(node_info=_node_info())
    plane = ControlPlane(
        replace(inventory, flowChecks=()),
        seed=settings.seed,
        proxy_mode=settings.proxy_mode,
        run=settings.run,
        workloads=(*APPS, kubelet(facts)),
        now=rfc3339(time.time()),
        program=settings.program,
        release=settings.release,
    )
    plane.reconcile()
    state = plane.snapshot()
    if problems := plane.findings.problems:
        raise InputError(problems)
    return plane, facts, state


def _node_info() -> Mapping[str, str]:
    """Returns the nodeInfo of every node: this machine's kernel, and podwire in place of the rest."""
    system, _, kernel, _, machine = os.uname()
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "containerRuntimeVersion": f"podwire://{__version__}",
        "kernelVersion": kernel,
        "kubeletVersion": f"{VERSION['gitVersion']}",
        "operatingSystem": system.lower(),
        "osImage": "podwire",
    }


def is_api(listener: Listener) -> bool:
    """Returns whether podwire's API server listens where a built-in server would."""
    return listener.pod == api_server_pod(listener.node) and listener.protocol == "TCP"


def prepared(state: ClusterState, proxy: ProxyPlanner, settings: Settings, clock: Clock) -> Run:
    """Returns the run that builds ``state`` and sends nothing."""
    scenario = Scenario(state=state, flowChecks=(), steps=(), origins={})
    options = Options(keep=True, quiet=settings.quiet, iptables=settings.iptables, verbose=settings.verbose)
    run = prepare(
        scenario, (), plan_flows(replace(scenario, state=replace(state, pods=())))[1], options, clock
    )
    moment = Moment("", state, plan_cluster(state, (), proxy), ())
    return replace(run, schedule=replace(run.schedule, moments=(moment,)))


def _promise_nothing(flow: Flow, before: FlowResult | None = None) -> Expectation:
    raise AssertionError(f"no flow is sent, but {flow.name} was to be, after {before}")


@contextmanager
def _listener(port: int) -> Iterator[socket.socket]:
    """Yields a socket that listens at the host's loopback. Raises UsageError if the port is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"--port {port}: {error.strerror}; take another, or leave it out for a free one"
            ) from None
        listener.listen(512)
        yield listener


# --- the kubeconfig -------------------------------------------------------------------------------------


@contextmanager
def _kubeconfig_file(wanted: Path | None, text: str) -> Iterator[Path]:
    """Yields the path of the kubeconfig, which only its owner may read, and which goes at the end."""
    path = wanted or _directory() / f"kubeconfig-{os.getpid()}"
    owner = sudo_caller(os.environ) if os.geteuid() == 0 else None
    try:
        with suppress(FileNotFoundError):
            if path.is_symlink() or not path.read_text(errors="replace").startswith(_MARK):
                raise UsageError(f"{path} is there, and is not podwire's: name a new file with --kubeconfig")
            path.unlink()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            if owner:
                os.fchown(fd, *owner)
            file.write(_MARK + text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; name another with --kubeconfig") from None
    mine = path.stat()
    supervisor = os.getpid()
    try:
        yield path
    finally:
        with suppress(OSError):
            if os.getpid() == supervisor and os.path.samestat(path.stat(), mine):
                path.unlink()


def _directory() -> Path:
    """Returns the directory of kubeconfigs, which only its owner may enter. Those of clusters that were
    killed are removed from it.
    """
    caller = sudo_caller(os.environ) if os.geteuid() == 0 else None
    user = caller[0] if caller else os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) if runtime and not caller and os.path.isdir(runtime) else Path(tempfile.gettempdir())
    directory = base / (f"podwire-{user}" if base != Path(runtime) else "podwire")
    try:
        with suppress(FileExistsError):
            directory.mkdir(0o700)
            if caller:
                os.chown(directory, *caller)
        status = directory.lstat()
    except OSError as error:
        raise UsageError(
            f"cannot make {directory} for the kubeconfig: {error.strerror}; name a file with --kubeconfig"
        ) from None
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == user and not status.st_mode & 0o077
    if not private:
        raise UsageError(
            f"{directory} is not a directory that only its owner may enter: remove it, or name a file with "
            "--kubeconfig"
        )
    alive = {str(one.pid) for one in find_running()}
    for file in directory.glob("kubeconfig-*"):
        pid = file.name.partition("-")[2]
        if pid.isdecimal() and pid not in alive and not os.path.exists(f"/proc/{pid}"):
            with suppress(OSError):
                file.unlink()
    return directory


def find_kubeconfig(cluster: str) -> str:
    """Returns the path of the kubeconfig of the running cluster ``cluster`` ("": the only one that has one).
    Raises UsageError if there is none.
    """
    running = [one for one in find_running() if one.kubeconfig]
    if not cluster and len(running) == 1:
        return running[0].kubeconfig
    if not cluster and not running:
        raise UsageError("no cluster with an API is running: podwire up starts one")
    chosen = choose_cluster(cluster)
    if not chosen.kubeconfig:
        raise UsageError(f"cluster {chosen} has no API: podwire up starts one that has")
    return chosen.kubeconfig


# --- beside it -------------------------------------------------------------------------------------------


def detach() -> int:
    """Starts the same command in the background, without ``--detach``, and prints its output until its API is
    ready. Returns 0 then, or its exit code if it ends before.
    """
    words = [word for word in sys.argv[1:] if word not in ("--detach", "-d")]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*_own_command(), *words],
            stdin=subprocess.DEVNULL if "-" not in words else None,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if _is_ready(process.pid):
                break
            time.sleep(0.05)
        else:
            if process.poll() is None:
                process.terminate()
                process.wait()
                complain(f"the cluster was not ready after {_PATIENCE:.0f} s; what it said follows")
        _show(said)
    if process.poll() is not None:
        return process.returncode
    process.returncode = 0  # it goes on running: Popen must not warn that nobody waited
    return Exit.OK


def _own_command() -> list[str]:
    package = __name__.removesuffix(".run.up")
    root = str(Path(__file__).resolve().parents[__name__.count(".")])
    code = (
        f"import sys; sys.path.insert(0, sys.argv.pop(1)); from {package}.cli import main; sys.exit(main())"
    )
    return [sys.executable, "-I", "-c", code, root]


def _is_ready(pid: int) -> bool:
    return any(one.pid == pid and one.kubeconfig for one in find_running())


def _show(said: IO[bytes]) -> None:
    said.seek(0)
    say(said.read().decode(errors="replace"))


def end_cluster(cluster: str) -> None:
    """Ends the running cluster ``cluster`` ("": the only one that stays up), and waits until it is gone.
    Raises UsageError if it does not go.
    """
    chosen = choose_cluster(cluster)
    with _watching(chosen) as gone:
        with suppress(ProcessLookupError):
            os.kill(chosen.pid, signal.SIGTERM)
        if not gone(_END):
            raise UsageError(
                f"cluster {chosen} has not ended after {_END:.0f} s: end process {chosen.pid} with kill -9"
            )


@contextmanager
def _watching(chosen: Running) -> Iterator[Callable[[float], bool]]:
    """Yields a function that waits some seconds, and returns whether the cluster's process has ended."""
    try:
        fd = os.pidfd_open(chosen.pid)
    except ProcessLookupError:
        yield lambda _: True
        return
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    try:
        yield lambda seconds: bool(poll.poll(seconds * 1000))
    finally:
        os.close(fd)


# --- inside the sandbox ---------------------------------------------------------------------------------


def _inside(channel: sandbox.Channel, run: Run, cluster: _Cluster) -> int:
    started = datetime.now(timezone.utc)
    channel.announce({"control": cluster.door.name})  # whoever asks before it is ready waits
    with bring_up(channel, run, started, lives=True, access=_access(cluster)) as live:
        asyncio.run(_attend(channel, live, cluster, started))
    return Exit.OK


def _access(cluster: _Cluster) -> str:
    """Returns the kubeconfig of real kube-proxies, which reach the API by packets to the first control plane;
    "" where none runs. Raises UsageError where the API listens on no node.
    """
    if not cluster.state.proxy.program:
        return ""
    if not cluster.served:
        raise UsageError(
            "--kube-proxy: no node is a control plane, so kube-proxies cannot reach the API "
            "(a Cluster's nodes: [{role: control-plane}, …])"
        )
    first, authority = cluster.served[0], cluster.identity.authority
    return kubeconfig(
        f"https://{Endpoint(first.ip, first.port)}",
        authority.certificate,
        authority.client(PROXY),
        name=cluster.state.name,
    )


async def _attend(channel: sandbox.Channel, live: Live, cluster: _Cluster, started: datetime) -> None:
    """Serves the API and keeps the kernel in step, until SIGINT. Raises the error that ends the cluster."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None = None) -> None:
        if not over.done():
            over.set_exception(error) if error else over.set_result(None)

    def check() -> None:
        try:
            live.check()
        except Exception as error:
            end(error)

    def tell(state: ClusterState) -> None:
        channel.announce({**announcement(state, started, True), "kubeconfig": str(cluster.path)})

    loop.add_signal_handler(signal.SIGINT, end)
    engine = Engine(cluster.plane, cluster.facts, live, cluster.proxy, cluster.state, is_api, tell, complain)
    listeners = [cluster.listener, *await engine.in_kernel(partial(_in_cluster, live, cluster.served))]
    from .apiserver import api_server  # with aiohttp

    for fd in live.channels():
        loop.add_reader(fd, check)
    if live.launcher is None or live.journal is None:
        raise AssertionError("a cluster that lives has a launcher and logs")
    answers = Answers(engine, live, cluster.served, cluster.checks)
    async with (
        api_server(engine, live.launcher, live.journal, listeners, cluster.identity, complain),
        answering(cluster.door, answers.answer),
    ):
        working = asyncio.ensure_future(engine.run())
        working.add_done_callback(lambda task: None if task.cancelled() else end(task.exception()))
        await engine.settled()
        while cluster.state.proxy.program and not over.done() and await engine.in_kernel(live.busy):
            await asyncio.sleep(_LOOK)  # until each kube-proxy has brought its first rules to the kernel
        tell(engine.state)
        if not over.done():
            _greet(cluster)
        try:
            await over
        finally:
            for fd in live.channels():
                loop.remove_reader(fd)
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working


def _in_cluster(live: Live, served: Sequence[Listener]) -> list[socket.socket]:
    """Returns a listening socket for each of ``served``, in the network namespace of its node."""
    enter = live.applied.namespaces.call_in
    return [enter(one.netns, partial(_listen, one.port)) for one in served]


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))  # noqa: S104 - in the node's own network namespace
    listener.listen(512)
    return listener


def _greet(cluster: _Cluster) -> None:
    """Prints the address of the API and the path of the kubeconfig."""
    if cluster.settings.quiet:
        say(f"{cluster.path}\n")
        return
    say(
        f"{cluster.state.name} {_READY}: it stays up until Ctrl-C, or podwire down.\n"
        f"  export KUBECONFIG={shlex.quote(str(cluster.path))}\n"
        "  kubectl get pods -A -o wide\n"
    )

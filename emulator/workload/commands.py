"""A container's real command, run from the host's file system inside its Pod's network namespace.

The command is an argv list as Kubernetes has it (``command`` + ``args``), never a shell's line; ``$(NAME)`` in it means a declared variable
(https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/). What it prints goes to one file a container.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from emulator.control.state import ClusterState, pod_netns
from emulator.kernel import linux
from emulator.kernel.netns import Namespaces
from emulator.objects.kinds import Container, EnvVar, Pod

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


def environment(state: ClusterState, pod: Pod, container: Container) -> dict[str, str]:
    """The variables of ``container``: PATH and HOSTNAME, then its ``env`` in order, with Pod fields where ``fieldRef`` names them."""
    values = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": pod.spec.hostname or pod.name}
    for variable in container.env:
        values[variable.name] = _value(state, pod, variable, values)
    return values


def _value(state: ClusterState, pod: Pod, variable: EnvVar, values: Mapping[str, str]) -> str:
    if variable.valueFrom is None or variable.valueFrom.fieldRef is None:
        return expand(variable.value, values)
    fields = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.nodeName,
        "status.podIP": pod.ip,
        "status.podIPs": ",".join(a.ip for a in pod.status.podIPs),
        "status.hostIP": state.node[pod.spec.nodeName].internalIPs[0],
    }
    return fields.get(variable.valueFrom.fieldRef.fieldPath, "")


def expand(text: str, values: Mapping[str, str]) -> str:
    """``$(NAME)`` → its value where there is one; ``$$`` → ``$``."""
    return _REFERENCE.sub(lambda m: "$" if m[0] == "$$" else values.get(m[1], m[0]), text)


Commands = Mapping[str, subprocess.Popen[bytes]]  # by ``namespace/pod container``


def start_commands(state: ClusterState, namespaces: Namespaces, logs: Path, running: Commands) -> dict[str, subprocess.Popen[bytes]]:
    """Start every command that ``state.commands`` names and that is not ``running``; returns those. Raises OSError with the container's name
    when one cannot be started."""
    started = {}
    for key, containers in state.commands.items():
        pod = state.pod[key]
        for container in pod.spec.containers:
            name = f"{key} {container.name}"
            if container.name in containers and name not in running:
                started[name] = _start(state, namespaces, pod, container, logs)
    return started


def end_commands(state: ClusterState, running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Kill every command that ``state`` no longer has, with all that it started, and forget it."""
    for name in list(running):
        key, container = name.split(" ")
        if container not in state.commands.get(key, ()):
            process = running.pop(name)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # start_new_session: its group is its own
            process.wait()


def wait_until_listening(state: ClusterState, namespaces: Namespaces, running: Commands, seconds: float = 10) -> list[str]:
    """Until each of the commands listens on the TCP ports that its container declares; sentences about those that do not within ``seconds``."""
    deadline = time.monotonic() + seconds
    notices = []
    for name, process in running.items():
        key, container_name = name.split(" ")
        pod = state.pod[key]
        ports = {p.containerPort for c in pod.spec.containers if c.name == container_name for p in c.ports if p.protocol == "TCP"}
        while missing := ports - namespaces.call_in(pod_netns(pod), _listening_ports):
            if process.poll() is not None or time.monotonic() > deadline:
                ended = "" if process.returncode is None else f": its command ended with exit code {process.returncode} (see logs/)"
                notices.append(
                    f"container {container_name} of Pod {key} does not listen on {', '.join(map(str, sorted(missing)))}/TCP{ended}"
                )
                break
            time.sleep(0.01)
    return notices


def _listening_ports() -> set[int]:
    """TCP ports with a listener in the calling thread's network namespace (proc(5), net/tcp: state 0A)."""
    ports = set()
    for file in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/thread-self/net/{file}").read_text().splitlines()[1:]
        except OSError:
            continue  # no IPv6 in this kernel
        ports |= {int(fields[1].rsplit(":", 1)[1], 16) for row in rows if (fields := row.split())[3] == "0A"}
    return ports


def _start(state: ClusterState, namespaces: Namespaces, pod: Pod, container: Container, logs: Path) -> subprocess.Popen[bytes]:
    env = environment(state, pod, container)
    argv = [expand(word, env) for word in (*container.command, *container.args)]
    hostname = pod.spec.hostname or pod.name

    def become_the_container() -> None:
        linux.unshare(linux.CLONE_NEWUTS)
        linux.set_hostname(hostname)

    log = os.open(logs / f"{pod.namespace}_{pod.name}_{container.name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        return namespaces.call_in(
            pod_netns(pod),
            lambda: subprocess.Popen(
                argv,
                env=env,
                cwd=container.workingDir or "/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=become_the_container,  # no other threads run yet
                start_new_session=True,
            ),
        )
    except OSError as error:
        raise OSError(error.errno, f"container {container.name} of Pod {pod.key} cannot run {argv[0]}: {error.strerror}") from None
    finally:
        os.close(log)

"""A container's real command, run from the host's file system inside its Pod's network namespace.

The command is an argv list as Kubernetes has it (``command`` + ``args``), never a shell's line; ``$(NAME)`` in it means a declared variable
(https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/). What it prints goes to one file a container.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
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


def start_commands(state: ClusterState, namespaces: Namespaces, logs: Path) -> list[tuple[str, subprocess.Popen[bytes]]]:
    """Start every command that ``state.commands`` names; returns (``namespace/pod container``, process). Raises OSError with the container's
    name when one cannot be started."""
    running = []
    for key, containers in state.commands.items():
        pod = state.pod[key]
        for container in pod.spec.containers:
            if container.name in containers:
                process = _start(state, namespaces, pod, container, logs)
                running.append((f"{key} {container.name}", process))
    return running


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

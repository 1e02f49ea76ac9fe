"""Tests real commands in Pods: they run only if the user allows it, and then cannot reach the host."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import UNSHARE
from tests.kernel.test_cli import as_ordinary_user
from tests.sandboxed import ROOT, podwire

pytestmark = pytest.mark.kernel

TENANT = ROOT / "tests" / "cases" / "tenant-runs-as-root.yaml"

TRIES = r"""
import ctypes, json, os, resource, socket, subprocess, sys

libc = ctypes.CDLL(None, use_errno=True)

def call(function, *words):
    if function(*words):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def write(path):
    with open(path, "w") as file:
        file.write("x")

def connect(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)

def shell(line):
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", line]
    subprocess.run(words, check=True, capture_output=True)

def processes():
    return [name for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())]

def descriptors():
    return [fd for fd in range(4, 1000) if os.path.exists("/proc/self/fd/%%d" %% fd)]

def capabilities():
    lines = [line for line in open("/proc/self/status") if line.startswith("Cap")]
    return [line for line in lines if int(line.split()[1], 16)]

OUTSIDE = ("/root", "/home", "/mnt", "/media", "/sys/fs/cgroup")
DEVICES = ("/dev/tty", "/dev/pts/0", "/dev/kmsg", "/dev/mem")

tries = {
    **{"write " + path: lambda path=path: write(path) for path in %(written)r},
    **{"see " + path: lambda path=path: os.listdir(path)[0] for path in OUTSIDE},
    **{"open " + path: lambda path=path: os.open(path, os.O_RDWR) for path in DEVICES},
    "read /etc/shadow": lambda: open("/etc/shadow").read(),
    "reach a socket of the host": lambda: connect("/run/host.sock"),
    "see another process": lambda: processes()[0],
    "kill another process": lambda: [os.kill(pid, 9) for pid in range(2, 100)],
    "mount": lambda: call(libc.mount, b"none", b"/tmp", b"tmpfs", 0, None),
    "uncover": lambda: call(libc.umount2, b"/run", 2),
    "write as root of a user namespace": lambda: shell("mount -o remount,bind,rw / && touch /escaped"),
    "uncover as root of a user namespace": lambda: shell("umount -l /run && ls /run/host.sock"),
    "write sysctls as root of a user namespace": lambda: shell("echo x > /proc/sys/kernel/core_pattern"),
    "craft packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "change the host name": lambda: socket.sethostname("x"),
    "inherit a descriptor": lambda: descriptors()[0],
    "regain a capability": lambda: capabilities()[0],
}
done = []
for name, attempt in tries.items():
    try:
        attempt()
        done.append(name)
    except (OSError, IndexError, subprocess.CalledProcessError):
        pass
for path in ("/tmp/x", "/run/x", "/var/log/x", "/dev/shm/x", "/dev/null", "x"):
    write(path)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
server = socket.create_server(("", 80))
print(json.dumps({
    "tried": len(tries),
    "done": done,
    "pid": os.getpid(),
    "session": os.getsid(0),
    "stdin": os.readlink("/proc/self/fd/0"),
    "uid": os.getuid(),
    "groups": status["Groups"].split(),
    "no new privileges": status["NoNewPrivs"].strip(),
    "cores": resource.getrlimit(resource.RLIMIT_CORE),
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "environment": sorted(set(os.environ) - {"LC_CTYPE"}),
    "said": os.environ["SAID"],
}), flush=True)
while True:
    server.accept()[0].close()
"""
WRITTEN = (
    "/x",
    "/root/x",
    "/etc/x",
    "/usr/x",
    "/work/x",
    "/dev/x",
    "/sys/x",
    "/sys/fs/cgroup/x",
    "/proc/sys/kernel/core_pattern",
)

WITH_A_SOCKET = """
mount -t tmpfs none /run || exit
python3 -c 'import socket, \
time; s = socket.socket(socket.AF_UNIX); s.bind("/run/host.sock"); s.listen(); time.sleep(60)' & server=$!
until [ -S /run/host.sock ]; do sleep 0.02; done
"$@"; code=$?
kill $server; exit $code
"""


def pod(command: list[str], **container: object) -> str:
    served = {"name": "web", "command": command, "ports": [{"containerPort": 80}], **container}
    meta = {"name": "web", "labels": {"app": "web"}, "annotations": {"podwire.dev/run": "web"}}
    spec = {"nodeName": "worker-1", "containers": [served]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def log_of(directory: Path, container: str = "web") -> str:
    (log,) = directory.glob(f"*/logs/default_web_{container}.log")
    return log.read_text()


def test_a_tenant_s_command_does_not_run_unless_the_user_says_so(tmp_path: Path) -> None:
    """Checks what `kubectl get pods -A -o yaml | sudo podwire -` did: it obeyed the annotation of anybody who
    may create a Pod.
    """
    done = podwire(str(TENANT), "--captures", str(tmp_path), "-o", "json")
    (notice,) = [notice for notice in json.loads(done.stdout)["notices"] if "podwire.dev/run" in notice]
    assert notice.startswith(
        f"{TENANT}:8: container app of Pod team-b/tenant has its command in podwire.dev/run"
    )
    assert notice.endswith("which runs only with --run: /bin/sh -c 'id > /tmp/podwire-tenant-was-here'")
    assert not list(tmp_path.glob("*/logs"))
    assert not Path("/tmp/podwire-tenant-was-here").exists()


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """Yields a directory that every user can write to, pytest's own being closed to others."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize("rootless", [False, True], ids=["as who we are", "rootless"])
def test_a_command_has_no_way_to_the_host(rootless: bool, anybodys: Path) -> None:
    """Checks that it is refused whatever it tries, has what a server needs, and nothing of our
    environment.
    """
    text = pod(
        ["/usr/bin/python3", "-c", TRIES % {"written": WRITTEN}], env=[{"name": "SAID", "value": "yes"}]
    )
    words = ("-", "--run", "--captures", str(anybodys))
    prefix = [*UNSHARE, "env", "AWS_SECRET_ACCESS_KEY=x", "sh", "-c", WITH_A_SOCKET, "sh"]
    if rootless:
        done = as_ordinary_user(anybodys, *words, stdin=text, prefix=prefix)
    else:
        done = podwire(*words, stdin=text, prefix=prefix)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    said = json.loads(log_of(anybodys))
    assert said.pop("tried") > 25
    assert said.pop("uid") == (65534 if os.geteuid() == 0 and not rootless else 0)
    groups = said.pop("groups")
    assert not groups or rootless
    assert said == {
        "done": [],
        "pid": 1,
        "session": 1,
        "stdin": "/dev/null",
        "no new privileges": "1",
        "cores": [1, 1],
        "interfaces": ["eth0", "lo"],
        "environment": ["HOME", "HOSTNAME", "PATH", "SAID"],
        "said": "yes",
    }


def test_what_a_command_started_ends_with_the_run(tmp_path: Path) -> None:
    """Ends a daemon in a session of its own as well."""
    script = "setsid setsid sleep 86399.25 & exec /usr/bin/python3 -m http.server 80"
    done = podwire("-", "--run", "--captures", str(tmp_path), stdin=pod(["/bin/sh", "-c", script]))
    assert done.returncode == 0, done.stdout
    left = subprocess.run(["pgrep", "-f", "86399.25"], capture_output=True, check=False)
    assert left.returncode == 1


@pytest.mark.parametrize(
    ("command", "container", "part"),
    [
        (["no-such-program"], {}, "cannot run no-such-program: no-such-program: No such file or directory"),
        (["/etc/passwd"], {}, "cannot run /etc/passwd: /etc/passwd: Permission denied"),
        (["true"], {"workingDir": "/no/such"}, "cannot run true: /no/such: No such file or directory"),
        (["true", "a\0b"], {}, "cannot run true: embedded null byte"),
    ],
)
def test_a_command_that_cannot_be_started_is_named(
    command: list[str], container: dict[str, str], part: str
) -> None:
    done = podwire("-", "--run", "--captures", "none", stdin=pod(command, **container))
    assert done.returncode == 2
    assert f"container web of Pod default/web {part}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kept", [True, False])
def test_the_last_line_of_a_command_that_has_ended_is_told(tmp_path: Path, kept: bool) -> None:
    """Keeps no evidence, so that no message may point to it."""
    script = "echo first; printf 'no \\033[31mconfiguration\\n\\n'; exit 7"
    done = podwire(
        "-",
        "--run",
        "--captures",
        str(tmp_path) if kept else "none",
        "-o",
        "json",
        stdin=pod(["/bin/sh", "-c", script]),
    )
    (notice,) = (text for text in json.loads(done.stdout)["notices"] if "does not listen" in text)
    said = r"its command ended with exit code 7: no \x1b[31mconfiguration"
    assert notice.endswith(f"{said} (see logs/)" if kept else said)


def test_commands_of_a_diff_run_only_with_the_flag(tmp_path: Path) -> None:
    for words, run in (([], False), (["--run"], True)):
        directory = tmp_path / str(run)
        text = pod(["/usr/bin/python3", "-m", "http.server", "80"])
        done = podwire(
            "diff", "-", "--modes", "iptables,nftables", "--captures", str(directory), *words, stdin=text
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        assert bool(list(directory.glob("*/logs/*"))) == run


def test_the_command_of_a_pod_that_is_made_anew_runs_anew(tmp_path: Path) -> None:
    """Uses a StatefulSet, which gives its Pods the same names again, but other addresses."""
    script = "echo $IP; exec /usr/bin/python3 -m http.server 80"
    address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {
        "name": "web",
        "command": ["/bin/sh", "-c", script],
        "ports": [{"containerPort": 80}],
        "env": [address],
    }
    flow = {"name": "before", "from": {"node": "worker-2"}, "to": {"pod": "web-0", "port": 80}}

    def stateful_set(image: str) -> dict[str, object]:
        template = {
            "metadata": {"labels": {"app": "web"}, "annotations": {"podwire.dev/run": "web"}},
            "spec": {"containers": [container | {"image": image}]},
        }
        spec = {
            "replicas": 1,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
        }
        return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": spec}

    step = {"name": "rolled", "apply": [stateful_set("new")], "flows": [flow | {"name": "after"}]}
    check = {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "FlowCheck",
        "metadata": {"name": "f"},
        "spec": {"flows": [flow], "steps": [step]},
    }
    text = "\n---\n".join(json.dumps(one) for one in (stateful_set("old"), check))
    done = podwire("-", "--run", "--captures", str(tmp_path), "-o", "json", stdin=text)
    flows = json.loads(done.stdout)["flows"]
    assert [(flow["verdict"], flow["observed"]["outcome"]) for flow in flows] == [
        ("pass", "delivered")
    ] * 2, [f["reason"] for f in flows]
    (log,) = tmp_path.glob("*/logs/*")
    assert flows[0]["dialled"] != flows[1]["dialled"]
    assert flows[1]["dialled"].startswith(log.read_text().splitlines()[0] + ":")


def test_what_a_command_prints_is_bounded(tmp_path: Path) -> None:
    """Limits the output, which would fill the memory of the machine."""
    done = podwire(
        "-",
        "--run",
        "--captures",
        str(tmp_path),
        # it serves, for which the run waits, once all is printed
        stdin=pod(["/bin/sh", "-c", "head -c 70000000 /dev/zero; exec python3 -m http.server 80"]),
    )
    assert done.returncode == 0, done.stdout
    (log,) = tmp_path.glob("*/logs/*")
    assert log.stat().st_size == 64 << 20

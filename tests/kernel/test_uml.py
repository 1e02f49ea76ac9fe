"""Tests scripts/uml: a command in a guest kernel runs as one here, nothing of it stays, and podwire finds
features there that this kernel may lack.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.kernel.generic_netlink import find_family
from tests.guest import UML, uml, with_guest
from tests.sandboxed import ROOT

PODWIRE = (sys.executable, ROOT / "run_topology.py")

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yields one that also an ordinary user may enter."""
    with tempfile.TemporaryDirectory(prefix="two words") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@with_guest
def test_words_directory_environment_output_and_exit_code_are_the_commands_own(directory: Path) -> None:
    code = (
        "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['a.b'], os.isatty(1), sys.stdin.read());"
        "print('oops', file=sys.stderr); sys.exit(7)"
    )
    done = uml(
        sys.executable,
        "-c",
        code,
        "$HOME 'x'",
        "",
        "--help",
        cwd=directory,
        env={**os.environ, "a.b": "1\n2"},
        stdin=b"unread",
    )
    assert (done.returncode, done.stderr) == (7, b"oops\n")
    assert done.stdout.decode() == f"[\"$HOME 'x'\", '', '--help'] {directory} 1\n2 False \n"


@with_guest
def test_a_guest_runs_as_on_processors_with_amx_on_any(directory: Path) -> None:
    """Switches between processes, each of which keeps its vector registers, which glibc uses for copies."""
    code = (
        "import sys; a = bytes(range(256)) * 4000; sys.exit(any(bytes(bytearray(a)) != a for _ in range(50)))"
    )
    script = (
        f"for n in 1 2 3; do {sys.executable} -I -c '{code}' & eval p$n=$!; done; wait $p1 && wait $p2 "
        "&& wait $p3"
    )
    done = subprocess.run(
        [UML, "--own-ptrace", "sh", "-c", script],
        cwd=directory,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@with_guest
def test_files_that_its_caller_has_open_do_not_hinder_it(directory: Path) -> None:
    """Opens seven descriptors: the shell of Debian takes those below ten alone."""
    done = subprocess.run(
        ["bash", "-c", f"exec 3<. 4<. 5<. 6<. 7<. 8<. 9<.; {UML} echo here"],
        cwd=directory,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"here\n", b"")


@with_guest
def test_standard_input_is_given_whole_where_that_is_asked_for(directory: Path) -> None:
    data = b"END\n$(reboot)\n'" + random.Random(2).randbytes(1_000_000)
    script = "sha256sum; exit 9"
    done = subprocess.run(
        [UML, "--stdin", "sh", "-c", f"echo '\n'; {script}"],
        input=data,
        cwd=directory,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (9, b"")
    assert done.stdout.split()[-2].decode() == hashlib.sha256(data).hexdigest()


@with_guest
def test_whether_a_guest_runs_here_is_tried_once(directory: Path) -> None:
    shutil.copy(UML, directory)
    shutil.copytree(UML.with_name("uml.d"), directory / "uml.d")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if subprocess.run([*user, "unshare", "-Urm", "test", "-x", UML], check=False).returncode:
        pytest.skip("an ordinary user has no namespaces here, or cannot read this checkout")
    home = directory / "home"
    home.mkdir()
    home.chmod(0o777)
    command = [*user, str(directory / "uml"), "--check"]
    for seconds in (90, 1.5):  # the second time nothing is started
        done = subprocess.run(
            command,
            env={**os.environ, "XDG_CACHE_HOME": str(home)},
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [path.parent.name for path in home.rglob("guest-*")] == ["podwire"]


@pytest.fixture
def dying_guest(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces user-mode Linux by a script that ends with its words on processors with AMX."""
    kernel = directory / "linux.uml"
    words = (
        "userspace - ptrace set fp regs failed, errno = 14\nKernel panic - not syncing: Attempted to "
        "kill init!"
    )
    kernel.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    kernel.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


@with_guest
@pytest.mark.usefixtures("dying_guest")
def test_where_a_guest_dies_the_check_says_what_it_said_last() -> None:
    for _ in range(2):  # that is not remembered: somebody may have mended it
        done = subprocess.run([UML, "--check"], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout.startswith(
            "a guest that was started to see whether it runs did not: the guest died; its last words:; "
        )
        assert (
            "ptrace set fp regs failed, errno = 14; Kernel panic - not syncing: Attempted to kill init!\n"
            in done.stdout
        )


@with_guest
@pytest.mark.skipif(find_family("IPVS") is not None, reason="this kernel has IPVS, so that no guest is asked")
@pytest.mark.usefixtures("dying_guest")
def test_a_mode_that_cannot_run_here_is_no_flow_that_failed() -> None:
    """Exits with 3. Otherwise a migration would be blamed for the machine's lack."""
    done = subprocess.run(
        [*PODWIRE, "diff", "hairpin", "--modes", "iptables,ipvs"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "ip_vs in its kernel (for mode ipvs)" in done.stderr
    assert "ptrace set fp regs failed" in done.stderr
    doctor = subprocess.run([*PODWIRE, "doctor"], capture_output=True, text=True, check=False)
    assert doctor.returncode == 0, doctor.stderr
    assert re.search(
        r"(^|\n)ipvs +needs ip_vs: .* does not run here: .*ptrace set fp regs failed",
        re.sub(r"\n +", " ", doctor.stdout),  # the output is as wide as the terminal
    )


@with_guest
def test_every_byte_of_the_output_arrives_though_something_still_runs() -> None:
    """Reads slowly, and gets all of it, newlines and control characters as they were written."""
    data = random.Random(1).randbytes(3_000_000)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        process = subprocess.Popen([UML, "sh", "-c", f"sleep 1000 & cat {file.name}"], stdout=subprocess.PIPE)
        assert process.stdout
        time.sleep(4)
        out = process.stdout.read()
        process.stdout.close()
        assert process.wait(timeout=30) == 0
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


@with_guest
def test_the_hosts_files_stay_as_they_are(directory: Path) -> None:
    (directory / "file").write_text("before")
    done = uml(
        "sh",
        "-c",
        "echo after >file; echo new >other; rm -r /etc/passwd; cat file other; ls /etc/passwd",
        cwd=directory,
    )
    assert (done.returncode, done.stdout) == (2, b"after\nnew\n")
    assert [(path.name, path.read_text()) for path in directory.iterdir()] == [("file", "before")]
    assert Path("/etc/passwd").exists()


@with_guest
def test_an_ordinary_user_has_a_guest_of_his_own(directory: Path) -> None:
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if subprocess.run([*user, "unshare", "-Urm", "test", "-x", UML], check=False).returncode:
        pytest.skip("an ordinary user has no namespaces here, or cannot read this checkout")
    script = (
        "id -u; ip link add pw0 type dummy; ip -br link show pw0 | cut -d' ' -f1; modprobe ip_vs && cat "
        "/etc/shadow"
    )
    done = subprocess.run(
        [*user, str(UML), "sh", "-c", script], cwd=directory, capture_output=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"0\npw0\n")
    assert b"/etc/shadow: Permission denied" in done.stderr


@with_guest
def test_its_own_path_may_have_blanks(directory: Path) -> None:
    shutil.copy(UML, directory)
    shutil.copytree(UML.with_name("uml.d"), directory / "uml.d")
    done = subprocess.run([directory / "uml", "echo", "here"], capture_output=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"here\n", b"")


def left_behind(memory: str) -> list[str]:
    """Returns the processes of a guest that was given this much memory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"mem={memory}".encode() in command.split(b"\0"):
            found.append(command.decode())
    return found


@with_guest
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)
def test_nothing_stays_when_it_is_killed(number: signal.Signals) -> None:
    memory = f"{200_000 + os.getpid() % 100_000}K"  # tells this guest from others
    shared = set(os.listdir("/dev/shm"))
    process = subprocess.Popen(
        [UML, "--memory", memory, "sh", "-c", "echo up; sleep 1000"], stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    assert left_behind(memory)
    process.send_signal(number)
    assert process.wait(timeout=10) == (-number if number == signal.SIGKILL else 128 + number)
    assert process.stdout.read() == b""  # end of file: nobody has it any more
    process.stdout.close()
    deadline = time.monotonic() + 5
    while left_behind(memory) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_behind(memory) == []
    assert {name for name in set(os.listdir("/dev/shm")) - shared if "uml" in name} == set()


@with_guest
def test_the_time_limit_holds_while_output_flows() -> None:
    done = subprocess.run([UML, "--time-limit", "10", "yes"], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (124, b"uml: ended after 10 s, the time limit\n")
    assert done.stdout.startswith(b"y\ny\n")


@with_guest
def test_a_guest_that_dies_is_no_exit_code_of_the_command() -> None:
    # the guest's own processes carry the output to its console: they are ready to run before the crash is
    done = uml("sh", "-c", "echo alive; sleep 2; echo c >/proc/sysrq-trigger")
    assert (done.returncode, done.stdout) == (125, b"alive\n")
    assert done.stderr.splitlines()[-1] == b"Kernel panic - not syncing: sysrq triggered crash"


@with_guest
def test_doctor_finds_in_the_guest_what_its_kernel_has() -> None:
    done = uml(*PODWIRE, "doctor", "-v")
    assert done.returncode == 0, done.stderr.decode()
    rows = [
        re.split(r"  +", line)[1:3]
        for line in done.stdout.decode().splitlines()
        if line.startswith("kernel ")
    ]
    for feature in (
        "ip_vs",
        "dummy",
        "ipset",
        "iptables (legacy)",
        "br_netfilter",
        "AF_PACKET rings",
    ):
        assert [feature, "ok"] in rows
    assert ["iptables (nft)", "absent"] in rows
    modes = dict(re.findall(r"^(\w+) +(ok|needs \w+)", done.stdout.decode(), re.MULTILINE)[:4])
    assert modes == {"iptables": "ok", "nftables": "needs nf_tables", "userspace": "ok", "ipvs": "ok"}


@with_guest
def test_a_shipped_topology_passes_in_the_guest() -> None:
    """Takes the flavour of iptables that works there."""
    done = uml(*PODWIRE, "hairpin", "--captures", "none")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert b"\n8 flows as promised, " in done.stdout


@pytest.mark.parametrize("word", ["true", "--check"])
def test_what_is_not_installed_is_named_with_the_command(word: str) -> None:
    done = subprocess.run(
        [sys.executable, UML, word], env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    said, silent, prefix = (
        (done.stdout, done.stderr, "") if word == "--check" else (done.stderr, done.stdout, "uml: ")
    )
    assert silent == ""
    assert said.startswith(f"{prefix}not installed: run: sudo apt-get install -y --no-install-recommends ")
    assert said.count("\n") == 1
    assert "user-mode-linux" in said.split()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--nonesuch"],
        *(
            [option, value, "true"]
            for option in ("--memory", "--time-limit")
            for value in ("0", "-1", "1T", "nan", "")
        ),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(words: list[str]) -> None:
    done = subprocess.run([UML, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: scripts/uml ")

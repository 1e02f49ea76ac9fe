"""Tests podwire under limits that are too low, and without rights that it needs: a sentence that names them,
or a right run; never a traceback.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.test_full_disks import limited
from tests.sandboxed import podwire

pytestmark = pytest.mark.kernel

RUN = ("hairpin", "--captures", "none")
MIB = 1 << 20


def lowered(limit: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(limit, (value, value))


def is_right_or_a_sentence(done: subprocess.CompletedProcess[str], words: str) -> bool:
    """Returns whether it ended with verdicts; if not, checks that it printed ``words`` in one line."""
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode == 3:
        assert words in done.stderr
        assert done.stderr.count("podwire: ") == 1, done.stderr
        return False
    assert " as promised" in done.stdout
    return True


@pytest.mark.parametrize("limit", [16, 100])
def test_too_few_descriptors_are_refused_before_anything_is_built(limit: int) -> None:
    done = limited(lowered(resource.RLIMIT_NOFILE, limit), *RUN)
    assert not is_right_or_a_sentence(done, f"the hard limit is {limit} (RLIMIT_NOFILE)")


@pytest.mark.parametrize(
    "words",
    [
        RUN,
        ("three-networks", "--captures", "none"),
        ("three-networks", "--captures", "none", "--proxy-mode", "userspace"),
    ],
    ids=" ".join,
)
def test_as_many_descriptors_as_it_says_are_enough(words: tuple[str, ...]) -> None:
    refused = limited(lowered(resource.RLIMIT_NOFILE, 16), *words)
    need = re.search(r"needs (\d+) open files", refused.stderr)
    assert need, refused.stderr
    done = limited(lowered(resource.RLIMIT_NOFILE, int(need[1])), *words)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_soft_limit_is_raised_by_podwire_itself() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = limited(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard)), *RUN)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("size", [100, 160, 220, 800])
def test_little_address_space(size: int) -> None:
    """Limits memory. The ring of a node takes 16 MiB; podwire does without threads, which take more than they
    use.
    """
    done = limited(lowered(resource.RLIMIT_AS, size * MIB), *RUN)
    assert is_right_or_a_sentence(done, "not enough memory") or size < 800


USER = str(60_000 + os.getpid() % 5_000)  # no other worker of these tests starts processes as this user
AS_NOBODY = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--"] if os.geteuid() == 0 else []


def run_with_processes(count: int) -> subprocess.CompletedProcess[str]:
    """Runs with a limit of ``count`` processes. It counts all processes of a user, and does not hold for
    root.
    """
    words = ["sh", "-c", 'shift; exec prlimit --nproc="$0" "$@"', str(count), "", *AS_NOBODY]
    done = podwire(*RUN, prefix=words, timeout=60)
    assert "Traceback" not in done.stderr
    return done


NO_MORE = re.compile(r"no more (processes|threads) can be started|Resource temporarily unavailable")


@pytest.mark.parametrize("count", [2, 4, 5])
def test_too_few_processes(count: int) -> None:
    done = run_with_processes(count)
    assert done.returncode == 3 or not AS_NOBODY, done.stderr
    assert NO_MORE.search(done.stderr) or not AS_NOBODY


@pytest.mark.parametrize("count", [8, 12])
def test_processes_that_may_be_enough(count: int) -> None:
    """Depends on the number of processors, which decides how many threads are started."""
    done = run_with_processes(count)
    assert done.returncode == 0 or (done.returncode == 3 and NO_MORE.search(done.stderr)), done.stderr


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no capabilities to lose")


@as_root
@pytest.mark.parametrize("capability", ["net_raw", "net_admin", "sys_admin"])
def test_a_capability_that_root_is_without_is_named(capability: str) -> None:
    done = podwire(*RUN, prefix=["setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"])
    assert not is_right_or_a_sentence(done, f"CAP_{capability.upper()}")


@as_root
def test_no_other_capability_is_needed() -> None:
    keep = "--bounding-set=-all,+net_raw,+net_admin,+sys_admin"
    done = podwire(*RUN, prefix=["setpriv", keep, "--inh-caps=-all"])
    assert is_right_or_a_sentence(done, ""), done.stderr


@pytest.mark.parametrize(
    "change",
    [
        "mount -o bind,ro /proc/sys /proc/sys",
        "mount -t tmpfs none /proc/sys",
        "mount -t tmpfs none /sys",
        "mount -o bind,ro / /",
    ],
    ids=lambda s: s,
)
def test_a_machine_whose_settings_are_read_only_or_hidden(change: str, tmp_path: Path) -> None:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = podwire(
        *RUN, prefix=["unshare", *user, "--mount", "sh", "-c", f'{change} && exec "$@"', "sh"], cwd=tmp_path
    )
    is_right_or_a_sentence(done, "podwire: ")


SECCOMP = """
import ctypes, os, struct, sys
number, answer = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, answer), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in rows))
program = ctypes.create_string_buffer(struct.pack("@HL", len(rows), ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
os.execvp(sys.argv[3], sys.argv[3:])
"""
EPERM, ENOSYS, KILL = 0x50001, 0x50026, 0x80000000
CALLS = {
    "setsockopt": 54,
    "getsockopt": 55,
    "setpgid": 109,
    "prctl": 157,
    "setrlimit": 160,
    "mount": 165,
    "umount2": 166,
    "unshare": 272,
    "setns": 308,
    "pidfd_open": 434,
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls are x86_64's")
@pytest.mark.parametrize(
    ("call", "answer"),
    [*((call, EPERM) for call in CALLS), ("pidfd_open", ENOSYS), ("prctl", ENOSYS), ("setns", KILL)],
)
def test_a_system_call_that_a_filter_refuses(call: str, answer: int) -> None:
    done = podwire(*RUN, prefix=[sys.executable, "-c", SECCOMP, str(CALLS[call]), str(answer)], timeout=60)
    if answer == KILL and done.returncode < 0:
        assert done.returncode == -31  # SIGSYS: it was the first process that made the call
    else:
        is_right_or_a_sentence(done, "podwire: ")


# --- tools --------------------------------------------------------------------------------------------------


def with_tool(directory: Path, name: str, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs podwire where the tool ``name`` is ``script``."""
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)
    return podwire(*RUN, *words, prefix=["env", f"PATH={directory}:{os.environ['PATH']}"])


@pytest.mark.parametrize("number", [9, 11, 15])
def test_a_tool_that_is_killed_is_no_refusal(number: int, tmp_path: Path) -> None:
    """Has the kernel kill iptables-nft-restore, as it does where memory is short: the other flavour would
    hide that.
    """
    done = with_tool(tmp_path, "iptables-nft-restore", f"kill -{number} $$")
    assert (done.returncode, done.stdout) == (3, "")
    assert re.search(
        r"podwire: iptables-nft-restore was killed by SIG(KILL|SEGV|TERM)\n  while running:\nip netns exec ",
        done.stderr,
    ), done.stderr


def test_a_refusal_that_makes_the_other_flavour_serve_is_said(tmp_path: Path) -> None:
    done = with_tool(
        tmp_path,
        "iptables-nft-restore",
        "echo 'Could not fetch rule set generation id: Invalid argument' >&2; exit 4",
        "-o",
        "json",
    )
    assert done.returncode == 0, done.stderr
    notice = (
        f"iptables-nft-restore is refused by kernel {platform.release()} (Could not fetch rule set "
        "generation id: Invalid argument): "
        "the rules are loaded by iptables-legacy-restore"
    )
    assert notice in json.loads(done.stdout)["notices"]


HIDING = """
mkdir "$0/all" "$0/most" && mount --bind /usr/sbin "$0/all" || exit
for tool in "$0"/all/*; do
  [ "${tool##*/}" = iptables-nft-restore ] || ln -s "$tool" "$0/most/${tool##*/}"
done
mount --bind "$0/most" /usr/sbin && exec "$@"
"""


def test_a_flavour_that_is_not_installed_is_said(tmp_path: Path) -> None:
    """Uses a /usr/sbin in which there is no iptables-nft-restore."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    hiding = ["unshare", *user, "--mount", "sh", "-c", HIDING, str(tmp_path)]
    done = podwire(*RUN, "-o", "json", prefix=hiding)
    assert done.returncode == 0, done.stderr
    assert (
        "iptables-nft-restore is not installed: the rules are loaded by iptables-legacy-restore"
        in json.loads(done.stdout)["notices"]
    )


@pytest.mark.parametrize("tool", ["ip", "nft", "ipset"])
def test_doctor_does_without_a_tool(tool: str) -> None:
    """Says that a run does without it, too. No file of that name can be executed."""
    script = 'for path in $(which -a "$0"); do mount --bind /dev/null "$(realpath "$path")"; done; exec "$@"'
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = podwire("doctor", "-v", prefix=["unshare", *user, "--mount", "sh", "-c", script, tool])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the tool {tool} is needed to tell" in done.stdout
    assert done.stdout.splitlines()[-1] == "podwire runs here."

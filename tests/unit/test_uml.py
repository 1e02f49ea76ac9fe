"""Tests scripts/uml without a guest: the ptrace that it preloads on processors with more extended state than
user-mode Linux knows.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit import state_setter

UML = Path(__file__).parents[2] / "scripts" / "uml"
HEADER_END, AVX_END = 576, 832  # bytes: of the state without any component but x87 and SSE; and with AVX


@pytest.fixture(scope="module")
def uml() -> ModuleType:
    loader = SourceFileLoader("uml", str(UML))
    spec = spec_from_loader("uml", loader)
    assert spec
    module = module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module


@pytest.fixture(scope="module")
def own_ptrace(uml: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiled = tmp_path_factory.mktemp("own") / "ptrace.so"
    uml.compile_own_ptrace(compiled)
    return compiled


def set_state(size: int, preloaded: Path | None = None) -> dict[str, object]:
    environment = dict(os.environ, LD_PRELOAD=str(preloaded)) if preloaded else dict(os.environ)
    done = subprocess.run(
        [sys.executable, "-I", state_setter.__file__, str(size)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def has_avx() -> bool:
    return platform.machine() == "x86_64" and " avx " in Path("/proc/cpuinfo").read_text()


with_avx = pytest.mark.skipif(
    not has_avx(), reason="this processor has no AVX: no state is larger than the least"
)


@with_avx
def test_the_kernel_refuses_less_than_the_whole_state() -> None:
    """Makes the fault itself: user-mode Linux 6.1 meets it on a processor with AMX, this on any with AVX."""
    assert set_state(HEADER_END)["error"] == errno.EFAULT


@with_avx
def test_state_of_a_smaller_size_is_set_and_components_beyond_it_are_initial(own_ptrace: Path) -> None:
    found = set_state(HEADER_END, own_ptrace)
    assert (found["error"], found["sse"], found["avx"]) == (0, "sse state here..", "")


@with_avx
def test_components_within_a_smaller_size_are_set(own_ptrace: Path) -> None:
    found = set_state(AVX_END, own_ptrace)
    assert (found["error"], found["sse"], found["avx"]) == (0, "sse state here..", "avx state here..")


@with_avx
def test_the_whole_state_goes_to_the_kernel_as_it_is(own_ptrace: Path) -> None:
    assert set_state(0, own_ptrace) == set_state(0)


@with_avx
def test_less_than_any_state_has_is_refused_as_ever(own_ptrace: Path) -> None:
    assert set_state(HEADER_END - 8, own_ptrace)["error"] == errno.EFAULT


@with_avx
def test_the_size_that_the_kernel_takes_is_known_before_a_guest_starts(uml: ModuleType) -> None:
    assert uml.state_size() == set_state(0)["size"]


DIES = """
import os, runpy, signal, sys, time
uml = runpy.run_path(sys.argv[1], run_name="uml")
kill, parent = os.kill, os.getpid()

def stop_late(pid, how):
    while os.getppid() == parent:
        time.sleep(0.01)
    kill(pid, how)

def die(child, how):
    print(child, flush=True)
    kill(parent, signal.SIGKILL)

os.kill, os.waitpid = stop_late, die
uml["state_size"]()
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="nothing is measured there")
def test_measuring_leaves_no_stopped_process_behind_one_that_is_killed() -> None:
    command = [sys.executable, "-B", "-c", DIES, str(UML)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())  # about to stop, when its parent is killed
    assert process.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def test_where_the_size_fits_nothing_is_preloaded(uml: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uml, "state_size", lambda: uml.KNOWN_STATE)
    monkeypatch.setattr(uml, "compile_own_ptrace", lambda to: pytest.fail("it was compiled"))
    with uml.own_ptrace(forced=False) as preloaded:
        assert preloaded is None


def test_it_is_compiled_once_and_belongs_to_the_owner_of_the_environment(
    uml: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uml, "VENV", tmp_path)
    monkeypatch.setattr(uml, "state_size", lambda: uml.KNOWN_STATE + 1)
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    with uml.own_ptrace(forced=False) as first:
        assert first.is_file()
    monkeypatch.setattr(uml, "compile_own_ptrace", lambda to: pytest.fail("it was compiled again"))
    with uml.own_ptrace(forced=False) as second:
        assert second.parent == tmp_path
        assert (second.stat().st_uid, second.stat().st_mode & 0o777) == (tmp_path.stat().st_uid, 0o644)
    assert list(tmp_path.iterdir()) == [second]


def test_where_it_cannot_be_kept_it_is_compiled_for_one_guest(
    uml: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uml, "VENV", tmp_path / "nonexistent")
    with uml.own_ptrace(forced=True) as preloaded:
        assert preloaded.is_file()
    assert not preloaded.exists()


def test_a_machine_without_a_compiler_is_told_what_to_install(
    uml: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "scripts"
    alone.mkdir()
    shutil.copy(UML, alone)
    shutil.copytree(UML.with_name("uml.d"), alone / "uml.d")
    done = subprocess.run(
        [sys.executable, "-I", alone / "uml", "--own-ptrace", "--prepare"],
        env={"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.endswith(
        "there is no gcc: run: sudo apt-get install -y --no-install-recommends gcc libc6-dev\n"
    )


def test_a_caller_that_ignores_sigchld_is_told_what_is_lacking(tmp_path: Path) -> None:
    """Inherits SIGCHLD ignored: the exit codes of started processes would be lost."""
    script = 'trap "" CHLD; exec "$@"'
    (tmp_path / "gcc").write_text("#!/bin/sh\nexit 4\n")
    (tmp_path / "gcc").chmod(0o755)
    shutil.copy(UML, tmp_path)
    shutil.copytree(UML.with_name("uml.d"), tmp_path / "uml.d")
    command = [
        "bash",
        "-c",
        script,
        "bash",
        sys.executable,
        "-I",
        tmp_path / "uml",
        "--own-ptrace",
        "--prepare",
    ]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr

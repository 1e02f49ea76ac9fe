"""Tests scripts/with-env without installing anything: its refusals, and that it adds nothing of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITH_ENV = ROOT / "scripts" / "with-env"
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))

in_its_environment = pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv", reason="these tests do not run through scripts/with-env"
)


def run(
    *command: str | Path, cwd: Path | None = None, **variables: str | Path
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def as_user() -> list[str]:
    """Returns the prefix that makes a command an ordinary user's."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []


@pytest.fixture
def bare_checkout() -> Iterator[Path]:
    """Yields a checkout without ``.venv`` that an ordinary user may read and not write, at a path with a
    blank in it.
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "a checkout"
        (root / "scripts").mkdir(parents=True)
        for name in ("scripts/with-env", *(path.name for path in REQUIREMENTS)):
            shutil.copy(ROOT / name, root / name)
        Path(directory).chmod(0o755)
        root.chmod(0o555)
        yield root
        root.chmod(0o755)


def test_without_a_command_it_says_how_to_use_it() -> None:
    result = run(WITH_ENV)
    assert (result.returncode, result.stderr) == (
        2,
        "usage: scripts/with-env [--browser] COMMAND [ARGUMENT…]\n",
    )


@pytest.mark.parametrize(
    ("command", "mends"),
    [
        (["python", "run_topology.py"], "python --version"),
        (["podwire"], "python --version"),
        (["pytest"], "pytest --version"),
        (["python", "-m", "pytest"], "pytest --version"),
        (["--browser", "pytest"], "--browser pytest --version"),
    ],
    ids=" ".join,
)
def test_who_may_not_install_is_told_what_would(bare_checkout: Path, command: list[str], mends: str) -> None:
    script = bare_checkout / "scripts" / "with-env"
    result = run(*as_user(), script, *command)
    assert result.returncode == 3
    assert result.stdout == ""
    whole = f"run: sudo {str(script).replace(' ', chr(92) + ' ')} {mends}\n"
    if "--browser" in command and not (shutil.which("chromium-headless-shell") and shutil.which("pdftotext")):
        whole = "run: sudo apt-get install -y --no-install-recommends "  # the tools come first
    assert whole in result.stderr
    assert not (bare_checkout / ".venv").exists()


def test_set_up_runs_nothing_that_lies_in_the_current_directory_or_on_pythonpath(
    bare_checkout: Path, tmp_path: Path
) -> None:
    """Runs as root, who may set up from any directory: from one that another user writes to, say."""
    bare_checkout.chmod(0o755)
    for path in bare_checkout.glob("requirements*.txt"):
        path.write_text("# nothing, so that nothing is fetched\n")
    trap = tmp_path / "trap"
    trap.mkdir()
    caught = tmp_path / "caught"
    for name in sys.stdlib_module_names | {"pip"}:
        (trap / f"{name}.py").write_text(f"open({str(caught)!r}, 'a').write({name!r} + ' ')\n")
    (trap / "sh").write_text(f"echo bash >>{caught}\n")
    result = run(
        bare_checkout / "scripts" / "with-env", "true", cwd=trap, PYTHONPATH=trap, BASH_ENV=trap / "sh"
    )
    assert (result.returncode, caught.exists()) == (0, False), result.stderr + (
        caught.read_text() if caught.exists() else ""
    )
    assert (bare_checkout / ".venv" / "bin" / "podwire").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can write into somebody else's checkout")
def test_root_and_the_owner_of_a_checkout_set_it_up_in_turn(bare_checkout: Path) -> None:
    """Runs sudo first, then without: the one's files do not stand in the other's way."""
    bare_checkout.chmod(0o755)
    for path in (bare_checkout, *bare_checkout.rglob("*")):
        os.chown(path, 65534, 65534)
    for prefix in ([], as_user()):
        for path in bare_checkout.glob("requirements*.txt"):
            path.write_text(f"# nothing, so that nothing is fetched; now for {prefix}\n")
        result = run(*prefix, bare_checkout / "scripts" / "with-env", "true")
        assert result.returncode == 0, result.stderr
        owners = {
            (path.lstat().st_uid, path.lstat().st_gid)
            for path in (bare_checkout / ".venv", *(bare_checkout / ".venv").rglob("*"))
        }
        assert owners == {(65534, 65534)}
    result = run(
        bare_checkout / "scripts" / "with-env", "python", "-c", "import sys; print(sys.dont_write_bytecode)"
    )
    assert (result.returncode, result.stdout) == (0, "True\n"), (
        "root's caches would lie in that user's directories"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone installs")
def test_a_tool_that_only_some_commands_start_and_that_cannot_be_installed_stops_no_other(
    bare_checkout: Path, tmp_path: Path
) -> None:
    bare_checkout.chmod(0o755)
    for path in bare_checkout.glob("requirements*.txt"):
        path.write_text("# nothing, so that nothing is fetched\n")
    for path in [*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()]:
        if path.name not in ("curl", "apt-get", "sleep") and not (tmp_path / path.name).is_symlink():
            (tmp_path / path.name).symlink_to(path)
    for name, code in (("apt-get", "exit 100"), ("sleep", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho no network >&2; {code}\n")
        (tmp_path / name).chmod(0o755)
    result = run(bare_checkout / "scripts" / "with-env", "echo", "it runs", PATH=tmp_path)
    assert (result.returncode, result.stdout) == (0, "it runs\n"), result.stderr
    assert (
        "with-env: apt-get could not install: curl\nwith-env: going on without what could not be installed\n"
        in result.stderr
    )


@in_its_environment
def test_a_pythonpath_of_the_callers_does_not_shadow_what_is_installed(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('not this one')\n")
    result = run(WITH_ENV, "python", "-c", "import yaml; print(yaml.__file__)", PYTHONPATH=tmp_path)
    assert (result.returncode, str(ROOT / ".venv") in result.stdout) == (0, True), result.stderr


@in_its_environment
def test_words_exit_code_and_directory_are_the_commands_own(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv[1:], os.getcwd(), sys.prefix); sys.exit(7)"
    result = run(WITH_ENV, "python", "-c", code, "two words", "*", "", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (7, "")
    assert result.stdout == f"['two words', '*', ''] {tmp_path} {ROOT / '.venv'}\n"


@in_its_environment
@pytest.mark.parametrize(
    "command", [["podwire", "--version"], ["python", "-m", "emulator", "--version"]], ids=" ".join
)
def test_podwire_runs_from_anywhere(command: list[str], tmp_path: Path) -> None:
    # a directory of that name where one happens to be does not get in the way of `podwire`
    (tmp_path / "emulator").mkdir()
    result = run(WITH_ENV, *command, cwd=tmp_path if command[0] == "podwire" else ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("podwire ")


@in_its_environment
def test_an_ordinary_user_uses_what_root_installed() -> None:
    if run(*as_user(), "test", "-r", WITH_ENV).returncode:
        pytest.skip("this checkout lies where an ordinary user cannot read")
    result = run(*as_user(), WITH_ENV, "python", "-c", "import yaml, pydantic")
    assert (result.returncode, result.stderr) == (0, "")


def pins(path: Path) -> dict[str, tuple[str, set[str]]]:
    """Returns each requirement's name and marker, with its version and hashes."""
    found: dict[str, tuple[str, set[str]]] = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        if not line.startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            pinned, _, marker = requirement.partition(";")
            name, version = pinned.strip().split("==")
            found[f"{name};{marker.strip()}"] = (version, {text.strip() for text in hashes})
    return found


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_every_requirement_is_exact_and_has_its_hashes(path: Path) -> None:
    assert pins(path)
    for name, (version, hashes) in pins(path).items():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes), name


def test_no_two_lists_of_packages_ask_for_different_versions() -> None:
    """Requires one version, since they are installed into one environment and the last one would win."""
    versions: dict[str, set[str]] = {}
    for path in REQUIREMENTS:
        for name, (version, _) in pins(path).items():
            versions.setdefault(name, set()).add(version)
    assert len(REQUIREMENTS) == 5
    assert {name: several for name, several in versions.items() if len(several) > 1} == {}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_what_is_pinned_holds_what_is_asked_for(path: Path) -> None:
    wanted = {
        line.partition("#")[0].strip().lower() for line in path.with_suffix(".in").read_text().splitlines()
    } - {""}
    assert wanted <= {name.partition(";")[0] for name in pins(path)}


def test_ci_runs_the_commands_of_the_readme() -> None:
    """Runs the tests here, and both on fresh machines."""
    readme = (ROOT / "README.md").read_text().splitlines()
    here = (ROOT / ".ci" / "run").read_text().replace('"${as_root[@]}"', "sudo").splitlines()
    fresh = [f"sudo {line.strip()}" for line in (ROOT / ".ci" / "fresh-root").read_text().splitlines()]
    commands = ["sudo scripts/with-env python run_topology.py", "sudo scripts/with-env pytest"]
    assert [line for line in readme if line in commands] == commands
    assert commands[1] in here
    assert commands[0] in fresh
    assert any(commands[1].removeprefix("sudo ") + " --thin" in line for line in fresh)

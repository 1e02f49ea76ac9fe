"""Builds the wheel, unpacks it where nothing else is, and runs it."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import emulator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the directory that holds the files of the wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-I",
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        str(directory),
    ]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    assert wheel.name == f"podwire-{emulator.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "site")
    return directory / "site"


def run_python(installed: Path, code: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``code`` where the wheel's modules come first, and where the checkout is not."""
    start = f"import sys; sys.path = [{str(installed)!r}, *(p for p in sys.path if p != {str(ROOT)!r})]\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", start + code, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


MAIN = "from podwire.emulator.cli import main; sys.exit(main())"


def test_one_package_is_installed(installed: Path) -> None:
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"podwire"}


def test_no_module_speaks_of_the_checkouts_name(installed: Path) -> None:
    code = """
import importlib, pkgutil, podwire
for module in pkgutil.walk_packages(podwire.__path__, "podwire."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*(name for name in sys.modules if name.startswith("emulator")))
print(podwire.__file__)
"""
    done = run_python(installed, code, cwd=installed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["", str(installed / "podwire" / "__init__.py")]


def test_everything_that_it_reads_is_inside(installed: Path, tmp_path: Path) -> None:
    done = run_python(installed, MAIN, "list", cwd=tmp_path)
    names = {line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")}
    assert names == {path.stem for path in (ROOT / "topologies").iterdir() if path.suffix in (".py", ".yaml")}
    cited = run_python(installed, MAIN, "doc", "semantics", "7", cwd=tmp_path).stdout
    assert cited.startswith("## 7. ")
    share = installed / "podwire" / "share"
    for path in ("docs/semantics.md", "scripts/uml", "scripts/uml.d/init", "scripts/uml.d/ptrace.c"):
        assert (share / path).read_bytes() == (ROOT / path).read_bytes()
    assert (installed / "podwire" / "py.typed").exists()
    metadata = next(installed.glob("*.dist-info")) / "METADATA"
    assert "License-Expression: Apache-2.0" in metadata.read_text()


@pytest.mark.kernel
@pytest.mark.parametrize("topology", ["", "hairpin"], ids=["the default one", "one in Python"])
def test_topology_runs(installed: Path, tmp_path: Path, topology: str) -> None:
    done = run_python(installed, MAIN, *filter(None, [topology]), "--html", "report.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ flows as promised, ", done.stdout, re.MULTILINE)
    assert (tmp_path / "captures").is_dir()
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    [all_frames] = re.findall(r'href="(\./[a-z/-]+/all\.pcapng)"', page)
    assert (tmp_path / all_frames).is_file()


@pytest.mark.kernel
def test_programs_import_it_by_its_name(installed: Path, tmp_path: Path) -> None:
    code = """
import podwire
with podwire.cluster("hairpin") as cluster:
    print(cluster.exec("echo", ["hostname", "-I"]).stdout.strip(), cluster.report.ok)
"""
    done = run_python(installed, code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("10.244.1.2 True\n", "")

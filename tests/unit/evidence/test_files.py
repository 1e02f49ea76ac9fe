"""Writing evidence: whole files, nothing outside the directory, nothing of the user's removed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.errors import UsageError
from emulator.evidence.files import check_writable, check_writable_file, write_evidence, write_file

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives files to another user")


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def test_writes_into_directories_that_it_makes(tmp_path: Path) -> None:
    directory = tmp_path / "captures" / "topology"
    write_evidence(directory, [("all.pcapng", b"all"), ("failed/01-x/journey.txt", b"hops")])
    assert tree(directory) == {"all.pcapng", "failed/01-x/journey.txt", "index.json"}
    assert (directory / "failed/01-x/journey.txt").read_bytes() == b"hops"


def test_removes_what_the_previous_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    write_evidence(tmp_path, [("all.pcapng", b"1"), ("01-a.pcapng", b"1"), ("failed/01-a/x.txt", b"1"), ("failed/02-b/x.txt", b"1")])
    (tmp_path / "mine.pcapng").write_bytes(b"mine")
    (tmp_path / "failed/02-b/notes.txt").write_bytes(b"mine")
    write_evidence(tmp_path, [("all.pcapng", b"2"), ("01-b.pcapng", b"2")])
    assert tree(tmp_path) == {"all.pcapng", "01-b.pcapng", "index.json", "mine.pcapng", "failed/02-b/notes.txt"}
    assert (tmp_path / "all.pcapng").read_bytes() == b"2"
    assert not (tmp_path / "failed/01-a").exists()


def test_an_interrupted_run_leaves_whole_files_and_the_next_one_removes_them(tmp_path: Path) -> None:
    def interrupted() -> Iterator[tuple[str, bytes]]:
        yield "02-new.pcapng", b"new"
        raise KeyboardInterrupt

    write_evidence(tmp_path, [("01-old.pcapng", b"old")])
    with pytest.raises(KeyboardInterrupt):
        write_evidence(tmp_path, interrupted())
    assert tree(tmp_path) == {"01-old.pcapng", "02-new.pcapng", "index.json"}
    write_evidence(tmp_path, [("03.pcapng", b"")])
    assert tree(tmp_path) == {"03.pcapng", "index.json"}


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../b", ".hidden", "-rf", "a//b", "", "a\nb", "a/"])
def test_refuses_a_name_that_could_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a safe file name"):
        write_evidence(tmp_path / "d", [(name, b"")])
    assert tree(tmp_path) == {"d/index.json"}


@pytest.mark.parametrize(
    "index",
    [
        b"not json",
        b"[" * 100_000,
        b"\xff",
        b"[]",
        b'{"schema": "podwire.dev/captures/v1", "files": 3}',
        b'{"schema": "another", "files": ["kept.txt"]}',
        b'{"schema": "podwire.dev/captures/v1", "files": ["../kept.txt", "/kept.txt", 7, "d/../kept.txt"]}',
    ],
)
def test_an_index_that_is_not_ours_removes_nothing(tmp_path: Path, index: bytes) -> None:
    (tmp_path / "kept.txt").write_bytes(b"")
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "kept.txt").write_bytes(b"")
    (directory / "index.json").write_bytes(index)
    write_evidence(directory, [])
    assert tree(tmp_path) == {"kept.txt", "d/kept.txt", "d/index.json"}


def test_an_index_that_is_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index.json")
    write_evidence(tmp_path, [])
    assert (tmp_path / "index.json").is_file()


def test_links_in_the_directory_are_replaced_not_followed(tmp_path: Path) -> None:
    outside, directory = tmp_path / "outside", tmp_path / "d"
    outside.mkdir()
    directory.mkdir()
    (outside / "target").write_bytes(b"kept")
    (directory / "all.pcapng").symlink_to(outside / "target")
    (directory / "index.json").symlink_to(outside / "target")
    write_evidence(directory, [("all.pcapng", b"new")])
    assert (outside / "target").read_bytes() == b"kept"
    assert not (directory / "all.pcapng").is_symlink()


def test_a_linked_subdirectory_is_not_entered(tmp_path: Path) -> None:
    outside, directory = tmp_path / "outside", tmp_path / "d"
    outside.mkdir()
    directory.mkdir()
    (outside / "x.txt").write_bytes(b"kept")
    (directory / "failed").symlink_to(outside)
    index = {"schema": "podwire.dev/captures/v1", "files": ["failed/x.txt"]}
    (directory / "index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError):
        write_evidence(directory, [("failed/y.txt", b"new")])
    write_evidence(directory, [])
    assert tree(outside) == {"x.txt"}


@pytest.mark.parametrize("check", [check_writable, lambda directory: write_evidence(directory, [])], ids=["check", "write"])
def test_the_directory_itself_may_not_be_a_link(tmp_path: Path, check: object) -> None:
    assert callable(check)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(UsageError, match="symbolic link"):
        check(tmp_path / "link")
    assert tree(tmp_path / "real") == set()


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="Not a directory"):
        check_writable(tmp_path / "file" / "topology")


def test_a_check_leaves_an_empty_directory(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert tree(tmp_path) == set()
    assert (tmp_path / "a" / "b").is_dir()


def test_an_unwritable_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may write everywhere
    try:
        with pytest.raises(UsageError, match="Permission denied"):
            check_writable(tmp_path)
    finally:
        if root:
            os.seteuid(0)


def test_a_file_system_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write /proc/podwire"):
        check_writable(Path("/proc/podwire"))


@as_root
def test_under_sudo_everything_belongs_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "4242")
    monkeypatch.setenv("SUDO_GID", "4243")
    directory = tmp_path / "captures" / "topology"
    write_evidence(directory, [("failed/01-x/journey.txt", b"")])
    for path in [tmp_path / "captures", *(tmp_path / "captures").rglob("*")]:
        assert (path.stat().st_uid, path.stat().st_gid) == (4242, 4243), path
    assert tmp_path.stat().st_uid == 0, "what was there before is left alone"


def test_a_named_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(b"old, and longer")
    check_writable_file(file)
    assert file.read_bytes() == b"old, and longer"
    write_file(file, b"new")
    assert file.read_bytes() == b"new"
    assert tree(tmp_path) == {"report.json"}


def test_a_device_is_written_not_replaced() -> None:
    check_writable_file(Path("/dev/null"))
    write_file(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("path", ["", "missing/report.json"], ids=["a directory", "in no directory"])
def test_a_named_file_that_cannot_be(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        check_writable_file(tmp_path / path)
    with pytest.raises(UsageError, match="cannot write"):
        write_file(tmp_path / path, b"")
    assert tree(tmp_path) == set()

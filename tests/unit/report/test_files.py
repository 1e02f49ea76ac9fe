"""Tests writing evidence: whole files, nothing outside the directory, nothing of the user's removed."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.errors import UsageError
from emulator.report import files
from emulator.report.files import (
    Saved,
    check_writable,
    check_writable_file,
    claim_directory,
    open_file,
    sudo_caller,
    write_evidence,
    write_file,
)
from tests.conftest import UNSHARE
from tests.sandboxed import ROOT

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives files to another user")


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def test_writes_into_directories_that_it_makes(tmp_path: Path) -> None:
    directory = tmp_path / "captures" / "topology"
    write_evidence(directory, [("all.pcapng", b"all"), ("failed/01-x/journey.txt", b"hops")])
    assert tree(directory) == {"all.pcapng", "failed/01-x/journey.txt", "index.json"}
    assert (directory / "failed/01-x/journey.txt").read_bytes() == b"hops"


def test_git_ignores_a_new_directory_of_evidence_and_no_other(tmp_path: Path) -> None:
    """Writes a .gitignore as pytest does into its cache."""
    write_evidence(tmp_path / "captures" / "shop", [("a.txt", b"a")])
    assert (tmp_path / "captures" / ".gitignore").read_text().endswith("\n*\n")
    (tmp_path / "mine").mkdir()
    write_evidence(tmp_path / "mine" / "shop", [("a.txt", b"a")])
    assert not (tmp_path / "mine" / ".gitignore").exists()


def test_inputs_that_are_named_alike_have_directories_of_their_own(tmp_path: Path) -> None:
    """Keeps the evidence of one when the other runs again."""
    captures = tmp_path / "captures"
    runs = [
        ("/a/web.yaml", "web"),
        ("/b/web.yaml", "web-2"),
        ("/c/web-2.yaml", "web-2-2"),
        ("/c/web.yaml", "web-3"),
    ]
    for _ in range(2):
        for source, name in runs:
            directory = claim_directory(captures / Path(source).stem, source)
            assert directory == captures / name
            write_evidence(directory, [(f"{name}.pcapng", source.encode())])
    files = {f"{name}/{file}" for _, name in runs for file in (f"{name}.pcapng", "index.json")}
    assert tree(captures) == {".gitignore", *files}


def test_a_directory_of_a_run_that_is_not_done_is_taken(tmp_path: Path) -> None:
    assert claim_directory(tmp_path / "web", "/a/web.yaml") == tmp_path / "web"
    assert claim_directory(tmp_path / "web", "/b/web.yaml") == tmp_path / "web-2"


def test_evidence_of_an_earlier_release_is_replaced(tmp_path: Path) -> None:
    write_evidence(tmp_path / "web", [("old.pcapng", b"")])
    assert claim_directory(tmp_path / "web", "/a/web.yaml") == tmp_path / "web"
    write_evidence(tmp_path / "web", [("new.pcapng", b"")])
    assert tree(tmp_path / "web") == {"new.pcapng", "index.json"}


def test_removes_what_the_previous_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    write_evidence(
        tmp_path,
        [
            ("all.pcapng", b"1"),
            ("01-a.pcapng", b"1"),
            ("failed/01-a/x.txt", b"1"),
            ("failed/02-b/x.txt", b"1"),
        ],
    )
    (tmp_path / "mine.pcapng").write_bytes(b"mine")
    (tmp_path / "failed/02-b/notes.txt").write_bytes(b"mine")
    write_evidence(tmp_path, [("all.pcapng", b"2"), ("01-b.pcapng", b"2")])
    assert tree(tmp_path) == {
        "all.pcapng",
        "01-b.pcapng",
        "index.json",
        "mine.pcapng",
        "failed/02-b/notes.txt",
    }
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
    assert write_evidence(directory, [("failed/y.txt", b"new")]).names == frozenset()
    write_evidence(directory, [])
    assert tree(outside) == {"x.txt"}


def test_the_directory_itself_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(UsageError, match="symbolic link"):
        check_writable(tmp_path / "link")
    assert "symbolic link" in write_evidence(tmp_path / "link", [("all.pcapng", b"")]).missing
    assert tree(tmp_path / "real") == set()


class Disk:
    """Describes a disk of ``size`` bytes on which index.json, which is written last, takes ``index``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, size: int, index: int = 0) -> None:
        self.used: dict[str, int] = {}
        self.size, self.index = size, index
        self.replace, self.remove = files._replace, files._remove
        monkeypatch.setattr(files, "_replace", self.write)
        monkeypatch.setattr(files, "_remove", self.forget)

    def write(self, directory: int, name: str, content: bytes) -> None:
        need = self.index if name == files.INDEX else len(content)
        if sum(size for other, size in self.used.items() if other != name) + need > self.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.replace(directory, name, content)
        self.used[name] = need

    def forget(self, directory: int, name: str) -> None:
        self.remove(directory, name)
        self.used.pop(name, None)


def test_on_a_full_disk_what_has_room_is_written_and_the_rest_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, size=3)
    written = write_evidence(
        tmp_path,
        [("all.pcapng", b"12345"), ("01-a.pcapng", b"12"), ("02-b.pcapng", b"12"), ("03-c.pcapng", b"1")],
    )
    assert written.names == {"01-a.pcapng", "03-c.pcapng"}
    assert "cannot write all.pcapng and 1 more in " in written.missing
    assert written.missing.count("No space left on device") == 1
    assert tree(tmp_path) == {"01-a.pcapng", "03-c.pcapng", "index.json"}


def test_a_file_of_an_earlier_run_does_not_stand_for_one_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_evidence(tmp_path, [("all.pcapng", b"old")])
    Disk(monkeypatch, size=1)
    write_evidence(tmp_path, [("all.pcapng", b"new"), ("01-a.pcapng", b"1")])
    assert tree(tmp_path) == {"01-a.pcapng", "index.json"}


def test_files_give_way_to_the_index_that_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes files that no index lists: the next run would leave them there for ever."""
    Disk(monkeypatch, size=4, index=2)
    written = write_evidence(tmp_path, [("01-a.pcapng", b"12"), ("02-b.pcapng", b"12")])
    assert written.names == {"01-a.pcapng"}
    assert tree(tmp_path) == {"01-a.pcapng", "index.json"}


def test_memory_that_is_short_while_evidence_is_encoded_costs_the_rest_of_it(tmp_path: Path) -> None:
    def encode() -> Iterator[tuple[str, bytes]]:
        yield "all.pcapng", b"all"
        raise MemoryError

    written = write_evidence(tmp_path, encode())
    assert written.names == {"all.pcapng"}
    assert "memory" in written.missing
    assert tree(tmp_path) == {"all.pcapng", "index.json"}


def test_nothing_is_missing_where_all_is_written(tmp_path: Path) -> None:
    assert write_evidence(tmp_path, [("all.pcapng", b"")]) == Saved(frozenset({"all.pcapng"}))


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="Not a directory"):
        check_writable(tmp_path / "file" / "topology")


def test_a_check_leaves_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
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


@pytest.mark.parametrize(
    ("user", "group", "caller"),
    [
        ("1000", "1001", (1000, 1001)),
        ("0", "0", (0, 0)),
        ("", "", None),
        ("1000", "", None),
        ("1000", "-1", None),
        ("1000", "staff", None),
        ("1e3", "1000", None),
        (" 1000", "1000", None),
        ("\u0661", "1000", None),
        ("4294967294", "4294967294", (4294967294, 4294967294)),
        ("4294967295", "1000", None),
        ("99999999999999999999", "1000", None),
        ("1000", "99999999999999999999", None),
    ],
)
def test_who_called_sudo(user: str, group: str, caller: tuple[int, int] | None) -> None:
    assert sudo_caller({"SUDO_UID": user, "SUDO_GID": group}) == caller


@as_root
def test_a_sudo_caller_that_there_cannot_be_costs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "99999999999999999999")
    monkeypatch.setenv("SUDO_GID", "1000")
    write_file(tmp_path / "report.json", b"new")
    assert ((tmp_path / "report.json").read_bytes(), (tmp_path / "report.json").stat().st_uid) == (b"new", 0)


def test_a_named_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(b"old, and longer")
    check_writable_file(file)
    assert file.read_bytes() == b"old, and longer"
    write_file(file, b"new")
    assert file.read_bytes() == b"new"
    assert tree(tmp_path) == {"report.json"}


@pytest.mark.parametrize("directory", ["/dev/fd", "/proc/self/fd"])
def test_a_descriptor_of_ours_is_written_to_where_it_stands(directory: str, tmp_path: Path) -> None:
    """Opens it as a shell's ``3>file`` does: earlier text stays before."""
    with (tmp_path / "out").open("wb", buffering=0) as file:
        file.write(b"before ")
        name = Path(directory) / str(file.fileno())
        check_writable_file(name)
        write_file(name, b"report")
        file.write(b" after")
    assert (tmp_path / "out").read_bytes() == b"before report after"
    with pytest.raises(UsageError, match="Bad file descriptor"):
        check_writable_file(Path(directory) / "987654321")


DEV = """
mount -t tmpfs tmpfs "$1" && cd "$1" && shift || exit
ln -s /proc/self/fd/1 stdout && for name in null urandom; do touch $name && mount --bind /dev/$name $name; \
done
mount --move . /dev && "$@" && test -h /dev/stdout
"""


def test_dev_stdout_is_never_replaced(tmp_path: Path) -> None:
    """Writes as root into a /dev of our own, where standard output is a file that could be replaced."""
    script = (
        "from pathlib import Path; from emulator.report.files import write_file; "
        "write_file(Path('/dev/stdout'), b'report')"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    words = [*UNSHARE, "sh", "-c", DEV, "sh", str(tmp_path), sys.executable, "-c", script]
    with (tmp_path.parent / "out").open("wb") as out:
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, env=environment, check=False)
    assert (done.returncode, (tmp_path.parent / "out").read_bytes()) == (0, b"report"), done.stderr


def test_a_device_is_written_not_replaced() -> None:
    check_writable_file(Path("/dev/null"))
    write_file(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_file_that_is_written_piece_by_piece_replaces_a_link(tmp_path: Path) -> None:
    """Refuses, since root would empty another user's file behind the link."""
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "live.pcapng").symlink_to("precious")
    fd = open_file(tmp_path / "live.pcapng")
    os.write(fd, b"first ")
    assert (tmp_path / "live.pcapng").read_bytes() == b"first "
    os.write(fd, b"second")
    os.close(fd)
    assert (tmp_path / "live.pcapng").read_bytes() == b"first second"
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert tree(tmp_path) == {"live.pcapng", "precious"}


def test_a_pipe_or_a_descriptor_is_written_itself(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for fd in (
        open_file(tmp_path / "pipe"),
        open_file(Path(f"/dev/fd/{os.dup(1)}")),
        open_file(Path("/dev/null")),
    ):
        assert fd > 2
        os.close(fd)
    with open(tmp_path / "pipe", "wb", buffering=0), os.fdopen(reader, "rb") as there:
        write_file(tmp_path / "pipe", b"report")
        assert there.read(6) == b"report"


@pytest.mark.parametrize("path", ["", "missing/live.pcapng"], ids=["a directory", "in no directory"])
def test_a_file_to_write_piece_by_piece_that_cannot_be(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        open_file(tmp_path / path)
    assert tree(tmp_path) == set()


@pytest.mark.parametrize("path", ["", "missing/report.json"], ids=["a directory", "in no directory"])
def test_a_named_file_that_cannot_be(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        check_writable_file(tmp_path / path)
    with pytest.raises(UsageError, match="cannot write"):
        write_file(tmp_path / path, b"")
    assert tree(tmp_path) == set()


# --- writers that are killed ------------------------------------------------------------------------------


KILLED = """
import os, signal, sys
from pathlib import Path
from emulator.report import files
if sys.argv[2] == "named":
    files._open_unnamed = lambda directory: None
def content():
    yield b"half"
    os.kill(os.getpid(), signal.SIGKILL)
files.write_evidence(Path(sys.argv[1]), [("a.pcapng", b"a"), ("failed/01-x/b.pcapng", content())])
"""


def write_and_be_killed(directory: Path, how: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, directory, how], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_writer_that_is_killed_leaves_whole_files_only(tmp_path: Path) -> None:
    with os.fdopen(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY)):  # or this file system cannot show it
        write_and_be_killed(tmp_path, "unnamed")
    assert tree(tmp_path) == {"a.pcapng"}


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    write_and_be_killed(tmp_path, "named")
    assert len(tree(tmp_path)) == 2
    write_evidence(tmp_path, [("failed/01-x/c.pcapng", b"c")])
    assert tree(tmp_path) == {"a.pcapng", "failed/01-x/c.pcapng", "index.json"}


def test_a_report_s_directory_is_cleaned_too(tmp_path: Path) -> None:
    (tmp_path / ".podwire-0123456789abcdef.tmp").write_bytes(b"half")
    write_file(tmp_path / "report.json", b"{}")
    assert tree(tmp_path) == {"report.json"}


@pytest.mark.parametrize("named", [False, True])
def test_a_file_that_is_being_written_is_not_taken_away(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named:
        monkeypatch.setattr(files, "_open_unnamed", lambda directory: None)

    def content() -> Iterator[bytes]:
        yield b"one "
        write_file(tmp_path / "other.json", b"{}")
        assert len(tree(tmp_path)) == 1 + named
        yield b"two"

    write_evidence(tmp_path, [("a.pcapng", content())])
    assert (tmp_path / "a.pcapng").read_bytes() == b"one two"
    assert tree(tmp_path) == {"a.pcapng", "index.json", "other.json"}


def test_another_file_is_not_taken_for_one_that_was_left(tmp_path: Path) -> None:
    for name in (".podwire-x.tmp", ".podwire-0123456789abcdef.tmp.gz", "podwire-0123456789abcdef.tmp"):
        (tmp_path / name).write_bytes(b"mine")
    os.mkfifo(tmp_path / ".podwire-0123456789abcdef.tmp")
    (tmp_path / ".podwire-fedcba9876543210.tmp").symlink_to(tmp_path / ".podwire-x.tmp")
    before = tree(tmp_path)
    write_file(tmp_path / "report.json", b"{}")
    assert tree(tmp_path) == before | {"report.json"}


@as_root
def test_another_user_s_file_is_not_taken_for_one_that_was_left(tmp_path: Path) -> None:
    other = tmp_path / ".podwire-0123456789abcdef.tmp"
    other.write_bytes(b"theirs")
    os.chown(other, 65534, 65534)
    write_file(tmp_path / "report.json", b"{}")
    assert other.exists()

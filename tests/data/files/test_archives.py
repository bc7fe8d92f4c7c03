"""Archives with limits: bombs, links and names that leave the folder."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from t2i.data.files import archives
from t2i.data.files.archives import members, unpack
from t2i.errors import UserError

FILES = {"a/one.txt": b"one", "two.jpg": b"\xff\xd8 two", "a/b/empty": b""}


def make(path, files, links=()):
    """An archive of the kind that the name says; `links` become symbolic links to /etc/passwd."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
            for name in links:
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, "/etc/passwd")
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return path


@pytest.fixture(params=["x.zip", "x.tar", "x.tar.gz", "x.tgz"])
def path(tmp_path, request):
    return tmp_path / request.param


def test_what_is_wanted_is_written(path, tmp_path):
    make(path, FILES | {"./c/three": b"3"})
    assert {name: content.read() for name, _, content in members(path)} == FILES | {"c/three": b"3"}
    assert unpack(path, tmp_path / "out", lambda name: name.startswith("a/")) == 2
    written = {
        file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*") if file.is_file()
    }
    assert written == {"a/one.txt", "a/b/empty"} and (tmp_path / "out/a/one.txt").read_bytes() == b"one"


@pytest.mark.parametrize("name", ["../up", "a/../../up", "/absolute", "a\\..\\up", "C:/x", ".."])
def test_a_name_that_leaves_the_folder_is_refused(path, tmp_path, name):
    make(path, {"good": b"1", name: b"2"})
    with pytest.raises(UserError, match="which lies outside of the folder"):
        unpack(path, tmp_path / "out", lambda name: True)
    assert not (tmp_path / "up").exists()


def test_links_are_passed_over(path, tmp_path):
    make(path, {"good": b"1"}, links=["bad", "good/../bad"])
    assert [name for name, _, _ in members(path)] == ["good"]


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_bomb_is_not_unpacked(tmp_path, name):
    make(tmp_path / name, {f"zeros{number}": bytes(40 * 2**20) for number in range(2)})
    assert (tmp_path / name).stat().st_size < 200_000
    with pytest.raises(UserError, match=r"unpacks to .* bytes or more, 200 times its size"):
        unpack(tmp_path / name, tmp_path / "out", lambda name: True)
    written = sum(file.stat().st_size for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert written <= 64 * 2**20


def test_a_header_that_claims_a_gigantic_name_is_refused(tmp_path):
    header = bytearray(tarfile.TarInfo("x").tobuf())
    header[124:136] = b"\x80" + (2**50).to_bytes(11, "big")  # the size
    header[156:157] = b"L"  # the next member's name follows
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(bytes(header) + bytes(10_000)))
    with pytest.raises(UserError, match="x.tar.gz "):
        list(members(tmp_path / "x.tar.gz"))


def test_too_many_or_too_large_members_are_refused(path, tmp_path, monkeypatch):
    make(path, FILES)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    with pytest.raises(UserError, match="more than 2 members"):
        list(members(path))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 4)
    with pytest.raises(UserError, match="holds two.jpg of 6 bytes, more than 4"):
        list(members(path))


def test_a_damaged_archive_is_one_sentence(path):
    make(path, {f"{number}": bytes([number]) * 9000 for number in range(200)})
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2 - 77])
    with pytest.raises(UserError, match=r"x\..* cannot be read \(.*\): download or write it again"):
        unpack(path, path.parent / "out", lambda name: True)
    path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(UserError, match="cannot be read"):
        list(members(path))

"""fetch_image_archive: archives that are damaged, or made to do harm, are refused."""

import gzip
import lzma
import os
import stat
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from sample_archives import (
    FILES,
    fetch,
    list_home,
    make_png,
    make_tar,
    make_zip,
    read_tree,
)

from skimgclf.datasets import (
    _archive_members,
    _unpack,
    fetch_image_archive,
)
from skimgclf.exceptions import DatasetError


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def refuse(content, tmp_path, home, match):
    """Fetch an archive that must be refused, and return the error's text."""
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=match) as caught:
        fetch(path, home)
    assert list_home(home) == []
    assert str(path) in str(caught.value)
    return str(caught.value)


# Names and kinds of members


def link_to_etc(member):
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc", 0


def hard_link(member):
    member.type, member.linkname, member.size = tarfile.LNKTYPE, "../../x", 0


def fifo(member):
    member.type, member.size = tarfile.FIFOTYPE, 0


def device(member):
    member.type, member.size = tarfile.CHRTYPE, 0


def sparse(member):
    member.type = tarfile.GNUTYPE_SPARSE


def zipped_link(info):
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16


def zipped_fifo(info):
    info.create_system, info.external_attr = 3, (stat.S_IFIFO | 0o644) << 16


OUT, ABSOLUTE = "leads out of its folder", "is an absolute path"
INVALID, TWICE = "is no valid file name on every system", "stands in it twice"
BOTH = "is a file in it and a folder as well"
# The names of an archive's files, of which the last is refused, and the reason.
REFUSED_NAMES = [
    (["../evil.png"], OUT),
    (["cat/../../evil.png"], OUT),
    (["..\\evil.png"], OUT),
    (["cat/.."], OUT),
    (["/tmp/evil.png"], ABSOLUTE),
    (["\\\\host\\share\\evil.png"], ABSOLUTE),
    (["C:\\evil.png"], ABSOLUTE),
    (["c:evil.png"], ABSOLUTE),
    (["cat\\evil.png"], "has a backslash"),
    (["evil.png:x"], INVALID),
    (["evil?.png"], INVALID),
    (["evil\n.png"], INVALID),
    (["evil/CON"], INVALID),
    (["evil/con.png"], INVALID),
    (["evil/NUL .tar.gz"], INVALID),
    (["evil/com1.png"], INVALID),
    (["evil/LPT\u00b9"], INVALID),
    (["evil./1.png"], INVALID),
    (["evil."], INVALID),
    (["evil /1.png"], INVALID),
    (["evil.png "], INVALID),
    (["evil" + "\u00e9" * 128], INVALID),
    (["a", "./a"], TWICE),
    (["a.png", "A.png"], TWICE),
    (["caf\u00e9.png", "cafe\u0301.png"], TWICE),
    (["CAF\u00c9.png", "cafe\u0301.png"], TWICE),
    (["cat/1.png", "Cat/2.png"], "'Cat' and 'cat' in it are one folder"),
    (["\u00e9/1.png", "e\u0301/2.png"], "in it are one folder"),
    (["a", "a/b"], BOTH),
    (["a/b", "a"], BOTH),
    (["A/b", "a"], BOTH),
    (["."], BOTH),
]
REFUSED_KINDS = [
    (make_tar, link_to_etc, "is a link"),
    (make_tar, hard_link, "is a link"),
    (make_tar, fifo, "is no regular file"),
    (make_tar, device, "is no regular file"),
    (make_tar, sparse, "is a sparse file"),
    (make_zip, zipped_link, "is a link"),
    (make_zip, zipped_fifo, "is no regular file"),
]
REFUSED = [
    pytest.param(
        make({"good.png": b"", **dict.fromkeys(names, b"x")}), names[-1], reason
    )
    for make in (make_zip, make_tar)
    for names, reason in REFUSED_NAMES
] + [
    pytest.param(make({"evil.png": b""}, change=change), "evil.png", reason)
    for make, change, reason in REFUSED_KINDS
]


@pytest.mark.parametrize(("content", "name", "reason"), REFUSED)
def test_member_that_must_not_be_unpacked_is_named(
    content, name, reason, tmp_path, home
):
    text = refuse(content, tmp_path, home, reason)
    assert "isn't unpacked" in text
    assert repr(name) in text or "one folder" in reason
    assert list(tmp_path.rglob("*evil*")) == []


def test_encrypted_files_are_refused(tmp_path, home):
    content = bytearray(make_zip({"a.png": b"x"}))
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(start) + flags] |= 1
    refuse(content, tmp_path, home, r"'a\.png' in it is encrypted")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_only_look_like_devices_are_unpacked(make, tmp_path, home):
    files = dict.fromkeys(
        ["CONE.png", "my con", "com0x/.a.png", "a.con", "\u00df"], b"x"
    )
    (tmp_path / "a").write_bytes(make(files))
    assert read_tree(fetch(tmp_path / "a", home)) == files


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_long_names_are_refused_in_a_short_sentence(make, tmp_path, home):
    text = refuse(make({600 * "a/" + "b": b""}), tmp_path, home, "has 1,201 characters")
    assert len(text) < 300


# More than there is room for


def packed_tar(files):
    return make_tar(files, "w:gz")


@pytest.mark.parametrize("make", [make_zip, packed_tar])
def test_bombs_are_refused(tmp_path, home, make, monkeypatch):
    """By the number of bytes, of files, and by what the disk has."""
    content = make({"zeros": bytes(2_000_000), "b": b""})
    assert len(content) < 5_000
    with monkeypatch.context() as patch:
        patch.setattr(_archive_members, "MAX_BYTES", 1_000_000)
        refuse(content, tmp_path, home, "more than 1,000,000 bytes")
    with monkeypatch.context() as patch:
        patch.setattr(_archive_members, "MAX_ENTRIES", 1)
        refuse(content, tmp_path, home, "more than 1 files")
        # Each folder in a name is one more to make.
        refuse(make({"a/b/c": b""}), tmp_path, home, "more than 1 files")
    usage = _unpack.shutil.disk_usage(tmp_path)._replace(free=1_500_000)
    monkeypatch.setattr(_unpack.shutil, "disk_usage", lambda path: usage)
    refuse(content, tmp_path, home, "more than the 1,500,000 bytes that are free")


def test_limits_are_those_of_the_docstring():
    doc = fetch_image_archive.__doc__
    assert f"{_archive_members.MAX_ENTRIES:,} files" in doc
    assert f"{_archive_members.MAX_BYTES // 2**30} GiB" in doc


def test_zeros_behind_the_end_of_a_tar_file_are_counted(tmp_path, home, monkeypatch):
    monkeypatch.setattr(_archive_members, "MAX_BYTES", 5_000_000)
    content = gzip.compress(make_tar()) + gzip.compress(bytes(6_000_000))
    refuse(content, tmp_path, home, "more than 5,000,000 bytes")


def test_zip_that_lies_about_its_sizes_writes_no_more(tmp_path, home):
    content = make_zip({"zeros": bytes(1_000_000)})
    size = (1_000_000).to_bytes(4, "little")
    assert content.count(size) == 2
    content = content.replace(size, (10).to_bytes(4, "little"))
    refuse(content, tmp_path, home, "is damaged")


# More memory than there is


@pytest.fixture
def peak_memory():
    """Return a function that tells how many bytes Python has held at once."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def make_header(kind, n_bytes):
    """Make the header of a tar member that only describes the next one."""
    member = tarfile.TarInfo("header")
    member.type, member.size = kind, n_bytes
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME]
)
@pytest.mark.parametrize(
    ("n_blocks", "block"),
    [(300, 2**20), pytest.param(48, 2**26, marks=pytest.mark.slow)],
)
def test_repair_tar_refuses_headers_of_gigabytes(
    tmp_path, home, kind, n_blocks, block, peak_memory
):
    """300 MiB packed to 0.3 MB, and 3 GiB to 3 MB."""
    header = make_header(kind, n_blocks * block)
    content = gzip.compress(header) + n_blocks * gzip.compress(bytes(block))
    assert len(content) < 3_300_000
    tracemalloc.reset_peak()
    refuse(content, tmp_path, home, "a header in it has more than 1,048,576 bytes")
    assert peak_memory() < 20_000_000


def test_repair_tar_counts_headers_of_one_member_together(tmp_path, home):
    name = make_header(tarfile.GNUTYPE_LONGNAME, 102_400) + 102_400 * b"a"
    refuse(11 * name + make_tar(), tmp_path, home, "a header in it has more than")


def test_tar_headers_that_announce_headers_are_damage(tmp_path, home):
    name = make_header(tarfile.GNUTYPE_LONGNAME, 512) + 512 * b"a"
    refuse(1000 * name + make_tar(), tmp_path, home, "is damaged, .*recursion")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(tarfile.REGTYPE, "is negative"), (tarfile.XHDTYPE, "a header in it")],
)
def test_repair_tar_refuses_negative_sizes(tmp_path, home, kind, reason):
    """Some versions of tarfile read the same header for ever (CVE-2025-8194)."""
    header = make_header(kind, -1024)
    refuse(header + make_tar(), tmp_path, home, reason)


def make_tar_with_long_headers(n_members):
    """Make a tar file whose members have a header of 100 KB each."""
    record = b"100000 comment=".ljust(99_999, b"a") + b"\n"
    note = (
        make_header(tarfile.XHDTYPE, len(record)) + record + bytes(-len(record) % 512)
    )
    members = [note + make_tar({f"{i}": b""})[:512] for i in range(n_members)]
    return b"".join(members) + bytes(1024)


def test_repair_tar_keeps_no_members_in_memory(tmp_path, home, peak_memory):
    """As tarfile does, with their headers."""
    (tmp_path / "a.tar").write_bytes(make_tar_with_long_headers(60))
    tracemalloc.reset_peak()
    assert len(read_tree(fetch(tmp_path / "a.tar", home))) == 60
    assert peak_memory() < 3_000_000


def test_tar_headers_count_as_bytes_of_the_archive(tmp_path, home, monkeypatch):
    monkeypatch.setattr(_archive_members, "MAX_BYTES", 5_000_000)
    content = make_tar_with_long_headers(60)
    refuse(content, tmp_path, home, "more than 5,000,000 bytes")


def test_repair_xz_limits_memory(tmp_path, home):
    """A file whose header asks for 1.5 GiB."""
    content = bytearray(make_tar(mode="w:xz"))
    end = 12 + 4 * content[12]  # of the block's header, behind which is its checksum
    content[16] = 37  # the size of the dictionary
    content[end : end + 4] = zlib.crc32(content[12:end]).to_bytes(4, "little")
    refuse(content, tmp_path, home, "Memory usage limit exceeded")


def test_xz_of_several_streams_is_unpacked(tmp_path, home):
    content = make_tar()
    parts = [content[:700], b"", content[700:]]
    packed = (8 * b"\0").join(map(lzma.compress, parts)) + 4 * b"\0"
    (tmp_path / "a.tar.xz").write_bytes(packed)
    assert read_tree(fetch(tmp_path / "a.tar.xz", home)) == FILES


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_repair_zip_refuses_methods_that_unpack_without_limit(tmp_path, home, method):
    """A repair of zipfile, for which 300 bytes of bzip2 took 460 MB."""
    with zipfile.ZipFile(tmp_path / "a", "w", method) as archive:
        archive.writestr("1.png", b"1")
    content = (tmp_path / "a").read_bytes()
    refuse(content, tmp_path, home, r"'1\.png' in it is compressed by another method")


def test_repair_zip_refuses_a_long_list_of_files(tmp_path, home, monkeypatch):
    monkeypatch.setattr(_unpack, "_MAX_ZIP_LIST", 10_000)
    content = make_zip({f"{i}": b"" for i in range(500)})
    refuse(content, tmp_path, home, "its list of files has")


# Damage


@pytest.mark.parametrize("n_places", [9, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_archive_that_was_cut_or_damaged_is_never_taken(tmp_path, home, mode, n_places):
    """At whatever place; without a SHA-256."""
    content = make_zip() if mode == "zip" else make_tar(mode=mode)
    # Behind the last file's header and content, a tar file is only padding.
    n_bytes = len(content.rstrip(b"\0")) if mode == "w" else len(content)
    for place in np.linspace(1, n_bytes - 1, n_places).astype(int):
        refuse(content[:place], tmp_path, home, "is damaged")
    damaged = bytearray(content)
    damaged[n_bytes // 3 : n_bytes // 3 + 200] = os.urandom(200)
    if mode != "w":  # contents in a plain tar file have no checksum
        refuse(damaged, tmp_path, home, None)


def test_zip_with_a_position_before_its_start_is_damaged(tmp_path, home):
    content = bytearray(make_zip())
    end = content.rindex(b"PK\x05\x06")
    content[end + 16 : end + 20] = (end + 1000).to_bytes(4, "little")
    refuse(content, tmp_path, home, "is damaged")


def test_tar_cut_between_two_files_is_damaged(tmp_path, home):
    content = make_tar({"a.png": bytes(512), "b.png": bytes(512)})
    refuse(content[:1024], tmp_path, home, "its end is missing")


def test_png_is_no_archive(tmp_path, home):
    refuse(make_png(1), tmp_path, home, "is no zip or tar archive")


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>", b"\xef\xbb\xbf\n <HTML>"])
def test_web_page_saved_as_an_archive_is_refused(tmp_path, home, page):
    refuse(page, tmp_path, home, "a web page instead of an archive")

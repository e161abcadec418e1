"""fetch_image_archive: whole archives only, of whatever source, and no evil ones."""

import hashlib
import io
import os
import re
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import urllib.parse
import zipfile
from pathlib import Path

import numpy as np
import pytest
import requests
from loopback_server import LoopbackServer
from PIL import Image

from skimgclf.datasets import (
    _download,
    _unpack,
    fetch_image_archive,
    load_image_folder,
)
from skimgclf.exceptions import DatasetError, InvalidParameterError

DRIVE_ID = "1AbCdEfGhIjKlMnOpQrStUvWxYz_0-9aB"


def make_png(gray):
    stream = io.BytesIO()
    Image.new("L", (4, 4), gray).save(stream, "PNG")
    return stream.getvalue()


FILES = {
    "photos/cat/1.png": make_png(10),
    "photos/cat/2.png": make_png(20),
    "photos/dog/3.png": make_png(30),
}


def make_zip(files=FILES, change=lambda info: None):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            change(info)
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def make_tar(files=FILES, mode="w", change=lambda member: None):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            change(member)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def server():
    with LoopbackServer() as server:
        yield server


def fetch(source, home, **parameters):
    return fetch_image_archive(source, data_home=home, progress=False, **parameters)


def read_tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def list_home(home):
    """List what lies beside the unpacked archives, but for locks."""
    names = os.listdir(home / "skimgclf" / "archives")
    return [name for name in names if not name.endswith(".lock")]


def sha256_of(content):
    return hashlib.sha256(content).hexdigest()


# From everywhere


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_archive_of_each_kind_is_unpacked(tmp_path, home, mode):
    """By its content: the name says nothing."""
    content = make_zip() if mode == "zip" else make_tar(mode=mode)
    (tmp_path / "pets.data").write_bytes(content)
    folder = fetch(tmp_path / "pets.data", home)
    assert read_tree(folder) == FILES
    assert os.path.basename(folder).startswith("pets-")
    data = load_image_folder(os.path.join(folder, "photos"))
    assert data.report["n_per_class"] == {"cat": 2, "dog": 1}
    assert list_home(home) == [os.path.basename(folder)]
    assert (tmp_path / "pets.data").read_bytes() == content


def test_archive_at_a_path_is_unpacked_again_when_it_changed(tmp_path, home):
    path = tmp_path / "pets.zip"
    path.write_bytes(make_zip())
    first = fetch(str(path), home)
    marks = os.stat(first).st_mtime_ns
    assert fetch(path, home) == first
    assert os.stat(first).st_mtime_ns == marks
    path.write_bytes(make_zip({"new.png": b"new"}))
    assert read_tree(fetch(path, home)) == {"new.png": b"new"}


def test_archive_by_url_is_downloaded_once(server, home):
    server.files["/some/My pets.v2.zip"] = make_zip()
    url = f"{server.url}/some/My%20pets.v2.zip?token=1"
    folder = fetch(url, home)
    assert read_tree(folder) == FILES
    assert os.path.basename(folder).startswith("My_pets-")
    assert fetch(url, home) == folder
    assert len(server.requests) == 1


def test_archive_lies_in_scikit_learns_data_home_by_default(
    tmp_path, monkeypatch, capsys
):
    """And progress is shown by default."""
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "data"))
    (tmp_path / "pets.zip").write_bytes(make_zip())
    folder = fetch_image_archive(tmp_path / "pets.zip")
    assert os.path.dirname(folder) == str(tmp_path / "data/skimgclf/archives")
    assert "Unpacking: 100%" in capsys.readouterr().err
    folder = fetch_image_archive(tmp_path / "pets.zip", progress=False, sha256=None)
    assert capsys.readouterr().err == ""


def test_archive_by_url_shows_progress_in_bytes(server, home, capsys):
    server.files["/a.zip"] = make_zip({"noise.png": os.urandom(3_000_000)})
    fetch_image_archive(f"{server.url}/a.zip", data_home=home)
    assert re.search(r"Downloading: 100%.*3\.00M/3\.00M", capsys.readouterr().err)


def test_archive_entries_lose_their_permissions_and_times(tmp_path, home):
    def change(member):
        member.mode, member.mtime, member.uid = 0o4777, 1, 12345

    (tmp_path / "a.tar").write_bytes(make_tar(change=change))
    status = os.stat(os.path.join(fetch(tmp_path / "a.tar", home), "photos/cat/1.png"))
    assert stat.S_IMODE(status.st_mode) & 0o7111 == 0
    assert (status.st_uid, status.st_mtime > 1) == (os.getuid(), True)


def test_archive_written_on_windows_has_folders(tmp_path, home):
    (tmp_path / "a.tar").write_bytes(
        make_tar({r"cat\1.png": b"x", "./dog//2.png": b"y"})
    )
    tree = read_tree(fetch(tmp_path / "a.tar", home))
    assert tree == {"cat/1.png": b"x", "dog/2.png": b"y"}


# Downloads that break off


def test_download_goes_on_in_the_same_call(server, home):
    content = make_zip({"noise.png": os.urandom(1_000_000)})
    server.files["/a.zip"], server.cuts["/a.zip"] = content, [400_000, 300_000]
    fetch(f"{server.url}/a.zip", home, sha256=sha256_of(content))
    asked = [headers.get("Range") for _, _, headers in server.requests]
    assert asked == [None, "bytes=400000-", "bytes=700000-"]


def test_download_goes_on_in_the_next_call(server, home, monkeypatch):
    monkeypatch.setattr(_download, "_N_TRIES", 1)
    server.files["/a.zip"], server.cuts["/a.zip"] = make_zip(), [100]
    url = f"{server.url}/a.zip"
    with pytest.raises(
        OSError, match=rf"'{url}' can't be downloaded: it ended after 100"
    ):
        fetch(url, home)
    assert read_tree(fetch(url, home)) == FILES
    assert server.requests[-1][2]["Range"] == "bytes=100-"
    assert len(list_home(home)) == 1


@pytest.mark.parametrize("why", ["changed", "no ranges", "no etag", "too short"])
def test_download_starts_anew_if_the_rest_may_not_fit(server, home, monkeypatch, why):
    monkeypatch.setattr(_download, "_N_TRIES", 2)
    server.has_ranges, server.has_etags = why != "no ranges", why != "no etag"
    server.files["/a.zip"], server.cuts["/a.zip"] = make_zip(), [100, 120]
    url = f"{server.url}/a.zip"
    with pytest.raises(OSError, match="it ended after"):
        fetch(url, home)
    if why == "changed":
        server.files["/a.zip"] = make_zip({"new.png": make_png(7)})
    if why == "too short":
        # More is here than there: the server says so, and has the same ETag.
        (part,) = (home / "skimgclf" / "archives").glob(".a-*/archive.part")
        part.write_bytes(bytes(10_000))
    tree = read_tree(fetch(url, home))
    assert tree == ({"new.png": make_png(7)} if why == "changed" else FILES)


def test_download_that_is_refused_names_the_url(server, home):
    url = f"{server.url}/none.zip"
    with pytest.raises(OSError, match=rf"'{url}' can't be downloaded: .*404"):
        fetch(url, home)
    assert len(server.requests) == 1  # no use in trying again
    with pytest.raises(OSError, match=r"'http://127\.0\.0\.1:1/a\.zip' can't be"):
        fetch("http://127.0.0.1:1/a.zip", home)


def test_download_of_too_much_is_refused(server, home, monkeypatch):
    monkeypatch.setattr(_download, "MAX_BYTES", 1000)
    server.files["/a.zip"] = bytes(5000)
    with pytest.raises(DatasetError, match="sends more than 1,000 bytes"):
        fetch(f"{server.url}/a.zip", home)
    assert list_home(home) == []


KILLED = """
import sys
from skimgclf.datasets import fetch_image_archive
fetch_image_archive(sys.argv[1], data_home=sys.argv[2], progress=False)
"""


def test_killed_while_unpacking_leaves_no_folder(tmp_path, home):
    """The next call unpacks all of it, and clears up."""
    path = tmp_path / "a.tar"
    path.write_bytes(make_tar({f"{i}.png": bytes(2**20) for i in range(60)}, "w:gz"))
    child = subprocess.Popen([sys.executable, "-c", KILLED, path, home])
    work = home / "skimgclf" / "archives"
    while not list(work.glob(".a-*/unpacked/3.png")):
        assert child.poll() is None
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (left,) = list_home(home)
    assert left.startswith(".")
    folder = fetch(path, home)
    assert len(os.listdir(folder)) == 60
    assert list_home(home) == [os.path.basename(folder)]


def test_full_disk_leaves_no_folder(tmp_path, home, monkeypatch):
    (tmp_path / "a.zip").write_bytes(make_zip())
    with monkeypatch.context() as patch:
        patch.setattr(_unpack.shutil, "copyfileobj", fail_as_a_full_disk)
        with pytest.raises(OSError, match="No space left"):
            fetch(tmp_path / "a.zip", home)
    assert all(name.startswith(".") for name in list_home(home))
    assert read_tree(fetch(tmp_path / "a.zip", home)) == FILES


def fail_as_a_full_disk(content, file, length):
    raise OSError(28, "No space left on device")


def test_several_at_once_unpack_once(server, home):
    server.files["/a.zip"] = make_zip()
    folders = []
    threads = [
        threading.Thread(
            target=lambda: folders.append(fetch(f"{server.url}/a.zip", home))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 4
    assert len(set(folders)) == len(server.requests) == 1


# SHA-256


def test_sha256_is_compared_before_unpacking(server, home):
    content = make_zip()
    server.files["/a.zip"] = content
    url, right = f"{server.url}/a.zip", sha256_of(content)
    with pytest.raises(DatasetError, match=rf"SHA-256 {right}, and {'0' * 64} was"):
        fetch(url, home, sha256="0" * 64)
    assert list_home(home) == []
    folder = fetch(url, home, sha256=right.upper())
    assert read_tree(folder) == FILES
    # The same archive from elsewhere is there already.
    assert fetch("http://127.0.0.1:1/a.zip", home, sha256=right) == folder


def test_sha256_of_a_local_archive_is_compared(tmp_path, home):
    (tmp_path / "a.zip").write_bytes(make_zip())
    with pytest.raises(DatasetError, match=r"a\.zip' has the SHA-256"):
        fetch(tmp_path / "a.zip", home, sha256="0" * 64)
    assert (tmp_path / "a.zip").exists()


# Attacks and damage


def link_to_etc(member):
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc", 0


def hard_link(member):
    member.type, member.linkname, member.size = tarfile.LNKTYPE, "../../x", 0


def fifo(member):
    member.type, member.size = tarfile.FIFOTYPE, 0


def zipped_link(info):
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16


def zipped_fifo(info):
    info.create_system, info.external_attr = 3, (stat.S_IFIFO | 0o644) << 16


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.png", "leads out of its folder"),
        ("cat/../../evil.png", "leads out of its folder"),
        ("..\\evil.png", "leads out of its folder"),
        ("cat/..", "leads out of its folder"),
        ("/tmp/evil.png", "is an absolute path"),
        ("\\\\host\\share\\evil.png", "is an absolute path"),
        ("C:\\evil.png", "is an absolute path"),
        ("c:evil.png", "is an absolute path"),
    ],
)
def test_names_that_lead_out_are_refused(tmp_path, home, make, name, reason):
    path = tmp_path / "a"
    path.write_bytes(make({"good.png": b"good", name: b"evil"}))
    with pytest.raises(DatasetError, match=reason) as caught:
        fetch(path, home)
    assert repr(name) in str(caught.value)
    assert f"The archive '{path}' isn't unpacked" in str(caught.value)
    assert list_home(home) == []
    assert list(tmp_path.rglob("*evil*")) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_tar(change=link_to_etc), "'photos/cat/1.png' in it is a link"),
        (make_tar(change=hard_link), "'photos/cat/1.png' in it is a link"),
        (make_tar(change=fifo), "'photos/cat/1.png' in it is no regular file"),
        (make_zip(change=zipped_link), "'photos/cat/1.png' in it is a link"),
        (make_zip(change=zipped_fifo), "'photos/cat/1.png' in it is no regular file"),
        (make_tar({"a": b"", "./a": b""}), "'./a' stands in it twice"),
        (make_zip({"a": b"", "A/../a/": b""}), "leads out of its folder"),
        (make_tar({"a": b"", "a/b": b""}), "a file in it and a folder"),
        (make_zip({"a/b": b"", "a": b""}), "a file in it and a folder"),
        (make_zip({".": b""}), "'.' stands in it twice"),
    ],
)
def test_entries_that_are_no_plain_files_are_refused(tmp_path, home, content, reason):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        fetch(tmp_path / "a", home)
    assert list_home(home) == []


def test_encrypted_files_are_refused(tmp_path, home):
    content = bytearray(make_zip({"a.png": b"x"}))
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(start) + flags] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DatasetError, match=r"'a\.png' in it is encrypted"):
        fetch(tmp_path / "a.zip", home)


@pytest.mark.parametrize("make", [make_zip, lambda files: make_tar(files, "w:gz")])
def test_bombs_are_refused(tmp_path, home, make, monkeypatch):
    """By the number of bytes, of files, and by what the disk has."""
    (tmp_path / "a").write_bytes(make({"zeros": bytes(2_000_000), "b": b""}))
    assert os.path.getsize(tmp_path / "a") < 5_000
    with monkeypatch.context() as patch:
        patch.setattr(_unpack, "MAX_BYTES", 1_000_000)
        with pytest.raises(DatasetError, match="more than 1,000,000 bytes"):
            fetch(tmp_path / "a", home)
    with monkeypatch.context() as patch:
        patch.setattr(_unpack, "MAX_ENTRIES", 1)
        with pytest.raises(DatasetError, match="more than 1 files"):
            fetch(tmp_path / "a", home)
    usage = _unpack.shutil.disk_usage(tmp_path)._replace(free=1_500_000)
    monkeypatch.setattr(_unpack.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        DatasetError, match="more than the 1,500,000 bytes that are free"
    ):
        fetch(tmp_path / "a", home)
    assert list_home(home) == []


def test_limits_are_those_of_the_docstring():
    doc = fetch_image_archive.__doc__
    assert f"{_unpack.MAX_ENTRIES:,} files" in doc
    assert f"{_unpack.MAX_BYTES // 2**30} GiB" in doc


def test_zip_that_lies_about_its_sizes_writes_no_more(tmp_path, home):
    content = make_zip({"zeros": bytes(1_000_000)})
    size = (1_000_000).to_bytes(4, "little")
    assert content.count(size) == 2
    (tmp_path / "a.zip").write_bytes(content.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(DatasetError, match="is damaged"):
        fetch(tmp_path / "a.zip", home)


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_archive_that_was_cut_or_damaged_is_never_taken(tmp_path, home, mode):
    """At whatever place; without a SHA-256."""
    content = make_zip() if mode == "zip" else make_tar(mode=mode)
    # Behind the last file's header and content, a tar file is only padding.
    n_bytes = len(content.rstrip(b"\0")) if mode == "w" else len(content)
    for place in np.linspace(1, n_bytes - 1, 25).astype(int):
        (tmp_path / "a").write_bytes(content[:place])
        with pytest.raises(DatasetError, match="is damaged"):
            fetch(tmp_path / "a", home)
    damaged = bytearray(content)
    damaged[n_bytes // 3 : n_bytes // 3 + 200] = os.urandom(200)
    if mode != "w":  # contents in a plain tar file have no checksum
        (tmp_path / "a").write_bytes(damaged)
        with pytest.raises(DatasetError):
            fetch(tmp_path / "a", home)
    assert list_home(home) == []


def test_tar_cut_between_two_files_is_damaged(tmp_path, home):
    content = make_tar({"a.png": bytes(512), "b.png": bytes(512)})
    (tmp_path / "a.tar").write_bytes(content[:1024])
    with pytest.raises(DatasetError, match="its end is missing"):
        fetch(tmp_path / "a.tar", home)


def test_what_is_no_archive_is_refused(tmp_path, home):
    (tmp_path / "a.zip").write_bytes(make_png(1))
    with pytest.raises(DatasetError, match="is no zip or tar archive"):
        fetch(tmp_path / "a.zip", home)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>", b"\xef\xbb\xbf\n <HTML>"])
def test_web_page_saved_as_an_archive_is_refused(server, tmp_path, home, page):
    server.files["/a.zip"] = page
    (tmp_path / "a.zip").write_bytes(page)
    for source in (f"{server.url}/a.zip", tmp_path / "a.zip"):
        with pytest.raises(DatasetError, match="a web page instead of an archive"):
            fetch(source, home)


# Google Drive


@pytest.fixture
def drive(server, monkeypatch):
    """Google Drive's two hosts, answered by the loopback server."""
    send = requests.adapters.HTTPAdapter.send

    def redirect(adapter, request, **options):
        parts = urllib.parse.urlsplit(request.url)
        assert parts.hostname in {"drive.google.com", "drive.usercontent.google.com"}
        request.url = request.url.replace(f"https://{parts.hostname}", server.url)
        return send(adapter, request, **options)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", redirect)
    return server


def answer_file(content):
    headers = {"Content-Disposition": 'attachment; filename="pets.zip"'}

    def answer(handler):
        handler.answer(200, content, "application/octet-stream", headers)

    return answer


CONFIRM = b"""<!DOCTYPE html><html><body><p>Google Drive can't scan it for viruses.
<form id="download-form" action="https://drive.usercontent.google.com/download"
method="get"><input type="hidden" name="id" value="%s">
<input type="hidden" name="confirm" value="t"></form></body></html>"""


@pytest.mark.parametrize(
    "source",
    [
        DRIVE_ID,
        f"https://drive.google.com/file/d/{DRIVE_ID}/view?usp=sharing",
        f"https://drive.google.com/open?id={DRIVE_ID}",
        f"https://drive.google.com/uc?export=download&id={DRIVE_ID}",
    ],
)
def test_drive_file_by_id_and_by_link(drive, home, source):
    drive.handlers["/uc"] = answer_file(make_zip())
    folder = fetch(source, home)
    assert read_tree(folder) == FILES
    assert fetch(DRIVE_ID, home) == folder
    assert len(drive.requests) == 1


def test_drive_page_that_asks_for_confirmation_is_confirmed(drive, home):
    """Large files come behind a form."""
    page = b" ".join((CONFIRM % DRIVE_ID.encode()).split(b"\n"))
    drive.handlers["/uc"] = lambda handler: handler.answer(200, page, "text/html")
    drive.handlers["/download"] = answer_file(make_zip())
    assert read_tree(fetch(DRIVE_ID, home)) == FILES
    assert [path for _, path, _ in drive.requests] == ["/uc", "/download"]


def test_drive_page_that_refuses_is_never_taken_for_the_file(drive, home):
    page = b'<html><p class="uc-error-subcaption">Too many users</p></html>'
    drive.handlers["/uc"] = lambda handler: handler.answer(200, page, "text/html")
    with pytest.raises(OSError, match=f"'{DRIVE_ID}' .*Too many users"):
        fetch(DRIVE_ID, home)
    drive.handlers["/uc"] = answer_file(page)  # even if it says that it is
    with pytest.raises(DatasetError, match="a web page instead of an archive"):
        fetch(DRIVE_ID, home)


def test_drive_that_cannot_be_reached_is_named(home, monkeypatch):
    def fail(adapter, request, **options):
        raise requests.exceptions.ConnectionError("no network")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", fail)
    with pytest.raises(OSError, match=f"'{DRIVE_ID}' of Google Drive .*no network"):
        fetch(DRIVE_ID, home)


def test_drive_without_gdown_is_a_sentence(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ImportError, match=r'pip install "skimgclf\[fetch\]"'):
        fetch(DRIVE_ID, home)


# Parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "none.zip"),
        ("source", ""),
        ("source", 3),
        ("source", b"a.zip"),
        ("source", "ftp://host/a.zip"),
        ("source", "s3://bucket/a.zip"),
        ("source", "https://"),
        ("source", "https://drive.google.com/drive/folders"),
        ("sha256", "abc"),
        ("sha256", 3),
        ("data_home", 3),
        ("data_home", ""),
        ("progress", "yes"),
        ("progress", 1),
    ],
)
def test_wrong_values_are_refused(tmp_path, monkeypatch, name, value):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.zip").write_bytes(make_zip())
    parameters = {"source": "a.zip", "data_home": "home", name: value}
    form = rf"^The '{name}' parameter of fetch_image_archive must be .+ Got "
    with pytest.raises(InvalidParameterError, match=form) as caught:
        fetch_image_archive(**parameters)
    assert str(caught.value).endswith(f"Got {value!r} instead.")

"""fetch_image_archive: archives from paths, web servers and Google Drive."""

import gzip
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
import tracemalloc
import urllib.parse

import pytest
import requests
from loopback_server import LoopbackServer
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
    _download,
    _unpack,
    fetch_image_archive,
    load_image_folder,
)
from skimgclf.exceptions import DatasetError, InvalidParameterError

DRIVE_HOSTS = {"drive.google.com", "drive.usercontent.google.com"}
DRIVE_ID = "1AbCdEfGhIjKlMnOpQrStUvWxYz_0-9aB"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def server():
    with LoopbackServer() as server:
        yield server


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
    assert re.search(r"100%.*3\.00M/3\.00M", capsys.readouterr().err)


def test_archive_entries_lose_their_permissions_and_times(tmp_path, home):
    def change(member):
        member.mode, member.mtime, member.uid = 0o4777, 1, 12345

    (tmp_path / "a.tar").write_bytes(make_tar(change=change))
    status = os.stat(os.path.join(fetch(tmp_path / "a.tar", home), "photos/cat/1.png"))
    assert stat.S_IMODE(status.st_mode) & 0o7111 == 0
    assert (status.st_uid, status.st_mtime > 1) == (os.getuid(), True)


def test_archive_entries_may_have_empty_parts_in_their_names(tmp_path, home):
    (tmp_path / "a.tar").write_bytes(
        make_tar({"./cat/1.png": b"x", "dog//2.png": b"y"})
    )
    tree = read_tree(fetch(tmp_path / "a.tar", home))
    assert tree == {"cat/1.png": b"x", "dog/2.png": b"y"}


def test_archive_with_a_global_header_is_unpacked(tmp_path, home):
    """As `git archive` writes."""
    with tarfile.open(tmp_path / "a.tar", "w", pax_headers={"comment": "1"}) as archive:
        for name in ("cat/1.png", "cat/é.png"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    tree = read_tree(fetch(tmp_path / "a.tar", home))
    assert tree == {"cat/1.png": b"", "cat/é.png": b""}


def test_archive_at_a_path_needs_no_extra(tmp_path, home, monkeypatch):
    for name in ("pooch", "gdown", "requests"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "a.zip").write_bytes(make_zip())
    assert read_tree(fetch(tmp_path / "a.zip", home)) == FILES


# Downloads


@pytest.mark.parametrize("changed", [False, True])
def test_download_that_breaks_off_starts_anew(server, home, changed):
    """Never is the rest of a changed file joined with a part of the old one."""
    server.files["/a.zip"], server.cuts["/a.zip"] = make_zip(), [100]
    url = f"{server.url}/a.zip"
    with pytest.raises(
        OSError, match=rf"'{url}' can't be downloaded: .*100 bytes read"
    ):
        fetch(url, home)
    assert list_home(home) == []
    new = {"new.png": make_png(7)} if changed else FILES
    server.files["/a.zip"] = make_zip(new)
    assert read_tree(fetch(url, home)) == new
    assert [headers.get("Range") for _, _, headers in server.requests] == [None] * 2


def test_download_that_is_refused_names_the_url(server, home):
    url = f"{server.url}/none.zip"
    with pytest.raises(OSError, match=rf"'{url}' can't be downloaded: .*404"):
        fetch(url, home)
    with pytest.raises(OSError, match=r"'http://127\.0\.0\.1:1/a\.zip' can't be"):
        fetch("http://127.0.0.1:1/a.zip", home)
    assert list_home(home) == []


def test_download_from_a_silent_server_ends(server, home, monkeypatch):
    monkeypatch.setattr(_download, "_TIMEOUT", 0.2)
    is_over, start = threading.Event(), time.monotonic()
    server.handlers["/a.zip"] = lambda handler: is_over.wait(60)
    try:
        with pytest.raises(OSError, match=r"can't be downloaded: .*timed out"):
            fetch(f"{server.url}/a.zip", home)
    finally:
        is_over.set()
    assert time.monotonic() - start < 20  # pooch alone waits for 30 s


def test_download_of_too_much_is_refused(drive, home, monkeypatch):
    monkeypatch.setattr(_download, "MAX_BYTES", 1000)
    drive.files["/a.zip"] = bytes(5000)
    drive.handlers["/uc"] = answer_file(bytes(5000))
    for source in (f"{drive.url}/a.zip", DRIVE_ID):
        with pytest.raises(DatasetError, match="sends more than 1,000 bytes"):
            fetch(source, home)
    assert list_home(home) == []


def answer_redirect(location, content=b""):
    def answer(handler):
        handler.answer(302, content, "text/html", {"Location": location})

    return answer


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_download_follows_redirects_to_http_only(server, home, tmp_path, scheme):
    (tmp_path / "secret.zip").write_bytes(make_zip())
    server.handlers["/a.zip"] = answer_redirect(f"{scheme}://{tmp_path}/secret.zip")
    with pytest.raises(OSError, match=rf"can't be downloaded: .*{scheme}:/"):
        fetch(f"{server.url}/a.zip", home)
    server.files["/b.zip"] = make_zip()
    server.handlers["/a.zip"] = answer_redirect("/b.zip")
    assert read_tree(fetch(f"{server.url}/a.zip", home)) == FILES


def test_repair_download_leaves_contents_of_redirects_unread(server, home):
    """A repair of requests, which reads them whole into memory."""
    server.files["/b.zip"], content = make_zip(), bytes(50_000_000)
    server.handlers["/a.zip"] = answer_redirect("/b.zip", content)
    tracemalloc.start()
    try:
        assert read_tree(fetch(f"{server.url}/a.zip", home)) == FILES
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_repair_download_keeps_what_a_server_calls_an_encoding(server, home):
    """Some servers send a .tar.gz so; its SHA-256 is that of the packed file."""
    content = gzip.compress(make_tar())
    server.handlers["/a.tar.gz"] = lambda handler: handler.answer(
        200, content, "application/x-tar", {"Content-Encoding": "gzip"}
    )
    url, sha256 = f"{server.url}/a.tar.gz", sha256_of(content)
    assert read_tree(fetch(url, home, sha256=sha256)) == FILES


def test_download_without_pooch_is_a_sentence(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    url = "http://127.0.0.1:1/a.zip"
    with pytest.raises(ImportError, match=rf'{url}.*pip install .*"pooch'):
        fetch(url, home)


KILLED = """
import sys
from skimgclf.datasets import fetch_image_archive
fetch_image_archive(sys.argv[1], data_home=sys.argv[2], progress=False)
"""


@pytest.mark.slow
def test_killed_while_unpacking_leaves_no_folder(tmp_path, home):
    """The next call unpacks all of it, and clears up."""
    path = tmp_path / "a.tar"
    path.write_bytes(make_tar({f"{i}.png": bytes(2**20) for i in range(60)}, "w:gz"))
    child = subprocess.Popen([sys.executable, "-c", KILLED, path, home])
    work = home / "skimgclf" / "archives"
    while not list(work.glob(".skimgclf-*/3.png")):
        assert child.poll() is None
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (left,) = list_home(home)
    assert left.startswith(".skimgclf-")
    folder = fetch(path, home)
    assert len(os.listdir(folder)) == 60
    assert list_home(home) == [os.path.basename(folder)]


def test_full_disk_leaves_no_folder(server, home, monkeypatch):
    """And the next call needs no second download."""
    server.files["/a.zip"], url = make_zip(), f"{server.url}/a.zip"
    with monkeypatch.context() as patch:
        patch.setattr(_unpack.shutil, "copyfileobj", fail_as_a_full_disk)
        with pytest.raises(OSError, match="No space left"):
            fetch(url, home)
    (left,) = list_home(home)
    assert re.fullmatch(r"\.a-.*\.archive", left)
    folder = fetch(url, home)
    assert read_tree(folder) == FILES
    assert list_home(home) == [os.path.basename(folder)]
    assert len(server.requests) == 1


def test_a_download_that_has_no_room_unpacked_is_kept(server, home, monkeypatch):
    server.files["/a.zip"] = make_zip()
    usage = _unpack.shutil.disk_usage(home.parent)._replace(free=10)
    with monkeypatch.context() as patch:
        patch.setattr(_unpack.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(DatasetError, match="free: delete files there, or give a"):
            fetch(f"{server.url}/a.zip", home)
    assert read_tree(fetch(f"{server.url}/a.zip", home)) == FILES
    assert len(server.requests) == 1


def fail_as_a_full_disk(content, file):
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


# Google Drive


@pytest.fixture
def drive(server, monkeypatch):
    """Google Drive's two hosts, answered by the loopback server."""
    send = requests.adapters.HTTPAdapter.send

    def redirect(adapter, request, **options):
        parts = urllib.parse.urlsplit(request.url)
        if parts.hostname != "127.0.0.1":
            assert parts.hostname in DRIVE_HOSTS
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
    with pytest.raises(ImportError, match=r'pip install .*"pooch'):
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
        ("source", "http://[x/a.zip"),
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

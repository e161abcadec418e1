"""load_image_folder and load_image_csv over URLs: as over the same folder on disk."""

import itertools
import os
import re
import sys
import time
import zipfile

import aiohttp
import fsspec
import numpy as np
import pytest
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from loopback_server import LoopbackServer
from PIL import Image
from sample_archives import make_png

from skimgclf import ImageLoader
from skimgclf.datasets import _urls, load_image_csv, load_image_folder
from skimgclf.exceptions import (
    DatasetError,
    DatasetWarning,
    ImageLoadError,
    InvalidParameterError,
)
from skimgclf.images import _urls as file_urls
from skimgclf.images._urls import UrlReader

FILES = {
    "train/big dog/3.PNG": make_png(30),
    "train/cat/a/1.png": make_png(10),
    "train/cat/2.png": make_png(20),
    "train/cat/notes.txt": b"notes",
    "train/cat/photo.jxl": b"jxl",
    "train/cat/.hidden.png": b"",
    "train/__MACOSX/cat/1.png": b"",
    "train/lost.png": make_png(40),
    "train/train.csv": b"id,label\ncat/2,cat\nbig dog/3,dog\ncat/a/1.png,cat\n",
    "other/x.png": make_png(50),
}
# A root that each kind of URL gives for the folder "train".
ROOTS = [
    "memory://train",
    "memory://train/",
    "zip://train::{folder}/a.zip",
    "zip://train/::memory://a.zip",
    "zip::{folder}/train.zip",
    "zip://::{folder}/train.zip",
    "zip://train::simplecache::{server}/a.zip",
    "{server}/train",
    "{server}/train/",
    "file://{folder}/train",
]


@pytest.fixture
def place(tmp_path):
    """Put the same files on disk, into memory, into archives and on a server."""
    file_system = fsspec.filesystem("memory")
    file_system.store.clear()
    below = {name[6:]: FILES[name] for name in FILES if name.startswith("train/")}
    for archive, files in {"a.zip": FILES, "train.zip": below}.items():
        with zipfile.ZipFile(tmp_path / archive, "w") as file:
            for name, content in files.items():
                file.writestr(name, content)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        file_system.pipe_file(name, content)
    packed = (tmp_path / "a.zip").read_bytes()
    file_system.pipe_file("a.zip", packed)
    with LoopbackServer() as server:
        server.has_listings = True
        server.files = {f"/{name}": FILES[name] for name in FILES} | {"/a.zip": packed}
        yield Place(server, tmp_path)


class Place:
    """Writes URLs of that server and folder."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder

    def __call__(self, form):
        return form.format(folder=self.folder, server=self.server.url)


def names_of(filenames):
    """Cut URLs and paths down to what lies below the folder "train"."""
    names = [name.partition("::")[0].replace("%20", " ") for name in filenames]
    return [name.rpartition("train/")[2].removeprefix("zip://") for name in names]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.filterwarnings("ignore::skimgclf.exceptions.DatasetWarning")
def test_folder_behind_a_url_is_read_as_on_disk(place, tmp_path, root):
    expected = load_image_folder(tmp_path / "train", hash_files=True)
    data = load_image_folder(place(root), hash_files=True)
    assert data.target.tolist() == expected.target.tolist() == ["big dog", "cat", "cat"]
    assert data.groups.tolist() == expected.groups.tolist()
    assert names_of(data.filenames) == names_of(expected.filenames)
    for name in ("n_images", "n_per_class", "n_nested", "skipped", "empty_classes"):
        assert data.report[name] == expected.report[name]
    for name in ("root_files", "skipped_files"):
        assert names_of(data.report[name]) == names_of(expected.report[name])
    images = ImageLoader(image_size=(2, 2), dtype="uint8").transform(data.filenames)
    assert images[:, 0, 0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("root", ["memory://train", "zip://train::{folder}/a.zip"])
def test_folder_behind_a_url_warns_as_on_disk(place, root):
    with pytest.warns(DatasetWarning) as caught:
        load_image_folder(place(root))
    messages = [str(w.message) for w in caught if w.category is DatasetWarning]
    assert len(messages) == 2
    assert "images outside of any class folder" in messages[0]
    assert "lost.png" in messages[0]
    assert "formats that aren't read" in messages[1]
    assert "photo.jxl" in messages[1]


def test_folder_behind_a_url_reads_the_classes_asked_for(place):
    with pytest.warns(DatasetWarning, match="outside of any"):
        data = load_image_folder(place("memory://train"), classes=["big dog"])
    assert data.filenames.tolist() == ["memory://train/big dog/3.PNG"]
    with pytest.raises(DatasetError, match="there is no class folder 'cow'"):
        load_image_folder("memory://train", classes=["cow"])


def test_class_folder_behind_a_url_without_images_is_named(place):
    fsspec.filesystem("memory").pipe_file("train/cow/cow.txt", b"moo")
    with pytest.raises(DatasetError, match=r"'memory://train/cow' holds.* 1 x '\.txt'"):
        load_image_folder("memory://train")


@pytest.mark.parametrize("root", ROOTS)
def test_table_behind_a_url_is_read_as_on_disk(place, tmp_path, root):
    """With the images beside it, and with a table on disk."""
    root = place(root)
    head, separator, rest = root.partition("::")
    head = head if "://" in head else f"{head}://"
    csv = head + ("" if head.endswith("/") else "/") + "train.csv" + separator + rest
    expected = load_image_csv(tmp_path / "train/train.csv", hash_files=True)
    for data in (
        load_image_csv(csv, hash_files=True),
        load_image_csv(tmp_path / "train/train.csv", image_dir=root, hash_files=True),
    ):
        assert data.target.tolist() == ["cat", "dog", "cat"]
        assert data.groups.tolist() == expected.groups.tolist()
        assert names_of(data.filenames) == names_of(expected.filenames)
        orphans = names_of(data.report["orphans"])
        assert orphans == names_of(expected.report["orphans"])
        images = ImageLoader(image_size=(2, 2), dtype="uint8").transform(data.filenames)
        assert images[:, 0, 0, 0].tolist() == [20, 30, 10]


def test_table_with_images_that_are_missing_behind_a_url_lists_them(place, tmp_path):
    rows = ["cat/2", "cat/9", "cow/1", "../other/x", "cat/../../other/x", "/x", "CAT/2"]
    (tmp_path / "t.csv").write_text("\n".join(["id", *rows]))
    with pytest.raises(DatasetError) as caught:
        load_image_csv(
            tmp_path / "t.csv",
            image_dir=place("zip://train::{folder}/a.zip"),
            label_column=None,
        )
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        f"line {line}" for line in range(3, 9)
    ]
    for part in ("no image '9'", "no folder 'zip://train/cow::", "may lie outside"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ("memory://none", "there is no such folder"),
        ("zip://none::{folder}/a.zip", "there is no such folder|there are no files"),
        ("zip://other/x.png::{folder}/a.zip", "there are no files below it"),
        ("zip://::{folder}/none.zip", "none.zip', there is no such file"),
        ("nope://train", "Protocol not known: nope"),
        ("{server}/none", "give ImageLoader a list of URLs instead"),
        ("http://127.0.0.1:1/train", "give ImageLoader a list of URLs instead"),
    ],
)
def test_folder_behind_a_url_that_cannot_be_listed_is_named(place, root, reason):
    root = place(root)
    for load in (
        lambda: load_image_folder(root),
        lambda: load_image_csv(place("{folder}/train/train.csv"), image_dir=root),
    ):
        with pytest.raises(DatasetError, match=reason) as caught:
            load()
        assert f"The folder {root!r} can't be listed" in str(caught.value)


def test_folder_in_a_folder_that_cannot_be_listed_is_an_error(place):
    """Its images would be missing without a word."""
    root = place("{server}/train")
    place.server.handlers["/train/cat/a/"] = lambda handler: handler.send_error(403)
    with pytest.raises(DatasetError, match="can't be listed: the server answers 403"):
        load_image_folder(root)


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        ("{server}/train", "{server}/train/cat/a"),
        ("memory://train", "memory://train/cat/a"),
        ("zip://train::{folder}/a.zip", "zip://train/cat/a::{folder}/a.zip"),
    ],
)
def test_folder_in_a_folder_that_cannot_be_listed_is_named(
    place, monkeypatch, root, folder
):
    """A page may have links to folders that are gone."""
    place.server.handlers["/train/cat/a/"] = lambda handler: handler.send_error(404)
    for cls in [MemoryFileSystem, AbstractArchiveFileSystem]:

        def list_others(self, path, detail=True, ls=cls.ls, **options):
            if path.rstrip("/").endswith("cat/a"):
                raise FileNotFoundError(path)
            return ls(self, path, detail=detail, **options)

        monkeypatch.setattr(cls, "ls", list_others)
    match = f"The folder '{re.escape(place(folder))}/?' can't be listed: there is no"
    with pytest.raises(DatasetError, match=match):
        load_image_folder(place(root))


def test_table_behind_a_url_that_cannot_be_read_is_named(place):
    with pytest.raises(OSError, match=r"there is no such file: 'memory://none\.csv'"):
        load_image_csv("memory://none.csv")


@pytest.mark.parametrize("on_bad", ["raise", "drop"])
def test_bad_images_behind_a_url_are_found_beforehand(place, on_bad):
    fsspec.filesystem("memory").pipe_file("train/cat/bad.png", b"<html>")
    url = "memory://train/cat/bad.png"
    if on_bad == "raise":
        with pytest.raises(ImageLoadError, match=url):
            load_image_folder("memory://train", on_bad=on_bad)
        return
    with pytest.warns(DatasetWarning):
        data = load_image_folder("memory://train", on_bad=on_bad)
    assert data.report["dropped"] == [(url, data.report["dropped"][0][1])]
    assert len(data.filenames) == 3


def test_storage_options_reach_the_file_systems(place, monkeypatch):
    """For the listing, the table, the decoding and the hashes."""
    memory = type(fsspec.filesystem("memory"))
    seen = []
    list_folder, open_file = memory.ls, memory._open

    def note_ls(self, path, **options):
        seen.append(("ls", self.storage_options))
        return list_folder(self, path, **options)

    def note_open(self, path, *arguments, **options):
        seen.append(("open", self.storage_options))
        return open_file(self, path, *arguments, **options)

    monkeypatch.setattr(memory, "ls", note_ls)
    monkeypatch.setattr(memory, "_open", note_open)
    options = {"storage_options": {"mark": 1}}
    for parameters in ({"hash_files": True}, {"on_bad": "raise"}):
        load_image_csv("memory://train/train.csv", **options, **parameters)
    assert {kind for kind, _ in seen} == {"ls", "open"}
    assert all(given == {"mark": 1} for _, given in seen)


@pytest.mark.parametrize("load", [load_image_folder, load_image_csv])
def test_storage_options_are_checked(place, load):
    match = rf"The 'storage_options' parameter of {load.__name__} must be a dict"
    for wrong in (3, {1: 2}):
        with pytest.raises(InvalidParameterError, match=match):
            load(place("{folder}/train/train.csv"), storage_options=wrong)


@pytest.mark.parametrize("load", [load_image_folder, load_image_csv])
def test_missing_extra_is_a_sentence(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r'pip install .*"fsspec\[http\]'):
        load("memory://train/train.csv")


def test_a_folder_on_disk_that_looks_like_a_url_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in ("cat", "dog"):
        os.makedirs(f"a::b/{label}")
        Image.fromarray(np.zeros((2, 2), "uint8")).save(f"a::b/{label}/1.png")
    data = load_image_folder("a::b")
    assert data.filenames.tolist() == ["a::b/cat/1.png", "a::b/dog/1.png"]
    assert ImageLoader().transform(data.filenames).shape == (2, 28, 28, 1)


class _Endless:
    """A file system of folders without an end."""

    def __init__(self, n_folders):
        self.n_folders, self.n_lists = n_folders, 0

    def ls(self, folder, detail):
        self.n_lists += 1
        names = [f"{folder}/{number}" for number in range(self.n_folders)]
        return [{"name": name, "type": "directory"} for name in names]


@pytest.mark.parametrize(("max_depth", "n_lists"), [(32, 33), (10**6, 200)])
def test_a_listing_without_an_end_is_given_up(monkeypatch, max_depth, n_lists):
    monkeypatch.setattr(_urls, "_MAX_FOLDERS", 200)
    monkeypatch.setattr(_urls, "_MAX_DEPTH", max_depth)
    endless = _Endless(2)
    with pytest.raises(OSError, match=r"may have no end"):
        _urls._walk(endless, "http://host/a")
    assert endless.n_lists == n_lists


def test_a_listing_of_a_server_without_an_end_names_the_folder(monkeypatch):
    def answer(handler):
        content = b'<a href="deeper/">deeper/</a>'
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        handler.wfile.write(content)

    monkeypatch.setattr(_urls, "_MAX_DEPTH", 3)
    match = r"folder 'http.*/a' can't be listed: .*may have no end"
    with LoopbackServer() as server:
        for depth in range(8):
            server.handlers["/a/" + "deeper/" * depth] = answer
        with pytest.raises(DatasetError, match=match):
            load_image_folder(f"{server.url}/a")


def serve_page(handler, content):
    """Send a page of links."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    handler.close_connection = True
    for chunk in content:
        handler.wfile.write(chunk)
        handler.wfile.flush()


def list_page(content, **options):
    """List a folder whose page is made of some chunks, which needn't end."""
    with LoopbackServer() as server:
        server.handlers["/a/"] = lambda handler: serve_page(handler, content)
        reader = UrlReader(options)
        return server.url, _urls.list_files(f"{server.url}/a", reader)


def endless_links(seconds=0.0):
    for number in itertools.count():
        time.sleep(seconds)
        yield f'<a href="{number}.png">{number}</a>\n'.encode() * 100


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ((file_urls, "_MAX_BYTES", 50_000), "it is larger than 50,000 bytes"),
        ((_urls, "_MAX_PAGES", 5000), "may have no end"),
        ((_urls, "_MAX_FILES", 20), "may have no end"),
    ],
)
def test_a_page_of_links_without_an_end_is_given_up(monkeypatch, limit, said):
    if limit[1] != "_MAX_BYTES":  # the page has an end then, but is too long
        content = itertools.islice(endless_links(), 30)
    else:
        content = endless_links()
    monkeypatch.setattr(*limit)
    with pytest.raises(DatasetError, match=f"/a' can't be listed: .*{said}"):
        list_page(content)


def test_a_page_of_links_that_takes_too_long_is_given_up():
    timeout = aiohttp.ClientTimeout(total=0.3)
    with pytest.raises(DatasetError, match="the server takes too long"):
        list_page(endless_links(0.05), client_kwargs={"timeout": timeout})


@pytest.mark.parametrize(
    "content",
    [
        b"<a" + b" " * 100_000,
        b"<a " * 100_000,
        b"<a href=" * 100_000,
        b"<a href=\"'" * 100_000,
        b"<a " + b"href " * 100_000,
        b"<a " + b"href='\"" * 100_000,
    ],
)
def test_a_page_of_links_is_searched_soon_whatever_is_in_it(content):
    started = time.monotonic()
    url, urls = list_page([content, b'><a href="1.png">'])
    assert time.monotonic() - started < 2
    assert urls["1.png"] == f"{url}/a/1.png"


def test_links_of_a_page_are_read_in_every_form():
    with LoopbackServer() as server:
        host = server.url.removeprefix("http://")
        page = f"""<a href="1.png"> <A class=x HREF = '2.png'> <a href="./3.png">
            <a href="/a/4.png"> <a href="http://{host}/a/5.png">
            <a href="https://{host}/a/6.png"> <a href="//{host}/a/7.png">
            <a href="8&amp;9.png"> <a href="it's.png"> <a href="big%20dog.png">
            <a href="../up.png"> <a href="/up.png"> <a href="http://[x"> <a href="">
            <a href="http://other/a/x.png"> <a data-href="no.png"> <a href="?C=N">
            <a href="#top"> <a href=x.png> <area href="y.png">""".encode()
        server.handlers["/a/"] = lambda handler: serve_page(handler, [page])
        urls = _urls.list_files(f"{server.url}/a", UrlReader({}))
    names = [*(f"{n}.png" for n in range(1, 8)), "8&9.png", "it's.png", "big dog.png"]
    assert sorted(urls) == sorted(names)
    quoted = [name.replace(" ", "%20") for name in names]
    assert sorted(urls.values()) == sorted(f"{server.url}/a/{name}" for name in quoted)


def test_a_page_of_links_is_read_anew_where_files_are_cached(place):
    root = place("simplecache::{server}/train")
    reader = UrlReader({})
    assert "new.png" not in _urls.list_files(root, reader)
    place.server.files["/train/new.png"] = make_png(60)
    found = _urls.list_files(root, reader)
    assert found["new.png"] == f"{root}/new.png"


def test_what_a_server_says_changes_no_terminal():
    def answer(handler):
        handler.wfile.write(b"HTTP/1.1 403 \x1b[2Jno\r\nContent-Length: 0\r\n\r\n")

    with LoopbackServer() as server:
        server.handlers["/a/"] = answer
        with pytest.raises(DatasetError, match="can't be listed") as caught:
            _urls.list_files(f"{server.url}/a", UrlReader({}))
    assert "\x1b" not in str(caught.value)

"""Images behind URLs: read by fsspec, named in errors, cached where that is safe."""

import io
import os
import pickle
import sys
import tarfile
import threading
import time
import zipfile

import fsspec
import numpy as np
import pytest
from joblib import Parallel, delayed
from loopback_server import LoopbackServer
from PIL import Image
from sample_images import make_scene

from skimgclf import ImageLoader, check_images
from skimgclf._atomic import find_replaced
from skimgclf.datasets import load_image_folder
from skimgclf.exceptions import ImageLoadError, InvalidParameterError
from skimgclf.images import _urls, read_image
from skimgclf.images._urls import UrlReader, local_files

SIZE = {"image_size": (9, 7), "color_mode": "rgb"}
NAMES = [f"train/{row:02}.png" for row in range(20)]


@pytest.fixture(scope="module")
def contents():
    """Twenty images that differ, as the bytes of PNG files by name."""
    scene, files = make_scene(), {}
    for row, name in enumerate(NAMES):
        stream = io.BytesIO()
        Image.fromarray(np.roll(scene, row, axis=1)).save(stream, "PNG")
        files[name] = stream.getvalue()
    return files


@pytest.fixture(scope="module")
def expected(contents):
    return ImageLoader(**SIZE).transform(list(contents.values()))


@pytest.fixture
def memory():
    """Make a file system in memory, which exists once a process, empty."""
    file_system = fsspec.filesystem("memory")
    file_system.store.clear()
    file_system.pseudo_dirs[:] = [""]
    return file_system


@pytest.fixture
def server(contents):
    with LoopbackServer() as server:
        server.files = {f"/{name}": content for name, content in contents.items()}
        yield server


def make_zip(contents, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return stream.getvalue()


def make_tar(contents, mode):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def load(urls, **parameters):
    return ImageLoader(**(SIZE | parameters)).transform(urls)


# Each kind of URL gives the pixels of the file


@pytest.mark.parametrize("n_jobs", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize(
    "form",
    [
        "memory://{}",
        "file://{folder}/{}",
        "zip://{}::{folder}/stored.zip",
        "zip://{}::file://{folder}/deflated.zip",
        "zip://{}::file:{folder}/stored.zip",
        "zip://{}::memory://stored.zip",
        "zip://{}::zip://stored.zip::{folder}/outer.zip",
        "tar://{}::{folder}/plain.tar",
        "tar://{}::{folder}/packed.tar.gz",
        "http://{}",
        "zip://{}::http://stored.zip",
        "zip://{}::simplecache::http://stored.zip",
        "simplecache::http://{}",
    ],
)
def test_url_gives_the_pixels_of_the_file(
    contents, expected, memory, server, tmp_path, form, n_jobs
):
    """By one thread and by several, which share archives."""
    stored = make_zip(contents)
    for name, content in contents.items():
        memory.pipe_file(name, content)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    memory.pipe_file("stored.zip", stored)
    server.files["/stored.zip"] = stored
    for name, content in {
        "stored.zip": stored,
        "deflated.zip": make_zip(contents, zipfile.ZIP_DEFLATED),
        "outer.zip": make_zip({"stored.zip": stored}),
        "plain.tar": make_tar(contents, "w"),
        "packed.tar.gz": make_tar(contents, "w:gz"),
    }.items():
        (tmp_path / name).write_bytes(content)
    form = form.replace("http://", f"{server.url}/")
    urls = [form.format(name, folder=tmp_path) for name in contents]
    np.testing.assert_array_equal(load(urls, n_jobs=n_jobs), expected)
    assert check_images(urls, n_jobs=n_jobs)["ok"].all()
    for url in urls[:2]:
        image = read_image(url, **SIZE)
        np.testing.assert_array_equal(image, expected[urls.index(url)])


def test_url_and_paths_mix_in_one_list(contents, expected, memory, tmp_path):
    memory.pipe_file("a.png", contents[NAMES[0]])
    (tmp_path / "b.png").write_bytes(contents[NAMES[1]])
    cells = ["memory://a.png", tmp_path / "b.png", contents[NAMES[2]]]
    np.testing.assert_array_equal(load(cells), expected[:3])


def test_url_that_is_a_file_on_disk_is_a_file(tmp_path, monkeypatch, contents):
    monkeypatch.chdir(tmp_path)
    os.makedirs("memory:/x")
    for name in ["memory://x/a.png", "zip::a.png"]:
        with open(name, "wb") as file:
            file.write(contents[NAMES[0]])
        assert load([name]).shape == (1, 9, 7, 3)


@pytest.mark.slow
def test_url_in_worker_processes(contents, expected, tmp_path):
    """Plain strings travel; nothing open does."""
    (tmp_path / "a.zip").write_bytes(make_zip(contents))
    urls = [f"zip://{name}::{tmp_path}/a.zip" for name in contents]
    load(urls[:2])  # the parent has it open
    parts = Parallel(n_jobs=2)(delayed(load)(part) for part in (urls[:10], urls[10:]))
    np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.filterwarnings(
    # Python 3.12 warns of every fork in a process with threads.
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
def test_url_in_a_forked_child_has_its_own_archive(contents, expected, tmp_path):
    """Parent and child would share the place at which they read."""
    (tmp_path / "a.zip").write_bytes(make_zip(contents))
    urls = [f"zip://{name}::{tmp_path}/a.zip" for name in contents]
    load(urls[:1])
    child = os.fork()
    if not child:
        status = 1
        try:
            same = all(
                np.array_equal(load(urls), expected) and not _reads_from_its_parents()
                for _ in range(3)
            )
            status = 0 if same else 2
        finally:
            os._exit(status)
    for _ in range(3):
        np.testing.assert_array_equal(load(urls), expected)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def _reads_from_its_parents():
    """Tell whether a forked child has an archive that its parent opened."""
    parents = [a.fs for group in _urls._parents_archives for a in group.values()]
    own = [archive.fs for archive in _urls._archives.values()]
    return any(fs is other for fs in own for other in parents)


def test_url_lazily_and_pickled(contents, expected, memory):
    for name, content in contents.items():
        memory.pipe_file(name, content)
    images = load([f"memory://{name}" for name in contents], lazy=True)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(images)), expected)


# Archives stay open, and are seen to change


def test_archive_is_opened_once_for_all_images(contents, tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(make_zip(contents))
    opened = []
    read_directory = zipfile.ZipFile._RealGetContents

    def note(archive):
        opened.append(archive)
        return read_directory(archive)

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", note)
    urls = [f"zip://{name}::{tmp_path}/a.zip" for name in contents]
    load(urls, n_jobs=2)
    load(urls)
    assert len(opened) == 1


@pytest.mark.parametrize("place", ["{folder}/a.zip", "memory://a.zip", "{url}/a.zip"])
def test_archive_that_was_replaced_is_opened_anew(
    contents, expected, memory, server, tmp_path, place
):
    def put(content):
        (tmp_path / "new.zip").write_bytes(content)
        os.replace(tmp_path / "new.zip", tmp_path / "a.zip")
        memory.pipe_file("a.zip", content)
        server.files["/a.zip"] = content

    place = place.format(folder=tmp_path, url=server.url)
    for row in (0, 1):
        put(make_zip({"x.png": contents[NAMES[row]]}))
        np.testing.assert_array_equal(load([f"zip://x.png::{place}"])[0], expected[row])


def test_archives_that_stay_open_are_few(contents, expected, tmp_path):
    urls = []
    for row, name in enumerate(NAMES):
        (tmp_path / f"{row}.zip").write_bytes(make_zip({"x.png": contents[name]}))
        urls.append(f"zip://x.png::{tmp_path}/{row}.zip")
    np.testing.assert_array_equal(load(urls, n_jobs=4), expected)
    assert len(_urls._archives) <= _urls._MAX_ARCHIVES


def test_archive_with_a_flipped_bit_is_an_error(contents, tmp_path):
    """In a stored JPEG, which itself has no checksum."""
    stream = io.BytesIO()
    Image.fromarray(make_scene()).save(stream, "JPEG")
    damaged = bytearray(make_zip({"a.jpg": stream.getvalue()}))
    damaged[len(stream.getvalue()) // 2] ^= 1
    (tmp_path / "a.zip").write_bytes(damaged)
    with pytest.raises(ImageLoadError, match="Bad CRC-32"):
        load([f"zip://a.jpg::{tmp_path}/a.zip"])


# Requests


def test_repair_copy_web_file_takes_one_request_an_image(server, contents):
    load([f"{server.url}/{name}" for name in contents])
    assert [method for method, *_ in server.requests] == ["GET"] * len(contents)


def test_http_is_read_by_several_threads_at_once(server, contents, expected):
    """From the fourth image on: the first three show that it is worth threads."""
    barrier = threading.Barrier(4, timeout=30)

    def wait(handler):
        if int(handler.path[-1]) < 3:
            time.sleep(0.01)
        else:
            barrier.wait()
        handler.send("/slow", contents[NAMES[0]])

    server.handlers["/slow"] = wait
    images = load([f"{server.url}/slow?{i}" for i in range(7)], n_jobs=4)
    np.testing.assert_array_equal(images, expected[[0] * 7])


# Errors


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memory://none.png", "there is no such file"),
        ("memory://folder", "it is a directory"),
        ("memory://empty.png", "the file is empty"),
        ("memory://page.png", "it is an HTML page"),
        ("zip://none.png::{folder}/a.zip", "there is no such file"),
        ("zip://a.png::{folder}/none.zip", "archive's place .*none.zip', there is no"),
        ("zip://a.png::{folder}", "isn't a regular file"),
        ("zip://a.png::{folder}/fifo", "isn't a regular file"),
        ("zip://a.png::{folder}/page.html", "File is not a zip file"),
        ("file://{folder}/fifo", "it is a named pipe"),
        ("file://{folder}/none.png", "there is no such file"),
        ("nope://a.png", "Protocol not known: nope"),
        ("nope::a.png", "can't be read"),
        ("{server}/none.png", r"the server answers 404 \(Not Found\)"),
        ("{server}/secret.png", r"the server answers 403 \(Forbidden\)"),
        ("{server}/cut.png", "can't be read"),
        ("http://127.0.0.1:1/a.png", "Cannot connect to host 127.0.0.1:1"),
        ("zip://a.png::http://127.0.0.1:1/a.zip", "Cannot connect to host"),
    ],
)
def test_url_that_cannot_be_read_is_named_with_the_reason(
    memory, server, contents, tmp_path, url, reason
):
    memory.mkdir("folder")
    memory.pipe_file("empty.png", b"")
    memory.pipe_file("page.png", b"<html>")
    (tmp_path / "a.zip").write_bytes(make_zip(contents))
    (tmp_path / "page.html").write_text("<html>")
    os.mkfifo(tmp_path / "fifo")
    server.handlers["/secret.png"] = lambda handler: handler.send_error(403)
    server.files["/cut.png"] = contents[NAMES[0]]
    server.cuts["/cut.png"] = [100]
    url = url.format(folder=tmp_path, server=server.url)
    with pytest.raises(ImageLoadError, match=reason) as caught:
        load([contents[NAMES[0]], url])
    assert caught.value.errors == [(1, url, caught.value.reason)]
    server.cuts["/cut.png"] = [100]
    (row,) = check_images([url])[["ok", "reason"]].itertuples(index=False)
    assert (row.ok, row.reason) == (False, caught.value.reason)


def test_repair_find_server_error_tells_an_answer_from_a_missing_file(server):
    """For fsspec, both a server that answers no and one that isn't there are that."""
    server.handlers["/a.zip"] = lambda handler: handler.send_error(403)
    for url, reason in [
        (f"{server.url}/none.png", r"the server answers 404 \(Not Found\)"),
        (f"zip://a.png::{server.url}/a.zip", r"the server answers 403 \(Forbidden\)"),
        ("zip://a.png::http://127.0.0.1:1/a.zip", "Cannot connect to host"),
    ]:
        with pytest.raises(ImageLoadError, match=reason):
            load([url])


def test_repair_needs_whole_file_says_what_helps(server, contents):
    content = os.urandom(6 * 2**20)  # more than fsspec asks for at once
    server.files["/a.zip"] = make_zip({"noise": content, **contents})
    server.has_ranges = False
    with pytest.raises(ImageLoadError, match="put simplecache between"):
        load([f"zip://{NAMES[0]}::{server.url}/a.zip"])
    url = f"zip://{NAMES[0]}::simplecache::{server.url}/a.zip"
    assert load([url]).shape == (1, 9, 7, 3)


def test_url_without_end_is_refused(server, monkeypatch):
    monkeypatch.setattr(_urls, "_MAX_BYTES", 3 * 2**20)
    server.files["/large.png"] = bytes(4 * 2**20)
    with pytest.raises(ImageLoadError, match="larger than 3,145,728 bytes"):
        load([f"{server.url}/large.png"])


def test_url_errors_can_be_filled(memory, contents, expected):
    memory.pipe_file("a.png", contents[NAMES[0]])
    with pytest.warns(UserWarning, match="memory://none.png"):
        images = load(["memory://none.png", "memory://a.png"], on_error="fill")
    assert (images[0] == 1).all()
    np.testing.assert_array_equal(images[1], expected[0])


def test_missing_extra_is_a_sentence(monkeypatch):
    """Not one bad image among others, and nothing that could be filled."""
    monkeypatch.setitem(sys.modules, "fsspec", None)
    for on_error in ("raise", "fill"):
        with pytest.raises(ImportError, match=r'pip install .*"fsspec\[http\]'):
            load(["memory://a.png"], on_error=on_error)
    with pytest.raises(ImportError, match="fsspec reads"):
        check_images(["memory://a.png"])


def test_missing_package_of_a_protocol_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ImportError, match=r"'s3://bucket/a.png' needs .*s3fs"):
        load(["s3://bucket/a.png"], on_error="fill")


# Options


def test_storage_options_reach_the_file_system(tmp_path, contents, server):
    """Flat for one protocol, by its name in a chain; and stay as they were."""

    def check(handler):
        allowed = handler.headers.get("X-Key") == "secret"
        if not allowed:
            return handler.answer(403, b"", "text/plain")
        name = handler.path.rpartition("/")[2]
        return handler.send(name, server.files[f"/{name}"])

    server.files |= {"/a.png": contents[NAMES[0]], "/a.zip": make_zip(contents)}
    server.handlers = dict.fromkeys(["/keep/a.png", "/keep/a.zip"], check)
    url, packed = (
        f"{server.url}/keep/a.png",
        f"zip://{NAMES[0]}::{server.url}/keep/a.zip",
    )
    flat = {"headers": {"X-Key": "secret"}}
    for options in (flat, {"http": flat}):
        before = repr(options)
        cell, parameters = (
            (url, packed)["http" in options],
            {"storage_options": options},
        )
        assert load([cell], **parameters).shape == (1, 9, 7, 3)
        assert check_images([cell], **parameters)["ok"].all()
        assert read_image(cell, **SIZE, **parameters).shape == (9, 7, 3)
        assert repr(options) == before
    with pytest.raises(ImageLoadError, match="403"):
        load([url])


def test_repair_copy_options_leaves_them_as_they_were(memory, contents):
    """The options for other protocols are added by fsspec to those of the first one."""
    memory.pipe_file("a.png", contents[NAMES[0]])
    options = {"memory": {}, "zip": {}}
    load(["memory://a.png"], storage_options=options)
    assert options == {"memory": {}, "zip": {}}


@pytest.mark.parametrize("wrong", [3, "anon", {1: 2}])
def test_storage_options_are_checked_by_every_reader(wrong):
    match = "The 'storage_options' parameter of .* must be a dict"
    for read in (
        check_images,
        lambda cells, **options: read_image(cells[0], **SIZE, **options),
    ):
        with pytest.raises(InvalidParameterError, match=match):
            read(["a.png"], storage_options=wrong)


# The cache


@pytest.mark.parametrize("form", ["{}/x.png", "zip://x.png::{}/a.zip"])
def test_cache_keeps_urls_and_sees_that_they_changed(
    server, contents, expected, decodes, tmp_path, form
):
    url = form.format(server.url)
    for row in (0, 1):
        content = contents[NAMES[row]]
        server.files |= {"/x.png": content, "/a.zip": make_zip({"x.png": content})}
        for _ in range(2):
            image = load([url], cache=tmp_path / "cache")[0]
            np.testing.assert_array_equal(image, expected[row])
    assert decodes == [url, url]


@pytest.mark.parametrize(
    "form", ["{}/x.png", "simplecache::{}/etag.png", "memory://x.png", "{}/weak.png"]
)
def test_cache_keeps_no_url_whose_content_nothing_tells(
    server, memory, contents, decodes, tmp_path, form
):
    content = contents[NAMES[0]]
    memory.pipe_file("x.png", content)
    server.has_etags = "etag" in form
    server.files |= {"/x.png": content, "/etag.png": content}
    server.handlers["/weak.png"] = lambda handler: handler.answer(
        200, content, "image/png", {"ETag": 'W/"1"'}
    )
    for _ in range(2):
        load([form.format(server.url)], cache=tmp_path / "cache")
    assert len(decodes) == 2


def test_cache_knows_a_file_url_as_its_path(contents, decodes, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(contents[NAMES[0]])
    os.utime(path)
    threading.Event().wait(0.03)
    for cell in (f"file://{path}", path):
        load([cell], cache=tmp_path / "cache")
    assert decodes == [f"file://{path}"]


# S3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*has only one class:UserWarning")
@pytest.mark.filterwarnings("ignore:.*images outside of any class:UserWarning")
def test_s3_through_a_local_server(contents, expected, decodes, tmp_path, monkeypatch):
    """Needs s3fs and moto[server], which the test extra leaves out for their size."""
    pytest.importorskip("s3fs")
    moto_server = pytest.importorskip("moto.server")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}"}
    try:
        s3 = fsspec.filesystem("s3", **options)
        s3.mkdir("pictures")
        for name, content in contents.items():
            s3.pipe_file(f"pictures/{name}", content)
        s3.pipe_file("pictures/a.zip", make_zip(contents))
        plain = [f"s3://pictures/{name}" for name in contents]
        packed = [f"zip://{name}::s3://pictures/a.zip" for name in contents]
        for urls, options_of_urls in ((plain, options), (packed, {"s3": options})):
            images = load(urls, storage_options=options_of_urls, n_jobs=4)
            np.testing.assert_array_equal(images, expected)
        data = load_image_folder("s3://pictures", storage_options=options)
        assert data.filenames.tolist() == plain
        packed_data = load_image_folder(
            "zip::s3://pictures/a.zip", storage_options={"s3": options}
        )
        assert packed_data.filenames.tolist() == packed
        cache = {"cache": tmp_path / "cache", "storage_options": options}
        decodes.clear()
        s3.ls("pictures/train")
        load(plain[:1], **cache)
        np.testing.assert_array_equal(load(plain[:1], **cache)[0], expected[0])
        assert len(decodes) == 1
        other = fsspec.filesystem("s3", **options, skip_instance_cache=True)
        other.pipe_file(f"pictures/{NAMES[0]}", contents[NAMES[1]])
        np.testing.assert_array_equal(load(plain[:1], **cache)[0], expected[1])
    finally:
        server.stop()


@pytest.mark.parametrize(
    "form",
    [
        "simplecache::file:{0}/x.png",
        "simplecache::local:{0}/x.png/",
        "simplecache::file://{0}/x.png/",
        "simplecache://::{0}/x.png",
        "simplecache://{0}/x.png::file:{0}",
        "dir://x.png::file://{0}",
        "dir://x.png::{0}",
        "dir://x.png::simplecache::{0}/",
        "dir://x.png::dir://.::{0}",
        "simplecache::dir://x.png::{0}",
    ],
)
def test_a_file_of_this_machine_is_found_in_a_url(tmp_path, form):
    """As fsspec reads it; an output that would replace it is refused."""
    path, url = tmp_path / "x.png", form.format(tmp_path)
    path.write_bytes(b"content")
    assert UrlReader({}).read(url) == b"content"
    assert find_replaced(path, local_files(url)) is not None


@pytest.mark.parametrize(
    "url",
    [
        "zip://x.png::a.zip",
        "dir://x.png::memory://",
        "dir://x.png::/",
        "memory://x.png",
        "x://a::b",
    ],
)
def test_a_file_in_another_place_is_no_file_of_the_same_name(empty_folder, url):
    with open("x.png", "wb"):
        assert find_replaced("x.png", local_files(url)) is None


@pytest.mark.parametrize("name", ["simplecache::x.png", "file:x.png", "a::b.png"])
def test_a_file_whose_name_looks_like_a_url_is_itself(empty_folder, name):
    if os.name == "nt":
        pytest.skip("Windows has no such names")
    open(name, "wb").close()
    assert local_files(name) == [name]

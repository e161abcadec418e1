"""List the files of a folder behind a URL."""

import html
import posixpath
import re
import urllib.parse

from skimgclf.datasets._file_names import is_clutter, is_unreadable, split_name
from skimgclf.datasets._id_lookup import ImageLookup, ListedFolder
from skimgclf.datasets._tree import ClassFile, ClassTree, sort_key
from skimgclf.exceptions import DatasetError
from skimgclf.images._fsspec_repairs import copy_web_file
from skimgclf.images._urls import BoundedBuffer, explain_url_error, is_archive

# A server can make up folders, pages of links and links for ever.
_MAX_DEPTH, _MAX_FOLDERS, _MAX_FILES = 32, 100_000, 5_000_000
_MAX_PAGES = 2**30  # bytes, of all pages of a listing

# Each character is looked at a few times at most, whatever a server has written.
_LINK = re.compile(
    rb"""<a\s(?:[^<>]*?\s)?href\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)')""", re.IGNORECASE
)


class UrlFolder:
    """A folder of class folders behind a URL, where there are no links.

    Parameters
    ----------
    root : str
        The URL of the folder.
    url_reader : UrlReader
        The reader of URLs.

    Attributes
    ----------
    class_names, root_links
        As in `DiskFolder`.
    """

    def __init__(self, root, url_reader):
        self._root = root
        self._urls = {
            path: url
            for path, url in list_files(root, url_reader).items()
            if not any(map(is_clutter, path.split("/")))
        }
        names = {path.split("/")[0] for path in self._urls if "/" in path}
        self.class_names, self.root_links = sorted(names), []

    def walk(self, class_names):
        """Collect the files of some of the classes, as `DiskFolder` does.

        Files without the extension of an image aren't opened, so that none is called
        misnamed.
        """
        folders = {label: join_url(self._root, label) for label in class_names}
        paths = sorted(self._urls, key=lambda path: sort_key(path, "/"))
        beside = [path for path in paths if "/" not in path]
        files = [
            ClassFile(self._urls[path], label, path)
            for path in paths
            if "/" in path and (label := path.split("/")[0]) in folders
        ]
        images = [file for file in files if split_name(file.real_path)[1]]
        skipped = [file for file in files if not split_name(file.real_path)[1]]
        return ClassTree(
            root=self._root,
            folders=folders,
            images=images,
            n_nested=sum(image.real_path.count("/") > 1 for image in images),
            skipped=skipped,
            unreadable=[file.path for file in skipped if is_unreadable(file.real_path)],
            root_files=[self._urls[path] for path in beside],
            root_images=[self._urls[path] for path in beside if split_name(path)[1]],
        )


class UrlLookup(ImageLookup):
    """Find image files by id below a URL.

    Parameters
    ----------
    image_dir : str
        The URL of the folder that ids start from.
    url_reader : UrlReader
        The reader of URLs.
    """

    def __init__(self, image_dir, url_reader):
        super().__init__(image_dir, allow_outside=False)
        self._urls = {}
        for path, url in list_files(image_dir, url_reader).items():
            folder, name = posixpath.split(path)
            self._urls.setdefault(folder, {})[name] = url

    def _open(self, head):
        folder = posixpath.normpath(head)
        folder = "" if folder == "." else folder
        if head.startswith("/") or ".." in head.split("/"):
            raise LookupError(
                f"the folder {head!r} may lie outside of {self.image_dir!r}"
            )
        if folder not in self._urls:
            raise LookupError(f"no folder {join_url(self.image_dir, folder)!r}")
        if folder not in self._folders_by_real_path:
            self._folders_by_real_path[folder] = _UrlFolder(
                join_url(self.image_dir, folder), folder, self._urls[folder]
            )
        return self._folders_by_real_path[folder]


class _UrlFolder(ListedFolder):
    """A listed folder, with the URL of each file."""

    def __init__(self, url, path, urls):
        super().__init__(url, f"{path}/", dict.fromkeys(urls, "file"))
        self._urls = urls

    def path_of(self, name):
        return self._urls[name]


def list_files(root, url_reader):
    """List all files below a URL.

    Parameters
    ----------
    root : str
        The URL of a folder.
    url_reader : UrlReader
        The reader of URLs.

    Returns
    -------
    urls : dict of str to str
        The URL of each file by its path below the folder.

    Raises
    ------
    DatasetError
        If the folder can't be listed, or isn't there.
    """
    is_web = False
    try:
        place = url_reader.find_place(root)
        start = place.path.rstrip("/") + "/"
        is_web = start.startswith(("http://", "https://"))
        with place.lock:
            # A listing that was made before may be older than the files.
            place.fs.invalidate_cache(place.path)
            if is_web:
                found = _walk(_LinkPages(place.fs), start)
            else:
                found = _walk(place.fs, place.path)
    except ImportError:
        raise
    except _FolderError as error:
        folder, cause = join_url(root, str(error)), error.__cause__
        raise _refuse(folder, _explain(cause), is_web) from cause
    except Exception as error:
        raise _refuse(root, _explain(error), is_web) from error
    # Some file systems start their paths with a slash, some don't.
    start = start.lstrip("/")
    paths = [path.lstrip("/").removeprefix(start) for path in found]
    decode = urllib.parse.unquote if is_web else str
    urls = {decode(path): join_url(root, path) for path in paths}
    if is_web:  # without links that sort the listing
        urls = {
            path: url
            for path, url in urls.items()
            if not posixpath.basename(path).startswith(("?", "#"))
        }
    if not urls:
        raise _refuse(root, "there are no files below it", is_web)
    return urls


def _walk(fs, root):
    """List all files below a folder; fsspec's walk skips folders that it can't list."""
    files, waiting, n_folders = [], [root], 0
    while waiting:
        folder, n_folders = waiting.pop(), n_folders + 1
        depth = folder.strip("/").count("/") - root.strip("/").count("/")
        if depth > _MAX_DEPTH or n_folders > _MAX_FOLDERS:
            raise _refuse_endless(folder)
        for entry in _list_folder(fs, folder, root):
            path = entry["name"]
            # A folder's own entry, and links up, lead in a circle.
            if path.rstrip("/") == folder.rstrip("/") or ".." in path.split("/"):
                continue
            (waiting if entry["type"] == "directory" else files).append(path)
        if len(files) > _MAX_FILES:
            raise _refuse_endless(folder)
    return files


def _list_folder(fs, folder, root):
    """List a folder; an error of one below another names it."""
    try:
        return fs.ls(folder, detail=True)
    except (ImportError, _EndlessError):
        raise
    except Exception as error:
        below = folder.strip("/").removeprefix(root.strip("/")).lstrip("/")
        if not below:
            raise
        raise _FolderError(below) from error


class _FolderError(Exception):
    """The path of a folder below another one, which can't be listed for its cause."""


class _EndlessError(OSError):
    """A listing that may have no end."""


class _LinkPages:
    """List folders of a web server, which are pages of links.

    The `ls` of fsspec reads a page to its end, however long it is, and may search
    one of some kilobytes for hours, which not even Ctrl-C ends.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        Of the web server, or one that caches its files.
    """

    def __init__(self, fs):
        # A cache never looks at a page again.
        self._fs, self._n_bytes = getattr(fs, "fs", fs), 0

    def ls(self, folder, detail):
        """List the links of a page, as `ls` of fsspec does."""
        page = BoundedBuffer()
        copy_web_file(self._fs, folder, page)
        self._n_bytes += page.tell()
        if self._n_bytes > _MAX_PAGES:
            raise _refuse_endless(folder)
        names = set()
        for match in _LINK.finditer(page.getbuffer()):
            names.add(_resolve_link(folder, match[1] or match[2] or b""))
            if len(names) > _MAX_FILES:
                raise _refuse_endless(folder)
        return [
            {"name": name, "type": "directory" if name.endswith("/") else "file"}
            for name in sorted(names)
        ]


def _resolve_link(folder, link):
    """Return the URL of a link below a folder; the folder itself for another one."""
    link = html.unescape(link.decode(errors="ignore"))
    try:
        url = urllib.parse.urljoin(folder, link)
    except ValueError:  # such as "http://[x"
        return folder
    # The page may have come through a proxy that speaks https for the server.
    below, start = url.partition("://")[2], folder.partition("://")[2]
    return folder + below.removeprefix(start) if below.startswith(start) else folder


def _refuse_endless(folder):
    return _EndlessError(
        f"at {folder!r} there are more than {_MAX_DEPTH} folders in each other, "
        f"{_MAX_FOLDERS:,} folders, {_MAX_FILES:,} files or {_MAX_PAGES:,} bytes of "
        "links: the listing may have no end"
    )


def join_url(root, path):
    """Write the URL of a path below a folder.

    Examples
    --------
    >>> from skimgclf.datasets._urls import join_url
    >>> join_url("memory://train/", "cat/1.png")
    'memory://train/cat/1.png'
    >>> join_url("zip::a.zip", "1.png"), join_url("zip://train::a.zip", "1.png")
    ('zip://1.png::a.zip', 'zip://train/1.png::a.zip')
    >>> join_url("simplecache::http://host/train", "1.png")
    'simplecache::http://host/train/1.png'
    """
    return _change_path(
        root, lambda folder: "/".join(filter(None, (folder.rstrip("/"), path)))
    )


def parent_url(url):
    """Write the URL of the folder in which a file lies.

    Examples
    --------
    >>> from skimgclf.datasets._urls import parent_url
    >>> parent_url("memory://pets/train.csv"), parent_url("zip://train.csv::a.zip")
    ('memory://pets', 'zip://::a.zip')
    """
    return _change_path(url, posixpath.dirname)


def _change_path(url, change):
    """Change the path in a URL: of an archive, the path in it."""
    head, _, rest = url.partition("::")
    if rest and not is_archive(head):
        return f"{head}::{_change_path(rest, change)}"
    protocol, _, path = head.partition("://")
    return f"{protocol}://{change(path)}" + (f"::{rest}" if rest else "")


def _explain(error):
    if isinstance(error, FileNotFoundError):
        return "there is no such folder"
    return explain_url_error(error)


def _refuse(root, why, is_web):
    advice = (
        ". A web server lists a folder only as a page of links, if at all: give "
        "ImageLoader a list of URLs instead, or pack the images in a zip file"
    )
    return DatasetError(
        f"The folder {root!r} can't be listed: {why}{advice if is_web else ''}."
    )

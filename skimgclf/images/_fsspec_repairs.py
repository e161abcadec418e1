"""Work around defects of fsspec with web servers (seen in fsspec 2024.12 to 2026.9)."""


class NotFoundOnServer(FileNotFoundError):
    """A web server's answer 404, with the attributes of aiohttp's error."""

    status, message = 404, "Not Found"


def copy_web_file(fs, path, target):
    """Copy a file of a web server into a file object, with one request.

    Cause: ``fs.open`` asks for the size first, which doubles the requests and which
    signed URLs refuse. It isn't documented that ``get_file`` writes into a file object
    for HTTP, too: if that ends, every such URL fails with a TypeError. It can go when
    ``fs.open`` takes one request.

    Parameters
    ----------
    fs : fsspec.implementations.http.HTTPFileSystem
    path : str
    target : binary file
    """
    try:
        fs.get_file(path, target)
    except FileNotFoundError as error:
        raise NotFoundOnServer from error


def find_server_error(error):
    """Return aiohttp's error where fsspec has replaced it by "no such file".

    Cause: asked for the size, ``HTTPFileSystem.info`` raises FileNotFoundError whatever
    happened, also where the server can't be reached. If the cause is no error of
    aiohttp any more, the error that was given is returned, and the reason is vague. It
    can go when fsspec raises the error itself.
    """
    cause = error.__cause__
    is_hidden = cause is not None and type(cause).__module__.startswith("aiohttp")
    return cause if is_hidden else error


def needs_whole_file(error):
    """Tell whether a web server doesn't send parts of files, as archives need.

    Cause: fsspec says so by the text of a ValueError alone. If the text changes, the
    reason is fsspec's own sentence. It can go when the error has a class of its own.
    """
    return isinstance(error, ValueError) and "range requests" in str(error)

"""Turn streams, buffers and dicts of Hugging Face's into paths and bytes."""


class NamedBytes(bytes):
    """The bytes of an image file that has a name, for errors."""

    name = ""


def plain_source(cell):
    """Make a path or bytes of a stream, a dict of Hugging Face's, or a buffer.

    Parameters
    ----------
    cell : object
        As in `read_image`. Streams are read from their start and put back, where that
        is possible, so that they can be read again.

    Returns
    -------
    source : object
        As it was, if it is of another kind.
    """
    if isinstance(cell, bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, dict) and cell.keys() == {"bytes", "path"}:
        return _take_feature(cell)
    if callable(getattr(cell, "read", None)):
        return _read_stream(cell)
    return cell


def _take_feature(feature):
    content, path = plain_source(feature["bytes"]), feature["path"]
    if not isinstance(content, bytes):
        return path if content is None and path is not None else feature
    return _name_bytes(content, path)


def _name_bytes(content, name):
    content = NamedBytes(content)
    content.name = name or ""
    return content


def _read_stream(stream):
    try:
        if not _is_seekable(stream):  # a pipe, or what a server sends
            content = stream.read()
        else:
            place = stream.tell()
            stream.seek(0)
            content = stream.read()
            stream.seek(place)
    except Exception:  # the error names the kind of cell then
        return stream
    if not isinstance(content, bytes):
        return stream
    name = getattr(stream, "name", None)
    # A stream of a file descriptor has a number for its name.
    return _name_bytes(content, name) if isinstance(name, str) else content


def _is_seekable(stream):
    if hasattr(stream, "seekable"):
        return stream.seekable()
    return hasattr(stream, "seek") and hasattr(stream, "tell")  # mmap of Python < 3.13

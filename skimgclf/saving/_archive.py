"""The file of `save_model`: a zip of two members, written and read strictly.

Nothing in it is compressed. So no member can be larger than the file, there are no
decompression bombs, and a flipped bit is a flipped bit of a number, not of thousands.
"""

import hashlib
import io
import json
import math
import os
import stat
import zipfile

from skimgclf._atomic import replace_atomically
from skimgclf.exceptions import ModelFileError

DOCUMENT, NETWORK = "model.json", "network.keras"

# How a zip archive begins.
_ZIP = b"PK"

# How a stream of zlib begins, which joblib compresses by, at each level.
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")

# JSON becomes some ten times larger in memory.
_MAX_DOCUMENT_BYTES = 1 << 26


def write_archive(path, document, network):
    """Write a model file atomically.

    Parameters
    ----------
    path : str or os.PathLike
        Where to.
    document : dict
        What `json.dumps` takes.
    network : bytes
        A ``.keras`` file.
    """
    document = {**document, "sha256": {NETWORK: _digest(network)}}
    text = json.dumps(document, indent=1, allow_nan=False)
    with (
        replace_atomically(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        archive.writestr(DOCUMENT, text)
        archive.writestr(NETWORK, network)


def read_archive(path):
    """Read a model file; nothing is unpacked and no member's name becomes a path.

    Parameters
    ----------
    path : str or os.PathLike
        Where from.

    Returns
    -------
    document : dict
        Without its checksums, which are right.
    network : bytes
    size : int
        Of the file, in bytes.

    Raises
    ------
    ModelFileError
        If the file is damaged or isn't one that `write_archive` can have written.
    OSError
        If it can't be read at all.
    """
    content, size = _read_file(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(path, size, archive)
            text, network = archive.read(DOCUMENT), archive.read(NETWORK)
    except ModelFileError:
        raise
    # zipfile raises BadZipFile, RuntimeError, NotImplementedError, EOFError, ... of
    # what isn't a whole archive.
    except Exception as error:
        raise ModelFileError(
            path,
            size,
            "is damaged, or wasn't written by save_model: it can't be read as a zip "
            f"archive ({error}){_guess(content)}",
        ) from error
    document = _parse(path, size, text)
    sums = document.pop("sha256", None)
    if sums != {NETWORK: _digest(network)}:
        reason = f"is damaged: the checksum of its {NETWORK} is wrong"
        raise ModelFileError(path, size, reason)
    return document, network, size


def _read_file(path):
    """Return the content, or only the start if it is no archive, and the size."""
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{os.fspath(path)!r} isn't a regular file.")
        content = file.read(len(_ZIP))
        if content == _ZIP:  # a film may be larger than memory
            content += file.read()
            return content, len(content)
        return content, status.st_size


def _open_without_waiting(path, flags):
    # A named pipe would be waited for.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_members(path, size, archive):
    members = archive.infolist()
    names = [member.filename for member in members]
    reason = None
    if names != [DOCUMENT, NETWORK]:
        # The end of a cut file is the network, a zip archive too.
        listed = ", ".join(map(repr, names[:5])) or "nothing"
        reason = (
            f"it must hold {DOCUMENT} and {NETWORK} and nothing else, and it holds "
            f"{listed}"
        )
    elif any(member.compress_type != zipfile.ZIP_STORED for member in members):
        reason = "its members are compressed"
    elif any(member.file_size > size for member in members):
        reason = "its members claim to be larger than the file"
    elif members[0].header_offset:
        reason = "something stands in front of the archive"
    elif members[0].file_size > _MAX_DOCUMENT_BYTES:
        reason = f"its {DOCUMENT} is too large"
    if reason is not None:
        reason = f"is damaged, or wasn't written by save_model: {reason}"
        raise ModelFileError(path, size, reason)


def _parse(path, size, text):
    try:
        document = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            object_pairs_hook=_make_object,
        )
    except (ValueError, RecursionError) as error:
        reason = f"is damaged: its {DOCUMENT} is no JSON ({error})"
        raise ModelFileError(path, size, reason) from error
    if not isinstance(document, dict):
        raise ModelFileError(path, size, f"holds a {DOCUMENT} that is no JSON object")
    return document


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _parse_float(text):
    number = float(text)
    if math.isinf(number):
        _refuse_constant(text)
    return number


def _make_object(pairs):
    made = dict(pairs)
    if len(made) < len(pairs):  # Python would keep the last, other readers the first
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{repeated!r} stands twice in an object")
    return made


def _digest(content):
    return hashlib.sha256(content).hexdigest()


def _guess(content):
    if content[:1] == b"\x80" or content[:2] in _ZLIB:
        return (
            ". It looks like a pickle or a joblib file: joblib.load reads those, and "
            "runs code from them"
        )
    return ""

"""Hand a tar file to tarfile in small pieces, unpacked from its compression."""

import bz2
import gzip
import lzma
import tarfile

# In bytes. A file in which macOS keeps an icon may have a header of some 100 KB.
MAX_HEADER = 2**20

# xz's strongest preset needs 65 MiB; a file of some hundred bytes can ask for 4 GiB.
_MAX_XZ_MEMORY = 2**28

_CHUNK = 2**16


class TarStream:
    """A tar file that can be read forwards only, and only as far as is allowed.

    tarfile reads a header whole, however long it says that it is, before any filter is
    asked: 306 KB of gzip became 600 MB of memory.

    Parameters
    ----------
    path : str
        A tar file, plain or compressed with gzip, bzip2 or xz.
    refuse : callable
        Is called with a reason, and raises.

    Attributes
    ----------
    last : bytes
        The result of the last call of `read`.
    """

    def __init__(self, path, refuse):
        self._file, self._refuse = _open_compressed(path), refuse
        self._position = self._n_allowed = 0
        self.last = b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def allow(self, n_bytes):
        """Set how many bytes may be read until the next call."""
        self._n_allowed = n_bytes

    def tell(self):
        return self._position

    def seek(self, position):
        # tarfile seeks before it reads a content, to where it is already.
        if position != self._position:
            raise tarfile.ReadError("it can be read forwards only")

    def read(self, n_bytes):
        if not 0 <= n_bytes <= self._n_allowed:
            self._refuse(f"a header in it has more than {MAX_HEADER:,} bytes")
        self._n_allowed -= n_bytes
        self.last = self._file.read(n_bytes)
        self._position += len(self.last)
        return self.last


def _open_compressed(path):
    openers = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": _XzFile}
    with open(path, "rb") as file:
        start = file.read(6)
    for magic, opener in openers.items():
        if start.startswith(magic):
            return opener(path)
    return open(path, "rb")


class _XzFile:
    """Reads an .xz file with limited memory, which `lzma.LZMAFile` can't."""

    def __init__(self, path):
        self._file, self._buffer = open(path, "rb"), b""
        self._pieces = self._unpack()
        self.close = self._file.close

    def read(self, n_bytes):
        while len(self._buffer) < n_bytes and (piece := next(self._pieces, b"")):
            self._buffer += piece
        content, self._buffer = self._buffer[:n_bytes], self._buffer[n_bytes:]
        return content

    def _unpack(self):
        packed = b""
        # A file may hold several streams, with zeros between them.
        while packed := (packed or self._file.read(_CHUNK)).lstrip(b"\0"):
            xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, _MAX_XZ_MEMORY)
            while not xz.eof:
                if piece := xz.decompress(packed, _CHUNK):
                    yield piece
                packed = self._file.read(_CHUNK) if xz.needs_input else b""
                if xz.needs_input and not packed:
                    raise EOFError("its end is missing")
            packed = xz.unused_data

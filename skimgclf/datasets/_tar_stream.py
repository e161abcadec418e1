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
        self._file, self._rest = open(path, "rb"), b""
        self._xz = None

    def close(self):
        self._file.close()

    def read(self, n_bytes):
        pieces = []
        while n_bytes and (piece := self._read_some(n_bytes)):
            pieces.append(piece)
            n_bytes -= len(piece)
        return b"".join(pieces)

    def _read_some(self, n_bytes):
        while True:
            if self._xz is None or self._xz.eof:  # an .xz file may hold several streams
                # Zeros may stand between streams.
                rest = b"" if self._xz is None else self._xz.unused_data.lstrip(b"\0")
                while not rest and (chunk := self._file.read(_CHUNK)):
                    rest = chunk.lstrip(b"\0")
                if not rest:
                    return b""
                self._xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, _MAX_XZ_MEMORY)
            else:
                rest = self._file.read(_CHUNK) if self._xz.needs_input else b""
                if self._xz.needs_input and not rest:
                    raise EOFError("its end is missing")
            if piece := self._xz.decompress(rest, n_bytes):
                return piece

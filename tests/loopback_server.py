"""A web server on this machine's loopback interface, for tests without a network."""

import hashlib
import html
import re
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LoopbackServer:
    """Serves bytes by path, as fast as the standard library can.

    Attributes
    ----------
    files : dict of str to bytes
        What is served, by path ("/train/a.png").
    handlers : dict of str to callable
        Called with the request's handler instead, by path without its query.
    requests : list of tuple (str, str, dict)
        Method, path and headers of each request.
    has_ranges, has_etags, has_listings : bool
        Whether parts of files are sent, whether ETags are, and whether a folder is a
        page of links.
    cuts : dict of str to list of int
        The connection is cut after so many bytes of a file, once for each number.
    """

    def __init__(self):
        self.files, self.handlers, self.requests, self.cuts = {}, {}, [], {}
        self.has_ranges = self.has_etags = True
        self.has_listings = False
        handler = type("Handler", (_Handler,), {"served": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    # The default of 5 makes a dozen clients wait for each other.
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        # Clients hang up as they please; anything else is a test's own mistake.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    # Connections stay open, and an answer is sent in one piece: two would wait 40 ms
    # for the client's acknowledgement.
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    served = None

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        served = self.served
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        served.requests.append((self.command, path, dict(self.headers)))
        if path in served.handlers:
            return served.handlers[path](self)
        if path in served.files:
            return self.send(path, served.files[path])
        if served.has_listings and path.endswith("/"):
            return self.answer(200, self.list_folder(path), "text/html")
        return self.answer(404, b"<html>not found</html>", "text/html")

    def list_folder(self, folder):
        names = {
            re.match("[^/]*/?", path.removeprefix(folder))[0]
            for path in self.served.files
            if path.startswith(folder)
        }
        links = [
            f'<a href="{urllib.parse.quote(name)}">{html.escape(name)}</a>'
            for name in ["?C=N", "../", *sorted(names)]
        ]
        return "\n".join(["<html>", *links, "</html>"]).encode()

    def send(self, path, content):
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        headers = {"ETag": etag} if self.served.has_etags else {}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.headers.get("If-Range", etag) != etag or not self.served.has_ranges:
            part = None
        if part is None:
            return self.answer(200, content, "image/png", headers, path)
        start, end = int(part[1]), int(part[2] or len(content) - 1)
        if start >= len(content):
            headers["Content-Range"] = f"bytes */{len(content)}"
            return self.answer(416, b"", "text/plain", headers)
        end = min(end, len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return self.answer(206, content[start : end + 1], "image/png", headers, path)

    def answer(self, status, content, content_type, headers=(), path=None):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cuts = self.served.cuts.get(path)
        if self.command == "HEAD":
            content = b""
        elif cuts:
            content = content[: cuts.pop(0)]
            self.close_connection = True
        self.wfile.write(content)

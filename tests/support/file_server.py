"""A file server on this machine that misbehaves on request."""

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread


class FileServer(ThreadingHTTPServer):
    """Serves ``content`` under every path.

    Attributes:
        content: the bytes.
        ranges: whether Range is honoured.
        says_length: whether Content-Length is sent.
        cut_after: bytes after which each answer ends, whatever was promised.
        requests: the Range header of each request so far.
    """

    daemon_threads = True

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.ranges = True
        self.says_length = True
        self.cut_after = None
        self.requests = []
        self.lock = Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        with server.lock:
            server.requests.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        whole = len(server.content)
        if start and start >= whole:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{whole}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if server.says_length:
            self.send_header("Content-Length", str(whole - start))
        self.end_headers()
        self.wfile.write(server.content[start:][: server.cut_after])

    def log_message(self, *_):
        pass


@contextmanager
def serving(content):
    server = FileServer(content)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

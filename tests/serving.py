"""A web server on loopback, good or odd, for the tests of downloads."""

import threading
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """A web server in a thread: `cuts` bytes are sent of the first answers, then the line breaks."""

    def __init__(self, files, cuts=(), ranges=True, etag='"1"', length=True, weird=None):
        self.files, self.cuts, self.ranges, self.etag = files, list(cuts), ranges, etag
        self.length, self.weird, self.log = length, weird, []
        self.range = None  # what an answer says to be, if that is not so

    def __enter__(self):
        self.web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        threading.Thread(target=self.web.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.web.shutdown()
        self.web.server_close()

    def url(self, name):
        return f"http://127.0.0.1:{self.web.server_address[1]}/data/{name}"


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server, *args):
        self.site = server
        super().__init__(*args)

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, data = self.site, self.site.files.get(self.path.rpartition("/")[2])
        asked = self.headers.get("Range", "")
        site.log.append(asked)
        if data is None:
            return self.send_error(404)
        assert self.headers["Accept-Encoding"] == "identity"
        start = int(asked[6:-1]) if asked and site.ranges else 0
        same = self.headers.get("If-Range") == site.etag or site.weird == "ignores If-Range"
        if not same:
            start = 0
        if start and (start >= len(data) or site.weird == "416"):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start or site.weird == "206" else 200)
        if start:
            said = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send_header("Content-Range", said if site.range is None else site.range)
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.length:
            self.send_header("Content-Length", str(len(data) - start))
        if site.weird == "encoded":
            self.send_header("Content-Encoding", "x-gzip")
        self.end_headers()
        cut = site.cuts.pop(0) if site.cuts else None
        self.wfile.write(data[start:] if cut is None else data[start : start + cut])
        self.close_connection = True
        with suppress(OSError):  # until whoever asked has enough
            while site.weird == "endless":
                self.wfile.write(bytes(2**16))

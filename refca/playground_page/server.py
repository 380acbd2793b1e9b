"""A server for the page on the loopback address: a fixed set of files, read only, with a security policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from refca.errors import InvalidInput

LOOPBACK = "127.0.0.1"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "jpg": "image/jpeg",
}

# The page may run its own files and WebAssembly, and ask this server for more; nothing else, from nowhere else.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@contextmanager
def serve(page: Mapping[str, bytes], port: int) -> Iterator[tuple[ThreadingHTTPServer, str]]:
    """Yield a server of these files that is ready to run, and its address.

    Raises InvalidInput for a port that does not exist or is taken.
    """
    if not 0 <= port <= 65535:
        raise InvalidInput(f"--port must be from 0 to 65535, got {port}")
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler_of(page))
    except OSError as error:
        raise InvalidInput(f"--port {port} cannot be used: {error.strerror}") from error
    with server:
        yield server, f"http://{LOOPBACK}:{server.server_port}/"


def handler_of(page: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    """Return a request handler that knows these files and no others."""

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):  # the page was left while it was loading
                super().handle()

        def do_GET(self) -> None:
            self.answer(with_content=True)

        def do_HEAD(self) -> None:
            self.answer(with_content=False)

        def answer(self, with_content: bool) -> None:
            try:
                name = urlsplit(self.path).path.removeprefix("/") or "index.html"
            except ValueError:
                self.send_error(400)
                return
            content = page.get(name)
            # another site's page may name this address by a host name of its own (DNS rebinding)
            host = self.headers.get("Host", "").partition(":")[0]
            if content is None or host not in (LOOPBACK, "localhost"):
                self.send_error(404 if content is None else 403)
                return
            self.send_response(200)
            self.send_header("Content-Type", TYPES.get(name.rpartition(".")[2], "application/octet-stream"))
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_content:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass  # requests of one's own page are no news

    return Handler

"""HTTP/1.1 as the API server speaks it: requests, answers whole or chunked, faults of the wire.

A server hands each request to a handler and writes what it returns: a Response, or a Stream whose
function writes chunks for as long as it likes.  Wire holds what tests do to all connections.
"""
import asyncio
import contextlib
import socket
import struct
import urllib.parse

HEAD_LIMIT = 1 << 18
BODY_LIMIT = 3 << 20
REASONS = {200: "OK", 201: "Created", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized",
           403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
           410: "Gone", 413: "Request Entity Too Large", 415: "Unsupported Media Type",
           422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error",
           503: "Service Unavailable", 504: "Gateway Timeout"}


class Hangup(Exception):
    """Raised by a handler that wants the connection closed at once, without an answer."""


class Request:
    """One request, its body read."""

    __slots__ = ("method", "path", "query", "headers", "body", "certificate")

    def __init__(self, method, target, headers, body, certificate=None):
        path, _, query = target.partition("?")
        self.method = method
        self.path = urllib.parse.unquote(path)
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.headers = headers
        self.body = body
        self.certificate = certificate


class Response:
    """An answer that is known whole; `cut` sends only that many bytes of it and then hangs up."""

    __slots__ = ("code", "body", "headers", "cut")

    def __init__(self, code, body=b"", headers=None, kind="application/json", cut=None):
        self.code = code
        self.body = body
        self.headers = {"Content-Type": kind, **(headers or {})}
        self.cut = cut

    def encode(self, head_only=False):
        """The bytes on the wire."""
        lines = [f"HTTP/1.1 {self.code} {REASONS.get(self.code, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + (b"" if head_only else self.body)


class Stream:
    """A chunked answer: `run(send)` writes with `await send(bytes)` until it returns."""

    __slots__ = ("run", "kind")

    def __init__(self, run, kind="application/json"):
        self.run = run
        self.kind = kind

    def head(self):
        """The bytes before the first chunk."""
        return (f"HTTP/1.1 200 OK\r\nContent-Type: {self.kind}\r\n"
                "Transfer-Encoding: chunked\r\n\r\n").encode()


class Wire:
    """What tests do to the bytes of all connections: stall them, or let them trickle."""

    def __init__(self):
        self.open = asyncio.Event()
        self.open.set()
        self.piece = 0
        self.pause = 0.0

    async def write(self, writer, data):
        """Writes through the faults that are set now."""
        await self.open.wait()
        piece = self.piece  # which may change while we wait
        if not piece:
            writer.write(data)
            await writer.drain()
            return
        for start in range(0, len(data), piece):
            await self.open.wait()
            writer.write(data[start:start + piece])
            await writer.drain()
            await asyncio.sleep(self.pause)


class Server:
    """Listens on one address; start and stop may follow each other on the same port."""

    def __init__(self, handler, host="127.0.0.1", port=0, tls=None):
        self.handler = handler
        self.host = host
        self.port = port
        self.tls = tls
        self.wire = Wire()
        self.writers = set()
        self.tasks = set()
        self.listener = None

    async def start(self):
        """Listens; the first time an open port is taken where none was asked for."""
        self.listener = await asyncio.start_server(
            self.serve, self.host, self.port, ssl=self.tls, limit=HEAD_LIMIT, backlog=1024)
        self.port = self.listener.sockets[0].getsockname()[1]

    async def stop(self):
        """Stops listening and breaks every connection, as a killed server's kernel does."""
        if self.listener:
            self.listener.close()
            self.listener = None
        self.cut()

    def cut(self, reset=False):
        """Breaks every connection, by a FIN or by a RST."""
        for writer in list(self.writers):
            if reset:
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        for task in list(self.tasks):
            task.cancel()

    async def serve(self, reader, writer):
        """One connection, to its end."""
        self.writers.add(writer)
        self.tasks.add(asyncio.current_task())
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while await self.turn(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError,
                ConnectionError, Hangup, TimeoutError):
            pass
        finally:
            self.writers.discard(writer)
            self.tasks.discard(asyncio.current_task())
            with contextlib.suppress(Exception):
                writer.close()

    async def turn(self, reader, writer):
        """One request and its answer; False when the connection is to end."""
        request = await self.read(reader, writer)
        if request is None:
            return False
        answer = await self.handler(request)
        if isinstance(answer, Stream):
            return await self.stream(answer, reader, writer)
        data = answer.encode(request.method == "HEAD")
        if answer.cut is not None:
            await self.wire.write(writer, data[:answer.cut])
            return False
        await self.wire.write(writer, data)
        return request.headers.get("connection", "").lower() != "close"

    async def read(self, reader, writer):
        """The next request, or None at the connection's end."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3:
            return None
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            await self.wire.write(writer, b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await read_body(reader, headers)
        return Request(words[0], words[1], headers, body, writer.get_extra_info("peercert"))

    async def stream(self, answer, reader, writer):
        """A chunked answer, until its function returns or the peer goes away."""

        async def send(data):
            await self.wire.write(writer, b"%x\r\n%s\r\n" % (len(data), data))

        await self.wire.write(writer, answer.head())
        work = asyncio.ensure_future(answer.run(send))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return False
            work.result()
            await self.wire.write(writer, b"0\r\n\r\n")
            return not gone.done()
        finally:
            await settle(work)
            await settle(gone)


async def settle(task):
    """Ends a task and takes its result, whatever it is."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def read_body(reader, headers):
    """The body of a request, by length or in chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = int(headers.get("content-length") or 0)
        return await reader.readexactly(length) if length else b""
    pieces = []
    while True:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size == 0:
            while (await reader.readline()).strip():
                pass
            return b"".join(pieces)
        pieces.append(await reader.readexactly(size))
        await reader.readline()

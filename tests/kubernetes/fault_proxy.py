"""A proxy before an API server that goes wrong on demand.  It ends TLS and speaks HTTP/1.1.

    proxy = FaultProxy(port, authority, certificate, key, seed).start()
    proxy.share = 0.1  # of the requests meet a fault
    proxy.freeze()     # connections that are open now pass nothing on any more

What it gives up it never delivers late.
"""
import collections
import contextlib
import http.client
import http.server
import json
import random
import socket
import ssl
import threading
import time

HOLD = 60      # seconds that a connection is held which passes nothing on
PATIENCE = 90  # for the server behind
PIECE = 65536
BUSY = "Too many requests, please try again later.\n"
TIMEOUT = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 504,
           "reason": "Timeout", "message": "request did not complete within the allotted timeout",
           "details": {"retryAfterSeconds": 1}}
# Faults of one request and their weights.  lost: done, and 504 for an answer; cut: done, half an
# answer; drop: not done, no answer; hold: not done, and the connection is half-open from now on.
FAULTS = {"429": 6, "504": 3, "lost": 4, "cut": 4, "drop": 3, "hold": 1}


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client, with one of its own to the server."""
    protocol_version = "HTTP/1.1"
    upstream = None

    def setup(self):
        super().setup()
        self.number = self.server.enter(self.connection)

    def finish(self):
        self.server.leave(self.number)
        if self.upstream is not None:
            self.upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_):
        pass

    def serve(self):
        """Does one request, or what the proxy has drawn instead."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.draw()
        if fault == "hold":
            self.hold()
        elif fault == "drop":
            self.close_connection = True
        elif fault == "429":
            self.refuse(429, "text/plain; charset=utf-8", BUSY)
        elif fault == "504":
            self.refuse(504, "application/json", json.dumps(TIMEOUT))
        else:
            self.forward(body, fault)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def refuse(self, code, kind, text):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def hold(self):
        """Says nothing until the client has long gone."""
        self.close_connection = True
        time.sleep(HOLD)

    def forward(self, body, fault):
        self.hold_if_frozen()
        try:
            with self.send(body) as answer:
                if fault == "lost":
                    answer.read()
                    self.refuse(504, "application/json", json.dumps(TIMEOUT))
                else:
                    self.relay(answer, fault == "cut")
        except (OSError, ValueError, http.client.HTTPException):
            self.close_connection = True

    def send(self, body):
        if self.upstream is None:
            self.upstream = self.server.connect()
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in ("host", "connection")}
        self.upstream.request(self.command, self.path, body or None, headers)
        return self.upstream.getresponse()

    def relay(self, answer, cut):
        """Passes an answer on as it comes, or the first half of its first piece."""
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece := answer.read1(PIECE):
            self.hold_if_frozen()
            if answer.chunked:
                piece = b"%x\r\n%s\r\n" % (len(piece), piece)
            if cut:
                self.wfile.write(piece[:len(piece) // 2])
                raise ValueError("cut")
            self.wfile.write(piece)
            self.wfile.flush()
        if answer.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def hold_if_frozen(self):
        if self.number < self.server.frozen:
            self.hold()
            raise ValueError("frozen")


class FaultProxy(http.server.ThreadingHTTPServer):
    """port: the server's, on the loopback.  authority: whom to believe there."""
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port, authority, certificate, key, seed):
        self.target = port
        self.trust = ssl.create_default_context(cafile=authority)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.random = random.Random(seed)
        self.share = 0.0
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.open = {}    # number: socket
        self.number = 0
        self.frozen = 0   # connections with a lower number pass nothing on
        super().__init__(("127.0.0.1", 0), Handler)

    def start(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        self.shutdown()
        self.server_close()
        self.cut()

    def get_request(self):
        """A connection, whose handshake is made by the thread that serves it."""
        connection, address = self.socket.accept()
        connection.settimeout(PATIENCE)
        return self.context.wrap_socket(connection, server_side=True,
                                        do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        """Clients that go away are no errors."""

    def shutdown_request(self, request):
        with contextlib.suppress(OSError):
            request.close()

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.target, timeout=PATIENCE,
                                           context=self.trust)

    def enter(self, connection):
        with self.lock:
            self.number += 1
            self.open[self.number] = connection
            return self.number

    def leave(self, number):
        with self.lock:
            self.open.pop(number, None)

    def draw(self):
        """The fault that the next request meets; None: none."""
        with self.lock:
            if self.random.random() >= self.share:
                return None
            fault = self.random.choices(list(FAULTS), FAULTS.values())[0]
            self.counts[fault] += 1
            return fault

    def freeze(self):
        """All connections that are open are half-open from now on."""
        self.frozen = self.number + 1

    def cut(self):
        """All connections end."""
        with self.lock:
            for connection in self.open.values():
                with contextlib.suppress(OSError):
                    # not SSLSocket's, which takes the layer from under a thread that reads
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

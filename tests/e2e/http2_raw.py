"""A raw HTTP/2 client that may break every rule: frames are bytes, and only what a test asks for is
sent. Needs Debian's python3-hpack (a dependency of python3-h2)."""
import gzip
import socket
import struct
import time

from grpc_wire import need

hpack = need("hpack", "python3-h2")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, _, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
ENHANCE_YOUR_CALM = 11
TEST = "/grpc.testing.TestService/"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(payload=b"", flag=0, size=None):
    return struct.pack(">BI", flag, len(payload) if size is None else size) + payload


def gzipped(payload):
    return message(gzip.compress(payload), 1)


def grpc_headers(path, *extra, **replace):
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test",
               "te": "trailers", "content-type": "application/grpc"}
    for name, value in replace.items():
        headers[name if name == "te" else {"method": ":method"}.get(name, name.replace("_", "-"))] \
            = value
    return [(k, v) for k, v in headers.items() if v is not None] + list(extra)


class Stream:
    """What the server has sent on one stream."""

    def __init__(self):
        self.headers, self.trailers, self.data, self.reset = None, None, bytearray(), None
        self.ended = False

    @property
    def closed(self):
        return self.ended or self.reset is not None

    @property
    def fields(self):
        both = dict(self.headers or {})
        both.update(self.trailers or {})
        return both

    @property
    def status(self):
        value = self.fields.get("grpc-status")
        return None if value is None else int(value)

    def messages(self):
        out, at = [], 0
        while len(self.data) - at >= 5:
            flag, size = struct.unpack(">BI", self.data[at:at + 5])
            out.append((flag, bytes(self.data[at + 5:at + 5 + size])))
            at += 5 + size
        return out


class Client:
    """One connection. Acknowledges SETTINGS and PING, and opens windows, unless told not to."""

    def __init__(self, server, settings=(), greet=True, polite=True, windows=True):
        self.socket = socket.create_connection(("127.0.0.1", server.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.streams, self.goaways, self.pings, self.settings = {}, [], [], {}
        self.window = {}  # WINDOW_UPDATE sums of the server by stream
        self.credit = {}  # what we owe the server, likewise
        self.polite, self.windows, self.eof, self.buffer, self.next_id = polite, windows, False, b"", 1
        if greet:
            body = b"".join(struct.pack(">HI", k, v) for k, v in settings)
            self.send(PREFACE + frame(SETTINGS, 0, 0, body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.settimeout(10)
            self.socket.sendall(data)
            return True
        except (ConnectionError, BrokenPipeError):
            return False

    def request(self, headers, body=None, end=True, stream=None):
        if stream is None:
            stream, self.next_id = self.next_id, self.next_id + 2
        ended = END_STREAM if end and body is None else 0
        out = frame(HEADERS, END_HEADERS | ended, stream, self.encoder.encode(headers))
        if body is not None:
            out += self.data(stream, body, end)
        self.send(out)
        self.streams.setdefault(stream, Stream())
        return stream

    @staticmethod
    def data(stream, body, end=True):
        pieces = [body[i:i + 16384] for i in range(0, len(body), 16384)] or [b""]
        return b"".join(frame(DATA, END_STREAM if end and i == len(pieces) - 1 else 0, stream, p)
                        for i, p in enumerate(pieces))

    def call(self, path, body, *extra, **replace):
        """A whole unary call; returns its Stream once it is closed."""
        stream = self.request(grpc_headers(path, *extra, **replace), body)
        return self.wait(stream)

    def wait(self, stream, seconds=10):
        self.until(lambda: self.streams[stream].closed, seconds)
        return self.streams[stream]

    def until(self, condition, seconds=10):
        """Reads until `condition()`; the connection's end without it is an error."""
        end = time.monotonic() + seconds
        while not condition():
            assert not self.eof, "the server closed the connection; GOAWAYs: %r" % self.goaways
            left = end - time.monotonic()
            assert left > 0, "nothing came within %g s" % seconds
            self.read(left)

    def until_closed(self, seconds=10):
        end = time.monotonic() + seconds
        while not self.eof:
            assert time.monotonic() < end, "the connection stayed open for %g s" % seconds
            self.read(end - time.monotonic())
        return [code for _, code, _ in self.goaways]

    def pause(self, seconds):
        """Reads whatever comes for some time."""
        end = time.monotonic() + seconds
        while not self.eof and time.monotonic() < end:
            self.read(end - time.monotonic())

    def read(self, seconds):
        self.socket.settimeout(max(seconds, 0.001))
        try:
            piece = self.socket.recv(1 << 20)
        except socket.timeout:
            return
        except ConnectionError:
            piece = b""
        if not piece:
            self.eof = True
            return
        data, at = self.buffer + piece, 0
        while len(data) - at >= 9:
            size = int.from_bytes(data[at:at + 3], "big")
            if len(data) - at < 9 + size:
                break
            kind, flags, stream = struct.unpack(">BBI", data[at + 3:at + 9])
            self.take(kind, flags, stream, data[at + 9:at + 9 + size])
            at += 9 + size
        self.buffer = data[at:]
        if self.credit:
            self.send(b"".join(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))
                               for stream, n in self.credit.items()))
            self.credit.clear()

    def take(self, kind, flags, stream, payload):
        state = self.streams.setdefault(stream, Stream()) if stream else None
        if kind == HEADERS:
            fields = dict(self.decoder.decode(payload))
            if state.headers is None:
                state.headers = fields
            else:
                state.trailers = fields
        elif kind == DATA:
            state.data += payload
            if self.windows and payload:
                for i in (0, stream):
                    self.credit[i] = self.credit.get(i, 0) + len(payload)
        elif kind == RST_STREAM:
            state.reset = struct.unpack(">I", payload)[0]
        elif kind == SETTINGS and not flags & ACK:
            for i in range(0, len(payload), 6):
                key, value = struct.unpack(">HI", payload[i:i + 6])
                self.settings[key] = value
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING:
            self.pings.append((flags & ACK, payload))
            if not flags & ACK and self.polite:
                self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            self.goaways.append((last, code, payload[8:]))
        elif kind == WINDOW_UPDATE:
            more = struct.unpack(">I", payload)[0]
            self.window[stream] = self.window.get(stream, 0) + more
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            state.ended = True

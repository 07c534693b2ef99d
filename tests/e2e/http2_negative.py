"""Clients that break the rules of HTTP/2, gRPC and protobuf, on raw sockets. Each case says what
the offender gets; after each, the server must still serve a plain call.

    http2_negative.py INTEROP_SERVER
"""
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
import zlib

from grpc_wire import Server, messages, run_cases
from http2_raw import *

pb, _, health_pb2 = messages("grpc/testing/messages.proto", "grpc/testing/empty.proto",
                             "grpc/health/v1/health.proto")

EMPTY, UNARY = TEST + "EmptyCall", TEST + "UnaryCall"
OUTPUT, INPUT, DUPLEX = TEST + "StreamingOutputCall", TEST + "StreamingInputCall", TEST + "FullDuplexCall"
CHECK = "/grpc.health.v1.Health/Check"
INITIAL_WINDOW, MAX_STREAMS, HEADER_LIST = 4, 3, 6
OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 0, 3, 4, 5
RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 8, 12, 13
LIMIT = 4 << 20


def serves(server):
    with Client(server) as client:
        assert client.call(EMPTY, message()).status == OK


def stats(server):
    path = "/grpc.testing.LoadBalancerStatsService/GetClientStats"
    with Client(server) as client:
        body = client.call(path, message()).messages()[0][1]
        return dict(pb.LoadBalancerStatsResponse.FromString(body).rpcs_by_peer)


def eventually(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen within %g s" % seconds
        time.sleep(0.02)


def status_of(server, path, body, *extra, **replace):
    with Client(server) as client:
        return client.call(path, body, *extra, **replace).status


def output_request(*sizes, **kw):
    return message(pb.StreamingOutputCallRequest(response_parameters=[
        pb.ResponseParameters(size=n, **kw) for n in sizes]).SerializeToString())


# ---- HTTP that is not gRPC ----

def content_type(server):
    for wrong in (None, "application/json", "application/grpc+json", "application/grpcx", ""):
        with Client(server) as client:
            fields = client.call(EMPTY, message(), content_type=wrong).fields
            assert fields[":status"] == "415", (wrong, fields)
    for right in ("application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8",
                  "application/grpc+proto;x=y"):
        assert status_of(server, EMPTY, message(), content_type=right) == OK, right


def method_not_post(server):
    for method in ("GET", "PUT", "HEAD"):
        with Client(server) as client:
            stream = client.wait(client.request(grpc_headers(EMPTY, method=method)))
            assert stream.fields[":status"] == "405" and stream.fields["allow"] == "POST"


def te_missing(server):
    assert status_of(server, EMPTY, message(), te=None) == INTERNAL


def paths(server):
    for path in ("/", "//", "/x", EMPTY.lower(), EMPTY + "/", "/" + "a" * 8000 + "/b"):
        assert status_of(server, path, message()) == UNIMPLEMENTED, path


def not_http2(server):
    rng = random.Random(7)
    for hello in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03",
                  bytes(rng.randrange(256) for _ in range(4096)), PREFACE[:-1] + b"X"):
        with Client(server, greet=False) as client:
            client.send(hello)
            client.until_closed()


# ---- messages ----

def message_over_limit(server):
    before = server.rss_kib()
    with Client(server) as client:
        streams = [client.request(grpc_headers(UNARY), message(size=size), end=False)
                   for size in [LIMIT + 1, 0x7fffffff, 0xffffffff] * 20]
        for stream in streams:
            assert client.wait(stream).status == RESOURCE_EXHAUSTED
    assert server.rss_kib() - before < 16 << 10


def message_at_limit(server):
    payload = pb.SimpleRequest(payload=pb.Payload(body=b"x" * (LIMIT - 100))).SerializeToString()
    payload += b"\xf8\x07\x01" * ((LIMIT - len(payload)) // 3)  # unknown field 127
    with Client(server) as client:
        stream = client.request(grpc_headers(UNARY), message(size=len(payload)), end=False)
        sent, allowed = 0, lambda: min(client.settings.get(INITIAL_WINDOW, 65535) - 5 +
                                       client.window.get(stream, 0),
                                       65535 - 5 + client.window.get(0, 0))
        client.until(lambda: client.settings)
        while sent < len(payload):
            client.until(lambda: allowed() > sent)
            piece = payload[sent:min(len(payload), allowed())]
            sent += len(piece)
            client.send(client.data(stream, piece, end=sent == len(payload)))
        assert client.wait(stream).status == OK


def announced_but_not_sent(server):
    """Many calls announce 4 MiB and send a byte: no memory is taken for what has not come."""
    before = server.rss_kib()
    with Client(server) as client:
        for _ in range(1000):
            client.request(grpc_headers(UNARY), message(b"x", size=LIMIT), end=False)
        client.call(EMPTY, message())
        assert server.rss_kib() - before < 64 << 10, server.rss_kib() - before


def truncated_message(server):
    for body in (b"\0", message(b"abc", size=4), message()[:4], message() + b"\0\0"):
        assert status_of(server, UNARY, body) == INTERNAL, body
        assert status_of(server, INPUT, body) == INTERNAL, body


def compression_flags(server):
    gzip_header = ("grpc-encoding", "gzip")
    assert status_of(server, EMPTY, gzipped(b"")) == INTERNAL
    assert status_of(server, EMPTY, message(flag=1)) == INTERNAL
    assert status_of(server, EMPTY, gzipped(b""), ("grpc-encoding", "identity")) == INTERNAL
    assert status_of(server, EMPTY, message(flag=2), gzip_header) == INTERNAL
    assert status_of(server, EMPTY, message(flag=255)) == INTERNAL
    assert status_of(server, EMPTY, gzipped(b""), gzip_header) == OK
    assert status_of(server, EMPTY, message(), gzip_header) == OK
    with Client(server) as client:
        stream = client.call(EMPTY, message(), ("grpc-encoding", "br"))
        assert stream.status == UNIMPLEMENTED
        assert stream.fields["grpc-accept-encoding"] == "identity,gzip"


def gzip_broken(server):
    whole = gzip.compress(b"x" * 10000)
    for body in (b"\x1f\x8b", whole[:-1], whole[:20], whole + b"x", b"x" * 50, zlib.compress(b"x")):
        status = status_of(server, EMPTY, message(body, 1), ("grpc-encoding", "gzip"))
        assert status == INTERNAL, (body, status)


def gzip_bomb(server):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(128)) + packer.flush()
    before = server.rss_kib()
    with Client(server) as client:
        streams = []
        for _ in range(20):
            client.pause(0.005)
            streams.append(client.request(grpc_headers(UNARY, ("grpc-encoding", "gzip")),
                                          message(bomb, 1)))
        for stream in streams:
            assert client.wait(stream).status == RESOURCE_EXHAUSTED
    assert server.rss_kib() - before < 48 << 10, server.rss_kib() - before


def server_compression(server):
    request = message(pb.SimpleRequest(response_size=10000, response_compressed=pb.BoolValue(
        value=True)).SerializeToString())
    with Client(server) as client:
        stream = client.call(UNARY, request, ("grpc-accept-encoding", "deflate, gzip"))
        flag, body = stream.messages()[0]
        assert flag == 1 and stream.headers["grpc-encoding"] == "gzip"
        assert len(pb.SimpleResponse.FromString(gzip.decompress(body)).payload.body) == 10000
        stream = client.call(UNARY, request, ("grpc-accept-encoding", "deflate,identity"))
        flag, body = stream.messages()[0]
        assert flag == 0 and "grpc-encoding" not in stream.headers
        assert len(pb.SimpleResponse.FromString(body).payload.body) == 10000


def cardinality(server):
    assert status_of(server, EMPTY, b"") == UNIMPLEMENTED
    assert status_of(server, EMPTY, message() + message()) == UNIMPLEMENTED
    with Client(server) as client:
        stream = client.request(grpc_headers(EMPTY))
        assert client.wait(stream).status == UNIMPLEMENTED


def fragments(server):
    """Messages cut anywhere, and many in one frame."""
    requests = [pb.StreamingInputCallRequest(payload=pb.Payload(body=b"x" * n)).SerializeToString()
                for n in (0, 1, 5, 300)]
    body = b"".join(message(r) for r in requests)
    for step in (1, 2, 3, 7, len(body)):
        with Client(server) as client:
            stream = client.request(grpc_headers(INPUT), end=False)
            client.send(b"".join(frame(DATA, 0, stream, body[i:i + step])
                                 for i in range(0, len(body), step)) +
                        frame(DATA, END_STREAM, stream))
            response = client.wait(stream)
            got = pb.StreamingInputCallResponse.FromString(response.messages()[0][1])
            assert response.status == OK and got.aggregated_payload_size == 306


# ---- protobuf ----

def check(server, name):
    return status_of(server, CHECK, message(b"\x0a" + bytes([len(name)]) + name))


def strings(server):
    for bad in (b"a\0b", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"abc\xe2\x98",
                b"\xf5\x80\x80\x80"):
        assert check(server, bad) == INVALID_ARGUMENT, bad
    assert check(server, "snow \u2603 \U0001f608".encode()) == NOT_FOUND
    assert check(server, b"") == OK


def malformed_messages(server):
    rng = random.Random(3)
    bad = [b"\x0a", b"\x0a\x05abc", b"\x0b", b"\x0c", b"\x0f", b"\x00", b"\xff" * 11,
           b"\x08" + b"\x80" * 20, b"\x0d\0\0\0", b"\x09\0\0\0\0", b"\x08\x01",
           b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"]
    for body in bad:
        assert status_of(server, CHECK, message(body)) == INVALID_ARGUMENT, body
    with Client(server) as client:
        for _ in range(300):
            body = bytes(rng.randrange(256) for _ in range(rng.randrange(64)))
            assert client.call(UNARY, message(body)).status is not None


def deep_nesting(server):
    def nested(tag, depth):
        body = b""
        for _ in range(depth):
            size, prefix = len(body), b""
            while size > 127:
                prefix, size = prefix + bytes([size & 127 | 128]), size >> 7
            body = tag + prefix + bytes([size]) + body
        return body
    # No message of ours contains itself: 20,000 levels are bytes or unknown fields to the unpacker.
    for tag in (b"\x0a", b"\x1a", b"\xfa\x07"):
        assert status_of(server, UNARY, message(nested(tag, 20000))) in (OK, INVALID_ARGUMENT)
    assert status_of(server, UNARY, message(b"\x1b" * 70000)) == INVALID_ARGUMENT


def heap_amplification(server):
    """A million empty sub-messages: 2 MB on the wire would be over a hundred on the heap."""
    before = server.rss_kib()
    with Client(server) as client:
        client.until(lambda: client.settings)
        body = message(b"\x12\x00" * (1 << 17))[:200000 + 5]
        body = message(body[5:])
        assert client.call(OUTPUT, body).status == RESOURCE_EXHAUSTED
    assert server.rss_kib() - before < 64 << 10


def duplicate_map_keys(server):
    entry = pb.TestOrcaReport(request_cost={"key": 1.0}).SerializeToString()
    report = b"\x5a" + bytes([2 * len(entry)]) + entry + entry
    assert status_of(server, UNARY, message(report)) == OK


# ---- headers ----

def timeouts(server):
    for text in ("", "1", "S", "123456789S", "-1S", "1.5S", "1s", "1 S", "0x1S", "abc", "1SS"):
        assert status_of(server, EMPTY, message(), ("grpc-timeout", text)) == INTERNAL, text
    for text in ("99999999H", "10S", "1M", "5000m", "9999999u"):
        assert status_of(server, EMPTY, message(), ("grpc-timeout", text)) == OK, text
    for text in ("0S", "1n", "0n", "50m"):
        slow = output_request(1, interval_us=3000000)
        assert status_of(server, OUTPUT, slow, ("grpc-timeout", text)) == DEADLINE_EXCEEDED, text


def binary_metadata(server):
    name = "x-grpc-test-echo-trailing-bin"
    for sent, back in (("AQID", "AQID"), ("AQI=", "AQI"), ("AQI", "AQI"), ("AQ==", "AQ"),
                       ("AQ", "AQ"), ("", ""), ("/+8=", "/+8"), ("AQI,AQID", "AQI")):
        with Client(server) as client:
            stream = client.call(UNARY, message(), (name, sent))
            assert stream.status == OK and stream.trailers[name] == back, (sent, stream.trailers)
    for bad in ("!", "A", "AQ=", "A===", "AQI=x", "=", "AQID,A", "AQ ID"):
        assert status_of(server, UNARY, message(), (name, bad)) == INTERNAL, bad


def headers_over_limit(server):
    with Client(server) as client:
        client.until(lambda: client.settings)
        assert client.settings[HEADER_LIST] == 16 << 10
        stream = client.call(EMPTY, message(), ("x-big", "v" * 8100), ("x-big2", "v" * 8100))
        assert stream.status == RESOURCE_EXHAUSTED
        assert client.call(EMPTY, message(), ("x-big", "v" * 8000)).status == OK


def header_bomb(server):
    """One entry of the dynamic table, named ten thousand times in a frame."""
    before = server.rss_kib()
    with Client(server) as client:
        client.request(grpc_headers(EMPTY, ("bomb", "b" * 3900)), message())
        block = client.encoder.encode(grpc_headers(EMPTY))
        client.send(frame(HEADERS, END_HEADERS, 3, block + b"\xbe" * 15000))
        client.send(frame(DATA, END_STREAM, 3, message()))
        client.streams.setdefault(3, Stream())
        assert client.wait(3).status == RESOURCE_EXHAUSTED
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 5, b"\xff" * 100))  # beyond the table
        client.until_closed()
    assert server.rss_kib() - before < 16 << 10


def header_violations(server):
    base = grpc_headers(EMPTY)
    for headers in (base + [(":path", "/x")], base + [("X-Upper", "1")], base[1:],
                    base + [("connection", "close")], [("te", "trailers")] + base,
                    base + [(":unknown", "1")], base + [("x", "a\nb")], base + [("x", "a\0b")]):
        with Client(server) as client:
            stream = client.wait(client.request(headers))
            assert stream.reset == PROTOCOL_ERROR and stream.headers is None, headers


# ---- frames ----

def goaway_of(server, *frames):
    with Client(server) as client:
        client.send(b"".join(frames))
        return client.until_closed()


def stream_ids(server):
    headers = hpack.Encoder().encode(grpc_headers(EMPTY))
    full = END_HEADERS | END_STREAM
    assert PROTOCOL_ERROR in goaway_of(server, frame(HEADERS, full, 2, headers))
    assert PROTOCOL_ERROR in goaway_of(server, frame(HEADERS, full, 0, headers))
    # A lower id than one seen before may be the trailers of a stream we have reset: ignored.
    with Client(server) as client:
        client.request(grpc_headers(EMPTY), message(), stream=7)
        client.request(grpc_headers(EMPTY), stream=5)
        assert client.wait(7).status == OK
        client.pause(0.1)
        assert not client.streams[5].closed and not client.goaways


def frames_on_idle_streams(server):
    assert PROTOCOL_ERROR in goaway_of(server, frame(DATA, 0, 1, message()))
    assert PROTOCOL_ERROR in goaway_of(server, frame(RST_STREAM, 0, 1, b"\0\0\0\0"))
    assert PROTOCOL_ERROR in goaway_of(server, frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"))
    assert PROTOCOL_ERROR in goaway_of(server, frame(CONTINUATION, 4, 1, b""))


def oversize_frames(server):
    for kind in (DATA, HEADERS, SETTINGS, 0x77):
        assert FRAME_SIZE_ERROR in goaway_of(server, frame(kind, 0, 1, b"\0" * 16385)), kind
    assert FRAME_SIZE_ERROR in goaway_of(server, frame(PING, 0, 0, b"\0" * 7))
    assert FRAME_SIZE_ERROR in goaway_of(server, frame(SETTINGS, 0, 0, b"\0" * 5))


def window_overflow(server):
    big = struct.pack(">I", 0x7fffffff)
    assert FLOW_CONTROL_ERROR in goaway_of(server, frame(WINDOW_UPDATE, 0, 0, big),
                                           frame(WINDOW_UPDATE, 0, 0, big))
    with Client(server) as client:  # more than the server's window allows, nothing of it consumed
        client.until(lambda: client.settings)
        stream = client.request(grpc_headers(DUPLEX), output_request(*[1 << 20] * 8), end=False)
        client.windows = False
        client.pause(0.3)
        junk = client.data(stream, message(b"x" * 8000) * 40, end=False)
        for _ in range(20):
            if not client.send(junk):
                break
        client.pause(0.5)
        assert client.streams[stream].reset == FLOW_CONTROL_ERROR or \
            FLOW_CONTROL_ERROR in [g[1] for g in client.goaways], client.streams[stream].reset


def continuation_flood(server):
    headers = hpack.Encoder().encode(grpc_headers(EMPTY))
    with Client(server) as client:
        client.send(frame(HEADERS, 0, 1, headers))
        for _ in range(2000):
            if not client.send(frame(CONTINUATION, 0, 1, b"")):
                break
        client.until_closed()
    with Client(server) as client:  # interrupted by another frame
        client.send(frame(HEADERS, 0, 1, headers) + frame(PING, 0, 0, b"\0" * 8))
        assert PROTOCOL_ERROR in client.until_closed()


def rapid_reset(server):
    with Client(server) as client:
        block = client.encoder.encode(grpc_headers(EMPTY))
        block = client.encoder.encode(grpc_headers(EMPTY))
        cancel = struct.pack(">I", CANCEL)
        first = frame(HEADERS, END_HEADERS, 1, hpack.Encoder().encode(grpc_headers(EMPTY)))
        client.send(first + frame(RST_STREAM, 0, 1, cancel))
        for i in range(3, 40001, 2):
            if not client.send(frame(HEADERS, END_HEADERS, i, block) +
                               frame(RST_STREAM, 0, i, cancel)):
                break
        client.until_closed()
        assert client.goaways and client.goaways[0][0] < 20000, client.goaways
    eventually(lambda: stats(server)["calls"] == 1)


def ping_flood(server):
    with Client(server) as client:
        for i in range(100):
            if not client.send(frame(PING, 0, 0, struct.pack(">Q", i))):
                break
        client.until_closed()
        assert client.goaways[0][1:] == (ENHANCE_YOUR_CALM, b"too_many_pings"), client.goaways
    with Client(server, polite=False) as client:  # nobody reads the acknowledgements
        flood = b"".join(frame(PING, 0, 0, struct.pack(">Q", i)) for i in range(1000))
        for _ in range(50):
            if not client.send(flood):
                break


def settings_flood(server):
    before = server.rss_kib()
    with Client(server) as client:
        flood = frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * 1000
        for _ in range(200):
            if not client.send(flood):
                break
        assert server.rss_kib() - before < 32 << 10


def empty_data_flood(server):
    with Client(server) as client:
        stream = client.request(grpc_headers(INPUT), end=False)
        for _ in range(30):
            if not client.send(frame(DATA, 0, stream) * 100):
                break
        assert ENHANCE_YOUR_CALM in client.until_closed()


def garbage_frames(server):
    rng = random.Random(11)
    for _ in range(60):
        with Client(server) as client:
            for _ in range(10):
                payload = bytes(rng.randrange(256) for _ in range(rng.randrange(100)))
                client.send(frame(rng.randrange(12), rng.randrange(256),
                                  rng.choice([0, 1, 1, 3, 5, 2, 1 << 30]), payload))
            client.pause(0.005)


# ---- flow ----

def slow_reader(server):
    """A client that opens no window: production stops, and goes on when it reads after all."""
    count, size = 400, 64 << 10
    before, rss = stats(server)["produced_kib"], server.rss_kib()
    with Client(server, windows=False) as client:
        stream = client.request(grpc_headers(OUTPUT), output_request(*[size] * count))
        client.pause(0.5)
        assert len(client.streams[stream].data) <= 65535
        assert stats(server)["produced_kib"] - before < 1024
        assert server.rss_kib() - rss < 8 << 10
        client.windows = True
        more = struct.pack(">I", 1 << 20)
        client.send(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, stream, more))
        assert client.wait(stream, 60).status == OK
        assert len(client.streams[stream].messages()) == count


def reader_asleep(server):
    """All windows open, but nobody reads the socket: the server's buffer must not grow."""
    before, rss = stats(server)["produced_kib"], server.rss_kib()
    with Client(server, settings=[(INITIAL_WINDOW, 0x7fffffff)]) as client:
        client.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fff0000 - 65535)))
        client.request(grpc_headers(OUTPUT), output_request(*[1 << 20] * 200))
        time.sleep(1)
        assert stats(server)["produced_kib"] - before < 40 << 10
        assert server.rss_kib() - rss < 16 << 10, server.rss_kib() - rss
    eventually(lambda: stats(server)["calls"] == 1)


def writer_that_never_reads(server):
    """A bidirectional client that asks and asks: it is stopped by its own window."""
    before = stats(server)["produced_kib"]
    with Client(server, windows=False) as client:
        client.until(lambda: client.settings)
        stream = client.request(grpc_headers(DUPLEX), end=False)
        ask = output_request(100000)
        budget, sent = client.settings[INITIAL_WINDOW], 0
        while sent + len(ask) * 500 <= budget:
            client.send(client.data(stream, ask * 500, end=False))
            sent += len(ask) * 500
            client.pause(0.02)
            budget = client.settings[INITIAL_WINDOW] + client.window.get(stream, 0)
            assert sent < 4 << 20, "the window was given back without end"
        assert stats(server)["produced_kib"] - before < 2048
        client.send(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
        client.pause(0.05)
    eventually(lambda: stats(server)["calls"] == 1)


def half_close(server):
    with Client(server) as client:
        stream = client.request(grpc_headers(EMPTY), message(), end=False)
        client.pause(0.1)
        assert client.streams[stream].headers is None, "answered before the request was whole"
        client.send(frame(DATA, END_STREAM, stream))
        assert client.wait(stream).status == OK and client.streams[stream].reset is None
        # An answer that does not wait for the client's end is followed by RST_STREAM(NO_ERROR).
        stream = client.request(grpc_headers("/no.Service/Method"), end=False)
        client.until(lambda: client.streams[stream].reset is not None)
        assert client.streams[stream].status == UNIMPLEMENTED
        assert client.streams[stream].reset == NO_ERROR


def client_trailers(server):
    with Client(server) as client:
        stream = client.request(grpc_headers(EMPTY), message(), end=False)
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream,
                          client.encoder.encode([("x-trailer", "1")])))
        assert client.wait(stream).status == OK


def lost_connections(server):
    for how in ("rst", "fin", "half"):
        before = stats(server)["cancelled"]
        client = Client(server)
        for _ in range(20):
            client.request(grpc_headers(OUTPUT), output_request(1, interval_us=60000000))
        eventually(lambda: stats(server)["calls"] == 21)
        if how == "rst":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
        elif how == "fin":
            client.socket.close()
        else:
            client.socket.shutdown(socket.SHUT_WR)
        eventually(lambda: stats(server)["cancelled"] == before + 20, 1)
        client.socket.close()


def reset_cancels(server):
    before = stats(server)["cancelled"]
    with Client(server) as client:
        stream = client.request(grpc_headers(OUTPUT), output_request(1, interval_us=60000000))
        client.pause(0.1)
        client.send(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
        eventually(lambda: stats(server)["cancelled"] == before + 1, 1)


def deadline_while_blocked(server):
    before = stats(server)["deadline"]
    with Client(server, windows=False) as client:
        stream = client.request(grpc_headers(OUTPUT, ("grpc-timeout", "300m")),
                                output_request(*[64 << 10] * 100))
        client.until(lambda: client.streams[stream].reset is not None, 3)
        assert client.streams[stream].reset == CANCEL
    assert stats(server)["deadline"] == before + 1


# ---- servers with other limits ----

def other(server, *options):
    return Server(server.program, *options)


def concurrent_streams(server):
    own = other(server, "--concurrent-streams-max", 4)
    with Client(own) as client:
        client.until(lambda: client.settings)
        assert client.settings[MAX_STREAMS] == 4
        client.pause(0.1)
        for _ in range(4):
            client.request(grpc_headers(OUTPUT), output_request(1, interval_us=300000))
        for stream in (1, 3, 5, 7):
            assert client.wait(stream).status == OK
        for _ in range(5):  # one more than it has agreed to
            client.request(grpc_headers(OUTPUT), output_request(1, interval_us=300000))
        assert PROTOCOL_ERROR in client.until_closed()
    eventually(lambda: stats(own)["calls"] == 1)
    own.stop()


def connection_limits(server):
    for option in ("--connections-max", "--connections-per-ip-max"):
        own = other(server, option, 3)
        clients = [Client(own) for _ in range(3)]
        for client in clients:
            assert client.call(EMPTY, message()).status == OK
        with Client(own) as fourth:
            fourth.until_closed()
        clients.pop().socket.close()
        time.sleep(0.1)
        serves(own)
        for client in clients:
            client.socket.close()
        own.stop()


def clocks(server):
    """Silence before the preface, idleness, age, and PINGs that nobody answers."""
    own = other(server, "--keepalive-timeout-s", 1)
    with Client(own, greet=False) as client:
        client.until_closed(4)
    own.stop()
    own = other(server, "--idle-timeout-s", 1)
    with Client(own) as client:
        client.until_closed(5)
        assert [g[1] for g in client.goaways] == [NO_ERROR, NO_ERROR]
    own.stop()
    own = other(server, "--connection-age-max-s", 1, "--connection-grace-s", 1)
    with Client(own) as client:
        client.request(grpc_headers(OUTPUT), output_request(1, interval_us=60000000))
        client.until_closed(5)
        assert client.goaways[0][0] == 0x7fffffff and len(client.goaways) == 2
    own.stop()
    own = other(server, "--keepalive-time-s", 1, "--keepalive-timeout-s", 1)
    with Client(own, polite=False) as deaf, Client(own) as polite:
        reader = threading.Thread(target=polite.pause, args=(3.5,))
        reader.start()
        deaf.until_closed(3)
        reader.join()
        assert deaf.pings and polite.pings and not polite.eof
    own.stop()


def goaway_order(server):
    """GOAWAY(2^31-1), a PING, and GOAWAY(last id) only after its answer; streams between are kept."""
    own = other(server)
    with Client(own, polite=False) as client:
        first = client.request(grpc_headers(OUTPUT), output_request(1, interval_us=600000))
        client.pause(0.1)
        own.process.send_signal(signal.SIGTERM)
        client.until(lambda: client.goaways and client.pings)
        assert client.goaways == [(0x7fffffff, NO_ERROR, b"")]
        second = client.request(grpc_headers(EMPTY), message())
        assert client.wait(second).status == OK
        client.send(frame(PING, ACK, 0, client.pings[0][1]))
        client.until(lambda: len(client.goaways) == 2)
        assert client.goaways[1] == (second, NO_ERROR, b"")
        third = client.request(grpc_headers(EMPTY), message())  # too late: not served
        assert client.wait(first).status == OK
        client.until_closed()
        assert client.streams[third].headers is None
    assert own.process.wait(10) == 0


def drain_with_deaf_client(server):
    """A client that answers no PING is told its last id all the same."""
    own = other(server)
    with Client(own, polite=False) as client:
        assert client.call(EMPTY, message()).status == OK
        own.process.send_signal(signal.SIGTERM)
        client.until_closed(5)
        assert [g[0] for g in client.goaways] == [0x7fffffff, 1]
    assert own.process.wait(10) == 0


CASES = [
    content_type, method_not_post, te_missing, paths, not_http2, message_over_limit,
    message_at_limit, announced_but_not_sent, truncated_message, compression_flags, gzip_broken,
    gzip_bomb, server_compression, cardinality, fragments, strings, malformed_messages,
    deep_nesting, heap_amplification, duplicate_map_keys, timeouts, binary_metadata,
    headers_over_limit, header_bomb, header_violations, stream_ids, frames_on_idle_streams,
    oversize_frames, window_overflow, continuation_flood, rapid_reset, ping_flood, settings_flood,
    empty_data_flood, garbage_frames, slow_reader, reader_asleep, writer_that_never_reads,
    half_close, client_trailers, lost_connections, reset_cancels, deadline_while_blocked,
    concurrent_streams, connection_limits, clocks, goaway_order, drain_with_deaf_client,
]


def then_serves(case):
    def both(server):
        case(server)
        serves(server)
    both.__name__ = case.__name__
    return both


def main():
    server = Server(sys.argv[1])
    server.program = sys.argv[1]
    failed = run_cases([then_serves(case) for case in CASES], server)
    server.stop()
    return failed


if __name__ == "__main__":
    sys.exit(main())

"""Writes the seeds of the network's fuzz targets into corpus/: run it again after changing a target
or moering.proto. Needs Debian's python3-hpack.

    /usr/bin/python3 tests/fuzz/make_wire_corpus.py
"""
import gzip
import os
import struct

import hpack

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def seed(target, name, data):
    folder = os.path.join(HERE, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def message(payload, flag=0):
    return struct.pack(">BI", flag, len(payload)) + payload


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(number, content):
    out, size = bytes([number << 3 | 2]), len(content)
    while size > 127:
        out, size = out + bytes([size & 127 | 128]), size >> 7
    return out + bytes([size]) + content


def framing():
    packed = gzip.compress(b"hello " * 100, mtime=0)
    seed("grpc_framing", "plain", b"\0\7" + message(b"hello") + message(b"") + message(b"x" * 300))
    seed("grpc_framing", "gzip", b"\2\3" + message(packed, 1) + message(b"plain"))
    seed("grpc_framing", "bomb", b"\2\x20" + message(gzip.compress(b"\0" * 50000, mtime=0), 1))
    seed("grpc_framing", "long", b"\0\1" + struct.pack(">BI", 0, 10001))
    seed("grpc_framing", "identity", b"\1\5" + message(b"a", 1))


def metadata():
    for i, text in enumerate(["10S", "99999999H", "application/grpc+proto;x=y", "identity, gzip",
                              "a=b\nx-bin=AQID,AQ==\nk-bin=AQI\nbad-bin=A", "AQIDBA==", "AQI",
                              "100% caf\u00e9\n"]):
        seed("grpc_metadata", "%d" % i, text.encode())


def protobuf():
    ids = field(1, bytes([1, 2, 3, 0xac, 2]))
    sampling = b"\x0d\0\0\x80\x3f" + b"\x10\x28" + b"\x1d\0\0\x80\x3f"
    for kind in range(10):
        seed("protobuf", "type_%d" % kind, bytes([kind]) + field(1, b"text") + field(2, ids) +
             b"\x18\x05" + field(4, sampling) + field(5, b"stop"))
        seed("protobuf", "empty_%d" % kind, bytes([kind]))
    seed("protobuf", "nul", b"\5" + field(1, b"a\0b"))
    seed("protobuf", "utf8", b"\5" + field(1, "\u2603".encode()))
    seed("protobuf", "latin1", b"\5" + field(1, b"caf\xe9"))
    seed("protobuf", "group", b"\0\x0b\x0c")
    seed("protobuf", "extension", b"\6" + field(1, b"h") + field(5, field(1, b"t") + b"\x10\x07"))


def http2():
    def call(path, *extra):
        return hpack.Encoder().encode([(":method", "POST"), (":scheme", "http"), (":path", path),
                                       (":authority", "t"), ("te", "trailers"),
                                       ("content-type", "application/grpc")] + list(extra))
    check, echo = "/grpc.health.v1.Health/Check", "/e.E/Echo"
    body = message(b"hello") + message(b"abc") + message(b"later")
    seed("http2", "check", b"\0" + frame(1, 4, 1, call(check)) + frame(0, 1, 1, message(b"")))
    seed("http2", "watch", b"\0" + frame(1, 4, 1, call(check.replace("Check", "Watch"))) +
         frame(0, 1, 1, message(b"")) + frame(3, 0, 1, b"\0\0\0\x08"))
    seed("http2", "echo", b"\5" + frame(1, 4, 1, call(echo, ("grpc-accept-encoding", "gzip"))) +
         frame(0, 0, 1, body) + frame(0, 1, 1, message(b"x" * 900)))
    seed("http2", "deadline", b"\1" + frame(1, 4, 1, call(echo, ("grpc-timeout", "1n"))) +
         frame(0, 0, 1, body))
    seed("http2", "gzip", b"\2" + frame(1, 4, 1, call(echo, ("grpc-encoding", "gzip"))) +
         frame(0, 1, 1, message(gzip.compress(b"z" * 500, mtime=0), 1)))
    seed("http2", "continuation", b"\3" + frame(1, 0, 1, call(echo)[:20]) +
         frame(9, 4, 1, call(echo)[20:]) + frame(0, 1, 1, body))
    seed("http2", "control", b"\0" + frame(4, 0, 0, struct.pack(">HI", 4, 10)) +
         frame(6, 0, 0, b"12345678") + frame(8, 0, 0, struct.pack(">I", 1000)) +
         frame(7, 0, 0, struct.pack(">II", 0, 0)))
    seed("http2", "bare", b"\xff" + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
    seed("http2", "many", b"\0" + b"".join(
        frame(1, 4, i, call(echo, ("k-bin", "AQ"))) + frame(0, 1, i, message(b"xyz"))
        for i in range(1, 41, 2)))


framing()
metadata()
protobuf()
http2()

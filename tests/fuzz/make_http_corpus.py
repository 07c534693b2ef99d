"""Writes the seeds of fuzz_http1 into corpus/http1. The first byte of a seed says how it is delivered (see
fuzz_http1.c).

    /usr/bin/python3 tests/fuzz/make_http_corpus.py
"""
import os

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "http1")
HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def get(path, version=b"1.1", more=b""):
    return b"GET " + path + b" HTTP/" + version + b"\r\n" + HOST + more + b"\r\n"


def post(path, body, more=b""):
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


SEEDS = {
    "get": b"\0" + get(b"/e?a=%20b&c"),
    "ahead": b"\1" + get(b"/e") + post(b"/e", b"abc") + get(b"/s/x?n=e") + get(b"/absent") + get(b"/e"),
    "old": b"\0" + get(b"/e", b"1.0", b"Connection: keep-alive\r\n") + get(b"/s/?n=e", b"1.0"),
    "chunked": b"\3POST /e HTTP/1.1\r\n" + HOST + CHUNKED + b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n" +
               get(b"/e"),
    "large": b"\0" + post(b"/e", b"x" * 3001) + get(b"/e"),
    "continue": b"\2" + post(b"/e", b"abc", b"Expect: 100-continue\r\n"),
    "stream": b"\0" + get(b"/s/%2Fname") + get(b"/e"),
    "cut": b"\0" + get(b"/s/a?n=a") + get(b"/e"),
    "wait": b"\x40" + post(b"/w", b"body") + get(b"/e"),
    "late": b"\x80POST /w HTTP/1.1\r\n" + HOST + b"Content-Length: 99\r\n\r\nabc",
    "both": b"\0POST /e HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n" + CHUNKED + b"0\r\n\r\n",
    "folded": b"\0" + get(b"/e", more=b"X: a\r\n b\r\n"),
    "absolute": b"\0" + get(b"http://a:80/e?x") + b"HEAD /e HTTP/1.1\r\n" + HOST + b"\r\n",
}

os.makedirs(HERE, exist_ok=True)
for name, data in SEEDS.items():
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(data)

"""Clients that break the rules of HTTP/1.1, on raw sockets. Each case says what the offender gets; after each,
the server must still serve a plain request.

    http_hostile_test.py MOERING        starts a server on its built-in model
    http_hostile_test.py HOST PORT      a server that runs already (slow clients are then left out)
"""
import atexit
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

from grpc_wire import run_cases

IDLE_S = 2
TINY = os.path.join(os.environ.get("MOERING_SOURCE_DIR", os.path.join(os.path.dirname(__file__), "..", "..")),
                    "deploy", "models", "tiny")
HEAD = b"Host: a\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n"


class Server:
    """A server of our own, or one that somebody else runs."""

    def __init__(self, argv):
        self.process = None
        if len(argv) == 2:
            self.address = (argv[0], int(argv[1]))
            return
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = free.getsockname()
        self.process = subprocess.Popen(
            [argv[0], "serve", TINY, "--port", str(self.address[1]), "--grpc-port", "0",
             "--http-idle-timeout", str(IDLE_S)], stdout=subprocess.DEVNULL)
        atexit.register(self.process.kill)

    def wait(self):
        end = time.monotonic() + 60
        while True:
            try:
                if health(self) == 200:
                    return
            except OSError:
                pass
            assert time.monotonic() < end, "the server did not become ready"
            assert not self.process or self.process.poll() is None, "the server has ended"
            time.sleep(0.05)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0, "the server's exit status"


class Client:
    def __init__(self, server, timeout=10):
        self.socket = socket.create_connection(server.address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def more(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return data

    def take(self, size):
        while len(self.buffer) < size:
            assert self.more(), "the connection ended inside an answer: %r" % self.buffer
        out, self.buffer = self.buffer[:size], self.buffer[size:]
        return out

    def line(self):
        while b"\r\n" not in self.buffer:
            assert self.more(), "the connection ended inside an answer: %r" % self.buffer
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def answer(self, head=False):
        """(status, headers, body)"""
        status = self.line().split(b" ")
        assert status[0] == b"HTTP/1.1", status
        headers = {}
        while True:
            line = self.line()
            if not line:
                break
            name, value = line.split(b": ", 1)
            headers[name.lower().decode()] = value.decode()
        code, body = int(status[1]), b""
        if head or code < 200 or code in (204, 304):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(self.line(), 16)
                body += self.take(size)
                assert self.take(2) == b"\r\n"
                if not size:
                    break
        elif "content-length" in headers:
            body = self.take(int(headers["content-length"]))
        else:
            while self.more():
                pass
            body, self.buffer = self.buffer, b""
        return code, headers, body

    def ended(self):
        """Nothing more comes but the end."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        return self.buffer == b""

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


def health(server):
    with Client(server) as client:
        return client.send(HEALTH).answer()[0]


def refused(server, data, *codes):
    """An error and the end, and nothing that was hidden behind it is answered."""
    with Client(server) as client:
        try:
            client.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        code, headers, _ = client.answer()
        assert code in codes, "%d to %r" % (code, data[:120])
        assert headers.get("connection") == "close", headers
        assert client.ended(), client.buffer
    assert health(server) == 200


# ---- requests that two parsers could read differently ----

def length_and_chunked(server):
    refused(server, POST + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n" + HEALTH, 400)
    refused(server, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HEALTH, 400)


def two_lengths(server):
    size = str(len(HEALTH)).encode()
    refused(server, POST + b"Content-Length: 0\r\nContent-Length: " + size + b"\r\n\r\n" + HEALTH, 400)
    for bad in (b"+0", b"-1", b"0x0", b"0, 0", b"", b"1 1"):
        refused(server, POST + b"Content-Length: " + bad + b"\r\n\r\n", 400)


def folded_and_malformed_headers(server):
    for bad in (b"X: a\r\n b", b"X: a\r\n\tb", b"X : a", b"X", b": a", b"X: \0", b"X: \1", b"X(: a"):
        refused(server, b"GET /health HTTP/1.1\r\n" + HEAD + bad + b"\r\n\r\n", 400)
    refused(server, b"GET /health HTTP/1.1\n" + HEAD + b"\r\n", 400)
    refused(server, b"GET /health HTTP/1.1\r\n\r\n", 400)
    refused(server, b"GET /health HTTP/1.1\r\n" + HEAD + HEAD + b"\r\n", 400)


def bad_chunks(server):
    for bad in (b"0x1\r\na\r\n0\r\n\r\n", b"+1\r\na\r\n", b" 1\r\na\r\n", b"1 \r\na\r\n", b"1\na\n", b"1\r\nab\r\n",
                b"1\r\na0\r\n\r\n", b"g\r\n", b"\r\n", b"1;\1\r\n", b"0\r\nfolded: a\r\n b\r\n\r\n"):
        refused(server, POST + CHUNKED + bad, 400)
    for bad in (b"ffffffffffffffff\r\n", b"1" * 100 + b"\r\n", b"1;" + b"e" * 100000, b"0\r\nt: " + b"e" * 100000):
        refused(server, POST + CHUNKED + bad, 413)


def bad_request_lines(server):
    for bad in (b"GET /health", b"GET  /health HTTP/1.1", b"GET health HTTP/1.1", b"G(T / HTTP/1.1",
                b"GET /%00 HTTP/1.1", b"GET /%zz HTTP/1.1", b"GET /\x80 HTTP/1.1", b"GET /#a HTTP/1.1"):
        refused(server, bad + b"\r\n" + HEAD + b"\r\n", 400)
    refused(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    refused(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
    refused(server, b"CONNECT a:443 HTTP/1.1\r\n" + HEAD + b"\r\n", 400)


# ---- limits ----

def headers_over_the_limit(server):
    refused(server, b"GET /health HTTP/1.1\r\n" + HEAD + b"X: " + b"a" * 100000 + b"\r\n\r\n", 431)
    refused(server, b"GET /health HTTP/1.1\r\n" + HEAD + b"x: y\r\n" * 1000 + b"\r\n", 431)
    refused(server, b"GET /" + b"a" * 100000, 431)


def bodies_over_the_limit(server):
    refused(server, POST + b"Content-Length: 99999999999999999999\r\n\r\n", 413)
    refused(server, POST + b"Expect: 100-continue\r\nContent-Length: 9999999999999\r\n\r\n", 413)


def slow_headers(server):
    if not server.process:
        return
    with Client(server, 5 * IDLE_S + 10) as client:
        start = time.monotonic()
        data = b"GET /health HTTP/1.1\r\n" + HEAD + b"X: " + b"a" * 1000
        try:
            for i in range(len(data)):
                client.send(data[i:i + 1])
                client.socket.settimeout(0.1)
                try:
                    client.more()
                    break
                except TimeoutError:
                    assert time.monotonic() - start < 3 * IDLE_S + 5, "a byte now and then buys time"
        except (BrokenPipeError, ConnectionResetError):
            pass
        client.socket.settimeout(10)
        assert client.answer()[0] == 408
    assert health(server) == 200


def idle_connections_end(server):
    if not server.process:
        return
    with Client(server, 3 * IDLE_S + 10) as client:
        assert client.send(HEALTH).answer()[0] == 200
        assert client.ended()


# ---- what is odd, but right ----

def one_byte_at_a_time(server):
    with Client(server) as client:
        for data in (HEALTH, POST + CHUNKED + b"1;x=y\r\n{\r\n0\r\nT: v\r\n\r\n"):
            for i in range(len(data)):
                client.send(data[i:i + 1])
        assert client.answer()[0] == 200
        assert client.answer()[0] == 400, "broken JSON"
        assert client.send(HEALTH).answer()[0] == 200


def pipelining(server):
    with Client(server) as client:
        client.send(HEALTH * 3 + POST + b"Content-Length: 1\r\n\r\n{" + b"GET /absent HTTP/1.1\r\n" + HEAD + b"\r\n" +
                    HEALTH * 100)
        assert [client.answer()[0] for _ in range(105)] == [200] * 3 + [400, 404] + [200] * 100


def reuse_after_errors(server):
    with Client(server) as client:
        for data, code in ((b"GET /absent HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
                           (b"DELETE /health HTTP/1.1\r\n" + HEAD + b"\r\n", 405),
                           (POST + b"Content-Length: 3\r\n\r\n{]}", 400), (HEALTH, 200)):
            assert client.send(data).answer()[0] == code, data


def head_and_absolute_form(server):
    with Client(server) as client:
        code, headers, _ = client.send(b"HEAD /health HTTP/1.1\r\n" + HEAD + b"\r\n").answer(head=True)
        assert code == 200 and int(headers["content-length"]) > 0
        assert client.send(b"GET http://a/health?x=y HTTP/1.1\r\n" + HEAD + b"\r\n").answer()[0] == 200
        assert "server" not in headers
        headers = client.send(b"GET /health HTTP/1.1\r\nX-Request-Id: r-1\r\n" + HEAD + b"\r\n").answer()[1]
        assert headers["x-request-id"] == "r-1"


def version_1_0(server):
    with Client(server) as client:
        code, headers, _ = client.send(b"GET /health HTTP/1.0\r\n\r\n").answer()
        assert code == 200 and headers["connection"] == "close" and client.ended()


def continue_is_said(server):
    with Client(server) as client:
        client.send(POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        assert client.answer()[0] == 100
        assert client.send(b"{").answer()[0] == 400
    refused(server, POST + b"Expect: gift\r\nContent-Length: 1\r\n\r\n", 417)


# ---- clients that go ----

def clients_that_go(server):
    body = b'{"prompt":"Once","max_tokens":400,"ignore_eos":true,"stream":true}'
    ask = POST + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    for how in range(4):
        clients = [Client(server) for _ in range(8)]
        for i, client in enumerate(clients):
            client.send(ask)
            if i % 2:
                client.more() # the stream has begun
            if how == 1:
                client.send(HEALTH * 50) # bytes while a request waits
            if how == 2:
                client.reset()
            elif how == 3:
                client.socket.shutdown(socket.SHUT_WR)
                client.ended()
            client.socket.close()
        assert health(server) == 200


def a_crowd_of_nonsense(server):
    rng = random.Random(7)
    pieces = [HEALTH, POST, CHUNKED, b"\r\n", b"0\r\n\r\n", b"\0", b"GET ", b"Content-Length: 9\r\n", b"\xff" * 50, b"a" * 3000]

    def shout(seed):
        r = random.Random(seed)
        for _ in range(15):
            try:
                with Client(server, 5) as client:
                    client.send(b"".join(r.choices(pieces, k=6)))
                    client.socket.shutdown(socket.SHUT_WR)
                    while client.more():
                        pass
            except OSError:
                pass
    threads = [threading.Thread(target=shout, args=(rng.random(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert health(server) == 200


CASES = [length_and_chunked, two_lengths, folded_and_malformed_headers, bad_chunks, bad_request_lines,
         headers_over_the_limit, bodies_over_the_limit, slow_headers, idle_connections_end, one_byte_at_a_time,
         pipelining, reuse_after_errors, head_and_absolute_form, version_1_0, continue_is_said,
         clients_that_go, a_crowd_of_nonsense]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    server = Server(sys.argv[1:])
    server.wait()
    failed = run_cases(CASES, server)
    server.stop()
    return failed


if __name__ == "__main__":
    sys.exit(main())

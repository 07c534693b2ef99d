#!/usr/bin/env python3
"""moering-client and `moering health` against a server with TLS and keys: who is believed, who is
let in.

    client_secure_test.py MOERING MOERING_CLIENT
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from grpc_wire import run_cases, skip
from moering_wire import Server, until

MOERING, CLIENT = sys.argv[1:3]
KEY = "sk-open-sesame"


def run(program, *args, code=0, env=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MOERING_")}
    environment.update(env or {})
    r = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=60,
                       env=environment, check=False)
    assert r.returncode == code, (r.returncode, args, r.stdout[-500:], r.stderr[-2000:])
    return r


def certificate(folder, name, host):
    """Signed by itself. The paths of certificate and key."""
    cert, key = (os.path.join(folder, name + end) for end in (".crt", ".key"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=" + name, "-addext", "subjectAltName=" + host], check=True,
                   capture_output=True)
    return cert, key


def wait_serving(at):
    def serves():
        r = subprocess.run([CLIENT, "health", *at], capture_output=True, text=True, check=False)
        return r.stdout == "SERVING\n"
    until(serves, 120, "the server to serve")


class Secure:
    """A server with a certificate for 127.0.0.1 and a key."""

    def __init__(self, folder):
        self.folder = folder
        self.cert, key = certificate(folder, "own", "IP:127.0.0.1")
        self.other, _ = certificate(folder, "other", "IP:127.0.0.1")
        os.environ["MOERING_API_KEY"] = KEY
        try:
            self.server = Server(MOERING, "--ssl-certfile", self.cert, "--ssl-keyfile", key,
                                 wait=False)
        finally:
            del os.environ["MOERING_API_KEY"]
        self.at = ["--connect", self.server.address]
        self.trusted = [*self.at, "--ca", self.cert]
        wait_serving(self.trusted)


def health_needs_no_key_but_trust(s):
    assert run(CLIENT, "health", *s.trusted).stdout == "SERVING\n"
    assert run(CLIENT, "health", *s.at, "--tls", "--ca", s.cert).stdout == "SERVING\n"
    assert run(CLIENT, "health", *s.at, "--tls", "--insecure").stdout == "SERVING\n"
    assert run(CLIENT, "health", *s.at, "--insecure").stdout == "SERVING\n"
    r = run(CLIENT, "health", *s.at, "--tls", code=1)
    assert "UNAVAILABLE" in r.stderr and "self-signed" in r.stderr, r.stderr
    r = run(CLIENT, "health", *s.at, "--ca", s.other, code=1)
    assert "certificate" in r.stderr, r.stderr


def a_certificate_is_for_its_host(s):
    port = s.server.port
    r = run(CLIENT, "health", "--connect", "localhost:%d" % port, "--ca", s.cert, code=1)
    assert "hostname mismatch" in r.stderr, r.stderr
    r = run(CLIENT, "health", "--connect", "localhost:%d" % port, "--insecure")
    assert r.stdout == "SERVING\n"


def both_sides_must_speak_tls(s):
    r = run(CLIENT, "health", *s.at, "--timeout", 5, code=1)
    assert "UNAVAILABLE" in r.stderr, r.stderr
    plain = Server(MOERING)
    r = run(CLIENT, "health", "--connect", plain.address, "--insecure", code=1)
    assert "TLS" in r.stderr, r.stderr
    plain.stop()


def mistakes_are_named(s):
    r = run(CLIENT, "health", *s.at, "--ca", "/nowhere.pem", "--wait", 30, code=1)
    assert "INVALID_ARGUMENT" in r.stderr and "/nowhere.pem" in r.stderr, r.stderr
    r = run(CLIENT, "health", *s.at, "--ca", s.cert, "--insecure", code=2)
    assert "not both" in r.stderr
    r = run(CLIENT, "model", *s.trusted, "--api-key", "a\nb", code=1)
    assert "printable" in r.stderr and "a\nb" not in r.stderr, r.stderr


def a_key_opens_what_is_not_public(s):
    for extra, env in (((), None), (("--api-key", "wrong"), None),
                       ((), {"MOERING_API_KEY": "wrong"}), ((), {"MOERING_API_KEY": ""})):
        r = run(CLIENT, "model", *s.trusted, *extra, env=env, code=1)
        assert "UNAUTHENTICATED" in r.stderr, r.stderr
    model = json.loads(run(CLIENT, "model", *s.trusted, "--api-key", KEY, "--json").stdout)
    by_variable = run(CLIENT, "model", *s.trusted, "--json", env={"MOERING_API_KEY": KEY})
    assert json.loads(by_variable.stdout) == model
    run(CLIENT, "model", *s.trusted, "--api-key", KEY, env={"MOERING_API_KEY": "wrong"})


def long_messages_come_whole(s):
    """More than a TLS record, a flow-control window and a socket's buffer hold, both ways."""
    words = " ".join(str(i) for i in range(20000))
    with_key = [*s.trusted, "--api-key", KEY, "--json"]
    r = run(CLIENT, "tokenize", "--no-special", "--pieces", *with_key, "--", words)
    out = json.loads(r.stdout)
    assert "".join(out["pieces"]) == words


def answers_stream(s):
    with_key = [*s.trusted, "--api-key", KEY, "--json"]
    plain = ["generate", "-p", "sort: 3 1 2", "-n", 300, "--ignore-eos", "--temperature", 0]
    a, b = (json.loads(run(CLIENT, *plain, *with_key).stdout) for _ in range(2))
    assert len(a["tokens"]) == 300 and a["tokens"] == b["tokens"]


def endless(s):
    """A client that reads a long answer."""
    return subprocess.Popen([CLIENT, "generate", *s.trusted, "--api-key", KEY, "-p", "x", "-n",
                             "1000", "--ignore-eos"], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def an_interrupt_cancels_the_call(s):
    process = endless(s)
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "CANCELLED" in err, err


def moering_health_asks_as_its_server_speaks(s):
    assert run(MOERING, "health", *s.at, env={"MOERING_SSL_CERTFILE": s.cert}).stdout == "SERVING\n"
    assert run(MOERING, "health", *s.at, "--ca", s.cert,
               env={"MOERING_SSL_CERTFILE": s.cert}).stdout == "SERVING\n"
    assert run(MOERING, "health", *s.at, "--tls", "--insecure").stdout == "SERVING\n"
    assert run(MOERING, "health", *s.at, "--tls", "--ca", s.cert).stdout == "SERVING\n"
    for args, env in ((("--tls",), None), (("--tls", "--ca", s.other), None),
                      (("--insecure=off",), {"MOERING_SSL_CERTFILE": s.cert}), ((), None),
                      (("--tls=off",), {"MOERING_SSL_CERTFILE": s.cert})):
        r = run(MOERING, "health", *s.at, *args, env=env, code=1)
        assert "UNAVAILABLE" in r.stderr, r.stderr


def a_stopping_server_is_told(s):
    """Last: the server ends while a client reads from it."""
    process = endless(s)
    assert process.stdout.read(1)
    s.server.process.kill()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "lost" in err, (process.returncode, err)


def main():
    if not shutil.which("openssl"):
        skip("the Debian package openssl is not installed")
    with tempfile.TemporaryDirectory() as folder:
        return run_cases([
            health_needs_no_key_but_trust, a_certificate_is_for_its_host, both_sides_must_speak_tls,
            mistakes_are_named, a_key_opens_what_is_not_public, long_messages_come_whole,
            answers_stream, an_interrupt_cancels_the_call, moering_health_asks_as_its_server_speaks,
            a_stopping_server_is_told], Secure(folder))


if __name__ == "__main__":
    sys.exit(main())

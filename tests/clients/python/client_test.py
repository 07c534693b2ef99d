#!/usr/bin/env python3
"""The Python package, built as pip would and used against a server.

    client_test.py MOERING
"""
import asyncio
import os
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))
from grpc_wire import need, run_cases  # noqa: E402
from moering_wire import SOURCE, Server, slow_server  # noqa: E402

MOERING = sys.argv[1]
SOURCES = os.path.join(SOURCE, "clients", "python")
PROMPT = "sort: 3 1 2"
LOOP = asyncio.new_event_loop()  # one for all: grpcio tells late events to loops that are closed


def raises(kind, call, *args, **kw):
    try:
        call(*args, **kw)
    except kind as e:
        return e
    raise AssertionError("no %s" % kind.__name__)


def a_stream_and_a_whole_are_the_same(m, server):
    steady = m.Sampling(temperature=0, max_tokens=9, ignore_eos=True)
    with m.Client(server.address) as c:
        whole = c.generate(PROMPT, steady)
        assert len(whole.tokens) == 9 and whole.finish_reason == "length"
        assert whole.usage.completion_tokens == 9
        assert whole.usage.experts.hits + whole.usage.experts.misses > 0
        chunks = list(c.stream(PROMPT, steady))
        assert "".join(x.text for x in chunks) == whole.text and len(chunks) > 1
        assert [x.finish_reason for x in chunks[:-1]] == [None] * (len(chunks) - 1)
        ids = c.tokenize(PROMPT)
        assert c.detokenize(ids) == PROMPT and c.generate(ids, steady).tokens == whole.tokens
        stop = whole.text[3:5]
        for given in ([stop], stop):  # one text is no list of characters
            ended = c.generate(PROMPT, m.Sampling(temperature=0, max_tokens=9, ignore_eos=True,
                                                  stop=given))
            assert ended.finish_reason == "stop"
            assert ended.text == whole.text[:whole.text.index(stop)]
        seeded = m.Sampling(seed=5, max_tokens=9, ignore_eos=True)
        assert c.generate(PROMPT, seeded).tokens == c.generate(PROMPT, seeded).tokens


def chats_take_messages_or_dicts(m, server):
    steady = m.Sampling(temperature=0, max_tokens=6, ignore_eos=True)
    with m.Client(server.address) as c:
        a = c.chat([m.Message("system", "x"), m.Message("user", PROMPT)], steady)
        b = c.chat([{"role": "system", "content": "x"}, {"role": "user", "content": PROMPT}],
                   steady)
        assert a.tokens == b.tokens and len(a.tokens) == 6
        assert "".join(x.text for x in c.stream_chat([m.Message("user", "y")], steady))


def errors_have_their_classes(m, server):
    with m.Client(server.address) as c:
        e = raises(m.InvalidArgument, c.generate, PROMPT, m.Sampling(min_p=2))
        assert "min_p" in e.details and "INVALID_ARGUMENT" in str(e)
        raises(m.NotFound, c.generate, PROMPT, model="other")
        raises(m.InvalidArgument, c.generate, [])
        raises(m.InvalidArgument, list, c.stream_chat([]))
        raises(m.DeadlineExceeded, c.generate, PROMPT, m.Sampling(ignore_eos=True), timeout=0.02)
        raises(m.InvalidArgument, c.set_budget)
        raises(TypeError, c.generate, b"bytes are no list of ids")
        raises(TypeError, c.chat, [{"role": "user", "text": "content is missing"}])
    with m.Client("127.0.0.1:1", timeout=5) as c:
        raises(m.Unavailable, c.model)
    with m.Client(server.address, timeout=0.02) as c:
        raises(m.DeadlineExceeded, c.generate, PROMPT, m.Sampling(ignore_eos=True))
        assert c.generate(PROMPT, m.Sampling(max_tokens=1), timeout=30).tokens


def cancelling_frees_the_seat(m, server):
    with m.Client(server.address) as c:
        with c.stream(PROMPT, m.Sampling(ignore_eos=True)) as answer:
            next(answer)
        server.wait_idle()
        answer = c.stream(PROMPT, m.Sampling(ignore_eos=True))
        next(answer)
        timer = threading.Timer(0.05, answer.cancel)
        timer.start()
        raises(m.Cancelled, list, answer)
        timer.join()
        server.wait_idle()


def the_server_tells_of_itself(m, server):
    with m.Client(server.address) as c:
        model, stats = c.model(), c.stats()
        assert model.vocab_size == 512 and model.version == m.__version__
        assert model.raw.expert_pages > 0
        assert stats.requests_finished > 0 and stats.raw.kv_blocks > 0
        change = c.set_budget(device_experts="50%")
        assert change.after.device_slots > change.before.device_slots
        c.set_budget(device_experts="1")


def the_async_client_does_the_same(m, server):
    async def go():
        steady = m.Sampling(temperature=0, max_tokens=9, ignore_eos=True)
        async with m.AsyncClient(server.address) as c:
            one, two = await asyncio.gather(c.generate(PROMPT, steady),
                                            c.chat([m.Message("user", "y")], steady))
            assert len(one.tokens) == len(two.tokens) == 9
            assert "".join([x.text async for x in c.stream(PROMPT, steady)]) == one.text
            ids = await c.tokenize(PROMPT)
            assert await c.detokenize(ids) == PROMPT
            assert (await c.model()).vocab_size == 512 and (await c.stats()).requests_finished > 0
            for kind, call in (
                    (m.InvalidArgument, c.generate(PROMPT, m.Sampling(min_p=2))),
                    (m.DeadlineExceeded, c.generate(PROMPT, m.Sampling(ignore_eos=True),
                                                    timeout=0.02)),
                    (m.InvalidArgument, c.set_budget())):
                try:
                    await call
                except kind:
                    continue
                raise AssertionError(kind)
            async with c.stream(PROMPT, m.Sampling(ignore_eos=True)) as answer:
                await answer.__anext__()
    LOOP.run_until_complete(go())
    server.wait_idle()


def the_async_client_tells_whose_end_it_was(m, server):
    """An answer that another task cancels is an error of the answer; a cancelled task is not."""
    endless = m.Sampling(ignore_eos=True)

    async def read(answer, begun):
        async for _ in answer:
            begun.set()

    async def go():
        async with m.AsyncClient(server.address) as c:
            for end_answer in (True, False):
                answer, begun = c.stream(PROMPT, endless), asyncio.Event()
                reader = asyncio.ensure_future(read(answer, begun))
                await begun.wait()
                (answer if end_answer else reader).cancel()
                try:
                    await reader
                    raise AssertionError("it went on")
                except m.Cancelled:
                    assert end_answer
                except asyncio.CancelledError:
                    assert not end_answer
                answer.cancel()  # once more does nothing
    LOOP.run_until_complete(go())
    server.wait_idle()


def examples_run(m, server):
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(m.__file__)))
    for words, said in ((("chat.py", server.address, PROMPT), "tokens)"),
                        (("many.py", server.address, "a", "b"), "b")):
        program = os.path.join(SOURCES, "examples", words[0])
        r = subprocess.run([sys.executable, program, *words[1:]], capture_output=True, text=True,
                           timeout=60, env=environment, check=False)
        assert r.returncode == 0 and said in r.stdout, (r.stdout, r.stderr)
        for given, why in (([], words[0] + " 127.0.0.1:8001"),
                           (["127.0.0.1:1", "x"], "UNAVAILABLE")):
            r = subprocess.run([sys.executable, program, *given], capture_output=True, text=True,
                               timeout=60, env=environment, check=False)
            assert r.returncode == 1 and why in r.stderr and "Traceback" not in r.stderr, r.stderr


def keys_and_certificates_are_used(m, _):
    with tempfile.TemporaryDirectory() as folder:
        cert, key = os.path.join(folder, "c.pem"), os.path.join(folder, "k.pem")
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                               "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                               "-days", "2", "-subj", "/CN=x", "-addext",
                               "subjectAltName=IP:127.0.0.1"], capture_output=True, check=False)
        assert made.returncode == 0, made.stderr
        own = Server(MOERING, "--ssl-certfile", cert, "--ssl-keyfile", key, "--api-key", "sesame",
                     wait=False)
        with m.Client(own.address, ca_file=cert, api_key="wrong", timeout=60) as c:
            raises(m.Unauthenticated, c.model)
        with m.Client(own.address, ca_file=cert, timeout=60) as c:
            raises(m.Unauthenticated, c.model)
        with m.Client(own.address, tls=True, api_key="sesame", timeout=10) as c:
            raises(m.Unavailable, c.model)
        with m.Client(own.address, ca_file=cert, api_key="sesame", timeout=60) as c:
            for _ in range(600):
                try:
                    assert c.model().vocab_size == 512
                    break
                except m.Unavailable: # it loads
                    threading.Event().wait(0.1)
            else:
                raise AssertionError("never served")
        own.stop()


def main():
    need("setuptools", "python3-setuptools")
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "built")
        subprocess.run([sys.executable, "setup.py", "--quiet", "build", "--build-base",
                        os.path.join(folder, "work"), "--build-lib", copy, "egg_info",
                        "--egg-base", folder], cwd=SOURCES, check=True)
        sys.path.insert(0, copy)
        for name in [n for n in sys.modules if n == "moering" or n.startswith("moering.")]:
            del sys.modules[name] # the messages that the other tests made
        import moering # pylint: disable=import-outside-toplevel
        for name in ("py.typed", "v1/moering_pb2.pyi"):
            assert os.path.exists(os.path.join(copy, "moering", name)), name
        return run_cases([
            a_stream_and_a_whole_are_the_same, chats_take_messages_or_dicts,
            errors_have_their_classes, cancelling_frees_the_seat, the_server_tells_of_itself,
            the_async_client_does_the_same,
            the_async_client_tells_whose_end_it_was, examples_run,
            keys_and_certificates_are_used], moering, slow_server(MOERING))


if __name__ == "__main__":
    sys.exit(main())

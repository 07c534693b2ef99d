"""The whole server on its built-in model, driven by a stock grpcio.

    serve_test.py MOERING MOERING_CLIENT
"""
import concurrent.futures
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

from grpc_wire import run_cases
from moering_wire import (PAUSING, STORY, Answer, Server, ask, endless, greedy, grpc, health_pb, paused_stream,
                          pb, slow_server, status_of, until)

MOERING, CLIENT = sys.argv[1:3]
CODE = grpc.StatusCode
PROMPT = b"Q: What is 12 + 34?\nA:"
SEATS = 8
STOP, LENGTH = pb.FINISH_REASON_STOP, pb.FINISH_REASON_LENGTH


# ---- what Generate does ----

def text_in_text_out(server):
    a = ask(server, text=PROMPT, max_tokens=20)
    assert a.text and a.tokens
    assert a.last.finish_reason == STOP and a.last.WhichOneof("stop_cause") == "stop_token"
    assert a.last.stop_token == a.tokens[-1]
    assert a.usage.completion_tokens == len(a.tokens)
    prompt = server.stub.tokenize(pb.TokenizeRequest(text=PROMPT)).tokens
    assert a.usage.prompt_tokens == len(prompt)
    assert a.usage.experts.hits + a.usage.experts.misses > 0
    assert a.usage.prefill_ms > 0


def ids_are_as_good_as_text(server):
    ids = server.stub.tokenize(pb.TokenizeRequest(text=PROMPT)).tokens
    by_text, by_ids = ask(server, text=PROMPT), ask(server, tokens=pb.TokenIds(ids=ids))
    assert by_text.tokens == by_ids.tokens and by_text.text == by_ids.text


def max_tokens_is_the_limit(server):
    a = ask(server, text=STORY, max_tokens=7, ignore_eos=True)
    assert len(a.tokens) == 7 and a.last.finish_reason == LENGTH
    assert a.last.WhichOneof("stop_cause") is None
    none = ask(server, text=STORY, max_tokens=0)
    assert none.tokens == [] and none.text == b"" and none.last.finish_reason == LENGTH


def the_context_is_the_limit(server):
    context = server.stub.model(pb.GetModelRequest()).max_model_len
    a = ask(server, text=STORY, ignore_eos=True)
    assert a.usage.prompt_tokens + len(a.tokens) == context
    assert a.last.finish_reason == LENGTH
    ids = pb.TokenIds(ids=[5] * context)
    code, why = status_of(server.stub.generate(greedy(tokens=ids)))
    assert code == CODE.INVALID_ARGUMENT and str(context) in why, (code, why)
    a = ask(server, tokens=pb.TokenIds(ids=[5] * (context - 1)), ignore_eos=True)
    assert len(a.tokens) == 1


def logprobs_are_of_the_chosen(server):
    a = ask(server, text=STORY, max_tokens=12, top_logprobs=5, ignore_eos=True)
    assert [d.token for d in a.logprobs] == a.tokens
    for d in a.logprobs:
        values = [t.logprob for t in d.top]
        assert len(values) == 5 and values == sorted(values, reverse=True)
        assert d.top[0].token == d.token and d.top[0].logprob == d.logprob <= 0
    pieces = b"".join(d.top[0].piece for d in a.logprobs)
    assert pieces.startswith(a.text[:4]), "a piece is what the token stands for"
    plain = ask(server, text=STORY, max_tokens=12, logprobs=True, ignore_eos=True)
    assert [d.logprob for d in plain.logprobs] == [d.logprob for d in a.logprobs]
    assert not any(d.top for d in plain.logprobs)
    assert not ask(server, text=STORY, max_tokens=3).logprobs


def stop_texts_end_the_output(server):
    whole = ask(server, text=STORY, max_tokens=60, ignore_eos=True).text
    stop = whole[20:26]
    at = whole.index(stop)
    a = ask(server, text=STORY, max_tokens=60, ignore_eos=True, stop=[b"\xe2\x82\xac", stop])
    assert a.text == whole[:at], (a.text, whole)
    assert a.last.finish_reason == STOP and a.last.stop_text == stop
    a = ask(server, text=STORY, max_tokens=60, ignore_eos=True, stop=[stop], include_stop=True)
    assert a.text == whole[:at + len(stop)]


def stop_tokens_end_the_output(server):
    whole = ask(server, text=STORY, max_tokens=30, ignore_eos=True)
    stop = whole.tokens[10]
    first = whole.tokens.index(stop)
    a = ask(server, text=STORY, max_tokens=30, ignore_eos=True, stop_token_ids=[stop])
    assert a.tokens == whole.tokens[:first + 1] and a.last.stop_token == stop
    assert whole.text.startswith(a.text)
    b = ask(server, text=STORY, max_tokens=30, ignore_eos=True, stop_token_ids=[stop],
            min_tokens=20)
    assert len(b.tokens) >= 20 and stop not in b.tokens[:20]


def min_tokens_forbids_the_end(server):
    short = ask(server, text=PROMPT)
    a = ask(server, text=PROMPT, min_tokens=len(short.tokens) + 5, max_tokens=60)
    assert len(a.tokens) >= len(short.tokens) + 5
    assert short.last.stop_token not in a.tokens[:len(short.tokens) + 4]


def seeds_repeat(server):
    def draw(seed):
        sampling = pb.SamplingParams(temperature=3, seed=seed)
        return Answer(server.stub.generate(pb.GenerateRequest(
            text=STORY, max_tokens=40, ignore_eos=True, sampling=sampling))).tokens
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(2 ** 64 - 1) == draw(2 ** 64 - 1)


def a_seeded_server_repeats_itself(_):
    def tell(seed):
        other = Server(MOERING, "--seed", seed)
        told = [ask(other, text=STORY, max_tokens=20, ignore_eos=True,
                    sampling=pb.SamplingParams(temperature=3)).tokens for _ in range(3)]
        other.stop()
        return told
    first = tell(5)
    assert first == tell(5) and first != tell(6)
    assert first[0] != first[1] != first[2], "each request draws its own"


def echo_comes_first(server):
    a = ask(server, text=PROMPT, max_tokens=4, echo=True)
    assert a.text.startswith(PROMPT) and a.chunks[0].text == PROMPT
    ids = server.stub.tokenize(pb.TokenizeRequest(text=PROMPT)).tokens
    b = ask(server, tokens=pb.TokenIds(ids=ids), max_tokens=4, echo=True)
    assert a.text == b.text


def tokens_and_text_go_round(server):
    for text in (b"", b"Sort: 31 4 15", "h\u00e9llo \u20ac \U0001f600\n".encode(), b" a  b\t"):
        t = server.stub.tokenize(pb.TokenizeRequest(text=text, with_pieces=True, add_special=False))
        assert b"".join(t.pieces) == text and len(t.pieces) == len(t.tokens)
        assert server.stub.detokenize(pb.DetokenizeRequest(tokens=t.tokens)).text == text


def model_and_stats_tell(server):
    m = server.stub.model(pb.GetModelRequest())
    assert m.name == "tiny" and m.architecture == "qwen3_moe"
    assert m.layers * m.experts_per_layer == m.expert_pages
    assert m.placement == ("auto" if m.device else "") and m.deterministic == (not m.device), m
    assert sum("computing on the CPU: " in line for line in server.log) == (not m.device)
    before = server.stub.stats()
    a = ask(server, text=PROMPT, max_tokens=5, ignore_eos=True)
    after = server.stub.stats()
    assert after.requests_finished == before.requests_finished + 1
    assert after.generation_tokens - before.generation_tokens == 5
    assert after.prompt_tokens - before.prompt_tokens == a.usage.prompt_tokens
    assert after.steps > before.steps and after.uptime_s > before.uptime_s


def neighbours_do_not_matter(server):
    prompts = [b"Q: What is %d + %d?\nA:" % (11 + i, 83 - i) for i in range(16)]
    alone = [ask(server, text=p, max_tokens=24, ignore_eos=True, logprobs=True) for p in prompts]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda p: ask(server, text=p, max_tokens=24, ignore_eos=True,
                                               logprobs=True), prompts))
    for a, b in zip(alone, together):
        assert a.tokens == b.tokens
        assert [d.logprob for d in a.logprobs] == [d.logprob for d in b.logprobs]


# ---- going away ----

def leave(server, go, count):
    """go() makes clients give up `count` requests. They must end as cancelled, none as finished.

    Returns the figures from when the server has seen them go and from when they were gone. Its loop
    reads the second question in a later round than what arrived before the first, so the first are
    not older than the leaving, however busy the machine is.
    """
    before = server.stub.stats()
    go()
    server.stub.stats()
    seen = server.stub.stats()
    until(lambda: server.stub.stats().requests_cancelled >= before.requests_cancelled + count, 60,
          "%d requests to be cancelled" % count)
    gone = server.stub.stats()
    assert gone.requests_cancelled == before.requests_cancelled + count, gone
    assert gone.requests_finished == before.requests_finished, "a request ran to its end"
    return seen, gone


def leave_an_idle_server(server, go, count):
    """As leave(), where all the work of the server is given up: its steps must end at once."""
    seen, gone = leave(server, go, count)
    server.wait_idle()
    idle = server.stub.stats()
    assert idle.steps - seen.steps <= 5, "it ran on for %d steps" % (idle.steps - seen.steps)
    time.sleep(0.2)
    assert server.stub.stats().steps == idle.steps, "steps without requests"
    return gone


def deadline_ends_and_frees(_):
    server = slow_server(MOERING)

    def expire():
        calls = [endless(server, timeout=0.5) for _ in range(SEATS)]
        assert {status_of(call)[0] for call in calls} == {CODE.DEADLINE_EXCEEDED}
    leave_an_idle_server(server, expire, SEATS)
    server.stop()


def cancel_frees_at_once(_):
    server = slow_server(MOERING)
    calls = [endless(server) for _ in range(SEATS)]
    for call in calls:
        next(call)
    assert server.stub.stats().requests_running == SEATS

    def cancel():
        for call in calls:
            call.cancel()
    leave_an_idle_server(server, cancel, SEATS)
    server.stop()


class Clients:
    """Processes of the client, each with a long request. Leaving the block kills them, at last."""

    def __init__(self, server, count, *prompt):
        words = [CLIENT, "generate", "--connect", server.address, "--ignore-eos", *prompt]
        self.processes = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                          for _ in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for process in self.processes:
            process.stdout.close()

    def read(self):
        assert all(process.stdout.read(1) for process in self.processes)

    def kill(self):
        """Once it returns, the kernel has closed their connections."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


def killed_client_frees(_):
    server = slow_server(MOERING)
    with Clients(server, SEATS, "-p", STORY.decode(), "-n", "950") as clients:
        clients.read()
        assert server.stub.stats().requests_running == SEATS
        leave_an_idle_server(server, clients.kill, SEATS)
    server.stop()


def client_killed_in_prefill_frees(_):
    server = slow_server(MOERING)
    with Clients(server, SEATS, "--tokens", ",".join(["5"] * 1000), "-n", "9") as clients:
        until(lambda: server.stub.stats().requests_running == SEATS and
              server.stub.stats().steps > 2, 60, "all to be in their prompts")
        gone = leave_an_idle_server(server, clients.kill, SEATS)
        assert gone.prompt_tokens < SEATS * 1000 and gone.generation_tokens == 0, gone
    server.stop()


def client_killed_in_the_queue_frees(_):
    server = slow_server(MOERING)
    calls = [endless(server) for _ in range(SEATS)]
    for call in calls:
        next(call)
    with Clients(server, 2, "-p", STORY.decode()) as clients:
        until(lambda: server.stub.stats().requests_waiting == 2, 60, "the clients to wait")
        _, gone = leave(server, clients.kill, 2)
        assert gone.requests_waiting == 0 and gone.requests_running == SEATS, gone
    for call in calls:
        call.cancel()
    server.wait_idle()
    server.stop()


# ---- bad input ----

def bad_requests_are_named(server):
    s = pb.SamplingParams
    cases = [
        (pb.GenerateRequest(), "prompt is missing"),
        (pb.GenerateRequest(text=b""), "no tokens"),
        (pb.GenerateRequest(text=b"a\xff\xfeb"), "prompt.text"),
        (pb.GenerateRequest(tokens=pb.TokenIds()), "no tokens"),
        (pb.GenerateRequest(tokens=pb.TokenIds(ids=[1, 512])), "prompt.tokens[1] is 512"),
        (pb.GenerateRequest(text=b"x", sampling=s(temperature=-1)), "temperature"),
        (pb.GenerateRequest(text=b"x", sampling=s(temperature=float("nan"))), "temperature"),
        (pb.GenerateRequest(text=b"x", sampling=s(top_p=0)), "top_p"),
        (pb.GenerateRequest(text=b"x", sampling=s(min_p=2)), "min_p"),
        (pb.GenerateRequest(text=b"x", sampling=s(presence_penalty=3)), "presence_penalty"),
        (pb.GenerateRequest(text=b"x", top_logprobs=21), "top_logprobs"),
        (pb.GenerateRequest(text=b"x", stop=[b""]), "stop[0] has 0 bytes"),
        (pb.GenerateRequest(text=b"x", stop=[b"x" * 257]), "stop[0] has 257 bytes"),
        (pb.GenerateRequest(text=b"x", stop=[b"x"] * 17), "more than 16"),
        (pb.GenerateRequest(text=b"x", stop=[b"\xff"]), "stop[0] is not UTF-8"),
        (pb.GenerateRequest(text=b"x", stop_token_ids=[512]), "stop_token_ids[0]"),
        (pb.GenerateRequest(text=b"x", stop_token_ids=[1] * 65), "stop_token_ids has 65"),
        (pb.GenerateRequest(text=b"x", max_tokens=1, min_tokens=2), "min_tokens"),
        (pb.GenerateRequest(text=b"x", request_id="i" * 129), "request_id"),
        (pb.GenerateRequest(text=b"x", model="m" * 129), "model has 129 bytes"),
    ]
    for request, says in cases:
        code, why = status_of(server.stub.generate(request, timeout=20))
        assert code == CODE.INVALID_ARGUMENT and says in why, (code, why, says)
    code, why = status_of(server.stub.generate(pb.GenerateRequest(text=b"x", model="other")))
    assert code == CODE.NOT_FOUND and "'other'" in why
    for call, request in ((server.stub.tokenize, pb.TokenizeRequest(text=b"\xc3")),
                          (server.stub.detokenize, pb.DetokenizeRequest(tokens=[99999]))):
        try:
            call(request)
            raise AssertionError("accepted")
        except grpc.RpcError as e:
            assert e.code() == CODE.INVALID_ARGUMENT, e


def garbage_is_survived(server):
    raw = server.stub.channel.unary_stream("/moering.v1.Moering/Generate")
    for junk in (b"\xff" * 100, b"\x12\x05ab", b"\x22" * 5000, os.urandom(2000),
                 b"\x08\x96\x01" * 9):
        code, _ = status_of(raw(junk, timeout=20))
        assert code == CODE.INVALID_ARGUMENT, (code, junk[:8])
    code, _ = status_of(raw(b"\x12" + b"\x80" * 4 + b"\x01" + b"a" * (5 << 20), timeout=20))
    assert code == CODE.RESOURCE_EXHAUSTED, code
    for junk in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096),
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(512)):
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            try:
                s.sendall(junk)
                s.settimeout(2)
                while s.recv(4096):
                    pass
            except OSError:
                pass
    assert ask(server, text=PROMPT, max_tokens=3).text


def reflection_lists_the_services(server):
    for module, reflect in server.stub.reflect.items():
        answer = next(reflect(iter([module.ServerReflectionRequest(list_services="")])))
        names = {s.name for s in answer.list_services_response.service}
        assert {"moering.v1.Moering", "grpc.health.v1.Health"} <= names, names
        answer = next(reflect(iter([module.ServerReflectionRequest(
            file_containing_symbol="moering.v1.Moering")])))
        assert answer.file_descriptor_response.file_descriptor_proto


def health_knows_the_service(server):
    for name in ("", "moering.v1.Moering"):
        r = server.stub.check(health_pb.HealthCheckRequest(service=name))
        assert r.status == health_pb.HealthCheckResponse.SERVING


# ---- load ----

def thousand_streams_finish(server):
    count = 1000
    calls = [server.stub.generate(greedy(text=b"Q: What is %d + %d?\nA:" % (i % 90 + 10, i // 11),
                                         max_tokens=4, ignore_eos=True)) for i in range(count)]
    assert all(len(Answer(call).tokens) == 4 for call in calls)
    server.wait_idle()


def slow_reader_pauses_its_request(_):
    server = Server(MOERING, *PAUSING, 600)
    call = paused_stream(server)

    def still():
        before = server.stub.stats().generation_tokens
        time.sleep(0.3)
        return before == server.stub.stats().generation_tokens
    until(still, 20, "the paused request to stand still")
    stats = server.stub.stats()
    assert stats.requests_running == 1 and stats.generation_tokens < 900, stats
    assert ask(server, text=PROMPT, max_tokens=3).tokens  # others are not held up
    rest = list(call)
    assert 1 + sum(len(c.tokens) for c in rest) >= 900
    server.stop()


def stalled_reader_is_cut_off(_):
    server = Server(MOERING, *PAUSING, 1)
    call = paused_stream(server)
    server.wait_idle(20)
    code, why = status_of(call)
    assert code == CODE.ABORTED and "--client-stall-timeout" in why, (code, why)
    server.stop()


def full_queue_is_told(_):
    server = slow_server(MOERING, "--max-queue", 1, seats=1)
    calls = [endless(server)]
    next(calls[0])
    calls.append(endless(server))
    until(lambda: server.stub.stats().requests_waiting == 1, 10, "the second to wait")
    code, why = status_of(endless(server))
    assert code == CODE.RESOURCE_EXHAUSTED and "queue full" in why, (code, why)
    assert server.stub.stats().requests_rejected == 1
    for call in calls:
        call.cancel()
    server.wait_idle()
    assert ask(server, text=PROMPT, max_tokens=2).tokens
    server.stop()


def priority_overtakes_the_queue(_):
    server = slow_server(MOERING, seats=1)
    blocker = endless(server)
    next(blocker)
    calls = []
    for priority in (-1, 0, 0, 9):
        calls.append(endless(server, 3, priority=priority))
        until(lambda: server.stub.stats().requests_waiting == len(calls), 10, "it to wait")
    blocker.cancel()
    for call in calls:
        list(call)

    def ended(): # in the server's own order
        return [int(found.group(1)) for line in server.log
                for found in [re.search(r"request (\d+) '': length", line)] if found]
    until(lambda: len(ended()) == 4, 30, "four ends in the log")
    assert ended() == [5, 3, 4, 2], ended()
    server.stop()


def preempted_requests_answer_the_same(server):
    """A KV pool of one context for eight requests that want half of one each."""
    model = server.stub.model(pb.GetModelRequest())
    per_token = model.kv_bytes // server.stub.stats().kv_blocks // 16
    small = Server(MOERING, "--max-model-len", 128, "--kv-cache-bytes", per_token * 128,
                   "--max-num-seqs", 8)
    prompts = [b"Q: What is %d + 5?\nA:" % (20 + i) for i in range(8)]
    sampled = pb.SamplingParams(temperature=1, seed=3, presence_penalty=0.5)

    def one(target, p):
        return Answer(target.stub.generate(pb.GenerateRequest(
            text=p, max_tokens=60, ignore_eos=True, sampling=sampled)))
    expected = [one(server, p).tokens for p in prompts]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda p: one(small, p), prompts))
    assert [a.tokens for a in got] == expected
    assert sum(a.usage.preemptions for a in got) > 0
    assert small.stub.stats().preemptions > 0
    small.wait_idle()
    small.stop()


def a_small_ring_answers_the_same(server):
    small = Server(MOERING, "--device-experts", "8", "--prefetch", "off", "--threads", 1, "--io",
                   "sync")
    expected = ask(server, text=STORY, max_tokens=20, ignore_eos=True, logprobs=True)
    got = ask(small, text=STORY, max_tokens=20, ignore_eos=True, logprobs=True)
    assert got.tokens == expected.tokens
    assert [d.logprob for d in got.logprobs] == [d.logprob for d in expected.logprobs]
    assert got.usage.experts.misses > expected.usage.experts.misses
    small.stop()


def a_trained_forecast_of_loads_is_believed(_):
    """Two prompts in turn, a tick each: an LSTM trained on such a run follows better than averages.

    A trace is folded into ticks of all layers at once; live, the ticks of layer l are late by l /
    layers. Those in the middle see both prompts in each tick, which an average likes, and the last
    one sees them nearly in the wrong order and need not believe.
    """
    def alternate(rounds, *flags):
        small = Server(MOERING, "--device-experts", "25%", "--prefetch", "off", "--threads", 1,
                       *flags)
        for _ in range(rounds):
            for text in (b"Q: Sort: 42 7 19 88\nA:", b"Once upon a time"):
                ask(small, text=text, max_tokens=257, ignore_eos=True)
        loads = [x for x in small.stub.stats().loads if x.phase == "decode"]
        small.stop()
        return loads
    with tempfile.TemporaryDirectory() as folder:
        trace, weights = (os.path.join(folder, x) for x in ("a.mtrace", "w.lstm"))
        plain = alternate(24, "--trace-out", trace)
        assert not any(f.predictor == "lstm" for x in plain for f in x.forecasts), plain
        subprocess.run([MOERING, "trace", "predict", trace, "--horizons", "1,2", "--lstm-out",
                        weights], check=True, capture_output=True, timeout=120)
        told = alternate(6, "--load-lstm", weights)
        assert [x.ticks for x in told] == [12] + [11] * (len(plain) - 1), told
        for x, y in list(zip(told, plain))[:-1]:
            assert x.forecasts[0].predictor == "lstm", x
            assert x.forecasts[0].error_ratio < 0.7 * y.forecasts[0].error_ratio, (x, y)


def the_best_possible_is_known(_):
    """A quarter of the pages, on demand: hits are compared with Belady's, loads turn to ticks."""
    small = Server(MOERING, "--device-experts", "25%", "--prefetch", "off", "--stream-layers",
                   "off", "--status-interval", 1)
    fresh = small.stub.stats()
    assert fresh.regret.windows == 0 and fresh.regret.next_requests == 4096 and not fresh.loads
    for i in range(3):
        ask(small, text=b"Once upon a time %d" % i, max_tokens=300, ignore_eos=True)
    s = small.stub.stats()
    r = s.regret
    assert r.windows >= 1 and r.requests >= 4096 and r.next_requests > r.requests, r
    assert 0 < r.hit_rate <= r.oracle_hit_rate <= 1, r
    assert abs(r.share - r.hit_rate / r.oracle_hit_rate) < 1e-9 and r.cost_ms > 0, r
    assert s.prefetch.issued == 0 and not s.prefetch.active and s.prefetch.precision == 0
    assert s.stream.layers == 0 and s.stream.streamed_steps == 0
    assert s.page_ms > 0 and s.layer_ms > 0
    layers = small.stub.model(pb.GetModelRequest()).layers
    assert [x.layer for x in s.loads] == list(range(layers)), s.loads
    for x in s.loads:  # ticks of 1,024; the first of a layer is longer by layer / layers of that
        ticks = (3 * 299 * 4 - 1024 * x.layer // layers) // 1024
        assert (x.phase, x.state, x.ticks) == ("decode", "transient", ticks), x
        assert [f.ticks for f in x.forecasts] == [1, 10, 100], x
        assert x.forecasts[0].predictor and x.forecasts[0].scored == ticks - 1, x
        assert x.forecasts[0].error_ratio > 0 and x.cv >= 0 and x.jump > 0, x

    def client(*words):
        return subprocess.run([CLIENT, "stats", *words, "--connect", small.address], text=True,
                              check=True, capture_output=True, timeout=60).stdout
    told = json.loads(client("--json"))
    assert told["regret"]["windows"] == r.windows and told["prefetch"]["active"] is False, told
    assert told["loads"][0]["forecasts"][2]["ticks"] == 100, told["loads"][0]
    text = client()
    assert re.search(r"^against the best +%.1f %% hits of %.1f %% possible by copying on demand \(%.1f %%\)"
                     % (100 * r.hit_rate, 100 * r.oracle_hit_rate, 100 * r.share), text, re.M), text
    assert re.search(r"^decode loads +stable layers none, transient 0-%d; 3 ticks; 1 ticks ahead"
                     % (layers - 1), text, re.M), text
    assert "0 issued, 0 used, 0 wasted; now off" in text, text
    until(lambda: any("Oracle share: " in line for line in small.log), 30, "the status line")
    small.stop()


def paging_flags_do_not_change_answers(server):
    expected = ask(server, text=STORY, max_tokens=20, ignore_eos=True, logprobs=True)
    for flags in (("--policy", "lru", "--prefetch", "on", "--predictor", "previous"),
                  ("--policy", "lfu", "--prefetch", "on", "--predictor", "lookahead"),
                  ("--policy", "random", "--stream-layers", "2", "--device-experts", "80")):
        other = Server(MOERING, "--device-experts", "24", *flags)
        got = ask(other, text=STORY, max_tokens=20, ignore_eos=True, logprobs=True)
        assert got.tokens == expected.tokens, flags
        assert [d.logprob for d in got.logprobs] == [d.logprob for d in expected.logprobs], flags
        s = other.stub.stats()
        asked = {"previous", "lookahead"} & set(flags)
        assert not asked or s.foresight.predictor in asked, (flags, s.foresight)
        assert s.stream.layers == (2 if "--stream-layers" in flags else s.stream.layers), s.stream
        assert any(line.split()[:2] == ["policy", flags[1]] for line in other.log), other.log
        other.stop()


# ---- moering-client ----

def client_refuses_what_has_no_use(server):
    cases = [
        ("generate --temprature 0 x", "unknown flag '--temprature'; did you mean '--temperature'?"),
        ("generate --temp 0 x", "unknown flag '--temp'; did you mean '--temperature'?"),
        ("generat x", "unknown command 'generat'; did you mean 'generate'?"),
        ("stats -p hi", "stats takes no -p"), ("tokenize --echo x", "tokenize takes no --echo"),
        ("--pieces stats", "stats takes no --pieces"),
        ("generate --logprobs x", "--logprobs shows only with --json"),
        ("generate x --tokens 1", "not both"), ("health --json=yes", "--json takes no value"),
    ]
    for words, says in cases:
        done = subprocess.run([CLIENT, *words.split(), "--connect", server.address], text=True,
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == 2 and done.stdout == "", (words, done)
        assert done.stderr == done.stderr.splitlines()[0] + "\n" and says in done.stderr, done


def client_shows_pieces(server):
    def client(*words):
        return subprocess.run([CLIENT, *words, "--connect", server.address], text=True, check=True,
                              capture_output=True, timeout=60).stdout
    text = "h\u00e9 \u20ac\n12"
    t = server.stub.tokenize(pb.TokenizeRequest(text=text.encode(), with_pieces=True))
    lines = [line.split("\t") for line in client("tokenize", "--pieces", text).splitlines()]
    in_json = json.loads(client("tokenize", "--pieces", "--json", text))
    assert [int(line[0]) for line in lines] == list(t.tokens) == in_json["tokens"]
    assert [json.loads(line[1]) for line in lines] == in_json["pieces"]
    as_bytes = [p.encode() if isinstance(p, str) else bytes(p) for p in in_json["pieces"]]
    assert as_bytes == list(t.pieces)
    a = json.loads(client("generate", "--json", "--temperature", "0", "--top-logprobs", "2", "-n",
                          "6", "--ignore-eos", STORY.decode()))
    assert "".join(d["top"][0]["piece"] for d in a["logprobs"]) == a["text"], a


def main():
    server = Server(MOERING, "--served-model-name", "tiny", "--status-interval", 1)
    code = run_cases([
        text_in_text_out, ids_are_as_good_as_text, max_tokens_is_the_limit,
        the_context_is_the_limit, logprobs_are_of_the_chosen, stop_texts_end_the_output,
        stop_tokens_end_the_output, min_tokens_forbids_the_end, seeds_repeat,
        a_seeded_server_repeats_itself, echo_comes_first, tokens_and_text_go_round,
        model_and_stats_tell, neighbours_do_not_matter, deadline_ends_and_frees,
        cancel_frees_at_once, killed_client_frees, client_killed_in_prefill_frees,
        client_killed_in_the_queue_frees, bad_requests_are_named, garbage_is_survived,
        reflection_lists_the_services, health_knows_the_service, thousand_streams_finish,
        preempted_requests_answer_the_same, a_small_ring_answers_the_same,
        the_best_possible_is_known, a_trained_forecast_of_loads_is_believed,
        paging_flags_do_not_change_answers, slow_reader_pauses_its_request,
        stalled_reader_is_cut_off, full_queue_is_told, priority_overtakes_the_queue,
        client_refuses_what_has_no_use, client_shows_pieces,
    ], server)
    server.wait_idle()
    server.stop()
    if not os.environ.get("MOERING_TEST_CASE"):
        assert any("Avg generation throughput" in line for line in server.log), "no status line"
    assert not any("One sunny day" in line for line in server.log), "a prompt was logged"
    return code


if __name__ == "__main__":
    sys.exit(main())

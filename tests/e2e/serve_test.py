"""The whole server on its built-in model, driven by a stock grpcio.

    serve_test.py MOERING MOERING_CLIENT
"""
import concurrent.futures
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from grpc_wire import run_cases
from moering_wire import (Answer, Server, Stub, TINY, greedy, grpc, health_pb, pb, status_of, until)

MOERING, CLIENT = sys.argv[1:3]
CODE = grpc.StatusCode
PROMPT = b"Q: What is 12 + 34?\nA:"
STORY = b"One sunny day Ada went to the river."
STOP, LENGTH = pb.FINISH_REASON_STOP, pb.FINISH_REASON_LENGTH


def ask(server, **kw):
    return Answer(server.stub.generate(greedy(**kw), timeout=120))


def endless(server, tokens=900, **kw):
    return server.stub.generate(greedy(text=STORY, max_tokens=tokens, ignore_eos=True, **kw))


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

def deadline_ends_and_frees(server):
    code, _ = status_of(server.stub.generate(
        greedy(text=STORY, max_tokens=1000, ignore_eos=True), timeout=0.02))
    assert code == CODE.DEADLINE_EXCEEDED
    server.wait_idle()


def cancel_frees_at_once(server):
    before = server.stub.stats().requests_cancelled
    call = endless(server)
    next(call)
    assert server.stub.stats().requests_running == 1
    steps = server.stub.stats().steps
    call.cancel()
    server.wait_idle(5)
    assert server.stub.stats().requests_cancelled > before
    assert server.stub.stats().steps < steps + 800, "it ran on"


def killed_client_frees(server):
    process = subprocess.Popen([CLIENT, "generate", "--connect", server.address, "-p",
                                STORY.decode(), "--ignore-eos", "-n", "950"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.read(1)
    process.kill()
    process.wait()
    server.wait_idle(5)
    process.stdout.close()


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
    server = Server(MOERING, "--grpc-max-unsent-bytes", "2KiB", "--client-stall-timeout", "600")
    stub = Stub(server.address, [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)])
    call = stub.generate(greedy(text=STORY, max_tokens=900, ignore_eos=True, top_logprobs=20))
    next(call)

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
    server = Server(MOERING, "--grpc-max-unsent-bytes", "2KiB", "--client-stall-timeout", "1")
    stub = Stub(server.address, [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)])
    call = stub.generate(greedy(text=STORY, max_tokens=900, ignore_eos=True, top_logprobs=20))
    next(call)
    server.wait_idle(20)
    code, why = status_of(call)
    assert code == CODE.ABORTED and "--client-stall-timeout" in why, (code, why)
    server.stop()


def full_queue_is_told(_):
    server = Server(MOERING, "--max-num-seqs", 1, "--max-queue", 1)
    calls = [endless(server)]
    next(calls[0])
    calls.append(endless(server))
    until(lambda: server.stub.stats().requests_waiting == 1, 10, "the second to wait")
    code, why = status_of(endless(server))
    assert code == CODE.RESOURCE_EXHAUSTED and "queue full" in why, (code, why)
    assert server.stub.stats().requests_rejected == 1
    for call in calls:
        call.cancel()
    server.wait_idle(5)
    assert ask(server, text=PROMPT, max_tokens=2).tokens
    server.stop()


def priority_overtakes_the_queue(_):
    server = Server(MOERING, "--max-num-seqs", 1)
    blocker = endless(server, 300)
    next(blocker)
    order, lock = [], threading.Lock()

    def wait_for(name, call):
        list(call)
        with lock:
            order.append(name)
    threads = []
    for name, priority in (("low", -1), ("first", 0), ("second", 0), ("high", 9)):
        call = endless(server, 3, priority=priority)
        waiting = len(threads) + 1
        until(lambda: server.stub.stats().requests_waiting == waiting, 10, "it to wait")
        threads.append(threading.Thread(target=wait_for, args=(name, call)))
        threads[-1].start()
    blocker.cancel()
    for t in threads:
        t.join(60)
    assert order == ["high", "first", "second", "low"], order
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


# ---- start and end ----

def drain_loses_nothing(_):
    server = Server(MOERING, "--max-num-seqs", 8)
    watch = server.stub.watch(health_pb.HealthCheckRequest(service="moering.v1.Moering"))
    assert next(watch).status == health_pb.HealthCheckResponse.SERVING
    calls = [endless(server, 40) for _ in range(40)]
    until(lambda: server.stub.stats().requests_running + server.stub.stats().requests_waiting +
          server.stub.stats().requests_finished == 40, 20, "all to be accepted")
    server.process.terminate()
    assert next(watch).status == health_pb.HealthCheckResponse.NOT_SERVING
    assert all(len(Answer(call).tokens) == 40 for call in calls)
    assert server.wait_exit() == 0, server.log[-20:]
    assert any("requests to finish" in line for line in server.log)


def new_work_is_refused_while_draining(_):
    server = Server(MOERING)
    call = endless(server)
    next(call)
    server.process.terminate()
    until(lambda: any("shutting down" in line for line in server.log), 10, "the drain")
    code, _ = status_of(Stub(server.address).generate(greedy(text=b"x"), timeout=5))
    assert code == CODE.UNAVAILABLE, code
    assert len(Answer(call).tokens) >= 890
    assert server.wait_exit() == 0


def second_signal_cuts_off(_):
    server = Server(MOERING, "--max-num-seqs", 1)
    calls = [endless(server) for _ in range(20)]
    next(calls[0])
    server.process.send_signal(signal.SIGINT)
    until(lambda: any("shutting down" in line for line in server.log), 10, "the drain")
    server.process.send_signal(signal.SIGINT)
    codes = set()
    for call in calls:
        try:
            list(call)
        except grpc.RpcError as e:
            codes.add(e.code())
    assert codes == {CODE.UNAVAILABLE}, codes
    assert server.wait_exit() == 1
    assert any("were cut off" in line for line in server.log)


def shutdown_timeout_cuts_off(_):
    server = Server(MOERING, "--max-num-seqs", 1, "--shutdown-timeout", 0)
    calls = [endless(server) for _ in range(10)]
    next(calls[0])
    server.process.terminate()
    assert server.wait_exit(20) == 1
    assert CODE.UNAVAILABLE in {status_of(c)[0] for c in calls[1:]}


def loading_is_watched(_):
    server = Server(MOERING, wait=False)
    seen = []
    watch = server.stub.watch(health_pb.HealthCheckRequest(), wait_for_ready=True, timeout=60)
    for answer in watch:
        seen.append(answer.status)
        if answer.status == health_pb.HealthCheckResponse.SERVING:
            break
    assert seen in ([health_pb.HealthCheckResponse.NOT_SERVING,
                     health_pb.HealthCheckResponse.SERVING],
                    [health_pb.HealthCheckResponse.SERVING]), seen
    assert any("KV cache" in line for line in server.log), "the budget is printed"
    assert any(line.startswith("  max-num-seqs") and "(default)" in line for line in server.log)
    server.stop()


def a_broken_model_is_named(_):
    folder = tempfile.mkdtemp(prefix="moering-broken-")
    try:
        for name in os.listdir(TINY):
            shutil.copy(os.path.join(TINY, name), folder)
        with open(os.path.join(folder, "model.safetensors"), "r+b") as f:
            f.truncate(100000)
        server = Server(MOERING, model=folder, wait=False)
        assert server.wait_exit() == 1
        assert any(line.startswith("moering: ") and "model.safetensors" in line
                   for line in server.log), server.log
    finally:
        shutil.rmtree(folder)


def a_taken_port_is_named(server):
    result = subprocess.run([MOERING, "serve", TINY, "--grpc-port", str(server.port)],
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and str(server.port) in result.stderr, result.stderr


def main():
    server = Server(MOERING, "--served-model-name", "tiny", "--status-interval", 1)
    code = run_cases([
        text_in_text_out, ids_are_as_good_as_text, max_tokens_is_the_limit,
        the_context_is_the_limit, logprobs_are_of_the_chosen, stop_texts_end_the_output,
        stop_tokens_end_the_output, min_tokens_forbids_the_end, seeds_repeat, echo_comes_first,
        tokens_and_text_go_round, model_and_stats_tell, neighbours_do_not_matter,
        deadline_ends_and_frees, cancel_frees_at_once, killed_client_frees, bad_requests_are_named,
        garbage_is_survived, reflection_lists_the_services, health_knows_the_service,
        thousand_streams_finish, preempted_requests_answer_the_same, a_small_ring_answers_the_same,
        a_taken_port_is_named, slow_reader_pauses_its_request, stalled_reader_is_cut_off,
        full_queue_is_told, priority_overtakes_the_queue, drain_loses_nothing,
        new_work_is_refused_while_draining, second_signal_cuts_off, shutdown_timeout_cuts_off,
        loading_is_watched, a_broken_model_is_named,
    ], server)
    server.wait_idle()
    server.stop()
    assert any("Avg generation throughput" in line for line in server.log), "no status line"
    assert not any("One sunny day" in line for line in server.log), "a prompt was logged"
    return code


if __name__ == "__main__":
    sys.exit(main())

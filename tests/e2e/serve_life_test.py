"""How a server begins, changes and ends: loading, budgets, SIGHUP, logs, draining, being cut off.

    serve_life_test.py MOERING MOERING_CLIENT
"""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from grpc_wire import run_cases
from http2_raw import Client, grpc_headers, message
from moering_wire import (PAUSING, STORY, TINY, Answer, Server, Stub, ask, endless, greedy, grpc, health_pb,
                          paused_stream, pb, slow_server, status_of, until)

MOERING, CLIENT = sys.argv[1:3]
CODE = grpc.StatusCode
SEATS = 8


# ---- start and end ----

def drain_loses_nothing(_):
    server = slow_server(MOERING, "--shutdown-timeout", 600)
    watch = server.stub.watch(health_pb.HealthCheckRequest(service="moering.v1.Moering"))
    assert next(watch).status == health_pb.HealthCheckResponse.SERVING
    count = 3 * SEATS
    calls = [endless(server, 60) for _ in range(count)]

    def accepted():
        s = server.stub.stats()
        return s.requests_running + s.requests_waiting + s.requests_finished == count
    until(accepted, 60, "all to be accepted")
    server.process.terminate()
    assert next(watch).status == health_pb.HealthCheckResponse.NOT_SERVING
    assert all(len(Answer(call).tokens) == 60 for call in calls)
    assert server.wait_exit() == 0, server.log[-20:]
    told = [int(n) for n in re.findall(r"(\d+) requests to finish", "\n".join(server.log))]
    assert len(told) == 1 and SEATS <= told[0] <= count, (told, server.log[-20:])


def new_work_is_refused_while_draining(_):
    server = Server(MOERING, *PAUSING, 600, "--shutdown-timeout", 600)
    path = "/moering.v1.Moering/"
    with Client(server) as raw:  # its stream is open before the drain, its request comes after
        stream = raw.request(grpc_headers(path + "Generate"), end=False)
        assert raw.call(path + "GetStats", message()).status == CODE.OK.value[0]
        call = paused_stream(server)
        server.process.terminate()
        until(lambda: any("shutting down: 1 requests" in line for line in server.log), 30, "it")
        body = message(greedy(text=b"x", max_tokens=1).SerializeToString())
        raw.send(raw.data(stream, body))
        refused = raw.wait(stream, 60)
        assert refused.status == CODE.UNAVAILABLE.value[0], refused.fields
        assert "shutting down" in refused.fields["grpc-message"], refused.fields
    code, why = status_of(Stub(server.address).generate(greedy(text=b"x"), timeout=30))
    assert code == CODE.UNAVAILABLE, (code, why)
    assert server.process.poll() is None, "it has not waited for its stream"
    assert 1 + sum(len(c.tokens) for c in call) >= 900
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
    loading, serving = (health_pb.HealthCheckResponse.NOT_SERVING,
                        health_pb.HealthCheckResponse.SERVING)
    for seats in (1000, 5000, 25000):  # more of them open more slowly: slow enough to be seen
        server = Server(MOERING, "--max-num-seqs", seats, "--max-num-batched-tokens", seats,
                        wait=False)
        seen = []
        for answer in server.stub.watch(health_pb.HealthCheckRequest(), wait_for_ready=True,
                                        timeout=120):
            seen.append(answer.status)
            if answer.status == serving:
                break
        assert any("KV cache" in line for line in server.log), "the budget is printed"
        assert any(line.startswith("  max-model-len") and "(default)" in line
                   for line in server.log)
        server.stop()
        if seen != [serving]:
            break
    assert seen == [loading, serving], seen


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
    assert result.returncode == 1, result
    assert result.stderr.splitlines()[-1] == (
        "moering: --host, --grpc-port: cannot listen on 127.0.0.1 port %d: Address already in use" % server.port)


# ---- another budget while it serves ----

def budget_fails(server, code, says, **kw):
    try:
        server.stub.budget(pb.SetBudgetRequest(**kw), timeout=60)
    except grpc.RpcError as e:
        assert e.code() == code and says in e.details(), (kw, e.code(), e.details())
        return
    raise AssertionError("SetBudget(%s) succeeded" % kw)


def budgets_change_under_load(server):
    prompts = [b"Q: What is %d + %d?\nA:" % (21 + i, 63 - i) for i in range(12)]
    sizes = (("5", "2MiB"), ("100%", "8MiB"), ("25%", "1MiB"), ("1", "1MiB"), ("60", "4MiB"))

    def each(ask_one):
        with concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
            return list(pool.map(ask_one, prompts))
    expected = each(lambda p: ask(server, text=p, max_tokens=120, ignore_eos=True, logprobs=True))
    other = Server(MOERING, "--max-model-len", 300, "--host-experts", 20, "--threads", 1)
    stop, answers = threading.Event(), []

    def change():
        for i in range(10000):
            if stop.is_set() and i >= 2 * len(sizes):
                break
            ring, kv = sizes[i % len(sizes)]
            answers.append(other.stub.budget(pb.SetBudgetRequest(
                device_experts=ring, kv_cache_bytes=kv, host_experts=str(1 + i % 50)), timeout=120))
            time.sleep(0.03)  # a few steps
    changer = threading.Thread(target=change)
    changer.start()
    try:
        got = each(lambda p: ask(other, text=p, max_tokens=120, ignore_eos=True, logprobs=True))
    finally:
        stop.set()
        changer.join(120)
    for a, b in zip(expected, got):
        assert a.tokens == b.tokens
        assert [d.logprob for d in a.logprobs] == [d.logprob for d in b.logprobs]
    preempted = sum(a.preempted_requests for a in answers)
    assert preempted > 0 and sum(a.usage.preemptions for a in got) >= preempted, preempted
    for before, after in zip(answers, answers[1:]):
        assert before.after == after.before, (before, after)
    pages = other.stub.model(pb.GetModelRequest()).expert_pages
    assert {a.after.device_slots for a in answers} == {5, pages, pages // 4, 1, 60}, answers[0]
    last, model, stats = answers[-1].after, other.stub.model(pb.GetModelRequest()), other.stub.stats()
    assert (model.device_slots, model.device_slot_bytes, model.host_slots, model.kv_bytes) == (
        last.device_slots, last.device_bytes, last.host_slots, last.kv_bytes), (model, last)
    assert [t.slots for t in stats.tiers] == [last.device_slots, last.host_slots], stats.tiers
    assert stats.kv_blocks == last.kv_blocks and stats.requests_failed == 0, stats
    assert any("memory budget: device slots " in line for line in other.log), other.log[-5:]
    other.stop()


def bad_budgets_change_nothing(_):
    server = Server(MOERING, "--device-experts", 40, "--max-model-len", 300, "--max-num-seqs", 4)
    invalid, exhausted = CODE.INVALID_ARGUMENT, CODE.RESOURCE_EXHAUSTED
    before = server.stub.model(pb.GetModelRequest())
    budget_fails(server, invalid, "none of device_experts, host_experts and kv_cache_bytes")
    budget_fails(server, invalid, "device_experts: '101%' is above 100%", device_experts="101%")
    budget_fails(server, invalid, "--device-experts: 0 pages", device_experts="0")
    budget_fails(server, invalid, "--host-experts: the tier was not there", host_experts="25%")
    budget_fails(server, invalid, "one sequence of --max-model-len 300", kv_cache_bytes="4KiB")
    budget_fails(server, exhausted, "--kv-cache-bytes", kv_cache_bytes="100TB", device_experts="9")
    assert server.stub.model(pb.GetModelRequest()) == before
    done = subprocess.run([CLIENT, "budget", "--device-experts", "25%", "--connect",
                           server.address], text=True, capture_output=True, timeout=60, check=True)
    assert re.search(r"^before +device 40 slots.*\nafter +device 48 slots", done.stdout), done
    done = subprocess.run([CLIENT, "budget", "--kv-cache-bytes", "8MiB", "--json", "--connect",
                           server.address], text=True, capture_output=True, timeout=60, check=True)
    told = json.loads(done.stdout)
    assert told["after"]["kv_bytes"] <= 8 << 20 and told["after"]["device_slots"] == 48, told
    for words, code, says in ((("--host-experts", "3"), 1, "INVALID_ARGUMENT: --host-experts"),
                              ((), 2, "budget needs --device-experts")):
        done = subprocess.run([CLIENT, "budget", *words, "--connect", server.address], text=True,
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == code and says in done.stderr and not done.stdout, done
    server.stop()


def hangup_reads_the_settings_again(server):
    def slots():
        return other.stub.model(pb.GetModelRequest()).device_slots

    def hang_up(text, *says):
        if text is not None:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        seen = len(other.log)
        other.process.send_signal(signal.SIGHUP)
        until(lambda: all(any(s in line for line in other.log[seen:]) for s in says), 60,
              "%s in the log" % (says,))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("device-experts: 30\nmax-num-seqs: 4\n")
        other = Server(MOERING, "--config", path, "--max-model-len", 1000)
        assert slots() == 30
        call = endless(other)
        first = next(call)
        hang_up("device-experts: 5\nkv-cache-bytes: 4MiB\nmax-num-seqs: 5\nhost: 10.0.0.1\n",
                "memory budget: device slots 30 -> 5",
                "these settings have changed and wait for a restart: max-num-seqs, host")
        assert slots() == 5
        hang_up("device-experts: 5\nkv-cache-bytes: 4MiB\nmax-num-seqs: 4\n",
                "read again, no size in it has changed")
        hang_up("device-experts: 0\nkv-cache-bytes: 4MiB\n", "the memory budget stays as it is: --d")
        hang_up("device-experts: x\n", "SIGHUP: nothing is changed: " + path + ":1: device-experts")
        os.unlink(path)
        hang_up(None, "SIGHUP: nothing is changed: --config " + path)
        assert slots() == 5
        hang_up("device-experts: 50%\nkv-cache-bytes: 4MiB\n", "device slots 5 -> 96")
        tokens = list(first.tokens) + [t for c in call for t in c.tokens]
        assert tokens == ask(server, text=STORY, max_tokens=900, ignore_eos=True).tokens
        other.stop()
    other = Server(MOERING)
    hang_up(None, "SIGHUP: nothing is changed: there is no settings file (--config) to read again")
    other.stop()


def log_lines_go_to_a_file_as_json(_):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        other = Server(MOERING, "--log-file", path, "--log-jsonl")
        ask(other, text=STORY, max_tokens=2)
        os.rename(path, path + ".1")
        other.process.send_signal(signal.SIGHUP)
        until(lambda: os.path.exists(path), 30, "the log to be opened again")
        other.stop()
        lines = []
        for name in (path + ".1", path):
            with open(name, encoding="utf-8") as f:
                lines.append([json.loads(line) for line in f])
        assert all(set(line) == {"ts", "level", "msg"} for file in lines for line in file)
        assert any(line["msg"].startswith("request 1 ") for line in lines[0])
        assert lines[1], "the end is told in the new file"
        assert not any("INFO" in line for line in other.log), other.log
    missing = os.path.join(folder, "log")
    r = subprocess.run([MOERING, "serve", "--log-file", missing], capture_output=True, text=True, timeout=60,
                       check=False)
    assert r.returncode == 1 and "--log-file" in r.stderr and missing in r.stderr, r


def main():
    server = Server(MOERING, "--status-interval", 0)
    code = run_cases([
        a_taken_port_is_named, drain_loses_nothing, new_work_is_refused_while_draining,
        second_signal_cuts_off, shutdown_timeout_cuts_off, loading_is_watched,
        a_broken_model_is_named, budgets_change_under_load, bad_budgets_change_nothing,
        hangup_reads_the_settings_again, log_lines_go_to_a_file_as_json,
    ], server)
    server.wait_idle()
    server.stop()
    return code


if __name__ == "__main__":
    sys.exit(main())

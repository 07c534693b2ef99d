"""What the tests of the whole server share: the process, its stubs, and small waits."""
import atexit
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from grpc_wire import GRPC_PROTO_DIR, need, skip

SOURCE = os.environ.get("MOERING_SOURCE_DIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", ".."))
TINY = os.path.join(SOURCE, "deploy", "models", "tiny")

grpc = need("grpc", "python3-grpcio")


def make_messages():
    """(moering, health, reflection v1, reflection v1alpha) modules, made by protoc."""
    need("google.protobuf", "python3-protobuf")
    if not shutil.which("protoc") or not os.path.isdir(GRPC_PROTO_DIR):
        skip("Debian packages protobuf-compiler and grpc-proto are needed")
    folder = tempfile.mkdtemp(prefix="moering-pb-")
    atexit.register(shutil.rmtree, folder, True)
    ours = os.path.join(SOURCE, "proto")
    subprocess.run(["protoc", "-I" + GRPC_PROTO_DIR, "-I" + ours, "--python_out=" + folder,
                    "moering/v1/moering.proto", "grpc/health/v1/health.proto",
                    "grpc/reflection/v1/reflection.proto",
                    "grpc/reflection/v1alpha/reflection.proto"], check=True)
    sys.path.insert(0, folder)
    grpc.__path__.append(os.path.join(folder, "grpc"))
    return [importlib.import_module(name) for name in (
        "moering.v1.moering_pb2", "grpc.health.v1.health_pb2", "grpc.reflection.v1.reflection_pb2",
        "grpc.reflection.v1alpha.reflection_pb2")]


pb, health_pb, reflection_pb, reflection_alpha_pb = make_messages()
STORY = b"One sunny day Ada went to the river."
PAUSING = ("--grpc-max-unsent-bytes", "2KiB", "--client-stall-timeout")


class Stub:
    def __init__(self, address, options=()):
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.use_local_subchannel_pool", 1), *options])

        def of(kind, path, request, response):
            return getattr(self.channel, kind)(path, request.SerializeToString, response.FromString)
        ours = "/moering.v1.Moering/"
        self.generate = of("unary_stream", ours + "Generate", pb.GenerateRequest, pb.GenerateChunk)
        self.tokenize = of("unary_unary", ours + "Tokenize", pb.TokenizeRequest,
                           pb.TokenizeResponse)
        self.detokenize = of("unary_unary", ours + "Detokenize", pb.DetokenizeRequest,
                             pb.DetokenizeResponse)
        self.model = of("unary_unary", ours + "GetModel", pb.GetModelRequest, pb.GetModelResponse)
        self.budget = of("unary_unary", ours + "SetBudget", pb.SetBudgetRequest,
                         pb.SetBudgetResponse)
        self.stats_call = of("unary_unary", ours + "GetStats", pb.GetStatsRequest,
                             pb.GetStatsResponse)
        health = "/grpc.health.v1.Health/"
        self.check = of("unary_unary", health + "Check", health_pb.HealthCheckRequest,
                        health_pb.HealthCheckResponse)
        self.watch = of("unary_stream", health + "Watch", health_pb.HealthCheckRequest,
                        health_pb.HealthCheckResponse)
        self.reflect = {
            module: of("stream_stream",
                       "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version,
                       module.ServerReflectionRequest, module.ServerReflectionResponse)
            for version, module in (("v1", reflection_pb), ("v1alpha", reflection_alpha_pb))}

    def stats(self):
        return self.stats_call(pb.GetStatsRequest(), timeout=30)


class Server:
    """`moering serve` on free ports. Its standard error is kept in `log`, line by line."""

    def __init__(self, program, *options, model=TINY, wait=True):
        self.log = []
        self.port = self.http_port = None
        self.process = subprocess.Popen(
            [program, "serve", model, "--grpc-port", "0", "--port", "0", *map(str, options)],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace")
        atexit.register(self.process.kill)
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.listening.wait(60) and self.port, "did not listen:\n" + "\n".join(self.log)
        self.address = "127.0.0.1:%d" % self.port
        self.stub = Stub(self.address)
        if wait:
            self.wait_serving()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            found = re.search(r"gRPC on \S+:(\d+)", line)
            if found:
                self.port = int(found.group(1))
            found = re.search(r"HTTP on \S+:(\d+)", line)
            if found: # said after the other
                self.http_port = int(found.group(1))
                self.listening.set()
        self.listening.set()

    def wait_serving(self, timeout=120):
        until(lambda: self.stub.check(health_pb.HealthCheckRequest(), timeout=60).status ==
              health_pb.HealthCheckResponse.SERVING, timeout, "the server to serve")

    def wait_idle(self, timeout=30):
        def idle():
            s = self.stub.stats()
            return s.requests_running == 0 and s.requests_waiting == 0 and s.kv_blocks_used == 0
        until(idle, timeout, "all seats and KV blocks to be free")

    def wait_exit(self, timeout=60):
        code = self.process.wait(timeout)
        self.reader.join(10)
        return code

    def stop(self, timeout=60):
        self.process.terminate()
        code = self.wait_exit(timeout)
        assert code == 0, "exit code %d\n%s" % (code, "\n".join(self.log[-30:]))


def slow_server(program, *options, seats=8):
    """A step takes milliseconds, so that long requests take seconds on any machine."""
    return Server(program, "--isa", "scalar", "--threads", 1, "--io", "sync", "--device-experts", 1,
                  "--max-num-seqs", seats, "--max-num-batched-tokens", seats, *options)


def until(condition, timeout, what):
    deadline = time.monotonic() + timeout
    while True:
        try:
            if condition():
                return
        except grpc.RpcError as e:
            if e.code() != grpc.StatusCode.UNAVAILABLE:
                raise
        assert time.monotonic() < deadline, "waited %g s for %s" % (timeout, what)
        time.sleep(0.01)


class Answer:
    """A whole Generate call."""

    def __init__(self, chunks):
        self.chunks = list(chunks)
        self.text = b"".join(c.text for c in self.chunks)
        self.tokens = [t for c in self.chunks for t in c.tokens]
        self.logprobs = [d for c in self.chunks for d in c.logprobs]
        self.last = self.chunks[-1]
        self.usage = self.last.usage
        ended = [c for c in self.chunks if c.finish_reason]
        assert ended == [self.last], "finish_reason must be in the last chunk alone"
        for c in self.chunks:
            c.text.decode("utf-8")  # never half a character


def greedy(**kw):
    kw.setdefault("sampling", pb.SamplingParams(temperature=0))
    return pb.GenerateRequest(**kw)


def ask(server, **kw):
    return Answer(server.stub.generate(greedy(**kw), timeout=120))


def endless(server, tokens=900, timeout=None, **kw):
    return server.stub.generate(greedy(text=STORY, max_tokens=tokens, ignore_eos=True, **kw),
                                timeout=timeout)


def paused_stream(server):
    """A stream that cannot end before its reader goes on (its call is paused, see PAUSING)."""
    stub = Stub(server.address, [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)])
    call = stub.generate(greedy(text=STORY, max_tokens=900, ignore_eos=True, top_logprobs=20))
    next(call)
    return call


def status_of(call):
    """(code, details) of a call that must fail."""
    try:
        list(call)
    except grpc.RpcError as e:
        return e.code(), e.details()
    raise AssertionError("the call succeeded")

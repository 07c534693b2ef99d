"""gRPC's interoperability cases, health, reflection and keepalive against interop_server, with a
stock grpcio.

    grpc_interop.py INTEROP_SERVER
"""
import sys
import threading
import time

from grpc_wire import Server, messages, need, run_cases

grpc = need("grpc", "python3-grpcio")
empty_pb2, pb, _, health_pb2, reflection_pb2, reflection_alpha_pb2 = messages(
    "grpc/testing/empty.proto", "grpc/testing/messages.proto", "grpc/testing/test.proto",
    "grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto")

TEST = "/grpc.testing.TestService/"
LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159


class Stub:
    def __init__(self, channel):
        def of(kind, path, request, response):
            return getattr(channel, kind)(path, request.SerializeToString, response.FromString)
        empty = empty_pb2.Empty
        self.empty = of("unary_unary", TEST + "EmptyCall", empty, empty)
        self.unary = of("unary_unary", TEST + "UnaryCall", pb.SimpleRequest, pb.SimpleResponse)
        self.output = of("unary_stream", TEST + "StreamingOutputCall",
                         pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse)
        self.input = of("stream_unary", TEST + "StreamingInputCall",
                        pb.StreamingInputCallRequest, pb.StreamingInputCallResponse)
        self.duplex = of("stream_stream", TEST + "FullDuplexCall",
                         pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse)
        self.half_duplex = of("stream_stream", TEST + "HalfDuplexCall",
                              pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse)
        self.no_method = of("unary_unary", TEST + "UnimplementedCall", empty, empty)
        self.no_service = of("unary_unary",
                             "/grpc.testing.UnimplementedService/UnimplementedCall", empty, empty)
        control = "/grpc.testing.XdsUpdateHealthService/"
        self.set_serving = of("unary_unary", control + "SetServing", empty, empty)
        self.set_not_serving = of("unary_unary", control + "SetNotServing", empty, empty)
        self.stats_call = of("unary_unary",
                             "/grpc.testing.LoadBalancerStatsService/GetClientStats",
                             pb.LoadBalancerStatsRequest, pb.LoadBalancerStatsResponse)
        health = "/grpc.health.v1.Health/"
        self.check = of("unary_unary", health + "Check", health_pb2.HealthCheckRequest,
                        health_pb2.HealthCheckResponse)
        self.watch = of("unary_stream", health + "Watch", health_pb2.HealthCheckRequest,
                        health_pb2.HealthCheckResponse)
        self.reflect = {
            module: of("stream_stream", "/grpc.reflection.%s.ServerReflection/"
                       "ServerReflectionInfo" % version, module.ServerReflectionRequest,
                       module.ServerReflectionResponse)
            for version, module in (("v1", reflection_pb2), ("v1alpha", reflection_alpha_pb2))}

    def stats(self):
        return dict(self.stats_call(pb.LoadBalancerStatsRequest()).rpcs_by_peer)


def zeros(n):
    return pb.Payload(body=b"\0" * n)


def expect_error(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        return error
    raise AssertionError("no error, expected %s" % code)


def eventually(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen within %g s" % seconds
        time.sleep(0.01)


def sizes_request(*sizes, **kw):
    return pb.StreamingOutputCallRequest(
        response_parameters=[pb.ResponseParameters(size=n, **kw) for n in sizes])


# ---- the cases of the interoperability suite ----

def empty_unary(stub, server):
    assert stub.empty(empty_pb2.Empty()) == empty_pb2.Empty()


def large_unary(stub, server):
    response = stub.unary(pb.SimpleRequest(response_size=LARGE_RESPONSE,
                                           payload=zeros(LARGE_REQUEST)))
    assert response.payload.body == b"\0" * LARGE_RESPONSE


def client_compressed_unary(stub, server):
    def call(expect, compression):
        return stub.unary(pb.SimpleRequest(expect_compressed=pb.BoolValue(value=expect),
                                           response_size=LARGE_RESPONSE,
                                           payload=zeros(LARGE_REQUEST)), compression=compression)
    expect_error(grpc.StatusCode.INVALID_ARGUMENT, lambda: call(True, None))
    for expect, compression in ((True, grpc.Compression.Gzip), (False, None)):
        assert len(call(expect, compression).payload.body) == LARGE_RESPONSE


def server_compressed_unary(stub, server):
    for compressed in (True, False):
        call = stub.unary.with_call(pb.SimpleRequest(
            response_compressed=pb.BoolValue(value=compressed), response_size=LARGE_RESPONSE,
            payload=zeros(LARGE_REQUEST)))
        assert len(call[0].payload.body) == LARGE_RESPONSE


def client_streaming(stub, server):
    sizes = [27182, 8, 1828, 45904]
    requests = (pb.StreamingInputCallRequest(payload=zeros(n)) for n in sizes)
    assert stub.input(requests).aggregated_payload_size == sum(sizes)


def client_compressed_streaming(stub, server):
    request = pb.StreamingInputCallRequest(expect_compressed=pb.BoolValue(value=True),
                                           payload=zeros(27182))
    expect_error(grpc.StatusCode.INVALID_ARGUMENT, lambda: stub.input(iter([request])))
    response = stub.input(iter([request, request]), compression=grpc.Compression.Gzip)
    assert response.aggregated_payload_size == 2 * 27182


def server_streaming(stub, server):
    sizes = [31415, 9, 2653, 58979]
    got = [len(r.payload.body) for r in stub.output(sizes_request(*sizes))]
    assert got == sizes, got


def server_compressed_streaming(stub, server):
    request = pb.StreamingOutputCallRequest(response_parameters=[
        pb.ResponseParameters(size=31415, compressed=pb.BoolValue(value=True)),
        pb.ResponseParameters(size=92653, compressed=pb.BoolValue(value=False))])
    assert [len(r.payload.body) for r in stub.output(request)] == [31415, 92653]


def ping_pong(stub, server):
    turn = threading.Semaphore(1)
    sizes = list(zip([27182, 8, 1828, 45904], [31415, 9, 2653, 58979]))

    def requests():
        for request_size, response_size in sizes:
            turn.acquire()
            request = sizes_request(response_size)
            request.payload.body = b"\0" * request_size
            yield request
    got = []
    for response in stub.duplex(requests()):
        got.append(len(response.payload.body))
        turn.release()
    assert got == [s[1] for s in sizes], got


def empty_stream(stub, server):
    assert list(stub.duplex(iter([]))) == []


def half_duplex(stub, server):
    responses = stub.half_duplex(iter([sizes_request(5), sizes_request(6)]))
    assert [len(r.payload.body) for r in responses] == [5, 6]


def custom_metadata(stub, server):
    initial = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
    trailing = ("x-grpc-test-echo-trailing-bin", b"\x0a\x0b\x0a\x0b\x0a\x0b")
    _, call = stub.unary.with_call(
        pb.SimpleRequest(response_size=1, payload=zeros(1)), metadata=(initial, trailing))
    assert initial in call.initial_metadata() and trailing in call.trailing_metadata()
    call = stub.duplex(iter([sizes_request(1)]), metadata=(initial, trailing))
    assert len(list(call)) == 1
    assert initial in call.initial_metadata() and trailing in call.trailing_metadata()
    for size in range(0, 10):  # every length of the last base64 group
        value = (trailing[0], bytes(range(250, 250 + size)) if size < 6 else b"\xff" * size)
        _, call = stub.unary.with_call(pb.SimpleRequest(), metadata=(value,))
        assert value in call.trailing_metadata()


def status_code_and_message(stub, server):
    status = pb.EchoStatus(code=2, message="test status message")
    error = expect_error(grpc.StatusCode.UNKNOWN,
                         lambda: stub.unary(pb.SimpleRequest(response_status=status)))
    assert error.details() == status.message
    request = pb.StreamingOutputCallRequest(response_status=status)
    error = expect_error(grpc.StatusCode.UNKNOWN, lambda: list(stub.duplex(iter([request]))))
    assert error.details() == status.message


def special_status_message(stub, server):
    text = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n 100%"
    status = pb.EchoStatus(code=2, message=text)
    error = expect_error(grpc.StatusCode.UNKNOWN,
                         lambda: stub.unary(pb.SimpleRequest(response_status=status)))
    assert error.details() == text, error.details()


def unimplemented_method(stub, server):
    expect_error(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.no_method(empty_pb2.Empty()))


def unimplemented_service(stub, server):
    expect_error(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.no_service(empty_pb2.Empty()))


def cancel_after_begin(stub, server):
    cancelled = stub.stats()["cancelled"]
    pause = threading.Event()
    call = stub.input.future(iter(pause.wait, True))
    time.sleep(0.05)
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    eventually(lambda: stub.stats()["cancelled"] > cancelled)
    pause.set()


def cancel_after_first_response(stub, server):
    cancelled = stub.stats()["cancelled"]
    pause = threading.Event()

    def requests():
        yield sizes_request(31415)
        pause.wait()
    call = stub.duplex(requests())
    assert len(next(call).payload.body) == 31415
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    eventually(lambda: stub.stats()["cancelled"] > cancelled, 1)
    pause.set()


def timeout_on_sleeping_server(stub, server):
    deadline = stub.stats()["deadline"]
    start = time.monotonic()
    call = stub.output(sizes_request(1, interval_us=5000000), timeout=0.1)
    expect_error(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(call))
    assert time.monotonic() - start < 2
    # Either our timer was first, or the client's, which resets the stream.
    eventually(lambda: stub.stats()["calls"] == 1)
    assert stub.stats()["deadline"] >= deadline


def concurrent_large_unary(stub, server):
    request = pb.SimpleRequest(response_size=LARGE_RESPONSE, payload=zeros(LARGE_REQUEST))
    futures = [stub.unary.future(request) for _ in range(200)]
    for future in futures:
        assert len(future.result(60).payload.body) == LARGE_RESPONSE


# ---- streams by the thousand ----

def thousand_streams(stub, server):
    """1,000 streams of one connection, all open at once, each with five spaced messages."""
    calls = [stub.output(sizes_request(*[64] * 5, interval_us=100000)) for _ in range(1000)]
    assert stub.stats()["calls"] > 900
    for call in calls:
        assert sum(1 for _ in call) == 5


def many_connections(stub, server):
    channels = [grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool",
                                                                1), ("x", i)])
                for i in range(50)]
    calls = [Stub(c).output(sizes_request(*[64] * 3, interval_us=50000))
             for c in channels for _ in range(10)]
    for call in calls:
        assert sum(1 for _ in call) == 3
    assert stub.stats()["connections"] >= 50
    for channel in channels:
        channel.close()
    eventually(lambda: stub.stats()["connections"] <= 2)


# ---- health, reflection, keepalive ----

def health_check(stub, server):
    serving = health_pb2.HealthCheckResponse.SERVING
    for name in ("", "grpc.testing.TestService"):
        assert stub.check(health_pb2.HealthCheckRequest(service=name)).status == serving
    expect_error(grpc.StatusCode.NOT_FOUND,
                 lambda: stub.check(health_pb2.HealthCheckRequest(service="no.Such")))


def health_watch(stub, server):
    response = health_pb2.HealthCheckResponse
    whole = stub.watch(health_pb2.HealthCheckRequest(service=""))
    late = stub.watch(health_pb2.HealthCheckRequest(service="late.Service"))
    assert next(whole).status == response.SERVING
    assert next(late).status == response.SERVICE_UNKNOWN
    stub.set_not_serving(empty_pb2.Empty())
    assert next(whole).status == response.NOT_SERVING
    stub.set_serving(empty_pb2.Empty())
    assert next(whole).status == response.SERVING
    assert next(late).status == response.SERVING
    assert whole.is_active() and late.is_active()
    whole.cancel()
    late.cancel()


def check_reflection(stub, module):
    from google.protobuf import descriptor_pb2, descriptor_pool

    def ask(**kw):
        requests.append(module.ServerReflectionRequest(host="h", **kw))
        ready.release()
        response = next(call)
        assert response.valid_host == "h" and response.original_request == requests[-1]
        return response

    requests, ready, done = [], threading.Semaphore(0), threading.Event()

    def feed():
        i = 0
        while True:
            ready.acquire()
            if done.is_set():
                return
            yield requests[i]
            i += 1
    call = stub.reflect[module](feed())
    names = [s.name for s in ask(list_services="*").list_services_response.service]
    assert names == sorted(set(names))
    for name in ("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                 "grpc.reflection.v1alpha.ServerReflection", "grpc.testing.TestService"):
        assert name in names, names

    # The files of a symbol are all that is needed to build its descriptor.
    answer = ask(file_containing_symbol="grpc.testing.TestService").file_descriptor_response
    files = [descriptor_pb2.FileDescriptorProto.FromString(f) for f in answer.file_descriptor_proto]
    assert files[0].name == "grpc/testing/test.proto" and len(files) == 3
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(files):
        pool.Add(file)
    assert pool.FindServiceByName("grpc.testing.TestService").methods_by_name["UnaryCall"]

    def holder(symbol):
        answer = ask(file_containing_symbol=symbol)
        if answer.HasField("error_response"):
            return answer.error_response.error_code
        blob = answer.file_descriptor_response.file_descriptor_proto[0]
        return descriptor_pb2.FileDescriptorProto.FromString(blob).name
    messages_file, health_file = "grpc/testing/messages.proto", "grpc/health/v1/health.proto"
    for symbol, file in (("grpc.testing.TestService.UnaryCall", "grpc/testing/test.proto"),
                         ("grpc.testing.SimpleRequest", messages_file),
                         ("grpc.testing.SimpleRequest.payload", messages_file),
                         ("grpc.testing.ClientConfigureRequest.RpcType", messages_file),
                         ("grpc.testing.COMPRESSABLE", messages_file),
                         ("grpc.health.v1.HealthCheckResponse.ServingStatus", health_file),
                         ("grpc.health.v1.HealthCheckResponse.SERVING", health_file)):
        assert holder(symbol) == file, (symbol, holder(symbol))
    for symbol in ("grpc.testing.Nothing", "grpc.testing", "", "SimpleRequest"):
        assert holder(symbol) == 5, symbol

    blob = ask(file_by_filename=messages_file).file_descriptor_response.file_descriptor_proto[0]
    assert descriptor_pb2.FileDescriptorProto.FromString(blob).name == messages_file
    assert ask(file_by_filename="no/such.proto").error_response.error_code == 5
    extension = module.ExtensionRequest(containing_type="grpc.testing.Payload", extension_number=7)
    assert ask(file_containing_extension=extension).error_response.error_code == 5
    assert ask(all_extension_numbers_of_type="no.Type").error_response.error_code == 5
    known = ask(all_extension_numbers_of_type="grpc.testing.Payload")
    assert known.all_extension_numbers_response.base_type_name == "grpc.testing.Payload"
    assert ask().error_response.error_code == 3
    done.set()
    ready.release()
    assert list(call) == [] and call.code() == grpc.StatusCode.OK


def reflection_v1(stub, server):
    check_reflection(stub, reflection_pb2)


def reflection_v1alpha(stub, server):
    check_reflection(stub, reflection_alpha_pb2)


def keepalive_pings(stub, server):
    """A client that pings each second, with and without calls, is not thrown out."""
    channel = grpc.insecure_channel(server.address, options=[
        ("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_timeout_ms", 500),
        ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_time_between_pings_ms", 1000)])
    own = Stub(channel)
    call = own.output(sizes_request(1, interval_us=4200000))
    assert len(list(call)) == 1
    time.sleep(2.5)
    own.empty(empty_pb2.Empty())
    channel.close()


def drain(stub, server):
    """SIGTERM: what is open finishes, watchers are told and released, the exit status is 0."""
    response = health_pb2.HealthCheckResponse
    watch = stub.watch(health_pb2.HealthCheckRequest(service=""))
    assert next(watch).status == response.SERVING
    calls = [stub.output(sizes_request(*[100] * 10, interval_us=50000)) for _ in range(50)]
    for call in calls:
        assert len(next(call).payload.body) == 100
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    assert next(watch).status == response.NOT_SERVING
    expect_error(grpc.StatusCode.UNAVAILABLE, lambda: next(watch))
    for call in calls:
        assert sum(1 for _ in call) == 9
    stopper.join()
    assert server.process.returncode == 0


def main():
    server = Server(sys.argv[1])
    channel = grpc.insecure_channel(server.address, options=[
        ("grpc.enable_retries", 0), ("grpc.max_receive_message_length", 16 << 20)])
    return run_cases([
        empty_unary, large_unary, client_compressed_unary, server_compressed_unary,
        client_streaming, client_compressed_streaming, server_streaming,
        server_compressed_streaming, ping_pong, empty_stream, half_duplex, custom_metadata,
        status_code_and_message, special_status_message, unimplemented_method,
        unimplemented_service, cancel_after_begin, cancel_after_first_response,
        timeout_on_sleeping_server, concurrent_large_unary, thousand_streams, many_connections,
        health_check, health_watch, reflection_v1, reflection_v1alpha, keepalive_pings, drain,
    ], Stub(channel), server)


if __name__ == "__main__":
    sys.exit(main())

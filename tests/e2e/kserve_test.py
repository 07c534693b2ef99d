#!/usr/bin/env python3
"""The open inference protocol as its Python clients speak it: stubs made by protoc, typed and raw tensors,
streams, errors as exceptions, time limits, cancelling.

    kserve_test.py MOERING
"""
import atexit
import importlib
import os
import queue
import shutil
import struct
import subprocess
import sys
import tempfile

from moering_wire import SOURCE, grpc, health_pb, reflection_pb, slow_server

SERVICE = "inference.GRPCInferenceService"


def make_messages():
    folder = tempfile.mkdtemp(prefix="moering-kserve-")
    atexit.register(shutil.rmtree, folder, True)
    subprocess.run(["protoc", "-I" + os.path.join(SOURCE, "proto"), "--python_out=" + folder,
                    "inference/inference.proto"], check=True)
    sys.path.insert(0, folder)
    return importlib.import_module("inference.inference_pb2")


pb = make_messages()


class Client:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        for name in ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata",
                     "ModelInfer"):
            setattr(self, name, self.channel.unary_unary(
                "/%s/%s" % (SERVICE, name), getattr(pb, name + "Request").SerializeToString,
                getattr(pb, name + "Response").FromString))
        self.ModelStreamInfer = self.channel.stream_stream(
            "/%s/ModelStreamInfer" % SERVICE, pb.ModelInferRequest.SerializeToString,
            pb.ModelStreamInferResponse.FromString)


def request(text, tokens, name="", **parameters):
    m = pb.ModelInferRequest(model_name=name)
    tensor = m.inputs.add(name="text_input", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(text.encode())
    m.parameters["max_tokens"].int64_param = tokens
    m.parameters["temperature"].double_param = 0
    for key, value in parameters.items():
        field = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(m.parameters[key], field, value)
    return m


def raw_request(text, tokens):
    """As clients do that put every tensor into raw_input_contents."""
    m = pb.ModelInferRequest()
    for name, datatype, raw in (
            ("text_input", "BYTES", struct.pack("<I", len(text)) + text.encode()),
            ("max_tokens", "INT32", struct.pack("<i", tokens)),
            ("temperature", "FP32", struct.pack("<f", 0))):
        m.inputs.add(name=name, datatype=datatype, shape=[1])
        m.raw_input_contents.append(raw)
    return m


def typed_text(answer):
    return {o.name: o for o in answer.outputs}["text_output"].contents.bytes_contents[0].decode()


def outputs(answer):
    """Name to (shape, values); BYTES as text."""
    found = {}
    for i, o in enumerate(answer.outputs):
        c, values = o.contents, None
        if answer.raw_output_contents:
            raw = answer.raw_output_contents[i]
            values = list(struct.unpack("<%d%s" % (len(raw) // 4, {"INT32": "i", "UINT32": "I",
                                                                   "FP32": "f"}[o.datatype]), raw))
        else:
            values = {"BYTES": [b.decode() for b in c.bytes_contents], "INT32": list(c.int_contents),
                      "UINT32": list(c.uint_contents), "FP32": list(c.fp32_contents)}[o.datatype]
        found[o.name] = list(o.shape), values
    return found


def ids_request(ids, tokens, wanted):
    m = pb.ModelInferRequest()
    tensor = m.inputs.add(name="input_ids", datatype="INT64", shape=[1, len(ids)])
    tensor.contents.int64_contents.extend(ids)
    m.parameters["max_tokens"].int64_param = tokens
    m.parameters["temperature"].double_param = 0
    for name in wanted:
        m.outputs.add(name=name)
    return m


def raises(code, call, *arguments, **more):
    try:
        call(*arguments, **more)
    except grpc.RpcError as e:
        assert e.code() == code, e
        return e.details()
    raise AssertionError("no error, not %s" % code)


def test_server_and_model(server, c):
    assert c.ServerLive(pb.ServerLiveRequest()).live
    assert c.ServerReady(pb.ServerReadyRequest()).ready
    assert c.ServerMetadata(pb.ServerMetadataRequest()).name == "moering"
    name = server.name
    assert c.ModelReady(pb.ModelReadyRequest(name=name)).ready
    assert c.ModelReady(pb.ModelReadyRequest(name=name, version="1")).ready
    assert not c.ModelReady(pb.ModelReadyRequest(name=name, version="2")).ready
    assert not c.ModelReady(pb.ModelReadyRequest(name="none")).ready
    m = c.ModelMetadata(pb.ModelMetadataRequest(name=name))
    assert m.name == name and list(m.versions) == ["1"]
    assert [t.name for t in m.outputs][0] == "text_output"
    assert {"output_ids", "output_log_probs", "cum_log_probs"} <= {t.name for t in m.outputs}
    assert list({t.name: t for t in m.inputs}["input_ids"].shape) == [-1, -1]
    assert server.stub.check(health_pb.HealthCheckRequest(service=SERVICE)).status == \
        health_pb.HealthCheckResponse.SERVING


def test_reflection(server, _):
    ask = reflection_pb.ServerReflectionRequest(list_services="")
    answer = next(server.stub.reflect[reflection_pb](iter([ask])))
    assert SERVICE in [s.name for s in answer.list_services_response.service]


def test_infer(server, c):
    answer = c.ModelInfer(request("sort: 3 1 2", 10, name=server.name))
    text = typed_text(answer)
    assert text and not answer.raw_output_contents and answer.model_version == "1"
    raw = c.ModelInfer(raw_request("sort: 3 1 2", 10))
    size, = struct.unpack_from("<I", raw.raw_output_contents[0])
    assert raw.raw_output_contents[0][4:].decode() == text and size == len(text.encode())
    whole = c.ModelInfer(request("sort: 3 1 2", 10, exclude_input_in_output=False,
                                 return_finish_reason=True))
    assert typed_text(whole) == "sort: 3 1 2" + text
    assert whole.outputs[1].contents.bytes_contents[0] in (b"stop", b"length")


def test_tokens(_, c):
    prompt = outputs(c.ModelInfer(request("sort: 3 1 2", 0, exclude_input_in_output=False,
                                          return_token_ids=True)))
    assert prompt["text_output"] == ([1], ["sort: 3 1 2"])
    ids = prompt["output_ids"][1]
    asked = request("sort: 3 1 2", 8, return_token_ids=True, return_log_probs=True,
                    return_cumulative_logprob=True, return_num_output_tokens=True, ignore_eos=True)
    text = outputs(c.ModelInfer(asked))
    shape, log_probs = text["output_log_probs"]
    assert shape == [1, 8] == text["output_ids"][0] and all(p <= 0 for p in log_probs)
    assert abs(sum(log_probs) - text["cum_log_probs"][1][0]) < 1e-3
    assert text["cum_log_probs"] == text["cumulative_logprob"] and text["num_output_tokens"][1] == [8]
    again = ids_request(ids, 8, ["output_ids", "output_log_probs"])
    again.parameters["ignore_eos"].bool_param = True
    assert outputs(c.ModelInfer(again)) == {k: text[k] for k in ("output_ids", "output_log_probs")}
    raw = pb.ModelInferRequest()
    raw.CopyFrom(again)
    raw.inputs[0].ClearField("contents")
    raw.raw_input_contents.append(struct.pack("<%dq" % len(ids), *ids))
    assert outputs(c.ModelInfer(raw)) == outputs(c.ModelInfer(again))
    parts, sampled = list(c.ModelStreamInfer(iter([again, again]))), []
    assert [outputs(p.infer_response)["output_ids"] for p in parts] == [text["output_ids"]] * 2
    again.parameters["stream"].bool_param = True
    for part in c.ModelStreamInfer(iter([again])):
        sampled += outputs(part.infer_response)["output_ids"][1]
    assert sampled == text["output_ids"][1]


def test_batch(_, c):
    prompts = ["sort: 3 1 2", "reverse: a b", "count: 7"]
    m = request(prompts[0], 10, return_token_ids=True)
    del m.inputs[0].shape[:]
    m.inputs[0].shape.extend([len(prompts), 1])
    m.inputs[0].contents.bytes_contents.extend(p.encode() for p in prompts[1:])
    answer = outputs(c.ModelInfer(m))
    alone = [outputs(c.ModelInfer(request(p, 10, return_token_ids=True))) for p in prompts]
    assert answer["text_output"] == ([3], [a["text_output"][1][0] for a in alone])
    (rows, longest), ids = answer["output_ids"]
    assert rows == 3 and longest == max(len(a["output_ids"][1]) for a in alone)
    for i, a in enumerate(alone):
        row = ids[i * longest:(i + 1) * longest]
        assert [t for t in row if t >= 0] == a["output_ids"][1]
    refused, = c.ModelStreamInfer(iter([m]))
    assert "batch of 3" in refused.error_message


def test_stream(_, c):
    asked = queue.Queue()
    stream = c.ModelStreamInfer(iter(asked.get, None))
    for i in range(3): # the next request goes out when the one before it is answered
        m = request("count: %d" % i, 6, stream=True, ignore_eos=True)
        m.id = str(i)
        asked.put(m)
        parts = []
        for answer in stream:
            assert not answer.error_message and answer.infer_response.id == str(i)
            parts += [o.contents.bytes_contents[0] for o in answer.infer_response.outputs
                      if o.name == "text_output"]
            if answer.infer_response.parameters["triton_final_response"].bool_param:
                break
        alone = c.ModelInfer(request("count: %d" % i, 6, ignore_eos=True))
        assert b"".join(parts).decode() == typed_text(alone)
        assert len(parts) > 1
    bad = request("x", 6)
    bad.inputs.add(name="images", datatype="BYTES", shape=[0])
    asked.put(bad)
    assert "images" in next(stream).error_message
    asked.put(None)
    assert list(stream) == [] and stream.code() == grpc.StatusCode.OK


def test_errors(_, c):
    raises(grpc.StatusCode.NOT_FOUND, c.ModelInfer, request("x", 1, name="none"))
    assert "top_k" in raises(grpc.StatusCode.INVALID_ARGUMENT, c.ModelInfer,
                             request("x", 1, top_k="many"))
    raises(grpc.StatusCode.INVALID_ARGUMENT, c.ModelInfer, pb.ModelInferRequest())
    raises(grpc.StatusCode.INVALID_ARGUMENT, c.ModelInfer, request("x " * 3000, 1))
    raises(grpc.StatusCode.DEADLINE_EXCEEDED, c.ModelInfer,
           request("x", 1000, ignore_eos=True), timeout=0.02)


def test_cancel(server, c):
    call = c.ModelStreamInfer(iter([request("x", 1000, stream=True, ignore_eos=True)]))
    next(call)
    call.cancel()
    server.wait_idle()


def main():
    server = slow_server(sys.argv[1], "--served-model-name", "team/tiny")
    server.name = "team/tiny"
    client = Client(server.address)
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            test(server, client)
            print("ok " + name[5:])
    server.stop()


if __name__ == "__main__":
    main()

"""Writes the seeds of fuzz_kserve into corpus/kserve: run it again after changing the target or
inference.proto. Needs protoc and Debian's python3-protobuf.

    /usr/bin/python3 tests/fuzz/make_kserve_corpus.py
"""
import importlib
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "corpus", "kserve")


def messages():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["protoc", "-I" + os.path.join(HERE, "..", "..", "proto"),
                        "--python_out=" + folder, "inference/inference.proto"], check=True)
        sys.path.insert(0, folder)
        return importlib.import_module("inference.inference_pb2")


def seed(name, data):
    with open(os.path.join(FOLDER, name), "wb") as file:
        file.write(data)


def text(content):
    return struct.pack("<I", len(content)) + content


def typed(pb, tensors, parameters=(), outputs=()):
    m = pb.ModelInferRequest(model_name="fuzz", id="7")
    fields = {"BYTES": "bytes_contents", "INT32": "int_contents", "INT64": "int64_contents",
              "FP32": "fp32_contents", "BOOL": "bool_contents"}
    for name, datatype, shape, values in tensors:
        tensor = m.inputs.add(name=name, datatype=datatype, shape=shape)
        getattr(tensor.contents, fields[datatype]).extend(values)
    for key, field, value in parameters:
        setattr(m.parameters[key], field, value)
    for name in outputs:
        m.outputs.add(name=name)
    return b"\0" + m.SerializeToString()


def raw(pb, tensors):
    m = pb.ModelInferRequest()
    for name, datatype, shape, content in tensors:
        m.inputs.add(name=name, datatype=datatype, shape=shape)
        m.raw_input_contents.append(content)
    return b"\0" + m.SerializeToString()


def from_wire(pb):
    hello = ("text_input", "BYTES", [1], [b"hello"])
    seed("text", typed(pb, [hello, ("max_tokens", "INT32", [1], [5]), ("temperature", "FP32", [1], [.5])]))
    seed("ids", typed(pb, [("input_ids", "INT64", [1, 3], [1, 2, 257])], outputs=["output_ids"]))
    seed("lengths", typed(pb, [("input_ids", "INT32", [2, 2], [1, 2, 3, -1]),
                               ("input_lengths", "INT32", [2], [2, 1])]))
    seed("batch", typed(pb, [("text_input", "BYTES", [2, 1], [b"a", b"b"]),
                             ("stop_words", "BYTES", [2, 2], [b"x", b"y", b"x", b"y"]),
                             ("return_log_probs", "BOOL", [2, 1], [True, True])]))
    seed("json", typed(pb, [hello, ("sampling_parameters", "BYTES", [1], [
        b'{"top_k":3,"stop":["a"],"logit_bias":{"7":1},"structured_outputs":{"regex":"a+"}}'])]))
    seed("parameters", typed(pb, [hello], [("max_tokens", "int64_param", 3), ("top_p", "double_param", .5),
                                           ("ignore_eos", "bool_param", True),
                                           ("stop", "string_param", "x"), ("seed", "uint64_param", 9)]))
    seed("raw", raw(pb, [("text_input", "BYTES", [1], text(b"hello")),
                         ("max_tokens", "INT32", [1], b"\5\0\0\0"), ("stream", "BOOL", [1], b"\1")]))
    seed("raw_batch", raw(pb, [("text_input", "BYTES", [2], text(b"a") + text(b"")),
                               ("input_ids", "INT16", [2, 1], b"\1\0\2\0")]))
    seed("raw_cut", raw(pb, [("text_input", "BYTES", [1], b"\xff\xff\xff\xffa")]))
    seed("overflow", typed(pb, [("text_input", "BYTES", [1 << 62, 1 << 62], [b"a"])]))


def recipes():
    """See make_request in fuzz_kserve.c."""
    seed("recipe_text", b"\1\1\0" + b"\6\0\1\1" b"\1" b"\0\1\5hello" b"\0")
    seed("recipe_ids", b"\3\1\1" + b"\0\1\2\1\3" + b"\x0c" + struct.pack("<3i", 1, 2, 3) + b"\0")
    seed("recipe_two", b"\1\2\1" + b"\6\0\1\1\5" + text(b"a") + b"\x25\1\1\1\4" + struct.pack("<i", 4) +
         b"\1\x16\1" + b"\0" * 8)


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    from_wire(messages())
    recipes()

#!/usr/bin/env python3
"""Seeds for fuzz_gguf: small GGUF files, byte by byte from the format's description.

    tests/fuzz/make_gguf_corpus.py            writes tests/fuzz/corpus/gguf/
"""
import os
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q",
         I64: "q", F64: "d"}


def text(s):
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(raw)) + raw


def one(kind, value):
    return text(value) if kind == STRING else struct.pack("<" + CODES[kind], value)


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + one(kind, value)


def array(name, kind, values):
    return (text(name) + struct.pack("<IIQ", ARRAY, kind, len(values)) +
            b"".join(one(kind, v) for v in values))


def gguf(keys, tensors, version=3, alignment=32, magic=b"GGUF"):
    """tensors: (name, dimensions innermost first, type, bytes)."""
    out = magic + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys)
    at = 0
    for name, dims, kind, size in tensors:
        out += text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, at)
        at += -(-size // alignment) * alignment
    out += b"\0" * (-len(out) % alignment)
    return out + b"\0" * at


def model(arch, extra=()):
    """hidden 32, 2 heads of 16, 2 experts of width 32, one layer, 4 tokens, all Q8_0 but the norms."""
    a = arch + "."
    keys = [key("general.architecture", STRING, arch), key(a + "block_count", U32, 1),
            key(a + "embedding_length", U32, 32), key(a + "context_length", U32, 64),
            key(a + "attention.head_count", U32, 2), key(a + "attention.head_count_kv", U32, 2),
            key(a + "attention.layer_norm_rms_epsilon", F32, 1e-5), key(a + "expert_count", U32, 2),
            key(a + "expert_used_count", U32, 1), key(a + "rope.freq_base", F32, 1e4),
            key("tokenizer.ggml.model", STRING, "gpt2"),
            array("tokenizer.ggml.tokens", STRING, ["a", "b", "ab", "<|end|>"]),
            array("tokenizer.ggml.token_type", I32, [1, 1, 1, 3]),
            array("tokenizer.ggml.merges", STRING, ["a b"]),
            key("tokenizer.ggml.eos_token_id", U32, 3)] + list(extra)

    def matrix(name, *dims):
        values = 1
        for d in dims:
            values *= d
        return (name, dims, 8, values // 32 * 34)
    b = "blk.0."
    tensors = [matrix("token_embd.weight", 32, 4), ("output_norm.weight", (32,), 0, 128),
               (b + "attn_norm.weight", (32,), 0, 128), matrix(b + "attn_q.weight", 32, 32),
               matrix(b + "attn_k.weight", 32, 32), matrix(b + "attn_v.weight", 32, 32),
               matrix(b + "attn_output.weight", 32, 32), (b + "ffn_norm.weight", (32,), 0, 128),
               (b + "ffn_gate_inp.weight", (32, 2), 0, 256),
               matrix(b + "ffn_gate_exps.weight", 32, 32, 2),
               matrix(b + "ffn_up_exps.weight", 32, 32, 2),
               matrix(b + "ffn_down_exps.weight", 32, 32, 2)]
    return keys, tensors


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "gguf")
    os.makedirs(folder, exist_ok=True)
    kinds = [key("n.%d" % k, k, v) for k, v in
             ((U8, 200), (I8, -3), (U16, 60000), (I16, -7), (U32, 1 << 31), (I32, -1), (F32, 0.5),
              (BOOL, True), (STRING, "text"), (U64, 1 << 60), (I64, -1), (F64, 0.1))]
    kinds += [array("l.%d" % k, k, [v, v]) for k, v in ((U8, 1), (I16, 2), (F32, 3.0), (F64, 4.0),
                                                        (BOOL, False), (STRING, b"\xff\0"))]
    granite = [key("granitemoe." + k, F32, v) for k, v in
               (("embedding_scale", 12), ("residual_scale", 0.22), ("attention.scale", 0.015625),
                ("logit_scale", 6))]
    seeds = {
        "empty": gguf([], []),
        "kinds": gguf(kinds, []),
        "version2": gguf([key("a", U32, 1)], [("t", (3,), 0, 12)], version=2),
        "big_endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        "alignment": gguf([key("general.alignment", U32, 64)], [("t", (256, 2), 12, 288)], alignment=64),
        "types": gguf([], [("q%d" % k, (256,), k, n) for k, n in
                           ((0, 1024), (1, 512), (2, 144), (8, 272), (14, 210), (17, 74), (39, 136))]),
        "split": gguf([key("split.no", U16, 1), key("split.count", U16, 2),
                       key("split.tensors.count", I32, 9)], [("blk.0.attn_q.bias", (8,), 0, 32)]),
        "nested": gguf([text("a") + struct.pack("<IIQIQ", ARRAY, ARRAY, 1, U8, 0)], []),
        "overlap": gguf([], [("a", (64,), 0, 256), ("b", (64,), 0, 256)])[:-256],
        "olmoe": gguf(*model("olmoe")),
        "llama": gguf(*model("llama", [key("llama.attention.sliding_window", U32, 8)])),
        "granitemoe": gguf(*model("granitemoe", granite)),
    }
    for name, data in seeds.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    print("%d seeds, %d bytes" % (len(seeds), sum(map(len, seeds.values()))))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes tests/golden/gguf: tiny random GGUF files and what they mean, computed in f64.

Usage: make_gguf_goldens.py [OUTPUT_FOLDER [NAME...]]

Needs numpy and gguf (PyPI); nothing that builds, serves or tests needs this script. The same
versions give the same bytes. tests/golden/gguf/README.md describes what it writes.

Weights are random codes in every block format, with scales that give a matrix about unit gain; they
are decoded by the gguf package, which is not ours, and multiplied in f64 by the forward passes
below, which are written in GGUF's own terms: RoPE turns neighbours where the architecture's rows
are permuted, nothing is ever put into another order. A case's seed is the first one whose greedy
path and routing stay clear of ties, so that a difference in rounding cannot flip a choice.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q

PROMPT_TOKENS = 8
NEW_TOKENS = 64
LOGIT_MARGIN_MIN = 2e-3  # of the best over the second at every greedy step, of the largest logit
DISTINCT_TOKENS_MIN = 8  # in the greedy path: a model stuck on one token would hide errors
ROUTER_GAP_MIN = 1e-3  # of the last chosen expert's router logit over the first one left out

# Where a block's f16 scales lie (the second, if any, is that of the minimum), and by how many times
# the first the second must be for values around zero.
SCALES = {
    Q.Q8_0: ([0], 0), Q.Q4_0: ([0], 0), Q.Q4_1: ([0, 2], -7.5), Q.Q5_0: ([0], 0),
    Q.Q5_1: ([0, 2], -15.5), Q.IQ4_NL: ([0], 0), Q.Q2_K: ([80, 82], 1.5), Q.Q3_K: ([108], 0),
    Q.Q4_K: ([0, 2], 7.5), Q.Q5_K: ([0, 2], 15.5), Q.Q6_K: ([208], 0),
}


def random_blocks(rng, kind, rows, cols, gain):
    """Raw bytes [rows][row bytes] of a matrix whose products have about `gain`."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    assert cols % values == 0, (kind, cols)
    blocks = rng.integers(0, 256, (rows * (cols // values), size), dtype=np.uint8)
    wanted = gain * cols**-0.5
    if kind == Q.MXFP4:
        # Codes are up to 6 in size, 3.4 in the mean square.
        exponent = int(np.round(np.log2(wanted / 3.4))) + 127
        blocks[:, 0] = exponent + rng.integers(-1, 2, len(blocks))
        return blocks.reshape(rows, -1)
    places, ratio = SCALES[kind]

    def set_scales(first):
        for place, factor in zip(places, (1.0, ratio)):
            scale = (first * factor).astype(np.float16)
            blocks[:, place:place + 2] = scale.view(np.uint8).reshape(-1, 2)

    spread = rng.uniform(0.75, 1.25, len(blocks)) * rng.choice([-1.0, 1.0], len(blocks))
    set_scales(spread * 1e-2)
    unit = gguf.quants.dequantize(blocks.reshape(rows, -1), kind).std() / 1e-2
    set_scales(spread * wanted / unit)
    return blocks.reshape(rows, -1)


def random_matrix(rng, kind, rows, cols, gain=1.0):
    if kind in SCALES or kind == Q.MXFP4:
        return random_blocks(rng, kind, rows, cols, gain)
    values = (rng.standard_normal((rows, cols)) * gain * cols**-0.5).astype(np.float32)
    return values if kind == Q.F32 else gguf.quants.quantize(values, kind)


class Model:
    """The tensors of one case: raw bytes for the file, f64 for the forward pass."""

    def __init__(self, case, seed):
        self.case = case
        self.rng = np.random.default_rng(seed)
        self.raw, self.kind, self.f64 = {}, {}, {}
        self.build()

    def put(self, name, kind, raw):
        self.raw[name], self.kind[name] = raw, kind
        self.f64[name] = gguf.quants.dequantize(raw, kind).astype(np.float64)

    def matrix(self, name, kind, rows, cols, gain=1.0):
        self.put(name, kind, random_matrix(self.rng, kind, rows, cols, gain))

    def stack(self, name, kind, rows, cols):
        count = self.case["experts"]
        self.put(name, kind, np.stack([random_matrix(self.rng, kind, rows, cols)
                                       for _ in range(count)]))

    def vector(self, name, size, middle=1.0, spread=0.25):
        self.put(name, Q.F32, (middle + spread * self.rng.standard_normal(size)).astype(np.float32))

    def type_of(self, what, layer, cols):
        """The case's type for a matrix, or its fallback where rows are no whole blocks of it."""
        types = self.case["types"]
        kind = types.get(what, types["all"])
        kind = kind[layer % len(kind)] if isinstance(kind, tuple) else kind
        return kind if cols % gguf.GGML_QUANT_SIZES[kind][0] == 0 else types["narrow"]

    def build(self):
        c = self.case
        hidden, width, dim = c["hidden"], c["width"], c["head_dim"]
        q, kv = c["heads"] * dim, c["kv_heads"] * dim
        self.matrix("token_embd.weight", self.type_of("embedding", 0, hidden), c["vocab"], hidden,
                    (c.get("tied_gain", 1.2) if c.get("tied") else 0.5 * hidden**0.5) /
                    c.get("embedding_scale", 1))
        if not c.get("tied"):
            self.matrix("output.weight", self.type_of("output", 0, hidden), c["vocab"], hidden,
                        2.0 * c.get("logit_scale", 1))
        self.vector("output_norm.weight", hidden)
        for n in range(c["layers"]):
            b = f"blk.{n}."
            self.vector(b + "attn_norm.weight", hidden)
            self.vector(b + "ffn_norm.weight", hidden)
            for part, rows, cols, gain in (("q", q, hidden, 1.5), ("k", kv, hidden, 1.5),
                                           ("v", kv, hidden, 1.0), ("output", hidden, q, 1.0)):
                self.matrix(f"{b}attn_{part}.weight", self.type_of(part, n, cols), rows, cols, gain)
            if c["arch"] == "qwen2moe":
                for part, rows in (("q", q), ("k", kv), ("v", kv)):
                    self.vector(f"{b}attn_{part}.bias", rows, 0.0, 0.5)
            if c["arch"] == "olmoe":
                self.vector(b + "attn_q_norm.weight", q)
                self.vector(b + "attn_k_norm.weight", kv)
            if c["arch"] == "qwen3moe":
                self.vector(b + "attn_q_norm.weight", dim)
                self.vector(b + "attn_k_norm.weight", dim)
            self.matrix(b + "ffn_gate_inp.weight", Q.F32, c["experts"], hidden, 1.5)
            self.build_experts(b, n, hidden, width)

    def build_experts(self, b, n, hidden, width):
        c = self.case
        if c.get("one_by_one"):
            for e in range(c["experts"]):
                for part, rows, cols in (("gate", width, hidden), ("up", width, hidden),
                                         ("down", hidden, width)):
                    self.matrix(f"{b}ffn_{part}.{e}.weight", self.type_of(part, n, cols), rows,
                                cols)
        elif c.get("fused"):
            self.stack(b + "ffn_gate_up_exps.weight", self.type_of("gate", n, hidden), 2 * width,
                       hidden)
            self.stack(b + "ffn_down_exps.weight", self.type_of("down", n, width), hidden, width)
        else:
            self.stack(b + "ffn_gate_exps.weight", self.type_of("gate", n, hidden), width, hidden)
            self.stack(b + "ffn_up_exps.weight", self.type_of("up", n, hidden), width, hidden)
            self.stack(b + "ffn_down_exps.weight", self.type_of("down", n, width), hidden, width)
        if c.get("shared_width"):
            shared = c["shared_width"]
            for part, rows, cols in (("gate", shared, hidden), ("up", shared, hidden),
                                     ("down", hidden, shared)):
                self.matrix(f"{b}ffn_{part}_shexp.weight", self.type_of(part, n, cols), rows, cols)
            self.vector(b + "ffn_gate_inp_shexp.weight", hidden, 0.0, hidden**-0.5)

    # ---- the forward pass ----

    def norm(self, x, weight):
        mean = np.mean(x * x, axis=-1, keepdims=True)
        return x / np.sqrt(mean + self.case["eps"]) * weight

    def rope(self, x):
        """x [positions][heads][dim]."""
        c = self.case
        dim = c["head_dim"]
        turn = np.arange(len(x))[:, None, None] * c["theta"] ** (-2.0 * np.arange(dim // 2) / dim)
        out = np.empty_like(x)
        if c["arch"] in ("llama", "granitemoe"):  # neighbours
            a, b = (slice(0, None, 2), slice(1, None, 2))
        else:  # halves
            a, b = (slice(0, dim // 2), slice(dim // 2, None))
        out[..., a] = x[..., a] * np.cos(turn) - x[..., b] * np.sin(turn)
        out[..., b] = x[..., b] * np.cos(turn) + x[..., a] * np.sin(turn)
        return out

    def attention(self, x, b):
        c, w = self.case, self.f64
        dim, group = c["head_dim"], c["heads"] // c["kv_heads"]

        def project(part):
            y = x @ w[f"{b}attn_{part}.weight"].T
            return y + w[f"{b}attn_{part}.bias"] if f"{b}attn_{part}.bias" in w else y

        q, k, v = project("q"), project("k"), project("v")
        if c["arch"] == "olmoe":
            q = self.norm(q, w[b + "attn_q_norm.weight"])
            k = self.norm(k, w[b + "attn_k_norm.weight"])
        q, k, v = (t.reshape(len(x), -1, dim) for t in (q, k, v))
        if c["arch"] == "qwen3moe":
            q = self.norm(q, w[b + "attn_q_norm.weight"])
            k = self.norm(k, w[b + "attn_k_norm.weight"])
        q, k = self.rope(q), self.rope(k)
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = np.einsum("ihd,jhd->hij", q, k) * c.get("attention_scale", dim**-0.5)
        scores[:, np.triu_indices(len(x), 1)[0], np.triu_indices(len(x), 1)[1]] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        out = np.einsum("hij,jhd->ihd", weights, v).reshape(len(x), -1)
        return out @ w[b + "attn_output.weight"].T

    def expert(self, x, b, e):
        w, width = self.f64, self.case["width"]
        if self.case.get("one_by_one"):
            gate, up, down = (w[f"{b}ffn_{p}.{e}.weight"] for p in ("gate", "up", "down"))
        elif self.case.get("fused"):
            both = w[b + "ffn_gate_up_exps.weight"][e]
            gate, up, down = both[:width], both[width:], w[b + "ffn_down_exps.weight"][e]
        else:
            gate, up, down = (w[f"{b}ffn_{p}_exps.weight"][e] for p in ("gate", "up", "down"))
        return swiglu(x, gate, up, down)

    def experts(self, x, b, gaps, chosen):
        c, w = self.case, self.f64
        logits = x @ w[b + "ffn_gate_inp.weight"].T
        order = np.argsort(-logits, axis=-1, kind="stable")
        rows, k = np.arange(len(x)), c["top_k"]
        gaps.append(np.min(logits[rows, order[:, k - 1]] - logits[rows, order[:, k]]))
        weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weight /= weight.sum(axis=-1, keepdims=True)
        out = np.zeros_like(x)
        for r in rows:
            picked = order[r, :k]
            share = weight[r, picked]
            if c["arch"] not in ("olmoe", "qwen2moe"):
                share = share / share.sum()
            for e, s in zip(picked, share):
                out[r] += s * self.expert(x[r], b, e)
        chosen.append(order[:, :k].tolist())
        if c.get("shared_width"):
            gate = 1 / (1 + np.exp(-(x @ w[b + "ffn_gate_inp_shexp.weight"])))
            shared = swiglu(x, *(w[f"{b}ffn_{p}_shexp.weight"] for p in ("gate", "up", "down")))
            out += gate[:, None] * shared
        return out

    def run(self, ids):
        """logits [n][vocab]; smallest router gap; chosen [layers][n][k]."""
        c, w = self.case, self.f64
        residual = c.get("residual_scale", 1.0)
        gaps, chosen = [], []
        x = w["token_embd.weight"][ids] * c.get("embedding_scale", 1.0)
        for n in range(c["layers"]):
            b = f"blk.{n}."
            x = x + residual * self.attention(self.norm(x, w[b + "attn_norm.weight"]), b)
            x = x + residual * self.experts(self.norm(x, w[b + "ffn_norm.weight"]), b, gaps, chosen)
        x = self.norm(x, w["output_norm.weight"])
        head = w["token_embd.weight" if c.get("tied") else "output.weight"]
        return x @ head.T / c.get("logit_scale", 1.0), min(gaps), chosen

    # ---- the file ----

    def write(self, path):
        c = self.case
        out = gguf.GGUFWriter(path, c["arch"])
        out.add_context_length(256)
        out.add_embedding_length(c["hidden"])
        out.add_block_count(c["layers"])
        out.add_head_count(c["heads"])
        out.add_head_count_kv(c["kv_heads"])
        out.add_key_length(c["head_dim"])
        out.add_value_length(c["head_dim"])
        out.add_rope_dimension_count(c["head_dim"])
        out.add_rope_freq_base(c["theta"])
        out.add_layer_norm_rms_eps(c["eps"])
        out.add_expert_count(c["experts"])
        out.add_expert_used_count(c["top_k"])
        if c["arch"] in ("qwen2moe", "qwen3moe"):
            out.add_expert_feed_forward_length(c["width"])
        else:
            out.add_feed_forward_length(c["width"])
        if c.get("shared_width"):
            out.add_expert_shared_feed_forward_length(c["shared_width"])
        for key in ("embedding_scale", "attention_scale", "residual_scale", "logit_scale"):
            if key in c:
                getattr(out, "add_" + key)(c[key])
        if "tokenizer" in c:
            c["tokenizer"](out, c["vocab"])
        for name, raw in self.raw.items():
            kind = self.kind[name]
            out.add_tensor(name, raw, raw_dtype=None if kind in (Q.F32, Q.F16) else kind)
        out.write_header_to_file()
        out.write_kv_data_to_file()
        out.write_tensors_to_file()
        out.close()


def swiglu(x, gate, up, down):
    g = x @ gate.T
    return (g / (1 + np.exp(-g)) * (x @ up.T)) @ down.T


# ---- tokenizers: just enough to see that a file's own is found ----


def byte_names():
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names, other = {}, 256
    for b in range(256):
        names[b] = chr(b) if b in plain else chr(other)
        other += b not in plain
    return [names[b] for b in range(256)]


def gpt2_tokenizer(out, vocab):
    merges = ["h e", "l l", "he ll", "hell o"]
    tokens = byte_names() + [m.replace(" ", "") for m in merges]
    types = [gguf.TokenType.NORMAL] * len(tokens)
    tokens += [f"<|extra_{i}|>" for i in range(vocab - len(tokens))]
    types += [gguf.TokenType.CONTROL] * (vocab - len(types))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("olmo")
    out.add_token_list(tokens)
    out.add_token_types(types)
    out.add_token_merges(merges)
    out.add_eos_token_id(vocab - 1)
    out.add_chat_template("{{ messages }}")


def spm_tokenizer(out, vocab):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    types += [gguf.TokenType.BYTE] * 256
    pieces = ["\u2581", "h", "e", "l", "o", "he", "ll", "hell", "hello", "\u2581hello"]
    tokens += pieces + [f"piece{i}" for i in range(vocab - len(tokens) - len(pieces))]
    types += [gguf.TokenType.NORMAL] * (vocab - len(types))
    out.add_tokenizer_model("llama")
    out.add_token_list(tokens)
    out.add_token_scores([0.0] * 259 + [-float(i) for i in range(vocab - 259)])
    out.add_token_types(types)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)


# ---- cases ----

NARROW = {"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "experts": 4,
          "top_k": 2, "width": 32, "vocab": 72, "theta": 10000.0, "eps": 1e-5}
WIDE = NARROW | {"hidden": 256, "heads": 2, "kv_heads": 1}
GRANITE = {"arch": "granitemoe", "embedding_scale": 12.0, "attention_scale": 0.09,
           "residual_scale": 0.4, "logit_scale": 6.0}
QWEN2 = {"arch": "qwen2moe", "shared_width": 96, "theta": 1000000.0, "eps": 1e-6}

CASES = {
    "olmoe_f32": NARROW | {"arch": "olmoe", "hidden": 40, "kv_heads": 4, "head_dim": 10,
                           "types": {"all": Q.F32}},
    "olmoe_q4_0": NARROW | {"arch": "olmoe", "kv_heads": 4, "vocab": 288,
                            "types": {"all": Q.Q4_0}, "tokenizer": gpt2_tokenizer},
    "olmoe_q8_0": NARROW | {"arch": "olmoe", "kv_heads": 4, "types": {"all": Q.Q8_0}},
    "olmoe_q4_k": WIDE | {"arch": "olmoe", "kv_heads": 2,
                          "types": {"all": Q.Q4_K, "narrow": Q.Q5_0}},
    "qwen3moe_bf16": NARROW | {"arch": "qwen3moe", "hidden": 40, "tied": True,
                               "types": {"all": Q.BF16}},
    "qwen3moe_q4_1": NARROW | {"arch": "qwen3moe", "head_dim": 24, "heads": 4,
                               "types": {"all": Q.Q4_1}},
    "qwen3moe_q5_0": NARROW | {"arch": "qwen3moe", "types": {"all": Q.Q5_0}},
    "qwen3moe_q6_k": WIDE | {"arch": "qwen3moe", "tied": True,
                             "types": {"all": Q.Q6_K, "narrow": Q.Q8_0}},
    "qwen2moe_f16": NARROW | QWEN2 | {"hidden": 32, "types": {"all": Q.F16}},
    "qwen2moe_q5_1": NARROW | QWEN2 | {"fused": True, "types": {"all": Q.Q5_1}},
    "qwen2moe_q3_k": WIDE | QWEN2 | {"shared_width": 64,
                                    "types": {"all": Q.Q3_K, "narrow": Q.Q4_0}},
    "llama_q4_0": NARROW | {"arch": "llama", "vocab": 288, "types": {"all": Q.Q4_0},
                            "tokenizer": spm_tokenizer},
    "llama_iq4_nl_one_by_one": NARROW | {"arch": "llama", "one_by_one": True,
                                         "types": {"all": Q.IQ4_NL}},
    "llama_q5_k": WIDE | {"arch": "llama", "types": {"all": Q.Q5_K, "narrow": Q.Q5_1}},
    "granitemoe_q8_0": NARROW | GRANITE | {"tied": True, "tied_gain": 0.15,
                                             "types": {"all": Q.Q8_0}},
    "granitemoe_mxfp4": NARROW | GRANITE | {"types": {"all": Q.Q8_0, "gate": Q.MXFP4,
                                                      "up": Q.MXFP4, "down": Q.MXFP4}},
    "granitemoe_q2_k": WIDE | GRANITE | {"types": {"all": Q.Q2_K, "narrow": Q.IQ4_NL,
                                                   "output": Q.Q6_K}},
    # As published mixtures are: formats differ between matrices and between layers.
    "qwen2moe_mixed": WIDE | QWEN2 | {"layers": 3, "experts": 3, "shared_width": 32,
                                      "types": {"all": Q.Q4_K, "narrow": Q.Q8_0,
                                                "v": (Q.Q6_K, Q.Q4_K), "up": (Q.Q6_K, Q.Q5_K),
                                                "down": (Q.Q8_0, Q.Q4_0, Q.F16),
                                                "output": Q.Q6_K, "embedding": Q.Q8_0}},
}


def try_seed(case, seed):
    """None: too close to a tie somewhere, or too dull."""
    model = Model(case, seed)
    rng = np.random.default_rng(1000 + seed)
    # Ids of extra and control tokens are as good as any.
    ids = rng.integers(0, case["vocab"] - 1, PROMPT_TOKENS).tolist()
    for _ in range(NEW_TOKENS):
        logits, gap, _ = model.run(ids)
        best = np.sort(logits[-1])[-2:]
        if best[1] - best[0] < LOGIT_MARGIN_MIN * np.abs(logits[-1]).max() or gap < ROUTER_GAP_MIN:
            return None
        ids.append(int(logits[-1].argmax()))
    greedy = ids[PROMPT_TOKENS:]
    if len(set(greedy)) < DISTINCT_TOKENS_MIN:
        return None
    logits, _, chosen = model.run(ids[:-1])
    return model, logits, {"prompt": ids[:PROMPT_TOKENS], "greedy": greedy,
                           "positions": len(logits), "routed_experts": chosen}


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                       pathlib.Path(__file__).resolve().parents[1] / "golden" / "gguf")
    out.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in sys.argv[2:] or CASES:
        case = CASES[name]
        for seed in range(10000):
            found = try_seed(case, seed)
            if found is None:
                continue
            model, logits, golden = found
            golden["logits_file"] = f"{name}.f32"
            model.write(out / f"{name}.gguf")
            logits.astype("<f4").tofile(out / f"{name}.f32")
            text = json.dumps({"seed": seed, "vocab": case["vocab"], "prompts": [golden],
                               "made_with": {"numpy": np.__version__, "gguf": "0.19.0"}},
                              sort_keys=True, separators=(",", ":"))
            (out / f"{name}.json").write_text(text + "\n")
            size = sum((out / f"{name}{end}").stat().st_size for end in (".gguf", ".f32", ".json"))
            total += size
            print(f"{name}: seed {seed}, {size} bytes", flush=True)
            break
    assert total < 3_000_000, total


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Trains the built-in model (deploy/models/tiny) from nothing, on CPU, with a fixed seed.

A development tool: building, serving and testing moering never need it. It wants torch,
tokenizers, safetensors and numpy. Output: a Hugging Face folder of architecture qwen3_moe
(bf16), and a log of the tokens routed to each expert of each layer in every iteration,
written as routing_log.npz (counts[iteration][layer][expert], u16) for the prediction work.

Two phases. The first holds the learning rate, the second starts from its export and lets the rate
fall to zero, with a quarter of the documents on sorting, which is learnt last:

    python3 tests/models/train_tiny.py --out plateau --steps 2000 --hold --threads 2
    python3 tests/models/train_tiny.py --out deploy/models/tiny --init plateau --steps 800 \
        --focus sort --threads 1

Questions are random noise to the loss, answers are not: only answers and stories count fully.
"""

import argparse
import json
import math
import os
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import tiny_tasks

CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": None,
    "decoder_sparse_step": 1,
    "eos_token_id": 0,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 128,
    "initializer_range": 0.02,
    "intermediate_size": 256,
    "max_position_embeddings": 1024,
    "max_window_layers": 6,
    "mlp_only_layers": [],
    "moe_intermediate_size": 64,
    "norm_topk_prob": True,
    "num_attention_heads": 4,
    "num_experts": 32,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 6,
    "num_key_value_heads": 2,
    "output_router_logits": False,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "router_aux_loss_coef": 0.01,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 512,
}
QUESTION_WEIGHT = 0.05
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CHAT_TEMPLATE = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
                 "{{ message['content'] }}<|im_end|>\n{% endfor %}"
                 "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def train_tokenizer(seed):
    """Byte-level BPE with one token per digit, as in the Qwen family."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"], show_progress=False,
        special_tokens=[tiny_tasks.EOT, tiny_tasks.IM_START, tiny_tasks.IM_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    rng = random.Random(seed)
    tok.train_from_iterator(("".join(tiny_tasks.document(rng)) for _ in range(40000)), trainer)
    return tok


class Rows:
    """Batches of packed documents: tokens [rows][length + 1] and the weight of each target."""

    def __init__(self, tok, seed, rows, length, focus=None):
        self.tok, self.rng, self.rows, self.length = tok, random.Random(seed), rows, length
        self.focus = focus

    def batch(self):
        need = self.length + 1
        docs = [tiny_tasks.document(self.rng, self.focus) for _ in range(self.rows * need // 14)]
        prompts = self.tok.encode_batch([d[0] for d in docs])
        answers = self.tok.encode_batch([d[1] for d in docs])
        tokens = np.zeros((self.rows, need), np.int64)
        weight = np.zeros((self.rows, need), np.float32)
        at = 0
        for row in range(self.rows):
            filled = 0
            while filled < need:
                if at == len(docs):  # rare: shorter documents than guessed
                    at = 0
                p, a = prompts[at].ids, answers[at].ids
                at += 1
                ids = (p + a)[:need - filled]
                w = ([QUESTION_WEIGHT] * len(p) + [1.0] * len(a))[:need - filled]
                tokens[row, filled:filled + len(ids)] = ids
                weight[row, filled:filled + len(ids)] = w
                filled += len(ids)
        return torch.from_numpy(tokens), torch.from_numpy(weight[:, 1:])


def norm(x, weight):
    return F.rms_norm(x, (x.shape[-1],), weight, CONFIG["rms_norm_eps"])


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        c = CONFIG
        h, d, f, e = c["hidden_size"], c["head_dim"], c["moe_intermediate_size"], c["num_experts"]
        self.heads, self.kv = c["num_attention_heads"], c["num_key_value_heads"]
        out = c["initializer_range"] / math.sqrt(2 * c["num_hidden_layers"])
        w = lambda *shape, std=h ** -0.5: torch.nn.Parameter(torch.randn(*shape) * std)
        self.q, self.k = w(self.heads * d, h), w(self.kv * d, h)
        self.v, self.o = w(self.kv * d, h), w(h, self.heads * d, std=out)
        self.router = w(e, h)
        self.gate, self.up = w(e, f, h), w(e, f, h)
        self.down = w(e, h, f, std=out)
        ones = lambda n: torch.nn.Parameter(torch.ones(n))
        self.norm1, self.norm2, self.norm_q, self.norm_k = ones(h), ones(h), ones(d), ones(d)

    def attend(self, x, cos, sin):
        b, t, _ = x.shape
        split = lambda y, n: y.view(b, t, n, -1)
        q = norm(split(x @ self.q.T, self.heads), self.norm_q).transpose(1, 2)
        k = norm(split(x @ self.k.T, self.kv), self.norm_k).transpose(1, 2)
        v = split(x @ self.v.T, self.kv).transpose(1, 2)
        turn = lambda y: y * cos + torch.cat((-y[..., y.shape[-1] // 2:],
                                              y[..., :y.shape[-1] // 2]), -1) * sin
        group = self.heads // self.kv
        k, v = turn(k).repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(turn(q), k, v, is_causal=True)
        return y.transpose(1, 2).reshape(b, t, -1) @ self.o.T

    def experts(self, x):
        """Routing vector B; returns the output, the token counts and the balancing loss."""
        e, k = CONFIG["num_experts"], CONFIG["num_experts_per_tok"]
        probs = (x @ self.router.T).float().softmax(-1)
        weight, chosen = probs.topk(k, -1)
        weight = weight / weight.sum(-1, keepdim=True)
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=e)
        rows = torch.div(order, k, rounding_mode="floor")
        grouped = x.index_select(0, rows)
        sizes = counts.tolist()
        each = lambda rows, w: torch.cat([a @ b.T for a, b in zip(rows.split(sizes), w.unbind())])
        y = each(F.silu(each(grouped, self.gate)) * each(grouped, self.up), self.down) * weight.flatten()[order].unsqueeze(1)
        out = torch.zeros_like(x).index_add(0, rows, y.to(x.dtype))
        share = counts.float() / counts.sum()
        return out, counts, e * (share * probs.mean(0)).sum()

    def forward(self, x, cos, sin):
        x = x + self.attend(norm(x, self.norm1), cos, sin)
        y, counts, balance = self.experts(norm(x, self.norm2).reshape(-1, x.shape[-1]))
        return x + y.view_as(x), counts, balance


class Model(torch.nn.Module):
    def __init__(self, length):
        super().__init__()
        c = CONFIG
        h, v = c["hidden_size"], c["vocab_size"]
        self.embed = torch.nn.Parameter(torch.randn(v, h) * 0.5)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(c["num_hidden_layers"]))
        self.norm = torch.nn.Parameter(torch.ones(h))
        self.head = torch.nn.Parameter(torch.randn(v, h) * h ** -0.5)
        half = torch.arange(0, c["head_dim"], 2) / c["head_dim"]
        angle = torch.outer(torch.arange(length), c["rope_theta"] ** -half).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens):
        t = tokens.shape[1]
        x = self.embed[tokens]
        counts, balance = [], 0.0
        for layer in self.layers:
            x, n, loss = layer(x, self.cos[:t], self.sin[:t])
            counts.append(n)
            balance = balance + loss
        return norm(x, self.norm) @ self.head.T, torch.stack(counts), balance


def orthogonal(m, steps=5):
    """Newton-Schulz iteration on the last two dimensions (the update rule of Muon)."""
    x = m / (m.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    turned = x.shape[-2] > x.shape[-1]
    x = x.mT if turned else x
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if turned else x


class Muon(torch.optim.Optimizer):
    """Momentum with an orthogonalised step for matrices; stacked experts count as matrices."""

    def __init__(self, params, lr, momentum=0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                buf = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buf.lerp_(p.grad, 1 - group["momentum"])
                step = orthogonal(p.grad.lerp(buf, group["momentum"]))
                scale = max(1, p.shape[-2] / p.shape[-1]) ** 0.5
                p.mul_(1 - 0.01 * group["lr"]).add_(step, alpha=-group["lr"] * scale)


def tensors(model, copy=True):
    """The Hugging Face names of qwen3_moe: copies in bf16, or the parameters themselves."""
    out = {"model.embed_tokens.weight": model.embed, "model.norm.weight": model.norm,
           "lm_head.weight": model.head}
    for n, layer in enumerate(model.layers):
        at = "model.layers.%d." % n
        for ours, theirs in [("norm1", "input_layernorm"), ("norm2", "post_attention_layernorm"),
                             ("q", "self_attn.q_proj"), ("k", "self_attn.k_proj"),
                             ("v", "self_attn.v_proj"), ("o", "self_attn.o_proj"),
                             ("norm_q", "self_attn.q_norm"), ("norm_k", "self_attn.k_norm"),
                             ("router", "mlp.gate")]:
            out[at + theirs + ".weight"] = getattr(layer, ours)
        for e in range(CONFIG["num_experts"]):
            for ours in ("gate", "up", "down"):
                out[at + "mlp.experts.%d.%s_proj.weight" % (e, ours)] = getattr(layer, ours)[e]
    if not copy:
        return out
    return {k: v.detach().to(torch.bfloat16).contiguous() for k, v in out.items()}


@torch.no_grad()
def restore(folder, model):
    """Takes the weights of an export; returns its routing log."""
    saved = load_file(os.path.join(folder, "model.safetensors"))
    for name, mine in tensors(model, copy=False).items():
        mine.copy_(saved[name])
    with np.load(os.path.join(folder, "routing_log.npz")) as log:
        return list(log["counts"])


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, sort_keys=True)
        f.write("\n")


def export(out, model, tok, counts):
    os.makedirs(out, exist_ok=True)
    save_file(tensors(model), os.path.join(out, "model.safetensors"), {"format": "pt"})
    tok.save(os.path.join(out, "tokenizer.json"))
    write_json(os.path.join(out, "config.json"), CONFIG)
    write_json(os.path.join(out, "generation_config.json"),
               {"do_sample": False, "eos_token_id": [0, 2], "pad_token_id": 0})
    write_json(os.path.join(out, "tokenizer_config.json"),
               {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": False,
                "eos_token": tiny_tasks.IM_END, "pad_token": tiny_tasks.EOT,
                "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE,
                "model_max_length": CONFIG["max_position_embeddings"]})
    np.savez_compressed(os.path.join(out, "routing_log.npz"), counts=np.array(counts, np.uint16))


@torch.no_grad()
def judge(model, tok, task, n, seed):
    """Share of held-out questions answered exactly, all lengths at once (greedy)."""
    rng = random.Random(seed)
    asked = [tiny_tasks.question(rng, task, judged=True) for _ in range(n)]
    rows = [tok.encode(tiny_tasks.plain_prompt(q)).ids for _, q, _ in asked]
    done = [False] * n
    out = [[] for _ in rows]
    for _ in range(24):
        live = [i for i in range(n) if not done[i]]
        if not live:
            break
        width = max(len(rows[i]) for i in live)
        batch = torch.zeros(len(live), width, dtype=torch.long)
        for r, i in enumerate(live):
            batch[r, :len(rows[i])] = torch.tensor(rows[i])
        logits, _, _ = model(batch)
        for r, i in enumerate(live):
            token = int(logits[r, len(rows[i]) - 1].argmax())
            rows[i].append(token)
            if token in (0, 2):
                done[i] = True
            else:
                out[i].append(token)
    return sum(tok.decode(o).strip() == a for o, (_, _, a) in zip(out, asked)) / n


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", default="deploy/models/tiny")
    ap.add_argument("--steps", type=int, default=2000)
    ap.add_argument("--rows", type=int, default=48)
    ap.add_argument("--length", type=int, default=128)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--hold", action="store_true", help="keep the learning rate to the end")
    ap.add_argument("--init", help="start from the export in this folder")
    ap.add_argument("--focus", help="a task that gets a quarter of the documents on top")
    ap.add_argument("--seed", type=int, default=20261121)
    args = ap.parse_args()

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    tok = train_tokenizer(args.seed)
    model = Model(max(args.length, 160))
    rows = Rows(tok, args.seed + (2 if args.init else 1), args.rows, args.length, args.focus)
    matrices = [p for n, p in model.layers.named_parameters() if p.dim() >= 2 and "router" not in n]
    known = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in known]
    opts = [Muon(matrices, 0.02), torch.optim.AdamW(rest, 3e-3, betas=(0.9, 0.95), weight_decay=0)]
    base = [o.param_groups[0]["lr"] for o in opts]
    counts, begin = restore(args.init, model) if args.init else [], time.time()
    for step in range(args.steps):
        scale = min(1.0, (step + 1) / (20 if args.init else 100))
        if not args.hold:
            scale = min(scale, (args.steps - step) / args.steps)
        for o, lr in zip(opts, base):
            o.param_groups[0]["lr"] = lr * scale
        tokens, weight = rows.batch()
        logits, n, balance = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        answer = (loss * weight.flatten()).sum() / weight.sum()
        (answer + CONFIG["router_aux_loss_coef"] * balance).backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for o in opts:
            o.step()
            o.zero_grad(set_to_none=True)
        counts.append(n.numpy().astype(np.uint16))
        if step % 20 == 0 or step + 1 == args.steps:
            print("step %d loss %.4f balance %.3f seconds %.0f" % (
                step, answer.item(), balance.item() / len(model.layers), time.time() - begin),
                flush=True)
        if (step + 1) % 250 == 0 or step + 1 == args.steps:
            score = {t: judge(model, tok, t, 100, 7) for t in ("add2", "sub2", "add3", "sort", "reverse")}
            print("step %d judged" % step, score, flush=True)
            export(args.out, model, tok, counts)


if __name__ == "__main__":
    main()

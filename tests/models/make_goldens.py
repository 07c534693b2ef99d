#!/usr/bin/env python3
"""Makes tests/golden/models: tiny random checkpoints and what a reference computes on them.

Usage: make_goldens.py [OUTPUT_FOLDER [NAME...]]

Needs torch, transformers and safetensors; nothing that builds, serves or tests needs this script.
The same versions give the same bytes. Each folder holds a checkpoint as the real ones are published
(experts one by one, except for the variant that stores them fused) and golden.json with the file of
logits beside it; tests/golden/models/README.md describes both.

Weights are drawn in f32, rounded to the type of the checkpoint, written, and loaded again by
transformers; the reference runs in f32 on what was loaded. A case's seed is the first one whose
greedy path and routing stay clear of ties, so that a difference in rounding cannot flip a choice.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
import transformers

VOCAB = 131
HIDDEN = 64
EXPERTS = 8
PROMPT_TOKENS = (23, 40)
NEW_TOKENS = 32
LOGIT_MARGIN_MIN = 2e-3  # of the best over the second at every greedy step
DISTINCT_TOKENS_MIN = 8  # in the greedy path: a model stuck on one token would hide errors
ROUTER_GAP_MIN = 1e-3  # of the last chosen expert's router logit over the first one left out

COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "hidden_act": "silu",
    "attention_dropout": 0.0,
    "bos_token_id": None,
    "eos_token_id": VOCAB - 1,
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "output_router_logits": False,
    "router_aux_loss_coef": 0.001,
    "use_cache": True,
}

QWEN3_MOE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "num_experts_per_tok": 3,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "attention_bias": False,
    "rms_norm_eps": 1e-6,
    "sliding_window": None,
    "use_sliding_window": False,
}

# config: as published checkpoints spell it, or (fused) as transformers 5 writes it.
CASES = {
    "qwen3_moe_f32_sharded": {
        "dtype": torch.float32,
        "shards": 3,
        "config": COMMON | QWEN3_MOE | {
            "num_hidden_layers": 3,
            "num_experts": EXPERTS,
            "intermediate_size": 96,
            "moe_intermediate_size": 48,
            "rope_theta": 1000000.0,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
        },
    },
    "olmoe_bf16": {
        "dtype": torch.bfloat16,
        "shards": 1,
        "config": COMMON | {
            "architectures": ["OlmoeForCausalLM"],
            "model_type": "olmoe",
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "num_experts": EXPERTS,
            "num_experts_per_tok": 4,
            "norm_topk_prob": False,
            "intermediate_size": 40,
            "attention_bias": False,
            "clip_qkv": None,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
    },
    "mixtral_f16": {
        "dtype": torch.float16,
        "shards": 1,
        "config": COMMON | {
            "architectures": ["MixtralForCausalLM"],
            "model_type": "mixtral",
            "num_hidden_layers": 2,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "num_local_experts": EXPERTS,
            "num_experts_per_tok": 2,
            "intermediate_size": 56,
            "rms_norm_eps": 1e-5,
            "rope_theta": 1000000.0,
            "router_jitter_noise": 0.0,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
        },
    },
    "qwen3_moe_bf16_fused": {
        "dtype": torch.bfloat16,
        "shards": 1,
        "fused": True,
        "config": COMMON | QWEN3_MOE | {
            "num_hidden_layers": 2,
            "num_local_experts": EXPERTS,
            "num_experts_per_tok": 2,
            "intermediate_size": 96,
            "moe_intermediate_size": 40,
            "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
            "tie_word_embeddings": True,
            "dtype": "bfloat16",
        },
    },
    "qwen2_moe_bf16": {
        "dtype": torch.bfloat16,
        "shards": 1,
        "config": COMMON | {
            "architectures": ["Qwen2MoeForCausalLM"],
            "model_type": "qwen2_moe",
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "num_experts": EXPERTS,
            "num_experts_per_tok": 3,
            "norm_topk_prob": False,
            "intermediate_size": 120,
            "moe_intermediate_size": 40,
            "shared_expert_intermediate_size": 72,
            "decoder_sparse_step": 1,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "sliding_window": 512,
            "use_sliding_window": False,
            "max_window_layers": 2,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
    },
    "granitemoe_bf16": {
        "dtype": torch.bfloat16,
        "shards": 1,
        "config": COMMON | {
            "architectures": ["GraniteMoeForCausalLM"],
            "model_type": "granitemoe",
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "num_local_experts": EXPERTS,
            "num_experts_per_tok": 3,
            "intermediate_size": 32,
            "attention_bias": False,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "rope_scaling": None,
            "embedding_multiplier": 12.0,
            "attention_multiplier": 0.09,
            "residual_multiplier": 0.4,
            "logits_scaling": 6.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
    },
}


def random_tensors(config, seed):
    """Every tensor by the name of the published form, in f32. Scales keep activations near one."""
    generator = torch.Generator().manual_seed(seed)

    def normal(scale, *shape):
        return torch.randn(*shape, generator=generator) * scale

    def linear(outputs, inputs, gain=1.0):
        return normal(gain * inputs**-0.5, outputs, inputs)

    def norm(size):
        return 1.0 + normal(0.25, size)

    kind = config["model_type"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or HIDDEN // heads
    width = config.get("moe_intermediate_size", config["intermediate_size"])
    block, parts = "mlp", ("gate_proj", "up_proj", "down_proj")
    if kind == "mixtral":
        block, parts = "block_sparse_moe", ("w1", "w3", "w2")
    # A tied embedding is also the output: a large one makes every token predict itself.
    embedding_scale = 0.1 if config["tie_word_embeddings"] else 0.5
    embedding_scale /= config.get("embedding_multiplier", 1.0)
    tensors = {"model.embed_tokens.weight": normal(embedding_scale, VOCAB, HIDDEN)}
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        tensors[name + "input_layernorm.weight"] = norm(HIDDEN)
        tensors[name + "post_attention_layernorm.weight"] = norm(HIDDEN)
        attention = name + "self_attn."
        tensors[attention + "q_proj.weight"] = linear(heads * head_dim, HIDDEN, 1.5)
        tensors[attention + "k_proj.weight"] = linear(kv_heads * head_dim, HIDDEN, 1.5)
        tensors[attention + "v_proj.weight"] = linear(kv_heads * head_dim, HIDDEN)
        tensors[attention + "o_proj.weight"] = linear(HIDDEN, heads * head_dim)
        if kind == "qwen3_moe":
            tensors[attention + "q_norm.weight"] = norm(head_dim)
            tensors[attention + "k_norm.weight"] = norm(head_dim)
        elif kind == "olmoe":
            tensors[attention + "q_norm.weight"] = norm(heads * head_dim)
            tensors[attention + "k_norm.weight"] = norm(kv_heads * head_dim)
        if kind == "qwen2_moe":
            for part, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
                tensors[f"{attention}{part}_proj.bias"] = normal(0.5, rows * head_dim)
            shared = config["shared_expert_intermediate_size"]
            for part in ("gate", "up"):
                tensors[f"{name}mlp.shared_expert.{part}_proj.weight"] = linear(shared, HIDDEN)
            tensors[name + "mlp.shared_expert.down_proj.weight"] = linear(HIDDEN, shared)
            tensors[name + "mlp.shared_expert_gate.weight"] = linear(1, HIDDEN)
        if kind == "granitemoe":
            tensors[name + "block_sparse_moe.router.layer.weight"] = linear(EXPERTS, HIDDEN, 1.5)
            # Both of an expert's wide matrices together, gate half first.
            tensors[name + "block_sparse_moe.input_linear.weight"] = normal(
                HIDDEN**-0.5, EXPERTS, 2 * width, HIDDEN)
            tensors[name + "block_sparse_moe.output_linear.weight"] = normal(
                width**-0.5, EXPERTS, HIDDEN, width)
            continue
        tensors[f"{name}{block}.gate.weight"] = linear(EXPERTS, HIDDEN, 1.5)
        for expert in range(EXPERTS):
            for part in parts[:2]:
                tensors[f"{name}{block}.experts.{expert}.{part}.weight"] = linear(width, HIDDEN)
            tensors[f"{name}{block}.experts.{expert}.{parts[2]}.weight"] = linear(HIDDEN, width)
    tensors["model.norm.weight"] = norm(HIDDEN)
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = linear(VOCAB, HIDDEN, 2.0)
    return tensors


def fuse_experts(tensors, config):
    """The form of new releases: [E, 2f, h] with the gate half first, and [E, h, f]."""
    fused = {name: tensor for name, tensor in tensors.items() if ".experts." not in name}
    for layer in range(config["num_hidden_layers"]):
        base = f"model.layers.{layer}.mlp.experts."

        def stack(part):
            return torch.stack([tensors[f"{base}{e}.{part}.weight"] for e in range(EXPERTS)])

        fused[base + "gate_up_proj"] = torch.cat([stack("gate_proj"), stack("up_proj")], dim=1)
        fused[base + "down_proj"] = stack("down_proj")
    return fused


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_checkpoint(folder, case, seed):
    config = case["config"]
    tensors = random_tensors(config, seed)
    if case.get("fused"):
        tensors = fuse_experts(tensors, config)
    tensors = {name: tensors[name].to(case["dtype"]).contiguous() for name in sorted(tensors)}
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"eos_token_id": config["eos_token_id"]})
    if case["shards"] == 1:
        safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    # Dealt out by name in turns of five, so that the parts of one expert lie in different shards.
    count, weight_map = case["shards"], {}
    shards = [{} for _ in range(count)]
    for i, (name, tensor) in enumerate(tensors.items()):
        shards[i // 5 % count][name] = tensor
        weight_map[name] = f"model-{i // 5 % count + 1:05}-of-{count:05}.safetensors"
    for i, shard in enumerate(shards):
        safetensors.torch.save_file(
            shard, folder / f"model-{i + 1:05}-of-{count:05}.safetensors", {"format": "pt"})
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_size": total}, "weight_map": weight_map})


class Reference:
    """transformers on the written folder, in f32, with the routing recorded."""

    def __init__(self, folder):
        self.model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager",
            experts_implementation="eager", output_loading_info=True)
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not info[problem], (problem, info[problem])
        self.model.eval()
        self.router_logits = []
        for layer in self.model.model.layers:
            router = layer.mlp.gate if hasattr(layer, "mlp") else layer.block_sparse_moe.router
            router.register_forward_hook(
                lambda router, inputs, _: self.router_logits.append(
                    F.linear(inputs[0].reshape(-1, HIDDEN), router.weight)))

    def run(self, ids):
        """logits [n, VOCAB], router logits [layers, n, EXPERTS]."""
        self.router_logits.clear()
        with torch.no_grad():
            logits = self.model(torch.tensor([ids]), use_cache=False).logits[0]
        return logits, torch.stack(self.router_logits)


def check_round_trip(reference, case, seed):
    """The loaded weights are the rounded ones, whichever form they were written in."""
    config = case["config"]
    expected = {name: tensor.to(case["dtype"]).float()
                for name, tensor in random_tensors(config, seed).items()}
    if config["model_type"] == "mixtral":
        names = {"block_sparse_moe": "mlp", ".w1.": ".gate_proj.", ".w3.": ".up_proj.",
                 ".w2.": ".down_proj."}
        for old, new in names.items():
            expected = {name.replace(old, new): tensor for name, tensor in expected.items()}
    if config["model_type"] == "granitemoe":
        names = {".router.layer.": ".router.", ".input_linear.weight": ".experts.gate_up_proj",
                 ".output_linear.weight": ".experts.down_proj"}
        for old, new in names.items():
            expected = {name.replace(old, new): tensor for name, tensor in expected.items()}
    else:
        expected = fuse_experts(expected, config)
    loaded = reference.model.state_dict()
    if config["tie_word_embeddings"]:
        expected["lm_head.weight"] = expected["model.embed_tokens.weight"]
    assert expected.keys() == loaded.keys(), expected.keys() ^ loaded.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, loaded[name]), name


def golden_prompt(reference, config, prompt):
    """None: too close to a tie somewhere, too dull, or the end token came up."""
    ids = list(prompt)
    for _ in range(NEW_TOKENS):
        ids.append(int(reference.run(ids)[0][-1].argmax()))
    logits, router = reference.run(ids[:-1])
    greedy = ids[len(prompt):]
    if len(set(greedy)) < DISTINCT_TOKENS_MIN:
        return None
    best = logits[len(prompt) - 1:].topk(2).values
    margin = float((best[:, 0] - best[:, 1]).min())
    top_k = config["num_experts_per_tok"]
    chosen = router.topk(top_k + 1)
    gap = float((chosen.values[..., top_k - 1] - chosen.values[..., top_k]).min())
    if margin < LOGIT_MARGIN_MIN or gap < ROUTER_GAP_MIN or config["eos_token_id"] in greedy:
        return None
    assert logits[len(prompt) - 1:].argmax(dim=1).tolist() == greedy
    return {
        "prompt": list(prompt),
        "greedy": greedy,
        "greedy_margin_min": margin,
        "router_gap_min": gap,
        "positions": len(ids) - 1,
        "routed_experts": chosen.indices[..., :top_k].tolist(),
    }, logits


def try_seed(folder, case, seed):
    write_checkpoint(folder, case, seed)
    reference = Reference(folder)
    check_round_trip(reference, case, seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    prompts = []
    for i, tokens in enumerate(PROMPT_TOKENS):
        ids = torch.randint(0, VOCAB - 1, (tokens,), generator=generator).tolist()
        found = golden_prompt(reference, case["config"], ids)
        if found is None:
            return False
        golden, logits = found
        golden["logits_file"] = f"golden_{i}.f32"
        logits.numpy().astype("<f4").tofile(folder / golden["logits_file"])
        prompts.append(golden)
    write_json_rows(folder / "golden.json", {
        "seed": seed,
        "made_with": {"torch": torch.__version__.split("+")[0],
                      "transformers": transformers.__version__,
                      "safetensors": safetensors.__version__},
        "vocab": VOCAB,
        "prompts": prompts,
    })
    return True


def write_json_rows(path, value):
    """As write_json, but with lists of numbers and lists of those on one line each."""

    def depth(item):
        return 1 + depth(item[0]) if isinstance(item, list) and item else 0

    def show(item, pad):
        inner = pad + "  "
        if isinstance(item, dict):
            rows = [f"{json.dumps(key)}: {show(part, inner)}" for key, part in item.items()]
            return "{\n" + ",\n".join(inner + row for row in rows) + f"\n{pad}}}"
        if depth(item) > 2 or (depth(item) == 1 and isinstance(item[0], dict)):
            rows = [inner + show(part, inner) for part in item]
            return "[\n" + ",\n".join(rows) + f"\n{pad}]"
        return json.dumps(item, separators=(",", ":"), allow_nan=False)

    path.write_text(show(value, "") + "\n")


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                       pathlib.Path(__file__).resolve().parents[1] / "golden" / "models")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in sys.argv[2:] or CASES:
        case = CASES[name]
        for seed in range(1000):
            with tempfile.TemporaryDirectory() as scratch:
                folder = pathlib.Path(scratch)
                if not try_seed(folder, case, seed):
                    continue
                shutil.rmtree(out / name, ignore_errors=True)
                shutil.copytree(folder, out / name)
            size = sum(f.stat().st_size for f in (out / name).iterdir())
            print(f"{name}: seed {seed}, {size} bytes", flush=True)
            assert size < 2_000_000
            break


if __name__ == "__main__":
    main()

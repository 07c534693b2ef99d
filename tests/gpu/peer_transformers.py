#!/usr/bin/env python3
"""What PyTorch with transformers reaches with the same model folder on the same device.

    peer_transformers.py --name NAME --model DIR --out FILE [--device cuda|cpu] [--seconds S]
                         [--limit S] [--prompt N] [--batches 1,8] [--decode N]

Decoding (batches, after a short prompt) and one long prompt with all weights on the device, then
decoding with half of the weights left to accelerate's offloading. The library's defaults are used,
but for sdpa attention and logits of the last position only: what a user gets who follows its pages.
The routing is that of the random weights, nearly uniform; with all weights resident that is the same
work, offloaded it is not an advantage either, for whole layers travel. Writes JSON lines as
bench_gpu does, a reason where something could not be run; never fails a run for that."""

import argparse
import importlib.util
import json
import statistics
import time

OPENING = 64
ROUNDS_LEAST, ROUNDS_MAX = 3, 9


class Peer:
    """A model of transformers and how it is timed."""

    def __init__(self, args, torch):
        self.args, self.torch = args, torch
        self.begun = time.monotonic()

    def left(self):
        return self.args.limit - (time.monotonic() - self.begun)

    def load(self, share_on_device):
        from transformers import AutoModelForCausalLM  # pylint: disable=import-outside-toplevel
        words = {"dtype": self.torch.bfloat16, "attn_implementation": "sdpa"}
        if share_on_device < 1:  # needs accelerate: without it the figure is left out, and says so
            room = int(self.weight_bytes() * share_on_device)
            words.update(device_map="auto", max_memory={0: room, "cpu": 1 << 40})
            return AutoModelForCausalLM.from_pretrained(self.args.model, **words).eval()
        if self.args.device == "cuda" and importlib.util.find_spec("accelerate"):
            words["device_map"] = {"": 0}  # straight to the device
        model = AutoModelForCausalLM.from_pretrained(self.args.model, **words)
        return model.to(self.args.device).eval()

    def weight_bytes(self):
        with open(self.args.model + "/model.safetensors.index.json", encoding="utf-8") as f:
            return json.load(f)["metadata"]["total_size"]

    def now(self):
        if self.args.device == "cuda":
            self.torch.cuda.synchronize()
        return time.monotonic()

    def rounds(self, work, tokens):
        """Median tokens per second of some rounds, the first one not counted."""
        rates, begun = [], self.now()
        work()
        while len(rates) < ROUNDS_MAX and (len(rates) < ROUNDS_LEAST
                                           or time.monotonic() - begun < self.args.seconds):
            start = self.now()
            work()
            rates.append(tokens / (self.now() - start))
        return {"tokens_per_s": statistics.median(rates), "rounds": len(rates)}

    def prompt_ids(self, model, batch, tokens):
        generator = self.torch.Generator().manual_seed(batch * 100003 + tokens)
        ids = self.torch.randint(0, model.config.vocab_size, (batch, tokens), generator=generator)
        return ids.to(self.args.device)

    def decode(self, model, batch):
        ids = self.prompt_ids(model, batch, OPENING)
        out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        state = {"cache": out.past_key_values, "ids": out.logits[:, -1:].argmax(-1)}

        def some_tokens():
            for _ in range(self.args.decode):
                step = model(input_ids=state["ids"], past_key_values=state["cache"],
                             use_cache=True, logits_to_keep=1)
                state["cache"] = step.past_key_values
                state["ids"] = step.logits[:, -1:].argmax(-1).to(self.args.device)

        return self.rounds(some_tokens, self.args.decode * batch)

    def prefill(self, model):
        ids = self.prompt_ids(model, 1, self.args.prompt)
        return self.rounds(lambda: model(input_ids=ids, use_cache=True, logits_to_keep=1),
                           self.args.prompt)

    def run(self, tell):
        with self.torch.inference_mode():
            model = self.load(1)
            for batch in self.args.batches:
                tell("decode.b%d" % batch, lambda b=batch: self.decode(model, b))
            tell("prefill.%d" % self.args.prompt, lambda: self.prefill(model))
            del model
            if self.args.device != "cuda":
                return
            self.torch.cuda.empty_cache()
            tell("offload.decode.b1", lambda: self.decode(self.load(0.5), 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in ("name", "model", "out"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--prompt", type=int, default=2048)
    parser.add_argument("--batches", default=[1, 8],
                        type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--decode", type=int, default=16)
    args = parser.parse_args()
    with open(args.out, "a", encoding="utf-8") as out:
        def write(line):
            out.write(json.dumps({"model": args.name, **line}) + "\n")
            out.flush()

        try:
            import torch  # pylint: disable=import-outside-toplevel
            import transformers  # pylint: disable=import-outside-toplevel
        except ImportError as missing:
            write({"figure": "transformers", "left_out": str(missing)})
            return
        peer = Peer(args, torch)
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}

        def tell(figure, work):
            if peer.left() < args.seconds:
                write({"figure": "transformers: " + figure, "left_out": "out of time"})
                return
            try:
                write({"figure": figure, **work(), **versions})
            except Exception as error:  # pylint: disable=broad-exception-caught
                write({"figure": "transformers: " + figure,
                       "left_out": "%s: %s" % (type(error).__name__, str(error)[:200])})

        try:
            peer.run(tell)
        except Exception as error:  # pylint: disable=broad-exception-caught
            write({"figure": "transformers",
                   "left_out": "%s: %s" % (type(error).__name__, str(error)[:200])})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Asks moering the held-out questions of the built-in model, greedily, and prints a table.

    tests/models/eval_tiny.py MOERING_BINARY [MODEL] [--questions 400] [--require PERCENT]

With --require the exit status is 1 if two-digit addition, two-digit subtraction or sorting stays
below that share of exact answers. Needs Python's standard library only. The experts are paged
through a ring of a quarter of their number: quality must not depend on it.
"""

import argparse
import json
import os
import random
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tiny_tasks

REQUIRED = ("add2", "sub2", "sort")
LABELS = {
    "add2": "two-digit addition", "sub2": "two-digit subtraction",
    "add3": "three-digit addition", "sub3": "three-digit subtraction",
    "sort": "sorting 3 to 6 numbers", "reverse": "reversing 3 to 7 letters or digits",
    "words": "number words, both ways", "units": "unit conversion",
    "forms": "larger, smaller, parity, next", "facts": "thirty facts (all trained on)",
}


PROMPTS_PER_RUN = 64  # the most that moering run takes at once


def ask(args, prompts):
    """Their texts, a process per batch of requests."""
    texts = []
    for begin in range(0, len(prompts), PROMPTS_PER_RUN):
        texts += ask_batch(args, prompts[begin:begin + PROMPTS_PER_RUN])
    return texts


def ask_batch(args, prompts):
    command = [args.binary, "run"] + ([args.model] if args.model else [])
    command += ["--json", "-n", "32", "--temperature", "0", "--device-experts", "25%"]
    for prompt in prompts:
        command += ["-p", prompt]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    out = json.loads(done.stdout)
    return [r["text"] for r in (out if isinstance(out, list) else [out])]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("binary")
    ap.add_argument("model", nargs="?")
    ap.add_argument("--questions", type=int, default=400, help="per task and form of asking")
    ap.add_argument("--require", type=float, help="percent")
    args = ap.parse_args()

    failed = False
    print("| task | held-out questions | exact, `Q: ... A:` | exact, chat form |")
    print("|---|---|---|---|")
    for name, _, _ in tiny_tasks.TASKS:
        rng = random.Random("judge " + name)
        judged = name != "facts"
        asked, seen = [], set()
        for _ in range(20 * args.questions):
            question = tiny_tasks.question(rng, name, judged=judged)
            if question[1] not in seen and len(asked) < args.questions:
                seen.add(question[1])
                asked.append(question)
        shares = []
        for form in (tiny_tasks.plain_prompt, tiny_tasks.chat_prompt):
            texts = ask(args, [form(q) for _, q, _ in asked])
            right = sum(t.strip() == a for t, (_, _, a) in zip(texts, asked))
            shares.append(100.0 * right / len(asked))
        print("| %s | %s | %.1f %% | %.1f %% |" % (
            LABELS[name], len(asked) if judged else "(none)", shares[0], shares[1]), flush=True)
        if args.require and name in REQUIRED and min(shares) < args.require:
            failed = True
    if failed:
        print("below the required %.1f %%" % args.require, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Writes a routing trace (engine/replay/trace.h) of any shape whose locality is that of a real one.

    make_trace.py --layers L --experts E --top-k K --out FILE [--tokens N] [--seed S] [--check]

A ring lives on three habits of real routers, and so does this model of them. A text stays with its
subject: a request has one, and now and then turns to another. A subject has its favourites in every
layer: expert weights fall as a power of their rank, in an order of its own. And a token is like the
one before it: some of its experts are chosen again. The numbers below are set so that a trace of
gpt-oss-20b's shape (24 layers, 32 experts, top-4) has the reuse and the LRU hit rates measured in
that model's own decoding of many requests:

                                 lag-1 reuse   LRU, 12.5 %   25 %    50 % of the pages
    measured                     0.44          0.35          0.61    0.91
    seeds 1 and 2                0.43          0.37          0.60    0.92

--check prints these figures of the trace made. Standard library only."""

import argparse
import array
import bisect
import collections
import itertools
import json
import math
import random

REPEAT = 0.22        # chance that a choice of the token before is made again
BREADTH = 0.26       # weight of the expert of rank r: exp(-(r / (BREADTH * experts)) ^ STEEPNESS)
STEEPNESS = 1.5
SUBJECTS = 24
SUBJECT_TOKENS = 150 # a subject lasts so long on average
REQUEST_TOKENS = 285


def favourites(rng, experts):
    """Cumulative weights of the experts of one layer, for one subject."""
    weights = [math.exp(-(rank / (BREADTH * experts)) ** STEEPNESS) for rank in range(experts)]
    rng.shuffle(weights)
    return list(itertools.accumulate(weights))


def choose(rng, cumulative, before, top_k):
    """Distinct experts of one token in one layer."""
    chosen = [e for e in before if rng.random() < REPEAT]
    while len(chosen) < top_k:
        expert = bisect.bisect(cumulative, rng.random() * cumulative[-1])
        expert = min(expert, len(cumulative) - 1)
        if expert not in chosen:
            chosen.append(expert)
    return chosen


def make(layers, experts, top_k, tokens, seed):
    """(ids [token][layer][k] flat, tokens of each request)."""
    rng = random.Random(seed)
    taste = [[favourites(rng, experts) for _ in range(layers)] for _ in range(SUBJECTS)]
    ids = array.array("B" if experts < 255 else "H")
    requests = []
    while sum(requests) < tokens:
        length = min(tokens - sum(requests), 1 + int(rng.expovariate(1 / REQUEST_TOKENS)))
        requests.append(length)
        before = [[] for _ in range(layers)]
        subject = rng.randrange(SUBJECTS)
        for _ in range(length):
            if rng.random() < 1 / SUBJECT_TOKENS:
                subject = rng.randrange(SUBJECTS)
            for layer in range(layers):
                before[layer] = choose(rng, taste[subject][layer], before[layer], top_k)
                ids.extend(before[layer])
    return ids, requests


def write(path, ids, requests, args):
    header = {"format": "moering-trace", "version": 1, "model": "synthetic", "layers": args.layers,
              "experts": args.experts, "top_k": args.top_k, "tokens": sum(requests),
              "dtype": "u8" if ids.typecode == "B" else "u16", "phase": "decode",
              "source": "tests/gpu/make_trace.py, seed %d" % args.seed,
              "requests": [{"tokens": n, "label": ""} for n in requests]}
    with open(path, "wb") as f:
        f.write(json.dumps(header).encode() + b"\n")
        f.write(ids.tobytes())


def lru_hit_rate(ids, args, share):
    """Of a cache of `share` of all pages, cold start counted."""
    room, held, hits = int(args.layers * args.experts * share), collections.OrderedDict(), 0
    for i, expert in enumerate(ids):
        page = i // args.top_k % args.layers * args.experts + expert
        if page in held:
            hits += 1
            held.move_to_end(page)
        else:
            held[page] = True
            if len(held) > room:
                held.popitem(last=False)
    return hits / len(ids)


def reuse(ids, args):
    """Share of choices that the token before made too, in the same layer."""
    step, same = args.layers * args.top_k, 0
    for i in range(step, len(ids), args.top_k):
        same += len(set(ids[i:i + args.top_k]) & set(ids[i - step:i - step + args.top_k]))
    return same / (len(ids) - step)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in ("layers", "experts", "top-k"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if not 1 <= args.top_k <= args.experts < 65535 or args.layers < 1 or args.tokens < 1:
        parser.error("1 <= top-k <= experts < 65535, layers >= 1 and tokens >= 1 are needed")
    ids, requests = make(args.layers, args.experts, args.top_k, args.tokens, args.seed)
    write(args.out, ids, requests, args)
    if args.check:
        rates = ["%.2f at %g %%" % (lru_hit_rate(ids, args, s), 100 * s) for s in (.125, .25, .5)]
        print("lag-1 reuse %.2f; LRU hit rate %s" % (reuse(ids, args), ", ".join(rates)))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Hit rates by ring size and number of sequences, as JSON lines.

    tests/bench/hit_rates.py MOERING_BINARY [MODEL] [--tokens 60] [--prefetch off|auto|on] [--policy P]

One greedy run each on one thread, pages on demand; beside the rate stand the bytes read from storage per token.
"""

import argparse
import json
import subprocess

SLOTS = (4, 8, 16, 24, 48, 96, 144)
SEQUENCES = (1, 4, 8)


def measure(args, slots, sequences):
    command = [args.binary, "run"] + ([args.model] if args.model else [])
    for i in range(sequences):
        command += ["-p", "Ada %d went to" % (i + 1)]
    command += ["-n", str(args.tokens), "--temperature", "0", "--json", "--threads", "1",
                "--device-experts", str(slots), "--prefetch", args.prefetch, "--policy", args.policy,
                "--stream-layers", "off"]
    out = json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                    check=True).stdout)
    usages = [r["usage"] for r in (out if isinstance(out, list) else [out])]
    total = lambda key: sum(u["experts"][key] for u in usages)
    tokens = sum(u["completion_tokens"] for u in usages)
    return {"slots": slots, "sequences": sequences, "prefetch": args.prefetch,
            "policy": args.policy,
            "hit_rate": round(total("hits") / (total("hits") + total("misses")), 4),
            "bytes_per_token": total("bytes") // tokens}


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("binary")
    ap.add_argument("model", nargs="?")
    ap.add_argument("--tokens", type=int, default=60)
    ap.add_argument("--prefetch", choices=("off", "auto", "on"), default="off")
    ap.add_argument("--policy", choices=("learned", "round", "lru", "lfu", "random"),
                    default="learned")
    args = ap.parse_args()
    for sequences in SEQUENCES:
        for slots in SLOTS:
            print(json.dumps(measure(args, slots, sequences)), flush=True)


if __name__ == "__main__":
    main()

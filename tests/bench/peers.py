#!/usr/bin/env python3
"""Runs this server's benchmark and those of other programs on one GGUF file, in turn, and prints a table.

    tests/bench/peers.py MODEL.gguf --moering BUILD/bin/moering
        [--peer NAME=DIR[:FLAGS] ...] [--rounds 5] [--threads 2] [--what prefill,decode,batch]
        [--limit PERCENT,...] [--readahead KIB] [--json OUT]

A peer is a folder that holds llama-bench and llama-batched-bench; FLAGS are added to its commands
("ik=/opt/ik/bin:-rtr 1"). Every round runs each program once for each figure, in turn, so that what
else the machine does meets all of them; the table has medians over the rounds, the bound that ours finds
for itself (`moering bench` says what of) and the ratio ours / theirs.

--limit: decode with memory limited to these shares of the file, each program in a control group of its
own (root; version 1 or 2). The page cache is dropped first, and peers map the file with a readahead of
--readahead KiB (they page by page faults; with the megabytes that some machines have set they would read
each page many times over). What was read is taken from the group's own processes.

Python's standard library only."""

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile

BATCHES = (8, 16)


def run(command, group=None, timeout=1800, errors=False):
    """Output of a command (with `errors`: both of its outputs); None: it failed. In a folder of its own:
    some programs leave a log where they are."""
    def enter():
        if group:
            group.enter()
    with tempfile.TemporaryFile("w+") as err, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True, cwd=folder,
                                   preexec_fn=enter if group else None)
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            return None
        if process.returncode != 0:
            err.seek(0)
            sys.stderr.write("%s\nfailed (%d): %s\n" % (shlex.join(command), process.returncode,
                                                       err.read()[-2000:]))
            return None
        err.seek(0)
        return out + err.read() if errors else out


class Group:
    """A control group with a limit on memory inside the one that we are in, version 1 or 2."""

    def __init__(self, limit_bytes):
        with open("/proc/self/cgroup") as f:
            groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in f)
        v1 = "memory" in groups
        root = "/sys/fs/cgroup/memory" + groups["memory"] if v1 else "/sys/fs/cgroup" + groups[""]
        self.path = os.path.join(root, "peers-%d" % os.getpid())
        os.mkdir(self.path)
        if v1:
            self.write("memory.limit_in_bytes", limit_bytes)
            self.write("memory.swappiness", 0)
        else:
            self.write("memory.max", limit_bytes)
            self.write("memory.swap.max", 0)

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w") as f:
            f.write(str(value))

    def enter(self):
        self.write("cgroup.procs", os.getpid())

    def close(self):
        os.rmdir(self.path)


class Ours:
    def __init__(self, path, args):
        self.name, self.path, self.args = "moering", os.path.abspath(path), args
        self.bounds = {}  # by figure: tokens/s

    def bench(self, words, group=None):
        out = run([self.path, "bench", self.args.model, "-t", str(self.args.threads), "-r", "1",
                      "-o", "json"] + words, group)
        return json.loads(out) if out else None

    def speed(self, words, group=None):
        got = self.bench(words, group)
        self.bound = got[0]["bound_ts"] if got else None
        return got[0]["avg_ts"] if got else None

    def prefill(self):
        return self.speed(["-p", str(self.args.prompt), "-n", "0"])

    def decode(self, n, group=None):
        return self.speed(["-p", "0", "-n", str(n)], group)

    def batch(self, count):
        return self.speed(["-p", "0", "-n", "32", "-b", str(count)])


class Peer:
    def __init__(self, spec, args):
        self.name, _, rest = spec.partition("=")
        self.folder, _, flags = rest.partition(":")
        self.folder = os.path.abspath(self.folder)
        self.flags, self.args = shlex.split(flags), args

    def bench(self, words, group=None, flags=None):
        out = run([os.path.join(self.folder, "llama-bench"), "-m", self.args.model, "-t",
                      str(self.args.threads), "-r", "1", "-o", "json"] + words +
                     (self.flags if flags is None else flags), group)
        return json.loads(out[out.index("["):])[0]["avg_ts"] if out else None

    def prefill(self):
        return self.bench(["-p", str(self.args.prompt), "-n", "0"])

    def decode(self, n, group=None):
        # Repacking at run time needs the whole file in anonymous memory: not under a limit.
        return self.bench(["-p", "0", "-n", str(n)], group, [] if group else None)

    def batch(self, count):
        out = run([os.path.join(self.folder, "llama-batched-bench"), "-m", self.args.model, "-t",
                      str(self.args.threads), "-npp", "16", "-ntg", "32", "-npl", str(count),
                      "-c", "4096"] + [f for f in self.flags if f != "1"], errors=True)
        rows = re.findall(r"^\|\s*16 \|\s*32 \|\s*%d \|(.*)\|" % count, out or "", re.M)
        return float(rows[-1].split("|")[4]) if rows else None


def drop_page_cache():
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("1")


def readahead_of(path):
    device = os.stat(path).st_dev
    link = os.path.realpath("/sys/dev/block/%d:%d" % (os.major(device), os.minor(device)))
    while not os.path.exists(os.path.join(link, "queue")):
        link = os.path.dirname(link)
    return os.path.join(link, "queue", "read_ahead_kb")


def measure(programs, figures, rounds):
    samples = {}
    for r in range(rounds):
        for figure, call in figures:
            for p in programs:
                got = call(p)
                sys.stderr.write("round %d  %-22s %-10s %s\n" % (r + 1, figure, p.name, got))
                if got:
                    samples.setdefault((figure, p.name), []).append(got)
                if got and p is programs[0] and p.bound:
                    p.bounds.setdefault(figure, []).append(p.bound)
    return samples


def table(programs, figures, samples):
    names = [p.name for p in programs]
    lines = ["| tokens/s | " + " | ".join([names[0], "bound"] + names[1:]) + " | " +
             " | ".join("ours / " + n for n in names[1:]) + " |",
             "|---" * (2 * len(names) + 1) + "|"]
    for figure, _ in figures:
        medians = [statistics.median(samples[figure, n]) if (figure, n) in samples else None
                   for n in names]
        cells = ["%.2f" % m if m else "failed" for m in medians]
        bounds = programs[0].bounds.get(figure)
        cells.insert(1, "%.2f" % statistics.median(bounds) if bounds else "-")
        ratios = ["%.2f" % (medians[0] / m) if m and medians[0] else "?" for m in medians[1:]]
        lines.append("| %s | %s |" % (figure, " | ".join(cells + ratios)))
    return "\n".join(lines)


def limited(programs, args):
    """decode(program) at each share of the file, in a group of that much memory."""
    size = os.path.getsize(args.model)

    def at(percent):
        def call(program):
            drop_page_cache()
            group = Group(int(size * percent / 100))
            try:
                return program.decode(args.limited_tokens, group)
            finally:
                group.close()
        return call
    return [("decode, %g %% of the file" % p, at(p)) for p in args.limit]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--moering", required=True)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--limited-tokens", type=int, default=48)
    parser.add_argument("--what", default="prefill,decode,batch")
    parser.add_argument("--limit", type=lambda t: [float(x) for x in t.split(",")], default=[])
    parser.add_argument("--readahead", type=int, default=128)
    parser.add_argument("--json")
    args = parser.parse_args()
    args.model = os.path.abspath(args.model)
    programs = [Ours(args.moering, args)] + [Peer(p, args) for p in args.peer]
    known = {"prefill": [("prefill %d" % args.prompt, lambda p: p.prefill())],
             "decode": [("decode", lambda p: p.decode(args.tokens))],
             "batch": [("decode, %d sequences" % b, lambda p, b=b: p.batch(b)) for b in BATCHES]}
    figures = [f for w in args.what.split(",") if w for f in known[w]]
    before = None
    if args.limit:
        figures += limited(programs, args)
        before = readahead_of(args.model)
        with open(before) as f:
            kept = f.read()
        with open(before, "w") as f:
            f.write(str(args.readahead))
    try:
        samples = measure(programs, figures, args.rounds)
    finally:
        if before:
            with open(before, "w") as f:
                f.write(kept)
    print(table(programs, figures, samples))
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"model": os.path.basename(args.model), "threads": args.threads,
                       "samples": [{"figure": k[0], "program": k[1], "tokens_per_s": v}
                                   for k, v in samples.items()],
                       "bounds": programs[0].bounds}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()

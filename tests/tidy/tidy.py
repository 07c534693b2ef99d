#!/usr/bin/env python3
"""Checks the tree against the rules of ARCHITECTURE.md that a machine can check.

1. Includes go down only: the top-level direction and, inside engine/, the order of its groups.
2. Third-party headers stay in their rooms (nghttp2 in http2.c, zlib in grpc_message.c, ...).
3. Sizes: files, headers and functions stay within limits; what is longer is listed in ratchet.json
   with its present length and may only shrink.
4. Lines have at most 100 columns, in tests too.
5. Mirrored tests: a/b/c.c has tests/a/b/c_test.cc unless exempt.json says which test covers it.

    tests/tidy/tidy.py [ROOT] [--write-ratchet]
"""

import json
import os
import re
import subprocess
import sys

LIMITS = {"file": 600, "header": 250, "function": 70}
COLUMNS = 100

# A room may include those listed and itself; clients see the wire only.
ROOMS = {
    "memory/base": [],
    "memory": ["memory/base"],
    "engine": ["memory", "memory/base"],
    "server": ["engine", "memory", "memory/base", "proto"],
    "clients": ["proto"],
}

# Inside engine/, left to right; a group includes groups further left and itself.
ENGINE_ORDER = [
    ["quant", "tokenizer", "predict", "template"],
    ["backend", "grammar"],
    ["load"],
    ["attention", "paging", "batch"],
    ["sequence", "moe", "replay", "sampler", "sampler_row", "sampler_select"],
    ["model"],
    ["parts_plan", "parts", "resize", "step_sampler", "engine_stats", "engine_state", "engine"],
]

# A header of a library and the only files that may see it.
LIBRARIES = {
    r"nghttp2/": ["server/grpc/http2", "clients/c/", "clients/bench/"],
    r"zlib\.h": ["server/grpc/grpc_message"],
    r"pcre2\.h": ["engine/tokenizer/"],
    r"utf8proc\.h": ["engine/tokenizer/", "engine/template/", "engine/grammar/", "server/"],
    r"yaml\.h": ["server/config/"],
    r"jansson\.h": ["engine/load/", "engine/tokenizer/", "engine/template/", "engine/grammar/",
                      "engine/replay/", "server/", "clients/cli/", "clients/bench/"],
    r"openssl/": ["server/net/", "clients/c/", "clients/bench/"],
    r"cuda_runtime\.h": [".cu", ".cuh"],
    r"liburing\.h": ["memory/io_uring"],
}

SOURCES = (".c", ".h", ".cu", ".cuh")
FUNCTION = re.compile(r"^[A-Za-z_][^;=]*\)\s*$|^[A-Za-z_][^;=]*\)\s*\{\s*$")


def tracked(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [f for f in listed.stdout.splitlines() if os.path.exists(os.path.join(root, f))]
    return [os.path.relpath(os.path.join(d, f), root) for d, _, fs in os.walk(root) for f in fs]


def room_of(path):
    for room in sorted(ROOMS, key=len, reverse=True):
        if path.startswith(room + "/"):
            return room
    return path.split("/")[0]


def engine_group(path):
    name = path.split("/")[1]
    stem = name.split(".")[0]
    for rank, names in enumerate(ENGINE_ORDER):
        if stem in names:
            return rank
    return None


def includes(text):
    return re.findall(r'^\s*#\s*include\s+["<]([^">]+)[">]', text, re.M)


def check_directions(path, text):
    problems = []
    room = room_of(path)
    if room not in ROOMS:
        return problems
    for header in includes(text):
        top = header.split("/")[0]
        if top in ("memory", "engine", "server", "clients", "tests"):
            target = room_of(header)
            if target != room and target not in ROOMS[room]:
                problems.append("%s includes %s: %s may not include %s" % (path, header, room, target))
        if path.startswith("engine/") and header.startswith("engine/"):
            mine, theirs = engine_group(path), engine_group(header)
            if mine is None:
                problems.append("%s: its group has no place in the order of tidy.py" % path)
            elif theirs is not None and theirs > mine:
                problems.append("%s includes %s, which stands to its right" % (path, header))
        for pattern, homes in LIBRARIES.items():
            if re.match(pattern, header) and not any(h in path for h in homes):
                problems.append("%s includes %s, which belongs to %s" % (path, header, ", ".join(homes)))
    return problems


def functions(text):
    """(name, first line, lines) of each function body: from a '{' in column 0 to a '}' there."""
    found, lines, start = [], text.split("\n"), None
    for i, line in enumerate(lines):
        if line.startswith("{") and start is None:
            start = i
        elif line.startswith("}") and start is not None:
            head = " ".join(lines[max(0, start - 6):start])
            names = re.findall(r"(\w+)\s*\(", head)
            known = [n for n in names if n not in ("__attribute__", "format", "if", "while")]
            found.append((known[-1] if known else "?", start + 1, i - start + 1))
            start = None
    return found


def sizes(path, text):
    """key -> (length, limit) of everything that is over its limit."""
    over = {}
    count = text.count("\n")
    kind = "header" if path.endswith((".h", ".cuh")) else "file"
    if count > LIMITS[kind]:
        over[path] = (count, LIMITS[kind])
    for name, _, length in functions(text):
        if length > LIMITS["function"]:
            over["%s:%s" % (path, name)] = (length, LIMITS["function"])
    return over


def check_columns(path, text):
    return ["%s:%d has %d columns; %d are allowed" % (path, number, len(line), COLUMNS)
            for number, line in enumerate(text.split("\n"), 1) if len(line) > COLUMNS]


def check_sizes(over, ratchet):
    problems = []
    for key, (length, limit) in sorted(over.items()):
        allowed = ratchet.get(key, limit)
        if length > allowed:
            problems.append("%s has %d lines; %d are allowed" % (key, length, allowed))
    for key in ratchet:
        if key not in over:
            problems.append("%s is within its limit now: take it out of ratchet.json" % key)
    return problems


def check_mirrors(files, exempt):
    problems = []
    have = set(files)
    for path in sorted(files):
        if not path.endswith((".c", ".cu")) or room_of(path) not in ROOMS:
            continue
        stem = os.path.splitext(path)[0]
        test = "tests/%s_test.cc" % stem
        cover = exempt.get(path)
        if test in have:
            if cover:
                problems.append("%s has its own test: take it out of exempt.json" % path)
        elif not cover:
            problems.append("%s has no %s" % (path, test))
        elif cover not in have:
            problems.append("exempt.json: %s is said to be covered by %s, which is not there"
                            % (path, cover))
    for path in exempt:
        if path not in have:
            problems.append("exempt.json names %s, which is not there" % path)
    return problems


def load(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def main():
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    root = words[0] if words else "."
    files = tracked(root)
    problems, over = [], {}
    for path in files:
        if not path.endswith(SOURCES + (".cc",)):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        problems += check_columns(path, text)
        if path.startswith("tests/"):
            continue
        problems += check_directions(path, text)
        over.update(sizes(path, text))
    if "--write-ratchet" in sys.argv:
        out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ratchet.json")
        with open(out, "w", encoding="utf-8") as f:
            json.dump({k: v[0] for k, v in sorted(over.items())}, f, indent=2)
            f.write("\n")
        return 0
    problems += check_sizes(over, load("ratchet.json"))
    problems += check_mirrors(files, load("exempt.json"))
    for problem in problems:
        print(problem)
    print("%d files, %d problems" % (len(files), len(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What the prefix cache saves in a chat: the same turns on two servers, one with it and one without.

    chat_turns.py MOERING MODEL [--turns 6] [--first 500] [--more 100] [--answer 48] [--rounds 3]
                  [-- FLAGS OF serve...]

A turn's prompt is all that was said before, the answers included, and --more new tokens. Turns are
interleaved: first one server, then the other. Each round is another chat. Answers must be equal.
Prints one JSON object for each turn, medians over the rounds: prompt tokens, tokens taken from the
cache, seconds of prefill with it and without, and the bound of the first: the second times the share
of the tokens that had to be computed.
"""
import argparse
import atexit
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import urllib.error
import urllib.request


def serve(program, model, flags):
    """The base URL of a server that is ready."""
    process = subprocess.Popen([program, "serve", model, "--port", "0", "--grpc-port", "0", *flags],
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    atexit.register(process.kill)
    lines, url = [], None
    for line in process.stderr:
        lines.append(line)
        found = re.search(r"HTTP on \S+:(\d+)", line)
        url = "http://127.0.0.1:" + found.group(1) if found else url
        if url and re.search(r"INFO serving \S+ \(", line):
            threading.Thread(target=process.stderr.read, daemon=True).start() # or it would fill
            return url
    return sys.exit("chat_turns.py: the server ended:\n" + "".join(lines[-5:]))


def ask(url, prompt, tokens):
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    request = urllib.request.Request(url + "/v1/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=3600) as answer:
        a = json.load(answer)
    return a["choices"][0]["token_ids"], a["usage"]["prompt_tokens_details"]["cached_tokens"], \
        a["timings"]["prompt_ms"] / 1e3


def vocabulary(url):
    """How many token ids there are, by halving."""
    low, high = 1, 1 << 24
    while low + 1 < high: # an id is refused at once if it is none
        middle = (low + high) // 2
        body = json.dumps({"tokens": [middle]}).encode()
        request = urllib.request.Request(url + "/detokenize", body, {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=60).close()
            low = middle
        except urllib.error.HTTPError:
            high = middle
    return high


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moering")
    parser.add_argument("model")
    for name, default in (("turns", 6), ("first", 500), ("more", 100), ("answer", 48), ("rounds", 3)):
        parser.add_argument("--" + name, type=int, default=default)
    words, flags = sys.argv[1:], []
    if "--" in words:
        words, flags = words[:words.index("--")], words[words.index("--") + 1:]
    o = parser.parse_args(words)
    on = serve(o.moering, o.model, flags)
    off = serve(o.moering, o.model, [*flags, "--no-enable-prefix-caching"])
    vocab, seen = vocabulary(on), {}
    for chat in range(o.rounds):
        rng, prompt = random.Random(chat), []
        for turn in range(o.turns):
            prompt += [rng.randrange(vocab) for _ in range(o.more if turn else o.first)]
            answer, taken, seconds = ask(on, prompt, o.answer)
            same, none, without = ask(off, prompt, o.answer)
            if answer != same or none:
                sys.exit("chat_turns.py: chat %d, turn %d: the answers differ" % (chat, turn))
            seen.setdefault(turn, []).append((len(prompt), taken, seconds, without))
            prompt += answer
    for turn, rows in sorted(seen.items()):
        tokens, taken, seconds, without = map(statistics.median, zip(*rows))
        print(json.dumps({"turn": turn, "prompt_tokens": tokens, "taken": taken, "prefill_s": round(seconds, 3),
                          "without_s": round(without, 3),
                          "bound_s": round(without * (tokens - taken) / tokens, 3)}), flush=True)


if __name__ == "__main__":
    main()

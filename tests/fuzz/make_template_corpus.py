#!/usr/bin/env python3
"""Makes corpus/chat_template: the golden templates, and small cases of each area joined into files.

    /usr/bin/python3 make_template_corpus.py
"""
import glob
import json
import os
import shutil

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden", "template")
OUT = os.path.join(HERE, "corpus", "chat_template")
JOINED = 40  # cases in one seed


def main():
    os.makedirs(OUT, exist_ok=True)
    for path in sorted(glob.glob(os.path.join(GOLDEN, "*.jinja"))):
        shutil.copyfile(path, os.path.join(OUT, os.path.basename(path)))
    for path in sorted(glob.glob(os.path.join(GOLDEN, "cases", "*.jsonl"))):
        with open(path, encoding="utf-8") as f:
            good = [c["template"] for c in map(json.loads, f) if "output" in c]
        area = os.path.basename(path)[:-6]
        for i in range(0, len(good), JOINED):
            with open(os.path.join(OUT, "%s_%d" % (area, i // JOINED)), "w", encoding="utf-8") as f:
                f.write("\n".join(good[i:i + JOINED]))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Makes the README's pictures of the dashboard and of moering-bench's report: serves the built-in model, keeps
it busy, looks at it; then lets the moering-bench that lies beside the program measure it.

    screenshots.py FOLDER (MOERING | URL) [SECONDS]

Writes dashboard-dark.png, dashboard-light.png, dashboard-phone.png and report.png, each below 300 kB, to FOLDER.
With a URL it looks at that server, at its dashboard alone. SECONDS, 75 unless told, is how long there is work before the first picture.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from ui_browser import Browser

BYTES_MAX = 300_000
PROMPTS = ("One sunny day Ada went to the river.", "Q: What is 12 + 34?\nA:", "Once upon a time a fox")
PICTURES = ( # name, theme, width, height, scale
    ("dashboard-dark", "dark", 1280, 1180, 1),
    ("dashboard-light", "light", 1280, 1180, 1),
    ("dashboard-phone", "dark", 390, 1250, 1.5),
)


def start(program):
    process = subprocess.Popen(
        [program, "serve", "--port", "0", "--grpc-port", "0", "--device-experts", "33%"],
        stderr=subprocess.PIPE, text=True, errors="replace")
    for line in process.stderr:
        found = re.search(r"HTTP on \S+:(\d+)", line)
        if found:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, "http://127.0.0.1:%s/" % found.group(1)
    sys.exit("%s does not listen" % program)


def keep_busy(url, seed, stop):
    """Prompts one after the other, with pauses that are drawn, so that the lines have some life."""
    rng = random.Random(seed)
    while not stop.is_set():
        body = {"prompt": rng.choice(PROMPTS), "max_tokens": rng.randrange(50, 600), "temperature": 1,
                "ignore_eos": True, "seed": rng.randrange(1 << 30)}
        request = urllib.request.Request(url + "v1/completions", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=60).read()
        except OSError:
            pass # still loading, or its queue is full: later
        stop.wait(rng.expovariate(0.7))


def ask_in_page(browser, text):
    browser.run("""document.getElementById('prompt-mode').value = 'text';
        document.getElementById('prompt-tokens').value = '60';
        document.getElementById('prompt-text').value = arguments[0];
        document.getElementById('prompt-send').click();""", text)
    deadline = time.monotonic() + 30
    while browser.run("return document.getElementById('prompt-send').disabled"):
        assert time.monotonic() < deadline, "the prompt does not end"
        time.sleep(0.1)


def save(browser, folder, name):
    path = os.path.join(folder, name + ".png")
    browser.driver.save_screenshot(path)
    size = os.path.getsize(path)
    print("%s  %d bytes" % (path, size))
    assert size < BYTES_MAX, "above %d bytes" % BYTES_MAX


def picture_report(browser, folder, program, url):
    with tempfile.TemporaryDirectory() as scratch:
        page = os.path.join(scratch, "report.html")
        subprocess.run([os.path.join(os.path.dirname(program), "moering-bench"), "--base-url", url.rstrip("/"),
                        "--sweep-concurrency", "1,2,4,8,16", "--num-prompts", "60", "--random-input-len", "16",
                        "--random-output-len", "60", "--ignore-eos", "--disable-tqdm", "--html", page],
                       check=True, stdout=subprocess.DEVNULL)
        browser.media("light", reduced_motion=True)
        browser.size(1280, 1180, 1)
        browser.open("file://" + page)
        time.sleep(1.5)
        save(browser, folder, "report")


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    folder, target = sys.argv[1:3]
    seconds = float(sys.argv[3]) if len(sys.argv) == 4 else 75
    browser = Browser()
    process, url = (None, target.rstrip("/") + "/") if "://" in target else start(target)
    stop = threading.Event()
    try:
        browser.open(url)
        for seed in range(3):
            threading.Thread(target=keep_busy, args=(url, seed, stop), daemon=True).start()
        time.sleep(seconds)
        ask_in_page(browser, "Q: What is 12 + 34?\nA:")
        for name, theme, width, height, scale in PICTURES:
            browser.media(theme, reduced_motion=False)
            browser.size(width, height, scale)
            time.sleep(1.5)
            save(browser, folder, name)
        stop.set()
        time.sleep(1)
        if process:
            picture_report(browser, folder, target, url)
    finally:
        stop.set()
        browser.close()
        if process:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()

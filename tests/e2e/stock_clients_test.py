#!/usr/bin/env python3
"""The stock `openai` clients, Python and JavaScript, against one server with a key.

    stock_clients_test.py MOERING

They are no Debian packages: which ones there are is told by the environment.
    MOERING_OPENAI_PYTHON   an interpreter that has the package `openai` (default: this one)
    MOERING_OPENAI_JS       the JavaScript client: a folder or a bundled file (default: what node finds)
"""
import os
import shutil
import subprocess
import sys

from grpc_wire import skip
from moering_wire import SOURCE, slow_server

SCRIPTS = os.path.join(SOURCE, "tests", "e2e", "stock")


def runs(*words):
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def main():
    python = os.environ.get("MOERING_OPENAI_PYTHON", sys.executable)
    javascript = os.environ.get("MOERING_OPENAI_JS", "openai")
    clients = []
    if runs(python, "-c", "import openai"):
        clients.append([python, os.path.join(SCRIPTS, "openai_client.py")])
    else:
        print("skipped: Python's openai (pip install openai, MOERING_OPENAI_PYTHON=its interpreter)")
    if shutil.which("node") and runs("node", "-e", "require(process.argv[1])", javascript):
        clients.append(["node", os.path.join(SCRIPTS, "openai_client.js"), javascript])
    else:
        print("skipped: JavaScript's openai (node and npm install openai, MOERING_OPENAI_JS=its folder)")
    if not clients:
        skip("no stock client is installed")
    server = slow_server(sys.argv[1], "--api-key", "sesame")
    failed = [c for c in clients if subprocess.run(
        [*c, "http://127.0.0.1:%d/v1" % server.http_port], timeout=240, check=False).returncode]
    server.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

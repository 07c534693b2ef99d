#!/usr/bin/env python3
"""Runs the commands that the README shows, in its order, in a copy of the tree.

The copy lies in a folder whose name has a space and a quote in it, as somebody's checkout will.
`deploy/quickstart.sh` is started as written and serves while the later commands run; then it gets
Ctrl-C. `tests/run.sh` is what is running this, so of it only the --help-like refusal is checked.

The README's commands name ports 8000 and 8001; where something else has one, this exits with 77 (skipped).
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.environ["MOERING_SOURCE_DIR"]
PORTS, SKIP = (8000, 8001), 77


def tracked_files():
    """What a checkout would have. Without git's help (none, or it refuses the tree's owner): every
    file but those of build folders."""
    try:
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        names = listed.stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = walked_files()
    return [f for f in names if f and os.path.exists(os.path.join(ROOT, f))]


def walked_files():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in (".git", "__pycache__", "build")
                      and not f.startswith("build-")
                      and not os.path.exists(os.path.join(folder, f, "CMakeCache.txt"))]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), ROOT)


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def copy_tree(target):
    for name in tracked_files():
        os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
        shutil.copy2(os.path.join(ROOT, name), os.path.join(target, name))


def commands(text):
    """The lines of all ```sh blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="moering readme's ")
        cls.tree = os.path.join(cls.scratch, "my checkout")
        copy_tree(cls.tree)
        with open(os.path.join(cls.tree, "README.md"), encoding="utf-8") as f:
            cls.lines = commands(f.read())
        cls.log = open(os.path.join(cls.scratch, "quickstart.log"), "w+", encoding="utf-8")
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        if cls.server and cls.server.poll() is None:
            os.killpg(cls.server.pid, signal.SIGKILL)
        cls.log.close()
        shutil.rmtree(cls.scratch)

    def read_log(self):
        with open(self.log.name, encoding="utf-8") as f:
            return f.read()

    @staticmethod
    def environment():
        """That of somebody who has set nothing: the README's commands name the standard ports."""
        return {k: v for k, v in os.environ.items() if k not in ("MOERING_BUILD", "MOERING_PORT")}

    def start_quickstart(self, line):
        type(self).server = subprocess.Popen(line, shell=True, cwd=self.tree, stdout=self.log,
                                             stderr=subprocess.STDOUT, env=self.environment(),
                                             start_new_session=True)
        for _ in range(6000):
            text = self.read_log()
            if "Ctrl-C stops." in text or self.server.poll() is not None:
                break
            time.sleep(0.1)
        self.assertIn("Ctrl-C stops.", text, text)
        self.assertIn("A: 82", text, "the built-in model no longer adds 45 and 37:\n" + text)

    def run_line(self, line):
        done = subprocess.run(["bash", "-c", line], cwd=self.tree, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120, check=False)
        output = done.stdout.decode()
        self.assertEqual(done.returncode, 0, "%s\n%s" % (line, output))
        self.assertTrue(output.strip(), line + " printed nothing")
        return output

    def test_every_command(self):
        self.assertGreater(len(self.lines), 5)
        self.assertEqual(self.lines[0], "deploy/quickstart.sh")
        for line in self.lines:
            with self.subTest(line):
                if line == "deploy/quickstart.sh":
                    self.start_quickstart(line)
                elif line == "tests/run.sh":
                    done = subprocess.run([line, "nonsense"], cwd=self.tree, check=False,
                                          stderr=subprocess.PIPE)
                    self.assertEqual(done.returncode, 2)
                else:
                    output = self.run_line(line)
                    if "Sort: 42 7 19 88" in line:
                        self.assertIn("7 19 42 88", output)
        os.killpg(self.server.pid, signal.SIGINT)
        self.server.wait(60) # the shell itself dies of the signal, or exits with the script's 130
        self.assertIn(self.server.returncode, (0, 130, -signal.SIGINT), self.read_log())
        refused = subprocess.run(["build/release/bin/moering-client", "health"], cwd=self.tree,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertNotEqual(refused.returncode, 0, "the server is still there after Ctrl-C")
        self.once()

    def once(self):
        """The second run builds nothing, answers and leaves by itself."""
        done = subprocess.run(["deploy/quickstart.sh", "--once"], cwd=self.tree, timeout=300, env=self.environment(),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        output = done.stdout.decode()
        self.assertEqual(done.returncode, 0, output)
        for part in ("A: 82", "HTTP on 127.0.0.1:%d" % PORTS[0], "gRPC on 127.0.0.1:%d" % PORTS[1], "hits",
                     "Serving on 127.0.0.1:%d" % PORTS[1]):
            self.assertIn(part, output)

    def test_links_lead_somewhere(self):
        for name in tracked_files():
            if not name.endswith(".md"):
                continue
            with open(os.path.join(self.tree, name), encoding="utf-8") as f:
                text = f.read()
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
                if "://" in target:
                    continue
                path = os.path.normpath(os.path.join(self.tree, os.path.dirname(name), target))
                self.assertTrue(os.path.exists(path), "%s links to %s" % (name, target))


if __name__ == "__main__":
    taken = [port for port in PORTS if not port_is_free(port)]
    if taken:
        print("skipped: port %d of 127.0.0.1, which the README's commands use, is taken" % taken[0])
        sys.exit(SKIP)
    unittest.main()

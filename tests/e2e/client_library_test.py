#!/usr/bin/env python3
"""libmoering-client as other programs find it: installed, by pkg-config, in C and C++.

    client_library_test.py MOERING BUILD-FOLDER C-COMPILER C++-COMPILER
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from grpc_wire import run_cases, skip
from moering_wire import SOURCE, Server

MOERING, BUILD, CC, CXX = sys.argv[1:5]


def run(*words, code=0, **more):
    r = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120,
                       check=False, **more)
    assert r.returncode == code, (words, r.returncode, r.stdout[-2000:], r.stderr[-2000:])
    return r


class Tree:
    """What an installation holds, moved after it was made."""

    def __init__(self, folder):
        self.folder = folder
        for part in ("client", "client-dev"):
            run("cmake", "--install", BUILD, "--component", part, "--prefix",
                os.path.join(folder, "made"))
        os.rename(os.path.join(folder, "made"), os.path.join(folder, "moved"))
        self.root = os.path.join(folder, "moved")
        found = glob.glob(self.root + "/lib/**/moering-client.pc", recursive=True)
        self.pkgconfig = os.path.dirname(found[0])
        self.lib = os.path.dirname(self.pkgconfig)
        self.environment = dict(os.environ, PKG_CONFIG_PATH=self.pkgconfig,
                                LD_LIBRARY_PATH=self.lib)
        for name in ("MOERING_API_KEY", "MOERING_SSL_CERTFILE"):
            self.environment.pop(name, None)
        self.flags = run("pkg-config", "--cflags", "--libs", "moering-client",
                         env=self.environment).stdout.split()

    def compile(self, source, *more, compiler=CC):
        out = os.path.join(self.folder, os.path.basename(source) + ".out")
        run(compiler, "-Wall", "-Wextra", "-Werror", *more, source, *self.flags, "-o", out)
        return out


def the_example_compiles_and_talks(tree, server):
    program = tree.compile(os.path.join(SOURCE, "clients/c/examples/chat.c"), "-std=c11",
                           "-D_GNU_SOURCE")
    r = run(program, server.address, "sort: 3 1 2", env=tree.environment)
    assert "output tokens" in r.stderr
    r = run(program, "127.0.0.1:1", "x", code=1, env=tree.environment)
    assert "UNAVAILABLE: cannot connect" in r.stderr


def every_function_does_what_it_says(tree, server):
    program = tree.compile(os.path.join(SOURCE, "tests/clients/c/client_program.c"),
                           "-D_GNU_SOURCE", "-pthread")
    run(program, server.address, env=tree.environment)


def the_header_stands_alone_in_both_languages(tree, _):
    for name, compiler, standard in (("alone.c", CC, "-std=c11"), ("alone.cc", CXX, "-std=c++17")):
        source = os.path.join(tree.folder, name)
        with open(source, "w", encoding="utf-8") as f:
            f.write("#include <moering/client.h>\n"
                    "int main(void) { struct moering_options o = MOERING_OPTIONS_INIT;\n"
                    "struct moering_sampling s = MOERING_SAMPLING_INIT;\n"
                    "struct moering_budget b = MOERING_BUDGET_INIT;\n"
                    "return o.size + s.size + b.size == 0 || !moering_version(); }\n")
        run(tree.compile(source, standard, "-pedantic", compiler=compiler), env=tree.environment)


def nothing_but_the_interface_is_visible(tree, _):
    library = os.path.join(tree.lib, "libmoering-client.so.0")
    listed = run("nm", "-D", "--defined-only", library).stdout.splitlines()
    names = [line.split()[-1] for line in listed]
    with open(os.path.join(tree.root, "include/moering/client.h"), encoding="utf-8") as f:
        declared = f.read()
    assert names and all(n.startswith("moering_") and n + "(" in declared for n in names), names
    assert len(names) == len(re.findall("^MOERING_API ", declared, re.M)), names
    assert "libmoering-client.so.0" in run("readelf", "-d", library).stdout


def main():
    for tool in ("pkg-config", "cmake", CC, CXX, "nm", "readelf"):
        if not shutil.which(tool):
            skip("%s is not installed" % tool)
    with tempfile.TemporaryDirectory() as folder:
        return run_cases([the_example_compiles_and_talks, every_function_does_what_it_says,
                          the_header_stands_alone_in_both_languages,
                          nothing_but_the_interface_is_visible],
                         Tree(folder), Server(MOERING))


if __name__ == "__main__":
    sys.exit(main())

"""What is installed: `cmake --install`, the .deb and its life under dpkg, the unit's promises.

    package_test.py BUILD_FOLDER
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

from deploy_files import ROOT, have, read, run, run_cases, skip

BUILD = sys.argv[1]
PROGRAMS = ["moering", "moering-client"]
if os.path.exists(os.path.join(BUILD, "bin", "moering-bench")):
    PROGRAMS.append("moering-bench")
PROMPT = "Q: What is 45 + 37?\nA:"


def install(prefix, destdir=None):
    environment = {k: v for k, v in os.environ.items() if k != "DESTDIR"}
    if destdir:
        environment["DESTDIR"] = destdir
    run("cmake", "--install", BUILD, "--prefix", prefix, env=environment)


def inside(folder, *names):
    return os.path.join(folder, *(n.lstrip("/") for n in names))


def contents(name):
    with open(name, encoding="utf-8") as f:
        return f.read()


def environment(**more):
    kept = {k: v for k, v in os.environ.items()
            if not k.startswith("MOERING_") and k not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    return {**kept, **more}


class Served:
    """`moering serve` of an installed tree, on free ports."""

    def __init__(self, program, model, **variables):
        self.process = subprocess.Popen(
            [program, "serve", "--grpc-port", "0", "--port", "0"], stderr=subprocess.PIPE,
            text=True, env=environment(MOERING_BUILTIN_MODEL=model, **variables))
        self.address = None
        for line in self.process.stderr:
            found = re.search(r"gRPC on (\S+)", line)
            if found:
                self.address = found.group(1)
                break
        assert self.address, "it did not listen"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        self.process.stderr.read()
        return self.process.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


# ---- cmake --install ----

def an_installed_tree_runs():
    with tempfile.TemporaryDirectory() as folder:
        install("/usr", folder)
        program = inside(folder, "usr/bin/moering")
        model = inside(folder, "usr/share/moering/models/tiny")
        assert re.match(r"moering \d+\.\d+\.\d+", run(program, "version"))
        said = run(program, "run", "-p", PROMPT, "-n", 12, "--temperature", 0,
                   env=environment(MOERING_BUILTIN_MODEL=model))
        assert " 82" in said, said
        with Served(program, model) as server:
            for _ in range(200):
                asked = subprocess.run([program, "health", "--connect", server.address],
                                       capture_output=True, text=True, env=environment(),
                                       check=False)
                if asked.returncode == 0:
                    break
                time.sleep(0.1)
            assert asked.returncode == 0 and "SERVING" in asked.stdout, asked
            server.stop()
            assert server.wait() == 0
        run(program, "health", "--connect", server.address, code=1, env=environment())


def a_tree_has_all_of_it():
    with tempfile.TemporaryDirectory() as folder:
        install("/usr", folder)
        for name in [*("usr/bin/" + p for p in PROGRAMS), "usr/lib/systemd/system/moering.service",
                     "etc/moering/moering.yaml", "usr/share/doc/moering/copyright",
                     "usr/share/doc/moering/README.md", "usr/share/doc/moering/deploy.md",
                     "usr/share/moering/prometheus/rules/moering.yml",
                     "usr/share/moering/grafana/dashboards/moering.json"]:
            assert os.path.isfile(inside(folder, name)), name
        assert contents(inside(folder, "etc/moering/moering.yaml")) == read("moering.yaml")
        unit = contents(inside(folder, "usr/lib/systemd/system/moering.service"))
        assert "ExecStart=/usr/bin/moering serve --config /etc/moering/moering.yaml\n" in unit
        assert not re.search(r"@\w+dir@", unit)


def another_prefix_keeps_to_itself():
    with tempfile.TemporaryDirectory() as prefix:
        install(prefix)
        settings = inside(prefix, "etc/moering/moering.yaml")
        unit = inside(prefix, "lib/systemd/system/moering.service")
        assert "ExecStart=%s/bin/moering serve --config %s\n" % (prefix, settings) in contents(unit)
        if have("systemd-analyze", "systemd"):
            said = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
            assert "moering.service" not in said, said
        with open(settings, "w", encoding="utf-8") as f:
            f.write("max-num-seqs: 3\n")
        install(prefix)
        assert contents(settings) == "max-num-seqs: 3\n", "somebody's settings were overwritten"


# ---- the .deb ----

def foreign_libraries():
    """What the program links that no Debian package can own: a toolkit below /usr/local or /opt."""
    linked = re.findall(r"=> (/\S+)", run("ldd", os.path.join(BUILD, "bin", "moering")))
    return [name for name in linked if not name.startswith(("/lib", "/usr/lib"))]


def make_package(folder):
    run("cpack", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-G", "DEB", "-B", folder)
    name, = [n for n in os.listdir(folder) if n.endswith(".deb")]
    return os.path.join(folder, name)


def field(package, name):
    return run("dpkg-deb", "--field", package, name).strip()


def the_package_says_what_it_needs(package):
    depends = {d.split()[0] for d in field(package, "Depends").split(", ")}
    for library in ("libc6", "libevent-2.1-7", "libnghttp2-14", "libjansson4", "libpcre2-8-0",
                    "libprotobuf-c1", "libyaml-0-2", "liburing2", "zlib1g"):
        assert any(d.startswith(library) for d in depends), (library, depends)
    assert not any(d.endswith("-dev") for d in depends)
    assert field(package, "Package") in ("moering", "moering-cuda")
    assert re.match(r"\d+\.\d+\.\d+$", field(package, "Version"))


def the_package_owns_what_it_should(package):
    listed = run("dpkg-deb", "--contents", package)
    rows = [line.split(None, 5) for line in listed.splitlines()]
    assert all(r[1] == "root/root" for r in rows)
    assert all(r[0][8] != "w" for r in rows if r[0][0] != "l"), "nothing is writable by all"
    names = {r[5].lstrip(".") for r in rows if not r[5].endswith("/")}
    tops = {n.split("/")[1] for n in names}
    assert tops == {"usr", "etc"}, tops
    assert not any(n.startswith("/usr/local") for n in names)
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "--control", package, folder)
        assert contents(os.path.join(folder, "conffiles")) == "/etc/moering/moering.yaml\n"
        for script in ("postinst", "prerm", "postrm"):
            mode = os.stat(os.path.join(folder, script)).st_mode & 0o777
            assert mode == 0o755, (script, oct(mode))


def dpkg(root, *words, code=0):
    """In a root of its own. Nothing is installed on this machine: dependencies are not looked for,
    and the scripts find no systemd there."""
    fake = [] if os.geteuid() == 0 else ["fakeroot"]
    return run(*fake, "dpkg", "--root=" + root, "--force-script-chrootless", "--force-depends",
               "--force-confold", *words, code=code)


def dpkg_installs_upgrades_and_purges(package):
    if os.geteuid() != 0 and not have("fakeroot", "fakeroot"):
        return
    if os.path.isdir("/run/systemd/system"):
        print("     skipped: the scripts would talk to this machine's systemd")
        return
    with tempfile.TemporaryDirectory() as root:
        for name in ("info", "updates", "triggers"):
            os.makedirs(os.path.join(root, "var/lib/dpkg", name))
        for name in ("status", "available"):
            open(os.path.join(root, "var/lib/dpkg", name), "w", encoding="utf-8").close()
        os.makedirs(os.path.join(root, "var/log"))
        settings = inside(root, "etc/moering/moering.yaml")
        name = field(package, "Package")
        dpkg(root, "-i", package)
        assert re.match(r"moering \d", run(inside(root, "usr/bin/moering"), "version"))
        with open(settings, "a", encoding="utf-8") as f:
            f.write("# mine\n")
        dpkg(root, "-i", package)
        assert contents(settings).endswith("# mine\n"), "an upgrade took the operator's settings"
        dpkg(root, "-r", name)
        assert os.path.exists(settings) and not os.path.exists(inside(root, "usr/bin/moering"))
        dpkg(root, "-P", name)
        assert not os.path.exists(inside(root, "etc/moering"))
        left = [os.path.join(d, f) for d, _, fs in os.walk(root) for f in fs
                if "/var/lib/dpkg" not in d and "/var/log" not in d]
        assert not left, left


# ---- Type=notify ----

def the_manager_is_told():
    """A line for people, readiness, the watchdog's pings, the end: what the unit waits for."""
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(name)
            manager.settimeout(30)
            model = os.path.join(ROOT, "deploy", "models", "tiny")
            with Served(os.path.join(BUILD, "bin", "moering"), model, NOTIFY_SOCKET=name,
                        WATCHDOG_USEC="400000") as server:
                told = [manager.recv(4096).decode()]
                while not told[-1].startswith("READY=1\n"):
                    told.append(manager.recv(4096).decode())
                pings = 0
                start = time.monotonic()
                while pings < 4:
                    pings += manager.recv(4096) == b"WATCHDOG=1\n"
                assert time.monotonic() - start < 4 * 0.4, "the watchdog would have ended it"
                server.stop()
                last = manager.recv(4096).decode()
                while "STOPPING=1" not in last:
                    last = manager.recv(4096).decode()
                wait = int(re.search(r"^EXTEND_TIMEOUT_USEC=(\d+)$", last, re.M).group(1))
                assert wait >= 30000000, "less than the default of --shutdown-timeout"
                assert server.wait() == 0
            assert any(re.search("^STATUS=.", t, re.M) for t in told), told


def main():
    for tool in ("cmake", "cpack", "dpkg-deb", "dpkg-shlibdeps"):
        if not shutil.which(tool):
            skip("%s is missing (Debian packages cmake and dpkg-dev)" % tool)
    code = run_cases([an_installed_tree_runs, a_tree_has_all_of_it, another_prefix_keeps_to_itself,
                      the_manager_is_told])
    foreign = foreign_libraries()
    if foreign: # dpkg-shlibdeps could not say what the package depends on
        print("skipped: the package, whose program links %s, which no Debian package owns" % ", ".join(foreign))
        return code
    with tempfile.TemporaryDirectory() as folder:
        package = make_package(folder)
        return run_cases([the_package_says_what_it_needs, the_package_owns_what_it_should,
                          dpkg_installs_upgrades_and_purges], package) or code


if __name__ == "__main__":
    sys.exit(main())

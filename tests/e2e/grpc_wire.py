"""What the gRPC tests share: the server process, and message classes made from Debian's protos.

Debian's python3-grpcio has no stubs for the interoperability protos, so protoc makes the message
classes in a scratch folder at test time.
"""
import atexit
import importlib
import os
import shutil
import subprocess
import sys
import tempfile

GRPC_PROTO_DIR = "/usr/share/grpc-proto"
SKIP = 77


def skip(reason):
    print("skipped: " + reason)
    sys.exit(SKIP)


def need(module, package):
    try:
        return importlib.import_module(module)
    except ImportError:
        return skip("Debian package %s is not installed" % package)


def messages(*protos):
    """The generated modules of `protos` (paths below GRPC_PROTO_DIR), in order."""
    need("google.protobuf", "python3-protobuf")
    if not shutil.which("protoc") or not os.path.isdir(GRPC_PROTO_DIR):
        skip("Debian packages protobuf-compiler and grpc-proto are needed")
    folder = tempfile.mkdtemp(prefix="moering-pb-")
    atexit.register(shutil.rmtree, folder, True)
    subprocess.run(["protoc", "-I" + GRPC_PROTO_DIR, "--python_out=" + folder] + list(protos),
                   check=True)
    # The generated packages are called grpc.*, like the library: extend its search path.
    import grpc
    grpc.__path__.append(os.path.join(folder, "grpc"))
    return [importlib.import_module(p[:-len(".proto")].replace("/", ".") + "_pb2") for p in protos]


class Server:
    """The interop server on a free port; killed at exit, and its exit status checked by stop()."""

    def __init__(self, program, *options):
        # A sanitizer's store of freed blocks would count as the server's memory.
        environment = dict(os.environ)
        environment["ASAN_OPTIONS"] = ":".join(
            filter(None, [environment.get("ASAN_OPTIONS"), "quarantine_size_mb=1"]))
        self.process = subprocess.Popen([program] + [str(o) for o in options],
                                        stdout=subprocess.PIPE, text=True, env=environment)
        atexit.register(self.process.kill)
        line = self.process.stdout.readline().split()
        assert line and line[0] == "port", "the server did not start: %r" % line
        self.port = int(line[1])
        self.address = "127.0.0.1:%d" % self.port

    def rss_kib(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def stop(self, timeout=10):
        """SIGTERM; it must drain and exit with 0 (a sanitizer's complaint is another number)."""
        self.process.terminate()
        code = self.process.wait(timeout)
        assert code == 0, "the server exited with %d" % code


def run_cases(cases, *args):
    """Runs each function of `cases`; prints one line for each; exits with 1 if any failed."""
    import time
    import traceback
    failed = []
    only = os.environ.get("MOERING_TEST_CASE")
    for case in cases:
        if only and only not in case.__name__:
            continue
        start = time.monotonic()
        try:
            case(*args)
            print("ok   %-40s %6.0f ms" % (case.__name__, (time.monotonic() - start) * 1e3))
        except Exception:
            traceback.print_exc()
            print("FAIL %s" % case.__name__)
            failed.append(case.__name__)
        sys.stdout.flush()
    print("%d cases, %d failed %s" % (len(cases), len(failed), " ".join(failed)))
    return 1 if failed else 0

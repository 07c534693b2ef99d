"""Builds the package with its messages, which protoc or grpcio-tools makes from the proto.

Nothing generated is committed. Where there is no protoc, grpcio-tools is asked for: pip builds in
an environment of its own, in which nothing else is installed."""
import os
import shutil
import subprocess
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

PROTO = "moering/v1/moering.proto"
HERE = os.path.dirname(os.path.abspath(__file__))
PROTOC = shutil.which("protoc")


class BuildWithMessages(build_py):
    """The ordinary build, then the messages and their types beside it."""

    def run(self):
        super().run()
        target = HERE if getattr(self, "editable_mode", False) else self.build_lib
        root = os.path.normpath(os.path.join(HERE, "..", "..", "proto"))
        if not os.path.exists(os.path.join(root, PROTO)):
            sys.exit("moering: %s is not there: build from a whole checkout"
                     % os.path.join(root, PROTO))
        words = [PROTOC] if PROTOC else [sys.executable, "-m", "grpc_tools.protoc"]
        subprocess.run([*words, "-I" + root, "--python_out=" + target, "--pyi_out=" + target,
                        PROTO], check=True)


setup(cmdclass={"build_py": BuildWithMessages},
      setup_requires=[] if PROTOC else ["grpcio-tools>=1.50"])

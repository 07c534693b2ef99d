"""Messages are made from the proto at build time, by protoc or by grpc_tools; nothing generated is committed."""
import os
import shutil
import subprocess
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

PROTO = "moering/v1/moering.proto"
HERE = os.path.dirname(os.path.abspath(__file__))


class BuildWithMessages(build_py):
    def run(self):
        super().run()
        target = HERE if getattr(self, "editable_mode", False) else self.build_lib
        root = os.path.normpath(os.path.join(HERE, "..", "..", "proto"))
        protoc = shutil.which("protoc")
        words = [protoc] if protoc else [sys.executable, "-m", "grpc_tools.protoc"]
        subprocess.run([*words, "-I" + root, "--python_out=" + target, PROTO], check=True)


setup(cmdclass={"build_py": BuildWithMessages})

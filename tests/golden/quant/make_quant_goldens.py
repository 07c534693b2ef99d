#!/usr/bin/env python3
"""Makes the files of this folder: blocks of every block format, and what they decode to.

Usage: make_quant_goldens.py [OUTPUT_FOLDER]

Needs numpy and gguf (PyPI), whose decoders are the independent implementation; nothing that builds,
serves or tests needs this script. The same versions give the same bytes. README.md describes the
files.
"""

import pathlib
import sys

import gguf
import numpy as np

HALF_EDGES = (0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF)

# name: (bytes of a block, blocks, where halves lie)
FORMATS = {
    "Q8_0": (34, 32, [0]),
    "Q4_0": (18, 32, [0]),
    "Q4_1": (20, 32, [0, 2]),
    "Q5_0": (22, 48, [0]),
    "Q5_1": (24, 48, [0, 2]),
    "IQ4_NL": (18, 32, [0]),
    "MXFP4": (17, 256, []),
    "Q2_K": (84, 16, [80, 82]),
    "Q3_K": (110, 24, [108]),
    "Q4_K": (144, 24, [0, 2]),
    "Q5_K": (176, 24, [0, 2]),
    "Q6_K": (210, 24, [208]),
}


def halves(rng, count):
    """Finite halves: the edges first, then random bits."""
    bits = rng.integers(0, 1 << 16, count, dtype=np.uint16)
    bits = np.where((bits & 0x7C00) == 0x7C00, bits & 0xBFFF, bits)
    bits[: min(count, len(HALF_EDGES))] = HALF_EDGES[:count]
    return bits


def blocks_of(name, rng):
    """Random blocks in which, but for the halves, each value of a byte occurs equally often (within
    one), so that every code occurs."""
    size, count, at_halves = FORMATS[name]
    permutations = [rng.permutation(256).astype(np.uint8) for _ in range(size * count // 256 + 1)]
    blocks = np.concatenate(permutations)[: size * count].reshape(count, size)
    for i, at in enumerate(at_halves):
        bits = np.roll(halves(rng, count), i * 3)  # not the same edge in both
        blocks[:, at : at + 2] = bits.astype("<u2").view(np.uint8).reshape(count, 2)
    if name == "MXFP4":
        blocks[:, 0] = np.arange(256, dtype=np.uint8)
    return blocks


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    for i, name in enumerate(FORMATS):
        rng = np.random.default_rng(2025 + i)
        blocks = blocks_of(name, rng)
        with np.errstate(over="ignore"):
            values = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])
        assert not np.isnan(values).any()
        (folder / (name.lower() + ".blocks")).write_bytes(blocks.tobytes())
        (folder / (name.lower() + ".f32")).write_bytes(values.astype("<f4").tobytes())


if __name__ == "__main__":
    main()

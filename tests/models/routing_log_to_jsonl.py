#!/usr/bin/env python3
"""Writes a routing log of train_tiny.py as a load log, the text that the prediction report reads.

    tests/models/routing_log_to_jsonl.py deploy/models/tiny/routing_log.npz > loads.jsonl

One line per iteration and layer: {"tick", "phase": "train", "layer", "tokens", "counts"}; `tokens`
counts a token once for each expert that it chose. Needs Python's standard library only: an .npz is
a zip of .npy files, and an .npy is a header (a dictionary written as Python) before plain numbers.
"""

import ast
import json
import struct
import sys
import zipfile

FORMATS = {"<u2": "H", "<u4": "I", "<i4": "i", "<i8": "q", "|u1": "B"}


def read_npy(data, name):
    """(shape, numbers as one flat tuple)."""
    if data[:6] != b"\x93NUMPY":
        sys.exit("%s: not an array of numpy" % name)
    wide = data[6] >= 2
    size, = struct.unpack_from("<I" if wide else "<H", data, 8)
    start = (12 if wide else 10) + size
    header = ast.literal_eval(data[start - size:start].decode("latin-1"))
    if header["descr"] not in FORMATS or header["fortran_order"]:
        sys.exit("%s: descr is %r, fortran_order %r; whole numbers in C order are read"
                 % (name, header["descr"], header["fortran_order"]))
    count = 1
    for n in header["shape"]:
        count *= n
    return header["shape"], struct.unpack_from("<%d%s" % (count, FORMATS[header["descr"]]), data,
                                               start)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    path = sys.argv[1]
    with zipfile.ZipFile(path) as archive:
        shape, counts = read_npy(archive.read("counts.npy"), path + ": counts")
    if len(shape) != 3:
        sys.exit("%s: counts has %d dimensions; it must have three" % (path, len(shape)))
    ticks, layers, experts = shape
    for tick in range(ticks):
        for layer in range(layers):
            at = (tick * layers + layer) * experts
            row = counts[at:at + experts]
            print(json.dumps({"tick": tick, "phase": "train", "layer": layer, "tokens": sum(row),
                              "counts": row}, separators=(",", ":")))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The checker itself: each rule must catch what it is for."""

import sys
import unittest

sys.dont_write_bytecode = True
import tidy


class Directions(unittest.TestCase):
    def test_up_is_refused(self):
        self.assertTrue(tidy.check_directions("memory/ring.c", '#include "engine/engine.h"\n'))
        self.assertTrue(tidy.check_directions("memory/base/log.c", '#include "memory/ring.h"\n'))
        self.assertTrue(tidy.check_directions("clients/cli/main.c", '#include "engine/engine.h"\n'))

    def test_down_is_fine(self):
        self.assertFalse(tidy.check_directions("server/front.c", '#include "engine/engine.h"\n'))
        self.assertFalse(tidy.check_directions("engine/moe/moe_layer.c",
                                               '#include "engine/paging/expert_pager.h"\n'))

    def test_order_inside_engine(self):
        self.assertTrue(tidy.check_directions("engine/moe/router.c",
                                              '#include "engine/model/model.h"\n'))
        self.assertTrue(tidy.check_directions("engine/unheard/of.c",
                                              '#include "engine/model/model.h"\n'))

    def test_library_rooms(self):
        self.assertTrue(tidy.check_directions("server/grpc/grpc.c", "#include <nghttp2/nghttp2.h>\n"))
        self.assertFalse(tidy.check_directions("server/grpc/http2.c", "#include <nghttp2/nghttp2.h>\n"))


class Sizes(unittest.TestCase):
    def test_long_function(self):
        body = "int f(int a)\n{\n" + "    a++;\n" * 80 + "}\n"
        self.assertEqual(tidy.sizes("engine/x.c", body), {"engine/x.c:f": (82, 70)})
        self.assertTrue(tidy.check_sizes({"engine/x.c:f": (82, 70)}, {}))
        self.assertFalse(tidy.check_sizes({"engine/x.c:f": (82, 70)}, {"engine/x.c:f": 82}))

    def test_ratchet_only_shrinks(self):
        self.assertTrue(tidy.check_sizes({"engine/x.c:f": (83, 70)}, {"engine/x.c:f": 82}))
        self.assertTrue(tidy.check_sizes({}, {"engine/x.c:f": 82}))


class Columns(unittest.TestCase):
    def test_characters_are_counted(self):
        self.assertFalse(tidy.check_columns("a.c", "x" * 100 + "\n" + "\u2500" * 100))
        self.assertEqual(["a.c:2 has 101 columns; 100 are allowed"],
                         tidy.check_columns("a.c", "\n" + "\u2500" * 101))


class Mirrors(unittest.TestCase):
    def test_missing(self):
        self.assertTrue(tidy.check_mirrors(["engine/a.c"], {}))
        self.assertFalse(tidy.check_mirrors(["engine/a.c", "tests/engine/a_test.cc"], {}))
        self.assertFalse(tidy.check_mirrors(["engine/a.c", "tests/x.py"], {"engine/a.c": "tests/x.py"}))

    def test_stale_exemption(self):
        self.assertTrue(tidy.check_mirrors([], {"engine/a.c": "tests/x.py"}))


if __name__ == "__main__":
    unittest.main()

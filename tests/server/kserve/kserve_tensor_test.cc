#include "server/kserve/kserve_tensor.h"

#include <limits>

#include "tests/server/kserve/kserve_support.h"
#include "tests/server/openai/openai_support.h"

namespace {

using kserve_test::Request;

/* The JSON of the only input of a request, or why it is refused. */
std::string Value(const Request &r)
{
    struct openai_refusal refusal = {};
    struct kserve_tensor tensor;
    openai_test::Json value;
    if (kserve_tensor_open(&tensor, &r.m, 0, KSERVE_ELEMENTS_MAX, &refusal))
        value.reset(kserve_tensor_value(&tensor, &refusal));
    EXPECT_EQ(!value, refusal.refused);
    return value ? openai_test::Dump(value.get()) : refusal.why.text;
}

std::string RawValue(const std::string &type, std::vector<int64_t> shape, const std::string &bytes)
{
    Request r;
    r.Raw("x", type, std::move(shape), bytes);
    return Value(r);
}

TEST(KserveTensor, RawElementsAreLittleEndianWithTheirSigns)
{
    EXPECT_EQ("-2", RawValue("INT8", {1}, "\xfe"));
    EXPECT_EQ("254", RawValue("UINT8", {1}, "\xfe"));
    EXPECT_EQ("-2", RawValue("INT16", {1}, "\xfe\xff"));
    EXPECT_EQ("258", RawValue("INT16", {1}, std::string("\x02\x01", 2)));
    EXPECT_EQ("-2147483648", RawValue("INT32", {1}, std::string("\0\0\0\x80", 4)));
    EXPECT_EQ("2147483648", RawValue("UINT32", {1}, std::string("\0\0\0\x80", 4)));
    EXPECT_EQ("-1", RawValue("INT64", {1}, std::string(8, '\xff')));
    EXPECT_EQ("[1,0]", RawValue("INT32", {2}, std::string("\x01\0\0\0\0\0\0\0", 8)));
    EXPECT_EQ("true", RawValue("BOOL", {1}, "\x01"));
    EXPECT_EQ("0.5", RawValue("FP32", {1}, std::string("\0\0\0\x3f", 4)));
    EXPECT_EQ("-2.0", RawValue("FP64", {1, 1}, std::string("\0\0\0\0\0\0\0\xc0", 8)));
}

TEST(KserveTensor, RawTextsHaveTheirLengthsBeforeThem)
{
    const std::string a = Request::RawText("one"), b = Request::RawText(""),
                      c = Request::RawText("é");
    EXPECT_EQ("\"one\"", RawValue("BYTES", {1}, a));
    EXPECT_EQ("[\"one\",\"\",\"é\"]", RawValue("BYTES", {3, 1}, a + b + c));
    EXPECT_EQ("[]", RawValue("BYTES", {0}, ""));
    /* A length that leads out of the bytes, bytes behind the last, a length that is cut. */
    for (const std::string &broken : {std::string("\xff\xff\xff\xff"
                                                  "abc"),
                                      a + "x", a + b, std::string("\x01\0", 2)})
        EXPECT_NE(std::string::npos,
                  RawValue("BYTES", {1}, broken).find("does not hold the 1 elements"))
            << broken;
}

TEST(KserveTensor, TypedListsAreReadFromTheFieldOfTheirType)
{
    {
        Request r;
        r.Int("x", -7);
        EXPECT_EQ("-7", Value(r));
    }
    {
        Request r;
        r.Texts("x", {"a", "b"});
        EXPECT_EQ("[\"a\",\"b\"]", Value(r));
    }
    {
        Request r; /* the values are in another field than the data type says */
        r.Int("x", 1);
        r.m.inputs[0]->datatype = r.Keep("INT64");
        EXPECT_EQ("input 'x' does not hold the 1 elements of INT64 that its shape asks for",
                  Value(r));
    }
    {
        Request r;
        uint64_t large = UINT64_MAX;
        r.Add("x", "UINT64", {1}).contents->n_uint64_contents = 1;
        r.m.inputs[0]->contents->uint64_contents = &large;
        EXPECT_EQ(0u, Value(r).find("1.84467"));
    }
    {
        Request r;
        r.Add("x", "FP32", {1}).contents = nullptr;
        EXPECT_NE(std::string::npos, Value(r).find("does not hold"));
    }
}

TEST(KserveTensor, WhatCannotBeIsRefusedByItsName)
{
    EXPECT_EQ("input 'x' has the datatype 'FP16', which is not supported",
              RawValue("FP16", {1}, "ab"));
    EXPECT_EQ("input 'x' has a shape of negative dimensions", RawValue("INT8", {-1}, "a"));
    EXPECT_EQ("input 'x' has a shape of too many elements",
              RawValue("INT8", {1 << 20, 1 << 20, 1 << 30}, "a"));
    EXPECT_EQ("input 'x' has a shape of too many elements",
              RawValue("INT8", {INT64_MAX, INT64_MAX}, "a"));
    EXPECT_NE(std::string::npos, RawValue("INT32", {1}, "abc").find("does not hold"));
    EXPECT_EQ("input 'x': element 0 is not UTF-8",
              RawValue("BYTES", {1}, Request::RawText("\xff")));
    Request r;
    r.Float("x", std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ("input 'x': element 0 is not a finite number", Value(r));
}

/* The ids of the only input of a request, or why it is refused. */
std::string Ids(const Request &r, uint32_t most = 8)
{
    struct openai_refusal refusal = {};
    struct kserve_tensor tensor;
    uint32_t *ids = nullptr;
    if (kserve_tensor_open(&tensor, &r.m, 0, most, &refusal))
        ids = kserve_tensor_ids(&tensor, &refusal);
    EXPECT_EQ(!ids, refusal.refused);
    std::string out;
    for (uint32_t i = 0; ids && i < tensor.count; i++)
        out += std::to_string(ids[i]) + " ";
    free(ids);
    return refusal.refused ? refusal.why.text : out;
}

TEST(KserveTensor, IdsAreOfAnyWholeNumbersAndWhatCannotBeOneIsTheGreatest)
{
    Request ints, longs, empty, texts("x"), many, raw, raw_wide;
    ints.Ints("x", {1, 3}, {7, 0, -1});
    EXPECT_EQ("7 0 4294967295 ", Ids(ints));
    longs.Longs("x", {4}, {5, INT64_MIN, INT64_MAX, (int64_t)UINT32_MAX + 1});
    EXPECT_EQ("5 4294967295 4294967295 4294967295 ", Ids(longs));
    empty.Ints("x", {0}, {});
    EXPECT_EQ("", Ids(empty));
    EXPECT_EQ("input 'text_input' has the datatype BYTES, must be of whole numbers", Ids(texts));
    many.Ints("x", {9}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
    EXPECT_EQ("input 'x' has a shape of too many elements", Ids(many));
    raw.Raw("x", "INT16", {2}, std::string("\x02\x01\xff\xff", 4));
    EXPECT_EQ("258 4294967295 ", Ids(raw));
    raw_wide.Raw("x", "UINT64", {2}, std::string("\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0", 16));
    EXPECT_EQ("1 4294967295 ", Ids(raw_wide));
}

} // namespace

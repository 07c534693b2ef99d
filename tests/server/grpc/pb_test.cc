#include "server/grpc/pb.h"

#include <grpc/health/v1/health.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "moering/v1/moering.pb-c.h"

namespace {

using Request = Grpc__Reflection__V1__ServerReflectionRequest;
using Response = Grpc__Reflection__V1__ServerReflectionResponse;

std::string Field(int number, const std::string &content)
{
    std::string out(1, static_cast<char>(number << 3 | 2));
    size_t n = content.size();
    for (; n > 127; n >>= 7)
        out.push_back(static_cast<char>(n | 128));
    out.push_back(static_cast<char>(n));
    return out + content;
}

class Pb : public testing::Test {
  protected:
    ~Pb() override { pb_arena_reset(&arena_); }

    enum status Unpack(const std::string &wire,
                       const ProtobufCMessageDescriptor *type =
                           &grpc__reflection__v1__server_reflection_request__descriptor)
    {
        std::vector<uint8_t> exact(wire.begin(), wire.end()); /* the sanitizer sees an overread */
        error_ = {};
        enum status status =
            pb_unpack(&arena_, type, exact.data(), exact.size(), &message_, &error_);
        EXPECT_EQ(status == STATUS_OK, message_ != nullptr);
        EXPECT_EQ(status == STATUS_OK, error_.text[0] == '\0') << error_.text;
        return status;
    }
    struct pb_arena arena_ = {};
    ProtobufCMessage *message_ = nullptr;
    struct error error_ = {};
};

TEST_F(Pb, UnpacksWithoutTheHeapOfTheUnpacker)
{
    ASSERT_EQ(Unpack(Field(1, "host") + Field(5, Field(1, "type") + "\x10\x07")), STATUS_OK);
    auto *request = reinterpret_cast<Request *>(message_);
    EXPECT_STREQ(request->host, "host");
    EXPECT_STREQ(request->file_containing_extension->containing_type, "type");
    EXPECT_EQ(request->file_containing_extension->extension_number, 7);
    EXPECT_GT(arena_.used_bytes, 0u);
    ASSERT_EQ(Unpack(""), STATUS_OK);
    EXPECT_STREQ(reinterpret_cast<Request *>(message_)->host, "");
}

TEST_F(Pb, StringsAreWholeUtf8)
{
    using std::string;
    for (const string &bad :
         {string("a\0b", 3), string(1, '\0'), string("\xff"), string("\xc0\x80"),
          string("\xed\xa0\x80"), string("ab\xe2\x98"), string("\xf4\x90\x80\x80")}) {
        EXPECT_EQ(Unpack(Field(1, bad)), STATUS_INVALID);
        EXPECT_NE(string(error_.text).find("ServerReflectionRequest.host"), string::npos)
            << error_.text;
        EXPECT_EQ(Unpack(Field(5, Field(1, bad))), STATUS_INVALID); /* nested */
        EXPECT_EQ(Unpack(Field(4, bad)), STATUS_INVALID);           /* in a oneof */
    }
    EXPECT_EQ(Unpack(Field(1, "\xe2\x98\xba \xf0\x9f\x98\x88")), STATUS_OK);
    /* bytes and unknown fields may hold anything */
    EXPECT_EQ(Unpack(Field(15, string("\xff\0", 2))), STATUS_OK);
    EXPECT_EQ(Unpack(Field(1, string("\xff\0", 2)),
                     &grpc__reflection__v1__file_descriptor_response__descriptor),
              STATUS_OK);
}

TEST_F(Pb, MalformedWire)
{
    using std::string;
    for (const string &bad :
         {string("\x0a"), string("\x0a\x05""abc"), string("\x0b"), string("\x0c"), string(1, '\0'),
          string("\x07"), string(11, '\xff'), string("\x08") + string(12, '\x80'),
          string("\x0d\0\0\0", 4), string("\x09\0", 2), string("\x08\x01", 2),
          string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")}) {
        EXPECT_EQ(Unpack(bad), STATUS_INVALID) << testing::PrintToString(bad);
        EXPECT_EQ(Unpack(Field(5, bad)), STATUS_INVALID) << testing::PrintToString(bad);
    }
}

/* A type that contains itself, as a careless .proto might: the generated unpacker would recurse
 * once per level. */
extern const ProtobufCMessageDescriptor kNested;
struct Nested {
    ProtobufCMessage base;
    Nested *inner;
};
const ProtobufCFieldDescriptor kNestedField = {
    "inner", 1, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_MESSAGE, 0, offsetof(Nested, inner),
    &kNested, nullptr, 0, 0, nullptr, nullptr};
const unsigned kNestedByName[] = {0};
const ProtobufCIntRange kNestedRanges[] = {{1, 0}, {0, 1}};
const ProtobufCMessageDescriptor kNested = {
    PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC, "test.Nested", "Nested", "Nested", "test",
    sizeof(Nested), 1, &kNestedField, kNestedByName, 1, kNestedRanges, nullptr, nullptr, nullptr,
    nullptr};

TEST_F(Pb, DepthIsBounded)
{
    std::string wire;
    for (int depth = 1; depth < PB_DEPTH_MAX; depth++)
        wire = Field(1, wire);
    EXPECT_EQ(Unpack(wire, &kNested), STATUS_OK);
    wire = Field(1, wire);
    EXPECT_EQ(Unpack(wire, &kNested), STATUS_UNSUPPORTED);
    for (int i = 0; i < 20000; i++)
        wire = Field(1, wire);
    EXPECT_EQ(Unpack(wire, &kNested), STATUS_UNSUPPORTED);
}

TEST_F(Pb, BudgetBoundsTheHeap)
{
    std::string wire; /* a list of empty messages: two bytes each */
    for (int i = 0; i < 500000; i++)
        wire += std::string("\x0a\x00", 2);
    EXPECT_EQ(Unpack(wire, &grpc__reflection__v1__list_service_response__descriptor),
              STATUS_NO_MEMORY);
    EXPECT_LE(arena_.used_bytes, wire.size() * PB_BUDGET_FACTOR + PB_BUDGET_FLOOR);
    pb_arena_reset(&arena_);
    EXPECT_EQ(Unpack(wire.substr(0, 600), &grpc__reflection__v1__list_service_response__descriptor),
              STATUS_OK);
}

TEST_F(Pb, ArenaAlignsAndObeysItsBudget)
{
    pb_arena_init(&arena_, 10000);
    size_t total = 0;
    while (void *block = pb_arena_alloc(&arena_, 33)) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 16, 0u);
        memset(block, 0xa5, 33);
        total += 33;
    }
    EXPECT_GT(total, 6000u);
    EXPECT_LE(arena_.used_bytes, 10000u + 16);
    EXPECT_TRUE(arena_.exhausted);
    EXPECT_EQ(pb_arena_alloc(&arena_, SIZE_MAX), nullptr);
    EXPECT_EQ(pb_arena_alloc(&arena_, SIZE_MAX - 8), nullptr);
    pb_arena_reset(&arena_);
    EXPECT_NE(pb_arena_alloc(&arena_, 9000), nullptr); /* larger than a chunk */
}

/* The names of the types that contain themselves, directly or not. */
std::string Recursion(const ProtobufCMessageDescriptor *type,
                      std::set<const ProtobufCMessageDescriptor *> path)
{
    if (!path.insert(type).second)
        return type->name;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            std::string found = Recursion(
                static_cast<const ProtobufCMessageDescriptor *>(type->fields[i].descriptor), path);
            if (!found.empty())
                return found;
        }
    return "";
}

TEST(PbTypes, NoRequestContainsItself)
{
    EXPECT_EQ(Recursion(&kNested, {}), "test.Nested");
    for (const auto *type : {&moering__v1__generate_request__descriptor,
                             &moering__v1__tokenize_request__descriptor,
                             &moering__v1__detokenize_request__descriptor,
                             &moering__v1__get_model_request__descriptor,
                             &moering__v1__get_stats_request__descriptor,
                             &grpc__health__v1__health_check_request__descriptor,
                             &grpc__reflection__v1__server_reflection_request__descriptor})
        EXPECT_EQ(Recursion(type, {}), "") << type->name;
}

} // namespace

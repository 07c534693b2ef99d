#include "server/grpc/reflection_index.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "moering_proto/descriptor_set.h"

namespace {

std::string Field(int number, const std::string &content)
{
    EXPECT_LT(content.size(), 128u);
    return std::string(1, static_cast<char>(number << 3 | 2)) +
           static_cast<char>(content.size()) + content;
}

enum { kName = 1, kPackage = 2, kDependency = 3, kMessage = 4, kEnum = 5, kExtension = 7 };

class Index : public testing::Test {
  protected:
    ~Index() override { reflection_index_close(index_); }
    enum status Open(const std::string &set)
    {
        reflection_index_close(index_);
        bytes_.assign(set.begin(), set.end());
        error_ = {};
        return reflection_index_open(&index_, bytes_.data(), bytes_.size(), &error_);
    }
    std::vector<std::string> Closure(const char *name)
    {
        const reflection_file *files[REFLECTION_FILES_MAX];
        std::vector<std::string> out;
        size_t n = reflection_index_closure(index_, reflection_index_file(index_, name), files);
        for (size_t i = 0; i < n; i++)
            out.push_back(files[i]->name);
        return out;
    }
    std::vector<uint8_t> bytes_;
    reflection_index *index_ = nullptr;
    struct error error_ = {};
};

TEST_F(Index, TheEmbeddedSet)
{
    ASSERT_EQ(reflection_index_open(&index_, moering_descriptor_set, moering_descriptor_set_bytes,
                                    &error_), STATUS_OK) << error_.text;
    int health = reflection_index_file(index_, "grpc/health/v1/health.proto");
    ASSERT_GE(health, 0);
    for (const char *symbol :
         {"grpc.health.v1.Health", "grpc.health.v1.Health.Watch",
          "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckRequest.service",
          "grpc.health.v1.HealthCheckResponse.ServingStatus",
          "grpc.health.v1.HealthCheckResponse.NOT_SERVING"})
        EXPECT_EQ(reflection_index_symbol(index_, symbol), health) << symbol;
    for (const char *symbol : {"", "grpc", "grpc.health.v1", "Health", ".grpc.health.v1.Health",
                               "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING"})
        EXPECT_EQ(reflection_index_symbol(index_, symbol), -1) << symbol;
    EXPECT_TRUE(reflection_index_is_message(index_, "grpc.health.v1.HealthCheckRequest"));
    EXPECT_FALSE(reflection_index_is_message(index_, "grpc.health.v1.Health"));
    EXPECT_EQ(reflection_index_file(index_, "grpc/health/v1/health"), -1);
}

TEST_F(Index, ImportsAreFollowedOnceEvenInCircles)
{
    auto file = [](const char *name, const std::string &more) {
        return Field(1, Field(kName, name) + more);
    };
    ASSERT_EQ(Open(file("a", Field(kDependency, "b") + Field(kDependency, "c")) +
                   file("b", Field(kDependency, "d") + Field(kDependency, "missing")) +
                   file("c", Field(kDependency, "d") + Field(kDependency, "a")) + file("d", "")),
              STATUS_OK);
    EXPECT_EQ(Closure("a"), (std::vector<std::string>{"a", "b", "c", "d"}));
    EXPECT_EQ(Closure("d"), std::vector<std::string>{"d"});
}

TEST_F(Index, ExtensionsOfAType)
{
    std::string extension = Field(1, "ext") + Field(2, ".p.Base") + std::string("\x18\x96\x01");
    std::string inner = Field(1, "in") + Field(2, ".p.Base") + std::string("\x18\x07");
    ASSERT_EQ(Open(Field(1, Field(kName, "f") + Field(kPackage, "p") +
                                Field(kMessage, Field(1, "Base")) + Field(kExtension, extension)) +
                   Field(1, Field(kName, "g") + Field(kPackage, "p") +
                                Field(kMessage, Field(1, "Holder") + Field(6, inner)))),
              STATUS_OK);
    EXPECT_EQ(reflection_index_extension(index_, "p.Base", 150), 0);
    EXPECT_EQ(reflection_index_extension(index_, "p.Base", 7), 1);
    EXPECT_EQ(reflection_index_extension(index_, "p.Base", 8), -1);
    EXPECT_EQ(reflection_index_symbol(index_, "p.ext"), 0);
    EXPECT_EQ(reflection_index_symbol(index_, "p.Holder.in"), 1);
    int32_t numbers[1];
    EXPECT_EQ(reflection_index_extensions(index_, "p.Base", numbers, 1), 2u);
    EXPECT_EQ(numbers[0], 150);
}

TEST_F(Index, MalformedSetsAreRefused)
{
    EXPECT_EQ(Open(""), STATUS_OK);
    EXPECT_EQ(reflection_index_symbol(index_, "x"), -1);
    std::string good = Field(1, Field(kName, "f") + Field(kMessage, Field(1, "M")));
    EXPECT_EQ(Open(good), STATUS_OK);
    for (size_t n = 1; n < good.size(); n++)
        EXPECT_EQ(Open(good.substr(0, n)), STATUS_INVALID) << n;
    std::string nested;
    for (int i = 0; i < 50; i++)
        nested = Field(3, nested.size() < 100 ? nested : "");
    EXPECT_EQ(Open(Field(1, Field(kMessage, nested))), STATUS_INVALID);
    EXPECT_EQ(Open(Field(1, Field(kMessage, "\x0b"))), STATUS_INVALID);
}

} // namespace

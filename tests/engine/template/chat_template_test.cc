/* The front door: whole templates against Jinja, failures, threads. */
#include <thread>
#include <vector>

#include "template_fixture.h"

using namespace templates;

namespace {

class Models : public testing::TestWithParam<std::string> {};

TEST_P(Models, RenderAsJinjaDoes)
{
    Json conversations = parse_json(read_file(golden("conversations.json")));
    std::string source = read_file(golden(GetParam() + ".jinja"));
    std::istringstream lines(read_file(golden(GetParam() + ".jsonl")));
    struct chat_template *opened;
    struct error error = {};
    ASSERT_EQ(STATUS_OK, chat_template_open(&opened, "test", source.data(), source.size(), &error))
        << error.text;
    Template t(opened);
    std::string line;
    size_t count = 0, succeeded = 0;
    while (std::getline(lines, line)) {
        Json vector = parse_json(line);
        std::string name = string_of(vector.get(), "conversation");
        json_t *variables = json_object_get(conversations.get(), name.c_str());
        ASSERT_TRUE(variables) << name;
        Rendered got = rendered(t.get(), variables);
        check_case(vector.get(), got, name);
        succeeded += got.status == STATUS_OK;
        count++;
    }
    EXPECT_EQ(json_object_size(conversations.get()), count);
    EXPECT_GE(succeeded, count / 2);
}

INSTANTIATE_TEST_SUITE_P(All, Models,
                         testing::Values("builtin_chatml", "builtin_llama3", "builtin_deepseek3",
                                         "builtin_gpt-oss", "builtin_kimi-k2", "builtin_granite",
                                         "builtin_glm", "llama3_tools", "qwen3", "mistral",
                                         "deepseek_r1", "gemma", "phi", "command_r", "olmoe",
                                         "granite_roles"),
                         [](const testing::TestParamInfo<std::string> &model) {
                             std::string name = model.param;
                             for (char &c : name)
                                 c = c == '-' ? '_' : c;
                             return name;
                         });

TEST(ChatTemplate, OpenRefusesWhatIsNoText)
{
    struct chat_template *t;
    struct error error = {};
    EXPECT_EQ(STATUS_INVALID, chat_template_open(&t, "name", "\xff", 1, &error));
    EXPECT_EQ(nullptr, t);
    EXPECT_STREQ("name: not UTF-8", error.text);
    std::string large(CHAT_TEMPLATE_BYTES_MAX + 1, 'x');
    struct error second = {};
    EXPECT_EQ(STATUS_INVALID, chat_template_open(&t, "name", large.data(), large.size(), &second));
    EXPECT_EQ(STATUS_INVALID, chat_template_open(&t, "name", "{{", 2, NULL));
    ASSERT_EQ(STATUS_OK, chat_template_open(&t, "name", NULL, 0, NULL));
    chat_template_close(t);
    chat_template_close(NULL);
}

TEST(ChatTemplate, ManyThreadsRenderOne)
{
    std::string source = chat_template_builtin("gpt-oss");
    struct chat_template *opened;
    ASSERT_EQ(STATUS_OK, chat_template_open(&opened, "t", source.data(), source.size(), NULL));
    Template t(opened);
    Json conversations = parse_json(read_file(golden("conversations.json")));
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([&] {
            std::string first;
            for (int k = 0; k < 20; k++) {
                Rendered r = rendered(t.get(), json_object_get(conversations.get(), "answered"));
                EXPECT_TRUE(first.empty() || first == r.output);
                first = r.output;
            }
            EXPECT_FALSE(first.empty());
        });
    }
    for (std::thread &thread : threads)
        thread.join();
}

TEST(ChatTemplate, TheVariablesAreOnlyRead)
{
    Json values = parse_json(R"({"l": [1, 2]})");
    struct chat_template *opened;
    std::string source = "{% do l.append(3) %}{{ l }}";
    ASSERT_EQ(STATUS_OK, chat_template_open(&opened, "t", source.data(), source.size(), NULL));
    Template t(opened);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ("[1, 2, 3]", rendered(t.get(), values.get()).output);
    EXPECT_EQ(2u, json_array_size(json_object_get(values.get(), "l")));
}

} // namespace

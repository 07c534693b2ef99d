/* The built-in templates: the same texts as the golden ones, and what they are named. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Builtin, AreTheGoldenOnes)
{
    uint32_t i = 0;
    for (const char *name; (name = chat_template_builtin_name(i)); i++)
        EXPECT_EQ(read_file(golden(std::string("builtin_") + name + ".jinja")),
                  chat_template_builtin(name));
    EXPECT_EQ(7u, i);
    EXPECT_EQ(nullptr, chat_template_builtin_name(1000000));
    EXPECT_EQ(nullptr, chat_template_builtin("none of them"));
}

TEST(Builtin, FirstTurns)
{
    const char *one =
        R"({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": true})";
    EXPECT_EQ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
              rendered(chat_template_builtin("chatml"), one).output);
    EXPECT_EQ("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n",
              rendered(chat_template_builtin("llama3"), one).output);
    EXPECT_EQ("<|start_of_role|>user<|end_of_role|>Hi<|end_of_text|>\n<|start_of_role|>assistant<|"
              "end_of_role|>",
              rendered(chat_template_builtin("granite"), one).output);
    EXPECT_EQ("<|im_user|>user<|im_middle|>Hi<|im_end|><|im_assistant|>assistant<|im_middle|>",
              rendered(chat_template_builtin("kimi-k2"), one).output);
    EXPECT_EQ("[gMASK]<sop><|user|>\nHi<|assistant|>",
              rendered(chat_template_builtin("glm"), one).output);
}

} // namespace

#include "clients/cli/cli.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

std::string piece_json(const std::string &bytes)
{
    ProtobufCBinaryData piece = {bytes.size(), bytes.empty() ? nullptr : (uint8_t *)&bytes[0]};
    json_t *value = cli_piece_json(&piece);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    std::string out = text;
    free(text);
    json_decref(value);
    return out;
}

TEST(cli, a_piece_is_a_string_or_bytes)
{
    EXPECT_EQ("\"\"", piece_json(""));
    EXPECT_EQ("\" a\\n\"", piece_json(" a\n"));
    EXPECT_EQ("\"\xe2\x82\xac\"", piece_json("\xe2\x82\xac"));
    EXPECT_EQ("[226,130]", piece_json("\xe2\x82"));
}

int run(std::vector<std::string> words, std::string *out, std::string *err)
{
    std::vector<char *> argv;
    for (auto &w : words)
        argv.push_back(&w[0]);
    argv.push_back(nullptr);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    int code = cli_main((int)words.size(), argv.data());
    *out = testing::internal::GetCapturedStdout();
    *err = testing::internal::GetCapturedStderr();
    return code;
}

TEST(cli, help_goes_where_it_was_asked_for)
{
    std::string out, err;
    EXPECT_EQ(CLI_OK, run({"moering-client", "--version"}, &out, &err));
    EXPECT_EQ(std::string("moering-client ") + MOERING_VERSION + "\n", out);
    EXPECT_EQ(CLI_OK, run({"moering-client", "help"}, &out, &err));
    EXPECT_EQ(0u, out.find("Usage: "));
    EXPECT_EQ("", err);
    EXPECT_EQ(CLI_USAGE, run({"moering-client"}, &out, &err));
    EXPECT_EQ(0u, err.find("Usage: "));
    EXPECT_EQ("", out);
    EXPECT_EQ(CLI_USAGE, run({"moering-client", "generat"}, &out, &err));
    EXPECT_EQ("moering-client: unknown command 'generat'; did you mean 'generate'?\n", err);
}

TEST(cli, every_command_runs)
{
    for (const char *command : {"generate", "tokenize", "detokenize", "model", "stats", "budget",
                                "health"}) {
        std::string out, err;
        bool by_text = std::string(command) == "generate" || std::string(command) == "tokenize";
        std::vector<std::string> words = {"moering-client", command, "--connect", "nowhere"};
        if (by_text)
            words.push_back("text");
        int code = run(words, &out, &err);
        bool needs = std::string(command) == "detokenize" || std::string(command) == "budget";
        EXPECT_EQ(needs ? CLI_USAGE : CLI_ERROR, code) << err;
        EXPECT_NE("", err) << command;
    }
}

} // namespace

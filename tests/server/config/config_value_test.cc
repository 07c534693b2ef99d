#include "server/config/config.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/support/scratch.h"

namespace {

struct Parsed {
    struct config config = {};
    struct error error = {};
    enum status status;

    Parsed(enum config_command command, const std::vector<std::string> &words)
    {
        std::vector<const char *> argv;
        for (auto &w : words) {
            kept.push_back(std::make_unique<std::string>(w));
            argv.push_back(kept.back()->c_str());
        }
        status = config_parse(&config, command, (int)argv.size(), argv.data(), nullptr, &error);
    }
    ~Parsed() { config_close(&config); }
    std::vector<std::unique_ptr<std::string>> kept;
};

TEST(config_value, where_to_compute)
{
    struct {
        const char *text;
        enum engine_device kind;
        uint32_t ordinal;
        const char *shown;
    } cases[] = {{"auto", ENGINE_DEVICE_AUTO, 0, " auto (flag)"},
                 {"cpu", ENGINE_DEVICE_CPU, 0, " cpu (flag)"},
                 {"cuda", ENGINE_DEVICE_CUDA, 0, " cuda:0 (flag)"},
                 {"cuda:3", ENGINE_DEVICE_CUDA, 3, " cuda:3 (flag)"}};
    for (auto &c : cases) {
        Parsed p(CONFIG_RUN, {"--device", c.text, "--deterministic"});
        ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
        EXPECT_EQ(c.kind, p.config.device.kind);
        EXPECT_EQ(c.ordinal, p.config.device.ordinal);
        EXPECT_TRUE(p.config.deterministic);
        char *text = nullptr;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        config_print(&p.config, out);
        fclose(out);
        EXPECT_NE(std::string::npos, std::string(text).find(c.shown)) << text;
        free(text);
    }
    scratch::Folder folder;
    std::string file = "device: cuda:1\nplacement: host\n";
    Parsed p(CONFIG_SERVE, {"--config", folder.write("m.yaml", file)});
    ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
    EXPECT_EQ(1u, p.config.device.ordinal);
    EXPECT_EQ(PLACEMENT_HOST, p.config.placement);
}

TEST(config_value, bytes_as_flags_take_them)
{
    uint64_t bytes = 0;
    struct error error = {};
    EXPECT_EQ(STATUS_OK, config_bytes("kv", "1.5MiB", &bytes, &error));
    EXPECT_EQ(3u << 19, bytes);
    EXPECT_EQ(STATUS_INVALID, config_bytes("kv", "25%", &bytes, &error));
    EXPECT_STREQ("kv: '25%' is not a size such as 1048576, 64MiB or 2GB", error.text);
}

} // namespace

#include "server/config/config.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

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

TEST(config_changed, names_what_has_changed)
{
    const char *names[CONFIG_FLAGS_MAX];
    Parsed a(CONFIG_SERVE, {"--host", "::1", "--device-experts", "25%", "--device", "cuda:1"});
    Parsed same(CONFIG_SERVE, {"--host=::1", "--device-experts=25.0%", "--device=cuda:1"});
    EXPECT_EQ(0u, config_changed(&a.config, &same.config, names));
    struct {
        std::vector<std::string> args;
        const char *name;
    } cases[] = {{{"--host", "::2"}, "host"},
                 {{"--model", "/m"}, "model"},
                 {{"--device-experts", "26%"}, "device-experts"},
                 {{"--device-experts", "25"}, "device-experts"},
                 {{"--host-experts", "4GiB"}, "host-experts"},
                 {{"--kv-cache-bytes", "1GiB"}, "kv-cache-bytes"},
                 {{"--device", "cuda:2"}, "device"},
                 {{"--device", "cpu"}, "device"},
                 {{"--stream-layers", "off"}, "stream-layers"},
                 {{"--policy", "lru"}, "policy"},
                 {{"--deterministic"}, "deterministic"},
                 {{"--max-queue", "7"}, "max-queue"}};
    for (auto &c : cases) {
        std::vector<std::string> args = {"--host", "::1", "--device-experts", "25%", "--device",
                                         "cuda:1"};
        args.insert(args.end(), c.args.begin(), c.args.end());
        Parsed b(CONFIG_SERVE, args);
        ASSERT_EQ(STATUS_OK, b.status) << b.error.text;
        ASSERT_EQ(1u, config_changed(&a.config, &b.config, names)) << c.name;
        EXPECT_STREQ(c.name, names[0]);
    }
}

} // namespace

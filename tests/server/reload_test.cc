#include "server/reload.h"

#include <gtest/gtest.h>
#include <string.h>

#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

// A server's settings: words, variables and a file, read at start and again by reload_read.
struct Settings {
    scratch::Folder folder;
    std::vector<std::string> words, variables;
    std::vector<const char *> argv;
    std::vector<char *> environment;
    struct config started = {};
    struct reload reload = {};
    struct engine_budget asked = {};
    struct error error = {};

    explicit Settings(const char *file, std::vector<std::string> flags = {},
                      std::vector<std::string> env = {})
        : words(std::move(flags)), variables(std::move(env))
    {
        if (file) {
            write(file);
            words.insert(words.end(), {"--config", folder.path("m.yaml")});
        }
        for (auto &w : words)
            argv.push_back(w.c_str());
        for (auto &v : variables)
            environment.push_back(&v[0]);
        environment.push_back(nullptr);
        EXPECT_EQ(STATUS_OK, config_parse(&started, CONFIG_SERVE, (int)argv.size(), argv.data(),
                                          environment.data(), &error)) << error.text;
        reload_init(&reload, &started, (int)argv.size(), argv.data(), environment.data());
    }
    ~Settings() { config_close(&started); }
    void write(const std::string &text) { folder.write("m.yaml", text); }
    // What is logged while the file is read again.
    std::string read(enum status expected = STATUS_OK)
    {
        testing::internal::CaptureStderr();
        EXPECT_EQ(expected, reload_read(&reload, &asked, &error)) << error.text;
        return testing::internal::GetCapturedStderr();
    }
    uint32_t set() const
    {
        return (uint32_t)(asked.set[ENGINE_ROOM_DEVICE] + asked.set[ENGINE_ROOM_HOST] +
                          asked.set[ENGINE_ROOM_KV]);
    }
};

TEST(reload, sizes_that_changed_are_asked_for)
{
    Settings s("device-experts: 25%\nkv-cache-bytes: 8MiB\n");
    EXPECT_NE(std::string::npos, s.read().find("no size in it has changed"));
    EXPECT_EQ(0u, s.set());
    s.write("device-experts: 50%\nkv-cache-bytes: 8MiB\n");
    EXPECT_EQ("", s.read());
    EXPECT_EQ(1u, s.set());
    EXPECT_TRUE(s.asked.set[ENGINE_ROOM_DEVICE]);
    EXPECT_EQ(50, s.asked.device_experts.percent);
    s.read(); // nothing said that it is in force: asked for again
    EXPECT_EQ(1u, s.set());
    reload_applied(&s.reload, &s.asked);
    s.read();
    EXPECT_EQ(0u, s.set());
    s.write("kv-cache-bytes: 16MiB\nhost-experts: 12\n");
    s.read();
    EXPECT_EQ(3u, s.set()) << "device-experts is at its default again";
    EXPECT_EQ(ROOM_AUTO, s.asked.device_experts.kind);
    EXPECT_EQ(12u, s.asked.host_experts.pages);
    EXPECT_EQ(16u << 20, s.asked.kv_bytes);
    reload_applied(&s.reload, &s.asked);
    s.read();
    EXPECT_EQ(0u, s.set());
}

TEST(reload, flags_and_variables_stay_above_the_file)
{
    Settings s("device-experts: 25%\nkv-cache-bytes: 8MiB\n", {"--device-experts", "10%"},
               {"MOERING_KV_CACHE_BYTES=4MiB"});
    s.write("device-experts: 50%\nkv-cache-bytes: 9MiB\n");
    EXPECT_NE(std::string::npos, s.read().find("no size in it has changed"));
    EXPECT_EQ(0u, s.set());
}

TEST(reload, the_rest_is_named_in_one_line)
{
    Settings s("max-num-seqs: 4\n");
    s.write("max-num-seqs: 5\nhost: 10.0.0.1\ndevice: cpu\ndevice-experts: 3\n");
    std::string said = s.read();
    EXPECT_NE(std::string::npos,
              said.find("these settings have changed and wait for a restart: device, max-num-seqs, "
                        "host\n"))
        << said;
    EXPECT_EQ(1u, s.set());
    reload_applied(&s.reload, &s.asked);
    EXPECT_NE(std::string::npos, s.read().find("wait for a restart")) << "they still do";
}

TEST(reload, what_cannot_be_read_changes_nothing)
{
    Settings none(nullptr);
    none.read(STATUS_INVALID);
    EXPECT_STREQ("there is no settings file (--config) to read again", none.error.text);
    Settings s("max-num-seqs: 4\n");
    s.write("device-experts: many\n");
    s.read(STATUS_INVALID);
    EXPECT_NE(nullptr, strstr(s.error.text, "m.yaml:1: device-experts: 'many' is not a size"))
        << s.error.text;
    EXPECT_EQ(0u, s.set());
    s.folder.remove("m.yaml");
    s.read(STATUS_NOT_FOUND);
}

} // namespace

#include "server/command/builtin.h"

#include <gtest/gtest.h>
#include <string.h>

#include <string>

#include "tests/support/scratch.h"

namespace {

TEST(builtin, the_variable_decides_alone)
{
    scratch::Folder folder;
    folder.write("model/config.json", std::string("{}"));
    char out[4096];
    struct error error = {};
    EXPECT_EQ(STATUS_OK, builtin_find(folder.path("model").c_str(), nullptr, out, sizeof out,
                                      nullptr));
    EXPECT_EQ(folder.path("model"), out);
    EXPECT_EQ(STATUS_NOT_FOUND,
              builtin_find(folder.path("none").c_str(), nullptr, out, sizeof out, &error));
    EXPECT_NE(nullptr, strstr(error.text, "MOERING_BUILTIN_MODEL"));
}

TEST(builtin, every_folder_above_the_program)
{
    scratch::Folder folder;
    folder.write("my tree/deploy/models/tiny/config.json", std::string("{}"));
    std::string root = folder.path("my tree");
    char out[4096];
    for (const char *program : {"/moering", "/build/release/bin/moering"}) {
        ASSERT_EQ(STATUS_OK,
                  builtin_find(nullptr, (root + program).c_str(), out, sizeof out, nullptr));
        EXPECT_EQ(root + "/deploy/models/tiny", out);
    }
    EXPECT_EQ(STATUS_OK, builtin_find("", (root + "/a").c_str(), out, sizeof out, nullptr));
}

TEST(builtin, what_was_installed_to_any_prefix)
{
    scratch::Folder folder;
    folder.write("opt/share/moering/models/tiny/config.json", std::string("{}"));
    char out[4096];
    ASSERT_EQ(STATUS_OK, builtin_find(nullptr, folder.path("opt/bin/moering").c_str(), out,
                                      sizeof out, nullptr));
    EXPECT_EQ(folder.path("opt/share/moering/models/tiny"), out);
}

TEST(builtin, a_path_too_long_is_not_cut)
{
    scratch::Folder folder;
    folder.write("model/config.json", std::string("{}"));
    char out[8];
    EXPECT_EQ(STATUS_NOT_FOUND,
              builtin_find(folder.path("model").c_str(), nullptr, out, sizeof out, nullptr));
}

} // namespace

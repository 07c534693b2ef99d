#include "clients/program/output.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace {

/* Standard output is the file at a path, as long as this lives. */
class Redirected {
public:
    explicit Redirected(const char *path) : kept_(dup(STDOUT_FILENO))
    {
        fflush(stdout);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        dup2(fd, STDOUT_FILENO);
        close(fd);
    }
    ~Redirected()
    {
        fflush(stdout);
        clearerr(stdout);
        dup2(kept_, STDOUT_FILENO);
        close(kept_);
    }

private:
    int kept_;
};

/* What is said of `text`, printed to the file; "": it was written. */
std::string said(const char *path, const char *text)
{
    fault why = {};
    bool whole;
    {
        Redirected to(path);
        fputs(text, stdout);
        whole = output_flush(&why);
    }
    EXPECT_EQ(whole, std::string(why.text).empty());
    return why.text;
}

TEST(output, what_is_written_needs_no_words)
{
    EXPECT_EQ("", said("/dev/null", "x"));
    EXPECT_EQ("", said("/dev/full", "")) << "nothing is lost of nothing";
}

TEST(output, a_full_disk_is_told)
{
    EXPECT_EQ("standard output: No space left on device", said("/dev/full", "x"));
}

TEST(output, a_loss_is_told_once_even_after_a_good_write)
{
    fault first = {}, second = {};
    bool ok[2];
    {
        Redirected to("/dev/full");
        putchar('x');
        fflush(stdout);
        {
            Redirected good("/dev/null");
            ok[0] = output_flush(&first);
        }
        ok[1] = output_flush(&second);
    }
    EXPECT_FALSE(ok[0]);
    EXPECT_EQ(0u, std::string(first.text).find("standard output: "));
    EXPECT_TRUE(ok[1]) << second.text;
}

TEST(output, a_known_cause_is_named)
{
    fault why = {};
    EXPECT_FALSE(output_lost(EFBIG, &why));
    EXPECT_STREQ("standard output: File too large", why.text);
}

} // namespace

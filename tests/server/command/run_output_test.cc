#include "server/command/run_output.h"

#include <gtest/gtest.h>
#include <string.h>

#include <string>

#include "tests/server/toy_engine.h"

namespace {

struct sampled token(uint32_t id)
{
    struct sampled s = {};
    s.token = id;
    return s;
}

TEST(run_output, events_become_one_answer)
{
    struct run_answer a = {};
    struct request *r = toy_engine::make(1, 3, 5);
    ASSERT_EQ(STATUS_OK, run_answer_begin(&a, r, 0, nullptr));
    EXPECT_EQ(3u, a.prompt_tokens);
    EXPECT_EQ(0, memcmp(a.prompt, r->asked.prompt, 12));
    for (uint32_t i = 0; i < 3; i++) {
        struct request_event *e = request_event_open(1);
        struct sampled s = token(i);
        request_event_add_text(e, "ab", 2);
        request_event_add_token(e, &s);
        if (i == 2) {
            e->finish = FINISH_STOP;
            e->usage.prompt_tokens = 3;
        }
        ASSERT_EQ(STATUS_OK, run_answer_add(&a, e, false, nullptr));
        request_event_close(e);
    }
    EXPECT_EQ("ababab", std::string(a.all->text, a.all->text_bytes));
    EXPECT_EQ(3u, a.all->usage.completion_tokens);
    EXPECT_EQ(FINISH_STOP, a.all->finish);
    run_answer_close(&a);
    request_close(r);
}

TEST(run_output, a_muted_answer_keeps_its_usage_only)
{
    struct run_answer a = {};
    struct request *r = toy_engine::make(1, 2, 1);
    ASSERT_EQ(STATUS_OK, run_answer_begin(&a, r, 0, nullptr));
    struct request_event *e = request_event_open(1);
    struct sampled s = token(4);
    request_event_add_token(e, &s);
    request_event_add_text(e, "x", 1);
    e->finish = FINISH_STOP;
    e->usage.prompt_tokens = 2;
    e->usage.completion_tokens = 1;
    ASSERT_EQ(STATUS_OK, run_answer_add(&a, e, true, nullptr));
    EXPECT_EQ(0u, a.all->token_count);
    EXPECT_EQ(0u, a.all->text_bytes);
    EXPECT_EQ(0u, a.all->usage.completion_tokens);
    EXPECT_EQ(2u, a.all->usage.prompt_tokens);
    EXPECT_EQ(FINISH_LENGTH, a.all->finish);
    request_event_close(e);
    run_answer_close(&a);
    request_close(r);
}

TEST(run_output, logits_of_computed_positions_are_written)
{
    scratch::Folder folder;
    struct run_answer a[2] = {};
    std::string expected;
    for (uint32_t i = 0; i < 2; i++) {
        struct request *r = toy_engine::make(i + 1, 3, 4);
        ASSERT_EQ(STATUS_OK, run_answer_begin(&a[i], r, 2, nullptr));
        for (uint32_t position = 0; position < 3 + i; position++) {
            float *at = run_answer_logits(&a[i], position, 1);
            at[0] = (float)position;
            at[1] = (float)i;
            expected.append(reinterpret_cast<char *>(at), 8);
        }
        request_close(r);
    }
    std::string path = folder.path("logits");
    FILE *file = nullptr;
    ASSERT_EQ(STATUS_OK, run_open_logits(&file, path.c_str(), nullptr));
    ASSERT_EQ(STATUS_OK, run_write_logits(file, path.c_str(), a, 2, nullptr));
    EXPECT_EQ(expected, folder.read("logits"));
    struct error error = {};
    EXPECT_EQ(STATUS_IO, run_open_logits(&file, "/nowhere/x", &error));
    EXPECT_EQ(nullptr, file);
    EXPECT_NE(nullptr, strstr(error.text, "--logits-out /nowhere/x: No such file")) << error.text;
    // Found when the file is closed, since so little fits in its buffer.
    error = {};
    ASSERT_EQ(STATUS_OK, run_open_logits(&file, "/dev/full", nullptr));
    EXPECT_EQ(STATUS_IO, run_write_logits(file, "/dev/full", a, 2, &error));
    EXPECT_NE(nullptr, strstr(error.text, "No space left")) << error.text;
    run_answer_close(&a[0]);
    run_answer_close(&a[1]);
}

} // namespace

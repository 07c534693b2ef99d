#include "server/generation.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

namespace {

const struct tokenizer *tiny()
{
    struct Owner {
        struct tokenizer *t = nullptr;
        ~Owner() { tokenizer_close(t); }
    };
    static Owner owner;
    if (!owner.t) {
        const char *source = getenv("MOERING_SOURCE_DIR");
        struct error error = {};
        std::string folder = std::string(source ? source : ".") + "/deploy/models/tiny";
        EXPECT_EQ(STATUS_OK, tokenizer_open(&owner.t, folder.c_str(), &error)) << error.text;
    }
    return owner.t;
}

std::vector<uint32_t> encode(const std::string &text)
{
    struct token_list list = {};
    EXPECT_EQ(STATUS_OK,
              tokenizer_encode(tiny(), text.data(), text.size(), false, true, &list, nullptr));
    std::vector<uint32_t> ids(list.ids, list.ids + list.count);
    token_list_reset(&list);
    return ids;
}

// One request that is fed tokens as the engine would sample them.
struct Feed {
    struct generation g = {};
    struct request *r = request_open(5);
    uint32_t eos = 0;
    uint64_t now = 1000;
    enum finish_reason finish = FINISH_NONE;

    explicit Feed(bool with_tokenizer = true)
    {
        EXPECT_EQ(STATUS_OK,
                  generation_open(&g, with_tokenizer ? tiny() : nullptr, &eos, 1, nullptr));
        r->asked.prompt_tokens = 3;
        r->schedule.known = 3;
        r->schedule.limit = 1000;
        r->schedule.submitted_ns = 100;
        r->schedule.admitted_ns = 400;
    }
    ~Feed()
    {
        request_close(r);
        generation_close(&g);
    }
    void stop(const char *text)
    {
        ASSERT_EQ(STATUS_OK, stop_list_add(&r->asked.stops, text, strlen(text), nullptr));
    }
    void begin() { generation_begin(&g, r); }
    // Pushes until the output ends; returns how many were taken.
    size_t push(const std::vector<uint32_t> &ids)
    {
        for (size_t i = 0; i < ids.size(); i++) {
            struct sampled s = {};
            s.token = ids[i];
            r->schedule.known++;
            finish = generation_push(&g, r, &s, now += 10);
            if (finish != FINISH_NONE)
                return i + 1;
        }
        return ids.size();
    }
    struct request_event *event() { return r->output.event; }
    std::string text()
    {
        return std::string(event()->text ? event()->text : "", event()->text_bytes);
    }
};

TEST(generation, text_comes_as_tokens_come)
{
    Feed f;
    f.begin();
    auto ids = encode("Sort: 3 1 2");
    EXPECT_EQ(ids.size(), f.push(ids));
    EXPECT_EQ("Sort: 3 1 2", f.text());
    EXPECT_EQ(ids.size(), f.event()->token_count);
    EXPECT_EQ(FINISH_NONE, f.event()->finish);
}

TEST(generation, an_end_token_ends_unseen)
{
    Feed f;
    f.begin();
    auto ids = encode("12");
    ids.push_back(f.eos);
    ids.push_back(ids[0]);
    EXPECT_EQ(ids.size() - 1, f.push(ids));
    EXPECT_EQ(FINISH_STOP, f.finish);
    EXPECT_EQ("12", f.text());
    EXPECT_TRUE(f.event()->has_stop_token);
    EXPECT_EQ(f.eos, f.event()->stop_token);
    const struct request_usage &u = f.event()->usage;
    EXPECT_EQ(3u, u.prompt_tokens);
    EXPECT_EQ(ids.size() - 1, u.completion_tokens);
    EXPECT_EQ(300u, u.queue_ns);
    EXPECT_EQ(610u, u.prefill_ns);
    EXPECT_EQ(10u * (ids.size() - 2), u.decode_ns);
}

TEST(generation, ignored_end_tokens_go_on)
{
    Feed f;
    f.r->asked.ignore_eos = true;
    f.begin();
    EXPECT_EQ(2u, f.push({f.eos, f.eos}));
    EXPECT_EQ(FINISH_NONE, f.finish);
    EXPECT_EQ("", f.text()); // special tokens are not written
    Feed keep;
    keep.r->asked.ignore_eos = keep.r->asked.keep_special = true;
    keep.begin();
    keep.push({keep.eos});
    EXPECT_EQ("<|endoftext|>", keep.text());
}

TEST(generation, stop_texts_across_tokens)
{
    Feed f;
    f.stop("END");
    f.begin();
    auto ids = encode("a");
    for (const char *part : {"E", "N"})
        for (uint32_t id : encode(part))
            ids.push_back(id);
    f.push(ids);
    EXPECT_EQ("a", f.text()); // "EN" is held back
    for (uint32_t id : encode("D"))
        f.push({id});
    EXPECT_EQ(FINISH_STOP, f.finish);
    EXPECT_EQ("a", f.text());
    EXPECT_EQ("END", std::string(f.event()->stop_text, f.event()->stop_text_bytes));
    EXPECT_FALSE(f.event()->has_stop_token);
}

TEST(generation, held_text_comes_out_at_the_end)
{
    Feed f;
    f.stop("END");
    auto ids = encode("aEN");
    f.r->schedule.limit = 3 + (uint32_t)ids.size();
    f.begin();
    f.push(ids);
    EXPECT_EQ(FINISH_LENGTH, f.finish);
    EXPECT_EQ("aEN", f.text());
    Feed g;
    g.stop("END");
    g.begin();
    ids.push_back(g.eos);
    g.push(ids);
    EXPECT_EQ(FINISH_STOP, g.finish);
    EXPECT_EQ("aEN", g.text());
}

TEST(generation, before_min_tokens_nothing_ends)
{
    Feed f;
    auto ids = encode("x y");
    f.r->asked.min_tokens = (uint32_t)ids.size();
    f.stop("x");
    f.r->asked.stop_tokens[0] = 77;
    f.r->asked.stop_token_count = 1;
    f.begin();
    uint32_t count;
    const uint32_t *banned = generation_banned(f.r, &count);
    ASSERT_EQ(2u, count);
    EXPECT_EQ(f.eos, banned[0]);
    EXPECT_EQ(77u, banned[1]);
    EXPECT_EQ(ids.size(), f.push(ids));
    EXPECT_EQ(FINISH_NONE, f.finish);
    EXPECT_EQ("x y", f.text());
    EXPECT_EQ(nullptr, generation_banned(f.r, &count));
    EXPECT_EQ(0u, count);
    f.push(encode("x"));
    EXPECT_EQ(FINISH_STOP, f.finish);
}

TEST(generation, half_characters_wait_and_end_as_replacement)
{
    auto ids = encode("\xe2\x82\xac"); // three tokens of one byte each in this vocabulary
    ASSERT_GT(ids.size(), 1u);
    Feed f;
    f.begin();
    f.push(std::vector<uint32_t>(ids.begin(), ids.end() - 1));
    EXPECT_EQ("", f.text());
    f.push({ids.back()});
    EXPECT_EQ("\xe2\x82\xac", f.text());
    Feed cut;
    cut.r->schedule.limit = 4;
    cut.begin();
    cut.push({ids[0]});
    EXPECT_EQ(FINISH_LENGTH, cut.finish);
    EXPECT_EQ("\xef\xbf\xbd", cut.text());
}

TEST(generation, without_tokenizer_ids_only)
{
    Feed f(false);
    f.r->schedule.limit = 6;
    f.begin();
    EXPECT_EQ(3u, f.push({7, 8, 9}));
    EXPECT_EQ(FINISH_LENGTH, f.finish);
    EXPECT_EQ("", f.text());
    EXPECT_EQ(3u, f.event()->token_count);
}

TEST(generation, failure_is_an_event_too)
{
    Feed f;
    f.begin();
    generation_fail(f.r, STATUS_DEADLINE, "the deadline has passed", 5000);
    EXPECT_EQ(FINISH_FAILED, f.event()->finish);
    EXPECT_EQ(STATUS_DEADLINE, f.event()->status);
    EXPECT_STREQ("the deadline has passed", f.event()->error.text);
}

} // namespace

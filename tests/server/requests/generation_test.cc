#include "server/requests/generation.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
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

TEST(generation, special_tokens_that_were_asked_for_are_shown)
{
    Feed f;
    uint32_t begin = tokenizer_token_id(tiny(), "<|im_start|>"),
             end = tokenizer_token_id(tiny(), "<|im_end|>");
    ASSERT_TRUE(tokenizer_is_special(tiny(), begin) && tokenizer_is_special(tiny(), end));
    f.r->asked.shown_special[0] = begin;
    f.r->asked.shown_special_count = 1;
    f.begin();
    auto a = encode("a");
    f.push({end, begin, a[0], end, begin});
    EXPECT_EQ("<|im_start|>a<|im_start|>", f.text());
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

// A stream that counts as it goes needs it before the end.
TEST(generation, every_event_says_what_was_cached)
{
    Feed f;
    f.begin();
    f.r->output.cached_tokens = 16;
    f.push({encode("Sort: 3")[0]});
    EXPECT_EQ(FINISH_NONE, f.event()->finish);
    EXPECT_EQ(16u, f.event()->usage.cached_tokens);
    generation_fail(f.r, STATUS_DEADLINE, "late", 9999);
    EXPECT_EQ(16u, f.event()->usage.cached_tokens);
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

TEST(generation, events_know_when)
{
    Feed f;
    f.begin();
    auto ids = encode("Sort: 3");
    f.push(ids);
    EXPECT_EQ(f.now, f.event()->ns) << "the newest token's";
    generation_fail(f.r, STATUS_DEADLINE, "late", 9999);
    EXPECT_EQ(9999u, f.event()->ns);
}

// A request whose output is one of some texts.
struct Chosen : Feed {
    std::vector<uint32_t> mask;

    explicit Chosen(const std::vector<const char *> &texts)
    {
        std::vector<size_t> bytes;
        for (const char *text : texts)
            bytes.push_back(strlen(text));
        EXPECT_EQ(STATUS_OK, grammar_open_choice(&r->asked.grammar, texts.data(), bytes.data(),
                                                 (uint32_t)texts.size(), nullptr));
        uint32_t vocab = tokenizer_vocab_size(tiny());
        EXPECT_EQ(STATUS_OK, generation_open_vocab(&g, vocab, nullptr));
        mask.resize(grammar_mask_words(vocab));
    }
    void begin()
    {
        Feed::begin();
        EXPECT_EQ(STATUS_OK, generation_begin_grammar(&g, r, nullptr));
    }
    bool allows(uint32_t token)
    {
        EXPECT_TRUE(generation_mask(&g, r, mask.data()));
        return mask[token / 32] >> token % 32 & 1;
    }
};

TEST(generation, a_grammar_says_what_may_follow_and_ends_the_output)
{
    Chosen f({"yes", "no"});
    f.begin();
    auto yes = encode("yes"), x = encode("x");
    EXPECT_TRUE(f.allows(yes[0]));
    EXPECT_FALSE(f.allows(x[0]));
    EXPECT_FALSE(f.allows(f.eos));
    EXPECT_EQ(yes.size(), f.push(yes));
    EXPECT_EQ(FINISH_STOP, f.finish) << "nothing can follow: no end token is waited for";
    EXPECT_FALSE(f.event()->has_stop_token);
    EXPECT_EQ(0u, f.event()->stop_text_bytes);
    EXPECT_EQ("yes", f.text());
    EXPECT_EQ(yes.size(), f.event()->usage.completion_tokens);
}

TEST(generation, where_more_may_follow_an_end_token_ends_it)
{
    Chosen f({"12", "123"}), longer({"12", "123"});
    auto ids = encode("12"), three = encode("3");
    f.begin();
    EXPECT_EQ(ids.size(), f.push(ids));
    EXPECT_EQ(FINISH_NONE, f.finish);
    EXPECT_TRUE(f.allows(f.eos));
    EXPECT_TRUE(f.allows(three[0]));
    f.push({f.eos});
    EXPECT_EQ(FINISH_STOP, f.finish);
    EXPECT_EQ("12", f.text());
    EXPECT_TRUE(f.event()->has_stop_token);
    longer.r->schedule.limit = 3 + (uint32_t)ids.size() + 1;
    longer.begin();
    ids.push_back(three[0]);
    longer.push(ids);
    EXPECT_EQ(FINISH_STOP, longer.finish) << "complete with its very last token: not cut off";
    EXPECT_EQ("123", longer.text());
}

TEST(generation, max_tokens_cuts_a_grammar_open)
{
    Chosen f({"123456789"});
    auto ids = encode("123456789");
    ASSERT_GT(ids.size(), 2u);
    f.r->schedule.limit = 3 + 2;
    f.begin();
    EXPECT_EQ(2u, f.push(ids));
    EXPECT_EQ(FINISH_LENGTH, f.finish);
}

// Both keep the end away while anything else may follow, and give in where nothing else may.
TEST(generation, min_tokens_and_ignore_eos_yield_to_a_grammar)
{
    auto ids = encode("12"), three = encode("3");
    for (bool ignore : {false, true}) {
        Chosen f({"12", "123"});
        f.r->asked.ignore_eos = ignore;
        f.r->asked.min_tokens = ignore ? 0 : (uint32_t)ids.size() + 5;
        f.begin();
        f.push(ids);
        EXPECT_FALSE(f.allows(f.eos));
        EXPECT_TRUE(f.allows(three[0]));
        f.push(three);
        EXPECT_EQ(FINISH_STOP, f.finish) << "complete: five more tokens cannot be had";
        EXPECT_EQ("123", f.text());
    }
    Chosen empty({""}); // nothing but an end can follow, from the first token on
    empty.r->asked.min_tokens = 4;
    empty.r->asked.ignore_eos = true;
    empty.begin();
    EXPECT_TRUE(empty.allows(empty.eos));
    empty.push({empty.eos});
    EXPECT_EQ(FINISH_STOP, empty.finish);
    EXPECT_EQ("", empty.text());
}

TEST(generation, stop_texts_and_tokens_end_a_grammar_anywhere)
{
    auto ids = encode("12345");
    Chosen f({"12345"});
    f.stop("3");
    f.begin();
    f.push(ids);
    EXPECT_EQ(FINISH_STOP, f.finish);
    EXPECT_EQ("12", f.text());
    EXPECT_EQ(1u, f.event()->stop_text_bytes);
    Chosen g({"12345"});
    g.r->asked.stop_tokens[0] = ids[1];
    g.r->asked.stop_token_count = 1;
    g.begin();
    EXPECT_EQ(2u, g.push(ids));
    EXPECT_EQ(FINISH_STOP, g.finish);
    EXPECT_TRUE(g.event()->has_stop_token);
}

TEST(generation, a_token_outside_the_grammar_is_the_servers_fault)
{
    Chosen f({"yes"});
    f.begin();
    f.push(encode("x"));
    EXPECT_EQ(FINISH_FAILED, f.finish);
    EXPECT_EQ(STATUS_INTERNAL, f.event()->status);
    EXPECT_NE(nullptr, strstr(f.event()->error.text, "grammar")) << f.event()->error.text;
}

TEST(generation, a_grammar_needs_a_tokenizer)
{
    Feed f(false);
    struct error error = {};
    EXPECT_EQ(STATUS_INVALID, generation_open_vocab(&f.g, 96, &error));
    EXPECT_NE(nullptr, strstr(error.text, "tokenizer")) << error.text;
}

// Chunks of any size, thrown away and computed again at any point: each prompt token once, in
// order.
TEST(generation, prompt_tokens_are_reported_once)
{
    for (uint32_t chunk : {1u, 3u, 8u, 20u}) {
        Feed f;
        f.r->asked.prompt_tokens = f.r->schedule.known = 20;
        f.r->asked.prompt_logprobs = true;
        f.begin();
        uint32_t next = 1, preemptions = 0;
        while (f.r->schedule.computed < 20) {
            struct step_item item = {};
            item.tokens = std::min(chunk, 20 - f.r->schedule.computed);
            ASSERT_TRUE(generation_ask_scores(f.r, &item));
            for (uint32_t i = 0; i < item.score_count; i++) {
                uint32_t position = f.r->schedule.computed + item.score_from + i;
                ASSERT_LT(item.score_from + i, item.tokens);
                item.scored[i].token = position + 1;
            }
            bool any = item.score_count > 0;
            EXPECT_EQ(any, generation_take_scores(f.r, &item, f.now += 5));
            if (any) {
                EXPECT_EQ(f.now, f.event()->ns);
            }
            f.r->schedule.computed += item.tokens;
            for (; any && next <= f.event()->prompt_count; next++)
                ASSERT_EQ(next, f.event()->prompt[next - 1].token);
            if (f.r->schedule.computed >= 9 && preemptions++ < 3)
                f.r->schedule.computed = 0;
        }
        ASSERT_EQ(19u, f.event()->prompt_count);
        EXPECT_EQ(20u, next);
    }
}

TEST(generation, a_prompt_of_one_token_has_nothing_to_report)
{
    Feed f;
    f.r->asked.prompt_tokens = 1;
    f.r->asked.prompt_logprobs = true;
    f.begin();
    struct step_item item = {};
    item.tokens = 1;
    ASSERT_TRUE(generation_ask_scores(f.r, &item));
    EXPECT_EQ(0u, item.score_count);
    EXPECT_FALSE(generation_take_scores(f.r, &item, 7));
    EXPECT_EQ(nullptr, f.event());
    generation_end_prompt(f.r, 1000);
    EXPECT_EQ(FINISH_LENGTH, f.event()->finish);
    EXPECT_EQ(1000u, f.event()->ns);
    EXPECT_EQ(0u, f.event()->usage.completion_tokens);
    EXPECT_EQ(600u, f.event()->usage.prefill_ns);
}

} // namespace

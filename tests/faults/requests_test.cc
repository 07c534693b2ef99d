/* link: server_core */
/* Requests when memory runs out in mid-stream: each ends with all of its tokens or with an error
 * its client sees, the others go on, and what comes afterwards is served as if nothing had been. */
#include <gtest/gtest.h>
#include <jansson.h>
#include <string.h>

#include <map>
#include <string>
#include <vector>

#include "engine/grammar/grammar.h"
#include "server/requests/batcher.h"
#include "server/requests/engine_thread.h"
#include "server/requests/requests.h"
#include "tests/faults/sweep.h"
#include "tests/server/toy_engine.h"

namespace {

const char tokenizer_json[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"ab\":5,"
    "\"cd\":6,\"\\\"\":7,\"{\":8,\"}\":9,\":\":10,\"1\":11,\"2\":12,\"3\":13,\",\":14,\"[\":15,"
    "\"]\":16,\"abab\":17},\"merges\":[\"a b\",\"c d\",\"ab ab\"]},"
    "\"decoder\":{\"type\":\"ByteLevel\"}}";

struct Outcome {
    std::vector<uint32_t> tokens;
    std::string text;
    uint32_t prompt_scores = 0;
    enum finish_reason finish = FINISH_NONE;
    enum status status = STATUS_OK;
    std::string error;

    bool operator==(const Outcome &other) const
    {
        return tokens == other.tokens && text == other.text && finish == other.finish &&
               prompt_scores == other.prompt_scores;
    }
};

using Outcomes = std::map<uint64_t, Outcome>;

class RequestFaults : public testing::Test {
protected:
    RequestFaults()
    {
        struct error error = {};
        folder_.folder.write("tokenizer.json", tokenizer_json);
        EXPECT_EQ(engine_open(&engine_, &folder_.config, &error), STATUS_OK) << error.text;
    }
    ~RequestFaults() override { engine_close(engine_); }

    /* Four of a kind that a server sees: plain text with stop texts, scores of the prompt, a
     * grammar, one that only has its prompt computed. */
    static struct request *make(uint64_t id)
    {
        struct request *r = toy_engine::make(id, 9, 12);
        struct error error = {};
        if (id % 4 == 1) {
            EXPECT_EQ(stop_list_add(&r->asked.stops, "zzz", 3, &error), STATUS_OK);
            r->asked.sampling.top_logprobs = 3;
        } else if (id % 4 == 2) {
            r->asked.prompt_logprobs = true;
        } else if (id % 4 == 3) {
            EXPECT_EQ(grammar_open_regex(&r->asked.grammar, "[abcd]{4,8}", 11, &error), STATUS_OK);
        } else {
            r->asked.max_tokens = 0;
        }
        return r;
    }
    static void take(struct batcher *b, Outcomes *outcomes)
    {
        faults::Pause pause;
        while (struct request_event *e = batcher_outbox(b)) {
            Outcome &o = (*outcomes)[e->request];
            EXPECT_EQ(o.finish, FINISH_NONE) << "news after the end";
            o.text.append(e->text_bytes ? e->text : "", e->text_bytes);
            for (uint32_t i = 0; i < e->token_count; i++)
                o.tokens.push_back(e->tokens[i].token);
            o.prompt_scores += e->prompt_count;
            o.finish = e->finish;
            o.status = e->status;
            o.error = e->error.text;
            batcher_taken(b);
            request_event_close(e);
        }
    }
    static void serve(struct batcher *b, uint64_t first, Outcomes *outcomes)
    {
        for (uint64_t id = first; id < first + 4; id++) {
            struct request *r;
            {
                faults::Pause pause;
                r = make(id);
            }
            batcher_submit(b, r, 1);
        }
        for (int steps = 0; !batcher_idle(b) && steps < 1000; steps++) {
            batcher_step(b, 2);
            take(b, outcomes);
        }
        take(b, outcomes);
        EXPECT_TRUE(batcher_idle(b));
    }
    struct batcher *open_batcher()
    {
        struct batcher_config config = {};
        struct error error = {};
        struct batcher *b = nullptr;
        config.engine = engine_;
        config.max_queue = 100;
        EXPECT_EQ(batcher_open(&b, &config, &error), STATUS_OK) << error.text;
        return b;
    }
    toy_engine::Folder folder_;
    struct engine *engine_ = nullptr;
};

TEST_F(RequestFaults, EveryRequestEndsAndTheOthersGoOn)
{
    Outcomes expected;
    struct batcher *b = open_batcher();
    serve(b, 1, &expected);
    batcher_close(b);
    ASSERT_EQ(expected.size(), 4u);
    for (const auto &one : expected)
        ASSERT_NE(one.second.finish, FINISH_FAILED) << one.second.error;
    uint64_t worst = 0;
    faults::Rules rules;
    rules.spared_max = 1000; /* what a grammar remembers of its masks */
    faults::sweep("four requests", [&](struct error *error) {
        Outcomes now, after;
        struct batcher *batcher;
        {
            faults::Pause pause;
            batcher = open_batcher();
        }
        serve(batcher, 1, &now);
        faults::Pause pause;
        enum status status = STATUS_OK;
        uint64_t failed = 0;
        EXPECT_EQ(now.size(), 4u);
        for (const auto &one : now) {
            if (one.second.finish == FINISH_FAILED) {
                EXPECT_FALSE(one.second.error.empty());
                EXPECT_NE(one.second.status, STATUS_OK);
                failed++;
                status = STATUS_NO_MEMORY;
                snprintf(error->text, sizeof error->text, "%s", one.second.error.c_str());
            } else {
                EXPECT_TRUE(one.second == expected[one.first]) << "request " << one.first;
            }
        }
        worst = failed > worst ? failed : worst;
        serve(batcher, 1, &after); /* with memory again */
        EXPECT_TRUE(after == expected);
        EXPECT_EQ(engine_kv_blocks_free(engine_), engine_info(engine_)->kv_blocks);
        batcher_close(batcher);
        return status;
    }, rules);
    EXPECT_EQ(worst, 4u); /* the sweep has reached each of them */
}

TEST_F(RequestFaults, ABatcherOpensOrNot)
{
    struct batcher_config config = {};
    config.engine = engine_;
    config.max_queue = 100;
    faults::sweep("batcher_open", [&](struct error *error) {
        struct batcher *b = nullptr;
        enum status status = batcher_open(&b, &config, error);
        EXPECT_EQ(b == nullptr, status != STATUS_OK);
        faults::Pause pause;
        batcher_close(b);
        return status;
    });
}

TEST_F(RequestFaults, TheEngineThreadStartsOrNot)
{
    struct engine_thread_config config = {};
    config.engine = folder_.config;
    config.max_queue = 10;
    faults::sweep("engine_thread_open", [&](struct error *error) {
        struct engine_thread *thread = nullptr;
        enum status status = engine_thread_open(&thread, &config, error);
        EXPECT_EQ(thread == nullptr, status != STATUS_OK);
        faults::Pause pause;
        engine_thread_close(thread);
        return status;
    });
}

/* A request that cannot be entered stays its caller's; none is half there. */
TEST_F(RequestFaults, ATableTakesARequestOrLeavesIt)
{
    struct engine_thread_config config = {};
    struct engine_thread *thread = nullptr;
    struct error why = {};
    config.engine = folder_.config;
    config.max_queue = 10;
    ASSERT_EQ(engine_thread_open(&thread, &config, &why), STATUS_OK) << why.text;
    faults::Rules rules;
    rules.says_why = false; /* a service has its own sentence for NULL and NO_MEMORY */
    faults::sweep("requests_submit", [&](struct error *) {
        struct requests *requests = nullptr;
        struct requests_config table = {"toy", 5, nullptr};
        struct request_sink sink = {[](void *, const struct request_event *) {},
                                    [](void *, enum request_cut_off, const char *) {}, nullptr};
        enum status status = requests_open(&requests, &table, nullptr);
        EXPECT_EQ(requests == nullptr, status != STATUS_OK);
        if (status != STATUS_OK)
            return status;
        requests_attach(requests, thread);
        struct request *r = requests_new(requests);
        status = r ? STATUS_OK : STATUS_NO_MEMORY;
        if (r) {
            faults::Pause pause;
            uint32_t *prompt = static_cast<uint32_t *>(calloc(4, sizeof *prompt));
            r->asked.prompt = prompt;
            r->asked.prompt_tokens = 4;
        }
        if (r)
            status = requests_submit(requests, r, &sink, "a name");
        EXPECT_EQ(requests_live(requests), status == STATUS_OK ? 1u : 0u);
        faults::Pause pause;
        if (status != STATUS_OK)
            request_close(r);
        else
            requests_cut_off(requests);
        requests_close(requests);
        return status;
    }, rules);
    engine_thread_close(thread);
}

} // namespace

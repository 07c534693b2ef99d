/* An answer put together by hand: events in, texts out. For the tests of the encoders. */
#ifndef MOERING_TESTS_SERVER_OPENAI_OPENAI_ANSWERS_H
#define MOERING_TESTS_SERVER_OPENAI_OPENAI_ANSWERS_H

#include "server/openai/openai_answer.h"
#include "tests/server/openai/openai_support.h"

namespace openai_test {

/* The JSON of each event of a stream; [DONE] and comments as they are. */
inline std::vector<std::string> Events(const std::string &text)
{
    std::vector<std::string> out;
    size_t at = 0;
    while (at < text.size()) {
        size_t end = text.find("\n\n", at);
        EXPECT_NE(std::string::npos, end) << "an event is cut: " << text.substr(at);
        if (end == std::string::npos)
            break;
        std::string event = text.substr(at, end - at);
        EXPECT_EQ(std::string::npos, event.find('\n')) << event;
        if (event.rfind("data: ", 0) == 0)
            event = event.substr(6);
        else
            EXPECT_EQ(':', event[0]) << event;
        out.push_back(event);
        at = end + 2;
    }
    return out;
}

struct Event {
    struct request_event e = {};
    std::string text;
    std::vector<struct sampled> tokens, prompt;

    explicit Event(const std::string &said = "", std::initializer_list<uint32_t> ids = {})
        : text(said)
    {
        for (uint32_t id : ids) {
            struct sampled s = {};
            s.token = id;
            s.logprob = -1;
            tokens.push_back(s);
        }
    }
    Event &Scores(std::initializer_list<uint32_t> ids)
    {
        for (uint32_t id : ids) {
            struct sampled s = {};
            s.token = id;
            s.logprob = -2;
            prompt.push_back(s);
        }
        return *this;
    }
    Event &Finish(enum finish_reason finish)
    {
        e.finish = finish;
        e.usage.prompt_tokens = 3;
        e.usage.cached_tokens = 2;
        e.usage.completion_tokens = 5;
        e.usage.prefill_ns = 2000000;
        e.usage.decode_ns = 4000000;
        e.usage.experts.hits = 7;
        e.usage.experts.misses = 2;
        e.usage.experts.bytes = 4096;
        e.usage.experts.stall_ns = 1500000;
        return *this;
    }
    Event &StopText(const std::string &stop)
    {
        e.stop_text_bytes = (uint32_t)stop.size();
        memcpy(e.stop_text, stop.data(), stop.size());
        return *this;
    }
    Event &StopToken(uint32_t token)
    {
        e.has_stop_token = true;
        e.stop_token = token;
        return *this;
    }
    const struct request_event *get()
    {
        e.text = &text[0];
        e.text_bytes = text.size();
        e.tokens = tokens.data();
        e.token_count = (uint32_t)tokens.size();
        e.prompt = prompt.data();
        e.prompt_count = (uint32_t)prompt.size();
        return &e;
    }
};

/* Prompt "ab" as two tokens, n choices. */
struct Answer {
    Tokenizer tokenizer;
    struct openai_asked asked;
    struct openai_answer answer = {};
    struct openai_totals totals = {};
    std::vector<struct openai_choice_state> choices;
    struct jsonw w = {};
    uint32_t a, b;

    explicit Answer(bool chat, bool stream)
    {
        a = tokenizer.encode("a")[0];
        b = tokenizer.encode("b")[0];
        openai_asked_init(&asked);
        asked.stream = stream;
        struct openai_refusal refusal = {};
        EXPECT_TRUE(openai_asked_prompts(&asked, 1, &refusal));
        auto *ids = static_cast<uint32_t *>(malloc(2 * sizeof(uint32_t)));
        ids[0] = a;
        ids[1] = b;
        asked.prompts[0] = {ids, 2, strdup("ab"), 2};
        answer.chat = chat;
        snprintf(answer.id, sizeof answer.id, "%s-1", chat ? "chatcmpl" : "cmpl");
        answer.created = 1700000000;
        answer.model = "served";
        answer.tokenizer = tokenizer.get();
        answer.asked = &asked;
    }
    ~Answer()
    {
        for (auto &choice : choices)
            openai_choice_close(&choice);
        openai_asked_reset(&asked);
        jsonw_close(&w);
    }
    /* After the fields of `asked` have been set. */
    void Open(uint32_t n = 1)
    {
        choices.resize(n);
        asked.n = n;
        for (uint32_t i = 0; i < n; i++)
            ASSERT_TRUE(openai_choice_open(&choices[i], &answer, i, &asked.prompts[0]));
    }
    void Keep(uint32_t choice, Event event)
    {
        ASSERT_TRUE(openai_choice_keep(&choices[choice], &answer, event.get()));
        if (event.e.finish != FINISH_NONE)
            openai_totals_add(&totals, &event.e.usage, choice == 0);
    }
    std::vector<struct openai_choice_state *> pointers()
    {
        std::vector<struct openai_choice_state *> out;
        for (auto &choice : choices)
            out.push_back(&choice);
        return out;
    }
};

} // namespace openai_test
#endif

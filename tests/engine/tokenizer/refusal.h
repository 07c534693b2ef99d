/* One malformed document and what must be said about it. */
#ifndef MOERING_TESTS_ENGINE_TOKENIZER_REFUSAL_H
#define MOERING_TESTS_ENGINE_TOKENIZER_REFUSAL_H

#include <cstring>

#include "fixtures.h"

namespace fixtures {

inline void expect_refusal(enum status status, const std::string &sentence, const std::string &json,
                           const std::string &config = "")
{
    struct tokenizer *t = nullptr;
    struct error error = {};
    enum status got = tokenizer_open_memory(&t, "tokenizer.json", json.data(), json.size(),
                                            config.empty() ? nullptr : config.data(), config.size(),
                                            &error);
    EXPECT_EQ(status, got) << json << config;
    EXPECT_EQ(nullptr, t);
    EXPECT_NE(nullptr, strstr(error.text, sentence.c_str())) << error.text << "\nnot: " << sentence;
    tokenizer_close(t);
}

} // namespace fixtures

#endif

// A result of moering-bench under a test's own records, with the options of a command line.
#ifndef MOERING_TESTS_CLIENTS_BENCH_TOY_RESULT_H
#define MOERING_TESTS_CLIENTS_BENCH_TOY_RESULT_H

#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "clients/bench/result.h"

namespace toy {

using Options = options;

struct Result : result {
    Options o = {};
    fault why = {};
    // Room for `room` records, none of which counts yet.
    Result(std::vector<const char *> words, const char *spoken, double seconds, size_t room)
    {
        memset(static_cast<result *>(this), 0, sizeof(result));
        words.insert(words.begin(), "moering-bench");
        EXPECT_TRUE(options_parse(&o, (int)words.size(), const_cast<char **>(words.data()), &why))
            << why.text;
        options = &o;
        protocol = spoken;
        model = strdup("org/toy");
        strcpy(date, "20260102-030405");
        request_rate = o.arrivals.rate;
        max_concurrency = o.max_concurrency;
        duration_s = seconds;
        records = (record *)calloc(room, sizeof *records);
    }
    ~Result() { result_close(this); }
    Result(const Result &) = delete;
    Result &operator=(const Result &) = delete;
};

} // namespace toy

#endif

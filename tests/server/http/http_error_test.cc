#include "server/http/http_error.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace
{

TEST(Problem, EveryOneHasItsRow)
{
    for (int i = 0; i < HTTP_PROBLEMS; i++) {
        auto problem = static_cast<enum http_problem>(i);
        EXPECT_GE(http_problem_code(problem), 400) << i;
        EXPECT_LT(http_problem_code(problem), 600) << i;
        EXPECT_NE(http_problem_type(problem), nullptr) << i;
        EXPECT_NE(http_problem_word(problem), nullptr) << i;
    }
}

TEST(Problem, TheTable)
{
    const std::map<enum http_problem, std::string> table = {
        {HTTP_BAD_VALUE, "400 invalid_request_error invalid_value"},
        {HTTP_CONTEXT_LENGTH, "400 invalid_request_error context_length_exceeded"},
        {HTTP_BAD_KEY, "401 invalid_request_error invalid_api_key"},
        {HTTP_NO_MODEL, "404 invalid_request_error model_not_found"},
        {HTTP_BODY_TOO_LARGE, "413 invalid_request_error body_too_large"},
        {HTTP_QUEUE_FULL, "429 rate_limit_error queue_full"},
        {HTTP_INTERNAL, "500 server_error internal_error"},
        {HTTP_UNAVAILABLE, "503 unavailable_error unavailable"},
        {HTTP_TIMEOUT, "504 timeout_error timeout"},
    };
    for (const auto &[problem, row] : table)
        EXPECT_EQ(std::to_string(http_problem_code(problem)) + " " + http_problem_type(problem) +
                      " " + http_problem_word(problem),
                  row);
}

TEST(Problem, ThoseWhichPassAskForPatience)
{
    EXPECT_GT(http_problem_retry_after_s(HTTP_QUEUE_FULL), 0u);
    EXPECT_GT(http_problem_retry_after_s(HTTP_UNAVAILABLE), 0u);
    EXPECT_EQ(http_problem_retry_after_s(HTTP_BAD_VALUE), 0u);
}

TEST(Problem, OfStatuses)
{
    EXPECT_EQ(http_problem_of(STATUS_INVALID), HTTP_BAD_VALUE);
    EXPECT_EQ(http_problem_of(STATUS_UNSUPPORTED), HTTP_BAD_VALUE);
    EXPECT_EQ(http_problem_of(STATUS_NOT_FOUND), HTTP_NO_MODEL);
    EXPECT_EQ(http_problem_of(STATUS_FULL), HTTP_QUEUE_FULL);
    EXPECT_EQ(http_problem_of(STATUS_UNAVAILABLE), HTTP_UNAVAILABLE);
    EXPECT_EQ(http_problem_of(STATUS_DEADLINE), HTTP_TIMEOUT);
    EXPECT_EQ(http_problem_of(STATUS_IO), HTTP_INTERNAL);
    EXPECT_EQ(http_problem_of(STATUS_INTERNAL), HTTP_INTERNAL);
}

} // namespace

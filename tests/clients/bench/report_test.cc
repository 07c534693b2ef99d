#include "clients/bench/report.h"

#include <gtest/gtest.h>
#include <jansson.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

struct Report {
    options o = {};
    std::vector<result> results;
    fault why = {};

    Report(uint32_t points, uint32_t requests, const char *model)
    {
        std::vector<const char *> words = {"moering-bench"};
        if (points > 1) {
            words.push_back("--sweep-concurrency");
            words.push_back("1,2");
        }
        EXPECT_TRUE(options_parse(&o, (int)words.size(), const_cast<char **>(words.data()), &why));
        results.resize(points);
        for (uint32_t p = 0; p < points; p++) {
            result *r = &results[p];
            memset(r, 0, sizeof *r);
            r->options = &o;
            r->protocol = "http";
            r->model = strdup(model);
            r->duration_s = 6;
            r->max_concurrency = p + 1;
            r->request_rate = INFINITY;
            r->records = (record *)calloc(requests, sizeof *r->records);
            r->count = requests;
            for (uint32_t i = 0; i < requests; i++)
                fill(&r->records[i], i);
            EXPECT_TRUE(result_compute(r));
        }
    }
    ~Report()
    {
        for (auto &r : results)
            result_close(&r);
    }
    static void fill(record *x, uint32_t i)
    {
        record_init(x, 0, 5, false);
        record_sent(x, i * 1000000);
        for (uint64_t k = 1; k <= 4; k++)
            record_content(x, i * 1000000 + k * 2000000, "x", 1);
        if (i % 10 == 9)
            record_failed(x, "</script><b>&amp; \"%u\"", i / 50);
        record_completed(x);
    }
    std::string page()
    {
        char *text = nullptr;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        EXPECT_TRUE(report_write(results.data(), (uint32_t)results.size(), "host:1", out, &why));
        fclose(out);
        std::string all(text, bytes);
        free(text);
        return all;
    }
};

std::string data_of(const std::string &page)
{
    const std::string open = "<script type='application/json' id='data'>\n";
    size_t from = page.find(open) + open.size();
    return page.substr(from, page.find("</script>", from) - from);
}

TEST(report, strings_cannot_become_markup)
{
    Report r(1, 30, "</script><img src=x onerror=alert(1)>&");
    std::string page = r.page(), data = data_of(page);
    EXPECT_EQ(std::string::npos, data.find_first_of("<>&"));
    EXPECT_EQ(std::string::npos, page.find("<img"));
    json_t *j = json_loads(data.c_str(), 0, nullptr);
    ASSERT_NE(nullptr, j) << data.substr(0, 200);
    EXPECT_STREQ("</script><img src=x onerror=alert(1)>&",
                 json_string_value(json_object_get(j, "model")));
    json_t *run = json_array_get(json_object_get(j, "runs"), 0);
    EXPECT_EQ(3, json_integer_value(
                     json_object_get(json_object_get(run, "errors"), "</script><b>&amp; \"0\"")));
    json_decref(j);
}

TEST(report, nothing_comes_from_a_network)
{
    std::string page = Report(2, 5, "m").page();
    for (const char *word : {"http://", "https://", "//cdn", "@import", "url("}) {
        size_t found = page.find(word);
        /* The name of SVG's namespace is no address. */
        EXPECT_TRUE(found == std::string::npos || page.compare(found, 14, "http://www.w3.") == 0)
            << word;
    }
    EXPECT_NE(std::string::npos, page.find("default-src &#39;none&#39;"));
}

TEST(report, data_are_reduced_to_what_can_be_seen)
{
    Report r(2, 5000, "m");
    std::string page = r.page();
    EXPECT_LT(page.size(), 400000u);
    json_t *j = json_loads(data_of(page).c_str(), 0, nullptr);
    ASSERT_NE(nullptr, j);
    EXPECT_STREQ("concurrency", json_string_value(json_object_get(j, "sweep")));
    json_t *runs = json_object_get(j, "runs");
    ASSERT_EQ(2u, json_array_size(runs));
    json_t *run = json_array_get(runs, 1);
    EXPECT_EQ(2, json_number_value(json_object_get(run, "x")));
    EXPECT_EQ((size_t)REPORT_REQUESTS_MAX, json_array_size(json_object_get(run, "timeline")));
    json_t *tokens = json_object_get(json_object_get(run, "tokens"), "values");
    EXPECT_LE(json_array_size(tokens), (size_t)REPORT_BINS);
    EXPECT_EQ(0.02, json_number_value(json_object_get(json_object_get(run, "tokens"), "width")));
    json_t *ttft = json_object_get(json_object_get(run, "latencies"), "ttft");
    json_t *quantiles = json_object_get(ttft, "quantiles");
    ASSERT_EQ((size_t)REPORT_QUANTILES + 1, json_array_size(quantiles));
    EXPECT_DOUBLE_EQ(2, json_number_value(json_array_get(quantiles, 100)));
    json_decref(j);
}

TEST(report, of_failures_alone)
{
    Report r(1, 1, "m");
    record_close(&r.results[0].records[0]);
    Report::fill(&r.results[0].records[0], 9);
    prometheus none = {};
    r.results[0].metrics = none;
    r.results[0].completed = r.results[0].failed = 0;
    ASSERT_TRUE(result_compute(&r.results[0]));
    json_t *j = json_loads(data_of(r.page()).c_str(), 0, nullptr);
    EXPECT_NE(nullptr, j);
    json_decref(j);
}

} // namespace

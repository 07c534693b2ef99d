/* A page, read back by the grammar of its format. */
#ifndef MOERING_TESTS_SERVER_METRICS_METRICS_PAGES_H
#define MOERING_TESTS_SERVER_METRICS_METRICS_PAGES_H

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>

#include "server/metrics/metrics_page.h"
#include "tests/server/metrics/metrics_snapshots.h"

namespace metrics_test {

/* Label values here hold no quotes. */
struct Page {
    std::string text;
    std::map<std::string, std::string> types;               /* of families */
    std::map<std::string, double> samples;                  /* "name{labels}" */
    std::map<std::string, std::set<std::string>> labels;    /* of sample names: "a,b" */

    Page(const struct metrics_snapshot &snapshot, bool openmetrics = false)
    {
        struct metrics_text t = {};
        metrics_page(&t, openmetrics, &snapshot);
        EXPECT_FALSE(t.out.failed);
        text.assign(t.out.data, t.out.bytes);
        metrics_text_close(&t);
        std::istringstream lines(text);
        std::string line, family;
        while (std::getline(lines, line))
            if (line.compare(0, 7, "# HELP ") == 0)
                family = line.substr(7, line.find(' ', 7) - 7);
            else if (line.compare(0, 7, "# TYPE ") == 0)
                TakeType(line.substr(7), family);
            else if (line != "# EOF")
                TakeSample(line, family);
    }
    void TakeType(const std::string &line, const std::string &family)
    {
        size_t space = line.find(' ');
        EXPECT_EQ(family, line.substr(0, space)) << "TYPE follows its HELP";
        EXPECT_TRUE(types.emplace(family, line.substr(space + 1)).second)
            << family << " comes twice";
    }
    void TakeSample(const std::string &line, const std::string &family)
    {
        size_t space = line.rfind(' ');
        std::string sample = line.substr(0, space), name = sample.substr(0, sample.find('{'));
        EXPECT_TRUE(samples.emplace(sample, std::stod(line.substr(space + 1))).second) << line;
        EXPECT_EQ(0u, name.find(family)) << line;
        std::string keys;
        for (size_t at = name.size();
             at < sample.size() && (at = sample.find("=\"", at)) != std::string::npos; at += 2) {
            size_t begin = sample.find_last_of("{,", at) + 1;
            keys += (keys.empty() ? "" : ",") + sample.substr(begin, at - begin);
        }
        labels[name].insert(keys);
    }
    double operator[](const std::string &sample) const
    {
        auto found = samples.find(sample);
        EXPECT_NE(samples.end(), found) << sample;
        return found == samples.end() ? -1 : found->second;
    }
    void ExpectFamily(const std::string &name, const std::string &type,
                      const std::string &keys) const
    {
        auto found = types.find(name);
        ASSERT_NE(types.end(), found) << name;
        EXPECT_EQ(type, found->second) << name;
        if (type != "histogram") {
            ASSERT_EQ(1u, labels.count(name)) << name;
            EXPECT_EQ(std::set<std::string>{keys}, labels.at(name)) << name;
            return;
        }
        ASSERT_EQ(1u, labels.count(name + "_bucket")) << name;
        EXPECT_EQ(std::set<std::string>{keys + (keys.empty() ? "le" : ",le")},
                  labels.at(name + "_bucket")) << name;
        EXPECT_EQ(std::set<std::string>{keys}, labels.at(name + "_sum")) << name;
        EXPECT_EQ(std::set<std::string>{keys}, labels.at(name + "_count")) << name;
    }
    /* The bounds in the page's order, as it writes them. */
    std::string Bounds(const std::string &name) const
    {
        std::string out, start = name + "_bucket{";
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);)
            if (line.compare(0, start.size(), start) == 0) {
                size_t begin = line.find("le=\"") + 4;
                out += line.substr(begin, line.find('"', begin) - begin) + " ";
            }
        return out;
    }
};

} // namespace metrics_test
#endif

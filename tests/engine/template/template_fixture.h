/* What the tests of templates share: golden files, one-line rendering, and runs that may fail. */
#ifndef MOERING_TESTS_ENGINE_TEMPLATE_FIXTURE_H
#define MOERING_TESTS_ENGINE_TEMPLATE_FIXTURE_H

#include <gtest/gtest.h>
#include <jansson.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "engine/template/chat_template_parts.h"

namespace templates {

constexpr int64_t NOW_S = 1753012345; /* as in make_templates.py */

inline std::string golden(const std::string &name)
{
    const char *root = getenv("MOERING_SOURCE_DIR");
    return std::string(root ? root : ".") + "/tests/golden/template/" + name;
}

inline std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file) << path;
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

struct JsonFree {
    void operator()(json_t *json) const { json_decref(json); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

inline Json parse_json(const std::string &text)
{
    json_error_t problem;
    Json json(json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, &problem));
    EXPECT_TRUE(json) << problem.text << ": " << text.substr(0, 200);
    return json;
}

inline std::string string_of(const json_t *object, const char *name)
{
    json_t *v = json_object_get(object, name);
    return v ? std::string(json_string_value(v), json_string_length(v)) : "";
}

struct Rendered {
    enum status status = STATUS_OK;
    std::string output, error;
};

struct TemplateClose {
    void operator()(struct chat_template *t) const { chat_template_close(t); }
};
using Template = std::unique_ptr<struct chat_template, TemplateClose>;

inline Rendered rendered(const struct chat_template *t, const json_t *variables,
                       const struct run_limits *limits = nullptr)
{
    Rendered r;
    struct error error = {};
    struct run_limits usual = run_limits_default();
    char *out;
    size_t bytes;
    r.status = chat_template_render_within(t, limits ? limits : &usual, variables, NOW_S, &out,
                                           &bytes, &error);
    if (out) {
        r.output.assign(out, bytes);
        EXPECT_EQ('\0', out[bytes]);
    }
    r.error = error.text;
    EXPECT_EQ(r.status == STATUS_OK, out != nullptr);
    EXPECT_EQ(r.status == STATUS_OK, r.error.empty());
    free(out);
    return r;
}

/* Opens and renders; `variables` is JSON. */
inline Rendered rendered(const std::string &source, const std::string &variables = "{}",
                       const struct run_limits *limits = nullptr)
{
    struct chat_template *opened;
    struct error error = {};
    Rendered r;
    r.status = chat_template_open(&opened, "test", source.data(), source.size(), &error);
    Template t(opened);
    r.error = error.text;
    EXPECT_EQ(r.status == STATUS_OK, opened != nullptr);
    if (r.status != STATUS_OK)
        return r;
    Json values = parse_json(variables);
    return rendered(t.get(), values.get(), limits);
}

/* One case of a golden file, `source` rendered with its variables. */
inline void check_case(const json_t *line, const Rendered &got, const std::string &what)
{
    if (json_object_get(line, "error")) {
        EXPECT_NE(STATUS_OK, got.status) << what << "\ngave " << got.output << "\nPython says "
                                         << string_of(line, "error");
        EXPECT_NE(std::string::npos, got.error.find("line ")) << got.error;
        EXPECT_NE(std::string::npos, got.error.find(string_of(line, "raised")))
            << what << "\n" << got.error;
        return;
    }
    EXPECT_EQ(STATUS_OK, got.status) << what << "\n" << got.error;
    EXPECT_EQ(string_of(line, "output"), got.output) << what;
}

/* All cases of tests/golden/template/cases/AREA.jsonl. */
inline void check_cases(const std::string &area, int at_least)
{
    std::istringstream lines(read_file(golden("cases/" + area + ".jsonl")));
    std::string line;
    int count = 0;
    while (std::getline(lines, line)) {
        Json vector = parse_json(line);
        ASSERT_TRUE(vector);
        std::string source = string_of(vector.get(), "template"), variables = "{}";
        if (json_t *given = json_object_get(vector.get(), "variables")) {
            char *text = json_dumps(given, 0);
            variables = text;
            free(text);
        }
        check_case(vector.get(), rendered(source, variables), source);
        count++;
    }
    EXPECT_GE(count, at_least);
}

/* A run of one test. `work` may fail it: then false, and error() has the sentence. Work that
 * fails must not hold C++ objects with destructors, for the failure is a longjmp. */
class TestRun {
public:
    TestRun() : TestRun(run_limits_default()) {}
    explicit TestRun(const struct run_limits &limits) { run_init(&run_, "test", &limits, &error_); }
    ~TestRun() { run_close(&run_); }
    TestRun(const TestRun &) = delete;
    TestRun &operator=(const TestRun &) = delete;

    struct run *get() { return &run_; }
    std::string error() const { return error_.text; }
    enum status status() const { return run_.status; }

    template <class Work> bool tries(const Work &work)
    {
        error_.text[0] = 0;
        run_.depth = 0;
        if (setjmp(run_.failed))
            return false;
        work(&run_);
        return true;
    }

private:
    struct error error_ = {};
    struct run run_;
};

inline struct text words(const char *string)
{
    return text_of(string, strlen(string));
}

inline std::string str(struct text t)
{
    return std::string(t.bytes, t.size);
}

} // namespace templates
#endif

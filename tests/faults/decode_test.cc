/* link: server_core server_openai */
/* What the front thread reads and writes when memory runs out: a request is decoded whole or
 * refused as the server's fault, never the client's; a page is whole or marked as failed. */
#include <gtest/gtest.h>
#include <jansson.h>
#include <string.h>

#include <string>
#include <vector>

#include "server/config/config.h"
#include "server/http/http_head.h"
#include "server/kserve/kserve_decode.h"
#include "server/metrics/metrics_page.h"
#include "server/metrics/stats_json.h"
#include "server/moering_v1/generate_decode.h"
#include "server/net/api_keys.h"
#include "server/openai/chat_decode.h"
#include "server/openai/completions_decode.h"
#include "tests/faults/sweep.h"
#include "tests/server/kserve/kserve_support.h"
#include "tests/server/metrics/metrics_snapshots.h"
#include "tests/server/openai/openai_support.h"
#include "tests/support/scratch.h"

namespace {

constexpr int64_t NOW_S = 1753012345; /* what a template's clock shows */

using openai_test::Json;
using openai_test::Parse;
using openai_test::Tokenizer;

/* A refusal as a status: INVALID where the client is blamed; lack of memory is 503 or 429, which
 * clients try again. */
enum status status_of(bool ok, const struct openai_refusal &refusal, struct error *error)
{
    EXPECT_EQ(ok, !refusal.refused);
    *error = refusal.why;
    if (ok)
        return STATUS_OK;
    bool again = refusal.problem == HTTP_UNAVAILABLE || refusal.problem == HTTP_QUEUE_FULL;
    return again ? STATUS_NO_MEMORY : STATUS_INVALID;
}

class DecodeFaults : public testing::Test {
protected:
    Tokenizer t_;
    struct openai_model model_ = {"served", t_.get(), 512, 1024};
    struct openai_limits limits_;
    DecodeFaults() { openai_limits_init(&limits_); }
};

const char *const settings =
    "\"max_tokens\":7,\"temperature\":0.5,\"top_p\":0.9,\"stop\":[\"END\",\"\\n\\n\"],"
    "\"logit_bias\":{\"7\":3,\"8\":-1.5},\"seed\":3,\"n\":2,\"request_id\":\"mine\",\"stream\":"
    "true,"
    "\"stream_options\":{\"include_usage\":true}";

TEST_F(DecodeFaults, Completions)
{
    Json body = Parse(std::string("{\"prompt\":[\"one text\",\"another\"],\"echo\":true,"
                                  "\"logprobs\":2,") + settings +
                      ",\"response_format\":{\"type\":\"json_object\"}}");
    faults::sweep("completions_decode", [&](struct error *error) {
        struct openai_refusal refusal = {};
        struct openai_asked asked;
        openai_asked_init(&asked);
        bool ok = completions_decode(body.get(), &model_, &limits_, &asked, &refusal);
        if (ok) {
            EXPECT_EQ(asked.prompt_count, 2u);
        }
        openai_asked_reset(&asked);
        return status_of(ok, refusal, error);
    });
}

TEST_F(DecodeFaults, Chats)
{
    Json body = Parse(
        std::string(
            "{\"messages\":[{\"role\":\"system\",\"content\":\"S <|im_end|>\"},{\"role\":"
            "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]},{\"role\":"
            "\"assistant\",\"content\":\"so\"},{\"role\":\"user\",\"content\":\"more\"}],") +
        settings +
        ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":"
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}}}");
    for (bool jansson : {false, true}) {
        faults::Rules rules;
        rules.jansson = jansson; /* nothing is parsed here */
        faults::sweep("chat_decode", [&](struct error *error) {
            struct openai_refusal refusal = {};
            struct openai_template *chat = nullptr;
            {
                faults::Pause pause;
                EXPECT_EQ(openai_template_open(&chat, t_.get(), nullptr, error), STATUS_OK)
                    << error->text;
            }
            struct openai_asked asked;
            openai_asked_init(&asked);
            bool ok = chat_decode(body.get(), &model_, chat, &limits_, NOW_S, &asked, &refusal);
            openai_asked_reset(&asked);
            openai_template_close(chat);
            return status_of(ok, refusal, error);
        }, rules);
    }
}

/* Tools become a grammar: schemas are copied, moved and put together. */
TEST_F(DecodeFaults, ChatsWithTools)
{
    Json body = Parse(
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":9,\"tool_choice\":"
        "\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"parameters\":{"
        "\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/t\"}},\"required\":[\"a\"],"
        "\"$defs\":{\"t\":{\"type\":\"integer\"}}}}},{\"type\":\"function\",\"function\":{\"name\":"
        "\"g\"}}]}");
    const char *text =
        "{% for t in tools %}{{ t.function.name }}{% endfor %}"
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}<tool_call>";
    struct openai_template *chat = nullptr;
    struct error why = {};
    ASSERT_EQ(openai_template_open(&chat, t_.get(), text, &why), STATUS_OK) << why.text;
    faults::Rules rules;
    rules.jansson = true;
    faults::sweep("chat_decode with tools", [&](struct error *error) {
        struct openai_refusal refusal = {};
        struct openai_asked asked;
        openai_asked_init(&asked);
        bool ok = chat_decode(body.get(), &model_, chat, &limits_, NOW_S, &asked, &refusal);
        openai_asked_reset(&asked);
        enum status status = status_of(ok, refusal, error);
        /* A grammar does not tell its own bounds from the machine's: openai_grammar_compile
         * refuses both as the client's. */
        return status == STATUS_INVALID ? STATUS_NO_MEMORY : status;
    }, rules);
    openai_template_close(chat);
}

TEST_F(DecodeFaults, TemplatesOfChats)
{
    faults::sweep("openai_template_open", [&](struct error *error) {
        struct openai_template *chat = nullptr;
        enum status status = openai_template_open(&chat, t_.get(), nullptr, error);
        EXPECT_EQ(chat == nullptr, status != STATUS_OK);
        openai_template_close(chat);
        return status;
    });
}

TEST_F(DecodeFaults, Kserve)
{
    kserve_test::Request r("hello");
    r.Texts("sampling_parameters",
            {R"({"max_tokens":1,"top_k":2,"logit_bias":{"7":3},"stop":["x","y"]})"});
    r.Texts("stop", {"one", "two"});
    r.Int("max_tokens", 5);
    faults::sweep("kserve_decode", [&](struct error *error) {
        struct openai_refusal refusal = {};
        struct kserve_asked got = {};
        bool ok = kserve_decode(&r.m, &model_, &got, &refusal);
        kserve_asked_reset(&got);
        return status_of(ok, refusal, error);
    });
}

TEST_F(DecodeFaults, Generate)
{
    Moering__V1__GenerateRequest m;
    Moering__V1__SamplingParams sampling;
    moering__v1__generate_request__init(&m);
    moering__v1__sampling_params__init(&sampling);
    uint8_t text[] = "a prompt", stop[] = "END", other[] = "\n\n";
    ProtobufCBinaryData stops[] = {{3, stop}, {2, other}};
    m.sampling = &sampling;
    m.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT;
    m.text = {8, text};
    m.stop = stops;
    m.n_stop = 2;
    struct generate_model model = {"toy", t_.get(), 512, 1024};
    faults::sweep("generate_decode", [&](struct error *error) {
        struct request *r = request_open(1);
        if (!r) {
            snprintf(error->text, sizeof error->text, "the service's own sentence");
            return STATUS_NO_MEMORY;
        }
        enum status status = generate_decode(&model, &m, r, error);
        request_close(r);
        return status;
    });
}

TEST(PageFaults, FiguresAreWholeOrMarked)
{
    metrics_test::Snapshot snapshot;
    snapshot.Fill();
    std::string page, stats;
    faults::Rules rules;
    rules.says_why = false;
    faults::sweep("metrics_page", [&](struct error *) {
        struct metrics_text text = {};
        metrics_page(&text, true, &snapshot.s);
        bool failed = text.out.failed;
        faults::Pause pause;
        if (!failed && page.empty())
            page.assign(text.out.data, text.out.bytes);
        if (!failed) {
            EXPECT_EQ(page, std::string(text.out.data, text.out.bytes));
        }
        metrics_text_close(&text);
        return failed ? STATUS_NO_MEMORY : STATUS_OK;
    }, rules);
    faults::sweep("stats_json", [&](struct error *) {
        struct jsonw out = {};
        stats_json(&out, &snapshot.s);
        bool failed = out.failed;
        faults::Pause pause;
        if (!failed && stats.empty())
            stats.assign(out.data, out.bytes);
        if (!failed) {
            EXPECT_EQ(stats, std::string(out.data, out.bytes));
        }
        jsonw_close(&out);
        return failed ? STATUS_NO_MEMORY : STATUS_OK;
    }, rules);
}

TEST(ConfigFaults, SettingsAndKeys)
{
    scratch::Folder folder;
    const std::string settings_text =
        "host: \"127.0.0.1\"\nmax-num-seqs: 7\nserved-model-name: \"x\"\n";
    std::string file = folder.write("moering.yaml", settings_text);
    std::string keys = folder.write("keys", std::string("# ours\nfirst-key\nsecond-key\n"));
    const char *argv[] = {"--config", file.c_str(), "--model", "/m", "--port", "8000"};
    char variable[] = "MOERING_MAX_QUEUE=9", *environment[] = {variable, nullptr};
    faults::sweep("config_parse", [&](struct error *error) {
        struct config config = {};
        enum status status = config_parse(&config, CONFIG_SERVE, 6, argv, environment, error);
        if (status == STATUS_OK) {
            EXPECT_EQ(config.max_num_seqs, 7u);
            EXPECT_STREQ(config.served_model_name, "x");
        }
        config_close(&config);
        return status;
    });
    faults::sweep("api_keys_open", [&](struct error *error) {
        struct api_keys *all = nullptr;
        enum status status = api_keys_open(&all, "third-key", keys.c_str(), error);
        EXPECT_EQ(all == nullptr, status != STATUS_OK);
        if (status == STATUS_OK) {
            EXPECT_TRUE(api_keys_allow(all, "Bearer second-key", nullptr));
            EXPECT_TRUE(api_keys_allow(all, nullptr, "third-key"));
        }
        api_keys_close(all);
        return status;
    });
}

TEST(HttpFaults, HeadsAreReadOrRefused)
{
    std::string head = "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-Long: " +
                       std::string(3000, 'x') + "\r\n\r\n";
    faults::Rules rules;
    rules.says_why = false;
    faults::sweep("http_head", [&](struct error *) {
        struct http_head_reader reader = {};
        struct http_head parsed = {};
        struct http_failure why = {};
        enum http_read read = HTTP_READ_MORE;
        for (size_t at = 0; at < head.size() && read == HTTP_READ_MORE;) {
            size_t taken = 0, size = head.size() - at < 100 ? head.size() - at : 100;
            read = http_head_read(&reader, 16384, (const uint8_t *)head.data() + at, size, &taken);
            at += taken;
        }
        enum status status = read == HTTP_READ_NO_MEMORY ? STATUS_NO_MEMORY : STATUS_OK;
        EXPECT_TRUE(read == HTTP_READ_DONE || status != STATUS_OK);
        if (status == STATUS_OK && !http_head_parse(&parsed, &reader, &why))
            status = why.problem == HTTP_BAD_VALUE ? STATUS_INVALID : STATUS_NO_MEMORY;
        http_head_reset(&parsed);
        http_head_reader_reset(&reader);
        return status;
    }, rules);
}

} // namespace

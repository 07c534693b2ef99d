/* link: clients_bench clients_cli clients_c */
/* What clients read and keep when memory runs out: it is whole, or they say that it is not. */
#include <gtest/gtest.h>
#include <string.h>

#include <string>

#include "clients/bench/dataset.h"
#include "clients/bench/prometheus.h"
#include "clients/bench/record.h"
#include "clients/bench/sse.h"
#include "clients/cli/cli.h"
#include "clients/cli/cli_history.h"
#include "tests/faults/sweep.h"
#include "tests/support/scratch.h"

namespace {

faults::Rules told_by_bool()
{
    faults::Rules rules;
    rules.says_why = false;
    return rules;
}

TEST(ClientFaults, EventsOfAStream)
{
    std::string stream = "data: " + std::string(3000, 'x') + "\n\n: ping\n\ndata: a\ndata: b\n\n";
    faults::sweep("sse_feed", [&](struct error *) {
        struct sse sse;
        sse_init(&sse);
        std::string got;
        enum sse_status status = SSE_MORE;
        for (size_t at = 0; at < stream.size() && status != SSE_BAD;) {
            size_t used = 0, bytes = 0, size = std::min<size_t>(stream.size() - at, 100);
            const char *data = nullptr;
            status = sse_feed(&sse, stream.data() + at, size, &used, &data, &bytes);
            at += used;
            if (status == SSE_EVENT) {
                faults::Pause pause;
                got.append(data, bytes).append("|");
            }
        }
        sse_close(&sse);
        if (status != SSE_BAD) {
            EXPECT_EQ(got, std::string(3000, 'x') + "|a\nb|");
        }
        return status == SSE_BAD ? STATUS_NO_MEMORY : STATUS_OK;
    }, told_by_bool());
}

TEST(ClientFaults, FiguresOfAServer)
{
    std::string page;
    for (int i = 0; i < 100; i++)
        page += "moering_thing_" + std::to_string(i) + "_total " + std::to_string(i) + "\n";
    faults::sweep("prometheus_open", [&](struct error *) {
        struct prometheus out = {};
        bool ok = prometheus_open(&out, page.data(), page.size());
        if (ok) {
            EXPECT_EQ(out.count, 100u);
        }
        prometheus_close(&out);
        return ok ? STATUS_OK : STATUS_NO_MEMORY;
    }, told_by_bool());
}

/* A record that lost a chunk would count too few tokens: it is a failed one. */
TEST(ClientFaults, RecordsOfRequests)
{
    faults::sweep("record", [&](struct error *error) {
        struct record record;
        record_init(&record, 1, 5, true);
        record_sent(&record, 2);
        for (int i = 0; i < 100; i++)
            record_content(&record, 3 + i, "text", 4);
        record_usage(&record, 5, 100);
        record_completed(&record);
        bool ok = record.state == RECORD_COMPLETED;
        if (ok) {
            EXPECT_EQ(record.content_count, 100u);
            EXPECT_EQ(record.text_bytes, 400u);
        } else {
            EXPECT_EQ(record.state, RECORD_FAILED);
        }
        snprintf(error->text, sizeof error->text, "%s", record.error ? record.error : "");
        record_close(&record);
        return ok ? STATUS_OK : STATUS_NO_MEMORY;
    }, told_by_bool());
}

TEST(ClientFaults, DataSets)
{
    scratch::Folder folder;
    const std::string lines = "{\"prompt\":\"one\",\"output_tokens\":3}\n{\"prompt\":\"two\"}\n";
    std::string path = folder.write("custom.jsonl", lines);
    for (enum dataset_kind kind : {DATASET_RANDOM, DATASET_CUSTOM}) {
        std::string name = dataset_kind_name(kind);
        faults::sweep("dataset_open " + name, [&](struct error *error) {
            struct dataset_config config = {};
            config.kind = kind;
            config.path = path.c_str();
            config.count = 2;
            config.input_len = 20;
            config.output_len = config.custom_output_len = 4;
            config.trace_speed = 1;
            struct dataset dataset = {};
            struct fault fault = {};
            bool ok = dataset_open(&dataset, &config, &fault);
            if (ok) {
                EXPECT_EQ(dataset.count, 2u);
            }
            dataset_close(&dataset);
            snprintf(error->text, sizeof error->text, "%s", fault.text);
            return ok ? STATUS_OK : STATUS_NO_MEMORY;
        });
    }
}

TEST(ClientFaults, AConversation)
{
    faults::sweep("cli_history", [&](struct error *) {
        struct cli_history history = {};
        bool ok = cli_history_system(&history, "be kind");
        for (int i = 0; ok && i < 9; i++)
            ok = cli_history_add(&history, i % 2 ? "assistant" : "user", "something", 9);
        if (ok) {
            EXPECT_EQ(history.count, 10u);
            Moering__V1__GenerateRequest settings;
            moering__v1__generate_request__init(&settings);
            size_t size = 0;
            uint8_t *packed = cli_history_pack(&history, &settings, &size);
            ok = packed != nullptr;
            free(packed);
        }
        cli_history_close(&history);
        return ok ? STATUS_OK : STATUS_NO_MEMORY;
    }, told_by_bool());
}

} // namespace

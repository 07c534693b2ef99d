/* link: engine */
/* Disks that fail at the n-th call, and files that cannot be opened: what reads them says so and
 * names the file; what writes them leaves the old file or the new one, whole. */
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/load/checkpoint.h"
#include "engine/model/convert.h"
#include "engine/predict/lstm_file.h"
#include "engine/replay/trace.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/engine_harness.h"
#include "tests/faults/sweep.h"
#include "tests/support/toy_model.h"

namespace {

faults::Rules of_files()
{
    faults::Rules rules;
    rules.files = true;
    return rules;
}

bool names(const struct error &error, const std::string &path)
{
    return strstr(error.text, path.c_str()) != nullptr;
}

TEST(FileFaults, ModelsAreReadOrNamed)
{
    scratch::Folder folder;
    toy::write(folder, toy::Model());
    const char *source = getenv("MOERING_SOURCE_DIR");
    std::string gguf = std::string(source ? source : ".") + "/tests/golden/gguf/olmoe_q4_0.gguf";
    for (const std::string &path : {folder.path(), gguf})
        faults::sweep("checkpoint_open " + path, [&](struct error *error) {
            struct checkpoint *checkpoint = nullptr;
            enum status status = checkpoint_open(&checkpoint, path.c_str(), error);
            EXPECT_EQ(checkpoint == nullptr, status != STATUS_OK);
            EXPECT_TRUE(status == STATUS_OK || names(*error, path)) << error->text;
            checkpoint_close(checkpoint);
            return status;
        }, of_files());
}

TEST(FileFaults, AnEngineOpensOrNamesTheFile)
{
    scratch::Folder folder;
    toy::write(folder, toy::Model());
    std::string path = folder.path(), trace = folder.path("trace.mtrace");
    struct engine_config c = Engine::defaults(path);
    c.device_experts = Engine::pages(5);
    c.trace_out = trace.c_str();
    faults::Rules rules = of_files();
    rules.spared_max = 4; /* what is asked of /proc and of the disk to choose well; direct reads */
    faults::sweep("engine_open", [&](struct error *error) {
        struct engine *engine = nullptr;
        enum status status = engine_open(&engine, &c, error);
        EXPECT_EQ(engine == nullptr, status != STATUS_OK);
        faults::Pause pause;
        engine_close(engine);
        return status;
    }, rules);
}

/* A step whose pages cannot be read fails by IO with the file, advances nothing, and works the next
 * time with the same token. */
TEST(FileFaults, AStepIsTriedAgain)
{
    scratch::Folder folder;
    toy::write(folder, toy::Model());
    std::string path = folder.path();
    struct engine_config c = Engine::defaults(path);
    c.device_experts = Engine::pages(3);
    c.direct = DIRECT_OFF;
    const uint32_t prompt[] = {5, 17, 3};
    struct sampler_params sampling = Job::greedy();
    std::vector<uint32_t> tokens;
    uint64_t calls = faults::sweep("engine_step", [&](struct error *error) {
        struct engine *engine = nullptr;
        struct sequence *sequence = nullptr;
        struct step_item item = {};
        struct step_output output = {};
        struct error why = {};
        {
            faults::Pause pause;
            EXPECT_EQ(engine_open(&engine, &c, &why), STATUS_OK) << why.text;
            EXPECT_EQ(engine_sequence_open(engine, prompt, 3, &sampling, &sequence, &why),
                      STATUS_OK);
        }
        item.sequence = sequence;
        item.tokens = 3;
        enum status status = engine_step(engine, &item, 1, &output, error);
        faults::Pause pause;
        if (status != STATUS_OK) {
            EXPECT_EQ(status, STATUS_IO);
            EXPECT_EQ(output.status, STATUS_IO);
            EXPECT_TRUE(names(*error, "model.safetensors")) << error->text;
            EXPECT_EQ(sequence_computed(sequence), 0u);
            EXPECT_EQ(engine_step(engine, &item, 1, &output, &why), STATUS_OK) << why.text;
        }
        EXPECT_TRUE(output.sampled);
        tokens.push_back(output.token.token);
        engine_sequence_close(engine, sequence);
        engine_close(engine);
        return status;
    }, of_files());
    EXPECT_GT(calls, 10u);
    EXPECT_EQ(tokens, std::vector<uint32_t>(tokens.size(), tokens[0]));
}

/* Whole or not at all: after a failure the old file is there, after success the new one, and
 * nothing beside it. */
TEST(FileFaults, WeightsOfAForecastAreWhole)
{
    scratch::Folder folder;
    std::string path = folder.write("w.lstm", std::string("old"));
    struct lstm_sizes sizes = {};
    sizes.layers = sizes.horizon_count = sizes.horizons[0] = 1;
    sizes.experts = sizes.units = 4;
    struct lstm_net *net = nullptr;
    ASSERT_EQ(lstm_net_open(&net, &sizes, 1, nullptr), STATUS_OK);
    faults::sweep("lstm_file_write", [&](struct error *error) {
        enum status status = lstm_file_write(net, path.c_str(), error);
        faults::Pause pause;
        EXPECT_EQ(folder.read("w.lstm") == "old", status != STATUS_OK);
        EXPECT_TRUE(status == STATUS_OK || names(*error, path)) << error->text;
        auto files = std::filesystem::directory_iterator(folder.path());
        EXPECT_EQ(std::distance(begin(files), end(files)), 1);
        folder.write("w.lstm", std::string("old"));
        return status;
    }, of_files());
    lstm_net_close(net);
}

void sweep_convert(const faults::Rules &rules)
{
    scratch::Folder model, folder;
    toy::write(model, toy::Model());
    struct checkpoint *from = nullptr;
    ASSERT_EQ(checkpoint_open(&from, model.path().c_str(), nullptr), STATUS_OK);
    std::string path = folder.write("x.gguf", std::string("old"));
    for (bool by_expert : {false, true}) {
        struct convert_config config = {};
        config.quantize = DTYPE_Q8_0;
        config.by_expert = by_expert;
        config.threads = 1;
        faults::sweep("convert_write", [&](struct error *error) {
            struct convert_result result = {};
            enum status status = convert_write(from, path.c_str(), &config, &result, error);
            faults::Pause pause;
            EXPECT_EQ(folder.read("x.gguf") == "old", status != STATUS_OK);
            auto files = std::filesystem::directory_iterator(folder.path());
            EXPECT_EQ(std::distance(begin(files), end(files)), 1);
            struct checkpoint *back = nullptr;
            struct error why = {};
            uint64_t pages = 0;
            if (status == STATUS_OK) {
                EXPECT_EQ(checkpoint_open(&back, path.c_str(), &why), STATUS_OK) << why.text;
                if (by_expert) {
                    EXPECT_EQ(convert_verify(back, &pages, &why), STATUS_OK) << why.text;
                    EXPECT_GT(pages, 0u);
                }
            }
            checkpoint_close(back);
            folder.write("x.gguf", std::string("old"));
            return status;
        }, rules);
    }
    checkpoint_close(from);
}

TEST(FileFaults, AConvertedModelIsWholeOrNotThere) { sweep_convert(of_files()); }

TEST(FileFaults, AConvertedModelLacksMemory) { sweep_convert(faults::Rules()); }

TEST(FileFaults, ATraceIsWholeOrToldToBeLost)
{
    scratch::Folder folder;
    toy::write(folder, toy::Model());
    std::string path = folder.path(), trace = folder.path("trace.mtrace");
    struct engine_config c = Engine::defaults(path);
    c.trace_out = trace.c_str();
    faults::sweep("engine_trace_finish", [&](struct error *error) {
        struct engine *engine = nullptr;
        {
            faults::Pause pause;
            struct error why = {};
            std::filesystem::remove(trace);
            std::filesystem::remove(trace + ".part");
            EXPECT_EQ(engine_open(&engine, &c, &why), STATUS_OK) << why.text;
            struct sampler_params sampling = Job::greedy();
            const uint32_t prompt[] = {5, 17, 3};
            struct sequence *sequence = nullptr;
            EXPECT_EQ(engine_sequence_open(engine, prompt, 3, &sampling, &sequence, &why),
                      STATUS_OK);
            struct step_item item = {};
            struct step_output output = {};
            item.sequence = sequence;
            item.tokens = 3;
            EXPECT_EQ(engine_step(engine, &item, 1, &output, &why), STATUS_OK) << why.text;
            engine_sequence_close(engine, sequence);
        }
        enum status status = engine_trace_finish(engine, error);
        faults::Pause pause;
        engine_close(engine);
        EXPECT_TRUE(status == STATUS_OK || names(*error, trace)) << error->text;
        struct trace *read = nullptr;
        struct error why = {};
        if (status == STATUS_OK) {
            EXPECT_EQ(trace_open(&read, trace.c_str(), &why), STATUS_OK) << why.text;
        } else { /* what was recorded is still there, and never under the name of a whole trace */
            EXPECT_TRUE(std::filesystem::exists(trace + ".part"));
            EXPECT_FALSE(std::filesystem::exists(trace));
        }
        trace_close(read);
        return status;
    }, of_files());
}

} // namespace

#include "server/config/config.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/openai/openai_syntax.h"

namespace {

struct Parsed {
    struct config config = {};
    struct error error = {};
    enum status status;
    std::vector<std::string> words, variables;

    Parsed(enum config_command command, std::vector<std::string> args,
           std::vector<std::string> environment = {})
        : words(std::move(args)), variables(std::move(environment))
    {
        std::vector<const char *> argv;
        std::vector<char *> env;
        for (auto &w : words)
            argv.push_back(w.c_str());
        for (auto &v : variables)
            env.push_back(&v[0]);
        env.push_back(nullptr);
        status = config_parse(&config, command, (int)argv.size(), argv.data(), env.data(), &error);
    }
    ~Parsed() { config_close(&config); }
    bool says(const char *part) const { return strstr(error.text, part) != nullptr; }
};

struct TempFile {
    std::string path;
    explicit TempFile(const std::string &text)
    {
        const char *dir = getenv("TMPDIR");
        path = std::string(dir ? dir : "/tmp") + "/moering-config-XXXXXX";
        int fd = mkstemp(&path[0]);
        EXPECT_GE(fd, 0);
        EXPECT_EQ((ssize_t)text.size(), write(fd, text.data(), text.size()));
        close(fd);
    }
    ~TempFile() { unlink(path.c_str()); }
};

TEST(config, switches_have_a_spelling_for_off)
{
    const struct {
        std::vector<std::string> args;
        bool on;
    } cases[] = {
        {{}, true},
        {{"--enable-prefix-caching"}, true},
        {{"--no-enable-prefix-caching"}, false},
        {{"--enable-prefix-caching", "off"}, false},
        {{"--enable-prefix-caching=off"}, false},
        {{"--no-enable-prefix-caching", "--enable-prefix-caching"}, true}, /* the last one counts */
        {{"--enable-prefix-caching", "--no-enable-prefix-caching"}, false},
    };
    for (const auto &c : cases) {
        Parsed p(CONFIG_SERVE, c.args);
        ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
        EXPECT_EQ(c.on, p.config.enable_prefix_caching);
    }
    Parsed model(CONFIG_SERVE, {"--no-ui", "on"}); /* takes no word: that is the model's */
    ASSERT_EQ(STATUS_OK, model.status) << model.error.text;
    EXPECT_FALSE(model.config.ui);
    EXPECT_STREQ("on", model.config.model);
}

TEST(config, defaults)
{
    Parsed p(CONFIG_SERVE, {});
    ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
    EXPECT_EQ(nullptr, p.config.model);
    EXPECT_STREQ("127.0.0.1", p.config.host);
    EXPECT_EQ(8001u, p.config.grpc_port);
    EXPECT_EQ(64u, p.config.max_num_seqs);
    EXPECT_EQ(0u, p.config.max_num_batched_tokens);
    EXPECT_EQ(ENGINE_DEVICE_AUTO, p.config.device.kind);
    EXPECT_EQ(PLACEMENT_AUTO, p.config.placement);
    EXPECT_FALSE(p.config.deterministic);
    EXPECT_EQ(4u << 20, p.config.grpc_max_message_bytes);
    EXPECT_EQ(ROOM_AUTO, p.config.device_experts.kind);
    EXPECT_EQ(EVICT_LEARNED, p.config.policy);
    EXPECT_EQ(FORESIGHT_AUTO, p.config.predictor);
    EXPECT_EQ(PREFETCH_AUTO, p.config.prefetch);
    EXPECT_EQ(STREAM_AUTO, p.config.stream_layers);
    EXPECT_EQ(2u, p.config.log_level);
    EXPECT_EQ(CONFIG_DEFAULT, config_source_of(&p.config, "host"));
}

TEST(config, values_after_space_or_equals_and_aliases)
{
    Parsed p(CONFIG_SERVE, {"/models/x", "--max-num-seqs", "7", "--host=::1", "-c", "900", "-t=3",
                            "--device-experts", "25%", "--prefetch", "off", "--io=sync",
                            "--kv-cache-bytes", "64MiB", "--isa", "avx2"});
    ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
    EXPECT_STREQ("/models/x", p.config.model);
    EXPECT_EQ(7u, p.config.max_num_seqs);
    EXPECT_STREQ("::1", p.config.host);
    EXPECT_EQ(900u, p.config.max_model_len);
    EXPECT_EQ(3u, p.config.threads);
    EXPECT_EQ(ROOM_PERCENT, p.config.device_experts.kind);
    EXPECT_DOUBLE_EQ(25, p.config.device_experts.percent);
    EXPECT_EQ(PREFETCH_OFF, p.config.prefetch);
    EXPECT_EQ(3u, p.config.io);
    EXPECT_EQ(64u << 20, p.config.kv_cache_bytes);
    EXPECT_EQ(2u, p.config.isa);
    Parsed np(CONFIG_SERVE, {"-np", "9", "-m", "folder"});
    EXPECT_EQ(9u, np.config.max_num_seqs);
    EXPECT_STREQ("folder", np.config.model);
}

/* The words of the paging flags are the engine's own, in its order. */
TEST(config, paging_flags_are_the_engines)
{
    for (enum config_command command : {CONFIG_SERVE, CONFIG_RUN, CONFIG_REPLAY}) {
        for (uint32_t i = 0; i < EVICT_KINDS; i++) {
            Parsed p(command, {"--policy", evict_kind_name((enum evict_kind)i)});
            ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
            EXPECT_EQ(i, p.config.policy);
        }
        for (uint32_t i = 0; i < FORESIGHT_KINDS; i++) {
            Parsed p(command, {"--predictor", foresight_name((enum foresight)i)});
            ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
            EXPECT_EQ(i, p.config.predictor);
        }
        EXPECT_EQ(PREFETCH_OFF, Parsed(command, {"--prefetch", "off"}).config.prefetch);
        EXPECT_EQ(PREFETCH_AUTO, Parsed(command, {"--prefetch", "auto"}).config.prefetch);
        EXPECT_EQ(PREFETCH_ON, Parsed(command, {"--prefetch", "on"}).config.prefetch);
    }
    EXPECT_EQ(STREAM_OFF, (int)Parsed(CONFIG_RUN, {"--stream-layers", "off"}).config.stream_layers);
    EXPECT_EQ(STREAM_AUTO, Parsed(CONFIG_RUN, {"--stream-layers=auto"}).config.stream_layers);
    EXPECT_EQ(3u, Parsed(CONFIG_SERVE, {"--stream-layers", "3"}).config.stream_layers);
    for (const char *wrong : {"0", "-1", "4294967295", "on", "3x", ""}) {
        Parsed p(CONFIG_SERVE, {"--stream-layers", wrong});
        EXPECT_EQ(STATUS_INVALID, p.status) << wrong;
        EXPECT_TRUE(p.says("neither auto, off nor a whole number from 1 to 65535")) << p.error.text;
    }
}

/* The words of how answers are read are the enums of server/openai/openai_syntax.h, in their
 * order. */
TEST(config, parsers_of_answers_are_the_services)
{
    const char *const tools[] = {"auto",    "hermes",      "mistral", "llama3",
                                 "granite", "qwen3_coder", "glm",     "none"};
    static_assert(OPENAI_TOOLS_NONE + 1 == sizeof tools / sizeof *tools, "one word for each");
    for (uint32_t i = 0; i <= OPENAI_TOOLS_NONE; i++)
        EXPECT_EQ(i,
                  Parsed(CONFIG_SERVE, {"--tool-call-parser", tools[i]}).config.tool_call_parser);
    EXPECT_EQ(OPENAI_TOOLS_AUTO, (int)Parsed(CONFIG_SERVE, {}).config.tool_call_parser);
    EXPECT_EQ(OPENAI_REASONING_AUTO, (int)Parsed(CONFIG_SERVE, {}).config.reasoning_parser);
    EXPECT_EQ(OPENAI_REASONING_THINK,
              (int)Parsed(CONFIG_SERVE, {"--reasoning-parser", "think"}).config.reasoning_parser);
    EXPECT_EQ(OPENAI_REASONING_NONE,
              (int)Parsed(CONFIG_SERVE, {"--reasoning-parser", "none"}).config.reasoning_parser);
    EXPECT_EQ(STATUS_INVALID, Parsed(CONFIG_SERVE, {"--tool-call-parser", "xlam"}).status);
    EXPECT_EQ(STATUS_INVALID, Parsed(CONFIG_RUN, {"--reasoning-parser", "none"}).status);
}

TEST(config, load_weights_are_for_the_commands_that_compute)
{
    for (enum config_command command : {CONFIG_SERVE, CONFIG_RUN}) {
        Parsed p(command, {"--load-lstm", "w.lstm"});
        ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
        EXPECT_STREQ("w.lstm", p.config.load_lstm);
        Parsed variable(command, {}, {"MOERING_LOAD_LSTM=v.lstm"});
        EXPECT_STREQ("v.lstm", variable.config.load_lstm);
        EXPECT_EQ(nullptr, Parsed(command, {}).config.load_lstm);
    }
    EXPECT_EQ(STATUS_INVALID, Parsed(CONFIG_REPLAY, {"a", "--load-lstm", "w"}).status);
    EXPECT_EQ(STATUS_INVALID, Parsed(CONFIG_RUN, {"--lstm-out", "w"}).status);
    Parsed out(CONFIG_TRACE_PREDICT, {"a.jsonl", "--lstm-out", "w.lstm"});
    EXPECT_STREQ("w.lstm", out.config.lstm_out);
}

TEST(config, switches_may_stand_alone)
{
    Parsed p(CONFIG_RUN, {"--json", "-p", "one", "-p", "two", "--temperature", "0"});
    ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
    EXPECT_TRUE(p.config.json);
    ASSERT_EQ(2u, p.config.prompt.count);
    EXPECT_STREQ("two", p.config.prompt.text[1]);
    EXPECT_EQ(0, p.config.temperature);
    Parsed off(CONFIG_RUN, {"--json", "off"});
    EXPECT_FALSE(off.config.json);
    EXPECT_EQ(nullptr, off.config.model);
}

TEST(config, tokenize_takes_a_text_or_a_model_and_a_text)
{
    Parsed one(CONFIG_TOKENIZE, {"hello"});
    ASSERT_EQ(STATUS_OK, one.status);
    EXPECT_EQ(nullptr, one.config.model);
    EXPECT_STREQ("hello", one.config.text);
    Parsed two(CONFIG_TOKENIZE, {"folder", "hello"});
    ASSERT_EQ(STATUS_OK, two.status);
    EXPECT_STREQ("folder", two.config.model);
    EXPECT_STREQ("hello", two.config.text);
    Parsed flag(CONFIG_TOKENIZE, {"--model", "folder", "hello"});
    ASSERT_EQ(STATUS_OK, flag.status);
    EXPECT_STREQ("folder", flag.config.model);
    EXPECT_STREQ("hello", flag.config.text);
    EXPECT_EQ(STATUS_INVALID, Parsed(CONFIG_TOKENIZE, {"a", "b", "c"}).status);
    EXPECT_EQ(STATUS_INVALID, Parsed(CONFIG_TOKENIZE, {"-m", "a", "b", "c"}).status);
    EXPECT_EQ(STATUS_INVALID, Parsed(CONFIG_HEALTH, {"a"}).status);
}

TEST(config, trace_takes_one_file)
{
    for (enum config_command command :
         {CONFIG_TRACE_INFO, CONFIG_TRACE_RECOVER, CONFIG_TRACE_PREDICT}) {
        Parsed word(command, {"a.mtrace"});
        EXPECT_EQ(STATUS_OK, word.status);
        EXPECT_STREQ("a.mtrace", word.config.trace);
        Parsed flag(command, {"--trace", "b"});
        EXPECT_STREQ("b", flag.config.trace);
        Parsed none(command, {});
        EXPECT_EQ(STATUS_OK, none.status);
        EXPECT_EQ(nullptr, none.config.trace);
        EXPECT_EQ(STATUS_INVALID, Parsed(command, {"a", "b"}).status);
        EXPECT_EQ(STATUS_INVALID, Parsed(command, {"--trace=a", "b"}).status);
        EXPECT_EQ(command == CONFIG_TRACE_INFO,
                  Parsed(command, {"--png", "x"}).status == STATUS_OK);
        EXPECT_EQ(command == CONFIG_TRACE_PREDICT,
                  Parsed(command, {"--horizons", "1,2"}).status == STATUS_OK);
        EXPECT_EQ(command == CONFIG_TRACE_PREDICT,
                  Parsed(command, {"--lstm-out", "w"}).status == STATUS_OK);
        Parsed four(command, {"--experts-per-token", "4"});
        EXPECT_EQ(command == CONFIG_TRACE_PREDICT, four.status == STATUS_OK);
        EXPECT_EQ(command == CONFIG_TRACE_PREDICT ? 4u : 0u, four.config.experts_per_token);
    }
}

TEST(config, unknown_flags_name_the_nearest)
{
    struct {
        const char *wrong, *right;
    } cases[] = {{"--max-num-seq", "--max-num-seqs"},
                 {"--thread", "--threads"},
                 {"--device-expert=5", "--device-experts"},
                 {"--prt", "--"},
                 {"--shutdown_timeout", "--shutdown-timeout"}};
    for (auto &c : cases) {
        Parsed p(CONFIG_SERVE, {c.wrong, "1"});
        EXPECT_EQ(STATUS_INVALID, p.status) << c.wrong;
        EXPECT_TRUE(p.says(c.right)) << p.error.text;
    }
    Parsed other(CONFIG_SERVE, {"--prompt", "x"}); // a flag of run
    EXPECT_EQ(STATUS_INVALID, other.status);
    EXPECT_TRUE(other.says("unknown flag '--prompt' of moering serve")) << other.error.text;
}

TEST(config, bad_values_are_refused_with_what_would_do)
{
    struct {
        std::vector<std::string> args;
        const char *says;
    } cases[] = {
        {{"--max-num-seqs", "0"}, "from 1 to 65536"},
        {{"--max-num-seqs", "-1"}, "'-1' is not a whole number"},
        {{"--max-num-seqs", "9x"}, "'9x'"},
        {{"--grpc-port", "65536"}, "from 0 to 65535"},
        {{"--io", "tread"}, "did you mean 'thread'?"},
        {{"--isa", "avx12"}, "did you mean 'avx2'?"},
        {{"--prefetch=of"}, "did you mean"},
        {{"--kv-cache-bytes", "12 parsecs"}, "is not a size"},
        {{"--device-experts", "banana"}, "--device-experts"},
        {{"--device-experts", "101%"}, "--device-experts"},
        {{"--host"}, "--host needs a value: ADDRESS"},
        {{"a", "b"}, "unexpected word 'b'"},
        {{"--max-num-seqs", "513", "--max-num-batched-tokens", "512"},
         "more than --max-num-batched-tokens 512"},
        {{"--no-enable-prefix-caching=off"}, "--no-enable-prefix-caching takes no value"},
        {{"--no-port"}, "unknown flag '--no-port'"},
        {{"--no-"}, "unknown flag '--no-'"},
        {{"--device", "gpu"}, "'gpu' is none of: auto, cpu, cuda, cuda:N with N below 64"},
        {{"--device", "cuda:"}, "'cuda:' is none of"},
        {{"--device", "cuda:64"}, "'cuda:64' is none of"},
        {{"--device", "cuda:-1"}, "'cuda:-1' is none of"},
        {{"--placement", "hots"}, "did you mean 'host'?"},
        {{"--deterministic", "--placement", "host"}, "--placement host says the contrary"},
        {{"--device", "cpu", "--placement", "device"}, "without effect with --device cpu"},
    };
    for (auto &c : cases) {
        Parsed p(CONFIG_SERVE, c.args);
        EXPECT_EQ(STATUS_INVALID, p.status) << c.args[0];
        EXPECT_TRUE(p.says(c.says)) << p.error.text;
    }
    for (const char *wrong : {"nan", "inf", "1e9", "-0.1", "", "0.5x"}) {
        Parsed p(CONFIG_RUN, {"--temperature", wrong});
        EXPECT_EQ(STATUS_INVALID, p.status) << wrong;
    }
}

TEST(config, flag_over_environment_over_file_over_default)
{
    TempFile file("# comment\nmax-num-seqs: 3\nmax_queue: 5\nhost: 10.0.0.1\nprefetch: off\n");
    std::vector<std::string> env = {"MOERING_MAX_QUEUE=6", "MOERING_HOST=10.0.0.2",
                                    "MOERING_CONFIG=" + file.path, "MOERING_IO_THREADS="};
    Parsed p(CONFIG_SERVE, {"--host", "10.0.0.3"}, env);
    ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
    EXPECT_EQ(3u, p.config.max_num_seqs);
    EXPECT_EQ(CONFIG_FILE, config_source_of(&p.config, "max-num-seqs"));
    EXPECT_EQ(6u, p.config.max_queue);
    EXPECT_EQ(CONFIG_ENVIRONMENT, config_source_of(&p.config, "max-queue"));
    EXPECT_STREQ("10.0.0.3", p.config.host);
    EXPECT_EQ(CONFIG_FLAG, config_source_of(&p.config, "host"));
    EXPECT_EQ(PREFETCH_OFF, p.config.prefetch);
    EXPECT_EQ(2u, p.config.io_threads);
    EXPECT_EQ(CONFIG_DEFAULT, config_source_of(&p.config, "io-threads"));
}

TEST(config, environment_errors_name_the_variable)
{
    Parsed p(CONFIG_SERVE, {}, {"MOERING_MAX_NUM_SEQS=many"});
    EXPECT_EQ(STATUS_INVALID, p.status);
    EXPECT_TRUE(p.says("MOERING_MAX_NUM_SEQS: 'many'")) << p.error.text;
    Parsed off(CONFIG_SERVE, {}, {"MOERING_PREFETCH=off"});
    EXPECT_EQ(PREFETCH_OFF, off.config.prefetch);
    Parsed disabled(CONFIG_SERVE, {}, {"MOERING_PREFETCH=disabled"});
    EXPECT_TRUE(disabled.says("MOERING_PREFETCH: 'disabled'")) << disabled.error.text;
}

TEST(config, file_errors_name_the_line)
{
    struct {
        const char *text, *says;
    } cases[] = {
        {"host: a\nmax-num-sqs: 4\n",
         ":2: max-num-sqs: unknown setting 'max-num-sqs'; did you mean 'max-num-seqs'?"},
        {"\n\nthreads: lots\n", ":3: threads: 'lots'"},
        {"host: [a, b]\n", ":1: only `name: value` lines"},
        {"- host\n", "only `name: value` lines"},
        {"host: {a: b}\n", "only `name: value` lines"},
        {"host: \"unended\n", "not YAML"},
        {"just words\n", "only `name: value` lines"},
        {"config: other.yaml\n", ":1: config: a settings file cannot name another settings file"},
        {"confg: other.yaml\n", "unknown setting 'confg'"},
        {"host: a\nprompt: b\n", ":2: prompt: not a setting of a file; give it as --prompt"},
        {"host: a\nio: sync\nhost: b\n", ":3: host: given twice, first in line 1"},
        {"max-queue: 1\nmax_queue: 1\n", ":2: max-queue: given twice, first in line 1"},
        {"host: a\n---\nhost: b\n", ":2: a second document begins here"},
        {"host: a\n...\n---\n", ":3: a second document begins here"},
        {"host: a\n...\n\"unended\n", "not YAML"},
    };
    for (auto &c : cases) {
        TempFile file(c.text);
        Parsed p(CONFIG_SERVE, {"--config", file.path});
        EXPECT_EQ(STATUS_INVALID, p.status) << c.text;
        EXPECT_TRUE(p.says(c.says)) << p.error.text;
        EXPECT_TRUE(p.says(file.path.c_str())) << p.error.text;
        EXPECT_FALSE(p.says("did you mean 'config'")) << p.error.text;
    }
    Parsed missing(CONFIG_SERVE, {"--config", "/nowhere/x.yaml"});
    EXPECT_EQ(STATUS_NOT_FOUND, missing.status);
    EXPECT_TRUE(missing.says("/nowhere/x.yaml"));
    TempFile empty("# nothing\n");
    Parsed none(CONFIG_SERVE, {"--config", empty.path});
    EXPECT_EQ(STATUS_OK, none.status) << none.error.text;
}

// Marks of one document are no second one, and a key of another subcommand may not come twice.
TEST(config, one_document_may_be_marked)
{
    TempFile marked("---\nmax-queue: 7\n...\n# the end\n");
    Parsed p(CONFIG_SERVE, {"--config", marked.path});
    ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
    EXPECT_EQ(7u, p.config.max_queue);
    TempFile twice("top-k: 3\ntop-k: 4\n");
    Parsed q(CONFIG_SERVE, {"--config", twice.path});
    EXPECT_EQ(STATUS_INVALID, q.status);
    EXPECT_TRUE(q.says(":2: top-k: given twice")) << q.error.text;
}

TEST(config, flags_of_run_are_refused_by_their_names)
{
    struct {
        std::vector<std::string> args;
        const char *says;
    } cases[] = {
        {{"--top-p", "0"}, "--top-p: '0' is not a number above 0 and up to 1"},
        {{"--top-p", "1e-60"}, "--top-p: '1e-60'"}, // 0 as a float
        {{"--top-p", "1.1"}, "--top-p: '1.1'"},
        {{"--stop", ""}, "--stop: '' has 0 bytes, allowed are 1 to 256"},
        {{"--stop", "x", "--stop", std::string(257, 'y')}, "yyy' has 257 bytes"},
        {{"--min-tokens", "9", "--max-tokens", "3"}, "--min-tokens 9 is more than --max-tokens 3"},
    };
    for (auto &c : cases) {
        Parsed p(CONFIG_RUN, c.args);
        EXPECT_EQ(STATUS_INVALID, p.status) << c.says;
        EXPECT_TRUE(p.says(c.says)) << p.error.text;
    }
    std::vector<std::string> stops;
    for (int i = 0; i < 16; i++)
        stops.insert(stops.end(), {"--stop", std::string(256, 'z')});
    Parsed most(CONFIG_RUN, stops);
    EXPECT_EQ(STATUS_OK, most.status) << most.error.text;
    stops.insert(stops.end(), {"--stop", "z"});
    Parsed many(CONFIG_RUN, stops);
    EXPECT_EQ(STATUS_INVALID, many.status);
    EXPECT_TRUE(many.says("--stop: given 17 times, at most 16")) << many.error.text;
    Parsed variable(CONFIG_RUN, {}, {"MOERING_TOP_P=0"});
    EXPECT_TRUE(variable.says("MOERING_TOP_P: '0'")) << variable.error.text;
    Parsed small(CONFIG_RUN, {"--top-p", "1e-9"});
    EXPECT_EQ(STATUS_OK, small.status) << small.error.text;
}

TEST(config, stray_variables_are_told_with_the_nearest)
{
    struct {
        const char *entry, *says;
    } strays[] = {
        {"MOERING_MAX_NUM_SEQ=4", "MOERING_MAX_NUM_SEQ is ignored: no setting has this variable; "
                                  "did you mean MOERING_MAX_NUM_SEQS?"},
        {"MOERING_max_num_seqs=4", "did you mean MOERING_MAX_NUM_SEQS?"},
        {"MOERING_BUILTIN_MODELS=x", "did you mean MOERING_BUILTIN_MODEL?"},
        {"MOERING_PROMPT=x", "MOERING_PROMPT is ignored: give it as --prompt"},
        {"MOERING_=x", "did you mean"},
    };
    char text[256] = "";
    for (auto &s : strays) {
        EXPECT_TRUE(config_variable_stray(s.entry, text, sizeof text)) << s.entry;
        EXPECT_NE(nullptr, strstr(text, s.says)) << text;
    }
    std::string longest = "MOERING_" + std::string(5000, 'X') + "=1";
    EXPECT_TRUE(config_variable_stray(longest.c_str(), text, sizeof text));
    for (const char *entry :
         {"MOERING_MAX_NUM_SEQS=4", "MOERING_GRPC_PORT=1", "MOERING_CONFIG=x", "MOERING_TOP_K=3",
          "MOERING_BUILTIN_MODEL=x", "MOERING_BUILD=x", "MOERING_FUZZ_SECONDS=1",
          "MOERING_SOURCE_DIR=x", "MOERING_BINARY_DIR=x", "MOERING_DATA_DIR=x", "MOERING_X=",
          "MOERING_X", "PATH=x", "OTHER_MOERING_X=1", ""})
        EXPECT_FALSE(config_variable_stray(entry, text, sizeof text)) << entry;
}

TEST(config, one_file_serves_every_subcommand)
{
    TempFile file("grpc-port: 9\nthreads: 2\n");
    Parsed p(CONFIG_RUN, {"--config", file.path});
    ASSERT_EQ(STATUS_OK, p.status) << p.error.text;
    EXPECT_EQ(2u, p.config.threads);
    EXPECT_EQ(8001u, p.config.grpc_port);
}

TEST(config, help_and_print_name_every_flag)
{
    for (enum config_command command : {CONFIG_SERVE, CONFIG_RUN, CONFIG_INSPECT, CONFIG_TOKENIZE,
                                        CONFIG_HEALTH, CONFIG_TRACE_INFO, CONFIG_TRACE_RECOVER,
                                        CONFIG_TRACE_PREDICT}) {
        char *text = nullptr;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        config_help(command, out);
        Parsed p(command, {});
        config_print(&p.config, out);
        fclose(out);
        EXPECT_NE(nullptr, strstr(text, "--log-level"));
        EXPECT_NE(nullptr, strstr(text, "log-level                    "));
        EXPECT_NE(nullptr, strstr(text, "(default)"));
        EXPECT_EQ(command == CONFIG_SERVE, strstr(text, "--grpc-port") != nullptr);
        // Names too long for their column stand alone; what follows is in the help's column.
        std::string column = "\n" + std::string(47, ' ');
        EXPECT_EQ(command == CONFIG_SERVE || command == CONFIG_RUN,
                  strstr(text, ("--moe-expert-cache-size BYTES|N|N%" + column + "room for").c_str())
                      != nullptr) << text;
        free(text);
    }
    Parsed help(CONFIG_SERVE, {"--help", "--nonsense"});
    EXPECT_EQ(STATUS_OK, help.status);
    EXPECT_TRUE(help.config.help);
}

TEST(config, nearest_by_edit_distance)
{
    const char *const names[] = {"alpha", "beta", "gamma", nullptr};
    EXPECT_STREQ("beta", config_nearest("bta", names));
    EXPECT_STREQ("gamma", config_nearest("gama", names));
    std::string longest(500, 'z');
    EXPECT_NE(nullptr, config_nearest(longest.c_str(), names));
    const char *const none[] = {nullptr};
    EXPECT_EQ(nullptr, config_nearest("x", none));
}

} // namespace

/* The table of names. Expressions that several models share are written once, as macros, in the
 * syntax of the models' own files (pattern.c translates it); where a file gives a kind of step
 * instead of an expression (Digits, ByteLevel), the expression that does the same stands here.
 *
 * Composition (NFC) is not a matter of the name in the file format, but the tokenizers of Qwen,
 * OLMo and MPT do it, and a model has never seen what they would not have produced. */
#include "engine/tokenizer/split_rules.h"

#include <string.h>

#include "memory/base/check.h"

/* Clitics in either case; runs of letters with one leading character of another kind. */
#define CLITICS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LETTERS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SIGNS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"

#define GPT2                                                                                       \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3 CLITICS "|" LETTERS "|\\p{N}{1,3}|" SIGNS "|" SPACES
#define QWEN2 CLITICS "|" LETTERS "|\\p{N}|" SIGNS "|" SPACES
#define JAIS2                                                                                      \
    CLITICS "|" LETTERS "|\\p{N}{1,3}|" SIGNS "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|"    \
            "\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|"          \
            "\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"
#define BAILING                                                                                    \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|" \
    "\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
#define SEED_CODER                                                                                 \
    CLITICS "|" LETTERS "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES

/* Words by case: any number of capitals, then small letters, or capitals alone. */
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define CASED(tail)                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+" tail "|"                                      \
    "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*" tail
#define CASED_SIGNS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
#define TEKKEN CASED("") "|\\p{N}|" CASED_SIGNS "|" SPACES
#define GPT4O CASED(CLITICS "?") "|\\p{N}{1,3}|" CASED_SIGNS "|" SPACES

#define DEEPSEEK3                                                                                  \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"                                       \
    "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
#define KANA_AND_HAN "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define ASIAN "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define DEEPSEEK_SIGNS                                                                             \
    "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+"

/* The letters that have case, as the model's own file lists them. */
static const char deepseek_letters[] =
    "\\s?["
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}"
    "\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}"
    "\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}"
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"
    "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}"
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}"
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}"
    "\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"
    "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}"
    "\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"
    "]+";

static const struct split_rules gpt2 = {.patterns = {GPT2}};
static const struct split_rules gpt2_composed = {.patterns = {GPT2}, .nfc = true};
static const struct split_rules digits_gpt2 = {.patterns = {"\\p{N}", GPT2}};
static const struct split_rules falcon = {
    .patterns = {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}};
static const struct split_rules llama3_words = {.patterns = {LLAMA3}};
static const struct split_rules llama3 = {
    .patterns = {LLAMA3}, .ignore_merges = true, .adds_bos = true};
static const struct split_rules qwen2 = {.patterns = {QWEN2}};
static const struct split_rules qwen2_composed = {.patterns = {QWEN2}, .nfc = true};
static const struct split_rules jais2 = {.patterns = {JAIS2}};
static const struct split_rules bailing = {.patterns = {BAILING}};
static const struct split_rules seed_coder = {.patterns = {SEED_CODER}};
static const struct split_rules tekken = {
    .patterns = {TEKKEN}, .ignore_merges = true, .adds_bos = true};
static const struct split_rules gpt4o = {.patterns = {GPT4O}};
static const struct split_rules deepseek_llm = {
    .patterns = {"[\\r\\n]", deepseek_letters, DEEPSEEK_SIGNS, "\\s+$", ASIAN, "\\p{N}+"}};
static const struct split_rules deepseek_coder = {
    .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", ASIAN, "\\p{N}"}};
static const struct split_rules deepseek3 = {.patterns = {"\\p{N}{1,3}", KANA_AND_HAN, DEEPSEEK3}};

static const struct {
    const char *name;
    const struct split_rules *rules;
} named[] = {
    {"default", &gpt2},
    {"gpt-2", &gpt2},
    {"phi-2", &gpt2},
    {"jais", &gpt2},
    {"gigachat", &gpt2},
    {"a.x-4.0", &gpt2},
    {"mellum", &gpt2},
    {"trillion", &gpt2},
    {"exaone4", &gpt2},
    {"granite-docling", &gpt2},
    {"olmo", &gpt2_composed},
    {"mpt", &gpt2_composed},
    {"starcoder", &digits_gpt2},
    {"refact", &digits_gpt2},
    {"command-r", &digits_gpt2},
    {"smollm", &digits_gpt2},
    {"codeshell", &digits_gpt2},
    {"exaone", &digits_gpt2},
    {"minerva-7b", &digits_gpt2},
    {"mellum2", &digits_gpt2},
    {"falcon", &falcon},
    {"dbrx", &llama3_words},
    {"smaug-bpe", &llama3_words},
    {"glm4", &llama3_words},
    {"chatglm-bpe", &llama3_words},
    {"llama-bpe", &llama3},
    {"llama3", &llama3},
    {"llama-v3", &llama3},
    {"falcon3", &llama3},
    {"falcon-h1", &llama3},
    {"pixtral", &llama3},
    {"midm-2.0", &llama3},
    {"lfm2", &llama3},
    {"qwen2", &qwen2_composed},
    {"deepseek-r1-qwen", &qwen2},
    {"kormo", &qwen2},
    {"megrez", &qwen2},
    {"stablelm2", &qwen2},
    {"hunyuan", &qwen2},
    {"solar-open", &qwen2},
    {"grok-2", &qwen2},
    {"jais-2", &jais2},
    {"bailingmoe", &bailing},
    {"bailingmoe2", &bailing},
    {"llada-moe", &bailing},
    {"seed-coder", &seed_coder},
    {"tekken", &tekken},
    {"gpt-4o", &gpt4o},
    {"llama4", &gpt4o},
    {"kanana2", &gpt4o},
    {"minimax-m2", &gpt4o},
    {"deepseek-llm", &deepseek_llm},
    {"deepseek-coder", &deepseek_coder},
    {"deepseek-v3", &deepseek3},
    {"hunyuan-dense", &deepseek3},
    {"joyai-llm", &deepseek3},
};

const struct split_rules *split_rules_find(const char *name, size_t bytes)
{
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (strlen(named[i].name) == bytes && memcmp(named[i].name, name, bytes) == 0)
            return named[i].rules;
    return NULL;
}

enum status split_rules_apply(const struct split_rules *rules, struct normalizer *normalizer,
                              struct pretokenizer *pretokenizer)
{
    enum status status = STATUS_OK;
    if (rules->nfc) {
        struct normalize_step step = {.kind = NORMALIZE_NFC};
        status = normalizer_add(normalizer, &step);
    }
    for (unsigned i = 0; i < SPLIT_PATTERNS_MAX && rules->patterns[i] && status == STATUS_OK; i++) {
        struct pretokenize_step step = {.kind = PRETOKENIZE_SPLIT, .behavior = BEHAVIOR_ISOLATED};
        struct error error = {0};
        status = pattern_open_regex(&step.pattern, rules->patterns[i], strlen(rules->patterns[i]),
                                    &error);
        CHECK(status == STATUS_OK || status == STATUS_NO_MEMORY); /* the table's own expressions */
        if (status == STATUS_OK)
            status = pretokenizer_add(pretokenizer, &step);
    }
    struct pretokenize_step bytes = {.kind = PRETOKENIZE_BYTE_LEVEL, .prepend = PREPEND_NEVER};
    return status == STATUS_OK ? pretokenizer_add(pretokenizer, &bytes) : status;
}

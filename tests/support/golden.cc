#include "tests/support/golden.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include <jansson.h>

namespace golden {

namespace {

[[noreturn]] void fail(const std::string &path, const std::string &what)
{
    fprintf(stderr, "golden: %s: %s\n", path.c_str(), what.c_str());
    exit(1);
}

std::string source_folder(const std::string &kind)
{
    const char *folder = getenv("MOERING_SOURCE_DIR");
    return std::string(folder ? folder : ".") + "/tests/golden/" + kind;
}

std::vector<uint32_t> numbers(const json_t *list)
{
    std::vector<uint32_t> out;
    for (size_t i = 0; i < json_array_size(list); i++)
        out.push_back(static_cast<uint32_t>(json_integer_value(json_array_get(list, i))));
    return out;
}

std::vector<float> floats(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::vector<float> out(bytes.size() / sizeof(float));
    std::copy_n(bytes.data(), out.size() * sizeof(float), reinterpret_cast<char *>(out.data()));
    return out;
}

Prompt read_prompt(const json_t *json, const std::string &folder, uint32_t vocab)
{
    Prompt p;
    p.prompt = numbers(json_object_get(json, "prompt"));
    p.greedy = numbers(json_object_get(json, "greedy"));
    p.positions = static_cast<uint32_t>(json_integer_value(json_object_get(json, "positions")));
    const json_t *layers = json_object_get(json, "routed_experts");
    for (size_t l = 0; l < json_array_size(layers); l++) {
        p.routed.emplace_back();
        const json_t *positions = json_array_get(layers, l);
        for (size_t i = 0; i < json_array_size(positions); i++)
            p.routed.back().push_back(numbers(json_array_get(positions, i)));
        if (p.routed.back().size() != p.positions)
            fail(folder, "routed_experts do not match positions");
    }
    const char *file = json_string_value(json_object_get(json, "logits_file"));
    p.logits = floats(folder + "/" + (file ? file : "logits_file is missing"));
    if (p.prompt.empty() || p.greedy.empty() || p.routed.empty() ||
        p.positions != p.prompt.size() + p.greedy.size() - 1 ||
        p.logits.size() != static_cast<size_t>(p.positions) * vocab)
        fail(folder, "a golden and its logits do not fit together");
    return p;
}

/* The golden at `path`, of the model in `model`; logits lie in `folder`. */
Model read_model(const std::string &path, const std::filesystem::path &model,
                 const std::string &folder)
{
    json_error_t error;
    json_t *root = json_load_file(path.c_str(), 0, &error);
    if (!root)
        fail(path, error.text);
    Model m;
    m.name = model.stem().string();
    m.path = model.string();
    m.vocab = static_cast<uint32_t>(json_integer_value(json_object_get(root, "vocab")));
    const json_t *prompts = json_object_get(root, "prompts");
    for (size_t i = 0; i < json_array_size(prompts); i++)
        m.prompts.push_back(read_prompt(json_array_get(prompts, i), folder, m.vocab));
    json_decref(root);
    if (m.prompts.empty())
        fail(path, "no prompts");
    return m;
}

/* Of a folder of folders, or of a folder of GGUF files with a golden beside each. */
std::vector<Model> read_all(const std::string &folder)
{
    std::vector<Model> out;
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(folder, error)) {
        const std::filesystem::path &path = entry.path();
        if (std::filesystem::exists(path / "golden.json"))
            out.push_back(read_model(path / "golden.json", path, path));
        else if (path.extension() == ".gguf")
            out.push_back(read_model(std::filesystem::path(path).replace_extension(".json"), path,
                                     folder));
    }
    if (out.empty())
        fail(folder, "no golden models; is MOERING_SOURCE_DIR the repository?");
    std::sort(out.begin(), out.end(),
              [](const Model &a, const Model &b) { return a.name < b.name; });
    return out;
}

const Model &find(const std::vector<Model> &all, const std::string &name)
{
    for (const Model &m : all)
        if (m.name == name)
            return m;
    fail(name, "no such golden model");
}

} // namespace

std::vector<uint32_t> Prompt::tokens() const
{
    std::vector<uint32_t> out = prompt;
    out.insert(out.end(), greedy.begin(), greedy.end() - 1);
    return out;
}

uint32_t Prompt::pages_touched(uint32_t begin, uint32_t end) const
{
    uint32_t sum = 0;
    for (const auto &layer : routed) {
        std::set<uint32_t> experts;
        for (uint32_t position = begin; position < end; position++)
            experts.insert(layer[position].begin(), layer[position].end());
        sum += static_cast<uint32_t>(experts.size());
    }
    return sum;
}

const std::vector<Model> &models()
{
    static const std::vector<Model> all = read_all(source_folder("models"));
    return all;
}

const Model &model(const std::string &name)
{
    return find(models(), name);
}

const std::vector<Model> &gguf_models()
{
    static const std::vector<Model> all = read_all(source_folder("gguf"));
    return all;
}

const Model &gguf_model(const std::string &name)
{
    return find(gguf_models(), name);
}

} // namespace golden

/* The golden models of tests/golden/models and tests/golden/gguf: what an independent
 * implementation says these checkpoints compute. See the READMEs there for the format and how they
 * were made. */
#ifndef MOERING_TESTS_SUPPORT_GOLDEN_H
#define MOERING_TESTS_SUPPORT_GOLDEN_H

#include <cstdint>
#include <string>
#include <vector>

namespace golden {

struct Prompt {
    std::vector<uint32_t> prompt;
    std::vector<uint32_t> greedy;  /* its continuation */
    uint32_t positions;            /* of prompt and greedy together but for the last */
    std::vector<float> logits;     /* [positions][vocab] */
    std::vector<std::vector<std::vector<uint32_t>>> routed; /* [layer][position][top_k] */

    /* The tokens that the logits belong to. */
    std::vector<uint32_t> tokens() const;
    /* Distinct experts that positions begin .. end - 1 chose, summed over the layers. */
    uint32_t pages_touched(uint32_t begin, uint32_t end) const;
};

struct Model {
    std::string name;
    std::string path;              /* the folder or file, for engine_open */
    uint32_t vocab;
    std::vector<Prompt> prompts;
};

/* Every folder of tests/golden/models with a golden.json, by name. The program ends with a message
 * if there is none or one is malformed. */
const std::vector<Model> &models();
const Model &model(const std::string &name);
/* Every file of tests/golden/gguf, by name (without the .gguf). */
const std::vector<Model> &gguf_models();
const Model &gguf_model(const std::string &name);

} // namespace golden
#endif

/* A small random model and what the tests of the request side need of it. */
#ifndef MOERING_TESTS_SERVER_TOY_ENGINE_H
#define MOERING_TESTS_SERVER_TOY_ENGINE_H

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "server/requests/request.h"
#include "tests/support/scratch.h"
#include "tests/support/toy_model.h"

namespace toy_engine {

/* A model folder of 96 tokens without a tokenizer, and settings for it: 128 positions, of the 4096
 * that the model could have. */
struct Folder {
    scratch::Folder folder;
    std::string path;
    struct engine_config config;

    Folder()
    {
        toy::Model model;
        model.context = 4096;
        toy::write(folder, model);
        path = folder.path();
        engine_config_init(&config);
        config.model = path.c_str();
        config.threads = 1;
        config.max_model_len = 128;
        config.max_num_seqs = 4;
        config.max_batch_tokens = 16;
        config.io = IO_SYNC;
    }
};

inline struct request *make(uint64_t id, uint32_t prompt, uint32_t tokens)
{
    struct request *r = request_open(id);
    r->asked.prompt = static_cast<uint32_t *>(malloc(prompt * sizeof(uint32_t)));
    for (uint32_t i = 0; i < prompt; i++)
        r->asked.prompt[i] = (uint32_t)(id * 7 + i * 3) % 96;
    r->asked.prompt_tokens = prompt;
    r->asked.has_max_tokens = true;
    r->asked.max_tokens = tokens;
    r->asked.ignore_eos = true;
    r->asked.sampling.temperature = 0;
    return r;
}

} // namespace toy_engine
#endif

/* An engine and what tests do with it: sequences that generate together, step by step, every logit
 * and every token kept for comparison. */
#ifndef MOERING_TESTS_ENGINE_ENGINE_HARNESS_H
#define MOERING_TESTS_ENGINE_ENGINE_HARNESS_H

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/support/scratch.h"

/* One sequence's part in a run. */
struct Job {
    std::vector<uint32_t> prompt;
    uint32_t count = 0;             /* tokens to generate */
    uint32_t chunk = 1 << 20;       /* prompt tokens in one step at most */
    uint32_t begin = 0;             /* the step at which it joins */
    bool take = false;              /* what others computed, before each of its steps */
    uint64_t salt = 0;
    std::vector<uint32_t> preempt;  /* steps before which it loses its KV blocks */
    struct sampler_params sampling = greedy();

    static struct sampler_params greedy()
    {
        struct sampler_params params;
        sampler_params_init(&params);
        params.temperature = 0;
        return params;
    }
};

struct Answer {
    std::vector<uint32_t> tokens;    /* sampled */
    std::vector<float> logits;       /* of every position computed, the last time it was computed */
    std::vector<struct expert_usage> usage; /* of each step it took part in */
    std::vector<uint32_t> step_tokens;      /* with so many tokens */
    /* Tokens of others, at its beginning and later; those it never computed have logits of 0. */
    uint32_t taken = 0, taken_later = 0;
};

inline std::vector<uint32_t> some_prompt(uint64_t seed, uint32_t count, uint32_t vocab)
{
    scratch::Random random(seed);
    std::vector<uint32_t> prompt(count);
    for (uint32_t &token : prompt)
        token = random.below(vocab);
    return prompt;
}

inline Job job_of(std::vector<uint32_t> prompt, uint32_t count, uint32_t chunk = 1 << 20)
{
    Job job;
    job.prompt = std::move(prompt);
    job.count = count;
    job.chunk = chunk;
    return job;
}

class Engine {
public:
    using Tweak = std::function<void(struct engine_config &)>;

    explicit Engine(const std::string &model, const Tweak &tweak = nullptr)
    {
        struct engine_config config = defaults(model);
        if (tweak)
            tweak(config);
        struct error error = {};
        enum status status = engine_open(&engine, &config, &error);
        if (status != STATUS_OK)
            throw std::runtime_error(std::string(status_name(status)) + ": " + error.text);
    }
    ~Engine() { engine_close(engine); }
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    static struct engine_config defaults(const std::string &model)
    {
        struct engine_config config;
        engine_config_init(&config);
        config.model = model.c_str();
        config.threads = 1;
        config.max_num_seqs = 16;
        config.max_batch_tokens = 512;
        config.io = IO_SYNC;
        return config;
    }
    static struct room pages(uint64_t n)
    {
        struct room room = {};
        room.kind = ROOM_PAGES;
        room.pages = n;
        return room;
    }

    struct sequence *open(const Job &job)
    {
        struct sequence *sequence = nullptr;
        struct error error = {};
        if (engine_sequence_open(engine, job.prompt.data(), (uint32_t)job.prompt.size(),
                                 &job.sampling, &sequence, &error))
            throw std::runtime_error(error.text);
        engine_sequence_salt(sequence, job.salt);
        return sequence;
    }

    /* All jobs to their end; decode steps and prefill chunks share steps as they come. */
    std::vector<Answer> run(const std::vector<Job> &jobs)
    {
        uint32_t vocab = engine_info(engine)->vocab;
        std::vector<Answer> answers(jobs.size());
        std::vector<struct sequence *> sequences(jobs.size());
        for (size_t i = 0; i < jobs.size(); i++)
            sequences[i] = open(jobs[i]);
        for (uint32_t step = 0;; step++) {
            std::vector<struct step_item> items;
            std::vector<size_t> who;
            bool waiting = false;
            uint32_t room = engine_info(engine)->max_batch_tokens;
            for (size_t i = 0; i < jobs.size(); i++) {
                struct sequence *s = sequences[i];
                waiting |= step < jobs[i].begin;
                if (step < jobs[i].begin || answers[i].tokens.size() == jobs[i].count)
                    continue;
                if (std::count(jobs[i].preempt.begin(), jobs[i].preempt.end(), step))
                    engine_sequence_preempt(engine, s);
                uint32_t taken = jobs[i].take ? engine_sequence_take(engine, s, UINT32_MAX) : 0;
                *(answers[i].logits.empty() ? &answers[i].taken : &answers[i].taken_later) += taken;
                struct step_item item = {};
                item.sequence = s;
                item.tokens = std::min({jobs[i].chunk, room,
                                        sequence_tokens(s) - sequence_computed(s)});
                if (item.tokens == 0)
                    continue;
                room -= item.tokens;
                answers[i].logits.resize((size_t)(sequence_computed(s) + item.tokens) * vocab);
                item.logits = answers[i].logits.data() + (size_t)sequence_computed(s) * vocab;
                EXPECT_LE(engine_kv_blocks_needed(s, item.tokens), engine_kv_blocks_free(engine));
                items.push_back(item);
                who.push_back(i);
            }
            if (items.empty() && !waiting)
                break;
            step_all(items, who, answers);
        }
        for (struct sequence *s : sequences)
            engine_sequence_close(engine, s);
        return answers;
    }
    Answer run(const Job &job) { return run(std::vector<Job>{job})[0]; }

    struct engine_stats stats() const
    {
        struct engine_stats stats;
        engine_stats_read(engine, &stats, nullptr);
        return stats;
    }

    struct engine *engine = nullptr;

private:
    void step_all(const std::vector<struct step_item> &items, const std::vector<size_t> &who,
                  std::vector<Answer> &answers)
    {
        struct error error = {};
        std::vector<struct step_output> outputs(items.size());
        if (engine_step(engine, items.data(), (uint32_t)items.size(), outputs.data(), &error))
            throw std::runtime_error(error.text);
        for (size_t i = 0; i < items.size(); i++) {
            Answer &answer = answers[who[i]];
            EXPECT_EQ(outputs[i].status, STATUS_OK) << error.text;
            answer.usage.push_back(outputs[i].usage);
            answer.step_tokens.push_back(items[i].tokens);
            if (outputs[i].sampled)
                answer.tokens.push_back(outputs[i].token.token);
        }
    }
};

#endif

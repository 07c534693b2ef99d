/* Sequences that generate together on an engine whose rooms change between steps: every logit of
 * every position and every token, to be compared with those of an engine that was left alone. */
#ifndef MOERING_TESTS_ENGINE_RESIZING_RUN_H
#define MOERING_TESTS_ENGINE_RESIZING_RUN_H

#include "tests/engine/engine_harness.h"

/* All jobs to their end, with `before` called before each step. `quiet`: logits of the newest token
 * of a sequence alone are asked for, as in serving, so that nobody waits for a device after a step
 * in the middle of a prompt; the others are 0 then. */
template <typename Before>
std::vector<Answer> resizing_run(Engine &engine, const std::vector<Job> &jobs, Before before,
                                 bool quiet = false)
{
    uint32_t vocab = engine_info(engine.engine)->vocab;
    std::vector<Answer> answers(jobs.size());
    std::vector<struct sequence *> sequences;
    for (const Job &job : jobs)
        sequences.push_back(engine.open(job));
    for (uint32_t step = 0; step < 1000; step++) {
        std::vector<struct step_item> items;
        std::vector<size_t> who;
        bool left = false;
        before();
        for (size_t i = 0; i < jobs.size(); i++) {
            struct sequence *s = sequences[i];
            bool done = answers[i].tokens.size() == jobs[i].count;
            left |= !done;
            if (done || step < jobs[i].begin)
                continue;
            if (std::count(jobs[i].preempt.begin(), jobs[i].preempt.end(), step))
                engine_sequence_preempt(engine.engine, s);
            struct step_item item = {};
            item.sequence = s;
            item.tokens = std::min(jobs[i].chunk, sequence_tokens(s) - sequence_computed(s));
            answers[i].logits.resize((size_t)(sequence_computed(s) + item.tokens) * vocab);
            bool whole = sequence_computed(s) + item.tokens == sequence_tokens(s);
            if (!quiet || (whole && item.tokens == 1))
                item.logits = answers[i].logits.data() + (size_t)sequence_computed(s) * vocab;
            items.push_back(item);
            who.push_back(i);
        }
        if (!left)
            break;
        std::vector<struct step_output> outputs(items.size());
        struct error error = {};
        EXPECT_EQ(STATUS_OK, engine_step(engine.engine, items.data(), (uint32_t)items.size(),
                                         outputs.data(), &error)) << error.text;
        for (size_t k = 0; k < who.size(); k++)
            if (outputs[k].sampled)
                answers[who[k]].tokens.push_back(outputs[k].token.token);
    }
    for (struct sequence *s : sequences)
        engine_sequence_close(engine.engine, s);
    return answers;
}

#endif

/* A batch put together by hand, for tests of rooms that only read one. */
#ifndef MOERING_TESTS_SUPPORT_TOY_BATCH_H
#define MOERING_TESTS_SUPPORT_TOY_BATCH_H

#include <cstdint>
#include <vector>

#include "engine/batch/batch.h"

namespace toy {

class Batch {
public:
    /* `count` tokens that follow `position` others of a sequence with these KV blocks. */
    void add(const uint32_t *tokens, uint32_t count, uint32_t position, const uint32_t *blocks)
    {
        for (uint32_t i = 0; i < count; i++) {
            struct row_place place = {};
            place.blocks = blocks;
            place.position = position + i;
            tokens_.push_back(tokens[i]);
            places_.push_back(place);
            item_.push_back(static_cast<uint32_t>(usage_.size()));
        }
        usage_.emplace_back();
        failed_.push_back({false});
    }
    struct batch *get()
    {
        batch_.rows = batch_.rows_max = static_cast<uint32_t>(tokens_.size());
        batch_.items = batch_.items_max = static_cast<uint32_t>(usage_.size());
        batch_.tokens = tokens_.data();
        batch_.places = places_.data();
        batch_.item = item_.data();
        batch_.usage = usage_.data();
        batch_.failed = &failed_.data()->is;
        return &batch_;
    }
    const struct expert_usage &usage(uint32_t item) const { return usage_[item]; }
    bool failed(uint32_t item) const { return failed_[item].is; }

private:
    struct Flag { /* a vector of bool has no array inside */
        bool is;
    };
    std::vector<uint32_t> tokens_, item_;
    std::vector<struct row_place> places_;
    std::vector<struct expert_usage> usage_;
    std::vector<Flag> failed_;
    struct batch batch_ = {};
};

} // namespace toy
#endif

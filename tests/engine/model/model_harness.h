/* A made-up checkpoint on disk, opened and planned: what the tests of this folder begin with. */
#ifndef MOERING_TESTS_ENGINE_MODEL_MODEL_HARNESS_H
#define MOERING_TESTS_ENGINE_MODEL_MODEL_HARNESS_H

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/model/arch.h"
#include "engine/model/model.h"
#include "tests/support/toy_model.h"

class ToyTest : public testing::Test {
protected:
    ~ToyTest() override
    {
        checkpoint_close(checkpoint_);
        store_close(store_);
    }
    /* Writes the folder anew and opens it. */
    void make(const toy::Model &model) { make(model, toy::tensors(model)); }
    void make(const toy::Model &model, const std::vector<test_support::TensorToWrite> &tensors)
    {
        checkpoint_close(checkpoint_);
        store_close(store_);
        checkpoint_ = nullptr;
        store_ = nullptr;
        error_ = {};
        toy::write(folder_, model, tensors);
        ASSERT_EQ(checkpoint_open(&checkpoint_, folder_.path().c_str(), &error_), STATUS_OK)
            << error_.text;
        ASSERT_EQ(store_open(&store_, &error_), STATUS_OK);
    }
    enum status plan(enum dtype quantize = DTYPE_COUNT)
    {
        return model_plan(checkpoint_, store_, quantize, &plan_, &error_);
    }
    /* Does the sentence name this, and where? */
    testing::AssertionResult says(const std::string &part) const
    {
        std::string text = error_.text;
        if (text.find(part) == std::string::npos || text.find(folder_.path()) == std::string::npos)
            return testing::AssertionFailure() << '"' << text << "\" does not name " << part;
        return testing::AssertionSuccess();
    }

    scratch::Folder folder_;
    struct checkpoint *checkpoint_ = nullptr;
    struct store *store_ = nullptr;
    struct model_plan plan_ = {};
    struct error error_ = {};
};

#endif

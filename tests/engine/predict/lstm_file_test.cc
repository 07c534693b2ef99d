#include "engine/predict/lstm_file.h"

#include <cmath>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/scratch.h"

namespace {

uint64_t fnv1a(const std::string &bytes, uint64_t hash = 0xCBF29CE484222325u)
{
    for (char byte : bytes)
        hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3u;
    return hash;
}

/* Makes the checksum right again, so that a change reaches the checks behind it. */
std::string sealed(std::string bytes)
{
    uint64_t sum = fnv1a(bytes.substr(LSTM_FILE_HEADER_BYTES), fnv1a(bytes.substr(0, 68)));
    std::memcpy(&bytes[68], &sum, sizeof sum);
    return bytes;
}

template <typename T> std::string with(std::string bytes, size_t at, T value)
{
    std::memcpy(&bytes[at], &value, sizeof value);
    return bytes;
}

class LstmFile : public testing::Test {
protected:
    void SetUp() override
    {
        struct lstm_sizes sizes = {2, 4, 3, 2, {1, 10}};
        ASSERT_EQ(lstm_net_open(&net, &sizes, 9, nullptr), STATUS_OK);
        path = folder.path("weights.lstm");
        ASSERT_EQ(lstm_file_write(net, path.c_str(), &error), STATUS_OK) << error.text;
        bytes = folder.read("weights.lstm");
    }
    void TearDown() override { lstm_net_close(net); }

    /* The sentence of a refusal. */
    std::string refusal(const std::string &of, enum status expected = STATUS_INVALID)
    {
        struct lstm_net *read = nullptr;
        struct error why = {};
        EXPECT_EQ(lstm_file_parse(&read, "w.lstm", of.data(), of.size(), &why), expected)
            << why.text;
        EXPECT_EQ(read, nullptr);
        lstm_net_close(read);
        return why.text;
    }

    scratch::Folder folder;
    struct lstm_net *net = nullptr;
    struct error error = {};
    std::string path, bytes;
};

TEST_F(LstmFile, ReadsWhatItWrote)
{
    struct lstm_net *read;
    ASSERT_EQ(lstm_file_read(&read, path.c_str(), &error), STATUS_OK) << error.text;
    EXPECT_EQ(std::memcmp(&read->sizes, &net->sizes, sizeof net->sizes), 0);
    ASSERT_EQ(read->count, net->count);
    EXPECT_EQ(std::memcmp(lstm_net_weights(read), lstm_net_weights(net),
                          net->count * sizeof(float)), 0);
    lstm_net_close(read);
    EXPECT_EQ(bytes.size(), LSTM_FILE_HEADER_BYTES + net->count * sizeof(float));
    EXPECT_EQ(bytes, sealed(bytes)) << "the checksum is what the header file says";
}

TEST_F(LstmFile, SizesComeFromTheHeaderAlone)
{
    struct lstm_sizes sizes;
    ASSERT_EQ(lstm_file_sizes(&sizes, path.c_str(), &error), STATUS_OK) << error.text;
    EXPECT_EQ(std::memcmp(&sizes, &net->sizes, sizeof sizes), 0);
    std::string spoilt = bytes;
    spoilt.back() ^= 1; /* only who reads the weights sees it */
    folder.write("w.lstm", spoilt);
    std::string other = folder.path("w.lstm");
    EXPECT_EQ(lstm_file_sizes(&sizes, other.c_str(), &error), STATUS_OK) << error.text;
    for (size_t count = 0; count < bytes.size(); count += 7) {
        folder.write("w.lstm", bytes.substr(0, count));
        ASSERT_EQ(lstm_file_sizes(&sizes, other.c_str(), &error), STATUS_INVALID) << count;
        EXPECT_EQ(std::string(error.text).find(other + ": "), 0u) << error.text;
    }
    folder.write("w.lstm", bytes + "x");
    EXPECT_EQ(lstm_file_sizes(&sizes, other.c_str(), &error), STATUS_INVALID);
    folder.write("w.lstm", with(bytes, 8, 2u));
    EXPECT_EQ(lstm_file_sizes(&sizes, other.c_str(), &error), STATUS_UNSUPPORTED);
    EXPECT_EQ(lstm_file_sizes(&sizes, "/nowhere/w", &error), STATUS_NOT_FOUND);
    EXPECT_EQ(lstm_file_sizes(&sizes, folder.path().c_str(), nullptr), STATUS_INVALID);
}

TEST_F(LstmFile, NamesTheFieldThatIsBroken)
{
    EXPECT_EQ(refusal(with(bytes, 0, 'X')),
              "w.lstm: magic: these are not the weights of a load forecast");
    EXPECT_EQ(refusal(with(bytes, 8, 2u), STATUS_UNSUPPORTED),
              "w.lstm: version is 2; this build reads 1");
    EXPECT_EQ(refusal(with(bytes, 12, 0u)), "w.lstm: layers is 0; it must be from 1 to 1024");
    EXPECT_EQ(refusal(with(bytes, 16, 5000u)),
              "w.lstm: experts is 5000; it must be from 1 to 4096");
    EXPECT_EQ(refusal(with(bytes, 20, 257u)), "w.lstm: units is 257; it must be from 1 to 256");
    EXPECT_EQ(refusal(with(bytes, 24, 9u)), "w.lstm: horizon_count is 9; it must be from 1 to 8");
    EXPECT_NE(refusal(with(bytes, 32, 1u)).find("w.lstm: horizons[1] is 1;"), std::string::npos);
    EXPECT_NE(refusal(with(bytes, 60, uint64_t{7})).find("w.lstm: weights is 7;"),
              std::string::npos);
    EXPECT_NE(refusal(bytes + "x").find("w.lstm: weights: "), std::string::npos);
    EXPECT_NE(refusal(with(bytes, 200, 1.5f)).find("w.lstm: checksum is "), std::string::npos);
    EXPECT_EQ(refusal(sealed(with(bytes, LSTM_FILE_HEADER_BYTES + 8, NAN))),
              "w.lstm: weights[2] is not a finite number");
}

TEST_F(LstmFile, RefusesEveryShorterFile)
{
    for (size_t length = 0; length < bytes.size(); length++)
        EXPECT_NE(refusal(bytes.substr(0, length)), "") << length;
}

TEST_F(LstmFile, RefusesEveryFlippedBit)
{
    for (size_t i = 0; i < bytes.size(); i++) {
        std::string broken = bytes;
        broken[i] = static_cast<char>(broken[i] ^ (1 << (i % 8)));
        struct lstm_net *read;
        EXPECT_NE(lstm_file_parse(&read, "w", broken.data(), broken.size(), nullptr), STATUS_OK)
            << i;
    }
}

TEST_F(LstmFile, SaysWhyAFileCannotBeOpenedOrWritten)
{
    struct lstm_net *read;
    std::string absent = folder.path("absent.lstm");
    EXPECT_EQ(lstm_file_read(&read, absent.c_str(), &error), STATUS_NOT_FOUND);
    EXPECT_EQ(std::string(error.text), absent + ": No such file or directory");
    error = {};
    EXPECT_EQ(lstm_file_read(&read, folder.path().c_str(), &error), STATUS_INVALID);
    EXPECT_EQ(std::string(error.text), folder.path() + ": not a regular file");
    error = {};
    std::string nowhere = folder.path("no/such/folder.lstm");
    EXPECT_EQ(lstm_file_write(net, nowhere.c_str(), &error), STATUS_IO);
    EXPECT_EQ(std::string(error.text), nowhere + ": cannot be written: No such file or directory");
}

TEST_F(LstmFile, AFailedWriteLeavesTheOldFile)
{
    ASSERT_EQ(lstm_file_write(net, path.c_str(), &error), STATUS_OK); /* replaces */
    EXPECT_EQ(folder.read("weights.lstm"), bytes);
    folder.write("taken/inside", "a folder cannot be replaced by a file");
    EXPECT_EQ(lstm_file_write(net, folder.path("taken").c_str(), &error), STATUS_IO);
    struct lstm_net *read;
    EXPECT_EQ(lstm_file_read(&read, folder.path("taken.part").c_str(), nullptr), STATUS_NOT_FOUND);
}

} // namespace

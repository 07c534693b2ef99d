#include "memory/budget.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/memory/toy_store.h"

namespace {

struct Parsed {
    const char *text;
    enum room_kind kind;
    double value;
};

TEST(RoomParse, GoodOnes)
{
    const Parsed table[] = {
        {"auto", ROOM_AUTO, 0},
        {"512", ROOM_PAGES, 512},
        {"0", ROOM_PAGES, 0},
        {"007", ROOM_PAGES, 7},
        {"25%", ROOM_PERCENT, 25},
        {"12.5%", ROOM_PERCENT, 12.5},
        {"100%", ROOM_PERCENT, 100},
        {"0%", ROOM_PERCENT, 0},
        {"4GiB", ROOM_BYTES, 4294967296.0},
        {"4 GiB", ROOM_BYTES, 4294967296.0},
        {"4gib", ROOM_BYTES, 4294967296.0},
        {"1500MB", ROOM_BYTES, 1.5e9},
        {"1.5MiB", ROOM_BYTES, 1572864},
        {"123B", ROOM_BYTES, 123},
        {"0B", ROOM_BYTES, 0},
        {"2kB", ROOM_BYTES, 2000},
        {"2KiB", ROOM_BYTES, 2048},
        {"3TB", ROOM_BYTES, 3e12},
        {"1TiB", ROOM_BYTES, 1099511627776.0},
        {"4294967295", ROOM_PAGES, 4294967295.0},
    };
    for (const Parsed &row : table) {
        SCOPED_TRACE(row.text);
        struct room room = {};
        struct error error = {};
        ASSERT_EQ(room_parse("--device-experts", row.text, &room, &error), STATUS_OK) << error.text;
        EXPECT_EQ(room.kind, row.kind);
        EXPECT_EQ((double)room.bytes, row.kind == ROOM_BYTES ? row.value : 0);
        EXPECT_EQ((double)room.pages, row.kind == ROOM_PAGES ? row.value : 0);
        EXPECT_EQ(room.percent, row.kind == ROOM_PERCENT ? row.value : 0);
    }
}

TEST(RoomParse, BadOnesNameFlagAndText)
{
    for (const char *text :
         {"", " ", "x", "-1", "+1", "1e3", "0x10", "inf", "nan", "1.5", "1.", ".5", ".5%", "1.%",
          "4G", "4M", "GiB", "%", "4GiBs", "4  GiB", "4GiB ", " 4GiB", "25 % ", "1,5MiB", "101%",
          "100.01%", "AUTO!", "auto ", "1 2", "4294967296", "99999999999999999999999",
          "8388608TiB", "99999999999999999999999999TB", "1%%", "\xc2\xbd"}) {
        SCOPED_TRACE(text);
        struct room room = {ROOM_PAGES, 1, 2, 3};
        struct error error = {};
        EXPECT_EQ(room_parse("--host-experts", text, &room, &error), STATUS_INVALID);
        EXPECT_EQ(room.pages, 2u);
        EXPECT_NE(std::string(error.text).find("--host-experts"), std::string::npos);
        EXPECT_NE(std::string(error.text).find(text), std::string::npos) << error.text;
    }
    struct room room;
    std::string longest(100000, '9');
    EXPECT_EQ(room_parse("--host-experts", longest.c_str(), &room, nullptr), STATUS_INVALID);
}

class BudgetSlots : public testing::Test {
protected:
    /* Slots of 8192, 12288 and 16384 bytes. */
    BudgetSlots() : toy_({10, 6, 3}) {}
    enum status share(const char *text, uint32_t least = 1, uint64_t auto_bytes = 0)
    {
        struct room room;
        error_ = {};
        EXPECT_EQ(room_parse("--device-experts", text, &room, &error_), STATUS_OK) << error_.text;
        return budget_slots(toy_.store, &room, auto_bytes, least, "--device-experts", &out_,
                            &error_);
    }
    std::vector<uint32_t> slots()
    {
        return {out_.of_class[0], out_.of_class[1], out_.of_class[2]};
    }
    uint64_t bytes() { return budget_slots_bytes(toy_.store, &out_); }
    ToyStore toy_;
    struct tier_slots out_ = {};
    struct error error_ = {};
};

using Slots = std::vector<uint32_t>;

TEST_F(BudgetSlots, TheToyIsAsExpected)
{
    ASSERT_EQ(store_classes(toy_.store), 3u);
    EXPECT_EQ(store_class_slot_bytes(toy_.store, 0), 8192u);
    EXPECT_EQ(store_class_slot_bytes(toy_.store, 1), 12288u);
    EXPECT_EQ(store_class_slot_bytes(toy_.store, 2), 16384u);
}

TEST_F(BudgetSlots, CountsAreExactForEveryN)
{
    for (uint32_t n = 3; n <= 25; n++) {
        ASSERT_EQ(share(std::to_string(n).c_str()), STATUS_OK) << error_.text;
        EXPECT_EQ(budget_slots_count(toy_.store, &out_), std::min(n, 19u));
        const uint32_t pages[] = {10, 6, 3};
        for (uint32_t c = 0; c < 3; c++) {
            EXPECT_GE(out_.of_class[c], 1u);
            EXPECT_LE(out_.of_class[c], pages[c]);
            /* Within one slot of the fair share, except where `least` lifts a class. */
            double fair = std::min(n, 19u) * pages[c] / 19.0;
            EXPECT_LT(out_.of_class[c], fair + 1.01);
            EXPECT_GT(out_.of_class[c], fair - 1.01);
        }
    }
}

TEST_F(BudgetSlots, LargestRemaindersWin)
{
    /* 8 of 19: 4.21, 2.53, 1.26 -> floors 4, 2, 1 and one more for the class of .53. */
    ASSERT_EQ(share("8"), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{4, 3, 1}));
    /* 5 of 19: 2.63, 1.58, 0.79 -> 2, 1, 0 and two more for .79 and .63. */
    ASSERT_EQ(share("5", 0), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{3, 1, 1}));
    ASSERT_EQ(share("1", 0), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{1, 0, 0}));
}

TEST_F(BudgetSlots, PercentIsOfThePages)
{
    ASSERT_EQ(share("100%"), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{10, 6, 3}));
    EXPECT_EQ(bytes(), store_total_slot_bytes(toy_.store));
    ASSERT_EQ(share("25%"), STATUS_OK); /* 4.75 -> 5 */
    EXPECT_EQ(budget_slots_count(toy_.store, &out_), 5u);
    ASSERT_EQ(share("0%", 0), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{0, 0, 0}));
}

TEST_F(BudgetSlots, BytesAreUsedAsFarAsTheyGo)
{
    for (uint64_t room = 40000; room < 230000; room += 777) {
        ASSERT_EQ(share((std::to_string(room) + "B").c_str()), STATUS_OK) << error_.text;
        EXPECT_LE(bytes(), room);
        uint64_t left = room - bytes();
        const uint32_t pages[] = {10, 6, 3};
        for (uint32_t c = 0; c < 3; c++) /* no slot that is still wanted would fit the rest */
            EXPECT_TRUE(out_.of_class[c] == pages[c] ||
                        store_class_slot_bytes(toy_.store, c) > left);
    }
    ASSERT_EQ(share("1TiB"), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{10, 6, 3}));
}

TEST_F(BudgetSlots, AutoTakesWhatThereIs)
{
    ASSERT_EQ(share("auto", 1, 100000), STATUS_OK);
    EXPECT_LE(bytes(), 100000u);
    EXPECT_GT(bytes(), 100000u - 8192u);
    ASSERT_EQ(share("auto", 1, UINT64_MAX), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{10, 6, 3}));
}

TEST_F(BudgetSlots, LeastIsKeptAndCappedByThePages)
{
    ASSERT_EQ(share("9", 3), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{3, 3, 3}));
    ASSERT_EQ(share("15", 5), STATUS_OK);
    EXPECT_EQ(out_.of_class[2], 3u);
    EXPECT_GE(out_.of_class[1], 5u);
    EXPECT_EQ(budget_slots_count(toy_.store, &out_), 15u);
}

TEST_F(BudgetSlots, TooLittleSaysWhatWouldDo)
{
    out_.of_class[0] = 77;
    for (const char *text : {"2", "1%", "30000B"}) {
        EXPECT_EQ(share(text), STATUS_INVALID);
        std::string sentence = error_.text;
        EXPECT_NE(sentence.find("--device-experts"), std::string::npos) << sentence;
        EXPECT_NE(sentence.find("at least 3 expert pages (1 of each page size): 36864B"),
                  std::string::npos) << sentence;
        EXPECT_EQ(out_.of_class[0], 77u);
    }
    /* What the sentence names does do. */
    EXPECT_EQ(share("36864B"), STATUS_OK);
    EXPECT_EQ(slots(), (Slots{1, 1, 1}));
    EXPECT_EQ(share("auto", 1, 36863), STATUS_INVALID);
}

TEST(Budget, TermsAndTotal)
{
    struct budget budget = {};
    EXPECT_EQ(budget_total(&budget), 0u);
    budget_add(&budget, "dense weights", nullptr, 3 << 20);
    budget_add(&budget, "expert ring", "--device-experts", 5 << 20);
    budget_add(&budget, "KV cache", "--max-model-len", 1 << 20);
    EXPECT_EQ(budget_total(&budget), 9u << 20);
    std::vector<std::string> lines;
    auto collect = [](const char *text, void *arg) {
        static_cast<std::vector<std::string> *>(arg)->push_back(text);
    };
    budget_print(&budget, collect, &lines);
    ASSERT_EQ(lines.size(), 4u);
    EXPECT_NE(lines[0].find("dense weights"), std::string::npos);
    EXPECT_NE(lines[1].find("5.0 MiB  --device-experts"), std::string::npos) << lines[1];
    EXPECT_NE(lines[3].find("9.0 MiB"), std::string::npos);
    EXPECT_EQ(lines[3].find("available"), std::string::npos);
    budget.available = 16 << 20;
    lines.clear();
    budget_print(&budget, collect, &lines);
    EXPECT_NE(lines[3].find("of 16.0 MiB available"), std::string::npos) << lines[3];
    EXPECT_EQ(lines.size(), 4u);
    budget.why = "limited by somebody";
    lines.clear();
    budget_print(&budget, collect, &lines);
    ASSERT_EQ(lines.size(), 5u);
    EXPECT_EQ(lines[4], "limited by somebody");
}

TEST(Budget, TheReserveIsAPartOfTheRoom)
{
    EXPECT_EQ(budget_reserve(0), 0u);
    EXPECT_EQ(budget_reserve(100), 50u);
    EXPECT_EQ(budget_reserve(100 << 20), 50u << 20);
    EXPECT_EQ(budget_reserve(1 << 30), 64u << 20);
    EXPECT_EQ(budget_reserve((uint64_t)16 << 30), 512u << 20);
    EXPECT_EQ(budget_reserve((uint64_t)1 << 40), 1u << 30);
}

TEST(Budget, CheckNamesTheLargestTermThatCanShrink)
{
    struct budget budget = {};
    struct error error = {};
    budget_add(&budget, "dense weights", nullptr, 300);
    budget_add(&budget, "expert ring", "--device-experts", 200);
    budget_add(&budget, "KV cache", "--max-model-len", 100);
    EXPECT_EQ(budget_check(&budget, &error), STATUS_OK); /* unknown: nothing is refused */
    budget.available = 600;
    EXPECT_EQ(budget_check(&budget, &error), STATUS_OK);
    budget.available = 599;
    EXPECT_EQ(budget_check(&budget, &error), STATUS_NO_MEMORY);
    EXPECT_NE(std::string(error.text).find("600 bytes"), std::string::npos) << error.text;
    EXPECT_NE(std::string(error.text).find("lower --device-experts"), std::string::npos);
    EXPECT_NE(std::string(error.text).find("200 bytes"), std::string::npos);
    budget.terms = 1;
    budget.available = 10;
    error = {};
    EXPECT_EQ(budget_check(&budget, &error), STATUS_NO_MEMORY);
    EXPECT_NE(std::string(error.text).find("300 bytes"), std::string::npos) << error.text;
}

TEST(Budget, TotalsSaturate)
{
    struct budget budget = {};
    budget_add(&budget, "a", nullptr, UINT64_MAX);
    budget_add(&budget, "b", "--b", 2);
    EXPECT_EQ(budget_total(&budget), UINT64_MAX);
    budget.available = 1 << 30;
    EXPECT_EQ(budget_check(&budget, nullptr), STATUS_NO_MEMORY);
}

TEST(Budget, HostAvailableIsKnownHere)
{
    struct budget_host_room room;
    budget_host(&room);
    EXPECT_GT(room.available, 0u);
    EXPECT_GT(room.reserve, 0u);
    EXPECT_NE(std::string(room.why).find(" kept free"), std::string::npos) << room.why;
    EXPECT_GT(budget_host_available(), 0u);
}

} // namespace

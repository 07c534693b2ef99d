/* Finding filters. */
#include "engine/template/filters.h"

#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Filters, AllTablesAreLookedInto)
{
    for (const char *name :
         {"trim", "tojson", "int", "length", "sort", "items", "map", "rejectattr"})
        EXPECT_STREQ(name, filter_find(words(name))->name);
    for (const char *name : {"", "tri", "trimm", "wordcount"})
        EXPECT_EQ(nullptr, filter_find(words(name)));
}

} // namespace

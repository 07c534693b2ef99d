/* An io whose requests end when the test says so, in the order it says. */
#ifndef MOERING_TESTS_MEMORY_FAKE_IO_H
#define MOERING_TESTS_MEMORY_FAKE_IO_H

#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <vector>

#include "memory/io.h"

struct FakeIo {
    struct io io = {&ops};
    std::vector<io_request> submitted; /* all, in order */
    std::vector<page_id> raised;       /* all, in order */
    std::deque<io_request> under_way;
    std::deque<io_done> ended;
    size_t most_under_way = 0;
    bool close_seen = false;
    bool end_at_poll = false; /* a poll that may wait ends the oldest request by itself */

    /* Ends the request for `page`: reads it for real, or fails it. */
    void end(page_id page, int cause = 0)
    {
        for (size_t i = 0; i < under_way.size(); i++)
            if (under_way[i].page == page) {
                io_done done = read(under_way[i]);
                if (cause) {
                    done.cause = cause;
                    done.bytes = 0;
                }
                ended.push_back(done);
                under_way.erase(under_way.begin() + (long)i);
                return;
            }
        abort(); /* the test ends what was never submitted */
    }
    std::vector<page_id> order() const
    {
        std::vector<page_id> pages;
        for (const io_request &request : submitted)
            pages.push_back(request.page);
        return pages;
    }

private:
    static io_done read(const io_request &request)
    {
        struct io_files files = {};
        struct io_reading reading = {};
        if (io_files_open(&files, request.store, false, nullptr) != STATUS_OK)
            abort();
        std::vector<uint8_t> stage(io_run_stage_bytes(&files));
        io_reading_begin(&reading, &request, &files, stage.data());
        io_read(&reading, pread);
        io_files_close(&files);
        return reading.done;
    }
    static FakeIo *self(struct io *io) { return reinterpret_cast<FakeIo *>(io); }
    static void submit(struct io *io, const struct io_request *request)
    {
        self(io)->submitted.push_back(*request);
        self(io)->under_way.push_back(*request);
        if (self(io)->under_way.size() > self(io)->most_under_way)
            self(io)->most_under_way = self(io)->under_way.size();
    }
    static void raise(struct io *io, uint32_t tag)
    {
        for (io_request &request : self(io)->under_way)
            if (request.tag == tag) {
                if (request.demand)
                    abort(); /* a demand is not raised again */
                request.demand = true;
                self(io)->raised.push_back(request.page);
            }
    }
    static bool poll(struct io *io, struct io_done *done, uint64_t wait_ns)
    {
        FakeIo *fake = self(io);
        if (fake->ended.empty() && fake->end_at_poll && wait_ns > 0 && !fake->under_way.empty())
            fake->end(fake->under_way.front().page);
        if (fake->ended.empty())
            return false;
        *done = fake->ended.front();
        fake->ended.pop_front();
        return true;
    }
    static void close(struct io *io) { self(io)->close_seen = true; }
    static constexpr struct io_ops ops = {"fake", submit, raise, poll, close};
};

#endif

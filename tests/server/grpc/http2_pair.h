/* One server connection of http2.c and an nghttp2 client, joined by a pair of bufferevents: no
 * sockets and no gRPC. The handler writes down what it hears. */
#ifndef MOERING_TESTS_SERVER_GRPC_HTTP2_PAIR_H
#define MOERING_TESTS_SERVER_GRPC_HTTP2_PAIR_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "memory/base/clock.h"
#include "server/grpc/http2.h"

namespace wire {

class Pair {
  public:
    explicit Pair(const std::function<void(http2_limits *)> &adjust = nullptr, bool greet = true)
    {
        base_ = event_base_new();
        http2_limits limits = {};
        limits.header_bytes_max = 16384;
        limits.concurrent_streams_max = 100;
        limits.keepalive_timeout_s = 20;
        limits.ping_strikes_max = 100;
        if (adjust)
            adjust(&limits);
        EXPECT_EQ(http2_open(&http2_, base_, &kHandler, &limits), STATUS_OK);
        bufferevent *ends[2];
        EXPECT_EQ(bufferevent_pair_new(base_, BEV_OPT_DEFER_CALLBACKS, ends), 0);
        end_ = ends[1];
        bufferevent_enable(end_, EV_READ | EV_WRITE);
        EXPECT_EQ(http2_connection_open(&connection, http2_, ends[0], this), STATUS_OK);

        nghttp2_session_callbacks *callbacks;
        nghttp2_option *option;
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_option_new(&option);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
        nghttp2_session_client_new2(&client, callbacks, this, option);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_option_del(option);
        if (greet)
            nghttp2_submit_settings(client, 0, nullptr, 0);
    }
    ~Pair()
    {
        if (connection)
            http2_connection_close(connection, "over");
        http2_close(http2_);
        bufferevent_free(end_);
        nghttp2_session_del(client);
        event_base_loop(base_, EVLOOP_NONBLOCK); /* deferred frees */
        event_base_free(base_);
    }
    Pair(const Pair &) = delete;
    Pair &operator=(const Pair &) = delete;

    void Request(const std::vector<std::pair<std::string, std::string>> &fields,
                 const std::string &body)
    {
        static const std::string authority = ":authority"; /* required, and in no log */
        std::vector<nghttp2_nv> nv = {{(uint8_t *)authority.data(), (uint8_t *)"t",
                                       authority.size(), 1, 0}};
        for (auto &[name, value] : fields)
            nv.push_back({(uint8_t *)name.data(), (uint8_t *)value.data(), name.size(),
                          value.size(), 0});
        nghttp2_data_provider provider = {{}, OnRead};
        int32_t id = nghttp2_submit_request(client, nullptr, nv.data(), nv.size(),
                                            body.empty() ? nullptr : &provider, nullptr);
        bodies_[id] = body;
    }
    void OpenWindows(int32_t id, int32_t bytes)
    {
        nghttp2_submit_window_update(client, 0, 0, bytes);
        nghttp2_submit_window_update(client, 0, id, bytes);
    }
    bool Run(const std::function<bool()> &done, double seconds = 5)
    {
        uint64_t end = clock_now_ns() + static_cast<uint64_t>(seconds * 1e9);
        while (!done()) {
            if (clock_now_ns() > end)
                return false;
            const uint8_t *bytes;
            ssize_t n;
            while ((n = nghttp2_session_mem_send(client, &bytes)) > 0)
                bufferevent_write(end_, bytes, static_cast<size_t>(n));
            event_base_loop(base_, EVLOOP_NONBLOCK);
            evbuffer *input = bufferevent_get_input(end_);
            std::vector<uint8_t> got(evbuffer_get_length(input));
            evbuffer_remove(input, got.data(), got.size());
            if (!got.empty())
                nghttp2_session_mem_recv(client, got.data(), got.size());
            usleep(100);
        }
        return true;
    }
    /* Lets everything come to rest. */
    void Settle()
    {
        (void)Run([] { return false; }, 0.05);
    }

    http2_connection *connection = nullptr;
    nghttp2_session *client = nullptr;
    /* what the server's handler heard */
    std::string log, lost;
    std::vector<http2_stream *> streams;
    size_t body_bytes = 0;
    int ended = 0, closed = 0, writable = 0;
    bool complete = false;
    /* what the client got */
    std::string received;
    int goaway = -1, pings = 0;
    uint32_t error = 0;

  private:
    static Pair *Self(void *user) { return static_cast<Pair *>(user); }

    static void *Begin(void *user, http2_stream *stream)
    {
        Self(user)->log += "begin ";
        Self(user)->streams.push_back(stream);
        return user;
    }
    static void Field(void *user, const http2_field *field)
    {
        std::string name(field->name, field->name_bytes);
        if (name != ":authority")
            Self(user)->log += name + "=" + std::string(field->value, field->value_bytes) + " ";
    }
    static void Headers(void *user, bool too_large)
    {
        Self(user)->log += too_large ? "too_large " : "headers ";
    }
    static void Data(void *user, const uint8_t *bytes, size_t size)
    {
        Self(user)->log +=
            "data=" + std::string(reinterpret_cast<const char *>(bytes), size) + " ";
        Self(user)->body_bytes += size;
    }
    static void End(void *user)
    {
        Self(user)->log += "end ";
        Self(user)->ended++;
    }
    static void Writable(void *user) { Self(user)->writable++; }
    static void Closed(void *user, bool complete)
    {
        Self(user)->closed++;
        Self(user)->complete = complete;
    }
    static void ConnectionClosed(void *user, const char *reason)
    {
        Self(user)->lost = reason;
        Self(user)->connection = nullptr;
    }
    static constexpr http2_handler kHandler = {Begin, Field,    Headers, Data,
                                               End,   Writable, Closed,  ConnectionClosed};

    static int OnHeader(nghttp2_session *, const nghttp2_frame *, const uint8_t *name, size_t,
                        const uint8_t *value, size_t, uint8_t, void *user)
    {
        Self(user)->received += std::string(reinterpret_cast<const char *>(name)) + "=" +
                                reinterpret_cast<const char *>(value) + " ";
        return 0;
    }
    static int OnData(nghttp2_session *, uint8_t, int32_t, const uint8_t *bytes, size_t size,
                      void *user)
    {
        Self(user)->received.append(reinterpret_cast<const char *>(bytes), size);
        return 0;
    }
    static int OnFrame(nghttp2_session *, const nghttp2_frame *frame, void *user)
    {
        if (frame->hd.type == NGHTTP2_GOAWAY)
            Self(user)->goaway = static_cast<int>(frame->goaway.error_code);
        if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
            Self(user)->pings++;
        return 0;
    }
    static int OnClose(nghttp2_session *, int32_t, uint32_t error, void *user)
    {
        Self(user)->error = error;
        return 0;
    }
    static ssize_t OnRead(nghttp2_session *, int32_t id, uint8_t *buffer, size_t size,
                          uint32_t *flags, nghttp2_data_source *, void *user)
    {
        std::string &body = Self(user)->bodies_[id];
        size_t n = body.copy(reinterpret_cast<char *>(buffer), size);
        body.erase(0, n);
        if (body.empty())
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        return static_cast<ssize_t>(n);
    }

    event_base *base_ = nullptr;
    http2 *http2_ = nullptr;
    bufferevent *end_ = nullptr;
    std::map<int32_t, std::string> bodies_;
};

} // namespace wire

#endif

/* A gRPC server and its client in one thread, for the tests of server/: the client is an nghttp2
 * session over a blocking-free socket, and Run turns the event loop and the client by turns. */
#ifndef MOERING_TESTS_SERVER_WIRE_CLIENT_H
#define MOERING_TESTS_SERVER_WIRE_CLIENT_H

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "memory/base/clock.h"
#include "server/grpc/grpc.h"
#include "server/grpc/grpc_message.h"

namespace wire {

using Fields = std::vector<std::pair<std::string, std::string>>;

inline std::string Framed(const std::string &payload)
{
    uint8_t prefix[GRPC_MESSAGE_PREFIX_BYTES];
    grpc_message_prefix(prefix, false, payload.size());
    return std::string(reinterpret_cast<char *>(prefix), sizeof prefix) + payload;
}

struct Answer {
    std::map<std::string, std::string> fields; /* headers and trailers together */
    std::string data;
    bool ended = false;  /* END_STREAM came */
    bool closed = false; /* no longer in the session */
    uint32_t error = 0;  /* of RST_STREAM */

    int status() const
    {
        auto found = fields.find("grpc-status");
        return found == fields.end() ? -1 : std::stoi(found->second);
    }
    std::vector<std::string> messages() const
    {
        std::vector<std::string> out;
        for (size_t at = 0; at + 5 <= data.size();) {
            auto p = reinterpret_cast<const uint8_t *>(data.data() + at);
            size_t size = size_t{p[1]} << 24 | size_t{p[2]} << 16 | size_t{p[3]} << 8 | p[4];
            out.push_back(data.substr(at + 5, size));
            at += 5 + size;
        }
        return out;
    }
};

class Client {
  public:
    /* `windows`: give bytes back to the server's windows as they come. */
    explicit Client(uint16_t port, bool windows = true)
    {
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        fcntl(fd_, F_SETFL, O_NONBLOCK);

        nghttp2_session_callbacks *callbacks;
        nghttp2_option *option;
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_option_new(&option);
        nghttp2_option_set_no_auto_window_update(option, windows ? 0 : 1);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
        nghttp2_session_client_new2(&session_, callbacks, this, option);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_option_del(option);
        nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
    }
    ~Client()
    {
        nghttp2_session_del(session_);
        Disconnect();
    }
    Client(const Client &) = delete;
    Client &operator=(const Client &) = delete;

    void Disconnect()
    {
        if (fd_ >= 0)
            close(fd_);
        fd_ = -1;
    }

    /* A call whose body is `body`; more follows with Write unless `end`. */
    int32_t Call(const std::string &path, const std::string &body, bool end = true,
                 const Fields &extra = {}, const Fields &replace = {})
    {
        Fields fields = {{":method", "POST"}, {":scheme", "http"}, {":path", path},
                         {":authority", "test"}, {"te", "trailers"},
                         {"content-type", "application/grpc"}};
        for (auto &[name, value] : replace)
            for (auto &field : fields)
                if (field.first == name)
                    field.second = value;
        fields.insert(fields.end(), extra.begin(), extra.end());
        std::vector<nghttp2_nv> nv;
        for (auto &[name, value] : fields)
            nv.push_back({reinterpret_cast<uint8_t *>(&name[0]),
                          reinterpret_cast<uint8_t *>(&value[0]), name.size(), value.size(), 0});
        nghttp2_data_provider provider = {{}, OnRead};
        int32_t id = nghttp2_submit_request(session_, nullptr, nv.data(), nv.size(), &provider,
                                            nullptr);
        EXPECT_GT(id, 0);
        output_[id] = {body, end};
        answers_[id];
        return id;
    }
    void Write(int32_t id, const std::string &bytes, bool end = false)
    {
        output_[id].first += bytes;
        output_[id].second = end;
        nghttp2_session_resume_data(session_, id);
    }
    void Reset(int32_t id)
    {
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    }
    /* Opens the windows by what has come, for a client made with windows = false. */
    void Consume(int32_t id)
    {
        nghttp2_session_consume(session_, id, answers_[id].data.size() - consumed_[id]);
        consumed_[id] = answers_[id].data.size();
    }
    const Answer &answer(int32_t id) { return answers_[id]; }
    bool eof() const { return eof_; }
    const std::vector<std::pair<int32_t, uint32_t>> &goaways() const { return goaways_; }
    nghttp2_session *session() { return session_; }

    /* Sends and receives what there is now. */
    void Turn()
    {
        const uint8_t *bytes;
        ssize_t n;
        if (fd_ < 0)
            return;
        while ((n = nghttp2_session_mem_send(session_, &bytes)) > 0)
            pending_.append(reinterpret_cast<const char *>(bytes), static_cast<size_t>(n));
        if (!pending_.empty()) {
            n = send(fd_, pending_.data(), pending_.size(), MSG_NOSIGNAL);
            if (n > 0)
                pending_.erase(0, static_cast<size_t>(n));
        }
        std::vector<uint8_t> buffer(65536);
        while ((n = recv(fd_, buffer.data(), buffer.size(), 0)) > 0)
            if (nghttp2_session_mem_recv(session_, buffer.data(), static_cast<size_t>(n)) < 0)
                break;
        eof_ = eof_ || n == 0;
    }

  private:
    static Client *Self(void *user) { return static_cast<Client *>(user); }
    static int OnHeader(nghttp2_session *, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t,
                        void *user)
    {
        Self(user)->answers_[frame->hd.stream_id].fields[std::string(
            reinterpret_cast<const char *>(name), name_bytes)] =
            std::string(reinterpret_cast<const char *>(value), value_bytes);
        return 0;
    }
    static int OnData(nghttp2_session *, uint8_t, int32_t id, const uint8_t *bytes, size_t size,
                      void *user)
    {
        Self(user)->answers_[id].data.append(reinterpret_cast<const char *>(bytes), size);
        return 0;
    }
    static int OnFrame(nghttp2_session *, const nghttp2_frame *frame, void *user)
    {
        bool body = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
        if (body && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            Self(user)->answers_[frame->hd.stream_id].ended = true;
        if (frame->hd.type == NGHTTP2_GOAWAY)
            Self(user)->goaways_.emplace_back(frame->goaway.last_stream_id,
                                              frame->goaway.error_code);
        return 0;
    }
    static int OnClose(nghttp2_session *, int32_t id, uint32_t error, void *user)
    {
        Self(user)->answers_[id].closed = true;
        Self(user)->answers_[id].error = error;
        return 0;
    }
    static ssize_t OnRead(nghttp2_session *, int32_t id, uint8_t *buffer, size_t size,
                          uint32_t *flags, nghttp2_data_source *, void *user)
    {
        auto &[bytes, end] = Self(user)->output_[id];
        size_t n = std::min(size, bytes.size());
        memcpy(buffer, bytes.data(), n);
        bytes.erase(0, n);
        if (bytes.empty() && end)
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        else if (n == 0)
            return NGHTTP2_ERR_DEFERRED;
        return static_cast<ssize_t>(n);
    }

    int fd_ = -1;
    bool eof_ = false;
    nghttp2_session *session_ = nullptr;
    std::string pending_;
    std::map<int32_t, Answer> answers_;
    std::map<int32_t, size_t> consumed_;
    std::map<int32_t, std::pair<std::string, bool>> output_;
    std::vector<std::pair<int32_t, uint32_t>> goaways_;
};

/* A fixture with an event base and a server on a free port. */
class ServerTest : public testing::Test {
  protected:
    ServerTest()
    {
        base_ = event_base_new();
        grpc_limits_init(&limits_);
    }
    ~ServerTest() override { event_base_free(base_); }
    /* The server goes while what its handlers use is still there. */
    void TearDown() override
    {
        clients_.clear();
        grpc_server_close(server_);
        server_ = nullptr;
        Cleanup();
    }
    virtual void Cleanup() {}

    void Open(const std::vector<grpc_method> &methods)
    {
        grpc_server_config config = {};
        config.base = base_;
        config.host = "127.0.0.1";
        config.limits = limits_;
        struct error error = {};
        ASSERT_EQ(grpc_server_open(&server_, &config, methods.data(), methods.size(), &error),
                  STATUS_OK) << error.text;
    }
    Client &Connect(bool windows = true)
    {
        clients_.push_back(std::make_unique<Client>(grpc_server_port(server_), windows));
        return *clients_.back();
    }
    /* Turns everything until `done` or the time is over; returns whether it was done. */
    bool Run(const std::function<bool()> &done, double seconds = 60)
    {
        uint64_t end = clock_now_ns() + static_cast<uint64_t>(seconds * 1e9);
        while (!done()) {
            if (clock_now_ns() > end)
                return false;
            for (auto &client : clients_)
                client->Turn();
            event_base_loop(base_, EVLOOP_NONBLOCK);
            usleep(200);
        }
        return true;
    }
    /* A whole unary call. */
    Answer Unary(Client &client, const std::string &path, const std::string &message,
                 const Fields &extra = {}, const Fields &replace = {})
    {
        int32_t id = client.Call(path, Framed(message), true, extra, replace);
        EXPECT_TRUE(Run([&] { return client.answer(id).closed; })) << path;
        return client.answer(id);
    }

    struct event_base *base_ = nullptr;
    struct grpc_limits limits_;
    struct grpc_server *server_ = nullptr;
    std::vector<std::unique_ptr<Client>> clients_;
};

} // namespace wire

#endif

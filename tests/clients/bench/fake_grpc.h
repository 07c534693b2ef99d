/* A moering.v1 server with delays that the test knows: one thread, nghttp2, poll. Answers GetModel
 * and Generate; counts connections and streams. */
#ifndef MOERING_TESTS_CLIENTS_BENCH_FAKE_GRPC_H
#define MOERING_TESTS_CLIENTS_BENCH_FAKE_GRPC_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <moering/v1/moering.pb-c.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "clients/c/now.h"

namespace fake {

struct GrpcScript {
    double first_ms = 0, gap_ms = 0;
    int chunks = 4;
    int status = 0;          /* of the trailers */
    std::string text;        /* grpc-message */
    bool finish = true;      /* the last chunk carries a finish reason and usage */
    bool nonsense = false;   /* a message that is no GenerateChunk */
    bool hang_up = false;    /* the connection breaks instead of an answer */
    size_t frame_bytes = 0;  /* of a DATA frame at most; 0: as nghttp2 likes */
};

class Grpc {
public:
    using Answer = std::function<GrpcScript(int index, const std::string &message)>;

    Grpc(Answer answer, uint32_t streams_max = 100) : answer_(answer), streams_max_(streams_max)
    {
        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (bind(listener_, (sockaddr *)&address, size) != 0 || listen(listener_, 100) != 0 ||
            getsockname(listener_, (sockaddr *)&address, &size) != 0)
            abort();
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { run(); });
    }
    ~Grpc()
    {
        stopping_ = true;
        thread_.join();
        close(listener_);
    }
    std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

    std::atomic<int> connections{0}, resets{0}, most_streams{0};
    std::string authorization; /* of the newest call; read it after the run */

private:
    struct Call {
        std::string path, request, output; /* output: framed messages not sent yet */
        GrpcScript script;
        uint64_t next_ns = 0;
        int sent = 0;
        bool started = false, all_queued = false, model = false;
    };
    struct Connection {
        Grpc *owner;
        int fd;
        nghttp2_session *session = nullptr;
        std::map<int32_t, Call> calls;
        std::string output;
        bool broken = false;
    };

    static std::string framed(const ProtobufCMessage *message)
    {
        size_t size = protobuf_c_message_get_packed_size(message);
        std::string out(5 + size, '\0');
        for (int i = 0; i < 4; i++)
            out[1 + i] = (char)(size >> (24 - 8 * i));
        protobuf_c_message_pack(message, (uint8_t *)&out[5]);
        return out;
    }

    static std::string chunk(int i, bool last, const GrpcScript &s)
    {
        Moering__V1__GenerateChunk c = MOERING__V1__GENERATE_CHUNK__INIT;
        Moering__V1__Usage usage = MOERING__V1__USAGE__INIT;
        Moering__V1__ExpertUsage experts = MOERING__V1__EXPERT_USAGE__INIT;
        std::string text = "t" + std::to_string(i) + " ";
        uint32_t token = (uint32_t)i;
        c.text.data = (uint8_t *)&text[0];
        c.text.len = text.size();
        c.tokens = &token;
        c.n_tokens = 1;
        if (last && s.finish) {
            experts.hits = 90;
            experts.misses = 10;
            experts.bytes = 4000;
            experts.stall_ms = 8;
            usage.prompt_tokens = 7;
            usage.completion_tokens = (uint32_t)s.chunks;
            usage.experts = &experts;
            c.usage = &usage;
            c.finish_reason = MOERING__V1__FINISH_REASON__FINISH_REASON_LENGTH;
        }
        return framed(&c.base);
    }

    static std::string model()
    {
        Moering__V1__GetModelResponse m = MOERING__V1__GET_MODEL_RESPONSE__INIT;
        m.name = const_cast<char *>("toy");
        m.vocab_size = 50;
        return framed(&m.base);
    }

    /* ---- nghttp2 ---- */

    static ssize_t read_output(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                               uint32_t *flags, nghttp2_data_source *, void *user)
    {
        Call &call = ((Connection *)user)->calls[stream];
        size_t n = std::min(room, call.output.size());
        if (call.script.frame_bytes && n > call.script.frame_bytes)
            n = call.script.frame_bytes;
        memcpy(out, call.output.data(), n);
        call.output.erase(0, n);
        if (call.output.empty() && !call.all_queued)
            return n ? (ssize_t)n : (ssize_t)NGHTTP2_ERR_DEFERRED;
        if (call.output.empty()) {
            std::string status = std::to_string(call.script.status);
            const nghttp2_nv trailers[] = {nv("grpc-status", status),
                                           nv("grpc-message", call.script.text)};
            *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(session, stream, trailers, 2);
        }
        return (ssize_t)n;
    }

    static nghttp2_nv nv(const char *name, const std::string &value)
    {
        return {(uint8_t *)name, (uint8_t *)value.data(), strlen(name), value.size(),
                NGHTTP2_NV_FLAG_NONE};
    }

    static int on_header(nghttp2_session *, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t,
                         void *user)
    {
        Connection *c = (Connection *)user;
        std::string key((const char *)name, name_bytes), text((const char *)value, value_bytes);
        if (key == ":path")
            c->calls[frame->hd.stream_id].path = text;
        if (key == "authorization")
            c->owner->authorization = text;
        return 0;
    }

    static int on_data(nghttp2_session *, uint8_t, int32_t stream, const uint8_t *data, size_t size,
                       void *user)
    {
        ((Connection *)user)->calls[stream].request.append((const char *)data, size);
        return 0;
    }

    static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
    {
        Connection *c = (Connection *)user;
        if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || frame->hd.stream_id == 0)
            return 0;
        Call &call = c->calls[frame->hd.stream_id];
        call.model = call.path.find("GetModel") != std::string::npos;
        if (!call.model)
            call.script = c->owner->answer_(c->owner->index_++, call.request.substr(5));
        if (call.script.hang_up)
            c->broken = true;
        if (call.script.nonsense)
            call.output = std::string("\0\0\0\0\2\xff\xff", 7);
        call.started = true;
        call.next_ns = now_ns() + (uint64_t)(call.script.first_ms * 1e6);
        const std::string ok = "200", type = "application/grpc";
        const nghttp2_nv head[] = {nv(":status", ok), nv("content-type", type)};
        nghttp2_data_provider body = {};
        body.read_callback = read_output;
        nghttp2_submit_response(session, frame->hd.stream_id, head, 2, &body);
        int streams = (int)c->calls.size();
        if (streams > c->owner->most_streams)
            c->owner->most_streams = streams;
        return 0;
    }

    static int on_close(nghttp2_session *, int32_t stream, uint32_t error, void *user)
    {
        Connection *c = (Connection *)user;
        c->owner->resets += error == NGHTTP2_CANCEL;
        c->calls.erase(stream);
        return 0;
    }

    /* ---- sockets ---- */

    void add(int fd)
    {
        auto c = std::make_unique<Connection>();
        nghttp2_session_callbacks *callbacks;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->owner = this;
        c->fd = fd;
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        nghttp2_session_server_new(&c->session, callbacks, c.get());
        nghttp2_session_callbacks_del(callbacks);
        const nghttp2_settings_entry most = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams_max_};
        nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &most, 1);
        all_.push_back(std::move(c));
        connections++;
    }

    /* Queues the chunks that are due. */
    void advance(Connection *c)
    {
        for (auto &entry : c->calls) {
            Call &call = entry.second;
            const GrpcScript &s = call.script;
            while (call.started && !call.all_queued && now_ns() >= call.next_ns) {
                if (call.model) {
                    call.output += model();
                    call.all_queued = true;
                } else {
                    bool last = call.sent + 1 >= s.chunks;
                    if (s.chunks)
                        call.output += chunk(call.sent, last, s);
                    call.sent++;
                    call.all_queued = last;
                    call.next_ns += (uint64_t)(s.gap_ms * 1e6);
                }
                nghttp2_session_resume_data(c->session, entry.first);
            }
        }
        const uint8_t *bytes;
        ssize_t n;
        while ((n = nghttp2_session_mem_send(c->session, &bytes)) > 0)
            c->output.append((const char *)bytes, (size_t)n);
        if (!c->output.empty()) {
            n = send(c->fd, c->output.data(), c->output.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n > 0)
                c->output.erase(0, (size_t)n);
        }
    }

    void read(Connection *c)
    {
        uint8_t bytes[65536];
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n > 0 && nghttp2_session_mem_recv(c->session, bytes, (size_t)n) != n) ||
            (n < 0 && errno != EAGAIN))
            c->broken = true;
    }

    void run()
    {
        while (!stopping_) {
            std::vector<pollfd> fds = {{listener_, POLLIN, 0}};
            for (auto &c : all_)
                fds.push_back({c->fd, POLLIN, 0});
            timespec patience = {0, 200000};
            ppoll(fds.data(), fds.size(), &patience, nullptr);
            size_t count = all_.size();
            for (size_t i = 0; i < count; i++) {
                if (fds[i + 1].revents)
                    read(all_[i].get());
                if (!all_[i]->broken)
                    advance(all_[i].get());
            }
            for (size_t i = count; i-- > 0;)
                if (all_[i]->broken)
                    remove(i);
            int fd = fds[0].revents ? accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC) : -1;
            if (fd >= 0)
                add(fd);
        }
        while (!all_.empty())
            remove(all_.size() - 1);
    }

    void remove(size_t i)
    {
        nghttp2_session_del(all_[i]->session);
        close(all_[i]->fd);
        all_.erase(all_.begin() + (long)i);
    }

    Answer answer_;
    uint32_t streams_max_;
    int listener_, port_, index_ = 0;
    std::atomic<bool> stopping_{false};
    std::vector<std::unique_ptr<Connection>> all_;
    std::thread thread_;
};

} // namespace fake

#endif

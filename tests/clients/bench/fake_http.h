/* A server that speaks just enough of the OpenAI API, with delays that the test knows. A thread for
 * each connection; it notes when it wrote what, in the clock that the client measures with, so a
 * test can compare moments and not only durations. */
#ifndef MOERING_TESTS_CLIENTS_BENCH_FAKE_HTTP_H
#define MOERING_TESTS_CLIENTS_BENCH_FAKE_HTTP_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "clients/c/now.h"

namespace fake {

/* What is answered to one request. */
struct Script {
    double first_ms = 0, gap_ms = 0; /* before the first chunk, between chunks */
    int chunks = 4;
    int tokens = -1;                 /* in usage; -1: as many as chunks */
    int input_tokens = 7;
    bool usage = true;
    bool chat = false;
    bool done = true, finish = true; /* [DONE], a finish reason */
    bool close = false;              /* ends by closing, without a length */
    bool drop = false;               /* the connection breaks after the chunks */
    bool stale = false;              /* the connection's next request finds it closed */
    size_t piece = 0;                /* bytes in one write; 0: a chunk as a whole */
    int status = 200;
    std::string body;                /* of another status, or instead of the stream */
    std::string final_members;       /* put into the last chunk: ,"experts":{...} */
    std::string error_event;         /* instead of the end */
};

struct Exchange {
    std::string request;             /* head and body */
    uint64_t read_ns = 0;            /* it was there as a whole */
    std::vector<uint64_t> chunk_ns;  /* just before each content chunk was written */
};

class Http {
public:
    using Answer = std::function<Script(int index, const std::string &request)>;

    explicit Http(Answer answer) : answer_(answer)
    {
        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (bind(listener_, (sockaddr *)&address, size) != 0 || listen(listener_, 1024) != 0 ||
            getsockname(listener_, (sockaddr *)&address, &size) != 0)
            abort();
        port_ = ntohs(address.sin_port);
        accepter_ = std::thread([this] { accept_all(); });
    }

    ~Http()
    {
        stopping_ = true;
        accepter_.join();
        for (auto &t : threads_)
            t.join();
        close(listener_);
    }

    std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    std::string url() const { return "http://" + address(); }
    std::vector<Exchange> exchanges()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return exchanges_;
    }
    int connections() const { return connections_; }
    std::string metrics[2]; /* of the first and of later GET /metrics; "": 404 */

private:
    /* In pieces, so that a test can end. */
    void sleep_until(uint64_t ns)
    {
        while (!stopping_ && now_ns() < ns) {
            uint64_t at = std::min(ns, now_ns() + 50000000);
            timespec t = {(time_t)(at / 1000000000), (long)(at % 1000000000)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
        }
    }

    void accept_all()
    {
        while (!stopping_) {
            pollfd p = {listener_, POLLIN, 0};
            if (poll(&p, 1, 20) <= 0)
                continue;
            int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0)
                continue;
            int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            threads_.emplace_back([this, fd] { serve(fd); });
        }
    }

    /* False: the client has gone, or the test is over. */
    bool read_request(int fd, std::string *held, std::string *out)
    {
        for (;;) {
            size_t head = held->find("\r\n\r\n");
            if (head != std::string::npos) {
                size_t length = 0, at = held->find("Content-Length: ");
                if (at != std::string::npos && at < head)
                    length = strtoul(held->c_str() + at + 16, nullptr, 10);
                if (held->size() >= head + 4 + length) {
                    *out = held->substr(0, head + 4 + length);
                    held->erase(0, head + 4 + length);
                    return true;
                }
            }
            pollfd p = {fd, POLLIN, 0};
            while (poll(&p, 1, 20) == 0)
                if (stopping_)
                    return false;
            char bytes[16384];
            ssize_t n = recv(fd, bytes, sizeof bytes, 0);
            if (n <= 0)
                return false;
            held->append(bytes, (size_t)n);
        }
    }

    static bool send_all(int fd, const std::string &text, size_t piece)
    {
        for (size_t at = 0; at < text.size();) {
            size_t want = piece && piece < text.size() - at ? piece : text.size() - at;
            ssize_t n = send(fd, text.data() + at, want, MSG_NOSIGNAL);
            if (n <= 0)
                return false;
            at += (size_t)n;
        }
        return true;
    }

    static bool send_part(int fd, const Script &s, const std::string &text)
    {
        char size[32];
        snprintf(size, sizeof size, "%zx\r\n", text.size());
        return send_all(fd, s.close ? text : size + text + "\r\n", s.piece);
    }

    static bool send_whole(int fd, int status, const std::string &body)
    {
        return send_all(fd, "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " +
                                std::to_string(body.size()) + "\r\n\r\n" + body, 0);
    }

    static std::string chunk_text(const Script &s, int i)
    {
        std::string text = "t" + std::to_string(i) + " ";
        if (s.chat)
            return "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + text +
                   "\"},\"finish_reason\":null}]}\n\n";
        return "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":"
               "\"toy\",\"choices\":[{\"index\":0,\"text\":\"" + text +
               "\",\"logprobs\":null,\"finish_reason\":null}]}\n\n";
    }

    static std::string ending(const Script &s)
    {
        std::string out;
        if (!s.error_event.empty())
            return "data: " + s.error_event + "\n\n";
        if (s.finish && s.chat)
            out += "data: {\"choices\":[{\"index\":0,\"delta\":{},"
                   "\"finish_reason\":\"length\"}]}\n\n";
        else if (s.finish)
            out += "data: {\"choices\":[{\"index\":0,\"text\":\"\","
                   "\"finish_reason\":\"length\"}]}\n\n";
        int tokens = s.tokens < 0 ? s.chunks : s.tokens;
        if (s.usage)
            out += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":" +
                   std::to_string(s.input_tokens) + ",\"completion_tokens\":" +
                   std::to_string(tokens) + ",\"total_tokens\":0}" + s.final_members + "}\n\n";
        if (s.done)
            out += "data: [DONE]\n\n";
        return out;
    }

    /* False: close the connection. */
    bool stream(int fd, const Script &s, int index)
    {
        uint64_t start = now_ns();
        std::string head = std::string("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n") +
                           (s.close ? "Connection: close\r\n\r\n"
                                    : "Transfer-Encoding: chunked\r\n\r\n");
        if (!send_all(fd, head, s.piece))
            return false;
        if (s.chat && !send_part(fd, s, "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":"
                                        "\"assistant\",\"content\":\"\"}}]}\n\n"))
            return false;
        for (int i = 0; i < s.chunks; i++) {
            sleep_until(start + (uint64_t)((s.first_ms + i * s.gap_ms) * 1e6));
            {
                std::lock_guard<std::mutex> lock(mutex_);
                exchanges_[index].chunk_ns.push_back(now_ns());
            }
            if (stopping_ || !send_part(fd, s, chunk_text(s, i)))
                return false;
        }
        if (s.drop)
            return false;
        std::string end = ending(s);
        if (!end.empty() && !send_part(fd, s, end))
            return false;
        return !s.close && send_all(fd, "0\r\n\r\n", s.piece);
    }

    void serve(int fd)
    {
        std::string held, request;
        bool stale = false;
        connections_++;
        while (read_request(fd, &held, &request) && !stale) {
            if (request.rfind("GET /v1/models", 0) == 0) {
                send_whole(fd, 200, "{\"object\":\"list\",\"data\":[{\"id\":\"org/toy\"}]}");
                continue;
            }
            if (request.rfind("GET /metrics", 0) == 0) {
                const std::string &page = metrics[scrapes_++ > 0];
                send_whole(fd, page.empty() ? 404 : 200, page);
                continue;
            }
            int index;
            {
                std::lock_guard<std::mutex> lock(mutex_);
                index = (int)exchanges_.size();
                exchanges_.push_back({request, now_ns(), {}});
            }
            Script s = answer_(index, request);
            stale = s.stale;
            bool plain = s.status != 200 || !s.body.empty();
            if (!(plain ? send_whole(fd, s.status, s.body) : stream(fd, s, index)))
                break;
        }
        close(fd);
    }

    Answer answer_;
    int listener_, port_;
    std::atomic<bool> stopping_{false};
    std::atomic<int> connections_{0}, scrapes_{0};
    std::thread accepter_;
    std::vector<std::thread> threads_; /* the accepter's until it has ended */
    std::mutex mutex_;
    std::vector<Exchange> exchanges_;
};

} // namespace fake

#endif

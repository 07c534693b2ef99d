/* An HTTP server and its clients in one thread: clients are non-blocking sockets, and Until
 * turns the event loop and the clients by turns. The routes below do what tests need of
 * handlers. */
#ifndef MOERING_TESTS_SERVER_HTTP_HTTP_FIXTURE_H
#define MOERING_TESTS_SERVER_HTTP_HTTP_FIXTURE_H

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "memory/base/clock.h"
#include "server/http/http.h"
#include "server/http/http_error.h"

namespace http_test
{

constexpr uint64_t kSecondNs = 1000000000;

struct Answer {
    int code = 0;
    std::string head, body;
    bool chunked = false;

    std::string Header(const std::string &name) const
    {
        for (size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at)) {
            at += 2;
            if (strncasecmp(head.c_str() + at, (name + ":").c_str(), name.size() + 1) == 0) {
                size_t begin = head.find_first_not_of(' ', at + name.size() + 1);
                return head.substr(begin, head.find("\r\n", at) - begin);
            }
        }
        return "";
    }
    bool Has(const std::string &name) const
    {
        return head.find("\r\n" + name + ":") != std::string::npos;
    }
};

class Client {
  public:
    explicit Client(uint16_t port, int receive_bytes = 0)
    {
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (receive_bytes)
            setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
        EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        int on = 1;
        setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(fd_, F_SETFL, O_NONBLOCK);
    }
    ~Client() { Close(); }
    Client(const Client &) = delete;
    Client &operator=(const Client &) = delete;

    Client &Send(const std::string &text)
    {
        unsent_ += text;
        Turn();
        return *this;
    }
    void Turn()
    {
        if (fd_ < 0)
            return;
        while (!unsent_.empty()) {
            ssize_t n = send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
            if (n <= 0)
                break;
            unsent_.erase(0, static_cast<size_t>(n));
        }
        char buffer[65536];
        while (reads) {
            ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
            if (n > 0)
                received.append(buffer, static_cast<size_t>(n));
            else {
                over = over || n == 0 || errno != EAGAIN;
                reset = reset || (n < 0 && errno == ECONNRESET);
                break;
            }
        }
    }
    bool AllSent() const { return unsent_.empty(); }
    void Shut() { shutdown(fd_, SHUT_WR); }
    void Close()
    {
        if (fd_ >= 0)
            close(fd_);
        fd_ = -1;
    }
    void Reset()
    {
        linger now = {1, 0};
        setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        Close();
    }

    /* Takes the first whole answer out of what was received. `head`: it is to a HEAD request. */
    bool Take(Answer *out, bool head = false)
    {
        size_t end = received.find("\r\n\r\n");
        if (end == std::string::npos)
            return false;
        Answer answer;
        answer.head = received.substr(0, end + 2);
        answer.code = atoi(answer.head.c_str() + 9);
        size_t at = end + 4;
        answer.chunked = answer.Header("Transfer-Encoding") == "chunked";
        if (head || answer.code < 200 || answer.code == 204 || answer.code == 304) {
        } else if (answer.chunked) {
            for (;;) {
                size_t line = received.find("\r\n", at);
                if (line == std::string::npos)
                    return false;
                size_t size = std::stoul(received.substr(at, line - at), nullptr, 16);
                if (received.size() < line + 2 + size + 2)
                    return false;
                EXPECT_EQ(received.substr(line + 2 + size, 2), "\r\n");
                answer.body += received.substr(line + 2, size);
                at = line + 2 + size + 2;
                if (size == 0)
                    break;
            }
        } else if (answer.Has("Content-Length")) {
            size_t size = std::stoul(answer.Header("Content-Length"));
            if (received.size() < at + size)
                return false;
            answer.body = received.substr(at, size);
            at += size;
        } else {
            if (!over)
                return false;
            answer.body = received.substr(at);
            at = received.size();
        }
        received.erase(0, at);
        *out = answer;
        return true;
    }

    std::string received;
    bool over = false; /* the server has shut its side, or the connection is lost */
    bool reset = false;
    bool reads = true;

  private:
    int fd_ = -1;
    std::string unsent_;
};

class Http : public testing::Test {
  public: /* handlers are functions, and reach in through their context */
    Http()
    {
        signal(SIGPIPE, SIG_IGN);
        base_ = event_base_new();
        config_ = {};
        config_.base = base_;
        config_.host = "127.0.0.1";
        http_limits_init(&config_.limits);
    }
    ~Http() override
    {
        clients_.clear();
        http_server_close(server_);
        event_base_loop(base_, EVLOOP_NONBLOCK);
        event_base_free(base_);
    }
    static Http *Self(http_exchange *x) { return static_cast<Http *>(http_context(x)); }
    static void Reply(http_exchange *x, const std::string &text)
    {
        http_reply(x, 200, "text/plain", text.data(), text.size());
    }
    /* Remembers the exchange, answers nothing. */
    static void Wait(http_exchange *x)
    {
        Self(x)->waiting_.push_back(http_id(x));
        http_set_user(x, Self(x));
    }
    static void Closed(http_exchange *x)
    {
        EXPECT_EQ(http_server_find(Self(x)->server_, http_id(x)), nullptr);
        Self(x)->closed_.push_back(http_id(x));
    }
    static void Echo(http_exchange *x)
    {
        size_t bytes;
        const uint8_t *body = http_body(x, &bytes);
        Reply(x, std::string(reinterpret_cast<const char *>(body), bytes));
    }

    void Open(const std::vector<http_route> &more = {})
    {
        std::vector<http_route> routes = {
            {"GET", "/hello", false, [](http_exchange *x) { Reply(x, "hello"); }, nullptr, nullptr,
             this},
            {"GET", "/health", true, [](http_exchange *x) { Reply(x, "fine"); }, nullptr, nullptr,
             this},
            {"POST", "/echo", false, Echo, nullptr, Closed, this},
            {"GET", "/wait", false, Wait, nullptr, Closed, this},
            {"POST", "/wait", false, Wait, nullptr, Closed, this},
            {"GET", "/stream", false,
             [](http_exchange *x) {
                 Wait(x);
                 http_stream_begin(x, "text/event-stream; charset=utf-8");
             },
             [](http_exchange *x) { Self(x)->writable_.push_back(http_id(x)); }, Closed, this},
            {"GET", "/big", false, [](http_exchange *x) { Reply(x, std::string(1 << 20, 'b')); },
             nullptr, nullptr, this},
        };
        routes.insert(routes.end(), more.begin(), more.end());
        struct error error = {};
        ASSERT_EQ(http_server_open(&server_, &config_, routes.data(),
                                   static_cast<uint32_t>(routes.size()), &error),
                  STATUS_OK)
            << error.text;
    }
    Client &Connect(int receive_bytes = 0)
    {
        clients_.push_back(std::make_unique<Client>(http_server_port(server_), receive_bytes));
        return *clients_.back();
    }
    void Turn()
    {
        event_base_loop(base_, EVLOOP_NONBLOCK);
        for (auto &client : clients_)
            client->Turn();
    }
    /* Turns until it holds; a test's answer to "did it happen". */
    bool Until(const std::function<bool()> &done, int ms = 5000)
    {
        uint64_t end = clock_now_ns() + static_cast<uint64_t>(ms) * 1000000;
        while (!done()) {
            if (clock_now_ns() > end)
                return false;
            Turn();
            usleep(200);
        }
        return true;
    }
    void Turns(int count = 30) /* for what must not happen */
    {
        for (int i = 0; i < count; i++) {
            Turn();
            usleep(300);
        }
    }
    Answer Get(Client &client, bool head = false)
    {
        Answer answer;
        EXPECT_TRUE(Until([&] { return client.Take(&answer, head); })) << client.received;
        return answer;
    }
    Answer Ask(const std::string &request) { return Get(Connect().Send(request)); }
    bool Over(Client &client)
    {
        return Until([&] { return client.over; });
    }
    /* The server still serves. */
    void Serves()
    {
        Answer answer = Ask("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        EXPECT_EQ(answer.code, 200);
        EXPECT_EQ(answer.body, "hello");
    }
    /* The exchange that was waiting first. */
    http_exchange *Waiting(size_t i = 0)
    {
        EXPECT_TRUE(Until([&] { return waiting_.size() > i; }));
        return waiting_.size() > i ? http_server_find(server_, waiting_[i]) : nullptr;
    }
    /* Writes to the stream that waits until it is FULL for good: the kernel first takes more than
     * it says. Returns how many bytes were written. */
    size_t FillUp(size_t piece_bytes)
    {
        std::string piece(piece_bytes, 's');
        size_t sent = 0;
        do {
            writable_.clear();
            do
                sent += piece_bytes;
            while (http_stream_write(Waiting(), piece.data(), piece_bytes) == STATUS_OK &&
                   sent < 100u << 20);
            Turns();
        } while (!writable_.empty());
        EXPECT_LT(sent, 100u << 20);
        return sent;
    }
    void Tick(double after_s)
    {
        http_server_tick(server_, clock_now_ns() + static_cast<uint64_t>(after_s * 1e9));
    }

    event_base *base_;
    http_server_config config_;
    http_server *server_ = nullptr;
    std::vector<std::unique_ptr<Client>> clients_;
    std::vector<uint64_t> waiting_, closed_, writable_;
};

} // namespace http_test

#endif

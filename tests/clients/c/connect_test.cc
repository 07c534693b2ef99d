#include "clients/c/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <string>

#include "clients/c/now.h"

namespace {

/* A port on 127.0.0.1 that takes connections until it is closed. */
class Listener {
public:
    Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        sockaddr_in address = {};
        socklen_t size = sizeof address;
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(fd_, (sockaddr *)&address, size) != 0 || listen(fd_, 4) != 0 ||
            getsockname(fd_, (sockaddr *)&address, &size) != 0)
            abort();
        number = ntohs(address.sin_port);
        port = std::to_string(number);
    }
    ~Listener() { stop(); }
    void stop()
    {
        if (fd_ >= 0)
            close(fd_);
        fd_ = -1;
    }
    uint16_t number;
    std::string port;

private:
    int fd_;
};

TEST(connect, the_address_that_answers_is_told)
{
    Listener there;
    const connect_target target = {"localhost", there.port.c_str(), "there"};
    channel_result result = {};
    sockaddr_storage address = {};
    socklen_t bytes = 0;
    int fd = connect_any(&target, now_ms() + 5000, &address, &bytes, &result);
    ASSERT_GE(fd, 0) << result.message;
    EXPECT_TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    ASSERT_EQ(AF_INET, address.ss_family) << "where nothing listens on ::1";
    EXPECT_EQ(sizeof(sockaddr_in), bytes);
    EXPECT_EQ(there.number, ntohs(((sockaddr_in *)&address)->sin_port));
    close(fd);
    fd = connect_any(&target, now_ms() + 5000, nullptr, nullptr, &result);
    EXPECT_GE(fd, 0);
    close(fd);
}

TEST(connect, nobody_there)
{
    Listener there;
    const connect_target target = {"127.0.0.1", there.port.c_str(), "host:1"};
    channel_result result = {};
    there.stop();
    EXPECT_EQ(-1, connect_any(&target, now_ms() + 5000, nullptr, nullptr, &result));
    EXPECT_EQ(GRPC_UNAVAILABLE, result.status);
    EXPECT_STREQ("cannot connect to host:1: Connection refused", result.message);
}

TEST(connect, no_such_name)
{
    const connect_target target = {"no-such-host.invalid", "1", "no-such-host.invalid:1"};
    channel_result result = {};
    EXPECT_EQ(-1, connect_any(&target, now_ms() + 5000, nullptr, nullptr, &result));
    EXPECT_EQ(GRPC_UNAVAILABLE, result.status);
    EXPECT_EQ(0u, std::string(result.message).find("no-such-host.invalid:1: "));
}

TEST(connect, waiting_ends_with_an_event_or_the_deadline)
{
    int fds[2];
    ASSERT_EQ(0, pipe2(fds, O_CLOEXEC));
    EXPECT_TRUE(connect_wait(fds[1], POLLOUT, now_ms() + 60000));
    EXPECT_FALSE(connect_wait(fds[0], POLLIN, now_ms() + 5));
    EXPECT_EQ(ETIMEDOUT, errno);
    EXPECT_FALSE(connect_wait(fds[1], POLLOUT, 0)) << "the deadline is over";
    close(fds[0]);
    close(fds[1]);
}

} // namespace

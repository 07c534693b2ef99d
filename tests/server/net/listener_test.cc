#include "server/net/listener.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

class Listener : public testing::Test {
  protected:
    Listener() { base_ = event_base_new(); }
    ~Listener() override
    {
        listener_close(listener_);
        event_base_free(base_);
    }
    enum status Open(const char *host, uint16_t port = 0)
    {
        error_ = {};
        return listener_open(&listener_, base_, host, port,
                             [](void *arg, bufferevent *bev, const listener_peer *peer) {
                                 static_cast<Listener *>(arg)->peers_.push_back(*peer);
                                 bufferevent_free(bev);
                             },
                             this, &error_);
    }
    event_base *base_;
    listener *listener_ = nullptr;
    std::vector<listener_peer> peers_;
    struct error error_ = {};
};

TEST_F(Listener, NamesItsPeers)
{
    ASSERT_EQ(Open("127.0.0.1"), STATUS_OK) << error_.text;
    ASSERT_NE(listener_port(listener_), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {}, own = {};
    socklen_t bytes = sizeof own;
    address.sin_family = AF_INET;
    address.sin_port = htons(listener_port(listener_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
    ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr *>(&own), &bytes), 0);
    for (int i = 0; i < 100 && peers_.empty(); i++)
        event_base_loop(base_, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    ASSERT_EQ(peers_.size(), 1u);
    EXPECT_EQ(peers_[0].name, "127.0.0.1:" + std::to_string(ntohs(own.sin_port)));
    const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
    EXPECT_EQ(memcmp(peers_[0].ip, mapped, sizeof mapped), 0);
    close(fd);
    listener_resume(listener_); /* not paused: nothing happens */
}

TEST_F(Listener, ErrorsNameTheAddress)
{
    EXPECT_EQ(Open("300.0.0.1"), STATUS_INVALID);
    EXPECT_NE(std::string(error_.text).find("300.0.0.1"), std::string::npos) << error_.text;
    EXPECT_EQ(Open("192.0.2.1"), STATUS_IO); /* documentation range: nobody's address */
    EXPECT_NE(std::string(error_.text).find("192.0.2.1"), std::string::npos) << error_.text;
    EXPECT_EQ(listener_, nullptr);
}

} // namespace

#include "server/notify.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

const uint64_t SECOND_NS = 1000000000;

/* A service manager's end of the socket. */
class Manager {
public:
    explicit Manager(const std::string &name) : name_(name)
    {
        struct sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path, name.data(), name.size());
        if (name[0] == '@')
            address.sun_path[0] = '\0';
        fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name.size());
        if (bind(fd_, (const struct sockaddr *)&address, bytes) != 0)
            ADD_FAILURE() << "bind " << name << ": " << strerror(errno);
    }
    ~Manager() { close(fd_); }
    const char *name() const { return name_.c_str(); }
    /* Every message that has come, oldest first. None is late: it has come when it was sent. */
    std::vector<std::string> all()
    {
        std::vector<std::string> messages;
        char text[2048];
        for (ssize_t n; (n = recv(fd_, text, sizeof text, 0)) >= 0;)
            messages.push_back(std::string(text, (size_t)n));
        return messages;
    }

private:
    std::string name_;
    int fd_;
};

using Messages = std::vector<std::string>;

class Notify : public testing::Test {
protected:
    Notify() : manager(folder.path("notify")) {}
    ~Notify() override { notify_close(&n); }
    enum status open(const char *name, const char *usec = nullptr, const char *pid = nullptr)
    {
        error = {};
        return notify_open(&n, name, usec, pid, &error);
    }

    scratch::Folder folder;
    Manager manager;
    struct notify n = {};
    struct error error = {};
};

TEST_F(Notify, the_life_of_a_server)
{
    ASSERT_EQ(STATUS_OK, open(manager.name()));
    notify_text(&n, "loading %s: %u %%", "weights", 35u);
    EXPECT_EQ(Messages({"STATUS=loading weights: 35 %\n"}), manager.all());
    notify_ready(&n);
    EXPECT_EQ(Messages({"READY=1\n"}), manager.all());
    notify_text(&n, "serving tiny");
    EXPECT_EQ(Messages({"STATUS=serving tiny\n"}), manager.all());
    notify_stopping(&n, 40);
    EXPECT_EQ(Messages({"STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000\n"}), manager.all());
}

TEST_F(Notify, an_abstract_name_is_an_address_too)
{
    std::string name = "@moering-notify-test-" + std::to_string(getpid());
    Manager abstract(name);
    ASSERT_EQ(STATUS_OK, open(abstract.name()));
    notify_ready(&n);
    EXPECT_EQ(Messages({"READY=1\n"}), abstract.all());
    EXPECT_TRUE(manager.all().empty());
}

TEST_F(Notify, without_a_manager_nothing_happens)
{
    for (const char *name : {(const char *)nullptr, ""}) {
        EXPECT_EQ(STATUS_OK, open(name, "nonsense", "nonsense"));
        EXPECT_EQ(-1, n.fd);
        notify_text(&n, "x");
        notify_ready(&n);
        notify_stopping(&n, 1);
        notify_tick(&n, SECOND_NS);
    }
    notify_close(&n);
    notify_close(&n);
}

TEST_F(Notify, what_is_no_address_is_named)
{
    std::string longest(sizeof(sockaddr_un::sun_path), 'x');
    longest[0] = '/';
    for (const std::string &name : {std::string("vsock:2:9"), std::string("notify"),
                                    std::string("/"), std::string("@"), longest}) {
        EXPECT_EQ(STATUS_INVALID, open(name.c_str())) << name;
        EXPECT_EQ(0u, std::string(error.text).find("NOTIFY_SOCKET: '" + name + "'")) << error.text;
        EXPECT_EQ(-1, n.fd);
        notify_ready(&n); /* it may be used all the same */
    }
    longest.pop_back(); /* the longest that fits */
    EXPECT_EQ(STATUS_OK, open(longest.c_str())) << error.text;
}

TEST_F(Notify, a_text_is_one_line_sent_once)
{
    ASSERT_EQ(STATUS_OK, open(manager.name()));
    notify_text(&n, "a\nREADY=1\nb");
    notify_text(&n, "a\nREADY=1\nb");
    EXPECT_EQ(Messages({"STATUS=a READY=1 b\n"}), manager.all());
    std::string endless(1000, 'y');
    notify_text(&n, "%s", endless.c_str());
    EXPECT_EQ(Messages({"STATUS=" + endless.substr(0, NOTIFY_TEXT_MAX - 1) + "\n"}), manager.all());
}

TEST_F(Notify, the_watchdog_is_pinged_at_half_its_time)
{
    ASSERT_EQ(STATUS_OK, open(manager.name(), "30000000", std::to_string(getpid()).c_str()));
    uint64_t start = 1000 * SECOND_NS;
    for (uint64_t ms = 0; ms <= 60000; ms += 200)
        notify_tick(&n, start + ms * 1000000);
    EXPECT_EQ(Messages(5, "WATCHDOG=1\n"), manager.all()); /* at 0, 15, 30, 45, 60 s */
}

TEST_F(Notify, a_watchdog_of_another_process_is_none)
{
    ASSERT_EQ(STATUS_OK, open(manager.name(), "1000", std::to_string(getpid() + 1).c_str()));
    notify_tick(&n, SECOND_NS);
    EXPECT_TRUE(manager.all().empty());
    ASSERT_NO_FATAL_FAILURE(notify_close(&n));
    ASSERT_EQ(STATUS_OK, open(manager.name(), "1000", "")); /* set for nobody in particular */
    notify_tick(&n, SECOND_NS);
    EXPECT_EQ(1u, manager.all().size());
}

TEST_F(Notify, what_is_no_time_is_named)
{
    for (const char *usec : {"0", "-1", "1s", " 1", "18446744073709551615",
                             "99999999999999999999"}) {
        EXPECT_EQ(STATUS_INVALID, open(manager.name(), usec)) << usec;
        EXPECT_EQ(0u, std::string(error.text).find("WATCHDOG_USEC: '" + std::string(usec) + "'"))
            << error.text;
        EXPECT_EQ(-1, n.fd);
    }
    EXPECT_EQ(STATUS_INVALID, open(manager.name(), "1000", "me"));
    EXPECT_EQ(0u, std::string(error.text).find("WATCHDOG_PID: 'me'")) << error.text;
}

/* Pings until the manager's queue takes no more: what comes then must not wait and not be lost. */
TEST_F(Notify, a_full_queue_delays_the_news)
{
    ASSERT_EQ(STATUS_OK, open(manager.name(), "2"));
    for (int i = 0; i < 100000; i++)
        notify_tick(&n, SECOND_NS + (uint64_t)i * 1000);
    notify_text(&n, "serving");
    notify_ready(&n);
    notify_text(&n, "serving more");
    Messages pings = manager.all();
    ASSERT_LT(pings.size(), 100000u) << "the queue was never full";
    EXPECT_EQ(Messages(pings.size(), "WATCHDOG=1\n"), pings);
    notify_tick(&n, 0); /* not yet time for a ping */
    EXPECT_EQ(Messages({"READY=1\nSTATUS=serving more\n"}), manager.all());
    notify_tick(&n, 0);
    EXPECT_TRUE(manager.all().empty()) << "it was sent already";
}

TEST_F(Notify, of_two_unsent_states_the_newer_counts)
{
    std::string late = folder.path("late");
    ASSERT_EQ(STATUS_OK, open(late.c_str()));
    testing::internal::CaptureStderr();
    notify_ready(&n);
    notify_stopping(&n, 2);
    std::string log = testing::internal::GetCapturedStderr();
    size_t first = log.find("service manager");
    EXPECT_NE(std::string::npos, first) << "a failure that may last is told";
    EXPECT_EQ(std::string::npos, log.find("service manager", first + 1)) << "but once";
    Manager back(late);
    notify_tick(&n, SECOND_NS);
    EXPECT_EQ(Messages({"STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000\n"}), back.all());
}

} // namespace

/* What load_test.cc cannot see: cancelling, the requests' bytes, fetching. */
#include "clients/bench/http_client.h"

#include <event2/event.h>
#include <gtest/gtest.h>

#include <string>

#include "clients/bench/dial.h"
#include "clients/bench/fetch.h"
#include "tests/clients/bench/fake_http.h"

namespace {

struct Trial {
    event_base *base = event_base_new();
    address where;
    dial *d = nullptr;
    http_client *client = nullptr;
    explicit Trial(const fake::Http &server, const char *key = nullptr)
    {
        fault why = {};
        EXPECT_TRUE(address_parse(server.url().c_str(), "1", &where, &why));
        const dial_config config = {&where, nullptr, false, false, 5};
        EXPECT_TRUE(dial_open(&d, &config, &why)) << why.text;
        const http_client_config c = {base, d, where.authority, key};
        client = http_client_open(&c);
    }
    ~Trial()
    {
        http_client_close(client);
        dial_close(d);
        event_base_free(base);
    }
};

struct Call : http_call {
    std::string text, error;
    int ends = 0;
    bool whole = true;
    Call(const char *verb, const char *where, const std::string &content = "")
    {
        memset(static_cast<http_call *>(this), 0, sizeof(http_call));
        method = verb;
        path = where;
        body = content.empty() ? nullptr : content.c_str();
        body_bytes = content.size();
        arg = this;
        piece = [](http_call *c, const uint8_t *bytes, size_t size, uint64_t) {
            Call *self = (Call *)c->arg;
            self->text.append((const char *)bytes, size);
            return self->whole;
        };
        end = [](http_call *c, const char *why) {
            Call *self = (Call *)c->arg;
            self->error = why ? why : "";
            self->ends++;
        };
    }
};

fake::Script plain(const std::string &text)
{
    fake::Script s;
    s.body = text;
    return s;
}

void loop_until_ended(Trial *t, const Call &call)
{
    while (!call.ends)
        event_base_loop(t->base, EVLOOP_ONCE);
}

TEST(http_client, a_request_as_it_stands_on_the_wire)
{
    fake::Http server([](int, const std::string &) { return plain("answer"); });
    Trial t(server, "secret");
    std::string content = "{}";
    Call call("POST", "/p?q", content);
    http_client_send(t.client, &call);
    EXPECT_EQ(0, call.ends);
    loop_until_ended(&t, call);
    EXPECT_EQ("answer", call.text);
    EXPECT_EQ(200, call.status);
    EXPECT_EQ("POST /p?q HTTP/1.1\r\nHost: " + server.address() +
                  "\r\nUser-Agent: moering-bench\r\nAccept: */*\r\nAuthorization: Bearer secret\r\n"
                  "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
              server.exchanges()[0].request);
}

TEST(http_client, enough_is_an_end_without_an_error)
{
    fake::Http server([](int, const std::string &) { return plain("a long answer"); });
    Trial t(server);
    Call call("POST", "/");
    call.whole = false;
    http_client_send(t.client, &call);
    loop_until_ended(&t, call);
    EXPECT_EQ("", call.error);
    EXPECT_EQ(1, call.ends);
}

TEST(http_client, what_is_cancelled_is_silent)
{
    fake::Http server([](int, const std::string &) {
        fake::Script s;
        s.first_ms = 30;
        return s;
    });
    Trial t(server);
    Call cancelled("POST", "/"), other("POST", "/");
    http_client_send(t.client, &cancelled);
    http_client_send(t.client, &other);
    http_client_cancel(t.client, &cancelled);
    http_client_cancel(t.client, &cancelled);
    loop_until_ended(&t, other);
    EXPECT_EQ(0, cancelled.ends);
    EXPECT_EQ("", other.error);
}

bool fetch(Trial *t, const char *path, double timeout_s, std::string *text, int *status, fault *why)
{
    const struct fetch f = {t->base, t->d, &t->where, nullptr, path, timeout_s};
    char *body;
    size_t bytes;
    bool ok = fetch_get(&f, &body, &bytes, status, why);
    if (ok)
        *text = std::string(body, bytes);
    free(body);
    return ok;
}

TEST(http_client, fetching)
{
    fake::Http server([](int index, const std::string &) {
        fake::Script s;
        s.first_ms = index ? 20000 : 0;
        s.status = index ? 200 : 503;
        return s;
    });
    Trial t(server);
    std::string text;
    int status;
    fault why = {}, late = {};
    EXPECT_TRUE(fetch(&t, "/v1/models", 20, &text, &status, &why)) << why.text;
    EXPECT_EQ("{\"object\":\"list\",\"data\":[{\"id\":\"org/toy\"}]}", text);
    EXPECT_FALSE(fetch(&t, "/busy", 20, &text, &status, &why));
    EXPECT_EQ("GET " + server.address() + "/busy: HTTP 503", why.text);
    EXPECT_EQ(503, status);
    EXPECT_FALSE(fetch(&t, "/late", 0.2, &text, &status, &late));
    EXPECT_EQ("GET " + server.address() + "/late: no answer in time", late.text);
}

TEST(http_client, nobody_there)
{
    address where;
    fault why = {};
    dial *d;
    {
        fake::Http gone([](int, const std::string &) { return fake::Script(); });
        ASSERT_TRUE(address_parse(gone.url().c_str(), "1", &where, &why));
    }
    const dial_config config = {&where, nullptr, false, false, 5};
    EXPECT_FALSE(dial_open(&d, &config, &why));
    EXPECT_EQ(nullptr, d);
    EXPECT_NE(nullptr, strstr(why.text, "cannot connect to 127.0.0.1:"));
}

} // namespace

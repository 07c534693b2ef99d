/* TLS against a server with a certificate made here; plaintext connections are in
 * http_client_test.cc. */
#include "clients/bench/dial.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#include "clients/bench/fetch.h"
#include "tests/support/scratch.h"

namespace {

/* A self-signed certificate for "localhost". */
X509 *make_certificate(EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1,
                               0);
    X509_set_issuer_name(x, name);
    X509_EXTENSION *san =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    X509_sign(x, key, EVP_sha256());
    return x;
}

/* Answers every connection with "HTTP/1.1 200" and two bytes. */
class Server {
public:
    explicit Server(const scratch::Folder &folder)
    {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *certificate = make_certificate(key);
        context_ = SSL_CTX_new(TLS_server_method());
        SSL_CTX_use_certificate(context_, certificate);
        SSL_CTX_use_PrivateKey(context_, key);
        FILE *out = fopen(folder.path("ca.pem").c_str(), "w");
        PEM_write_X509(out, certificate);
        fclose(out);
        X509_free(certificate);
        EVP_PKEY_free(key);
        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address = {};
        socklen_t size = sizeof address;
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(listener_, (sockaddr *)&address, size) != 0 || listen(listener_, 10) != 0 ||
            getsockname(listener_, (sockaddr *)&address, &size) != 0)
            abort();
        port = std::to_string(ntohs(address.sin_port));
        signal(SIGPIPE, SIG_IGN);
        thread_ = std::thread([this] { run(); });
    }
    ~Server()
    {
        stopping_ = true;
        thread_.join();
        close(listener_);
        SSL_CTX_free(context_);
    }
    std::string port;

private:
    void run()
    {
        while (!stopping_) {
            pollfd p = {listener_, POLLIN, 0};
            int fd = poll(&p, 1, 20) > 0 ? accept(listener_, nullptr, nullptr) : -1;
            if (fd < 0)
                continue;
            SSL *ssl = SSL_new(context_);
            SSL_set_fd(ssl, fd);
            char bytes[4096];
            const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
            if (SSL_accept(ssl) == 1 && SSL_read(ssl, bytes, sizeof bytes) > 0) {
                SSL_write(ssl, answer, sizeof answer - 1);
                SSL_shutdown(ssl);
            }
            ERR_clear_error();
            SSL_free(ssl);
            close(fd);
        }
    }

    SSL_CTX *context_;
    int listener_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

/* "hi", or the sentence of the failure. */
std::string get(const Server &server, const std::string &host, const std::string &ca, bool insecure)
{
    address where;
    fault why = {};
    dial *d = nullptr;
    EXPECT_TRUE(address_parse(("https://" + host + ":" + server.port).c_str(), "1", &where, &why));
    const dial_config config = {&where, ca.empty() ? nullptr : ca.c_str(), insecure, false, 5};
    if (!dial_open(&d, &config, &why))
        return why.text;
    event_base *base = event_base_new();
    const struct fetch f = {base, d, &where, nullptr, "/", 5};
    char *body;
    size_t bytes;
    int status;
    std::string out;
    out = fetch_get(&f, &body, &bytes, &status, &why) ? std::string(body, bytes) : why.text;
    free(body);
    dial_close(d);
    event_base_free(base);
    return out;
}

TEST(dial, certificates_are_checked)
{
    scratch::Folder folder;
    Server server(folder);
    std::string ca = folder.path("ca.pem"),
                at = ":" + server.port + "/: TLS: certificate verify failed";
    EXPECT_EQ("hi", get(server, "localhost", ca, false));
    EXPECT_EQ("GET localhost" + at, get(server, "localhost", "", false)) << "nobody signed it";
    EXPECT_EQ("GET 127.0.0.1" + at, get(server, "127.0.0.1", ca, false))
        << "it is for another name";
    EXPECT_EQ("hi", get(server, "127.0.0.1", "", true));
    EXPECT_EQ("hi", get(server, "localhost", "", true));
    std::string refused = get(server, "localhost", folder.path("nothing"), false);
    EXPECT_NE(std::string::npos, refused.find("nothing: no certificates can be read from it"));
}

TEST(dial, an_unknown_host)
{
    address where;
    fault why = {};
    dial *d;
    ASSERT_TRUE(address_parse("no-such-host.invalid:1", "1", &where, &why));
    const dial_config config = {&where, nullptr, false, false, 5};
    EXPECT_FALSE(dial_open(&d, &config, &why));
    EXPECT_EQ(0u, std::string(why.text).find("no-such-host.invalid:1: "));
}

} // namespace

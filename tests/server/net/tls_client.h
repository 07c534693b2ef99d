/* Certificates made on the spot, and a TLS client on a non-blocking socket, turned by hand. */
#ifndef MOERING_TESTS_SERVER_NET_TLS_CLIENT_H
#define MOERING_TESTS_SERVER_NET_TLS_CLIENT_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "tests/support/scratch.h"

namespace tls_test
{

/* Writes NAME.crt and NAME.key: a P-256 key and a certificate that it signs for itself. */
inline void MakeCertificate(const scratch::Folder &folder, const std::string &name,
                            const char *passphrase = nullptr)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char *>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    ASSERT_GT(X509_sign(cert, key, EVP_sha256()), 0);
    FILE *file = fopen(folder.path(name + ".crt").c_str(), "w");
    PEM_write_X509(file, cert);
    fclose(file);
    file = fopen(folder.path(name + ".key").c_str(), "w");
    auto phrase = reinterpret_cast<unsigned char *>(const_cast<char *>(passphrase));
    PEM_write_PrivateKey(file, key, passphrase ? EVP_aes_128_cbc() : nullptr, phrase,
                         passphrase ? static_cast<int>(strlen(passphrase)) : 0, nullptr, nullptr);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

class Client {
  public:
    /* `alpn`: names with their lengths before them, as "\2h2"; empty: none. */
    explicit Client(uint16_t port, const std::string &alpn = "", int newest = TLS1_3_VERSION)
    {
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        fcntl(fd_, F_SETFL, O_NONBLOCK);
        context_ = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_security_level(context_, 0);
        SSL_CTX_set_min_proto_version(context_, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context_, newest);
        ssl_ = SSL_new(context_);
        if (!alpn.empty())
            SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char *>(alpn.data()),
                                static_cast<unsigned>(alpn.size()));
        SSL_set_fd(ssl_, fd_);
        SSL_set_connect_state(ssl_);
    }
    ~Client()
    {
        SSL_free(ssl_);
        SSL_CTX_free(context_);
        close(fd_);
    }
    Client(const Client &) = delete;
    Client &operator=(const Client &) = delete;

    void Send(const std::string &text) { unsent_ += text; }
    void Turn()
    {
        char buffer[16384];
        ERR_clear_error();
        while (!unsent_.empty()) {
            int n = SSL_write(ssl_, unsent_.data(), static_cast<int>(unsent_.size()));
            if (n <= 0)
                break;
            unsent_.erase(0, static_cast<size_t>(n));
        }
        for (;;) {
            ERR_clear_error();
            int n = SSL_read(ssl_, buffer, sizeof buffer);
            if (n > 0) {
                received.append(buffer, static_cast<size_t>(n));
                continue;
            }
            int why = SSL_get_error(ssl_, n);
            clean_end = clean_end || why == SSL_ERROR_ZERO_RETURN;
            over = over || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE);
            return;
        }
    }
    std::string Protocol() const
    {
        const unsigned char *name;
        unsigned bytes;
        SSL_get0_alpn_selected(ssl_, &name, &bytes);
        return std::string(reinterpret_cast<const char *>(name), bytes);
    }
    /* Whose certificate the server has shown. */
    std::string Subject() const
    {
        char name[100] = "";
        X509 *cert = SSL_get1_peer_certificate(ssl_);
        if (cert)
            X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name,
                                      sizeof name);
        X509_free(cert);
        return name;
    }

    std::string received;
    bool over = false;      /* the connection has ended, one way or another */
    bool clean_end = false; /* the server said so */

  private:
    int fd_ = -1;
    SSL_CTX *context_ = nullptr;
    SSL *ssl_ = nullptr;
    std::string unsent_;
};

} // namespace tls_test

#endif

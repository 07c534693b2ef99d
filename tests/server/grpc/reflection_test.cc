#include "server/grpc/reflection.h"

#include <grpc/reflection/v1/reflection.pb-c.h>

#include "moering_proto/descriptor_set.h"
#include "tests/server/wire_client.h"

namespace {

using wire::Framed;
using Response = Grpc__Reflection__V1__ServerReflectionResponse;

std::string Ask(int field, const std::string &text)
{
    return std::string("\x0a\x01h") + static_cast<char>(field << 3 | 2) +
           static_cast<char>(text.size()) + text;
}

class Reflection : public wire::ServerTest {
  protected:
    Reflection()
    {
        struct error error = {};
        EXPECT_EQ(reflection_open(&reflection_, moering_descriptor_set,
                                  moering_descriptor_set_bytes, &error), STATUS_OK) << error.text;
        std::vector<grpc_method> methods(REFLECTION_METHODS + 2);
        reflection_methods(reflection_, methods.data());
        methods[2].path = "/a.A/One";
        methods[3].path = "/a.A/Two";
        EXPECT_EQ(reflection_set_services(reflection_, methods.data(), methods.size()), STATUS_OK);
        Open(methods);
    }
    void Cleanup() override { reflection_close(reflection_); }
    struct reflection *reflection_ = nullptr;
};

TEST_F(Reflection, BothVersionsAnswerAlike)
{
    enum { kFile = 3, kSymbol = 4, kServices = 7 };
    wire::Client &client = Connect();
    std::string first;
    for (std::string version : {"v1", "v1alpha"}) {
        int32_t id = client.Call(
            "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo",
            Framed(Ask(kServices, "")) + Framed(Ask(kSymbol, "grpc.health.v1.Health.Check")) +
                Framed(Ask(kFile, "nothing.proto")) + Framed(""));
        ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
        EXPECT_EQ(client.answer(id).status(), GRPC_OK);
        EXPECT_TRUE(first.empty() || first == client.answer(id).data);
        first = client.answer(id).data;
        auto messages = client.answer(id).messages();
        ASSERT_EQ(messages.size(), 4u);
        std::vector<Response *> responses;
        for (const std::string &m : messages)
            responses.push_back(grpc__reflection__v1__server_reflection_response__unpack(
                nullptr, m.size(), reinterpret_cast<const uint8_t *>(m.data())));

        auto *services = responses[0]->list_services_response;
        ASSERT_EQ(services->n_service, 3u);
        EXPECT_STREQ(services->service[0]->name, "a.A");
        EXPECT_STREQ(services->service[1]->name, "grpc.reflection.v1.ServerReflection");
        EXPECT_STREQ(responses[0]->valid_host, "h");
        EXPECT_STREQ(responses[1]->original_request->file_containing_symbol,
                     "grpc.health.v1.Health.Check");
        ASSERT_EQ(responses[1]->file_descriptor_response->n_file_descriptor_proto, 1u);
        EXPECT_GT(responses[1]->file_descriptor_response->file_descriptor_proto[0].len, 100u);
        EXPECT_EQ(responses[2]->error_response->error_code, GRPC_NOT_FOUND);
        EXPECT_EQ(responses[3]->error_response->error_code, GRPC_INVALID_ARGUMENT);
        for (Response *response : responses)
            grpc__reflection__v1__server_reflection_response__free_unpacked(response, nullptr);
    }
}

TEST_F(Reflection, DrainEndsOpenStreams)
{
    wire::Client &client = Connect();
    const char *path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    int32_t open = client.Call(path, Framed(Ask(7, "")), false);
    ASSERT_TRUE(Run([&] { return client.answer(open).messages().size() == 1; }));
    reflection_drain(reflection_);
    int32_t late = client.Call(path, "", false);
    ASSERT_TRUE(Run([&] { return client.answer(open).closed && client.answer(late).closed; }));
    EXPECT_EQ(client.answer(open).status(), GRPC_UNAVAILABLE);
    EXPECT_EQ(client.answer(late).status(), GRPC_UNAVAILABLE);
}

} // namespace

/* See reflection.h. v1 and v1alpha differ in their package only, so one set of message types serves
 * both. An answer carries the file asked for and all that it imports. Names that do not exist are
 * answered with an error_response inside the stream; the stream goes on. */
#include "server/grpc/reflection.h"

#include <grpc/reflection/v1/reflection.pb-c.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "server/grpc/pb.h"
#include "server/grpc/reflection_index.h"

enum { EXTENSIONS_MAX = 256 };

/* The generated names of the members of the two oneofs. */
#define REQUEST(member) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##member
#define RESPONSE(member) \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##member

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

struct stream {
    struct grpc_call *call;
    LIST_ENTRY(stream) next;
};

struct reflection {
    struct reflection_index *index;
    char **services; /* sorted, each once */
    size_t service_count;
    bool draining;
    LIST_HEAD(, stream) streams;
};

/* ---- answers ---- */

static void answer_error(struct grpc_call *call, reflection_response *response,
                         enum grpc_status status, const char *message)
{
    Grpc__Reflection__V1__ErrorResponse answer = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    answer.error_code = (int32_t)status;
    answer.error_message = (char *)message;
    response->message_response_case = RESPONSE(ERROR_RESPONSE);
    response->error_response = &answer;
    (void)pb_send(call, &response->base);
}

/* `file` is the number of a file, or -1: then `missing` says what does not exist. */
static void answer_file(struct reflection *reflection, struct grpc_call *call,
                        reflection_response *response, int file, const char *missing)
{
    const struct reflection_file *files[REFLECTION_FILES_MAX];
    ProtobufCBinaryData blobs[REFLECTION_FILES_MAX];
    if (file < 0) {
        answer_error(call, response, GRPC_NOT_FOUND, missing);
        return;
    }
    Grpc__Reflection__V1__FileDescriptorResponse answer =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    answer.n_file_descriptor_proto = reflection_index_closure(reflection->index, file, files);
    answer.file_descriptor_proto = blobs;
    for (size_t i = 0; i < answer.n_file_descriptor_proto; i++)
        blobs[i] = (ProtobufCBinaryData){files[i]->size, (uint8_t *)files[i]->bytes};
    response->message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    response->file_descriptor_response = &answer;
    (void)pb_send(call, &response->base);
}

static void answer_extensions(struct reflection *reflection, struct grpc_call *call,
                              reflection_response *response, char *type)
{
    int32_t numbers[EXTENSIONS_MAX];
    if (!reflection_index_is_message(reflection->index, type)) {
        answer_error(call, response, GRPC_NOT_FOUND, "no such message type");
        return;
    }
    Grpc__Reflection__V1__ExtensionNumberResponse answer =
        GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    answer.base_type_name = type;
    answer.n_extension_number =
        reflection_index_extensions(reflection->index, type, numbers, EXTENSIONS_MAX);
    if (answer.n_extension_number > EXTENSIONS_MAX)
        answer.n_extension_number = EXTENSIONS_MAX;
    answer.extension_number = numbers;
    response->message_response_case = RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE);
    response->all_extension_numbers_response = &answer;
    (void)pb_send(call, &response->base);
}

static void answer_services(struct reflection *reflection, struct grpc_call *call,
                            reflection_response *response)
{
    size_t count = reflection->service_count;
    Grpc__Reflection__V1__ServiceResponse *services = calloc(count + 1, sizeof *services);
    Grpc__Reflection__V1__ServiceResponse **list = calloc(count + 1, sizeof(void *));
    if (services && list) {
        Grpc__Reflection__V1__ListServiceResponse answer =
            GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
        for (size_t i = 0; i < count; i++) {
            grpc__reflection__v1__service_response__init(&services[i]);
            services[i].name = reflection->services[i];
            list[i] = &services[i];
        }
        answer.n_service = count;
        answer.service = list;
        response->message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
        response->list_services_response = &answer;
        (void)pb_send(call, &response->base);
    } else {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
    }
    free(services);
    free(list);
}

static void request_answer(struct reflection *reflection, struct grpc_call *call,
                           reflection_request *request)
{
    const struct reflection_index *index = reflection->index;
    const Grpc__Reflection__V1__ExtensionRequest *extension;
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    response.valid_host = request->host;
    response.original_request = request;
    switch (request->message_request_case) {
    case REQUEST(FILE_BY_FILENAME):
        answer_file(reflection, call, &response,
                    reflection_index_file(index, request->file_by_filename), "no such file");
        break;
    case REQUEST(FILE_CONTAINING_SYMBOL):
        answer_file(reflection, call, &response,
                    reflection_index_symbol(index, request->file_containing_symbol),
                    "no such symbol");
        break;
    case REQUEST(FILE_CONTAINING_EXTENSION):
        extension = request->file_containing_extension;
        answer_file(reflection, call, &response,
                    reflection_index_extension(index, extension->containing_type,
                                               extension->extension_number),
                    "no such extension");
        break;
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        answer_extensions(reflection, call, &response, request->all_extension_numbers_of_type);
        break;
    case REQUEST(LIST_SERVICES):
        answer_services(reflection, call, &response);
        break;
    default:
        answer_error(call, &response, GRPC_INVALID_ARGUMENT, "the request asks for nothing");
    }
}

/* ---- the stream ---- */

static void stream_open(struct grpc_call *call)
{
    struct reflection *reflection = grpc_call_context(call);
    struct stream *stream = reflection->draining ? NULL : calloc(1, sizeof *stream);
    if (!stream) {
        grpc_call_finish(call, GRPC_UNAVAILABLE, "the server is shutting down or has no memory");
        return;
    }
    stream->call = call;
    grpc_call_set_user(call, stream);
    LIST_INSERT_HEAD(&reflection->streams, stream, next);
}

static void stream_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct pb_arena arena = {0};
    ProtobufCMessage *message;
    struct error error = {{0}};
    enum status status =
        pb_unpack(&arena, &grpc__reflection__v1__server_reflection_request__descriptor, bytes, size,
                  &message, &error);
    if (status == STATUS_OK)
        request_answer(grpc_call_context(call), call, (reflection_request *)message);
    else
        grpc_call_finish(call, grpc_status_of(status), error.text);
    pb_arena_reset(&arena);
}

static void stream_half_close(struct grpc_call *call)
{
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void stream_closed(struct grpc_call *call, enum grpc_status status)
{
    struct stream *stream = grpc_call_user(call);
    (void)status;
    if (!stream)
        return;
    LIST_REMOVE(stream, next);
    free(stream);
}

void reflection_methods(struct reflection *reflection, struct grpc_method *out)
{
    static const char *const paths[REFLECTION_METHODS] = {
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    };
    for (int i = 0; i < REFLECTION_METHODS; i++)
        out[i] = (struct grpc_method){
            .path = paths[i],
            .client_streaming = true,
            .server_streaming = true,
            .context = reflection,
            .open = stream_open,
            .message = stream_message,
            .half_close = stream_half_close,
            .closed = stream_closed,
        };
}

/* ---- opening ---- */

enum status reflection_open(struct reflection **out, const uint8_t *descriptor_set, size_t size,
                            struct error *error)
{
    *out = NULL;
    struct reflection *reflection = calloc(1, sizeof *reflection);
    if (!reflection)
        return error_set(error, STATUS_NO_MEMORY, "no memory for reflection");
    LIST_INIT(&reflection->streams);
    enum status status = reflection_index_open(&reflection->index, descriptor_set, size, error);
    if (status != STATUS_OK) {
        reflection_close(reflection);
        return status;
    }
    *out = reflection;
    return STATUS_OK;
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum status reflection_set_services(struct reflection *reflection,
                                    const struct grpc_method *methods, size_t method_count)
{
    char **services = calloc(method_count + 1, sizeof *services);
    if (!services)
        return STATUS_NO_MEMORY;
    size_t count = 0;
    for (size_t i = 0; i < method_count; i++) {
        const char *name = methods[i].path + 1, *slash = strchr(name, '/');
        size_t bytes = slash ? (size_t)(slash - name) : strlen(name), k = 0;
        while (k < count && (strncmp(services[k], name, bytes) != 0 || services[k][bytes]))
            k++;
        if (k < count)
            continue;
        services[count] = strndup(name, bytes);
        if (!services[count])
            goto fail;
        count++;
    }
    if (count)
        qsort(services, count, sizeof *services, name_compare);
    for (size_t i = 0; i < reflection->service_count; i++)
        free(reflection->services[i]);
    free(reflection->services);
    reflection->services = services;
    reflection->service_count = count;
    return STATUS_OK;
fail:
    while (count)
        free(services[--count]);
    free(services);
    return STATUS_NO_MEMORY;
}

void reflection_drain(struct reflection *reflection)
{
    struct stream *stream; /* finishing one does not remove it: `closed` comes from the loop */
    reflection->draining = true;
    LIST_FOREACH(stream, &reflection->streams, next)
        grpc_call_finish(stream->call, GRPC_UNAVAILABLE, "the server is shutting down");
}

void reflection_close(struct reflection *reflection)
{
    if (!reflection)
        return;
    reflection_index_close(reflection->index);
    for (size_t i = 0; i < reflection->service_count; i++)
        free(reflection->services[i]);
    free(reflection->services);
    free(reflection);
}

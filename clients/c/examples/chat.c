/* A question to a server, the answer as it comes. An interrupt ends the answer.
 *
 *     cc chat.c $(pkg-config --cflags --libs moering-client) -o chat
 *     ./chat 127.0.0.1:8001 "Why is the sky blue?"
 *
 * A third word is a file of certificates (PEM): then the server is asked over TLS.
 * MOERING_API_KEY is sent as the key. */
#include <moering/client.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct moering_client *client;

static void on_interrupt(int number)
{
    (void)number;
    moering_cancel(client);
}

static bool print(void *arg, const struct moering_chunk *chunk)
{
    (void)arg;
    return fwrite(chunk->text, 1, chunk->text_bytes, stdout) == chunk->text_bytes &&
           fflush(stdout) == 0;
}

int main(int argc, char **argv)
{
    struct moering_options options = MOERING_OPTIONS_INIT;
    struct moering_sampling sampling = MOERING_SAMPLING_INIT;
    struct moering_result result;
    struct moering_error error;
    if (argc < 3) {
        fprintf(stderr, "usage: chat HOST:PORT QUESTION [CA-FILE]\n");
        return 2;
    }
    options.address = argv[1];
    options.api_key = getenv("MOERING_API_KEY");
    options.tls = argc > 3;
    options.ca_file = argc > 3 ? argv[3] : NULL;
    if (moering_open(&client, &options, &error) != MOERING_OK)
        goto fail;
    signal(SIGINT, on_interrupt);
    sampling.temperature = 0;
    sampling.has_max_tokens = true;
    sampling.max_tokens = 200;
    const struct moering_message question = {"user", argv[2]};
    if (moering_chat(client, &question, 1, &sampling, print, NULL, &result, &error) != MOERING_OK)
        goto fail;
    printf("\n");
    fprintf(stderr, "%u prompt + %u output tokens\n", result.prompt_tokens,
            result.completion_tokens);
    moering_close(client);
    return 0;
fail:
    fprintf(stderr, "chat: %s: %s\n", moering_status_name(error.status), error.message);
    moering_close(client);
    return 1;
}

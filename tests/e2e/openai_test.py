"""The HTTP door of the whole server on its built-in model: the OpenAI API as its clients use it, keys, TLS, proxies.

    openai_test.py MOERING MOERING_BENCH
"""
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

from grpc_wire import run_cases
from moering_wire import Server, grpc, health_pb, pb, until

MOERING, BENCH = sys.argv[1:3]
QUESTION = "Q: What is 45 + 37?\nA:"
STORY = "One sunny day Ada went to the river."


class Http:
    """One connection. Answers are (status, body as JSON or text, headers)."""

    def __init__(self, server, context=None, key=None, port=None):
        self.direct = port is None
        port = port or server.http_port
        self.connection = (http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
                           if context else http.client.HTTPConnection("127.0.0.1", port, timeout=60))
        self.headers = {"Authorization": "Bearer " + key} if key else {}

    def ask(self, method, path, body=None, **headers):
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, data, sent)
        answer = self.connection.getresponse()
        text = answer.read()
        kind = answer.headers.get("Content-Type", "")
        return (answer.status, json.loads(text) if kind.startswith("application/json") else text.decode(),
                answer.headers)

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def post(self, path, body, **headers):
        return self.ask("POST", path, body, **headers)

    def stream(self, path, body):
        """Yields the data of events; the last is "[DONE]"."""
        self.connection.request("POST", path, json.dumps({**body, "stream": True}),
                                {**self.headers, "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        assert answer.status == 200, (answer.status, answer.read())
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["X-Accel-Buffering"] == "no" or not self.direct # a proxy keeps it
        for line in answer:
            line = line.decode().rstrip("\r\n")
            assert not line or line.startswith(("data: ", ": ")), line
            if line.startswith("data: "):
                yield line[6:]


def good(answer):
    status, body, _ = answer
    assert status == 200, answer
    return body


def refused(answer, status, code, param=None):
    got, body, _ = answer
    error = body["error"]
    assert (got, error["code"], error["param"]) == (status, code, param), answer
    assert error["message"] and error["type"]
    return error["message"]


def greedy(**fields):
    return {"max_tokens": 12, "temperature": 0, **fields}


def chunks_of(http, path, body):
    events = list(http.stream(path, body))
    assert events[-1] == "[DONE]", events[-1]
    return [json.loads(e) for e in events[:-1]]


# ---- the API ----

def a_question_is_answered(server):
    body = good(Http(server).post("/v1/completions", greedy(prompt=QUESTION)))
    assert body["choices"][0]["text"] == " 82" and body["choices"][0]["finish_reason"] == "stop", body
    assert body["object"] == "text_completion" and body["id"].startswith("cmpl-")
    assert body["usage"]["total_tokens"] == (body["usage"]["prompt_tokens"] +
                                             body["usage"]["completion_tokens"])
    assert body["experts"]["hits"] + body["experts"]["misses"] > 0


def grpc_and_http_say_the_same(server):
    answer = server.stub.generate(pb.GenerateRequest(
        text=STORY.encode(), max_tokens=30, sampling=pb.SamplingParams(temperature=0)), timeout=60)
    text = b"".join(c.text for c in answer).decode()
    body = good(Http(server).post("/v1/completions", greedy(prompt=STORY, max_tokens=30)))
    assert body["choices"][0]["text"] == text


def a_stream_is_the_answer_in_pieces(server):
    http = Http(server)
    for path, asked in (("/v1/completions", {"prompt": STORY}),
                        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]})):
        asked = greedy(**asked, max_tokens=20, ignore_eos=True)
        whole = good(http.post(path, asked))
        chunks = chunks_of(http, path, {**asked, "stream_options": {"include_usage": True}})
        assert len({c["id"] for c in chunks}) == 1 and len({c["created"] for c in chunks}) == 1
        assert all("choices" in c for c in chunks) and chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] == 20
        parts = [c["choices"][0] for c in chunks if c["choices"]]
        assert [p["finish_reason"] for p in parts] == [None] * (len(parts) - 1) + ["length"]
        if "messages" in asked:
            assert parts[0]["delta"] == {"role": "assistant", "content": ""}
            assert parts[-1]["delta"] == {}
            text = "".join(p["delta"].get("content", "") for p in parts)
            assert text == whole["choices"][0]["message"]["content"]
        else:
            assert "".join(p["text"] for p in parts) == whole["choices"][0]["text"]


def several_choices_and_prompts(server):
    http = Http(server)
    body = good(http.post("/v1/completions", {"prompt": [STORY, QUESTION], "n": 3, "max_tokens": 8,
                                              "seed": 5, "ignore_eos": True}))
    assert [c["index"] for c in body["choices"]] == list(range(6))
    assert len({c["text"] for c in body["choices"][:3]}) > 1 # seeds of their own
    assert body["usage"]["completion_tokens"] == 48
    again = good(http.post("/v1/completions", {"prompt": [STORY, QUESTION], "n": 3, "max_tokens": 8,
                                               "seed": 5, "ignore_eos": True}))
    assert [c["text"] for c in again["choices"]] == [c["text"] for c in body["choices"]]


def what_was_computed_is_not_computed_again(server):
    def cached(http, **fields):
        body = good(http.post("/v1/completions", greedy(prompt=long, **fields)))
        n = body["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert body["timings"]["cache_n"] == n
        assert body["timings"]["prompt_n"] == body["usage"]["prompt_tokens"] - n
        texts.append(body["choices"][0]["text"])
        return n, body["usage"]["prompt_tokens"]
    long, texts, http = "Salted: " + STORY * 4, [], Http(server)
    before = server.stub.stats()
    assert cached(http)[0] == 0
    again, tokens = cached(http)
    assert tokens - 17 <= again < tokens and tokens > 32, (again, tokens) # whole blocks of 16
    assert cached(http, cache_salt="tenant one")[0] == 0
    assert cached(http, cache_salt="tenant two")[0] == 0
    assert cached(http, cache_salt="tenant one")[0] == again
    assert cached(http)[0] == again
    after = server.stub.stats()
    assert after.prefix_queries - before.prefix_queries == 6 * tokens
    assert after.prefix_hits - before.prefix_hits == 3 * again
    asked = {"messages": [{"role": "user", "content": long}], "max_tokens": 30, "temperature": 0}
    said = good(http.post("/v1/chat/completions", asked))
    asked["messages"] += [said["choices"][0]["message"], {"role": "user", "content": "And then?"}]
    turn = good(http.post("/v1/chat/completions", asked))["usage"]
    assert turn["prompt_tokens_details"]["cached_tokens"] >= said["usage"]["prompt_tokens"] - 32, (turn, said)
    events = chunks_of(http, "/v1/completions", greedy(prompt=long, stream_options={
        "include_usage": True, "continuous_usage_stats": True}))
    assert {e["usage"]["prompt_tokens_details"]["cached_tokens"] for e in events} == {again}
    for chunk in server.stub.generate(pb.GenerateRequest(text=long.encode(), max_tokens=12, cache_salt="tenant one",
                                                         sampling=pb.SamplingParams(temperature=0)), timeout=60):
        pass
    assert chunk.usage.cached_tokens == again
    off = Server(MOERING, "--no-enable-prefix-caching")
    try:
        assert [cached(Http(off))[0] for _ in range(2)] == [0, 0]
        assert off.stub.stats().prefix_queries == 0
    finally:
        off.stop()
    assert len(set(texts)) == 1 and len(texts) == 8, texts


def evaluation_tools_score_prompts(server):
    http = Http(server)
    ids = good(http.post("/tokenize", {"content": STORY, "add_special": False}))["tokens"]
    body = good(http.post("/v1/completions", {"prompt": [ids, ids[:-1]], "max_tokens": 0,
                                              "echo": True, "logprobs": 3, "temperature": 0}))
    for choice, tokens in zip(body["choices"], (ids, ids[:-1])):
        said = choice["logprobs"]
        assert len(said["token_logprobs"]) == len(tokens) == len(said["text_offset"])
        assert said["token_logprobs"][0] is None and all(x <= 0 for x in said["token_logprobs"][1:])
        assert "".join(said["tokens"]) == choice["text"]
    one, other = (c["logprobs"]["token_logprobs"] for c in body["choices"])
    assert one[:-1] == other
    # What was sampled greedily scores as it was reported.
    made = good(http.post("/v1/completions", greedy(prompt=ids, logprobs=1, max_tokens=5,
                                                    return_token_ids=True)))["choices"][0]
    both = good(http.post("/v1/completions", {"prompt": ids + made["token_ids"], "max_tokens": 0,
                                              "echo": True, "logprobs": 1}))["choices"][0]
    for a, b in zip(made["logprobs"]["token_logprobs"],
                    both["logprobs"]["token_logprobs"][len(ids):]):
        assert abs(a - b) < 1e-4, (made, both)


def structure_is_kept(server):
    http = Http(server)
    chat = {"messages": [{"role": "user", "content": "Make something up."}], "max_tokens": 200}
    schema = {"type": "object", "required": ["name", "age", "tags"], "additionalProperties": False,
              "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0,
                                                                              "maximum": 120},
                             "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}}}
    for seed in range(4):
        body = good(http.post("/v1/chat/completions", {**chat, "seed": seed, "response_format": {
            "type": "json_schema", "json_schema": {"name": "person", "schema": schema}}}))
        made = json.loads(body["choices"][0]["message"]["content"])
        assert list(made) == ["name", "age", "tags"] and 0 <= made["age"] <= 120, made
        assert len(made["name"]) <= 12 and set(made["tags"]) <= {"a", "b"}
        for asked, right in (({"choice": ["north", "south-west"]}, ("north", "south-west")),
                             ({"regex": "[0-9]{3}-[a-c]"}, None)):
            text = good(http.post("/v1/chat/completions", {
                **chat, "seed": seed, "structured_outputs": asked}))["choices"][0]["message"]["content"]
            assert text in right if right else (len(text) == 5 and text[3] == "-"), text
    refused(http.post("/v1/chat/completions", {**chat, "response_format": {
        "type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}}), 400,
        "invalid_value", "response_format")


# Shows tools, and opens a thought where it is asked to.
SHOWS_TOOLS = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}"
               "<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
               "{{ tools | tojson if tools }}{% if add_generation_prompt %}<|im_start|>assistant\n"
               "{{ '<think>\n' if enable_thinking }}{% endif %}{# </think> #}")
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "By city.", "parameters": {
    "type": "object", "required": ["city", "days"], "additionalProperties": False,
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"$ref": "#/$defs/days"}},
    "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 7}}}}}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def calls_of(chunks):
    """The calls that a client puts together from a stream."""
    calls = []
    for delta in (c["choices"][0]["delta"] for c in chunks if c["choices"]):
        for piece in delta.get("tool_calls", []):
            if piece["index"] == len(calls):
                assert piece["type"] == "function" and piece["id"].startswith("call_"), piece
                calls.append({"id": piece["id"], "name": piece["function"]["name"], "arguments": ""})
            calls[piece["index"]]["arguments"] += piece["function"]["arguments"]
    return calls


def demanded_tools_are_called(server):
    http = Http(server)
    chat = {"messages": [{"role": "user", "content": "Weather?"}], "max_tokens": 120, "tools": [CLOCK, WEATHER],
            "chat_template": SHOWS_TOOLS}
    def valid(call):
        arguments = json.loads(call["arguments"])
        if call["name"] == "clock":
            return arguments == {}
        return (call["name"] == "get_weather" and arguments["city"] in ("Rome", "Oslo") and
                1 <= arguments["days"] <= 7)
    for seed in range(4):
        asked = {**chat, "seed": seed, "tool_choice": "required", "parallel_tool_calls": False}
        choice = good(http.post("/v1/chat/completions", asked))["choices"][0]
        assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None, choice
        [call] = choice["message"]["tool_calls"]
        assert valid(call["function"]) and call["type"] == "function" and call["id"].startswith("call_"), call
        chunks = chunks_of(http, "/v1/chat/completions", asked)
        assert [c["name"] for c in calls_of(chunks)] == [call["function"]["name"]]
        assert calls_of(chunks)[0]["arguments"] == call["function"]["arguments"]
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
        named = {**chat, "seed": seed, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
        choice = good(http.post("/v1/chat/completions", named))["choices"][0]
        [other] = choice["message"]["tool_calls"]
        assert valid(other["function"]) and choice["finish_reason"] == "stop", choice
        assert calls_of(chunks_of(http, "/v1/chat/completions", named))[0]["arguments"] == \
            other["function"]["arguments"]
    # The conversation goes on: the call and its result come back, and the model may call or not.
    after = {**chat, "max_tokens": 8, "messages": chat["messages"] + [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "3 degrees"}]}
    assert good(http.post("/v1/chat/completions", after))["choices"][0]["message"]["role"] == "assistant"
    for body, param in (({"tool_choice": "required", "response_format": {"type": "json_object"}}, "response_format"),
                        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
                        ({"tools": [CLOCK, CLOCK]}, "tools[1].function.name"),
                        ({"chat_template": "{{ messages[0].content }}"}, "tools")):
        refused(http.post("/v1/chat/completions", {**chat, **body}), 400, "invalid_value", param)


def thoughts_are_no_content(server):
    http = Http(server)
    chat = greedy(messages=[{"role": "user", "content": "Hi"}], chat_template=SHOWS_TOOLS, ignore_eos=True,
                  chat_template_kwargs={"enable_thinking": True})
    message = good(http.post("/v1/chat/completions", chat))["choices"][0]["message"]
    assert message["content"] == "" and message["reasoning_content"] == message["reasoning"] != "", message
    deltas = [c["choices"][0]["delta"] for c in chunks_of(http, "/v1/chat/completions", chat)]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == message["reasoning_content"]
    assert not any(d.get("content") for d in deltas)
    raw = good(http.post("/v1/chat/completions", {**chat, "reasoning_format": "none"}))["choices"][0]["message"]
    assert raw["content"].strip() == message["reasoning_content"].strip() and "reasoning" not in raw, raw
    hidden = good(http.post("/v1/chat/completions", {**chat, "include_reasoning": False}))["choices"][0]["message"]
    assert hidden["content"] == "" and "reasoning_content" not in hidden, hidden
    off = good(http.post("/v1/chat/completions", {**chat, "chat_template_kwargs": {"enable_thinking": False}}))
    assert off["choices"][0]["message"]["content"] and "reasoning" not in off["choices"][0]["message"], off


def flags_say_how_answers_are_read(plain):
    chat = greedy(messages=[{"role": "user", "content": "Hi"}], ignore_eos=True, chat_template=SHOWS_TOOLS,
                  chat_template_kwargs={"enable_thinking": True})
    unknown = {**chat, "tools": [CLOCK], "chat_template": "{{ tools }}{{ messages[0].content }}"}
    refused(Http(plain).post("/v1/chat/completions", unknown), 400, "invalid_value", "tools")
    server = Server(MOERING, "--reasoning-parser", "none", "--tool-call-parser", "mistral")
    try:
        message = good(Http(server).post("/v1/chat/completions", chat))["choices"][0]["message"]
        assert message["content"] and "reasoning_content" not in message, message
        assert good(Http(server).post("/v1/chat/completions", unknown))["choices"][0]["message"]["content"]
    finally:
        server.stop()


def wrong_requests_are_named(server):
    http = Http(server)
    for body, param in (({"prompt": 5}, "prompt"), ({"prompt": "x", "temperature": -1}, "temperature"),
                        ({"prompt": "x", "n": 0}, "n"), ({"prompt": "x", "max_tokens": "7"}, "max_tokens"),
                        ({"prompt": [1, 10 ** 9]}, "prompt"), ({"prompt": "x", "stop": 3}, "stop"),
                        ({"prompt": "x", "suffix": "y"}, "suffix"), ({}, "prompt"),
                        ({"prompt": "x", "logit_bias": {"a": 1}}, "logit_bias")):
        refused(http.post("/v1/completions", body), 400, "invalid_value", param)
    refused(http.post("/v1/completions", b"{"), 400, "invalid_value")
    refused(http.post("/v1/completions", {"prompt": "x", "model": "y"}), 404, "model_not_found", "model")
    refused(http.post("/v1/completions", {"prompt": "a " * 3000}), 400, "context_length_exceeded", "prompt")
    refused(http.get("/v1/nothing"), 404, "not_found")
    refused(http.get("/v1/completions"), 405, "method_not_allowed")
    refused(http.post("/v1/completions", b"x", Content_Type="text/plain"), 415, "unsupported_media_type")
    assert good(http.get("/health"))["status"] == "ok" # the connection has outlived all of it


def tokens_go_round(server):
    http = Http(server)
    ids = good(http.post("/tokenize", {"content": STORY}))["tokens"]
    assert STORY in good(http.post("/detokenize", {"tokens": ids}))["content"]
    other = good(http.post("/tokenize", {"model": "tiny", "prompt": STORY}))
    assert other["count"] == len(other["tokens"]) and other["max_model_len"] > 0
    prompt = good(http.post("/apply-template", {"messages": [{"role": "user", "content": "Hi"}]}))["prompt"]
    assert "Hi" in prompt
    models = good(http.get("/v1/models"))["data"]
    assert [m["id"] for m in models] == ["tiny"] and good(http.get("/v1/models/tiny"))["id"] == "tiny"
    refused(http.get("/v1/models/other"), 404, "model_not_found", "model")


# ---- clients that go, servers that go ----

def gone(server, body, after):
    """Sends a request on a socket of its own and closes it once after() is true."""
    data = json.dumps(body).encode()
    s = socket.create_connection(("127.0.0.1", server.http_port))
    s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n" % len(data) + data)
    until(after, 30, "the request to be where it should be")
    s.close()


def clients_that_go_free_their_seats(_):
    server = Server(MOERING, "--max-num-seqs", 2, "--device-experts", "10%", "--io", "sync")
    try:
        endless = {"prompt": STORY, "max_tokens": 900, "ignore_eos": True}
        stats = server.stub.stats
        for stream in (False, True):
            gone(server, {**endless, "stream": stream},
                 lambda: stats().requests_running == 1 and stats().generation_tokens > 0) # mid-stream
            server.wait_idle()
            gone(server, {**endless, "n": 3, "stream": stream},
                 lambda: stats().requests_waiting >= 1)      # one of its choices waits
            server.wait_idle()
            gone(server, {"prompt": "a " * 700, "max_tokens": 200, "ignore_eos": True, "stream": stream},
                 lambda: stats().requests_running == 1)      # in prefill
            server.wait_idle()
        # Ten were asked for; what ended before its client had gone was not cancelled.
        assert 4 <= stats().requests_cancelled <= 10, stats()
    finally:
        server.stop()


def a_full_queue_says_when_to_come_again(_):
    server = Server(MOERING, "--max-num-seqs", 1, "--max-queue", 1)
    try:
        def one(_):
            return Http(server).post("/v1/completions", {"prompt": STORY, "max_tokens": 300,
                                                         "ignore_eos": True})
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(one, range(12)))
        full = [a for a in answers if a[0] == 429]
        assert full and all(a[0] in (200, 429) for a in answers), [a[0] for a in answers]
        refused(full[0], 429, "queue_full")
        assert int(full[0][2]["Retry-After"]) >= 1
    finally:
        server.stop()


def a_drain_finishes_streams(_):
    server = Server(MOERING)
    http, late = Http(server), Http(server)
    assert good(late.get("/readyz")) is not None
    events = http.stream("/v1/completions", {"prompt": STORY, "max_tokens": 600, "ignore_eos": True})
    next(events)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: late.get("/readyz")[0] == 503, 10, "readiness to change")
    rest = list(events)
    assert rest[-1] == "[DONE]" and json.loads(rest[-2])["choices"][0]["finish_reason"] == "length"
    assert server.wait_exit() == 0


# ---- keys and TLS ----

def only_health_is_open_without_a_key(_):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "keys")
        with open(path, "w", encoding="utf-8") as f:
            f.write("# for tests\nfirst-key\n\nsecond-key\n")
        server = Server(MOERING, "--api-key-file", path)
        try:
            open_to_all = Http(server)
            for path in ("/health", "/livez", "/readyz"):
                assert open_to_all.get(path)[0] == 200, path
            for method, path in (("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/version"),
                                 ("POST", "/v1/completions"), ("POST", "/tokenize"), ("GET", "/nothing"),
                                 ("GET", "/v1/experts"), ("POST", "/detokenize"), ("GET", "/v1/stats")):
                refused(open_to_all.ask(method, path, {} if method == "POST" else None), 401,
                        "invalid_api_key")
            refused(Http(server, key="first-kex").get("/v1/models"), 401, "invalid_api_key")
            for key in ("first-key", "second-key"):
                assert Http(server, key=key).get("/v1/models")[0] == 200
            assert open_to_all.get("/v1/models", x_api_key="first-key")[0] == 200
            for metadata, code in (((), grpc.StatusCode.UNAUTHENTICATED),
                                   ((("authorization", "Bearer second-key"),), None)):
                try:
                    server.stub.model(pb.GetModelRequest(), timeout=30, metadata=metadata)
                    assert code is None
                except grpc.RpcError as e:
                    assert e.code() == code, e
            assert not any("first-key" in line for line in server.log)
        finally:
            server.stop()


def certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", os.path.join(folder, "key.pem"), "-out", os.path.join(folder, "cert.pem"),
                    "-days", "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)
    return ssl.create_default_context(cafile=os.path.join(folder, "cert.pem"))


def tls_on_both_ports_and_a_new_certificate(_):
    if not shutil.which("openssl"):
        print("skipped: the Debian package openssl is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        context = certificate(folder, "one")
        paths = [os.path.join(folder, n) for n in ("cert.pem", "key.pem")]
        server = Server(MOERING, "--ssl-certfile", paths[0], "--ssl-keyfile", paths[1], wait=False)
        try:
            def secure():
                return Http(server, context)
            until(lambda: secure().get("/health")[0] == 200, 60, "the server to serve")
            assert good(secure().post("/v1/completions", greedy(prompt=QUESTION)))["choices"][0]["text"] == " 82"
            with open(paths[0], "rb") as f:
                channel = grpc.secure_channel(server.address, grpc.ssl_channel_credentials(f.read()))
            check = channel.unary_unary("/grpc.health.v1.Health/Check",
                                        request_serializer=health_pb.HealthCheckRequest.SerializeToString,
                                        response_deserializer=health_pb.HealthCheckResponse.FromString)
            assert check(health_pb.HealthCheckRequest(), timeout=30).status == \
                health_pb.HealthCheckResponse.SERVING
            kept = secure()
            assert kept.get("/health")[0] == 200
            new = certificate(folder, "two")
            server.process.send_signal(signal.SIGHUP)

            def renewed():
                try:
                    return Http(server, new).get("/health")[0] == 200
                except ssl.SSLCertVerificationError:
                    return False
            until(renewed, 10, "the new certificate")
            assert kept.get("/health")[0] == 200 # what was open stays
            with open(paths[1], "w", encoding="utf-8") as f:
                f.write("nonsense")
            server.process.send_signal(signal.SIGHUP)
            until(lambda: any("certificate stays" in line for line in server.log), 10, "the warning")
            assert Http(server, new).get("/health")[0] == 200
        finally:
            server.stop()


# ---- other programs ----

def proxied(server, command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        def up():
            if process.poll() is not None:
                raise AssertionError("%s: %s" % (command[0], process.stderr.read()))
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return True
            except ConnectionRefusedError:
                return False
        until(up, 20, command[0])
        events = Http(server, port=port).stream(
            "/v1/completions", {"prompt": STORY, "max_tokens": 900, "n": 4, "ignore_eos": True})
        for _ in range(5):
            next(events)
        # A proxy that held them back would pass the first on when the last has come.
        assert server.stub.stats().requests_running > 0, command[0]
        rest = list(events)
        assert rest[-1] == "[DONE]" and len(rest) > 1000
    finally:
        process.kill() # asked kindly, it waits for our connection
        process.wait(20)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def proxies_pass_streams_on(_):
    server = Server(MOERING, "--device-experts", "10%", "--io", "sync")
    try:
        with tempfile.TemporaryDirectory() as folder:
            port, path = free_port(), os.path.join(folder, "proxy.conf")
            for program, text, words in (
                    ("nginx", "daemon off; worker_processes 1; pid %s/pid; error_log stderr; events {}\n"
                     "http { access_log off; client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path "
                     "%s; uwsgi_temp_path %s; scgi_temp_path %s;\n server { listen 127.0.0.1:%d; location / {"
                     " proxy_pass http://127.0.0.1:%d; proxy_http_version 1.1; } } }\n" %
                     (*[folder] * 6, port, server.http_port), ["-c", path]),
                    ("haproxy", "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n"
                     " timeout server 60s\nfrontend f\n bind 127.0.0.1:%d\n default_backend b\nbackend b\n"
                     " server s 127.0.0.1:%d\n" % (port, server.http_port), ["-f", path])):
                found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
                if not found:
                    print("skipped: the Debian package %s is not installed" % program)
                    continue
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                proxied(server, [found, *words], port)
    finally:
        server.stop()


def the_load_generator_is_served(server):
    for backend, port in (("openai", server.http_port), ("openai-chat", server.http_port),
                          ("moering", server.port)):
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run(
                [BENCH, "--backend", backend, "--host", "127.0.0.1", "--port", str(port), "--num-prompts", "24",
                 "--max-concurrency", "8", "--random-input-len", "20", "--random-output-len", "12",
                 "--ignore-eos", "--save-result", "--result-dir", folder, "--result-filename", "r.json"],
                capture_output=True, text=True, timeout=120, check=False)
            assert result.returncode == 0, result.stdout + result.stderr
            with open(os.path.join(folder, "r.json"), encoding="utf-8") as f:
                got = json.load(f)
            assert got["completed"] == 24 and got["failed"] == 0 and got["total_output_tokens"] == 288, got


def main():
    server = Server(MOERING, "--served-model-name", "tiny")
    code = run_cases([
        a_question_is_answered, grpc_and_http_say_the_same, a_stream_is_the_answer_in_pieces,
        several_choices_and_prompts, what_was_computed_is_not_computed_again,
        evaluation_tools_score_prompts, structure_is_kept, demanded_tools_are_called,
        thoughts_are_no_content, flags_say_how_answers_are_read, wrong_requests_are_named, tokens_go_round,
        clients_that_go_free_their_seats,
        a_full_queue_says_when_to_come_again, a_drain_finishes_streams,
        only_health_is_open_without_a_key, tls_on_both_ports_and_a_new_certificate,
        proxies_pass_streams_on, the_load_generator_is_served,
    ], server)
    server.wait_idle()
    server.stop()
    return code


if __name__ == "__main__":
    sys.exit(main())

"""The stock Python client against a server: what its users do, and what it makes of our errors.

    openai_client.py BASE_URL       run by an interpreter that has the package `openai`
"""
import asyncio
import json
import sys
import traceback

import openai

BASE_URL = sys.argv[1]
KEY = "sesame"
PROMPT = "sort: 3 1 2"
ENDLESS = {"model": "", "prompt": PROMPT, "max_tokens": 900, "extra_body": {"ignore_eos": True}}
client = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=60)


def chat(**kw):
    return {"model": "", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 12, **kw}


def rejected(kind, call, *args, **kw):
    try:
        call(*args, **kw)
    except kind as e:
        return e
    raise AssertionError("no " + kind.__name__)


def models():
    name = client.models.list().data[0].id
    assert client.models.retrieve(name).id == name


def completions():
    asked = {"model": "", "prompt": PROMPT, "max_tokens": 9, "temperature": 0, "extra_body": {"ignore_eos": True}}
    whole = client.completions.create(**asked)
    assert whole.usage.completion_tokens == 9 and whole.choices[0].finish_reason == "length"
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == whole.usage.total_tokens


def chats():
    whole = client.chat.completions.create(**chat(temperature=0, logprobs=True, top_logprobs=2)).choices[0]
    assert whole.message.role == "assistant" and len(whole.logprobs.content[0].top_logprobs) == 2
    with client.chat.completions.stream(**chat(temperature=0)) as stream:
        text = "".join(e.delta for e in stream if e.type == "content.delta")
        last = stream.get_final_completion().choices[0]
    assert text == last.message.content == whole.message.content
    assert last.finish_reason == whole.finish_reason


def structured_output():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}},
              "required": ["n", "ok"], "additionalProperties": False}
    choice = client.chat.completions.create(**chat(max_tokens=200), response_format={
        "type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}).choices[0]
    if choice.finish_reason == "stop":
        value = json.loads(choice.message.content)
        assert isinstance(value["n"], int) and isinstance(value["ok"], bool)


def tool_calls():
    parameters = {"type": "object", "required": ["city", "days"], "additionalProperties": False, "properties": {
        "city": {"type": "string", "enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 7}}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters, "strict": True}}]
    template = ("{{ tools | tojson if tools }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                "{# <tool_call> #}")
    asked = chat(max_tokens=200, seed=1, tools=tools, tool_choice="required", parallel_tool_calls=False,
                 extra_body={"chat_template": template})
    whole = client.chat.completions.create(**asked).choices[0]
    [call] = whole.message.tool_calls
    assert whole.finish_reason == "tool_calls" and whole.message.content is None and call.type == "function"
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
    with client.chat.completions.stream(**asked) as stream:
        pieces = "".join(e.arguments_delta for e in stream if e.type == "tool_calls.function.arguments.delta")
        last = stream.get_final_completion().choices[0]
    assert last.finish_reason == "tool_calls" and last.message.tool_calls[0].function.parsed_arguments
    assert pieces == last.message.tool_calls[0].function.arguments == call.function.arguments
    asked["messages"] = asked["messages"] + [whole.message.model_dump(exclude_none=True), {
        "role": "tool", "tool_call_id": call.id, "content": "3 degrees"}]
    asked["tool_choice"] = {"type": "function", "function": {"name": "weather"}}
    again = client.chat.completions.create(**asked).choices[0]
    assert again.finish_reason == "stop" and again.message.tool_calls[0].function.name == "weather"


def many_streams():
    async def one(c, i):
        tokens = 0
        stream = await c.completions.create(model="", prompt="count: %d" % i, max_tokens=20, stream=True,
                                            stream_options={"include_usage": True}, extra_body={"ignore_eos": True})
        async for chunk in stream:
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
        return tokens

    async def go():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0) as c:
            return await asyncio.gather(*(one(c, i) for i in range(24)))
    assert asyncio.run(go()) == [20] * 24


def errors():
    e = rejected(openai.BadRequestError, client.completions.create, model="", prompt=PROMPT, temperature=-1)
    assert e.status_code == 400 and e.param == "temperature" and e.type == "invalid_request_error"
    rejected(openai.NotFoundError, client.completions.create, model="another", prompt=PROMPT)
    stranger = openai.OpenAI(base_url=BASE_URL, api_key="wrong", max_retries=0)
    rejected(openai.AuthenticationError, stranger.models.list)
    nobody = openai.OpenAI(base_url="http://127.0.0.1:1/v1", api_key=KEY, max_retries=0)
    rejected(openai.APIConnectionError, nobody.models.list)


def timeouts():
    rejected(openai.APITimeoutError, client.with_options(timeout=0.03).completions.create, **ENDLESS)


def cancels():
    stream = client.completions.create(**ENDLESS, stream=True)
    next(iter(stream))
    stream.close()


def main():
    failed = 0
    for case in (models, completions, chats, structured_output, tool_calls, many_streams, errors, timeouts, cancels):
        try:
            case()
            print("ok   python %s" % case.__name__)
        except Exception: # pylint: disable=broad-exception-caught
            failed += 1
            print("FAIL python %s" % case.__name__)
            traceback.print_exc()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

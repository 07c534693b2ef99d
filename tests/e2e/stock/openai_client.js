/* The stock JavaScript client against a server: what its users do, and what it makes of our errors.
 *
 *     openai_client.js MODULE BASE_URL        MODULE: the client's folder or file ("openai" where installed)
 */
"use strict";
const assert = require("node:assert/strict");
const [, , modulePath, baseURL] = process.argv;
const { OpenAI } = require(modulePath);

const key = "sesame";
const PROMPT = "sort: 3 1 2";
const client = new OpenAI({ baseURL, apiKey: key, maxRetries: 0, timeout: 60000 });
const endless = { model: "", prompt: PROMPT, max_tokens: 900, ignore_eos: true, stream: true };
const chat = (more) => ({ model: "", messages: [{ role: "user", content: PROMPT }], max_tokens: 12, ...more });

async function rejected(promise, kind, status) {
  let error = null;
  try {
    await promise;
  } catch (e) {
    error = e;
  }
  assert.ok(error instanceof kind, `${error && error.constructor.name}: ${error && error.message}`);
  if (status !== undefined) assert.equal(error.status, status);
  return error;
}

const cases = {
  async models() {
    const page = await client.models.list();
    assert.equal(page.data.length, 1);
    const one = await client.models.retrieve(page.data[0].id);
    assert.equal(one.id, page.data[0].id);
    assert.equal(one.object, "model");
  },
  async completions() {
    const asked = { model: "", prompt: PROMPT, max_tokens: 9, temperature: 0, ignore_eos: true };
    const whole = await client.completions.create(asked);
    assert.equal(whole.usage.completion_tokens, 9);
    assert.equal(whole.choices[0].finish_reason, "length");
    let text = "", usage = null, chunks = 0;
    const stream = await client.completions.create({
      ...asked, stream: true, stream_options: { include_usage: true } });
    for await (const chunk of stream) {
      chunks++;
      if (chunk.choices.length) text += chunk.choices[0].text;
      else usage = chunk.usage;
    }
    assert.equal(text, whole.choices[0].text);
    assert.equal(usage.total_tokens, whole.usage.total_tokens);
    assert.ok(chunks > 2);
  },
  async chats() {
    const whole = await client.chat.completions.create(chat({ temperature: 0, logprobs: true, top_logprobs: 2 }));
    const choice = whole.choices[0];
    assert.equal(choice.message.role, "assistant");
    assert.equal(choice.logprobs.content[0].top_logprobs.length, 2);
    const events = [];
    const runner = client.chat.completions.stream(chat({ temperature: 0 }));
    runner.on("content", (delta) => events.push(delta));
    const last = await runner.finalChatCompletion();
    assert.equal(last.choices[0].message.content, choice.message.content);
    assert.equal(events.join(""), choice.message.content);
    assert.equal(last.choices[0].finish_reason, choice.finish_reason);
  },
  async structured_output() {
    const schema = { type: "object", properties: { n: { type: "integer" }, ok: { type: "boolean" } },
      required: ["n", "ok"], additionalProperties: false };
    const answer = await client.chat.completions.create(chat({ max_tokens: 200, response_format: {
      type: "json_schema", json_schema: { name: "answer", schema, strict: true } } }));
    if (answer.choices[0].finish_reason === "stop") {
      const value = JSON.parse(answer.choices[0].message.content);
      assert.ok(Number.isInteger(value.n) && typeof value.ok === "boolean");
    }
  },
  async tool_calls() {
    const parameters = { type: "object", required: ["city", "days"], additionalProperties: false, properties: {
      city: { type: "string", enum: ["Rome", "Oslo"] }, days: { type: "integer", minimum: 1, maximum: 7 } } };
    const template = "{{ tools | tojson if tools }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n" +
      "{% endfor %}{# <tool_call> #}";
    const asked = chat({ max_tokens: 200, seed: 1, tool_choice: "required", parallel_tool_calls: false,
      chat_template: template, tools: [{ type: "function", function: { name: "weather", parameters } }] });
    const whole = (await client.chat.completions.create(asked)).choices[0];
    const call = whole.message.tool_calls[0];
    assert.equal(whole.finish_reason, "tool_calls");
    assert.equal(whole.message.content, null);
    assert.ok(["Rome", "Oslo"].includes(JSON.parse(call.function.arguments).city));
    const last = (await client.chat.completions.stream(asked).finalChatCompletion()).choices[0];
    assert.equal(last.finish_reason, "tool_calls");
    assert.equal(last.message.tool_calls[0].function.arguments, call.function.arguments);
    asked.messages = [...asked.messages, whole.message,
      { role: "tool", tool_call_id: call.id, content: "3 degrees" }];
    asked.tool_choice = { type: "function", function: { name: "weather" } };
    const again = (await client.chat.completions.create(asked)).choices[0];
    assert.equal(again.finish_reason, "stop");
    assert.equal(again.message.tool_calls[0].function.name, "weather");
  },
  async many_streams() {
    const count = async (i) => {
      let tokens = 0;
      for await (const chunk of await client.completions.create({ model: "", prompt: `count: ${i}`, max_tokens: 20,
        ignore_eos: true, stream: true, stream_options: { include_usage: true } }))
        if (chunk.usage) tokens = chunk.usage.completion_tokens;
      return tokens;
    };
    const all = await Promise.all(Array.from({ length: 24 }, (_, i) => count(i)));
    assert.deepEqual(all, Array(24).fill(20));
  },
  async errors() {
    const e = await rejected(client.completions.create({ model: "", prompt: PROMPT, temperature: -1 }),
      OpenAI.BadRequestError, 400);
    assert.equal(e.param, "temperature");
    assert.equal(e.type, "invalid_request_error");
    await rejected(client.completions.create({ model: "another", prompt: PROMPT }), OpenAI.NotFoundError, 404);
    const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
    await rejected(stranger.models.list(), OpenAI.AuthenticationError, 401);
    const nobody = new OpenAI({ baseURL: "http://127.0.0.1:1/v1", apiKey: key, maxRetries: 0 });
    await rejected(nobody.models.list(), OpenAI.APIConnectionError);
  },
  async timeouts() {
    await rejected(client.completions.create({ ...endless, stream: false }, { timeout: 30 }),
      OpenAI.APIConnectionTimeoutError);
  },
  async cancels() {
    const stream = await client.completions.create(endless);
    for await (const chunk of stream) {
      assert.ok(chunk.choices[0].text !== undefined);
      break; // which hangs up
    }
    const controller = new AbortController();
    const other = await client.completions.create(endless, { signal: controller.signal });
    let seen = 0;
    for await (const _ of other) if (++seen === 2) controller.abort();
    assert.ok(seen < 900);
  },
};

(async () => {
  let failed = 0;
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
      console.log("ok   javascript %s", name);
    } catch (e) {
      failed++;
      console.log("FAIL javascript %s\n%s", name, e.stack);
    }
  }
  process.exitCode = failed ? 1 : 0;
})();

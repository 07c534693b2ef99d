#!/usr/bin/env python3
"""Makes the vectors of this folder: what Jinja2 itself makes of templates.

    /usr/bin/python3 make_templates.py       (Debian: python3-jinja2 3.1.2)

The environment is the one that the Hugging Face library makes for chat templates: immutable sandbox,
trim_blocks, lstrip_blocks, loop controls, `generation` blocks passed through, its own tojson,
raise_exception and strftime_now (here at a fixed time, in UTC).

    cases/AREA.jsonl    small cases, one object a line: template, variables (may be missing), and either
                        output or error (Python's words, for people: tests check that there is one)
    NAME.jinja          templates in the style of models' own, written for these tests
    conversations.json  sets of variables by name
    NAME.jsonl          for each conversation: its name, and output or error; raised: the words of
                        raise_exception, which must be in our sentence

Two runs give the same bytes.
"""
import copy
import datetime
import glob
import json
import os

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from template_cases import CASES, CONVERSATIONS

HERE = os.path.dirname(os.path.abspath(__file__))
NOW_S = 1753012345


class Raised(Exception):
    pass


class Generation(jinja2.ext.Extension):
    """{% generation %} marks what the model wrote; rendering passes it through."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_through")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _through(self, caller):
        return caller()


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW_S, datetime.timezone.utc).strftime(form)


def environment(mutable=False):
    extensions = [Generation, jinja2.ext.loopcontrols, jinja2.ext.do]
    kind = SandboxedEnvironment if mutable else ImmutableSandboxedEnvironment
    env = kind(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def render(env, source, variables):
    try:
        output = env.from_string(source).render(**copy.deepcopy(variables))
        output.encode("utf-8")  # half a surrogate pair is nothing that could be sent
        return {"output": output}
    except Raised as e:
        return {"error": "raised", "raised": str(e)}
    except Exception as e:  # whatever Python says
        return {"error": "%s: %s" % (type(e).__name__, e)}


def write_lines(name, lines):
    with open(os.path.join(HERE, name), "w", encoding="utf-8", newline="\n") as f:
        for line in lines:
            f.write(json.dumps(line, ensure_ascii=False) + "\n")


def main():
    os.makedirs(os.path.join(HERE, "cases"), exist_ok=True)
    for area, cases in CASES.items():
        env = environment(mutable=area == "methods_mutable")
        lines = []
        for case in cases:
            source, variables = case if isinstance(case, tuple) else (case, {})
            line = {"template": source}
            if variables:
                line["variables"] = variables
            line.update(render(env, source, variables))
            lines.append(line)
        write_lines(os.path.join("cases", area + ".jsonl"), lines)
    with open(os.path.join(HERE, "conversations.json"), "w", encoding="utf-8") as f:
        json.dump(CONVERSATIONS, f, ensure_ascii=False, indent=1)
        f.write("\n")
    env = environment()
    for path in sorted(glob.glob(os.path.join(HERE, "*.jinja"))):
        with open(path, encoding="utf-8", newline="") as f:
            source = f.read()
        lines = [dict(conversation=name, **render(env, source, variables))
                 for name, variables in CONVERSATIONS.items()]
        write_lines(os.path.basename(path)[:-6] + ".jsonl", lines)


if __name__ == "__main__":
    main()

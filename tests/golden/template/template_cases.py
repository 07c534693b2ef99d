"""The small cases and the conversations of make_templates.py."""

VALUES = {
    "s": "Héllo wörld", "n": 7, "f": 2.5, "t": True, "z": None, "e": "",
    "l": [3, 1, 2], "d": {"b": 1, "a": "x", "C": [1, {"k": None}]},
    "ms": [{"role": "system", "content": "S", "n": 2}, {"role": "user", "content": "u1", "n": 1},
           {"role": "user", "content": "u2"}],
    "nested": {"items": [1, 2], "get": 5, "keys": "own", "x": {"y": [{"z": "deep"}]}},
    "quoted": "it's \"q\" <b>&\n\t\\ é 中 😀 \x7f",
}


def shown(*expressions):
    return [("{{ %s }}" % e, VALUES) for e in expressions]


def asked(*expressions):
    """As shown, between bars: white space and emptiness are seen."""
    return [("|{{ %s }}|" % e, VALUES) for e in expressions]


CASES = {}

CASES["lexer"] = [
    "", "plain", "a\n", "a\n\n", "\n", "a\r\nb\rc\n", "{{ 1 }}\n", "{{ 1 }}\n\n", "{# c #}", "a{# c #}b",
    "a {# c #} b", "a\n{# c #}\nb", "a\n  {# c #}\nb", "a {#- c -#} b", "a\n {#+ c +#}\nb", "{#- -#}",
    "{# multi\nline #}x", "{# {{ no }} {% no %} #}x", "{#-#}", "x {##} y",
    "{% if true %}\nyes\n{% endif %}\n", "  {% if true %}  \n  yes\n  {% endif %}\nend",
    "a {% if true %} b {% endif %} c", "a\n\t{% if true %}\n b\n\t{% endif %}\nc", "x{% if true %}\n\ny{% endif %}",
    "  {%- if true -%}  y  {%- endif -%}  ", "a  {%- if true %} y {% endif -%}\n\n b",
    "a\n  {%+ if true %}\ny\n  {%+ endif %}\nb", "a\n  {% if true +%}\ny\n  {% endif +%}\nb",
    "  {{ 1 }}  \n  {{- 2 -}}  \n  {{ 3 -}}\n4", "a {{- 1 }} {{ 2 -}} b", "{{-1}}", "{{ -1 }}", "{{+1}}", "{{- -1 }}",
    "{{ '}}' }}", "{{ \"%}\" }}", "{% set x = '%}' %}{{ x }}", "{{ {'a': {'b': 1}} }}", "{{ {'a':{'b':1}}}}",
    "{{ {'a': 1}['a'] }}", "{ {", "{", "}}", "%}", "{ % if %}", "{{ '{{' }}", "{{ 1 }}{{ 2 }}", "a{{1}}b{{2}}c",
    "{% raw %}{{ x }}{% endraw %}", "{% raw %}\n {{ x }} {% if %}\n{% endraw %}\nb", "a {%- raw -%} \n x \n {%- endraw -%} b",
    "a\n  {% raw %}\n  x\n  {% endraw %}\nb", "{% raw %}{% endraw %}", "{% raw %}{# #}{% endraw %}{# #}",
    "{%raw%}x{%endraw%}", "{% raw -%}  x{% endraw %}", "{%+ raw %} x {%+ endraw +%}\ny",
    "{{ 1", "{% if", "{# never", "{% raw %} never", "{{ 'never }}", "{{ ) }}", "{{ (1] }}", "{{ ! }}", "{{ $ }}", "{{ a ? b }}",
    "  {{ 1 }}\n  {% set x = 1 %}\n  {{ x }}\n", "\u2003{%- if true %}x{% endif -%}\u3000y", "\n\n{%- if true %}x{% endif %}",
    "a\n   {{ 1 }}\nb", "{% set x = 1 %}  {% set y = 2 %}\n  {% set z = 3 %}{{ x }}{{ y }}{{ z }}",
    "{% for i in [1,2] %}\n  {{ i }}\n{% endfor %}\n", "{% for i in [1,2] -%}\n  {{ i }}\n{%- endfor %}\n",
    "<{% if true %}>\n", "a\n{% if true %}{% if true %}\nb\n{% endif %}{% endif %}\nc", "é{% if true %} 中 {% endif %}😀",
    " \t {% set a = 1 %} \t \n x", "{% set a = 1 -%}\n\n\n   x", "{{ 1 -}}   \n\n", "x\n  {%- set a = 1 +%}\n  y",
    "{{ 1 +}}", "{{ 1 }}\n{% if true %}\n{{ 2 }}\n{% endif %}\n{{ 3 }}",
]

CASES["lexer_literal"] = shown(
    "0", "7", "1_000", "00", "0_0", "0x1F", "0XfF", "0o17", "0b101", "0b1_1", "1.5", "1.5e3", "1e3", "1E-2", "1_0.2_5", "1e+2",
    "9223372036854775807", "0.1", "1.0", "100000000000000000.0", "1e16", "1e15", "1e-4", "1e-5", "123456789.123456789",
    "'a'", "\"a\"", "'a' 'b' \"c\"", r"'a\nb'", r"'\t|'", r"'\x41\u00e9\U0001F600'", r"'\101\0'|length", r"'\\'", r"'\''", r"'\"'",
    r"'\q\z'", r"'\a\b\f\v\r'|length", "'line\nbreak'", r"'a\
b'", "'é中😀'", "''", "true", "True", "false", "False", "none", "None", "l.0", "l.1", "[[1,2],[3]].0.1",
    "0123", "'\\x4'", "'\\ud800'", "'\\U00110000'", "08", "1__0", "_x", "x1|default('u')", "2.0.x|default('u')")

CASES["parse_expression"] = shown(
    "1 + 2 * 3", "(1 + 2) * 3", "2 ** 3 ** 2", "-2 ** 2", "2 ** -1", "- 3", "--3", "+3", "-+3", "7 // 2 * 2", "7 % 4 - 1", "1 - 2 - 3",
    "8 / 2 / 2", "1 ~ 2 + 3", "1 + 2 ~ 3", "'a' ~ 1 * 2", "'a' ~ 'b' ~ 3", "not true", "not not true", "not 1 == 2", "1 < 2 < 3", "1 < 3 < 2",
    "1 == 1 == 1", "3 > 2 >= 2 != 3", "1 in [1] == true", "1 in [1, 2] and 3 not in [1]", "not 1 in [1]", "true or false and false",
    "1 or 2", "0 or 2", "1 and 2", "0 and 2", "'' or none", "1 if true else 2", "1 if false else 2", "1 if false", "1 if true", "(1 if false) is undefined",
    "1 if false else 2 if false else 3", "1 if true if false else 2", "[1, 2, 3]", "[1, 2, 3,]", "[]", "()", "(1,)", "(1, 2)", "1, 2", "1,", "{}", "{'a': 1, 'b': [2]}",
    "{'a': 1,}", "{1: 2, none: 3, true: 4}", "{'a': 1}.a", "[1, 2][0]", "'abc'[1]", "'abc'.upper()", "[1,2]|length", "-1|abs", "-5.5|abs", "(-1)|abs", "2 + 3|abs",
    "'a'|upper ~ 'b'", "'a' 'b'|upper", "'x' is string", "'x' is not string", "not 'x' is string", "1 is number and 2 is number", "n is divisibleby 7", "n is divisibleby(7)",
    "n is eq 7", "n is eq(7)", "n is in [7]", "n is not in [7]", "n is lt 8 and n is gt 6", "z is none or n", "s is defined", "qq is defined", "qq is not defined", "qq.x is defined",
    "d.qq is defined", "d['a']", "d[\"a\"]", "d['qq'] is undefined", "l[-1]", "l[0:2]", "l[::-1]", "l[1:]", "l[:1]", "l[:]", "l[-2:]", "l[::2]", "s[::-1]", "s[1:4]",
    "ms[0].role", "ms[0]['role']", "ms[-1].content", "ms[0].role.upper()", "ms|map(attribute='role')|join(',')", "(l|sort)[0]", "l|sort|first", "'%s'", "d.C[1].k", "d.C[1].k is none",
    "range(3)|list", "range(1, 4)|list", "range(5, 0, -2)|list", "dict(a=1, b=2)", "dict({'a': 1}, b=2)", "namespace(a=1).a", "l is iterable and l is not mapping", "s|default('x')|upper",
    "qq|default('x')|upper", "'a' if 1 is number else 'b'", "('a', 'b')[1]", "'abc'|length == 3", "1 +", "* 2", "(1", "1 2", "a b", "1 = 2", "f(1", "f(a=1, 2)", "f(a=1, a=2)", "l[", "l[1:2:3:4]", "x.", ".x",
    "{1 2}", "{'a'}", "[1 2]", "1 is", "1 is 2", "1 |", "1 | 2", "n is string is number", "'a' in 'abc' in ['x']", "l.0 + l.1", "{'a': 1}['a'] + 1", "not qq", "qq or 'x'", "qq == qq", "qq == none",
    "'\\n'|length", "1 == 1.0", "true == 1", "'a' < 'b'", "[1, 2] < [1, 3]", "(1, 2) == (1, 2)", "[1] == (1,)", "{'a': 1} == {'a': 1}", "1 != '1'", "1 is sameas 1", "none is sameas none",
    "s | upper | lower", "d.a | upper", "d | length", "((1))", "[(1, 2), (3, 4)]|length", "x if x is defined else 'no'", "a.b.c if a is defined else 'no'", "'yes' if s and not e else 'no'")

CASES["parser"] = [
    "{% if 1 %}a{% elif 2 %}b{% else %}c{% endif %}", "{% if 0 %}a{% elif 2 %}b{% else %}c{% endif %}", "{% if 0 %}a{% elif 0 %}b{% else %}c{% endif %}",
    "{% if 0 %}a{% elif 0 %}b{% elif 1 %}d{% endif %}", "{% if 0 %}a{% endif %}", "{% if 1, %}t{% endif %}", "{% if 1: %}t{% endif %}",
    "{% for a in [1,2,3] %}{{ a }},{% endfor %}", "{% for a, b in [(1,2),(3,4)] %}{{ a }}-{{ b }};{% endfor %}", "{% for (a, b) in [(1,2)] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, (b, c) in [(1,(2,3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a in 1, 2 %}{{ a }}{% endfor %}", "{% for a in [1,2,3] if a > 1 %}{{ a }}{% endfor %}",
    "{% for a in [] %}x{% else %}none{% endfor %}", "{% for a in [1] if a > 1 %}x{% else %}none{% endfor %}", "{% for a in [1] if a is defined else 2 %}{% endfor %}",
    "{% set x = 1 %}{{ x }}", "{% set x, y = 1, 2 %}{{ x }}{{ y }}", "{% set (x, y) = [1, 2] %}{{ x }}{{ y }}", "{% set x = 1, 2 %}{{ x }}", "{% set x = 1 if false else 2 %}{{ x }}",
    "{% set x %}a{{ 1 }}b{% endset %}{{ x }}", "{% set x | upper %}ab{% endset %}{{ x }}", "{% set x | upper | replace('A', 'z') %}ab{% endset %}{{ x }}",
    "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}", "{% set ns = namespace() %}{% set ns.b = 2 %}{{ ns.b }}{{ ns.c is defined }}",
    "{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=4, a=5) }}", "{% macro m() %}x{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}",
    "{% filter upper %}abc{{ 'd' }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}", "{% generation %}x{{ 1 }}{% endgeneration %}",
    "{% for i in [1,2,3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "{% for i in [1,2,3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% do [1] %}x", "{% if %}x{% endif %}", "{% if 1 %}x", "{% endif %}", "{% else %}", "{% for %}{% endfor %}", "{% for a in %}{% endfor %}", "{% for 1 in [1] %}{% endfor %}", "{% for a.b in [1] %}{% endfor %}",
    "{% set 1 = 2 %}", "{% set true = 2 %}", "{% set x %}", "{% set x = %}", "{% set x.y.z = 1 %}", "{% set x = 1 2 %}", "{% macro %}{% endmacro %}", "{% macro m %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(1) %}{% endmacro %}", "{% unknown %}", "{% %}", "{% 1 %}", "{% if 1 %}{% endfor %}", "{% for a in [1] %}{% endif %}", "{% if 1 %}{% else %}{% elif 2 %}{% endif %}", "{{ }}", "{{ 1 }",
    "{% if 1 %}a{% endif x %}", "{% endmacro %}", "{% break %}", "{% continue %}", "{% for i in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{{ x|nofilter }}", "{{ x is notest }}",
    "{% if false %}{{ x|nofilter }}{% endif %}ok", "{% if false and (x is notest) %}{% endif %}ok", "{{ 'a' if true else x|nofilter }}", "{{ (x|nofilter) if false else 'b' }}", "{% if true %}{{ x|nofilter }}{% endif %}",
    "{% if false %}{% for a in [1] %}{{ a|nofilter }}{% endfor %}{% endif %}", "{% if true %}a{% elif x|nofilter %}b{% endif %}", "{% if false %}{% set x %}{{ 1|nofilter }}{% endset %}{% endif %}",
    "{% set x = 1 if true else y|nofilter %}{{ x }}", "{% if x is defined %}{{ x|nofilter }}{% else %}no{% endif %}", "{{ [x|nofilter] if false }}",
]

CASES["render"] = [
    ("{% for m in ms %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}", VALUES),
    ("{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }}|{% endfor %}", VALUES),
    ("{% for i in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}", VALUES),
    ("{% for i in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", VALUES),
    ("{% for i in [1,1,2,2,1] %}{{ loop.changed(i) }}{% endfor %}", VALUES),
    ("{% for a in l %}{% for b in l %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}", VALUES),
    ("{% for a in l %}{% set outer = loop %}{% for b in [1,2] %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}", VALUES),
    ("{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }};{% endfor %}{{ x }}", VALUES),
    ("{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", VALUES),
    ("{% for i in l %}{% if i == 1 %}{% set y = i %}{% endif %}{{ y is defined }}{% endfor %}", VALUES),
    ("{% set ns = namespace(found=false) %}{% for i in l %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}", VALUES),
    ("{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ x }}{{ y }}", VALUES),
    ("{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}", VALUES),
    ("{% macro m(n) %}{% set n = n + 1 %}{{ n }}{% endmacro %}{{ m(1) }}{{ n }}", VALUES),
    ("{% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(3) }}", VALUES),
    ("{% macro a(x) %}[{{ b(x) }}]{% endmacro %}{% macro b(x) %}({{ x }}){% endmacro %}{{ a(1) }}", VALUES),
    ("{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}", VALUES),
    ("{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", VALUES),
    ("{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}", VALUES),
    ("{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}", VALUES),
    ("{% macro m() %}  x\n{% endmacro %}[{{ m() }}][{{ m()|trim }}][{{ m()|length }}]", VALUES),
    ("{% macro m() %}{% for i in l %}{{ loop.index }}{% endfor %}{% endmacro %}{% for j in [1] %}{{ m() }}{% endfor %}", VALUES),
    ("{% for i in [1,2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", VALUES),
    ("{% for i in [1] %}{% break %}{% else %}e{% endfor %}", VALUES), ("{% for i in [1,2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}e{% endfor %}", VALUES),
    ("{% for i in [1,2] %}{% continue %}{% else %}e{% endfor %}", VALUES), ("{% for i in [1,2] %}x{% else %}e{% endfor %}", VALUES),
    ("{% for i in qq %}x{% else %}e{% endfor %}", VALUES), ("{% for i in z %}x{% endfor %}", VALUES), ("{% for i in n %}x{% endfor %}", VALUES), ("{% for c in 'hé' %}{{ c }},{% endfor %}", VALUES),
    ("{% for k in d %}{{ k }},{% endfor %}", VALUES), ("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", VALUES), ("{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}", VALUES),
    ("{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}", VALUES), ("{% for v in d.values() %}{{ v }};{% endfor %}", VALUES), ("{% for a, b in [(1,)] %}{% endfor %}", VALUES), ("{% for a, b in [1] %}{% endfor %}", VALUES),
    ("{% for a, b in ['xy'] %}{{ a }}{{ b }}{% endfor %}", VALUES), ("{% for a in range(3) %}{{ a }}{% endfor %}", VALUES), ("{% for m in ms if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ m.content }}{% endfor %}", VALUES),
    ("{% for m in ms[1:] %}{{ m.content }}{% if not loop.last %}, {% endif %}{% endfor %}", VALUES), ("{% for m in ms|selectattr('role', 'eq', 'user') %}{{ loop.index }}{{ loop.last }}{% endfor %}", VALUES),
    ("{% for m in ms|reverse %}{{ m.content }}{% endfor %}", VALUES), ("{% for i in [1] %}{{ i }}{% endfor %}{{ i is defined }}", VALUES), ("{{ loop is defined }}{% for i in [1] %}{{ loop is defined }}{% else %}{{ loop is defined }}{% endfor %}", VALUES),
    ("{% set a.b = 1 %}", VALUES), ("{% set d.b = 1 %}", VALUES), ("{% set qq.b = 1 %}", VALUES), ("{% set x, y = 1 %}", VALUES), ("{% set x, y = [1,2,3] %}", VALUES), ("{% set x, y = 'ab' %}{{ y }}{{ x }}", VALUES),
    ("{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}", VALUES), ("{% set x = namespace(l=[]) %}{% set x.l = x.l + [1] %}{% set x.l = x.l + [2] %}{{ x.l }}", VALUES),
    ("{% for i in l %}{% set b %}{{ i }}{% break %}{% endset %}{% endfor %}done", VALUES), ("{% generation %}{% set gg = 1 %}{% endgeneration %}{{ gg is defined }}", VALUES), ("{% for i in l %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}", VALUES),
    ("{% filter trim %}  {% set q = 5 %}{{ q }}  {% endfilter %}{{ q is defined }}", VALUES), ("{{ ms[0].content + ms[1].content }}", VALUES), ("{% if ms[0]['role'] == 'system' %}{% set sys = ms[0]['content'] %}{% set rest = ms[1:] %}{% else %}{% set rest = ms %}{% endif %}{{ sys }}{{ rest|length }}", VALUES),
    ("{% if s is defined and s %}{{ s }}{% endif %}", VALUES), ("{{ raise_exception('no: ' ~ n) }}", VALUES), ("{% if n == 7 %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}", VALUES),
    ("{{ l }}{{ d }}{{ t }}{{ z }}{{ f }}{{ qq }}", VALUES), ("{% set l2 = l %}{{ l2 is sameas l }}", VALUES), ("{% for x in (1, 2), (3, 4) %}{{ x }}{% endfor %}", VALUES),
    ("{% set s = 'mine' %}{{ s }}", VALUES), ("{% for s in [1] %}{{ s }}{% endfor %}{{ s }}", VALUES), ("{% if s %}{% set s = 'set' %}{% endif %}{{ s }}", VALUES),
    ("{% set x = 'a' %}{% for i in [1,2] %}{% set x = x ~ i %}{{ x }} {% endfor %}{{ x }}", VALUES), ("{% for i in [1,2] %}{% for j in [3] %}{% set y = i ~ j %}{% endfor %}{{ y is defined }}{% endfor %}", VALUES),
    ("{% for i in [] %}{% else %}{% set w = 1 %}{% endfor %}{{ w is defined }}", VALUES), ("{% macro m() %}{% set k = 1 %}{% endmacro %}{{ m() }}{{ k is defined }}", VALUES), ("{{ m is defined }}{% macro m() %}{% endmacro %}{{ m is defined }}{{ m is callable }}", VALUES),
    ("{% for x in l %}{{ loop.index ~ ':' ~ x }}{{ ', ' if not loop.last }}{% endfor %}", VALUES), ("{% for a in [[1,2],[3]] %}{% for b in a %}{{ b }}{{ loop.last }}{% endfor %}{{ loop.last }}|{% endfor %}", VALUES),
]

CASES["evaluate"] = shown(
    "qq", "qq.x", "qq['x']", "qq()", "n()", "s()", "d.a()", "qq + 1", "1 + qq", "qq ~ 'x'", "-qq", "qq < 1", "qq in [1]", "1 in qq", "qq in 'a'", "qq|length", "qq|list", "qq|string", "qq|upper", "qq|join(',')", "qq|tojson", "qq|int", "qq|default(3)",
    "qq|first", "qq|last", "qq|trim", "qq|items|list", "qq|sort", "qq is none", "qq is string", "qq is iterable", "qq is sequence", "qq is mapping", "qq[0]", "qq[1:]", "z.x", "z['x']", "z[0]", "z[1:]", "z()", "n.x", "n[0]", "f.x", "t.x", "s.x", "s['x']", "s[99]", "l.x", "l['x']", "l[99]",
    "l[-99]", "l['a':]", "d[l]", "d.x.y", "d.missing.x", "d['missing'] ~ '|'", "d.get('a')", "d.get('q')", "d.get('q', 5)", "d.get('q', default=5)", "d.items()|list", "d.keys()|list", "d.values()|list", "d.items()", "d.keys()", "nested.items()", "nested['items']", "nested['get']", "nested.keys()|list", "nested['keys']", "nested.x.y[0].z",
    "s and n", "e and n", "z or e or 'last'", "e or z", "not e", "not l", "not []", "not {}", "not 0.0", "not ' '", "[1, s, none, true, 2.5, [qq]]", "{'a': s, s: 1}", "(1, 'a', none)", "'a' ~ none ~ true ~ 1.0 ~ [1]", "1 ~ 2", "range(3)", "range(1, 5, 2)", "range(0)", "range(3)[1]", "range(3)|length", "range(10)[2:5]|list", "range(3) is sequence", "range(100001)", "range(1, 2, 0)", "range('a')",
    "dict()", "dict(a=1)|length", "dict([('a', 1), ('b', 2)])", "dict(d)", "dict([1])", "namespace(a=1) is mapping", "namespace(a=1).b is defined", "strftime_now('%Y-%m-%d')", "strftime_now('%d %b %Y')", "strftime_now('%H:%M:%S %A %B %j %%')", "strftime_now('')", "strftime_now('é %Y')", "strftime_now(1)", "raise_exception('words')", "raise_exception()",
    "1 if qq else 2", "1 if s else 2", "s if s else qq.x", "[1,2,3][1] + [4][0]", "'abc'[1:][0]", "{'a': {'b': 2}}['a']['b']", "{'a': 1}[qq]|default('u')", "{[1]: 2}", "{(1, 2): 3}[(1, 2)]", "{1: 'a'}[true]", "{1: 'a'}[1.0]", "{'a': 1, 'a': 2}", "l is sameas l", "l == [3, 1, 2]", "ms[0] == ms[0]", "l in [[3, 1, 2]]", "d in [d]", "'role' in ms[0]", "'x' in ms[0]", "none in [none]", "1.0 in [1]",
    "loop", "caller is defined", "s.upper is defined", "s.upper is callable", "d.items is defined", "d.pop is defined", "d.update is defined", "d.pop('a')", "l.sort()", "range is callable", "s.__class__", "l.__len__", "d.__class__ is defined", "1 if 1 in l and 'x' not in s else 0", "(l|length) > 2", "l|length > 2", "d.a is defined and d.a == 'x'")

CASES["value_text"] = shown(
    "none", "true", "1.0", "0.1", "1e16", "1e15", "123456789012345680.0", "1e22", "1e-4", "1e-5", "0.00012", "1.5e300", "5e-324", "1.7976931348623157e308", "2.5e-7", "100.0", "-0.0", "1/3", "2/3", "0.1 + 0.2", "1e308 * 10", "-1e308 * 10", "1e308 * 10 - 1e308 * 10", "3.14159", "1234567.0", "f", "[0.5, 1e20]",
    "['a']", "[\"it's\"]", "['say \"x\"']", "['both \\' and \"']", "['\\n\\t\\r\\\\']", "['é中😀']", "['\\x00\\x7f\\xa0\\u200b\\ufeff\\u2028']", "['\\ue000\\U0010ffff']", "[quoted]", "{'k': 'v', 1: none, 2.5: true}", "[[], {}, ()]", "((1,),)", "[true, none]", "{'a': [1, {'b': (1, 2)}]}", "d", "[qq]", "[s|safe]", "{'k': qq}",
    "dict(a=1).items()", "dict(a=1).keys()", "dict(a=1).values()", "range(2, 8, 3)", "[range(3)]", "namespace(a=1, b='x')", "s", "quoted", "[e]")

CASES["value_compare"] = shown(
    "1 == 1.0", "1 == true", "0 == false", "1 == '1'", "none == false", "none == none", "'' == none", "[] == ()", "[1, [2]] == [1, [2]]", "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "{'a': 1} == {'a': 2}", "{} == []", "'a' == 'a'", "'a' == 'A'", "9007199254740993 == 9007199254740992.0", "9007199254740993 > 9007199254740992.0", "1 < 1.5", "true < 2", "'a' < 'B'", "'é' > 'z'", "'😀' > '中'", "'' < 'a'", "'ab' < 'abc'",
    "[1, 2] < [1, 2, 0]", "[1, 'a'] < [2, 3]", "[1, 'a'] < [1, 3]", "(1, 2) >= (1, 2)", "[] < [1]", "1 < 'a'", "none < 1", "none < none", "[1] < (1,)", "{} < {}", "'a' < 1", "1 <= 1", "2 != 2.0", "range(3) == range(3)", "range(3) == [0, 1, 2]", "d.keys() == d.keys()", "'b' in 'abc'", "'' in 'abc'", "'bc' in 'abc'", "'cb' in 'abc'", "1 in 'abc'", "none in 'abc'", "'é' in s", "1 in [1.0]", "'a' in ['ab']", "[1] in [[1]]", "'a' in {'a': 1}", "1 in {'a': 1}", "[1] in {'a': 1}", "1 in 1", "1 in none", "2 in range(3)",
    "5 not in range(3)", "'a' in d.keys()", "('a', 'x') in d.items()", "'u1' in ms|map(attribute='content')", "1 in (1, 2)", "qq in [qq]", "qq == 1", "qq != qq", "true in [1]", "''|length", "s|length", "'😀é'|length", "d|length", "(1, 2)|length", "range(5)|length", "d.items()|length", "1|length", "none|length", "true|length", "ms|map('upper')|length", "not (0, )", "not range(0)", "not d.items()", "not ms|map('upper')", "[]|map('upper') and 'true'")

CASES["arithmetic"] = shown(
    "1 + 2", "1 - 2", "2 * 3", "7 / 2", "6 / 2", "7 // 2", "-7 // 2", "7 // -2", "7 % 3", "-7 % 3", "7 % -3", "-7 % -3", "2 ** 10", "2 ** 0", "0 ** 0", "2 ** -2", "(-2) ** 3", "1.5 + 1", "1.5 * 2", "7.5 // 2", "-7.5 // 2", "7.5 % 2", "-7.5 % 2", "7.5 % -2", "2.0 ** 0.5", "4 ** 0.5", "0.0 ** -1", "0 ** -1", "1 / 0", "1 // 0", "1 % 0", "1.0 / 0", "1.0 // 0", "1.0 % 0", "true + true", "true * 3", "-true", "+true", "1 - true",
    "'a' + 'b'", "'a' + 1", "1 + 'a'", "'a' * 3", "3 * 'ab'", "'a' * 0", "'a' * -1", "'a' * 1.5", "'a' * 'b'", "'a' - 'b'", "[1] + [2]", "[1] * 2", "2 * [1, 2]", "[1] + (2,)", "(1,) + (2,)", "(1,) * 2", "[1] - [1]", "{} + {}", "none + 1", "1 + none", "none + none", "-none", "-'a'", "-[1]", "+'a'", "'é' * 2", "'%d' % 1 if false else 'x'", "10 ** 18", "3 ** 39 if false else 'x'",
    "9223372036854775806 + 1", "-9223372036854775807 - 1", "4611686018427387904 * 2 - 1 if false else 'x'", "1e308 * 10", "10.0 ** 400", "0.1 + 0.2", "1e16 + 1", "5 // 0.3", "5 % 0.3", "-5 % 0.3", "1 // 0.1", "6.0 // 2", "-0.0 + 0", "0.0 * -1", "4 % 2.0", "-4 % 2.0", "'a' ~ 1 + 2", "l + [4]", "s + '!'", "f + n", "n / 2", "n // 2 * 2 == n", "('a'|safe) + '<b>'", "'<b>' + ('a'|safe)", "('<'|safe) + ('<'|safe)", "('<'|safe) ~ '<'", "('<'|safe) * 2 + '<'", "(('<'|safe) * 2)|length", "'&\"\\'' + (''|safe)", "('x'|safe) + 1",
    "9007199254740993 / 1", "9223372036854775807 / 3", "2 ** 62", "(-1) ** 63", "1 ** 9999999", "7 // 7", "0 // 5", "-1 // 5", "-1 % 5")

CASES["subscript"] = shown(
    "l[0]", "l[2]", "l[3] is defined", "l[-3]", "l[-4] is defined", "l[true]", "l[1.0] is defined", "l['0'] is defined", "l.0", "s[0]", "s[1]", "s[-1]", "s[-11]", "s[11] is defined", "s[true]", "'😀é'[0]", "'😀é'[-1]", "'😀é'[1:]", "s[:3]", "s[3:]", "s[-3:]", "s[:-3]", "s[2:2]", "s[5:2]", "s[::2]", "s[::-1]", "s[5:1:-1]", "s[5:1:-2]", "s[-1:-5:-1]", "s[99:]", "s[:99]", "s[-99:2]", "s[99::-3]", "s[::99]", "s[::-99]",
    "l[1:2]", "l[:]", "l[::-1]", "l[2:0:-1]", "l[-2:]", "l[:-1]", "l[0:99]", "l[99:]", "l[::0]", "l[none:2]", "l[1:none]", "l[true:]", "(1,2,3)[1:]", "(1,2,3)[::-1]", "(1,2,3)[-1]", "range(10)[3]", "range(10)[-1]", "range(10)[2:4]", "range(10)[::3]", "range(10)[::-1]", "range(10)[8:2:-2]|list", "d[0] is defined", "d['a']", "d.a", "d.C[0]", "d.C[-1].k", "d['C'][1]['k']", "d[none] is defined", "{none: 1}[none]", "{true: 1}[1]", "{'1': 1}[1] is defined", "d.items()[0] is defined", "d.items()[0:1] is defined",
    "d[1:2] is defined", "n[0] is defined", "s.upper()", "s['upper']()", "d['items']()|length", "d['keys']()|list", "d.nope is defined", "ms[0].items()|length", "{'items': 1}['items']", "{'items': 1}.items()|list", "l.count(1)", "l.index(2)", "l.index(99)", "(1, 1, 2).count(1)", "(1, 2).index(2)", "ms|map(attribute='content')|list", "[{'a': {'b': [5]}}]|map(attribute='a.b.0')|list", "[[1, 2]]|map(attribute=1)|list", "[[1, 2]]|map(attribute='0')|list", "[{'a': 1}]|map(attribute='b')|list", "[{'a': 1}]|map(attribute='b.c')|list", "[{'a': 1}]|map(attribute='b', default='x')|list", "[{'a': none}]|map(attribute='a', default='x')|list", "['ab']|map(attribute='upper')|list|length")

CASES["methods"] = shown(
    "d.keys()|list", "d.values()|list", "d.items()|list", "d.items()|first", "d.keys()|join('+')", "d.get('b')", "d.get('zz')", "d.get('zz', 'dflt')", "d.get()", "d.get('a', 1, 2)", "d.keys(1)", "d.copy()", "d.copy() == d", "d.items()|length", "d.values()|sum if false else 1", "'a' in d.keys()", "1 in d.values()", "d.items() is iterable", "d.items() is sequence", "d.items() is mapping", "d.clear()", "d.setdefault('a', 1)", "d.fromkeys is defined", "l.count(3)", "l.index(1)", "l.index('q')", "l.insert(0, 1)", "l.extend([1])", "l.remove(1)", "l.reverse()", "{1: 2}.get(1.0)", "{'a': none}.get('a', 5)", "dict(get=1).get('get')", "(1, 2, 1).count(1)", "[[1], [1]].count([1])", "d.get([1])")

CASES["methods_mutable"] = [
    "{% set x = [] %}{% do x.append(1) %}{% do x.append('a') %}{{ x }}", "{% set x = [] %}{% set _ = x.append(1) %}{{ x }}{{ _ }}", "{% set x = [] %}{{ x.append(1) }}{{ x }}", "{% set x = [] %}{% for i in [1,2] %}{% do x.append(i) %}{% endfor %}{{ x }}",
    "{% set x = [] %}{% set y = x %}{% do y.append(1) %}{{ x }}", "{% set ns = namespace(l=[]) %}{% for i in 'ab' %}{% do ns.l.append(i) %}{% endfor %}{{ ns.l|join }}", "{% set x = [[]] %}{% do x[0].append(1) %}{{ x }}", "{% set x = [1] %}{% do x.append() %}", "{% set x = [1] %}{% do x.append(1, 2) %}", "{% set x = (1,) %}{% do x.append(1) %}",
]

CASES["methods_text"] = asked(
    "' a '.strip()", "'xxaxx'.strip('x')", "'xyaxy'.strip('yx')", "' a '.lstrip()", "' a '.rstrip()", "'\\n\\ta\\n'.strip()", "'\\u3000a\\u2003'.strip()", "'éaé'.strip('é')", "'a'.strip('')", "'a'.strip(none)", "''.strip()", "'a'.strip(1)", "'aXbXc'.split('X')", "'aXbXc'.split('X', 1)", "'a b  c'.split()", "' a  b '.split()", "' a  b c '.split(none, 1)", "' a  b c '.split(maxsplit=1)", "'abc'.split('')", "'abc'.split('x')", "''.split('x')", "''.split()", "'a,b,'.split(',')", "'</think>x</think>y'.split('</think>')[-1]", "'a\\u2003b'.split()", "'a--b'.split('-')", "'aXbXc'.split('X', 0)", "' a b '.split(none, 0)",
    "'aXbXc'.rsplit('X', 1)", "'a b c'.rsplit(none, 1)", "' a  b '.rsplit()", "'aXb'.rsplit('X')", "'é a é'.rsplit(maxsplit=1)", "'a,b,c'.rsplit(',', 5)", "'abc'.startswith('ab')", "'abc'.startswith('bc')", "'abc'.startswith('')", "'abc'.startswith(('x', 'a'))", "'abc'.startswith(['a'])", "'abc'.startswith(1)", "'abc'.endswith('bc')", "'abc'.endswith('abcd')", "'abc'.endswith(('x', 'c'))", "s.upper()", "s.lower()", "'straße ŉ ﬁ ΐ ᾳ'.upper()", "'İ ΑΣ ΑΣΑ Σ ΑΣ. ÀÉ'.lower()", "'hello wORLD it\\'s 3rd ﬁn ǆ'.title()", "'hELLO wORLD'.capitalize()", "'ßa'.capitalize()", "'ǆx'.capitalize()", "''.capitalize()", "'ÉA'.capitalize()",
    "'aaa'.replace('a', 'b')", "'aaa'.replace('a', 'b', 2)", "'aaa'.replace('', '-')", "''.replace('', '-')", "'é😀'.replace('', '-')", "'aaa'.replace('aa', 'b')", "'abc'.replace('x', 'y')", "'abc'.replace('b', '')", "'aaa'.replace('a', 'b', 0)", "'aaa'.replace('', '-', 2)", "'a'.replace('a')", "'a'.replace(1, 2)", "','.join(['a', 'b'])", "','.join('abc')", "','.join([])", "''.join(['é', '中'])", "','.join([1])", "','.join(1)", "','.join(d)", "'-'.join(ms|map(attribute='role'))", "'abcb'.find('b')", "'abcb'.find('x')", "'éb'.find('b')", "'abc'.find('')", "'abcb'.rfind('b')", "'abc'.rfind('x')", "'é'.rfind('')", "'abc'.index('c')", "'abc'.index('x')", "'banana'.count('an')", "'aaa'.count('aa')", "'abc'.count('')",
    "'123'.isdigit()", "'12a'.isdigit()", "''.isdigit()", "'²٣'.isdigit()", "'½'.isdigit()", "'abé'.isalpha()", "'ab1'.isalpha()", "'ab1'.isalnum()", "'ab_'.isalnum()", "' \\t'.isspace()", "''.isspace()", "'ABC 1'.isupper()", "'ABc'.isupper()", "'abc1'.islower()", "'1'.islower()", "'abc'.removeprefix('a')", "'abc'.removeprefix('b')", "'abc'.removesuffix('c')", "'abc'.removesuffix('x')", "'a\\nb\\r\\nc\\n'.splitlines()", "'a\\nb\\n'.splitlines(true)", "''.splitlines()", "'a\\u2028b\\x0bc'.splitlines()", "'abc'.nomethod()", "'abc'.upper(1)", "('<a>'|safe).replace('a', '<')", "(('<a>'|safe).upper() + '<')", "('<'|safe).join(['<', 'b'])", "('a <'|safe).split()[1] + '<'", "'{}'.format(1)", "'{}-{}'.format('a', 'b')", "'{0}{1}{0}'.format('a', 'b')", "'{x}'.format(x=1)", "'{{}}{}'.format(none)", "'{}'.format()", "'{'.format()", "'}'.format()", "'{}{0}'.format(1)", "'{!r}'.format('a')", "'{!s}'.format(1.0)", "'<｜{}｜>'.format('é')", "'{q}'.format(x=1)",
    "'a' 'b'.upper()", "s.upper().lower().title()", "'  x '.strip().upper()", "'a.b'.split('.')[0]", "('a' ~ 'b').upper()", "'x'.upper()|lower")

CASES["letter_case"] = asked(*['"%s"|%s' % (w, f) for f in ("upper", "lower", "title", "capitalize") for w in (
    "hello world", "HELLO", "straße ẞ", "ŉeu ǰ ΐ ΰ և ẖẗẘẙẚ", "ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ ﬓﬔﬕﬖﬗ", "ᾀ ᾏ ᾳ ᾼ ᾴ ᾶ ᾷ ῃ ῄ ῆ ῇ ῌ ῒ ΐ ῖ ῗ ῢ ΰ ῤ ῦ ῧ ῲ ῳ ῴ ῶ ῷ ῼ", "ΟΔΥΣΣΕΥΣ Σ ΑΣ' ΑΣ'Α ΑΣ.", "İstanbul ı Iİ", "ǆ ǅ Ǆ ǉ", "привет МИР", "it's o'clock-time (x) {y} [z] <w> a/b", "1st 2nd é-à", "中文 ａｂ", "ⓐ Ⓐ ⅷ", "𐐨 𐐀 🅰")])

CASES["filters_text"] = asked(
    "s|upper", "n|upper", "none|upper", "true|lower", "l|upper", "s|title", "'a\\u2003b-c'|title", "s|capitalize", "'  x\\n'|trim", "'xax'|trim('x')", "'xax'|trim(chars='x')", "none|trim", "12|trim", "l|trim", "'a'|trim(none)", "'aXbX'|replace('X', '-')", "'aXbX'|replace('X', '-', 1)", "'aXbX'|replace('X', '-', count=1)", "12321|replace(2, 'x')", "'a'|replace('', '.')", "'a'|replace('a')", "'a'|replace('a', 'b', none)", "l|join", "l|join(', ')", "l|join(d='-')", "ms|join('+', attribute='role')", "ms|join(',', 'n')", "'abc'|join('.')", "d|join(',')", "[1, none, true, 2.5]|join('|')", "l|join(1)", "n|join", "none|join", "[[1], {}]|join(' ')",
    "[qq, 1]|join(',')", "n|string", "l|string", "none|string", "s|string", "1.0|string", "('a'|safe|string) + '<'", "'<b>'|safe", "'<b>'|escape", "'<b>'|e", "'<b>&\\'\"'|e", "('<'|safe)|e", "1|safe", "('<'|e) + '<'", "'a\\nb'|indent", "'a\\nb\\n\\nc'|indent(2)", "'a\\nb'|indent(2, true)", "'a\\n\\nb'|indent(2, blank=true)", "'a\\n\\nb'|indent(width=3, first=true, blank=true)", "'a\\nb'|indent('> ')", "'a\\nb\\n'|indent", "''|indent", "''|indent(2, true)", "'a'|indent(0)", "1|indent", "'a\\r\\nb'|indent(1)", "qq|indent", "s|wordcount if false else 1")

CASES["tojson"] = shown(
    "none|tojson", "true|tojson", "1|tojson", "1.0|tojson", "1e16|tojson", "0.1|tojson", "(1e308*10)|tojson", "(-1e308*10)|tojson", "s|tojson", "quoted|tojson", "quoted|tojson(ensure_ascii=true)", "quoted|tojson(true)", "'</script>&\\'<'|tojson", "'\\x00\\x1f\\b\\f\\u2028'|tojson", "l|tojson", "d|tojson", "[]|tojson", "{}|tojson", "()|tojson", "(1, 2)|tojson", "[[], {}, [{}]]|tojson", "ms|tojson", "d|tojson(indent=2)", "d|tojson(indent=4)", "d|tojson(indent=0)", "d|tojson(indent='\\t')", "d|tojson(indent=none)", "[]|tojson(indent=2)", "{}|tojson(indent=2)", "[[], {}]|tojson(indent=2)", "d|tojson(separators=(',', ':'))", "d|tojson(separators=[',', ': '], indent=1)",
    "d|tojson(sort_keys=true)", "{'b': 1, 'a': {'d': 1, 'c': 2}}|tojson(sort_keys=true, indent=2)", "{1: 2, none: 3, true: 4, 2.5: 5}|tojson", "{1: 2, 'a': 3}|tojson(sort_keys=true)", "{(1, 2): 3}|tojson", "qq|tojson", "[qq]|tojson", "d.items()|tojson", "range(3)|tojson", "range(3)|list|tojson", "d.items()|list|tojson", "s.upper|tojson", "(s|safe)|tojson", "'é😀'|tojson(ensure_ascii=true)", "'é😀'|tojson(ensure_ascii=false)", "d|tojson|length", "d|tojson(2)", "d|tojson(false, 2)", "d|tojson(bad=1)", "namespace(a=1)|tojson", "{'a': 1}|tojson + 'x'", "'a'|tojson|safe")

CASES["filters_number"] = asked(
    "l|length", "l|count", "s|count", "n|default(1)", "qq|default(1)", "qq|default", "qq|d('x')", "e|default('x')", "e|default('x', true)", "z|default('x')", "z|default('x', boolean=true)", "0|default(5, true)", "qq|default(default_value='y')", "d.q|default('x')", "d.q.r|default('x')", "'12'|int", "' 12 '|int", "'-12'|int", "'+5'|int", "'1_000'|int", "'1__0'|int", "'_1'|int", "'1_'|int", "'x'|int", "'x'|int(7)", "'x'|int(default=7)", "''|int", "'1.9'|int", "'1e3'|int", "'ff'|int(0, 16)", "'0xff'|int(0, 16)", "'0xff'|int(base=16)", "'0b11'|int(0, 2)", "'0o17'|int(0, 8)", "'z'|int(base=36)", "'0x1f'|int(0, 0)", "'012'|int(0, 0)", "'12'|int(0, 99)",
    "1.9|int", "-1.9|int", "true|int", "none|int", "none|int(3)", "l|int", "'nan'|int", "'inf'|int", "'9'|int(0, 8)", "'1.5'|float", "'x'|float", "'x'|float(1.5)", "'1e3'|float", "' 2 '|float", "'1_0.5'|float", "'inf'|float", "'-inf'|float", "'nan'|float", "'infinity'|float", "'0x10'|float", "3|float", "none|float", "true|float", "''|float", "-5|abs", "5|abs", "-5.5|abs", "true|abs", "'a'|abs", "2.5|round", "3.5|round", "2.567|round(2)", "2.675|round(2)", "-2.5|round", "42|round", "42.55|round(1, 'floor')", "42.51|round(1, 'ceil')", "42|round(method='floor')", "1234|round(-2)", "1250|round(-2)", "1350|round(-2)", "-1250|round(-2)", "1234.5|round(-2)", "2.5|round(0, 'bad')", "'a'|round", "5e-324|round(3)", "0.5|round", "1.5|round|int", "2.5|round(precision=1)",
    "qq|int", "qq|float", "qq|abs", "qq|round", "n|length", "l|length(1)")

CASES["filters_sequence"] = shown(
    "l|first", "l|last", "s|first", "s|last", "[]|first", "[]|first is defined", "[]|last is defined", "''|first", "d|first", "d|last", "(1, 2)|last", "range(3)|last", "n|first", "n|last", "none|first", "ms|map(attribute='n')|first", "ms|map(attribute='n')|last", "l|list", "s|list", "d|list", "(1, 2)|list", "range(3)|list", "n|list", "none|list", "d|items|list", "l|items|list", "none|items|list", "d|dictsort", "d|dictsort(true)", "d|dictsort(reverse=true)", "{'b': 2, 'a': 3}|dictsort(by='value')", "{'b': 2, 'a': 3}|dictsort(false, 'value')", "d|dictsort(by='x')", "d|dictsort(by='value')", "l|dictsort", "{'b': 1, 'B': 2, 'a': 3}|dictsort", "{1: 'a', 0: 'b'}|dictsort", "{1: 'a', 'b': 'b'}|dictsort",
    "l|sort", "l|sort(reverse=true)", "l|sort(true)", "['b', 'A', 'c']|sort", "['b', 'A', 'c']|sort(case_sensitive=true)", "['b', 'A', 'B', 'a']|sort", "['b', 'A', 'B', 'a']|sort(reverse=true)", "[1, 'a']|sort", "[true, 0, 2.5]|sort", "[[2, 1], [1, 2]]|sort", "[none, 1]|sort", "ms[:2]|sort(attribute='n')|map(attribute='content')|list", "ms|sort(attribute='role')|map(attribute='content')|list", "ms|sort(attribute='role,content', reverse=true)|map(attribute='content')|list", "ms|sort(attribute='n')|list", "d|sort", "'hello'|sort", "n|sort", "[1, 1, 2]|unique|list", "['a', 'A', 'b']|unique|list", "['a', 'A', 'b']|unique(true)|list", "ms|unique(attribute='role')|map(attribute='content')|list", "[1, 1.0, true]|unique|list", "[[1], [1]]|unique|list", "'hello'|unique|join",
    "l|reverse|list", "s|reverse", "(1, 2)|reverse|list", "range(3)|reverse|list", "d|reverse|list", "l|map('string')|reverse|list", "l|reverse|length", "n|reverse", "none|reverse", "''|reverse", "l|min", "l|max", "['b', 'A']|min", "['b', 'A']|max", "[]|min is defined", "ms[:2]|max(attribute='n')", "[1, 'a']|max", "l|sort|join(',')", "l|reverse|first", "l|reverse is iterable", "l|reverse is sequence", "l|unique is sequence", "d.items()|sort|list if false else 1", "(l|reverse)[0] is defined", "qq|reverse|list", "qq|unique|list")

CASES["filters_selection"] = shown(
    "ms|map(attribute='role')|list", "ms|map(attribute='n')|list", "ms|map(attribute='n', default=0)|list", "l|map('string')|list", "['a', 'b']|map('upper')|join", "['a', 'b']|map('replace', 'a', 'x')|list", "['a']|map('indent', width=2)|list", "[[1, 2], [3]]|map('length')|list", "[[2, 1]]|map('sort')|list", "[[1, 2]]|map('join', '-')|list", "l|map('nofilter')|list", "l|map()|list", "ms|map(attribute='x', bad=1)|list", "''|map('upper')|list", "'ab'|map('upper')|list", "n|map('upper')|list", "z|map('upper')|list", "0|map('upper')|list", "l|select('odd')|list", "l|select('gt', 1)|list", "l|select('>', 1)|list", "l|select('==', 1)|list", "[0, 1, '', 'a', none]|select|list", "[0, 1, '', 'a', none]|reject|list", "l|reject('odd')|list", "l|reject('in', [1, 2])|list", "l|select('divisibleby', 3)|list", "l|select('notest')|list",
    "ms|selectattr('role', 'equalto', 'user')|map(attribute='content')|list", "ms|selectattr('role', 'eq', 'user')|list|length", "ms|selectattr('n')|list|length", "ms|selectattr('n', 'defined')|list|length", "ms|rejectattr('n', 'defined')|list|length", "ms|rejectattr('role', '==', 'user')|list|length", "ms|rejectattr('n')|map(attribute='content')|list", "ms|selectattr('role', 'in', ['system'])|list|length", "ms|selectattr()|list", "ms|selectattr('n', 'gt', 1)|list", "ms[:2]|selectattr('n', 'gt', 1)|list|length", "ms|selectattr('role', 'equalto', 'user')|first", "ms|selectattr('role', 'equalto', 'none')|first is defined", "(ms|selectattr('role', 'equalto', 'none')) and 'true'", "ms|selectattr('role', 'equalto', 'none')|list and 'true'", "ms|selectattr('role', 'equalto', 'user')|length", "[{'a': {'b': 1}}, {'a': {'b': 0}}]|selectattr('a.b')|list",
    "ms|map(attribute='content')|map('upper')|list|join('/')", "ms|map(attribute='content')|select('ne', 'S')|list", "(ms|map(attribute='role')) is iterable", "(ms|map(attribute='role')) is sequence", "ms|map(attribute='role')|unique|list", "ms|map(attribute='role')|tojson", "ms|map(attribute='role')|list|tojson", "'user' in ms|map(attribute='role')", "'user' in (ms|map(attribute='role')|list)", "d|map('upper')|list", "d.values()|select('string')|list", "d|select('eq', 'a')|list", "qq|select('odd')|list", "qq|selectattr('x')|list", "['1', 'x']|map('int', default=9)|list", "['1', 'x']|map('int', 9)|sum if false else 1", "[1.5, 2.5]|map('round')|list")

CASES["checks"] = shown(*["%s is %s" % (v, t) for v in ("1", "0", "2.5", "'a'", "'A1'", "''", "none", "true", "false", "[1]", "(1,)", "{'a': 1}", "qq", "range(3)", "s.upper", "[]|map('x')") for t in (
    "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping", "iterable", "sequence", "callable", "lower", "upper")]) + shown(
    "1 is odd", "2 is odd", "2 is even", "-1 is odd", "2.0 is even", "'a' is odd", "6 is divisibleby 3", "6 is divisibleby(4)", "6 is divisibleby 0", "1 is eq 1.0", "1 is equalto 2", "1 is ne 2", "1 is lt 2", "1 is lessthan 2", "1 is le 1", "2 is gt 1", "2 is greaterthan 1", "2 is ge 3", "'a' is in 'abc'", "1 is in [1]", "1 is in 1", "1 is eq", "1 is eq(1, 2)", "1 is odd(1)", "none is sameas none", "true is sameas true", "true is sameas 1", "l is sameas l", "1 is not odd", "1 is not eq 2", "1 is not none", "qq is not defined or qq", "s is string and s is not mapping", "'a' is eq 'a' and 1 is eq 1", "d.a is defined", "d.zz is defined", "ms[0].tool_calls is defined", "ms[0].content is not none", "d is mapping and d is iterable and d is sequence")

CASES["functions"] = shown(
    "range(3)|list", "range(2, 5)|list", "range(5, 2)|list", "range(5, 2, -1)|list", "range(0, 10, 3)|list", "range(-1)|list", "range(true)|list", "range()", "range(1, 2, 3, 4)", "range(1.5)", "range('3')", "range(none)", "range(100000)|length", "range(100001)|length", "range(0, 200000, 2)|length", "dict()", "dict(a=1, b='x')", "dict({'a': 1}, a=2)", "dict([['a', 1]])", "dict(d.items())", "dict(1)", "dict(['abc'])", "dict({}, {})", "namespace()", "namespace(a=1).a", "namespace(d).b", "namespace([('a', 1)]).a", "namespace(1)", "strftime_now('%Y')", "strftime_now('%B %d, %Y')", "strftime_now('%d/%m/%y %I:%M %p')", "strftime_now('%a %w %U')", "strftime_now('%-d')", "strftime_now()", "strftime_now('plain')", "raise_exception('a\\nb')", "raise_exception(1)", "raise_exception('é中')")


def tool(name, description, properties, required):
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function",
            "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = tool("get_weather", "Weather at a place: it's \"now\" & <here>, é.",
               {"city": {"type": "string", "description": "The city"},
                "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
                "days": {"type": ["integer", "null"]},
                "where": {"type": "object", "properties": {"lat": {"type": "number"}}}}, ["city"])
CLOCK = tool("clock", "The time", {}, [])


def said(role, content, **more):
    return dict({"role": role, "content": content}, **more)


def call(name, arguments, call_id="call_0001"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asks(messages, tools=None, **more):
    variables = {"messages": messages, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
    if tools:
        variables["tools"] = tools
    variables.update(more)
    return variables


WITH_CALL = [said("system", "Be brief."), said("user", "Weather in Zürich?"),
             said("assistant", "", tool_calls=[call("get_weather", {"city": "Zürich", "n": [1, 2.5, None, True]})]),
             said("tool", "{\"t\": 20}", name="get_weather", tool_call_id="call_0001")]

CONVERSATIONS = {
    "one": asks([said("user", "Hi")]),
    "one_closed": asks([said("user", "Hi")], add_generation_prompt=False),
    "system": asks([said("system", "You are kind."), said("user", "  Hello <|im_end|> & 'you' \n"),
                    said("assistant", " Sure. "), said("user", "more é 中文 😀")]),
    "thought": asks([said("user", "a"), said("assistant", "<think>\nhm\n</think>\n\nb"), said("user", "c"),
                     said("assistant", "d", reasoning_content="why"), said("user", "e")]),
    "thought_last": asks([said("user", "c"), said("assistant", "d", reasoning_content="why", thinking="so")],
                         add_generation_prompt=False),
    "no_thinking": asks([said("user", "c")], enable_thinking=False),
    "thinking": asks([said("system", "s"), said("user", "c")], enable_thinking=True, reasoning_effort="high"),
    "tools": asks([said("user", "Weather?")], [WEATHER, CLOCK]),
    "tools_system": asks([said("system", "Be brief."), said("user", "Weather?")], [WEATHER]),
    "called": asks(WITH_CALL, [WEATHER]),
    "answered": asks(WITH_CALL + [said("assistant", "20 degrees."), said("user", "Thanks")], [WEATHER, CLOCK]),
    "called_as_text": asks([said("user", "w"), said("assistant", None, tool_calls=[
        call("get_weather", "{\"city\": \"a\"}"), call("clock", "{}", "call_0002")]),
        said("tool", "x", tool_call_id="call_0001"), said("tool", "y", tool_call_id="call_0002")], [WEATHER, CLOCK]),
    "parts": asks([said("user", [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]),
                   said("assistant", [{"type": "text", "text": "three"}]), said("user", "z")]),
    "twice_user": asks([said("user", "x"), said("user", "y")]),
    "assistant_first": asks([said("assistant", "x"), said("user", "y")]),
    "only_system": asks([said("system", "x")]),
    "developer": asks([said("developer", "dev"), said("user", "q")]),
    "documents": asks([said("user", "q")], documents=[{"title": "T", "text": "body", "doc_id": 1}, {"title": "U", "text": "é"}]),
    "empty": asks([]),
    "unknown_role": asks([said("user", "a"), said("critic", "b")]),
}

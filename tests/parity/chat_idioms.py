"""Expressions and small templates that chat templates of the field are made of, and conversations to render."""

TEXT = "Hello there, Wörld! it's\ta tab\nand a line — ∑ 42"
CALL = {"id": "c1", "type": "function", "function": {"name": "sum", "arguments": {"of": [1, 2.5], "z": None, "é": True}}}
TOOLS = [{"type": "function", "function": {"name": "sum", "parameters": {"type": "object"}}}]
CONVERSATIONS = {
    "turns": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": TEXT},
        {"role": "assistant", "content": " <b>Hi!</b> ", "tags": ["b", "a", "B"], "n": 7, "x": 2.5, "d": {"k": 1, "a": None}},
    ],
    "tools": [
        {"role": "user", "content": "Add."},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "Hm.\n"},
        {"role": "tool", "content": "3.5", "name": "sum", "tool_call_id": "c1"},
        {"role": "assistant", "content": "<think>\nSo.\n</think>\n\n3.5"},
    ],
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": "a part"}, {"type": "image"}]},
        {"role": "assistant", "content": ""},
    ],
}

STRINGS = """
s.removeprefix('Hel')|s.removesuffix('42')|s.removeprefix('x')|s.partition(' ')|s.rpartition(' ')|s.partition('zz')
s.rpartition('zz')|s.split()|s.split(' ', 1)|s.rsplit(' ', 1)|s.rsplit(None, 2)|s.split(None, 2)|s.split('l')|s.split(sep='e', maxsplit=1)
s.splitlines()|s.splitlines(true)|s.splitlines(keepends=true)|s.index('e')|s.rindex('e')|s.find('zz')|s.rfind('l')|s.find('l', 4)
s.count('l')|s.count('')|s.count('l', 0, 4)|s.find('', 99)|s.index('zz')|s.startswith('Hel')|s.startswith(('x', 'He'))|s.endswith(('x', '42'))
s.startswith('lo', 3)|s.startswith('x', 99)|s.endswith('lo', 0, 5)|s.upper()|s.lower()|s.title()|s.capitalize()|s.swapcase()|s.casefold()
'ß'.upper()|'ß'.title()|'ß'.casefold()|'ΑΣ'.lower()|'ǆx'.title()|'İ'.lower()|'ﬁn'.capitalize()|'x'.zfill(5)|'-4'.zfill(5)|'+4'.zfill(2)
'ab'.center(7, '*')|'abc'.center(8, '*')|'a'.center(4)|'ab'.ljust(5) ~ '|'|'ab'.rjust(5, 'é')|'ab'.ljust(1)|'a\\tb'.expandtabs()|'a\\tb'.expandtabs(3)
'a\\tb'.expandtabs(0)|' x '.strip() ~ '|'|'xxaxx'.strip('x')|'xxaxx'.lstrip('x')|'xxaxx'.rstrip('x')|'\\x1c a \\u3000'.strip()|'abcba'.strip('ab')
'ab12'.isalnum()|'ab'.isalpha()|'é'.isalpha()|'हिन्दी'.isalpha()|'12'.isdigit()|'²'.isdigit()|'²'.isdecimal()|'½'.isnumeric()|'五'.isnumeric()
'五'.isalpha()|'ab'.islower()|'A1'.isupper()|'Ab Cd'.istitle()|' \\t'.isspace()|''.isspace()|'a_1'.isidentifier()|'1a'.isidentifier()
'aé'.isprintable()|'a\\n'.isprintable()|'aé'.isascii()|''.isascii()|', '.join(['a', 'b'])|', '.join('ab')|''.join([1])|'a-b-c'.replace('-', '+')
'a-b-c'.replace('-', '+', 1)|'abc'.replace('', '.')|'aaa'.replace('a', '', 2)|'{} and {}'.format('a', 1)|'{0} {1} {0}'.format('a', 'b')
'{x} {y}'.format(x=1, y=none)|'{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c')|'{:*^7}'.format('ab')|'{:05d}'.format(42)|'{:+}'.format(3)|'{:,}'.format(1234567)
'{:_}'.format(1234567)|'{:.2f}'.format(3.14159)|'{:e}'.format(12345.678)|'{:g}'.format(0.00001)|'{:.3}'.format(2.0)|'{:%}'.format(0.25)
'{:x} {:X} {:o} {:b} {:#x}'.format(255, 255, 8, 5, 255)|'{!r} {!s}'.format('a', 'b')|'{!a}'.format('é')|'{{}}'.format()|'{0[k]} {0[a]}'.format(messages[-1].d)
'{m.role}'.format(m=messages[0])|'{:{w}}|'.format('a', w=4)|'{'.format()|'}'.format()|'{} {0}'.format(1)|'{1}'.format(1)|'{z}'.format(a=1)
'{:,.2f}'.format(1234567.891)|'{:010,}'.format(1234)|'{:<08}'.format(3)|'{:=+6}'.format(3)|'{:s}'.format('abc')|'{:.2}'.format('abc')|'{:d}'.format('a')
'{a}'.format_map({'a': 1})|'%s: %d' % ('a', 3)|'%s' % 'a'|'%5.1f|%-5d|%05d|%+d|% d' % (3.14159, 4, 42, 7, 8)|'%x %X %o %#x' % (255, 255, 8, 255)
'%r %a' % ('é', 'é')|'%(a)s %(b)03d' % {'a': 1, 'b': 2}|'%%' % ()|'%s' % none|'%s %s' % ('a',)|'%s' % ('a', 'b')|'%d' % 'a'|'%c%c' % (65, 'b')|'%e %g %G' % (1.5, 1e-7, 1e20)
'%.3s|' % 'abcdef'|'%*d' % (5, 3)|'%s' % [1, 'a']|'%s' % {'a': 1}|'%d' % 3.9|'%i%%' % true|'%5s|%-5s|' % ('a', 'b')|'%.0f' % 2.5|'%s' % undefined_thing
s[0]|s[-1]|s[1:5]|s[::-1]|s[-5:]|s[10:2:-2]|s[::3]|s[99]|s[:0]|s[5:1]|'héllo'[1]|'🦀ab'[0]|'🦀ab'[1:]|s[none:3]|'abc'['x']|s['upper']()|s.nothing|s.__class__
'a' 'b'|'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1]|'a' + 'b'|'a' + 1|'ab' * 3|3 * 'ab'|'ab' * -1|'a' < 'b'|'a' < 1|'a' in 'abc'|1 in 'abc'|'abc' == 'abc'
'a\\\\n\\x41\\u00e9\\101\\q'|"it's"|'say "hi"'|'\\'"'|s|length|('a', 'b')|('a',)|()|'\\N{DASH}'
"""
VALUES = """
none|true|false|True|None|1|-1|1.0|1e-05|1e16|123456789012345.6|1e100|0.1 + 0.2|1/3|2**10|2**-1|2**0.5|7 // 2|-7 // 2|7 % 3|-7 % 3|7.5 // 2|-7.5 % 2|1_000
0x1f|0b11|0o17|7 / 2|6 / 2|1 / 0|1 // 0|1 % 0|1.5 // 0|true + 1|true == 1|1 == 1.0|'1' == 1|none == false|-2 ** 2|2 ** 3 ** 2|- 3|+3|-true|not 1|1 < 2 < 3|1 < 3 < 2
3 > 2 == true|1 in [1, 2]|3 not in [1]|'k' in messages[-1].d|[1, 2] + [3]|[1] * 3|(1, 2) + (3,)|[1, 2] == [1, 2]|[1] < [2]|(1, 2) == [1, 2]|[1, 'a', none, true, 1.5, {'a': [1]}]
{'a': 1, "b's": 'it"s', 1: none, (1, 2): true}|{}|[]|{'a': 1}.a|{'a': 1}['a']|{'a': 1}.b|{'a': 1}['b']|{'items': 1}.items|{'items': 1}['items']|{'a': 1}.items()|{'a': 1}.keys()
{'a': 1}.values()|{'a': 1}.get('a')|{'a': 1}.get('b')|{'a': 1}.get('b', 'c')|{'a': 1}.items() | list|{'a': 1}.pop('a')|{'a': 1}.update({})|{'a': 1}.copy()|{'a': 1} == {'a': 1.0}|{'a': 1, 'a': 2}
[3, 1, 2][0]|[3, 1, 2][-1]|[3, 1, 2][9]|[3, 1, 2][1:]|[3, 1, 2][::-1]|[3, 1, 2].index(1)|[3, 1, 2].count(3)|[3, 1].append(2)|[3, 1].sort()|[3, 1].copy()|[1, 2, 3][true]|['a']['a']|[1].x
range(3)|range(1, 7, 2)|range(5, 0, -2) | list|range(3)[1]|range(9)[2:5]|range(200000)|range(3) | length|2 in range(3)|range('a')|range(3) == range(0, 3)
undefined_thing|undefined_thing.x|undefined_thing['x']|undefined_thing + 1|undefined_thing ~ 'x'|undefined_thing == other_thing|undefined_thing == none|undefined_thing | length|undefined_thing | list
undefined_thing < 1|undefined_thing()|undefined_thing.x()|'a' in undefined_thing|undefined_thing is defined|not undefined_thing|undefined_thing or 'x'|undefined_thing | default('d')|none | default('d')
'' | default('d', true)|none | default('d', boolean=true)|messages[0].nothing|messages[0].nothing.more|messages[0].content.more|messages[0].content.more.most|none.x|none['x']|1 .x|messages.x|messages[99]|messages[99].x
none | length|1 | length|true | length|'x' if false|'x' if true else 'y'|('x' if false) is defined|'a' if 0.0 else 'b'|'a' if '' else 'b'|'a' if [0] else 'b'|'a' if range(0) else 'b'|1 and 2|0 and 2|0 or ''|none or []|[] and x
none is none|none is iterable|'a' is iterable|1 is iterable|undefined_thing is iterable|none is sequence|'a' is sequence|{} is sequence|{}.items() is sequence|undefined_thing is sequence|{} is mapping|[] is mapping|{} is iterable
'a' is string|1 is string|1 is number|true is number|1.0 is number|true is integer|1 is integer|1.0 is float|1 is float|true is boolean|1 is boolean|true is true|1 is true|0 is false|false is false|none is false
1 is odd|2 is even|4 is divisibleby 2|4 is divisibleby(3)|'a' is lower|'A' is upper|'1' is upper|1 is sameas 1|true is sameas true|none is sameas none|1 is in [1]|1 is eq 1|1 is equalto(1)|1 is ne 2|1 is gt 0|1 is lessthan 2|2 is ge 2
range is callable|dict is callable|s is callable|s.upper is callable|'upper' is filter|'nothing' is filter|'odd' is test|1 is not odd|not 1 is odd|'x' is escaped|1 is == 1|messages is not none and messages | length > 1
dict(a=1, b=2)|dict({'a': 1}, b=2)|dict([('a', 1)])|dict([['a', 1]]).a|namespace(a=1).a|namespace({'a': 2}).a|namespace(a=1)['a']|namespace().b|joiner is defined|(1.5).is_integer()|(5).bit_length()|lipsum is defined
1 is nothing|1 | nothing|'a' if true else 1 | nothing|raise_exception('No "way", é')|raise_exception(1)|strftime_now('%d %b %Y')|strftime_now('%Y-%m-%d %H')|messages[0]['role'] + 1|messages[0] + 'x'|'x' + none|none + 'x'|[] + 'x'
1 if 2 else 3 if 4 else 5|[1, 2,]|{'a': 1,}|(1)|1,2|[[1, [2]], ('a', {'b': (1,)})]|'é' ~ ['é\\n\\x00\\u200b\\u00a0\\U0001F980']|[1e22, 1e15, -0.0, 100.0]|1e400|-1e400|1e400 - 1e400|99999999999999999999
"""
FILTERS = """
s | upper|s | lower|s | title|s | capitalize|s | trim|'xxaxx' | trim('x')|s | replace('l', 'L')|s | replace('l', 'L', 1)|1.0 | replace('.', ',')|s | wordcount|'a_b c-d é' | wordcount|s | length|s | count|s | list|s | first|s | last
s | reverse|[1, 2] | reverse | list|s | center(60) ~ '|'|'ab' | center(5) ~ '|'|s | indent|s | indent(2, true)|s | indent('> ')|'a\\n\\nb' | indent(2)|'a\\n\\nb' | indent(2, blank=true)|s | truncate(10)|s | truncate(10, true)|s | truncate(10, false, '…')
s | truncate(10, true, '', 0)|'short' | truncate(3)|'foo bar baz qux' | truncate(9)|s | truncate(1)|'foo bar baz qux' | wordwrap(7)|'aaaaaaaaaa bb' | wordwrap(4)|'aaaaaaaaaa bb' | wordwrap(4, false)|'a  b   c\\nd' | wordwrap(3, wrapstring='|')
'%s-%s' | format('a', 1)|'%(a)s' | format(a=1)|'<b> & "x"' | e|('<b>' | e) ~ '<'|('<b>' | safe) + '<'|'<b>' | escape | length|'<b>hi</b> <!-- no --> there &lt;' | striptags|'a b/c?d=é&' | urlencode|{'a b': 'c/d', 'e': 1} | urlencode|[('a', 1)] | urlencode
{'a': 1, 'b': none, 'c': '<'} | xmlattr|{'a': 1} | xmlattr(false)|'3.7' | int|'x' | int|'x' | int(5)|'0x1f' | int(base=16)|'1f' | int(0, 16)|' 42 ' | int|'1_000' | int|'1e3' | int|3.99 | int|-3.99 | int|none | int|true | int|[] | int
'0b11' | int(base=0)|'3.7' | float|'x' | float|'x' | float(1.5)|' 1e3 ' | float|none | float|'inf' | float|2.5 | round|3.5 | round|2.675 | round(2)|1234.5 | round(-2)|42 | round|42 | round(1)|2.5 | round(0)|2.1 | round(method='ceil')
2.15 | round(1, 'floor')|-5 | abs|-5.5 | abs|'a' | abs|1000 | filesizeformat|1234567 | filesizeformat|1 | filesizeformat|1024 | filesizeformat(true)|5 | string|none | string|[1] | string|{'a': 1} | string|[1, 2, 3] | sum|[1.5, 2] | sum
messages | map(attribute='role') | list|messages | map(attribute='role') | join(', ')|messages | map(attribute='nothing') | list|messages | map(attribute='nothing', default='d') | list|['a', 'b'] | map('upper') | list|[[1, 2], [3]] | map('length') | sum
['a', 'b'] | map('replace', 'a', 'c') | join|messages | selectattr('role', 'equalto', 'user') | list | length|messages | selectattr('role', '==', 'user') | map(attribute='content') | first|messages | selectattr('nothing') | list
messages | rejectattr('role', 'in', ['user', 'system']) | list | length|messages | selectattr('content', 'defined') | list | length|[1, 2, 3, 4] | select('odd') | list|[1, 2, 3, 4] | reject('odd') | list|[0, 1, ''] | select | list|[1, 2] | select('gt', 1) | list
messages | map('attr', 'x') | list|messages | groupby('role')|messages | groupby('role') | map(attribute='grouper') | list|(messages | groupby('role'))[0].list | length|[3, 1, 2] | sort|['b', 'A', 'c'] | sort|['b', 'A', 'c'] | sort(case_sensitive=true)
[3, 1, 2] | sort(reverse=true)|messages | sort(attribute='role') | map(attribute='role') | list|[1, 'a'] | sort|messages | sort(attribute='role,content') | length|{'b': 1, 'a': 2, 'C': 0} | dictsort|{'b': 1, 'a': 2} | dictsort(by='value')
{'b': 1, 'a': 2} | dictsort(reverse=true)|['a', 'b', 'A'] | unique | list|[1, 2, 1] | unique | list|['a', 'A'] | unique(true) | list|[3, 1] | min|[3, 1] | max|[] | min|['b', 'A'] | min|['a', 'B'] | max|messages | map(attribute='content') | select('string') | max
[1, 2, 3, 4, 5] | batch(2) | list|[1, 2, 3] | batch(2, 'x') | list|[1, 2, 3, 4, 5] | slice(2) | list|[1, 2, 3] | slice(2, 'x') | list|[1, 2] | join|[1, none, 'a'] | join('-')|messages | join(' ', attribute='role')|[] | first|[] | last|[] | first is defined
{'a': 1, 'b': [1, 2]} | items | list|undefined_thing | items | list|1 | items | list|{'a': 1} | list|{'a': 1} | first|{'a': 1, 'b': 2} | length|{'a': 1} | join|s | attr('upper')|messages[0] | attr('role')|[1, 'a'] | pprint|'a' | nothing.more
{'b': 1, 'a': [1, 2.0, none, true, 'é"\\\\\\n\\x01/<']} | tojson|{'b': 1, 'a': 2} | tojson(sort_keys=true)|{'a': 1, 'b': [1, {}]} | tojson(indent=2)|{'a': [1, []]} | tojson(indent=0)|[1, 2] | tojson(separators=(',', ':'))|'é🦀' | tojson(ensure_ascii=true)
{'a': [1, 2]} | tojson(indent=4, separators=(',', ': '))|{'a': [1]} | tojson(indent='--')|none | tojson|1e400 | tojson|{1: 2, none: 3, true: 4, 1.5: 5} | tojson|(1, 2) | tojson|range(2) | tojson|undefined_thing | tojson|{'a': 1} | tojson | safe|{(1, 2): 3} | tojson
messages[-1] | tojson|messages | tojson(indent=2)|{} | tojson(indent=2)|[] | tojson|'</script>' | tojson|messages[0].items() | list | tojson|[1, 2, 3] | tojson(true)|messages | map('tojson') | list|messages | length + 1|-1 | abs|2 ** 3 | string|1 + 2 | string
messages | list | last == messages[-1]|messages | first | tojson|'a,b' | replace(',', none)|messages | selectattr('role') | length|messages | map(attribute='role')|messages | selectattr('zz') and 1|'a' | map('upper') | list|'ab' | batch(1) | list
"""

BLOCKS = [
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ m.role }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for m in messages %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.depth }}{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined }}>{{ loop.nextitem.role if loop.nextitem is defined else '-' }} {% endfor %}",
    "{% for m in messages if m.role != 'user' %}{{ loop.index }}{{ loop.length }}{{ m.role }}{{ loop.last }}{% else %}none{% endfor %}",
    "{% for m in messages if m.role == 'zz' %}x{% else %}none{% endfor %}{% for c in 'añb' %}{{ c }}.{% endfor %}",
    "{% for m in messages %}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }}{% endfor %}{{ loop is defined }}",
    "{% for k, v in messages[-1].items() %}{{ k }}={{ v }};{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b + c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}", "{% for a, b in [1] %}{{ a }}{% endfor %}", "{% for x in 5 %}{% endfor %}",
    "{% for x in [[1, [2, 3]], [4]] recursive %}{{ loop.depth }}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 9 %}{{ x }}{% endfor %}{{ x }}", "{% for i in [1, 2] %}{{ y }}{% set y = i %}{% endfor %}{{ y }}|{{ i }}",
    "{% set ns = namespace(a=1, l=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.a }}{{ ns.l }}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set x = 1 %}{% set x.y = 2 %}", "{% set x.y = 2 %}", "{% set a, b = 1, 2 %}{{ b }}{{ a }}", "{% set a = 1, 2 %}{{ a }}",
    "{% set x %} a {{ 1 }} {% endset %}[{{ x }}]{% set y | trim | upper %} b {% endset %}[{{ y }}]{{ x is string }}",
    "{% if a %}1{% elif messages %}2{% else %}3{% endif %}{% if x is defined and x %}4{% endif %}{% if 'a' == 'a' and (1 or y.z) %}5{% endif %}",
    "{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f() }}{{ f(1, 2, 3) }}{{ f.name }}{{ f.arguments }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=1) }}", "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(3) }}",
    "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}", "{% macro f(x) %}<{{ caller(x) }}>{% endmacro %}{% call(y) f(3) %}{{ y }}{{ messages | length }}{% endcall %}",
    "{% macro f() %}{{ x }}{% endmacro %}{% set x = 5 %}{{ f() }}", "{% for i in [1, 2] %}{% macro g() %}{{ i }}{% endmacro %}{{ g() }}{% endfor %}",
    "{% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(5) }}", "{% macro f() %}x{% endmacro %}{{ f() | upper }}{{ f() is string }}",
    "{% call nothing() %}{% endcall %}", "{% macro f() %}{{ caller is defined }}{{ caller() }}{% endmacro %}{{ f() }}", "{% macro f() %}a{% endmacro %}{% call f() %}b{% endcall %}",
    "{% filter upper | replace('A', 'z') %}abc {{ messages[0].role }}{% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% generation %}a{% set q = 1 %}{{ q }}{% endgeneration %}{{ q }}", "{%- generation -%} a {%- endgeneration -%} b", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}",
    "{% set j = joiner() %}{{ j() }}a{{ j() }}b{{ j() }}", "{% raw %}{{ x }} {% y %}{% endraw %}\n z", "{%- raw -%}  {{ x }}  {%- endraw -%}  z", "a {# {{ no }} #} b {#- x -#} c\n  {# own line #}\nd",
    "  {% if true %}\n  a\n  {% endif %}\nb", "  {%+ if true %}\n  a\n  {% endif +%}\nb", "a  {%- if true -%}  b  {%- endif -%}  c", "a\n{{ 'b' }}\nc\n", "a\r\n  {% if 1 %}\r\nb\r{% endif %}\r\n", "x{{ 1 -}}  y {{- 2 }}\n\n", "a\n\n",
    "{{ {'a': {'b': 1}}['a'] }}{{ {'a': {}} }}", "{% print 1, 2 %}", "{% do x %}", "{% include 'x' %}", "{% block a %}x{% endblock %}", "{{ x", "{% if x %}", "{{ }}", "{% endif %}", "{{ 1 + }}", "{{ (1 }}", "{{ 'a }}", "{{ a b }}", "{# x",
    "{% if false %}{{ 1 | nothing }}{% endif %}ok", "{% if true %}{{ 1 | nothing }}{% endif %}ok", "{% for x in [] %}{{ 1 | nothing }}{% endfor %}ok", "{{ 1 if true else 2 | nothing }}", "{{ 'a' is nothing if false else 1 }}",
    "{% set messages = messages[1:] %}{{ messages | length }}", "{% for m in messages %}{% set content = m.content %}{% if content is none %}N{% elif content is string %}{{ content | trim }}{% else %}{% for p in content %}{{ p.text }}{% endfor %}{% endif %}|{% endfor %}",
    "{% for m in messages[::-1] %}{{ m['role'] }}{{ m.get('content', 'no') }}{% endfor %}", "{% for m in messages %}{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{{ c.function.arguments }}{% endfor %}{% endif %}{% endfor %}",
    "{% if tools is iterable and tools | length > 0 %}T{% endif %}{{ tools is none }}{{ tools is defined }}{{ tools }}{{ documents }}{{ add_generation_prompt }}{{ bos_token }}{{ eos_token }}{{ pad_token }}",
    "{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}{% if not (tools is defined and tools) %}no tools{% endif %}{{ tools | length }}",
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate: ' ~ m.role) }}{% endif %}{% endfor %}",
    "{% for m in messages %}{% if '</think>' in (m.content or '') %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}|{{ m.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}{% endif %}{% endfor %}",
    "{% set ns = namespace(last=-1) %}{% for m in messages[::-1] %}{% set index = (messages | length - 1) - loop.index0 %}{% if m.role == 'user' and ns.last < 0 %}{% set ns.last = index %}{% endif %}{% endfor %}{{ ns.last }}",
    "{% macro visible(c) %}{% if c is string %}{{ c }}{% elif c is iterable and c is not mapping %}{% for i in c %}{% if i is mapping and i.type == 'text' %}{{ i.text }}{% elif i is string %}{{ i }}{% endif %}{% endfor %}{% else %}{{ c }}{% endif %}{% endmacro %}{% for m in messages %}[{{ m.role }}]{{ visible(m.content) }}{% endfor %}",
    "{% for m in messages %}{{ m.reasoning_content }}{{ m.thinking }}{{ m.keys() | list }}{{ m }}{% endfor %}", "{% for m in messages %}{{ '<|' + m['role'] + '|>' + '\\n' + (m['content'] | string) + '<|end|>' }}{% endfor %}",
    "{% set today = strftime_now('%Y-%m-%d') if strftime_now is defined else '2024' %}{{ today }}", "{% for m in messages | selectattr('role', 'ne', 'system') %}{{ m.role }}{{ loop.index }}{{ loop.last }}{{ loop.length }}{% endfor %}",
    "{% for type, items in messages | groupby('role') %}{{ type }}{{ items | length }}{% endfor %}", "{% set x = messages | map(attribute='role') %}{{ x | list }}{{ x | list }}", "{% for m in messages if loop.index > 1 %}{{ m.role }}{% endfor %}",
    "{% set ns = namespace(go=true) %}{% for m in messages if ns.go %}{{ m.role }}{% set ns.go = false %}{% endfor %}", "{% for a in [1, 2] %}{% for b in [3] %}{{ loop.depth }}{{ a }}{{ b }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for l in [1] %}{% set ns = namespace(l=loop) %}{{ ns.l.index }}{% endfor %}{% for x in {'b': 1, 'a': 2} | dictsort %}{{ x }}{% endfor %}{% for x in {'b': 1} %}{{ x }}{% endfor %}",
    "{{ messages[0] is mapping and messages[0].role == 'system' and messages[0]['content'] }}", "{% if messages[0].role == 'system' %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ loop_messages | length }}",
    "{%- set params = [] -%}{%- for k in ['a'] -%}{%- set _ = params.append(k) -%}{%- endfor -%}{{ params }}", "{% set x = dict(messages[0], content='new') %}{{ x }}", "{{ f(*[1], **{'a': 2}) }}", "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1], **{'b': 2}) }}{{ f(b=1, a=2) }}",
]


# What generators, orders, numbers, defaults and safe texts do.
CORNERS = [
    "{% for m in messages | selectattr('role', 'ne', 'system') | reverse %}{{ m.role }} {% endfor %}", "{{ messages | map(attribute='role') | reverse }}", "{{ ['b', 'a', 'b'] | unique | reverse | list }}",
    "{{ [1, 2, 3] | select | reverse | first }}{{ [1, 2, 3] | batch(2) | reverse | list }}{{ [1, 2, 3] | slice(2) | reverse | list }}", "{{ {'a': 1, 'b': 2}.items() | reverse | list }}{{ {'a': 1} | reverse | list }}{{ range(3) | reverse | list }}",
    "{{ 5 | reverse }}", "{{ none | reverse }}", "{{ nothing | reverse | list }}", "{{ 'aé' | reverse }}{{ ('<b>' | safe) | reverse }}",
    "{% set g = messages | map(attribute='role') %}{{ g | first }}:{{ g | first }}:{{ g | list }}:{{ g | first is defined }}", "{% set g = messages | map(attribute='role') %}{{ 'user' in g }}:{{ g | list }}:{{ 'user' in g }}",
    "{% set g = [1, 2, 3, 4] | select %}{% for x in g %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}:{{ g | list }}", "{% set g = [1, 2, 3, 4] | select %}{% for x in g %}{{ x }}{{ loop.last }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}:{{ g | list }}",
    "{% set g = [1, 2, 3, 4] | select %}{% for x in g %}{% for y in g %}{{ x }}{{ y }} {% endfor %}{% endfor %}", "{% set g = [1, 2, 3, 4] | select %}{% for x in g %}{{ loop.length }}{{ x }}{{ loop.revindex }} {% endfor %}{{ g | list }}",
    "{% set g = [1, 2, 3, 4] | select %}{% for x in g if x != 2 %}{{ x }}{% if x == 3 %}{% break %}{% endif %}{% endfor %}:{{ g | list }}", "{% set g = [1, 2] | select %}{{ g is iterable }}{{ g | list }}{{ g | list }}",
    "{% for x in [1] %}{% break %}{% else %}E{% endfor %}", "{% for x in [1, 2] %}{{ x }}{% continue %}{% else %}E{% endfor %}", "{% for x in [1, 2] %}{% if x == 2 %}{% break %}{% endif %}{% else %}E{% endfor %}", "{% for x in [1, 2] %}{% if x == 1 %}{% continue %}{% endif %}{% else %}E{% endfor %}",
    "{% set x = 1 %}{% macro f(x=x) %}{{ x }}{% endmacro %}[{{ f() }}{{ f(2) }}]", "{% set b = 1 %}{% macro f(a=b, b=2) %}{{ a }}{{ b }}{% endmacro %}[{{ f() }}{{ f(b=3) }}]", "{% macro f(a, b=a ~ 'x', c=b) %}{{ a }}{{ b }}{{ c }}{% endmacro %}[{{ f(1) }}{{ f() }}]",
    "{{ 'x' in range(3) }}{{ 2.0 in range(3) }}{{ 2.5 in range(3) }}{{ -1e300 in range(5, 0, -1) }}{{ 1e300 in range(3) }}{{ true in range(2) }}{{ 3 in range(5, 0, -2) }}{{ 2 in range(5, 0, -2) }}",
    "{{ 9007199254740993 == 9007199254740992.0 }}{{ 9007199254740993 > 9007199254740992.0 }}{{ {9007199254740992.0: 1}[9007199254740992] }}{{ {1e31: 1}[10 ** 31] }}{{ 1e38 | int }}{{ '%d' % 1e38 }}{{ '%d' % -2.9 }}",
    "{{ [3, 1, 2, 1.0, true] | sort }}{{ [3, 1, 2, 1.0, true] | sort(reverse=true) }}{{ ['b', 'A', 'a', 'B'] | sort }}{{ ['b', 'A', 'a', 'B'] | sort(reverse=true) }}", "{{ [1, 'a', 2, 'b'] | sort }}", "{{ {1: 2, 'a': 1} | dictsort }}", "{{ {1: 2, 'a': 1} | tojson(sort_keys=true) }}",
    "{{ '\x7f\x80é' | tojson(ensure_ascii=true) }}{{ '\x7f' | tojson }}",
    "{{ strftime_now('%c|%x|%X|%D|%R|%h|%f|%w|%u|%U|%W|%V|%G|%g|%C|%k|%l|%P|%r') }}", "{{ strftime_now('%n%t%z|%Z|%%|%Q|%i') }}", "{{ strftime_now('%-d %-m %-j %-H %-I %-M %-S %-y %-k %-l %-e %-B %-U %-V') }}",
    "{{ (('<b> ' | safe) | trim) + '<' }}{{ (('a' | safe) | upper) + '<' }}{{ (('A' | safe) | lower) + '<' }}{{ (('a' | safe) | capitalize) + '<' }}{{ (('a' | safe) | title) + '<' }}", "{{ (('a' | safe) | center(5)) + '<' }}{{ (('a' | safe) | replace('a', '<')) + '<' }}{{ (('a\nb' | safe) | indent) + '<' }}",
    "{{ ('<b>b</b>' | safe).replace('b', '<') }}{{ (', <' | safe).join(['<', '<' | safe]) }}", "{{ ('<a> <b>' | safe).split()[0] + '<' }}{{ ('<a>\n<b>' | safe).splitlines()[0] + '<' }}{{ ('<a>=' | safe).partition('=')[0] + '<' }}{{ ('<a>' | safe).upper() + '<' }}{{ ('<a>' | safe).strip('<') + '<' }}",
    "{{ ((('<a> b' * 9) | safe) | truncate(9)) + '<' }}{{ (('<a>' | safe) | truncate(9)) + '<' }}{{ (('<a> b cdefgh' | safe) | truncate(9, end='<', leeway=0)) + '<' }}", "{% for c in '<' | safe %}{{ c + '<' }}{% endfor %}{{ (('<a>' | safe) | first) + '<' }}{{ (('<a>' | safe) | last) + '<' }}{{ (('<a>' | safe) | list)[0] + '<' }}{{ ('<a>' | safe)[1:] + '<' }}",
    "{% for loop in [1] %}{% endfor %}", "{% for x in [1] %}{% set loop = 5 %}{% endfor %}", "{% set loop = 5 %}{{ loop }}", "{% macro f(caller) %}{{ caller() }}{% endmacro %}{{ f(1) }}", "{% macro f(caller=1) %}{{ caller }}{% endmacro %}{{ f(2) }}", "{% for x in [1] %}{% generation %}{% break %}{% endgeneration %}{% endfor %}", "{% for x in [1] %}{% generation %}{{ x }}{% endgeneration %}{% endfor %}",
    "{{ namespace(a=1) is callable }}{{ cycler(1) is callable }}{{ joiner() is callable }}{{ dict is callable }}{% macro f() %}{% endmacro %}{{ f is callable }}{% for x in [1] %}{{ loop is callable }}{% endfor %}", "{{ -0.0 | filesizeformat }}{{ '１２' | int }}{{ '１２' | int(0, 16) }}{{ 'ŉ*' | capitalize }}{{ 'ŉ*'.capitalize() }}{{ 'ŉ*'.title() }}",
    "{{ [1, 2] | truncate }}", "{{ {'a': 1} | truncate }}", "{% autoescape false %}{{ '<' }}{% set q = 1 %}{% endautoescape %}{{ q }}", "{{ 5 .bit_count() }}{{ true.bit_count() }}", "{% for x in [1] %}{% block a scoped %}{{ x }}{% endblock %}{% endfor %}",
    "{% for x in [1] %}{% block a scoped %}{% break %}{% endblock %}{% endfor %}", "{{ 15 | round(-1) }}{{ 25 | round(-1) }}{{ 10 ** 38 | round(-38) }}", "{{ 'e\u0304' | list }}{{ ['e\u0304\u200b'] }}{{ 'e\u0304'.isprintable() }}{{ '\u1fb3x'.title() }}{{ '\u5169'.isnumeric() }}",
    "{{ (messages | map(attribute='role'))[::-1] }}", "{{ (messages | selectattr('role'))[1:] | list }}", "{{ messages[0][1:] }}", "{{ messages[0].keys()[1:] }}", "{{ none[1:] }}", "{{ 5[1:] }}", "{{ nothing[1:] }}", "{{ 'abc'['a':] }}", "{{ [1, 2][:1.5] }}", "{% set x = 5 %}{{ x[1:] }}", "{% set x = none %}{{ x[1:] }}", "{% set x = 'a' %}{{ 'abc'[x:] }}", "{% set x = [1, 2] %}{{ x[:1.5] }}", "{{ {'a': 1}[1:] }}", "{% set x = {'a': 1} %}{{ x[1:] }}",
    "{{ (messages | map(attribute='role'))[0] }}{{ 5[0] }}{{ [1, 2][1:2, 0] }}", "{{ [1, 2][true:] }}{{ range(5)[1:3] | list }}{{ (1, 2, 3)[::-1] }}", "{{ ('<b>a</b> x' | striptags).split() }}{{ ('<a>' | striptags) ~ '<' }}",
    "{% with loop = 1 %}{{ loop }}{% endwith %}{% for x in [1] %}{% with loop = 2 %}{{ loop }}{% endwith %}{% endfor %}", "{% for x in [1] %}{% macro f(loop) %}{{ loop }}{% endmacro %}{{ f(3) }}{% endfor %}", "{{ ('<a>' | safe).center(9, '*') }}{{ ('x' | safe).split('x') }}",
]


def expressions(text):
    """The expressions of a block: lines, divided at bars outside quotation marks, without blanks around the bar."""
    found = []
    for line in text.strip().splitlines():
        current, quote, before = "", None, ""
        for at, c in enumerate(line):
            if quote is None and c == "|" and line[at - 1] not in " |" and line[at + 1 : at + 2] not in (" ", "|"):
                found.append(current)
                current = ""
                continue
            if c in "'\"" and before != "\\":
                quote = None if quote == c else quote or c
            current += c
            before = "" if before == "\\" else c
        found.append(current)
    return found


def templates():
    """Sources of all templates."""
    for expression in expressions(STRINGS) + expressions(VALUES) + expressions(FILTERS):
        yield "{% set s = " + repr(TEXT) + " %}[{{ " + expression + " }}]"
    yield from BLOCKS
    yield from CORNERS

"""Ways out of the script (G-3, G-6): each must end in a refusal or in nothing, and the service must live on."""

import pytest

GLOBALS = [
    "require", "process", "module", "exports", "global", "window", "self", "document", "fetch", "XMLHttpRequest", "WebSocket", "Worker", "importScripts",
    "Deno", "Bun", "std", "os", "java", "Packages", "load", "read", "readFile", "open", "exec", "system", "spawn", "quit", "console", "setTimeout",
    "setInterval", "queueMicrotask", "WebAssembly", "SharedArrayBuffer", "Atomics", "ArrayBuffer", "Uint8Array", "DataView", "Intl", "Temporal",
    "WeakRef", "FinalizationRegistry", "performance", "crypto", "navigator", "gc", "d8", "Realm", "ShadowRealm", "__host", "__buffer",
    "__timer_manager", "ActiveXObject", "Float64Array", "BigUint64Array",
]  # fmt: skip

ANSWER = "resp.setObject(new TextResponse(String({})), RespType.Streamed);"


@pytest.mark.parametrize("name", GLOBALS)
def test_nothing_of_a_host_is_there(mediagen, name):
    answer = mediagen.run(
        ANSWER.format(f"typeof globalThis[{name!r}]")
        if name not in ("load", "read")
        else ANSWER.format(f"typeof {name}")
    )
    assert (answer.status, answer.body) == (200, b"undefined")


QUIET = [
    # (script expression, what it must read as)
    ("Object.getOwnPropertyNames(globalThis).filter(n => /host|buffer|python|racer/i.test(n)).join()", ""),
    ("(function(){ return this === globalThis })()", "true"),
    ("new Function('return typeof process')()", "undefined"),
    ("(0, eval)('typeof require')", "undefined"),
    ("[].constructor.constructor('return typeof __host')()", "undefined"),
    ("(async function(){}).constructor('return 1') instanceof Function", "true"),
    ("Media.prototype.save.constructor('return typeof hostCall')()", "undefined"),
    ("req.getParameter.constructor('return typeof request')()", "undefined"),
    ("Reflect.ownKeys(req).length > 3", "true"),
    ("Object.getPrototypeOf(req)", "null"),
    ("main.caller", "null"),
    ("typeof Object.getOwnPropertyDescriptor(globalThis, '__start').value", "function"),
    ("Date.now() === new Date().getTime()", "true"),
    ("Math.random() < 1", "true"),
    # Parts of the prelude come late: whatever the script has spoiled by then must not reach them.
    (
        "[Object.getOwnPropertyDescriptor(globalThis, 'Date').get().now(), new Date(0).constructor === Date].join()",
        "946684800000,true",
    ),
    ("(eval = parse = function () { return function () { return {Date: 1} } }, new Date().getTime())", "946684800000"),
    ("(Math.imul = Reflect.construct = null, [new Date().getTime(), Math.random() < 1].join())", "946684800000,true"),
    ("(Object.prototype.get = Object.prototype.value = Object.prototype.set = 1, typeof RgbColor)", "function"),
    (
        "(function () { try { new Media().crop(xs @ -1) } catch (e) { return e instanceof MediaScriptError } })()",
        "true",
    ),
    (
        "(RegExp.prototype.exec = String.prototype.split = null, function () { try { new Media().nope() } catch (e) { return e.name } })()",
        "TypeError",
    ),
    ("typeof Media.prototype['flip|flop']", "undefined"),
    (
        "[typeof Media.prototype['|'], typeof Media.prototype[''], typeof Media.prototype.GETWIDTH].join()",
        "undefined,undefined,function",
    ),
    (
        "(function () { var seen = ''; Object.prototype.toJSON = function () { seen += Object.keys(this) }; new RgbColor(1); delete Object.prototype.toJSON; return /call|exchange/.test(seen) })()",
        "false",
    ),
    ("new Error().stack.includes('/work') || new Error().stack.includes('.py')", "false"),
]


@pytest.mark.parametrize(("expression", "expected"), QUIET, ids=[q[0][:50] for q in QUIET])
def test_reflection_leads_nowhere(mediagen, expression, expected):
    answer = mediagen.run(ANSWER.format(expression))
    assert (answer.status, answer.body.decode()) == (200, expected), answer.body


CANVAS = "var m = new Media(); m.makeCanvas(xs @ 2, ys @ 2); "
ATTACKS = {
    "eval cannot import": "eval('import(\"fs\")').then(function (x) { print(x); }); throw 1;",
    "static import": "(0, eval)('import fs from \"fs\"');",
    "load a local file": "new Media().load(name @ '/etc/passwd');",
    "load a file url": "new Media().load(name @ 'file:/etc/passwd');",
    "load a file url upper case": "new Media().load(name @ 'FILE:///etc/passwd');",
    "load through data": "new Media().load(name @ 'data:image/png;base64,AAAA');",
    "load through proc": "new Media().load(name @ '../../../../proc/self/environ');",
    "load a unix socket": "new Media().load(name @ 'unix:/run/docker.sock');",
    "File reads outside": "print(new File('/etc/passwd').read()); throw new Error(String(new File('file:///etc/passwd').read()));",
    "File writes outside": "new File('file:///tmp/x').write('x');",
    "File writes to an address": "new File('http://127.0.0.1:1/x').write('x');",
    "save to a file": CANVAS + "m.save(name @ 'file:///tmp/owned.png', type @ 'png');",
    "save to a private address": CANVAS + "m.save(name @ 'http://10.0.0.1/owned.png', type @ 'png');",
    "profile from a file": CANVAS + "m.colorCorrect(destProfile @ 'file:///etc/passwd');",
    "profile by path": CANVAS + "m.colorCorrect(destProfile @ '/etc/passwd');",
    "font by path": CANVAS + "m.drawText(text @ 'x', font @ '/etc/passwd');",
    "font with markup": CANVAS + "m.drawText(text @ 'x', font @ 'sans\" foo=\"');",
    "palette by path": CANVAS + "m.reduce(name @ '../../etc/passwd');",
    "native library": "#link <libc.so.6>\nfunction main() {}",
    "include a file": '#include "file:///etc/passwd"\nfunction main() {}',
    "include a private address": '#include "http://169.254.169.254/x"\nfunction main() {}',
    "include itself for ever": "",
    "forged handle": "Media.prototype.getWidth.call({});",
    "forged this": "var f = Media.prototype.getWidth; f.call(Object.create(Media.prototype));",
    "proxy as media": CANVAS + "m.composite(source @ new Proxy(m, {}));",
    "media of another kind": CANVAS + "m.composite(source @ {$: 'media', v: 1});",
    "getter that throws": CANVAS + "m.crop({get xs() { throw new Error('x') }});",
    "toString that never ends": CANVAS + "m.drawText(text @ {toString: function () { for (;;); }});",
    "cyclic argument": CANVAS + "var a = []; a.push(a); m.convolve(matrix @ a);",
    "deep argument": CANVAS + "var a = 1; for (var i = 0; i < 1e5; i++) a = [a]; m.convolve(matrix @ a);",
    "huge argument": CANVAS + "m.drawText(text @ 'x'.repeat(5e6));",
    "many arguments": CANVAS + "m.crop.apply(m, new Array(1e5));",
    "array prototype poisoned": "Array.prototype.push = Array.prototype.map = function () { throw 1 }; Object.prototype.problem = {ref: 0}; " + CANVAS + "m.nope();",
    "JSON poisoned": "JSON.stringify = function () { return '{\"done\":true}' }; JSON.parse = function () { return {} }; throw new Error('x');",
    "toJSON poisoned": "Object.prototype.toJSON = function () { return 'x' }; Array.prototype.toJSON = function () { return {done: true} }; " + CANVAS + "m.nope();",
    "prepareStackTrace": "Error.prepareStackTrace = function (e, s) { throw s }; " + CANVAS + "m.nope();",
    "Error replaced": "Error = function () {}; TypeError = null; " + CANVAS + "m.crop(xs @ -1);",
    "start replaced": "__start = function () { return '{\"done\":true}' }; throw new Error('x');",
    "start called again": "for (var i = 0; i < 10; i++) __start('main', []);",
    "report forged": "throw {get name() { return 1 }, ref: 0, problem: {ref: 99}};",
    "proxy thrown": "throw new Proxy({}, {get: function () { for (;;); }});",
    "regular expression that explodes": "/^(a+)+$/.test('a'.repeat(64) + 'b'); throw 1;",
    "string bomb": "var s = 'x'; while (true) s = s.replace(/x/g, 'xxxxxxxxxxxxxxxx');",
    "array bomb": "var a = []; a.length = 4294967295; a.fill(0); throw 1;",
    "BigInt bomb": "var n = 2n; for (;;) n = n * n;",
    "map bomb": "var m = new Map(); for (var i = 0;; i++) m.set(i, 'v' + i);",
    "closure bomb": "var f = function () { return 1 }; for (var i = 0; i < 1e9; i++) f = (function (g) { return function () { return g() } })(f); f();",
    "promise flood": "function loop() { return Promise.resolve().then(loop) } loop(); for (;;);",
    "generator flood": "function* g() { for (;;) yield* g() } for (var x of g());",
    "print flood": "for (;;) print('x'.repeat(10000));",
    "call flood": CANVAS + "for (;;) m.getWidth();",
    "media flood": "for (;;) new Media();",
    "step flood": CANVAS + "for (;;) m.flip();",
    "recursion in a getter": "var o = {get x() { return this.x }}; o.x;",
    "JSON depth": "var s = '['.repeat(1e6); JSON.parse(s);",
    "sort that lies": "var a = new Array(1e7).fill(0); a.sort(function () { for (;;); });",
    "header injection": "resp.setHeader('X', 'a\\r\\nSet-Cookie: x=1');",
    "header name": "resp.setHeader('Set-Cookie', 'x=1');",
    "control header": "resp.setHeader('CGN-Meta-Fee', '0');",
    "framing header": "resp.setHeader('Transfer-Encoding', 'chunked');",
    "zip slip": "var z = new Zip(); z.add('../../etc/cron.d/x', 'a');",
    "xml entities": "new XmlDocument('<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>');",
    "xml bomb": "new XmlDocument('<!DOCTYPE a [<!ENTITY x \"xxxxxxxxxx\"><!ENTITY y \"&x;&x;&x;\">]><a>&y;</a>');",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_in_a_refusal(mediagen, name):
    script = ATTACKS[name]
    if name == "include itself for ever":
        script = "".join(f'#include "gen{n}.ms"\n' for n in range(40)) + "function main() {}"
        for n in range(40):
            mediagen.origin.add(f"gen{n}.ms", f"var a{n};")
    answer = mediagen.run(script)
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    assert answer.problem["status"] == answer.status
    assert b"root:" not in answer.body
    assert mediagen.alive()


def test_one_script_leaves_nothing_for_the_next(mediagen):
    """A fresh context for each request: globals, prototypes and files are gone."""
    mediagen.run(
        "leak = 1; Object.prototype.leak = 2; Media.prototype.leak = 3; Math.leak = 4; new File('mem:/leak').write('x');"
        + ANSWER.format("1")
    )
    answer = mediagen.run(ANSWER.format("[typeof leak, ({}).leak, Math.leak, new File('mem:/leak').exists()].join()"))
    assert answer.body == b"undefined,,,false"


def test_there_are_enough_attempts():
    assert len(GLOBALS) + len(QUIET) + len(ATTACKS) >= 50


SURVEY = """
function main() {
  const seen = new Set(), told = [];
  function look(path, object) {
    if (object === null || (typeof object !== "object" && typeof object !== "function") || seen.has(object)) return;
    seen.add(object);
    for (const key of Reflect.ownKeys(object)) {
      const field = Object.getOwnPropertyDescriptor(object, key), here = path + "." + String(key);
      told.push(here + ":" + Object.keys(field).join() + ":" + typeof field.value + ":" + typeof field.get
        + ":" + field.writable + field.enumerable + field.configurable);
      look(here, field.value);
    }
    look(path + ".__proto__", Object.getPrototypeOf(object));
  }
  look("", globalThis);
  print(told.join(" "));
}
"""


def test_a_script_cannot_tell_whether_its_context_was_made_ahead() -> None:
    """Same inputs, same bytes (G-1), however busy the worker is: what is compiled ahead changes nothing to be seen."""
    from dservices.mediagen.worker import engine, host

    def surveyed(*, ahead: bool) -> str:
        context, told = engine.Context(host.script_table()), []
        if ahead:
            context.warm()
        report = context.run(SURVEY, "main", [], lambda text: told.append(text) or '{"value":null}')
        context.close()
        assert report == {"done": True}
        return told[0]

    fresh = surveyed(ahead=False)
    assert ".RespType:" in fresh and ".Media.prototype" in fresh
    assert surveyed(ahead=True) == fresh

// What a script finds when it starts: MediaScript's objects over one host function, and nothing of the engine that could
// reach further or differ between two runs (clocks, randomness, shared memory, WebAssembly, timers).
// Evaluated once per request in a fresh context, so every line here is paid for by every request: what few scripts use is
// in a part (the other files of this folder), which comes as a text and is compiled when it is first needed. Functions in
// parentheses are those that every script uses: V8 then compiles them at once instead of reading them twice.
// The result is the border: the buffer for arguments and answers, and the place where the engine puts the host function.
(function (capacity, methods, globals, removed) {
  "use strict";
  const buffer = new SharedArrayBuffer(8 + 2 * capacity), request = new Uint16Array(buffer, 8, capacity), header = new Int32Array(buffer, 0, 2);
  const border = { __proto__: null, buffer, host: null };
  const { apply, ownKeys, get: reflectGet } = Reflect, { create, defineProperty, getPrototypeOf, setPrototypeOf, prototype: objectPrototype } = Object;
  const bind = Function.prototype.bind, unbound = (function (method) { return apply(bind, Function.prototype.call, [method]); });
  const { stringify, parse } = JSON, { isArray } = Array, { fromCharCode } = String, evaluate = eval, toStr = String, TypeErr = TypeError;
  const charCodeAt = unbound(String.prototype.charCodeAt), toLowerCase = unbound(String.prototype.toLowerCase), subarray = unbound(request.subarray);
  const indexOf = unbound(String.prototype.indexOf), substring = unbound(String.prototype.substring);
  const promiseThen = unbound(Promise.prototype.then);
  const mapGet = unbound(WeakMap.prototype.get), mapSet = unbound(WeakMap.prototype.set), hasOwn = unbound(objectPrototype.hasOwnProperty);

  // -- the host ---------------------------------------------------------------------------------------------------
  const exchange = (function (text) {
    return text.length > capacity ? null : parse(answered(text, 1));
  });
  // A text to the host and one back; as a negative length it is the name of a part.
  const answered = (function (text, sign) {
    const length = text.length;
    for (let i = 0; i < length; i++) request[i] = charCodeAt(text, i);
    header[0] = sign * length;
    border.host();
    const size = header[0];
    if (size <= 4096) return apply(fromCharCode, null, subarray(request, 0, size));
    let answer = "";
    for (let i = 0; i < size; i += 4096) answer += apply(fromCharCode, null, subarray(request, i, i + 4096 < size ? i + 4096 : size));
    return answer;
  });
  const call = (function (name, object, args) {
    const answer = exchange(stringify([name, object, args]));
    if (answer === null) throw new RangeError("the arguments of " + name + " are too long");
    if (answer.problem !== undefined) throw part("errors").failed(answer.problem);
    const value = answer.value;
    return value === null || typeof value !== "object" ? value : part("values").decode(value);
  });

  // -- values across the border ------------------------------------------------------------------------------------
  const handles = new WeakMap(), namedArguments = new WeakMap();
  let nextHandle = 1;
  const encode = (function (value, depth) {
    switch (typeof value) {
      case "number": return value === value && value - value === 0 ? value : { $: "number", v: toStr(value) };
      case "string": case "boolean": return value;
      case "undefined": return null;
      case "object": break;
      default: return { $: typeof value };
    }
    if (value === null) return null;
    const handle = mapGet(handles, value);
    if (handle !== undefined) return { $: handle.kind, v: handle.value === undefined ? handle.read(value) : handle.value };
    return part("values").encode(value, depth);
  });
  const named = (function () {
    const pairs = [], object = create(null);
    for (let i = 0; i < arguments.length; i += 2) pairs[i / 2] = [arguments[i], arguments[i + 1]];
    mapSet(namedArguments, object, pairs);
    return object;
  });
  const packed = (function (args) {
    // One tagged object: named arguments. A plain object literal as only argument is taken as named, too.
    if (args.length === 1 && typeof args[0] === "object" && args[0] !== null) {
      const pairs = mapGet(namedArguments, args[0]);
      if (pairs !== undefined) {
        const out = [];
        for (let i = 0; i < pairs.length; i++) out[i] = [pairs[i][0], encode(pairs[i][1], 0)];
        return { named: out };
      }
      if (getPrototypeOf(args[0]) === objectPrototype && mapGet(handles, args[0]) === undefined) return { named: part("values").fieldsOf(args[0], 0) };
    }
    const out = [];
    for (let i = 0; i < args.length && i < 256; i++) out[i] = encode(args[i], 0);
    return { positional: out };
  });

  // -- objects -----------------------------------------------------------------------------------------------------
  // `methods` is one text of all names, each between two bars: reading a table of them costs more than looking for one.
  const lowerMethods = toLowerCase(methods), made = create(null);
  const methodNamed = (function (key) {
    const lower = toLowerCase(key), at = indexOf(lowerMethods, "|" + lower + "|");
    return at < 0 || indexOf(lower, "|") >= 0 ? undefined : substring(methods, at + 1, at + 1 + lower.length);
  });
  const Media = (function Media() {
    if (new.target === undefined) throw new TypeErr("Media is made with new Media()");
    mapSet(handles, this, { kind: "media", value: nextHandle });
    nextHandle += 1;
    call("Media", nextHandle - 1, packed(arguments));
  });
  const fix = (function (object, name, value) { defineProperty(object, name, { __proto__: null, value, writable: true, configurable: true, enumerable: false }); });
  const install = (function (prototype, kind, name) {
    const path = kind + "." + name;
    fix(prototype, name, { [name]: (function () {
      const handle = this === null || this === undefined ? undefined : mapGet(handles, this);
      if (handle === undefined || handle.kind !== kind) throw new TypeErr(name + " was called on something that is no " + kind);
      return call(path, handle.value, packed(arguments));
    }) }[name]);
  });
  // Methods are made when they are first asked for: a script uses five of a hundred, and making them takes time in every
  // context. Names are case-insensitive; one that is unknown is remembered, so that the call's TypeError can be explained.
  const tools = { call, encode, packed, exchange, install, fix, mapGet, mapSet, handles, namedArguments, toStr, TypeErr, Media, made, part,
    apply, create, defineProperty, ownKeys, stringify, isArray, evaluate, Err: Error, captureStackTrace: Error.captureStackTrace, RealDate: Date, exec: RegExp.prototype.exec, split: String.prototype.split,
    slice: String.prototype.slice, missing: "", freeze: Object.freeze, construct: Reflect.construct, imul: Math.imul, take: () => nextHandle++ };
  setPrototypeOf(Media.prototype, new Proxy(create(objectPrototype), { __proto__: null, get: (function (target, key, receiver) {
    if (typeof key === "string" && !(key in objectPrototype)) {
      const known = methodNamed(key);
      if (known !== undefined) {
        if (!hasOwn(Media.prototype, known)) install(Media.prototype, "media", known);
        return Media.prototype[known];
      }
      tools.missing = key;
    }
    return reflectGet(target, key, receiver);
  }), has(target, key) { return key in target || typeof key === "string" && methodNamed(key) === key; } }));

  // -- parts -------------------------------------------------------------------------------------------------------
  function part(name) { return made[name] || (made[name] = evaluate(answered(name, -1))(tools)); }
  // Globals that are in a part: made when they are first named.
  const lazily = (function (name, source) {
    const set = (value) => { fix(globalThis, name, value); };
    defineProperty(globalThis, name, { get() { const value = part(source)[name]; set(value); return value; }, set, configurable: true, enumerable: false });
  });
  for (let i = 0; i < globals.length; i += 2) lazily(globals[i], globals[i + 1]);
  fix(globalThis, "Media", Media);
  defineProperty(globalThis, "__named", { value: named, writable: false, configurable: false, enumerable: false });
  // Chance repeats, and time stands still (part "clock"): same inputs, same bytes (G-1).
  Math.random = function random() { return part("chance")(); };
  for (let i = 0; i < removed.length; i++) delete globalThis[removed[i]];

  // What many scripts name, compiled while nobody waits. No global changes by it: a script cannot tell (G-1).
  defineProperty(globalThis, "__warm", { value: () => { part("answers"); part("request"); } });

  // -- start --------------------------------------------------------------------------------------------------------
  // What was thrown, as one JSON text.
  const told = (error) => {
    try { return part("errors").report(error); } catch (_) { return '{"thrown":"the script threw something that cannot be shown","stack":"","missing":""}'; }
  };
  let settled = '{"pending":true}';
  defineProperty(globalThis, "__start", { value: (function (name, args, find) {
    try {
      let entry = null;
      try { const found = find(); if (typeof found === "function") entry = found; } catch (_) { }
      if (entry === null) return name === "main" && part("framework")() ? '{"done":true}' : stringify({ absent: name });
      const result = apply(entry, globalThis, args);
      if (typeof result !== "object" || result === null) return '{"done":true}';
      // An async function is waited for: its microtasks run when this call is over, and then `__settled` tells.
      try { promiseThen(result, () => { settled = '{"done":true}'; }, (error) => { settled = told(error); }); } catch (_) { return '{"done":true}'; }
      return settled;
    } catch (error) { return told(error); }
  }) });
  defineProperty(globalThis, "__settled", { value: () => settled });
  // The name last asked of a Media that has no such method, for errors that come before `__start`.
  defineProperty(globalThis, "__missing", { value: () => tools.missing });
  return border;
})

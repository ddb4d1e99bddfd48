// What a script finds when it starts: MediaScript's objects over one host function, and nothing of the engine that could
// reach further or differ between two runs (clocks, randomness, shared memory, WebAssembly, timers).
// Evaluated once per request in a fresh context; returns the function by which the host starts the script.
//# sourceURL=mediascript
(function (hostCall, buffer, capacity, table) {
  "use strict";
  const request = new Uint16Array(buffer, 8, capacity), header = new Int32Array(buffer, 0, 2);
  const { apply, construct, ownKeys, get: reflectGet } = Reflect, hasOwn = Object.prototype.hasOwnProperty;
  const stringify = JSON.stringify, parse = JSON.parse, charCodeAt = String.prototype.charCodeAt;
  const fromCharCode = String.fromCharCode, subarray = request.subarray, toLowerCase = String.prototype.toLowerCase;
  const isArray = Array.isArray, isInteger = Number.isInteger, slice = Array.prototype.slice, exec = RegExp.prototype.exec;
  const TypeErr = TypeError, Err = Error, mapGet = WeakMap.prototype.get, mapSet = WeakMap.prototype.set, mapHas = WeakMap.prototype.has;
  const create = Object.create, defineProperty = Object.defineProperty, freeze = Object.freeze, captureStackTrace = Error.captureStackTrace;
  const getPrototypeOf = Object.getPrototypeOf, regTest = RegExp.prototype.test, toStr = String, toNumber = Number, setPrototypeOf = Object.setPrototypeOf;

  // -- the host ---------------------------------------------------------------------------------------------------
  const problems = new WeakMap();
  class MediaScriptError extends Err {
    constructor(problem) { super(problem.detail); this.name = "MediaScriptError"; this.code = problem.code; this.status = problem.status; }
  }
  function place() {
    // Line and column of the innermost frame inside the script: frames of this file are named "mediascript".
    const holder = {}, limit = Err.stackTraceLimit, prepare = Err.prepareStackTrace;
    try {
      Err.stackTraceLimit = 24; Err.prepareStackTrace = undefined;
      captureStackTrace(holder);
      const lines = apply(String.prototype.split, "" + holder.stack, ["\n"]);
      for (let i = 1; i < lines.length; i++) {
        const match = apply(exec, /script\.ms:(\d+):(\d+)/, [lines[i]]);
        if (match) return [+match[1], +match[2]];
      }
    } catch (_) { /* a script that meddles with Error gets no line */ }
    finally { try { Err.stackTraceLimit = limit; Err.prepareStackTrace = prepare; } catch (_) { } }
    return [0, 0];
  }
  function exchange(text) {
    const length = text.length;
    if (length > capacity) return null;
    for (let i = 0; i < length; i++) request[i] = apply(charCodeAt, text, [i]);
    header[0] = length; header[1] = 0;
    hostCall();
    const size = header[0];
    let answer = "";
    for (let i = 0; i < size; i += 4096) answer += apply(fromCharCode, null, apply(subarray, request, [i, i + 4096 < size ? i + 4096 : size]));
    return parse(answer);
  }
  function call(name, object, args) {
    const value = exchange(stringify([name, object, args]));
    if (value === null) throw new RangeError("the arguments of " + name + " are too long");
    if (value.problem !== undefined) {
      const where = place();
      if (where[0] > 0) exchange(stringify(["place", 0, [value.problem.ref, where[0], where[1]]]));
      const error = new MediaScriptError(value.problem);
      apply(mapSet, problems, [error, value.problem]);
      throw error;
    }
    return decode(value.value);
  }

  // -- values across the border ------------------------------------------------------------------------------------
  const handles = new WeakMap(), namedArguments = new WeakMap();
  let nextHandle = 1;
  function handleOf(object) { return apply(mapGet, handles, [object]); }
  function encode(value, depth) {
    switch (typeof value) {
      case "number": return value === value && value - value === 0 ? value : { $: "number", v: toStr(value) };
      case "string": case "boolean": return value;
      case "undefined": return null;
      case "object": break;
      default: return { $: typeof value };
    }
    if (value === null) return null;
    const handle = handleOf(value);
    if (handle !== undefined) return { $: handle.kind, v: handle.value === undefined ? handle.read(value) : handle.value };
    if (value instanceof Number || value instanceof String || value instanceof Boolean) return encode(value.valueOf(), depth);
    if (depth > 6) return { $: "deep" };
    if (isArray(value)) { const out = []; for (let i = 0; i < value.length && i < 65536; i++) out[i] = encode(value[i], depth + 1); return out; }
    if (value instanceof Media) return { $: "emptymedia" };
    const keys = ownKeys(value), fields = [];
    for (let i = 0; i < keys.length && i < 256; i++) if (typeof keys[i] === "string") fields[fields.length] = [keys[i], encode(value[keys[i]], depth + 1)];
    return { $: "object", v: fields };
  }
  function decode(value) {
    if (value === null || typeof value !== "object") return value;
    if (isArray(value)) { const out = []; for (let i = 0; i < value.length; i++) out[i] = decode(value[i]); return out; }
    switch (value.$) {
      case "media": { const media = create(Media.prototype); apply(mapSet, handles, [media, { kind: "media", value: value.v }]); return media; }
      case "profile": { const profile = create(classes.IccProfile().prototype); apply(mapSet, handles, [profile, { kind: "profile", value: value.v }]); return profile; }
      case "xml": return classes.XmlDocument().raw(value.v);
      default: { const out = {}; for (const key of ownKeys(value)) out[key] = decode(value[key]); return out; }
    }
  }
  function named() {
    const pairs = [], object = create(null);
    for (let i = 0; i < arguments.length; i += 2) pairs[i / 2] = [arguments[i], arguments[i + 1]];
    apply(mapSet, namedArguments, [object, pairs]);
    return object;
  }
  function packed(args) {
    // One tagged object: named arguments. A plain object literal as only argument is taken as named, too.
    if (args.length === 1 && typeof args[0] === "object" && args[0] !== null) {
      const pairs = apply(mapGet, namedArguments, [args[0]]);
      if (pairs !== undefined) {
        const out = [];
        for (let i = 0; i < pairs.length; i++) out[i] = [pairs[i][0], encode(pairs[i][1], 0)];
        return { named: out };
      }
      if (getPrototypeOf(args[0]) === Object.prototype && handleOf(args[0]) === undefined) {
        const out = [], keys = ownKeys(args[0]);
        for (let i = 0; i < keys.length && i < 256; i++) if (typeof keys[i] === "string") out[out.length] = [keys[i], encode(args[0][keys[i]], 0)];
        return { named: out };
      }
    }
    const out = [];
    for (let i = 0; i < args.length && i < 256; i++) out[i] = encode(args[i], 0);
    return { positional: out };
  }

  // -- objects -----------------------------------------------------------------------------------------------------
  let missing = "";
  const methodNames = setPrototypeOf(table.methods, null);
  function Media() {
    if (new.target === undefined) throw new TypeErr("Media is made with new Media()");
    apply(mapSet, handles, [this, { kind: "media", value: nextHandle }]);
    nextHandle += 1;
    call("Media", nextHandle - 1, packed(arguments));
  }
  function install(prototype, kind, names) {
    for (const name of names) {
      const method = { [name]() {
        const handle = this === null || this === undefined ? undefined : apply(mapGet, handles, [this]);
        if (handle === undefined || handle.kind !== kind) throw new TypeErr(name + " was called on something that is no " + kind);
        return call(kind + "." + name, handle.value, packed(arguments));
      } }[name];
      defineProperty(prototype, name, { value: method, writable: true, configurable: true, enumerable: false });
    }
  }
  // Methods are made when they are first asked for: a script uses five of a hundred, and making them takes time in every
  // context. Names are case-insensitive; one that is unknown is remembered, so that the call's TypeError can be explained.
  setPrototypeOf(Media.prototype, new Proxy(create(Object.prototype), { get(target, key, receiver) {
    if (typeof key === "string" && !(key in Object.prototype)) {
      const known = methodNames[apply(toLowerCase, key, [])];
      if (known !== undefined) {
        if (!apply(hasOwn, Media.prototype, [known])) install(Media.prototype, "media", [known]);
        return Media.prototype[known];
      }
      missing = key;
    }
    return reflectGet(target, key, receiver);
  }, has(target, key) { return key in target || typeof key === "string" && methodNames[apply(toLowerCase, key, [])] === key; } }));

  // Classes that few scripts need are made when they are first named.
  const classes = create(null);
  function lazily(name, make) {
    const fix = (value) => { defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false }); };
    classes[name] = () => { const made = make(); classes[name] = () => made; return made; };
    defineProperty(globalThis, name, { get() { const made = classes[name](); fix(made); return made; }, set: fix, configurable: true, enumerable: false });
  }
  lazily("IccProfile", () => {
    function IccProfile(source) {
      if (new.target === undefined) throw new TypeErr("IccProfile is made with new IccProfile(media)");
      apply(mapSet, handles, [this, { kind: "profile", value: call("IccProfile", nextHandle, packed(arguments)) }]);
      nextHandle += 1;
    }
    install(IccProfile.prototype, "profile", table.profile);
    IccProfile.list = function () { return call("IccProfile.list", 0, packed(arguments)); };
    return IccProfile;
  });

  function channel(value) { value = toNumber(value); return value !== value ? 0 : value < 0 ? 0 : value > 255 ? 255 : Math.round(value); }
  function colourClass(names) {
    const Colour = function (number) {
      if (new.target === undefined) throw new TypeErr("colours are made with new");
      let rest = number === undefined ? 0 : toNumber(number);
      for (let i = names.length - 1; i >= 0; i--) { this[names[i]] = rest % 256; rest = Math.floor(rest / 256); }
      apply(mapSet, handles, [this, { kind: "colour", read(object) {
        let out = 0;
        for (const name of names) out = out * 256 + channel(object[name]);
        return out;
      } }]);
    };
    Colour.prototype.valueOf = function () { const handle = handleOf(this); return handle === undefined ? NaN : handle.read(this); };
    Colour.prototype.toString = function () { return "0x" + (this.valueOf() + Math.pow(256, names.length)).toString(16).slice(1).toUpperCase(); };
    return Colour;
  }
  lazily("RgbColor", () => colourClass(["red", "green", "blue"]));
  lazily("CmykColor", () => colourClass(["cyan", "magenta", "yellow", "black"]));
  function rgb(r, g, b) { return channel(r) * 65536 + channel(g) * 256 + channel(b); }
  function RgbColorFromPct(r, g, b) { const out = new (classes.RgbColor())(); out.red = channel(r * 255); out.green = channel(g * 255); out.blue = channel(b * 255); return out; }

  class TextResponse {
    #text; #type;
    constructor(text, type) { this.#text = text === undefined ? "" : toStr(text); this.#type = type === undefined ? "text/plain" : toStr(type); }
    append(text) { this.#text += toStr(text); }
    setText(text) { this.#text = toStr(text); }
    getText() { return this.#text; }
    setContentType(type) { this.#type = toStr(type); }
    getContentType() { return this.#type; }
  }
  lazily("XmlDocument", () => class XmlDocument {
    #text;
    constructor(text) { this.#text = text === undefined ? "" : toStr(text); if (this.#text !== "") this.#text = call("xml.parse", 0, { positional: [this.#text] }); apply(mapSet, handles, [this, { kind: "xml", read: (object) => object.toString() }]); }
    static raw(text) { const made = new this(); made.#text = text; return made; }
    loadFromString(text) { this.#text = call("xml.parse", 0, { positional: [toStr(text)] }); }
    getText(path) { return call("xml.text", 0, { positional: [this.#text, toStr(path)] }); }
    setText(path, text) { this.#text = call("xml.set", 0, { positional: [this.#text, toStr(path), toStr(text)] }); }
    getNames(path) { return call("xml.names", 0, { positional: [this.#text, path === undefined ? "" : toStr(path)] }); }
    toString() { return this.#text; }
  });
  function metadataClass(kind) {
    const Class = class {
      #fields; #empty;
      constructor(validate) { this.#fields = create(null); this.#empty = false; apply(mapSet, handles, [this, { kind: "xml", read: (object) => object.toString() }]); void validate; }
      loadFromMedia(media) { this.loadFromXML(media.getMetadata(kind)); }
      loadFromXML(text) { const list = call("metadata.fields", 0, { positional: [kind, toStr(text)] }); this.#fields = create(null); for (const pair of list) this.#fields[pair[0]] = pair[1]; this.#empty = list.length === 0; }
      isEmpty() { return this.#empty; }
      get(tag) { const value = this.#fields[toStr(tag)]; return value === undefined ? null : value; }
      set(tag, value) { call("metadata.check", 0, { positional: [kind, toStr(tag), toStr(value)] }); this.#fields[toStr(tag)] = toStr(value); this.#empty = false; }
      validate() { for (const tag of ownKeys(this.#fields)) call("metadata.check", 0, { positional: [kind, tag, this.#fields[tag]] }); return true; }
      toString() { const pairs = []; for (const tag of ownKeys(this.#fields)) pairs[pairs.length] = [tag, this.#fields[tag]]; return call("metadata.xml", 0, { positional: [kind, pairs] }); }
    };
    for (const tag of table[kind]) {
      defineProperty(Class.prototype, "get" + tag, { value() { return this.get(tag); }, writable: true, configurable: true });
      defineProperty(Class.prototype, "set" + tag, { value(value) { this.set(tag, value); }, writable: true, configurable: true });
    }
    return Class;
  }
  lazily("IPTCMetadata", () => metadataClass("IPTC"));
  lazily("ExifMetadata", () => metadataClass("Exif"));
  lazily("File", () => {
    function File(path) {
      if (new.target === undefined) throw new TypeErr("File is made with new File(path)");
      apply(mapSet, handles, [this, { kind: "file", value: toStr(path) }]);
    }
    install(File.prototype, "file", table.file);
    return File;
  });
  lazily("Zip", () => {
    function Zip() {
      if (new.target === undefined) throw new TypeErr("Zip is made with new Zip()");
      apply(mapSet, handles, [this, { kind: "zip", value: call("Zip", nextHandle, { positional: [] }) }]);
      nextHandle += 1;
    }
    install(Zip.prototype, "zip", table.zip);
    return Zip;
  });

  const RespType = freeze({ Cached: "cached", Streamed: "streamed", Path: "path" });
  const req = create(null), resp = create(null);
  for (const name of table.req) req[name] = function () { return call("req." + name, 0, packed(arguments)); };
  for (const name of table.resp) resp[name] = function () { return call("resp." + name, 0, packed(arguments)); };
  resp.setObject = function (object, type, options) {
    if (object instanceof TextResponse) return call("resp.setText", 0, { positional: [object.getText(), object.getContentType(), encode(type, 0)] });
    if (!(object instanceof Media) && object instanceof classes.XmlDocument()) return call("resp.setText", 0, { positional: [object.toString(), "text/xml", encode(type, 0)] });
    const pairs = options === undefined || options === null ? [] : (apply(mapGet, namedArguments, [options]) || slice.call(ownKeys(options)).map((key) => [key, options[key]]));
    const out = [];
    for (let i = 0; i < pairs.length; i++) out[i] = [toStr(pairs[i][0]), encode(pairs[i][1], 0)];
    return call("resp.setObject", 0, { positional: [encode(object, 0), encode(type, 0), out] });
  };

  // -- time stands still, chance repeats ----------------------------------------------------------------------------
  const RealDate = Date, NOW = 946684800000; // 2000-01-01T00:00:00Z: same inputs, same bytes (G-1)
  function FixedDate() {
    if (new.target === undefined) return new RealDate(NOW).toString();
    return construct(RealDate, arguments.length === 0 ? [NOW] : arguments, new.target);
  }
  FixedDate.prototype = RealDate.prototype;
  FixedDate.now = function now() { return NOW; };
  FixedDate.parse = RealDate.parse; FixedDate.UTC = RealDate.UTC;
  defineProperty(RealDate.prototype, "constructor", { value: FixedDate, writable: true, configurable: true });
  let seed = 0x2545F491;
  Math.random = function random() { // mulberry32
    seed = (seed + 0x6D2B79F5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };

  const globals = { Media, TextResponse, RespType, req, resp, rgb, RgbColorFromPct,
    MediaScriptError,
    print: function print() { let line = ""; for (let i = 0; i < arguments.length; i++) line += (i ? " " : "") + toStr(arguments[i]); call("print", 0, { positional: [line] }); },
    version: function version() { return table.version; },
    error: function error(message) { throw new Err(message === undefined ? "error" : toStr(message)); },
    getScriptFileName: function getScriptFileName() { return call("req.getScriptPath", 0, { positional: [] }); },
    getPropertyValue: function getPropertyValue() { return null; },
    Date: FixedDate };
  for (const name of ownKeys(globals)) defineProperty(globalThis, name, { value: globals[name], writable: true, configurable: true, enumerable: false });
  defineProperty(globalThis, "__named", { value: named, writable: false, configurable: false, enumerable: false });
  for (const name of table.removed) delete globalThis[name];

  // -- start --------------------------------------------------------------------------------------------------------
  function report(error) {
    // Everything a thrown value can be becomes one JSON text; nothing here may throw.
    try {
      if (apply(mapHas, problems, [error])) return stringify({ problem: apply(mapGet, problems, [error]) });
      const isError = error instanceof Err;
      const text = isError ? toStr(error.name) + ": " + toStr(error.message) : toStr(error), stack = isError ? toStr(error.stack) : "";
      return stringify({ thrown: apply(String.prototype.slice, text, [0, 2000]), stack: apply(String.prototype.slice, stack, [0, 4000]), missing: missing });
    } catch (_) { return stringify({ thrown: "the script threw something that cannot be shown", stack: "", missing: "" }); }
  }
  function framework() {
    // A script without main but with processImage(media): the picture of the parameter `name` is loaded, the function
    // called, and what it returns (or else the picture it was given) saved; reference 2.1.
    let process;
    try { process = (0, eval)("typeof processImage === 'function' ? processImage : null"); } catch (_) { return false; }
    if (process === null) return false;
    const options = (names) => {
      const pairs = [];
      for (let i = 0; i < names.length; i++) {
        const value = call("req.getParameter", 0, { positional: [names[i]] });
        if (value !== null) pairs[pairs.length] = [names[i], value];
      }
      return { named: pairs };
    };
    const media = new Media();
    call("media.load", handleOf(media).value, options(["name", "frames", "dpi"]));
    let made = apply(process, globalThis, [media]);
    if (made === undefined || made === null) made = media;
    const handle = typeof made === "object" ? handleOf(made) : undefined;
    if (handle === undefined || handle.kind !== "media") throw new TypeErr("processImage returned something that is no Media");
    call("media.save", handle.value, options(["type", "quality"]));
    return true;
  }
  // Once through what every call needs, so that it is compiled before somebody waits.
  exchange(stringify(["warm", 0, packed([named("x", [1, "", true])])])); packed(["", {}]); decode([{ $: "" }]); report("");
  return function start(name, args) {
    try {
      let entry;
      try { entry = (0, eval)("typeof " + name + " === 'function' ? " + name + " : null"); } catch (_) { entry = null; }
      if (entry === null && name === "main" && framework()) return stringify({ done: true });
      if (entry === null) return stringify({ absent: name });
      apply(entry, globalThis, args);
      return stringify({ done: true });
    } catch (error) { return report(error); }
  };
})

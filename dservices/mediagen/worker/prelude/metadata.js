(function (tools, table) {
  "use strict";
  const { call, mapSet, handles, toStr, create, ownKeys, fix } = tools;
  function metadataClass(kind) {
    const Class = class {
      #fields; #empty;
      constructor(validate) { this.#fields = create(null); this.#empty = false; mapSet(handles, this, { kind: "xml", read: (object) => object.toString() }); void validate; }
      loadFromMedia(media) { this.loadFromXML(media.getMetadata(kind)); }
      loadFromXML(text) { const list = call("metadata.fields", 0, { positional: [kind, toStr(text)] }); this.#fields = create(null); for (const pair of list) this.#fields[pair[0]] = pair[1]; this.#empty = list.length === 0; }
      isEmpty() { return this.#empty; }
      get(tag) { const value = this.#fields[toStr(tag)]; return value === undefined ? null : value; }
      set(tag, value) { call("metadata.check", 0, { positional: [kind, toStr(tag), toStr(value)] }); this.#fields[toStr(tag)] = toStr(value); this.#empty = false; }
      validate() { for (const tag of ownKeys(this.#fields)) call("metadata.check", 0, { positional: [kind, tag, this.#fields[tag]] }); return true; }
      toString() { const pairs = []; for (const tag of ownKeys(this.#fields)) pairs[pairs.length] = [tag, this.#fields[tag]]; return call("metadata.xml", 0, { positional: [kind, pairs] }); }
    };
    for (const tag of table[kind]) {
      fix(Class.prototype, "get" + tag, function () { return this.get(tag); });
      fix(Class.prototype, "set" + tag, function (value) { this.set(tag, value); });
    }
    return Class;
  }
  return { IPTCMetadata: metadataClass("IPTC"), ExifMetadata: metadataClass("Exif") };
})

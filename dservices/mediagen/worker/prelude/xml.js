(function (tools) {
  "use strict";
  const { call, mapSet, handles, toStr } = tools;
  class XmlDocument {
    #text;
    constructor(text) { this.#text = text === undefined ? "" : toStr(text); if (this.#text !== "") this.#text = call("xml.parse", 0, { positional: [this.#text] }); mapSet(handles, this, { kind: "xml", read: (object) => object.toString() }); }
    static raw(text) { const made = new this(); made.#text = text; return made; }
    loadFromString(text) { this.#text = call("xml.parse", 0, { positional: [toStr(text)] }); }
    getText(path) { return call("xml.text", 0, { positional: [this.#text, toStr(path)] }); }
    setText(path, text) { this.#text = call("xml.set", 0, { positional: [this.#text, toStr(path), toStr(text)] }); }
    getNames(path) { return call("xml.names", 0, { positional: [this.#text, path === undefined ? "" : toStr(path)] }); }
    toString() { return this.#text; }
  }
  return { XmlDocument };
})

// What a script answers with.
(function (tools, table) {
  "use strict";
  const { call, encode, packed, mapGet, namedArguments, ownKeys, toStr, create, made, Media } = tools;
  class TextResponse {
    #text; #type;
    constructor(text, type) { this.#text = text === undefined ? "" : toStr(text); this.#type = type === undefined ? "text/plain" : toStr(type); }
    append(text) { this.#text += toStr(text); }
    setText(text) { this.#text = toStr(text); }
    getText() { return this.#text; }
    setContentType(type) { this.#type = toStr(type); }
    getContentType() { return this.#type; }
  }
  const RespType = tools.freeze({ Cached: "cached", Streamed: "streamed", Path: "path" });
  const resp = create(null);
  for (let i = 0; i < table.resp.length; i++) { const path = "resp." + table.resp[i]; resp[table.resp[i]] = function () { return call(path, 0, packed(arguments)); }; }
  resp.setObject = (function (object, type, options) {
    if (object instanceof TextResponse) return call("resp.setText", 0, { positional: [object.getText(), object.getContentType(), encode(type, 0)] });
    if (!(object instanceof Media) && made.xml !== undefined && object instanceof made.xml.XmlDocument) return call("resp.setText", 0, { positional: [object.toString(), "text/xml", encode(type, 0)] });
    const given = options === undefined || options === null ? undefined : mapGet(namedArguments, options), out = [];
    if (given !== undefined) for (let i = 0; i < given.length; i++) out[i] = [toStr(given[i][0]), encode(given[i][1], 0)];
    else if (options !== undefined && options !== null) {
      const keys = ownKeys(options);
      for (let i = 0; i < keys.length; i++) out[i] = [toStr(keys[i]), encode(options[keys[i]], 0)];
    }
    return call("resp.setObject", 0, { positional: [encode(object, 0), encode(type, 0), out] });
  });
  return { TextResponse, RespType, resp };
})

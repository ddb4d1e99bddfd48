// Arguments and answers that are more than a number, a text or one of our objects.
(function (tools) {
  "use strict";
  const { create, encode, mapSet, handles, isArray, ownKeys, part, Media } = tools;
  function encodeOther(value, depth) {
    if (value instanceof Number || value instanceof String || value instanceof Boolean) return encode(value.valueOf(), depth);
    if (depth > 6) return { $: "deep" };
    if (isArray(value)) { const out = []; for (let i = 0; i < value.length && i < 65536; i++) out[i] = encode(value[i], depth + 1); return out; }
    if (value instanceof Media) return { $: "emptymedia" };
    return { $: "object", v: fieldsOf(value, depth + 1) };
  }
  function fieldsOf(object, depth) {
    const keys = ownKeys(object), fields = [];
    for (let i = 0; i < keys.length && i < 256; i++) if (typeof keys[i] === "string") fields[fields.length] = [keys[i], encode(object[keys[i]], depth)];
    return fields;
  }
  function handled(prototype, kind, value) {
    const object = create(prototype);
    mapSet(handles, object, { kind, value });
    return object;
  }
  function decode(value) {
    if (value === null || typeof value !== "object") return value;
    const out = isArray(value) ? [] : {};
    if (isArray(value)) { for (let i = 0; i < value.length; i++) out[i] = decode(value[i]); return out; }
    switch (value.$) {
      case "media": return handled(Media.prototype, "media", value.v);
      case "profile": return handled(part("profiles").IccProfile.prototype, "profile", value.v);
      case "xml": return part("xml").XmlDocument.raw(value.v);
    }
    const keys = ownKeys(value);
    for (let i = 0; i < keys.length; i++) out[keys[i]] = decode(value[keys[i]]);
    return out;
  }
  return { encode: encodeOther, decode, fieldsOf };
})

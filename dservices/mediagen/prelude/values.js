// Answers of the host that are more than a number or a text.
(function (tools) {
  "use strict";
  const { create, mapSet, handles, isArray, ownKeys, part, Media } = tools;
  function handled(prototype, kind, value) {
    const object = create(prototype);
    mapSet(handles, object, { kind, value });
    return object;
  }
  return function decode(value) {
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
  };
})

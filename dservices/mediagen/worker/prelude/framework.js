// A script without main but with processImage(media): the picture of the parameter `name` is loaded, the function called,
// and what it returns (or else the picture it was given) saved; reference 2.1.
(function (tools) {
  "use strict";
  const { call, mapGet, handles, apply, Media, TypeErr, evaluate } = tools;
  return function framework() {
    let process;
    try { process = evaluate("typeof processImage === 'function' ? processImage : null"); } catch (_) { return false; }
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
    call("media.load", mapGet(handles, media).value, options(["name", "frames", "dpi"]));
    let made = apply(process, globalThis, [media]);
    if (made === undefined || made === null) made = media;
    const handle = typeof made === "object" ? mapGet(handles, made) : undefined;
    if (handle === undefined || handle.kind !== "media") throw new TypeErr("processImage returned something that is no Media");
    call("media.save", handle.value, options(["type", "quality"]));
    return true;
  };
})

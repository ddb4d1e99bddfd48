(function (tools) {
  "use strict";
  const { mapGet, mapSet, handles, TypeErr } = tools, { pow, round, floor } = Math, toNumber = Number;
  function channel(value) { value = toNumber(value); return value !== value ? 0 : value < 0 ? 0 : value > 255 ? 255 : round(value); }
  function colourClass(names) {
    const Colour = function (number) {
      if (new.target === undefined) throw new TypeErr("colours are made with new");
      let rest = number === undefined ? 0 : toNumber(number);
      for (let i = names.length - 1; i >= 0; i--) { this[names[i]] = rest % 256; rest = floor(rest / 256); }
      mapSet(handles, this, { kind: "colour", read(object) {
        let out = 0;
        for (let i = 0; i < names.length; i++) out = out * 256 + channel(object[names[i]]);
        return out;
      } });
    };
    Colour.prototype.valueOf = function () { const handle = mapGet(handles, this); return handle === undefined ? NaN : handle.read(this); };
    Colour.prototype.toString = function () { return "0x" + (this.valueOf() + pow(256, names.length)).toString(16).slice(1).toUpperCase(); };
    return Colour;
  }
  const RgbColor = colourClass(["red", "green", "blue"]);
  return {
    RgbColor,
    CmykColor: colourClass(["cyan", "magenta", "yellow", "black"]),
    rgb: function rgb(r, g, b) { return channel(r) * 65536 + channel(g) * 256 + channel(b); },
    RgbColorFromPct: function RgbColorFromPct(r, g, b) { const out = new RgbColor(); out.red = channel(r * 255); out.green = channel(g * 255); out.blue = channel(b * 255); return out; },
  };
})

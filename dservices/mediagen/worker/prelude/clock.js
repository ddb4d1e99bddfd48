// Time stands still: a Date without arguments is always the same one (G-1).
(function (tools) {
  "use strict";
  const { RealDate, fix, construct } = tools, NOW = 946684800000; // 2000-01-01T00:00:00Z
  function Date() {
    if (new.target === undefined) return new RealDate(NOW).toString();
    return construct(RealDate, arguments.length === 0 ? [NOW] : arguments, new.target);
  }
  Date.prototype = RealDate.prototype;
  Date.now = function now() { return NOW; };
  Date.parse = RealDate.parse; Date.UTC = RealDate.UTC;
  fix(RealDate.prototype, "constructor", Date);
  return { Date };
})

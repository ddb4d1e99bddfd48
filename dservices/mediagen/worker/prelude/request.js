// What a script may ask about its request, and the small functions of the language.
(function (tools, table) {
  "use strict";
  const { call, packed, create, toStr, Err } = tools, req = create(null);
  for (let i = 0; i < table.req.length; i++) { const path = "req." + table.req[i]; req[table.req[i]] = function () { return call(path, 0, packed(arguments)); }; }
  return {
    req,
    print: function print() { let line = ""; for (let i = 0; i < arguments.length; i++) line += (i ? " " : "") + toStr(arguments[i]); call("print", 0, { positional: [line] }); },
    version: function version() { return table.version; },
    error: function error(message) { throw new Err(message === undefined ? "error" : toStr(message)); },
    getScriptFileName: function getScriptFileName() { return call("req.getScriptPath", 0, { positional: [] }); },
    getPropertyValue: function getPropertyValue() { return null; },
  };
})

// A call that the host refused, and whatever else a script throws.
(function (tools) {
  "use strict";
  const { apply, exchange, stringify, mapGet, mapSet, toStr, Err, exec, split, slice } = tools;
  const problems = new WeakMap();
  class MediaScriptError extends Err {
    constructor(problem) { super(problem.detail); this.name = "MediaScriptError"; this.code = problem.code; this.status = problem.status; }
  }
  function place() {
    // Line and column of the innermost frame inside the script: frames of the prelude are named "mediascript".
    const holder = {}, limit = Err.stackTraceLimit, prepare = Err.prepareStackTrace;
    try {
      Err.stackTraceLimit = 24; Err.prepareStackTrace = undefined;
      apply(tools.captureStackTrace, Err, [holder]);
      const lines = apply(split, "" + holder.stack, ["\n"]);
      for (let i = 1; i < lines.length; i++) {
        const match = apply(exec, /script\.ms:(\d+):(\d+)/, [lines[i]]);
        if (match) return [+match[1], +match[2]];
      }
    } catch (_) { /* a script that meddles with Error gets no line */ }
    finally { try { Err.stackTraceLimit = limit; Err.prepareStackTrace = prepare; } catch (_) { } }
    return [0, 0];
  }
  function failed(problem) {
    const where = place();
    if (where[0] > 0) exchange(stringify(["place", 0, [problem.ref, where[0], where[1]]]));
    const error = new MediaScriptError(problem);
    mapSet(problems, error, problem);
    return error;
  }
  function report(error) {
    // Everything a thrown value can be becomes one JSON text; what throws here is caught by the caller.
    const problem = mapGet(problems, error);
    if (problem !== undefined) return stringify({ problem });
    const isError = error instanceof Err;
    const text = isError ? toStr(error.name) + ": " + toStr(error.message) : toStr(error), stack = isError ? toStr(error.stack) : "";
    return stringify({ thrown: apply(slice, text, [0, 2000]), stack: apply(slice, stack, [0, 4000]), missing: tools.missing });
  }
  return { MediaScriptError, failed, report };
})

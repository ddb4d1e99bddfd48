(function (tools, table) {
  "use strict";
  const { call, mapSet, handles, toStr, install, TypeErr } = tools;
  function File(path) {
    if (new.target === undefined) throw new TypeErr("File is made with new File(path)");
    mapSet(handles, this, { kind: "file", value: toStr(path) });
  }
  for (let i = 0; i < table.file.length; i++) install(File.prototype, "file", table.file[i]);
  function Zip() {
    if (new.target === undefined) throw new TypeErr("Zip is made with new Zip()");
    mapSet(handles, this, { kind: "zip", value: call("Zip", tools.take(), { positional: [] }) });
  }
  for (let i = 0; i < table.zip.length; i++) install(Zip.prototype, "zip", table.zip[i]);
  return { File, Zip };
})

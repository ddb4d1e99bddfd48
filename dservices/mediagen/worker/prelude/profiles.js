(function (tools, table) {
  "use strict";
  const { call, packed, mapSet, handles, install, TypeErr } = tools;
  function IccProfile(source) {
    if (new.target === undefined) throw new TypeErr("IccProfile is made with new IccProfile(media)");
    mapSet(handles, this, { kind: "profile", value: call("IccProfile", tools.take(), packed(arguments)) });
  }
  for (let i = 0; i < table.profile.length; i++) install(IccProfile.prototype, "profile", table.profile[i]);
  IccProfile.list = function () { return call("IccProfile.list", 0, packed(arguments)); };
  return { IccProfile };
})

#!/usr/bin/env node
// The compiler in the form that forge and slither expect of a native one: `--version`, and `--standard-json` from stdin
// to stdout. Imports of "@openzeppelin/..." are read from the packages locked beside it.
const fs = require("fs"), path = require("path");
const modules = path.join(process.env.CGN_CONTRACT_TOOLS || path.join(__dirname, "..", "..", ".cache", "contracts"), "node_modules");
const solc = require(path.join(modules, "solc"));
if (process.argv.includes("--version")) {
  console.log("solc, the solidity compiler commandline interface\nVersion: " + solc.version());
  process.exit(0);
}
const find = (name) => {
  for (const file of [path.join(modules, name), path.resolve(name)])
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
  return { error: "no file " + name };
};
process.stdout.write(solc.compile(fs.readFileSync(0, "utf8"), { import: find }));

// Compiles the contracts with the locked compiler and settings.json. The output holds no time, path or metadata hash, so that it
// is the same wherever it is built; --check compares it with what is committed.
const fs = require("fs"), path = require("path"), crypto = require("crypto"), { execFileSync } = require("child_process");
const root = path.join(__dirname, "..", "..");
const from = path.join(root, "payouts/contracts/src"), to = path.join(root, "payouts/contracts/artifacts");
const files = fs.readdirSync(from).filter((f) => f.endsWith(".sol")).sort();
const sources = Object.fromEntries(files.map((f) => ["src/" + f, { content: fs.readFileSync(path.join(from, f), "utf8") }]));
const settings = JSON.parse(fs.readFileSync(path.join(__dirname, "settings.json")));
const solc = path.join(__dirname, "solc.js");
const input = JSON.stringify({ language: "Solidity", sources, settings });
const output = JSON.parse(execFileSync(process.execPath, [solc], { input, maxBuffer: 1 << 28 }));
const problems = (output.errors || []).filter((e) => e.severity !== "info");
for (const e of problems) console.error(e.formattedMessage);
if (problems.length) process.exit(1);
const compiler = execFileSync(process.execPath, [solc, "--version"]).toString().match(/Version: (.*)/)[1];

const check = process.argv.includes("--check");
let differing = 0;
const wanted = new Set();
fs.mkdirSync(to, { recursive: true });
for (const f of files) {
  const name = path.basename(f, ".sol");
  const c = output.contracts["src/" + f][name];
  if (!c || !c.evm.bytecode.object) continue; // interfaces
  const references = Object.values(c.evm.deployedBytecode.immutableReferences).flat();
  const artefact = {
    contractName: name,
    compiler,
    sourceSha256: crypto.createHash("sha256").update(sources["src/" + f].content).digest("hex"),
    abi: c.abi,
    bytecode: "0x" + c.evm.bytecode.object,
    deployedBytecode: "0x" + c.evm.deployedBytecode.object,
    // where the constructor writes immutables into the deployed code: [byte offset, length]
    immutables: references.map((r) => [r.start, r.length]).sort((a, b) => a[0] - b[0]),
  };
  const file = path.join(to, name + ".json"), text = JSON.stringify(artefact, null, 1) + "\n";
  wanted.add(name + ".json");
  if (fs.existsSync(file) && fs.readFileSync(file, "utf8") === text) continue;
  differing++;
  console.log((check ? "differs: " : "wrote ") + path.relative(root, file));
  if (!check) fs.writeFileSync(file, text);
}
for (const f of fs.readdirSync(to)) if (!wanted.has(f)) {
  differing++;
  console.log((check ? "no longer built: " : "removed ") + path.relative(root, path.join(to, f)));
  if (!check) fs.unlinkSync(path.join(to, f));
}
process.exit(check && differing ? 1 : 0);

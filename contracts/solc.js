// Answers --version and --standard-json as a native solc does, with the solc package of this repository.
const fs = require("fs"), path = require("path");
const solc = require(path.join(__dirname, "..", "node_modules", "solc"));
if (process.argv.includes("--version")) {
  const version = solc.version().split(".Emscripten")[0];
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}.Linux.g++`);
} else {
  const input = JSON.parse(fs.readFileSync(0, "utf8"));
  // wasm reads no files: what is named by its place only is read here, from the caller's directory.
  const read = (name) => {
    try { return { contents: fs.readFileSync(path.resolve(name), "utf8") }; } catch (error) { return { error: String(error) }; }
  };
  process.stdout.write(solc.compile(JSON.stringify(input), { import: read }));
}

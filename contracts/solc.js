// Answers --version and --standard-json as a native solc does, with the solc package of this repository.
const fs = require("fs"), path = require("path");
const solc = require(path.join(__dirname, "..", "node_modules", "solc"));
if (process.argv.includes("--version")) {
  const version = solc.version().split(".Emscripten")[0];
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}.Linux.g++`);
} else {
  const input = JSON.parse(fs.readFileSync(0, "utf8"));
  for (const [name, source] of Object.entries(input.sources))
    if (source.urls && source.content === undefined) {
      const found = source.urls.map(u => path.resolve(u)).find(u => fs.existsSync(u));
      if (found) input.sources[name] = { content: fs.readFileSync(found, "utf8") };
    }
  process.stdout.write(solc.compile(JSON.stringify(input)));
}

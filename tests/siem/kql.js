// Parses each query with Microsoft's parser for Kusto, against the columns of tables.json.
// usage: node kql.js NODE_MODULES FILE...; prints one line of JSON for each file: {"file", "errors": [...]}
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const [modules, ...files] = process.argv.slice(2);
for (const name of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
    const file = path.join(modules, "@kusto", "language-service-next", name);
    vm.runInThisContext(fs.readFileSync(file, "utf8"), { filename: name });
}
const { KustoCode, GlobalState, Symbols } = globalThis.Kusto.Language;

const schema = JSON.parse(fs.readFileSync(path.join(__dirname, "tables.json"), "utf8"));
const tables = Object.entries(schema).map(([name, columns]) => {
    const list = Object.entries(columns).map(([column, type]) => `${column}: ${type}`);
    return Symbols.TableSymbol.From(`(${list.join(", ")})`).WithName(name);
});
const database = new Symbols.DatabaseSymbol.$ctor1("logs", tables);
const globals = GlobalState.Default.WithDatabase(database);

for (const file of files) {
    const text = fs.readFileSync(file, "utf8");
    const found = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
    const errors = [];
    for (let i = 0; i < found.Count; i += 1) {
        const diagnostic = found.getItem(i);
        if (diagnostic.Severity !== "Error") continue;
        const line = text.slice(0, diagnostic.Start).split("\n").length;
        errors.push(`line ${line}: ${diagnostic.Message}`);
    }
    console.log(JSON.stringify({ file, errors }));
}

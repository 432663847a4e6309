// Driver of the engines inside JavaScript shells: V8 (node), JavaScriptCore (jsc), SpiderMonkey (gjs).
// A request a line in, an answer a line out, as drivers/common.py has it.
"use strict";

const node = typeof process !== "undefined" && typeof require !== "undefined";
const fs = node ? require("fs") : null;

function fromHex(text) {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.substr(2 * i, 2), 16);
  return bytes;
}

const cells = new DataView(new ArrayBuffer(8));

function toValue(type, bits) {
  const number = BigInt(bits);
  if (type === "i32") return Number(BigInt.asIntN(32, number));
  if (type === "i64") return BigInt.asIntN(64, number);
  if (type === "f32") return cells.setUint32(0, Number(number)), cells.getFloat32(0);
  return cells.setBigUint64(0, number), cells.getFloat64(0);
}

function toBits(type, value) {
  if (type === "i32") return String(value >>> 0);
  if (type === "i64") return String(BigInt.asUintN(64, value));
  if (type === "f32") return cells.setFloat32(0, value), String(cells.getUint32(0));
  return cells.setFloat64(0, value), String(cells.getBigUint64(0));
}

class Unsupported extends Error {}

const host = {
  same_i32: (x) => x,
  same_i64: (x) => x,
  same_f32: (x) => x,
  same_f64: (x) => x,
  pair: () => [-1n, 7],
  fail: () => {
    throw new Error("host failed");
  },
};

// The folder that the system interface is given.
function makeFolder(system) {
  if (!system) return null;
  if (!node) throw new Unsupported("the shell has no system interface");
  const outside = fs.mkdtempSync(require("path").join(require("os").tmpdir(), "wasm-"));
  const folder = { outside, root: outside + "/root", stdin: outside + "/stdin", stdout: outside + "/stdout" };
  fs.mkdirSync(folder.root);
  fs.writeFileSync(folder.stdin, fromHex(system.stdin));
  fs.writeFileSync(folder.stdout, "");
  for (const [name, content] of system.files) fs.writeFileSync(folder.root + "/" + name, fromHex(content));
  return folder;
}

function ask(folder, question) {
  const [what, name] = question.slice(1).split(":");
  if (what === "exists") return [String(Number(fs.existsSync(folder.root + "/" + name)))];
  const bytes = fs.readFileSync(what === "stdout" ? folder.stdout : folder.root + "/" + name);
  return Array.from(bytes, String);
}

function systemOf(request, folder) {
  const { WASI } = require("wasi");
  return new WASI({
    version: "preview1",
    args: request.system.arguments,
    env: Object.fromEntries(request.system.environment),
    preopens: { "/": folder.root },
    stdin: fs.openSync(folder.stdin, "r"),
    stdout: fs.openSync(folder.stdout, "w"),
    returnOnExit: true,
  });
}

function words(error) {
  if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) return String(error.message);
  if (String(error.message).includes("host failed")) return "host failed";
  if (typeof error === "symbol" || String(error.message).includes("exit")) return "exit with code";
  return /recursion|stack/i.test(String(error)) ? "call stack" : "host error " + (error.name || typeof error);
}

function attempt(action) {
  try {
    return [["values", "", action()], true];
  } catch (error) {
    if (error instanceof Unsupported) return [["unsupported", error.message, []], true];
    if (error instanceof WebAssembly.CompileError) return [["reject", "load", []], false];
    if (error instanceof WebAssembly.LinkError || error instanceof TypeError) return [["reject", "link", []], false];
    return [["trap", typeof error === "symbol" ? "exit with code" : words(error), []], false];
  }
}

function once(request) {
  let instance, folder = null;
  const wasm = fromHex(request.wasm);
  const start = () => {
    folder = folder || makeFolder(request.system);
    const imports = { host };
    const system = folder ? systemOf(request, folder) : null;
    if (system) imports.wasi_snapshot_preview1 = system.wasiImport;
    instance = new WebAssembly.Instance(new WebAssembly.Module(wasm), imports);
    if (system) system.initialize({ exports: { memory: instance.exports.memory } });
    return [];
  };
  const [loaded, goesOn] = attempt(start);
  if (!goesOn || loaded[0] === "unsupported") return new Array(1 + request.calls.length).fill(loaded);
  const outcomes = [loaded];
  for (const [name, given, results] of request.calls) {
    const [outcome, fine] = attempt(() => {
      if (name.startsWith("@")) return ask(folder, name);
      const found = instance.exports[name](...given.map(([type, bits]) => toValue(type, bits)));
      const list = results.length > 1 ? Array.from(found) : results.length ? [found] : [];
      return list.map((value, place) => toBits(results[place], value));
    });
    outcomes.push(outcome);
    if (!fine && !request.keeps_instance && !request.is_stateless) attempt(start);
  }
  if (folder) fs.rmSync(folder.outside, { recursive: true });
  return outcomes;
}

function answer(line) {
  const request = JSON.parse(line);
  let outcomes = [];
  for (let i = 0; i < request.times; i++) outcomes = once(request);
  return JSON.stringify(outcomes);
}

function serveNode() {
  let waiting = "";
  const chunk = Buffer.alloc(1 << 16);
  const decoder = new TextDecoder();
  for (;;) {
    const count = fs.readSync(0, chunk, 0, chunk.length, null);
    if (!count) return;
    waiting += decoder.decode(chunk.subarray(0, count), { stream: true });
    for (let end; (end = waiting.indexOf("\n")) >= 0; waiting = waiting.slice(end + 1)) {
      fs.writeSync(1, answer(waiting.slice(0, end)) + "\n");
    }
  }
}

function serveShell() {
  if (typeof imports !== "undefined") {
    const { Gio } = imports.gi;
    const input = new Gio.DataInputStream({ base_stream: new Gio.UnixInputStream({ fd: 0 }) });
    for (let line; (line = input.read_line_utf8(null)[0]) !== null; ) print(answer(line));
    return;
  }
  for (let line; (line = readline()) !== null && line !== undefined && line !== ""; ) print(answer(line));
}

if (node) serveNode();
else serveShell();

/** The layer check: imports go edge -> shared <- gpu-worker -> native, and only where each layer may reach. */
import { ROOT } from "../tools/paths.ts";

/** What each top-level folder may import from the others. Tests and infra may import everything. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  shared: [],
  edge: ["shared"],
  "gpu-worker": ["shared", "native"],
  native: ["shared"],
};

/** Source text that only one folder may hold, with the folder. */
const HOMES: readonly { readonly pattern: RegExp; readonly home: RegExp; readonly what: string }[] = [
  { pattern: /^\s*#include\s*[<"]napi\.h/, home: /^native\/engine\/addon\//, what: "napi.h" },
  {
    pattern: /^\s*#include\s*[<"](cuda|cublas)/,
    home: /^native\/(engine\/ops\/cuda|emulator|cuda)\//,
    what: "CUDA headers",
  },
  { pattern: /tessera\.node/, home: /^(native\/|gpu-worker\/engine\/native\.ts$|infra\/)/, what: "the addon's path" },
  {
    pattern: /["'`]tessera\.(jobs|edge|worker|cancel|dead|tiles|news|answers|tokenize|media|webhooks|usage|pace)\./,
    home: /^(shared\/subjects\.ts$|tests\/|infra\/nats\/)/,
    what: "a subject",
  },
  {
    pattern: /Deno\.(Command|dlopen)|node:child_process/,
    home: /^(infra|tests|native|gpu-worker)\//,
    what: "a subprocess or addon",
  },
];

/** One broken rule: where, and which. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly rule: string;
}

/** Checks one file's text; `file` is its path from the repository's root. */
export function checkFile(file: string, text: string): Violation[] {
  const violations: Violation[] = [];
  const layer = file.split("/")[0] ?? "";
  const allowed = MAY_IMPORT[layer];
  text.split("\n").forEach((source, index) => {
    const line = index + 1;
    for (const { pattern, home, what } of HOMES) {
      if (pattern.test(source) && !home.test(file)) violations.push({ file, line, rule: `${what} outside its home` });
    }
    if (allowed === undefined || !file.endsWith(".ts") || /_test\.ts$/.test(file)) return;
    const target = importedLayer(file, source);
    if (target !== null && target !== layer && !allowed.includes(target)) {
      violations.push({ file, line, rule: `${layer} may not import ${target}` });
    }
  });
  return violations;
}

/** Top-level folder an import line points to, or null when it is none of ours. */
function importedLayer(file: string, source: string): string | null {
  // `new URL("x.ts", import.meta.url)` names a worker's script: an import too.
  const specifier = source.match(/(?:\bfrom\s*|\bimport\s*\(?\s*)["']([^"']+)["']/)?.[1] ??
    source.match(/new URL\(\s*["']([^"']+\.ts)["']/)?.[1];
  if (specifier === undefined) return null;
  const own = specifier.match(/^@tessera\/([a-z-]+)/);
  if (own !== null) return own[1] ?? null;
  if (!specifier.startsWith(".")) return null;
  const resolved = new URL(specifier, `file:///${file}`).pathname;
  return resolved.split("/")[1] ?? null;
}

/** All violations in the files git knows of. */
export async function checkRepository(): Promise<{ violations: Violation[]; numFiles: number }> {
  const list = await new Deno.Command("git", {
    args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd: ROOT,
  }).output();
  const files = new TextDecoder().decode(list.stdout).split("\0").filter((file) =>
    /\.(ts|cc|cpp|h|hpp|cu|cuh)$/.test(file)
  );
  const violations: Violation[] = [];
  for (const file of files) {
    const text = await Deno.readTextFile(`${ROOT}/${file}`).catch(() => "");
    violations.push(...checkFile(file, text));
  }
  return { violations, numFiles: files.length };
}

if (import.meta.main) {
  const { violations, numFiles } = await checkRepository();
  for (const { file, line, rule } of violations) console.error(`${file}:${line}: ${rule}`);
  console.log(`layers: ${numFiles} files, ${violations.length} violations`);
  Deno.exit(violations.length > 0 || numFiles === 0 ? 1 : 0);
}

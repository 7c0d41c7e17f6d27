/** The playground as a browser gets it: pages as they are, scripts without their types. No build comes before. */
import * as nodeModule from "node:module";

const SCRIPTS = ["main", "api", "code", "dom", "fleet", "jobs", "media", "request", "snippets", "talk", "timings"];

export interface Asset {
  readonly type: string;
  readonly text: string;
  readonly etag: string;
}

/** By the name behind `/playground/`; the page itself is `index.html`. Read once, from wherever this module came from. */
export async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  const names = ["index.html", "style.css", "icon.svg", ...SCRIPTS.map((name) => `${name}.ts`)];
  return new Map(await Promise.all(names.map(async (name) => [name, await read(name)] as const)));
}

async function read(name: string): Promise<Asset> {
  const isScript = name.endsWith(".ts");
  const response = await fetch(new URL(isScript ? `./browser/${name}` : `./${name}`, import.meta.url));
  const source = await response.text();
  if (!response.ok) throw new Error(`Cannot read the playground's ${name}: status ${response.status}`);
  const text = isScript ? withoutTypes(source) : source;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const etag = `"${Array.from(new Uint8Array(digest).slice(0, 12), (b) => b.toString(16).padStart(2, "0")).join("")}"`;
  return { type: typeOf(name), text, etag };
}

/** @throws Error where the runtime is too old: an edge serves there all the same, but for this page */
function withoutTypes(source: string): string {
  const { stripTypeScriptTypes } = nodeModule as Partial<typeof nodeModule>;
  if (stripTypeScriptTypes === undefined) {
    throw new Error("Cannot serve the playground: this Deno has no stripTypeScriptTypes, expected 2.9 or newer");
  }
  return stripTypeScriptTypes(source);
}

function typeOf(name: string): string {
  if (name.endsWith(".ts")) return "text/javascript; charset=utf-8";
  if (name.endsWith(".css")) return "text/css; charset=utf-8";
  return name.endsWith(".svg") ? "image/svg+xml" : "text/html; charset=utf-8";
}

/** What Tessera is made with, read from the committed lock files: npm packages, Rust crates, Python packages. */
import { Buffer } from "node:buffer";
import { ROOT } from "../tools/paths.ts";

/** One package at one version. */
export interface Component {
  readonly kind: "npm" | "cargo" | "pypi";
  readonly name: string;
  readonly version: string;
  /** Checksum in hexadecimal, where the lock has one. */
  readonly hash?: { readonly alg: "SHA-256" | "SHA-512"; readonly content: string };
}

/** `npm:hono@4.13.19`: how the table of licences names it. */
export function componentId({ kind, name, version }: Component): string {
  return `${kind}:${name}@${version}`;
}

/** Text of deno.lock. A key is name, version and, after `_`, what stands in for its peers. */
export function npmComponents(lock: string): Component[] {
  const { npm = {} } = JSON.parse(lock) as { npm?: Record<string, { integrity?: string }> };
  return Object.entries(npm).map(([key, { integrity = "" }]) => {
    const [, name, version] = /^(@?[^@]+)@([^_]+)/.exec(key) ?? [];
    if (name === undefined || version === undefined) {
      throw new Error(`Cannot read deno.lock: ${key}, expected name@version`);
    }
    const content = /^sha512-(.+)$/.exec(integrity)?.[1];
    return {
      kind: "npm",
      name,
      version,
      ...(content === undefined
        ? {}
        : { hash: { alg: "SHA-512", content: Buffer.from(content, "base64").toString("hex") } as const }),
    };
  });
}

/** Text of Cargo.lock; packages without a source are our own. */
export function cargoComponents(lock: string): Component[] {
  return lock.split("[[package]]").slice(1).flatMap((block) => {
    const field = (name: string) => new RegExp(`^${name} = "(.+)"$`, "m").exec(block)?.[1];
    const [name, version, content] = [field("name"), field("version"), field("checksum")];
    if (name === undefined || version === undefined || field("source") === undefined) return [];
    return [{
      kind: "cargo" as const,
      name,
      version,
      ...(content === undefined ? {} : { hash: { alg: "SHA-256", content } as const }),
    }];
  });
}

/** Text of a requirements file; lines without a version are bound by another line's. */
export function pypiComponents(requirements: string): Component[] {
  return [...requirements.matchAll(/^([\w.-]+)==([\w.]+)/gm)].map(([, name, version]) => ({
    kind: "pypi",
    name: name!.toLowerCase(),
    version: version!,
  }));
}

/** All of the repository, each once, in a fixed order. */
export async function readComponents(): Promise<Component[]> {
  const read = (path: string) => Deno.readTextFile(`${ROOT}/${path}`);
  const found = [
    ...npmComponents(await read("deno.lock")),
    ...cargoComponents(await read("native/tiler/Cargo.lock")),
  ];
  for (const path of await requirementFiles("")) found.push(...pypiComponents(await read(path)));
  const byId = new Map(found.map((component) => [componentId(component), component]));
  return [...byId.entries()].sort(([a], [b]) => a < b ? -1 : 1).map(([, component]) => component);
}

const SKIPPED = new Set(["node_modules", "build", "target", "pretrained"]);

async function requirementFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${ROOT}/${folder}`)) {
    const path = folder === "" ? name : `${folder}/${name}`;
    if (isDirectory && !name.startsWith(".") && !SKIPPED.has(name)) found.push(...await requirementFiles(path));
    else if (name === "requirements.txt" || name === "pillow-simd.txt") found.push(path);
  }
  return found;
}

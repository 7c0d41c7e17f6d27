/** What holds for all files that deploy Tessera, checked without a network or another program. */
import { DURABLE_STREAM, JOB_CLASSES, LIVE_STREAM, NUM_LANES, VARIABLES } from "@tessera/shared";
import { parse } from "yaml";
import { NATS_SERVER_VERSION } from "../../nats/binary.ts";

/** Path from the repository's root, and text. */
export interface DeployFile {
  readonly path: string;
  readonly text: string;
}

/** Names that begin as variables do and are none. */
const STREAMS: readonly string[] = [LIVE_STREAM, DURABLE_STREAM];
/** A version: two numbers or more, so no `latest`, `3` or `stable`. */
const PINNED = /\d+\.\d+/;

/** Every broken rule, one line each. */
export function checkDeployFiles(files: readonly DeployFile[]): string[] {
  return files.flatMap((file) =>
    [
      ...unknownVariables(file),
      ...looseVersions(file),
      ...brokenYaml(file),
      ...shortGrace(file),
      ...strangeConsumers(file),
    ].map((fault) => `${file.path}: ${fault}`)
  );
}

function unknownVariables({ text }: DeployFile): string[] {
  const named = new Set([...text.matchAll(/\bTESSERA_[A-Z_]*[A-Z]\b(?!_)/g)].map(([name]) => name));
  return [...named].filter((name) => !(name in VARIABLES) && !STREAMS.includes(name))
    .map((name) => `${name} is no variable of shared/env.ts`);
}

/** Images, bases and charts name a version; a base's may be an argument with a default. */
function looseVersions({ path, text }: DeployFile): string[] {
  const args = Object.fromEntries([...text.matchAll(/^ARG (\w+)=(\S+)$/gm)].map(([, name, value]) => [name, value]));
  const resolve = (image: string) => image.replace(/\$\{(\w+)\}/g, (_, name: string) => args[name] ?? "");
  const images = path.endsWith(".Dockerfile")
    ? [...text.matchAll(/^FROM (\S+)/gm)].map(([, image]) => resolve(image!))
    : path.endsWith(".yaml")
    ? [...text.matchAll(/^\s*(?:image|edge|worker):\s+([\w./-]+:\S+)/gm)].map(([, image]) => image!)
    : [];
  const faults = images.filter((image) => !PINNED.test(image.split(":")[1] ?? "")).map((image) =>
    `${image} is not pinned`
  );
  for (const [, version] of text.matchAll(/(?:nats:|tag: )([\d.]+)-alpine/g)) {
    if (version !== NATS_SERVER_VERSION) faults.push(`nats ${version}, expected ${NATS_SERVER_VERSION}`);
  }
  for (const [, version] of path.endsWith("Chart.yaml") ? text.matchAll(/^ {4}version: (\S+)$/gm) : []) {
    if (!/^\d+\.\d+\.\d+$/.test(version!)) faults.push(`dependency ${version} is not pinned`);
  }
  return faults;
}

/** Templates are YAML only once they are filled in. */
function brokenYaml({ path, text }: DeployFile): string[] {
  if (!path.endsWith(".yaml") || path.includes("/templates/")) return [];
  try {
    parse(text, { merge: true });
    return [];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

/** Whoever stops a process by force waits longer than it takes to drain. */
function shortGrace({ path, text }: DeployFile): string[] {
  const drains = [...text.matchAll(/TESSERA_DRAIN_MS[=:]\s*"?(\d+)/g)].map(([, ms]) => Number(ms) / 1_000);
  const graces = [...text.matchAll(/(?:stop_grace_period: |TimeoutStopSec=)(\d+)/g)].map(([, s]) => Number(s));
  if (drains.length === 0 || path.includes("/helm/")) return [];
  const drain = Math.max(...drains);
  return graces.length > 0 && Math.min(...graces) > drain
    ? []
    : [`is stopped by force before ${drain} s of draining end`];
}

/** KEDA looks at the consumers that workers pull from. */
function strangeConsumers({ path, text }: DeployFile): string[] {
  if (!path.endsWith("/keda.yaml")) return [];
  const classes = `list ${JOB_CLASSES.map((name) => `"${name}"`).join(" ")}`;
  const expected = [`range ${classes} `, `range until ${NUM_LANES} `, LIVE_STREAM, DURABLE_STREAM];
  return expected.filter((part) => !text.includes(part)).map((part) => `no "${part.trim()}"`);
}

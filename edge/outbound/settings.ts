/** From the environment to the rules by which users' URLs are connected to. */
import type { VariableName } from "@tessera/shared";
import { HostList } from "./host_list.ts";
import type { OutboundSettings } from "./request.ts";
import { OutboundRules } from "./rules.ts";

export interface OutboundConfig {
  readonly allow: HostList;
  readonly deny: HostList;
  readonly trust: HostList;
  /** PEM; empty: none of one's own. */
  readonly ca: string;
}

export const OUTBOUND_VARIABLES = [
  "TESSERA_FETCH_ALLOW",
  "TESSERA_FETCH_DENY",
  "TESSERA_FETCH_TRUST",
  "TESSERA_FETCH_CA",
] as const satisfies readonly VariableName[];

type Name = (typeof OUTBOUND_VARIABLES)[number];

/** @throws Error naming the variable that cannot be read */
export function readOutboundConfig(
  env: Readonly<Record<Name, string>>,
  readFile: (path: string) => string,
): OutboundConfig {
  const read = <T>(name: Name, parse: (text: string) => T): T => {
    try {
      return parse(env[name]);
    } catch (cause) {
      throw new Error(`${name}="${env[name]}": ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  };
  return {
    allow: read("TESSERA_FETCH_ALLOW", HostList.parse),
    deny: read("TESSERA_FETCH_DENY", HostList.parse),
    trust: read("TESSERA_FETCH_TRUST", HostList.parse),
    ca: read("TESSERA_FETCH_CA", (value) => value === "" || value.includes("-----BEGIN") ? value : readFile(value)),
  };
}

export function outboundSettings(config: OutboundConfig | undefined, allowPrivate: boolean): OutboundSettings {
  const { ca = "", ...lists } = config ?? {};
  return { rules: new OutboundRules({ allowPrivate, ...lists }), ca };
}

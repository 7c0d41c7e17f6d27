/** An API key as it is kept: never the key itself, only its hash, which is the entry's name in the keys bucket. */
import { z } from "zod";
import { sha256Hex } from "../ids.ts";
import { keptObject } from "./kept.ts";

/** What a key may be used for; `admin` is all, and other keys' usage. */
export const SCOPES = ["inference", "captions", "files", "batches", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

/** Bounds of one key; null: none of its own. */
export const KeyLimits = z.object({
  requests_per_minute: z.int().min(1).nullable(),
  /** Prompt and answer together. */
  tokens_per_minute: z.int().min(1).nullable(),
  /** Requests under way at once, on all edges together. */
  concurrency: z.int().min(1).nullable(),
  /** Tokens in a calendar month (UTC). */
  tokens_per_month: z.int().min(1).nullable(),
});

export const ApiKey = keptObject({
  v: z.literal(1),
  /** Public name: in logs, in usage, on the command line. */
  id: z.string().regex(/^key-[a-z0-9]+$/),
  /** The owner's own words. */
  name: z.string().max(200),
  /** Owner of jobs, files and cached prefixes: keys of one tenant share them. */
  tenant: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  scopes: z.array(z.enum(SCOPES)).min(1),
  limits: KeyLimits,
  /** Unix times in ms. */
  created_ms: z.number(),
  expires_ms: z.number().nullable(),
  revoked_ms: z.number().nullable(),
});

export type KeyLimits = z.infer<typeof KeyLimits>;
export type ApiKey = z.infer<typeof ApiKey>;

/** How every key begins, so that scanners for leaked secrets find it. */
export const API_KEY_PREFIX = "tessera_";
/** Random bytes of a key: nothing to guess, so a plain hash keeps it. */
const SECRET_BYTES = 32;

/** A new key's secret; shown once, kept nowhere. */
export function newApiKeySecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  const base64 = btoa(String.fromCharCode(...bytes));
  return API_KEY_PREFIX + base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The entry's name in the keys bucket. */
export function apiKeyHash(secret: string): Promise<string> {
  return sha256Hex(new TextEncoder().encode(secret));
}

export function hasScope({ scopes }: Pick<ApiKey, "scopes">, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes("admin");
}

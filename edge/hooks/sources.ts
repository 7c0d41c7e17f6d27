/** Sources of events as an operator describes them in a file: how they are verified, and where in them the picture is. */
import { z } from "zod";
import { CaptionBody } from "../api/caption_request.ts";
import { parseSecrets, type WebhookSecret } from "../webhooks/signature.ts";
import { parsePointer } from "./json_pointer.ts";

const Pointer = z.string().transform((text, context) => {
  try {
    return parsePointer(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
    return z.NEVER;
  }
});
/** Secrets stand in the environment; the file names the variable. */
const Variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "expected the name of an environment variable");

const Verification = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("standard"), secret_env: Variable }),
  /** A signature of the body alone, in hex, as GitHub's; `header` and `prefix` for others'. */
  z.strictObject({
    type: z.literal("hmac-sha256"),
    secret_env: Variable,
    header: z.string().default("x-hub-signature-256"),
    prefix: z.string().default("sha256="),
  }),
  /** A word that both sides know, as MinIO and Supabase send it. */
  z.strictObject({ type: z.literal("token"), secret_env: Variable, header: z.string().default("authorization") }),
]);

/** Objects of a store that are private: URLs to them are signed, for a moment. */
const Store = z.strictObject({
  /** `{bucket}` and `{key}` stand for those of the event. */
  url: z.string().refine((text) => text.includes("{key}"), "expected {key} in it"),
  access_key_env: Variable.optional(),
  secret_key_env: Variable.optional(),
  region: z.string().default("us-east-1"),
});

const Mapping = z.strictObject({
  /** An array of things with a picture each; without it the document is the one thing. The other pointers begin there. */
  items: Pointer.optional(),
  url: Pointer,
  metadata: z.record(z.string().min(1).max(64), Pointer).default({}),
  /** What tells one event from another; without it the whole thing does. */
  id: Pointer.optional(),
  /** When it came to pass: a date, or seconds. */
  time: Pointer.optional(),
  /** Only things that have these values. */
  where: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).default({}),
});

const Common = {
  verify: Verification,
  /** What a caption's request says beside its picture. */
  caption: CaptionBody.omit({ image: true, images: true, video: true }).partial().prefault({}),
  /** Environment variable with the API key whose captions these are. */
  api_key_env: Variable.optional(),
  /** Oldest event that is taken, by its own time. */
  max_age_s: z.int().min(1).max(7 * 86_400).default(86_400),
};

const Source = z.discriminatedUnion("events", [
  z.strictObject({ ...Common, events: z.literal("s3"), store: Store }),
  z.strictObject({ ...Common, events: z.literal("supabase"), store: Store }),
  z.strictObject({
    ...Common,
    events: z.literal("cloudevents"),
    map: Mapping,
    /** Senders that may ask whether they may send, by the name they give; anyone unless said. */
    allowed_origins: z.array(z.string().min(1)).min(1).default(["*"]),
  }),
  z.strictObject({ ...Common, events: z.literal("json"), map: Mapping }),
]);

export const SourcesFile = z.strictObject({
  sources: z.record(z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "expected a-z, 0-9, - and _"), Source),
});

export type Mapping = z.infer<typeof Mapping>;
export type SourceOptions = z.infer<typeof Source>;

/** Keys a source is verified by, out of the environment. */
export type Verifier =
  | { readonly type: "standard"; readonly secrets: readonly WebhookSecret[] }
  | { readonly type: "hmac-sha256"; readonly key: Uint8Array; readonly header: string; readonly prefix: string }
  | { readonly type: "token"; readonly token: Uint8Array; readonly header: string };

export interface StoreAccess {
  readonly url: string;
  readonly region: string;
  /** null: the objects are public. */
  readonly keys: { readonly accessKeyId: string; readonly secretAccessKey: string } | null;
}

export interface HookSource {
  readonly name: string;
  readonly options: SourceOptions;
  readonly verifier: Verifier;
  readonly store: StoreAccess | null;
  /** null: whoever calls without one. */
  readonly apiKey: string | null;
}

/** Shortest secret of a source: 16 characters, so that nobody finds it by trying. */
const MIN_SECRET_CHARS = 16;

/**
 * Reads the file's text; secrets from the environment.
 * @throws Error naming the place, showing no secret
 */
export function parseSources(text: string, get: (name: string) => string | undefined): Map<string, HookSource> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Error("it is not JSON", { cause });
  }
  const parsed = SourcesFile.safeParse(json);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new Error(`${path.join(".")}: ${message}`);
  }
  const found = new Map<string, HookSource>();
  for (const [name, options] of Object.entries(parsed.data.sources)) {
    const secret = (variable: string) => {
      const value = get(variable)?.trim() ?? "";
      if (value === "") throw new Error(`sources.${name}: ${variable} is empty`);
      return value;
    };
    found.set(name, {
      name,
      options,
      verifier: verifierOf(name, options.verify, secret),
      store: "store" in options ? storeOf(name, options.store, secret) : null,
      apiKey: options.api_key_env === undefined ? null : secret(options.api_key_env),
    });
  }
  return found;
}

function verifierOf(
  name: string,
  verify: z.infer<typeof Verification>,
  secret: (variable: string) => string,
): Verifier {
  const value = secret(verify.secret_env);
  if (verify.type === "standard") {
    try {
      return { type: "standard", secrets: parseSecrets(value) };
    } catch (error) {
      throw new Error(`sources.${name}: ${verify.secret_env}: ${(error as Error).message}`);
    }
  }
  if (value.length < MIN_SECRET_CHARS) {
    throw new Error(`sources.${name}: ${verify.secret_env} is shorter than ${MIN_SECRET_CHARS} characters`);
  }
  const bytes = new TextEncoder().encode(value);
  const header = verify.header.toLowerCase();
  return verify.type === "token"
    ? { type: "token", token: bytes, header }
    : { type: "hmac-sha256", key: bytes, header, prefix: verify.prefix };
}

function storeOf(name: string, store: z.infer<typeof Store>, secret: (variable: string) => string): StoreAccess {
  const { url, region, access_key_env, secret_key_env } = store;
  if ((access_key_env === undefined) !== (secret_key_env === undefined)) {
    throw new Error(`sources.${name}.store: expected access_key_env and secret_key_env, or neither`);
  }
  const keys = access_key_env === undefined || secret_key_env === undefined
    ? null
    : { accessKeyId: secret(access_key_env), secretAccessKey: secret(secret_key_env) };
  return { url, region, keys };
}

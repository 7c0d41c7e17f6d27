/** Versions of the wire: what each changed, which of them this build speaks, which one it uses with whom. */
import { z } from "zod";

/** What each version changed. None is changed once it was released; CONTRIBUTING.md says what makes a new one. */
export const WIRE_CHANGES: Readonly<Record<number, string>> = {
  1: "Jobs by class and by worker, claims, tiles, every event of a job a message of its own.",
  2: "What is new for one edge at one moment is one message. Error codes may be unknown to the other side.",
};

/** The version before the current one, and the current one: what a fleet speaks while it is upgraded. */
export const WIRE_VERSIONS = [1, 2] as const;

/** `v` of the messages of a conversation about a job: its envelope says it, everything else answers in it. */
export const WireVersion = z.literal(WIRE_VERSIONS);
export type WireVersion = z.infer<typeof WireVersion>;

/** Of what is stored, for builds of before and after an upgrade alike. */
export const STORED_VERSION: WireVersion = WIRE_VERSIONS[0];

/** What announces no versions is of the time when there was one. */
const FIRST_VERSIONS = [1] as const;

/** Versions a part says it speaks. */
export function versionsOf(part: { readonly wire_versions?: readonly number[] | undefined }): readonly number[] {
  return part.wire_versions ?? FIRST_VERSIONS;
}

/** Whether this build and such a part have a version in common. */
export function isCompatible(versions: readonly number[]): boolean {
  return WIRE_VERSIONS.some((version) => versions.includes(version));
}

/**
 * The newest version that all of them and this build speak; where there is none, the newest that one of them does.
 * @param peers what each speaks
 * @returns null where none speaks a version of this build
 */
export function versionFor(peers: readonly (readonly number[])[]): WireVersion | null {
  const newestFirst = WIRE_VERSIONS.toReversed();
  return newestFirst.find((version) => peers.length > 0 && peers.every((spoken) => spoken.includes(version))) ??
    newestFirst.find((version) => peers.some((spoken) => spoken.includes(version))) ?? null;
}

/** "1 and 2", for people. */
export function versionsText(versions: readonly number[]): string {
  return new Intl.ListFormat("en").format(versions.toSorted((a, b) => a - b).map(String));
}

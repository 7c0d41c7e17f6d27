/** Finds what looks like one of our environment variables and is none: misspelt, or of another release. */
import { VARIABLES } from "./env.ts";

export interface UnknownVariable {
  readonly variable: string;
  /** The one that was meant, if one is spelt nearly so. */
  readonly did_you_mean?: string;
}

const PREFIX = "TESSERA_";
/** Letters that may be wrong, missing, too many or swapped. */
const MAX_DISTANCE = 2;
/** What Kubernetes tells of a service whose name begins like ours. */
const SERVICE_LINK = /_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP)/;

/** @param names of all variables that are set */
export function unknownVariables(names: readonly string[]): UnknownVariable[] {
  const known = Object.keys(VARIABLES);
  return names.filter((name) => name.startsWith(PREFIX) && !known.includes(name) && !SERVICE_LINK.test(name)).map(
    (variable) => {
      const near = known.map((name) => ({ name, distance: distance(variable, name) })).sort((a, b) =>
        a.distance - b.distance
      )[0]!;
      return { variable, ...(near.distance <= MAX_DISTANCE ? { did_you_mean: near.name } : {}) };
    },
  );
}

/** Damerau's, for adjacent letters: how many edits make one of the other. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + cost);
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwapped) least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}

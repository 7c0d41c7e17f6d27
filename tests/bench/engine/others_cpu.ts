/** Owns how much of the processors went to other programs meanwhile: figures taken beside them are worth little. */

/** Seconds of processor time, on a Linux machine. */
interface Times {
  readonly all: number;
  readonly ours: number;
  readonly wall: number;
}

const TICKS_A_SECOND = 100;

/** Starts counting; the function it returns gives the share of all processors that others had, NaN where unknown. */
export function countOthersCpu(): () => number {
  const start = times();
  return () => {
    const end = times();
    if (start === null || end === null) return Number.NaN;
    const others = end.all - start.all - (end.ours - start.ours);
    return Math.max(0, others) / ((end.wall - start.wall) * navigator.hardwareConcurrency);
  };
}

function times(): Times | null {
  try {
    const [, user, nice, system, , , irq, softirq, steal] = Deno.readTextFileSync("/proc/stat").split(/\s+/);
    const all = [user, nice, system, irq, softirq, steal].reduce((sum, ticks) => sum + Number(ticks), 0);
    return { all: all / TICKS_A_SECOND, ours: oursTicks() / TICKS_A_SECOND, wall: performance.now() / 1000 };
  } catch {
    return null;
  }
}

/** Ticks of this process, of those it started, and of those of them that have ended. */
function oursTicks(): number {
  const byPid = new Map<number, { parent: number; ticks: number }>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // Behind the name in brackets: state, parent, ..., user, system, user and system of children that ended.
      const fields = Deno.readTextFileSync(`/proc/${name}/stat`).split(") ").at(-1)!.split(" ");
      const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
      byPid.set(Number(name), { parent: Number(fields[1]), ticks });
    } catch {
      // Ended meanwhile.
    }
  }
  let sum = 0;
  for (const [pid, { ticks }] of byPid) {
    for (let at: number | undefined = pid; at !== undefined; at = byPid.get(at)?.parent) {
      if (at !== Deno.pid) continue;
      sum += ticks;
      break;
    }
  }
  return sum;
}

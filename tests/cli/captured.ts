/** Owns what a command prints while it runs in this process. */

export async function captured(command: () => Promise<number>): Promise<{ code: number; text: string }> {
  const lines: string[] = [];
  const print = console.log;
  console.log = (line: string) => void lines.push(line);
  try {
    return { code: await command(), text: lines.join("\n") };
  } finally {
    console.log = print;
  }
}

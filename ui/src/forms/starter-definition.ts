// Where a new job begins.
import type { JobDefinition } from '@opsconductor/protocol';

const starter: JobDefinition = {
  name: 'Check free space',
  description: 'Lists file systems and fails when the root has less than 10 % left',
  steps: [
    {
      name: 'list',
      type: 'ssh.exec',
      config: { command: 'df -h', timeout: 30 },
    },
    {
      name: 'check root',
      type: 'ssh.exec',
      config: {
        command:
          'used=$(df -P / | awk \'NR==2 {print $5}\' | tr -d %)\necho "root is $used % full"\ntest "$used" -le 90',
        timeout: 30,
      },
    },
  ],
};

/** Names a category only where that is not the general one. */
export function starterText(category?: string): string {
  return text(starter, category);
}

/** The definition of another job, to begin a new one from. */
export function copyText(definition: JobDefinition, category?: string): string {
  return text({ ...definition, name: `${definition.name} (copy)`.slice(0, 100) }, category);
}

function text(
  { name, description, category: _, ...rest }: JobDefinition,
  category: string | undefined,
): string {
  const named = category === undefined ? {} : { category };
  const about = description === undefined ? {} : { description };
  return `${JSON.stringify({ name, ...about, ...named, ...rest }, null, 2)}\n`;
}

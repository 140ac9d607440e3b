import type { TargetRun } from '@opsconductor/protocol';

const names = new Intl.Collator('en', { numeric: true });

interface Named {
  targetRun: Pick<TargetRun, 'targetName'>;
}

export function byName(a: Named, b: Named): number {
  return names.compare(a.targetRun.targetName, b.targetRun.targetName);
}

// The three jobs that a newcomer finds. They only read, and run under an account without rights.
import type { JobDefinition } from '@opsconductor/protocol';

const lookAround = `printf 'host     %s\\n' "$(hostname)"
printf 'system   %s\\n' "$(uname -sr)"
printf 'account  %s\\n' "$(id -un)"
printf 'up since %s\\n' "$(uptime -s 2>/dev/null || echo unknown)"`;

const countDown = `for n in 3 2 1; do
  echo "$n …"
  sleep 1
done
echo 'This line came through the agent, live.'
echo 'And this one was written to standard error.' >&2`;

const diskUse = `df -hP / /tmp 2>/dev/null | awk '!seen[$0]++'
used=$(df -P / | awk 'NR == 2 { sub("%", "", $5); print $5 }')
if [ "$used" -gt 90 ]; then
  echo "The root file system is \${used} % full." >&2
  exit 1
fi
printf '\\033[32mok\\033[0m: %s %% used\\n' "$used"`;

export const sampleJobs: readonly JobDefinition[] = [
  {
    name: 'Look around',
    description: 'Says what the host is, then counts down, so that you see output arrive live.',
    steps: [
      { name: 'facts', type: 'ssh.exec', config: { command: lookAround, timeout: 30 } },
      { name: 'count down', type: 'ssh.exec', config: { command: countDown, timeout: 30 } },
      { name: 'goodbye', type: 'ssh.exec', config: { command: 'echo "Done on $(date)"', timeout: 30 } },
    ],
  },
  {
    name: 'Check disk space',
    description: 'Fails when the root file system is more than 90 % full.',
    steps: [{ name: 'df', type: 'ssh.exec', config: { command: diskUse, timeout: 60 } }],
  },
  {
    name: 'Fail on purpose',
    description:
      'Shows what a failed step looks like: its exit code, its error output, and what is skipped after it.',
    steps: [
      { name: 'prepare', type: 'ssh.exec', config: { command: 'echo "All is well so far."', timeout: 30 } },
      {
        name: 'fail',
        type: 'ssh.exec',
        config: { command: 'echo "no space left on device" >&2\nexit 3', timeout: 30 },
      },
      {
        name: 'never reached',
        type: 'ssh.exec',
        config: { command: 'echo "You don’t see this."', timeout: 30 },
      },
    ],
  },
];

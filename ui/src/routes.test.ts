import { describe, expect, it } from 'vitest';
import { paths } from './paths.ts';
import { matchRoute, meantPlace } from './routes.ts';

describe('the routes', () => {
  it('finds the page of every path that the console builds', () => {
    const path = (url: string) => new URL(url, 'https://console.example').pathname;
    expect(matchRoute(path(paths.home()))).toEqual({ page: 'jobs' });
    expect(matchRoute(path(paths.job(12)))).toEqual({ page: 'job', id: 12 });
    expect(matchRoute(path(paths.editJob(12)))).toEqual({ page: 'edit-job', id: 12 });
    expect(matchRoute(path(paths.newJob({ from: 3 })))).toEqual({ page: 'new-job' });
    expect(matchRoute(path(paths.starters({ search: 'x' })))).toEqual({ page: 'starters' });
    expect(matchRoute(path(paths.fromStarter(8)))).toEqual({ page: 'from-starter', id: 8 });
    expect(matchRoute(path(paths.jobsHealth()))).toEqual({ page: 'jobs-health' });
    expect(matchRoute(path(paths.jobImports({ plan: 'x' })))).toEqual({ page: 'import-jobs' });
    expect(matchRoute(path(paths.siteRules()))).toEqual({ page: 'site-rules' });
    expect(matchRoute(path(paths.newSiteRule()))).toEqual({ page: 'new-site-rule' });
    expect(matchRoute(path(paths.siteRule(2)))).toEqual({ page: 'site-rule', id: 2 });
    expect(matchRoute(path(paths.runs({ status: 'failed' })))).toEqual({ page: 'runs' });
    expect(matchRoute(path(paths.run(7, { host: 1 })))).toEqual({ page: 'run', id: 7 });
    expect(matchRoute(path(paths.targets()))).toEqual({ page: 'targets' });
    expect(matchRoute(path(paths.scans()))).toEqual({ page: 'scans' });
    expect(matchRoute(path(paths.scan(9, { finding: 'changed' })))).toEqual({ page: 'scan', id: 9 });
    expect(matchRoute(path(paths.knownHosts({ segmentId: 2 })))).toEqual({ page: 'known-hosts' });
    expect(matchRoute(path(paths.hostTrust()))).toEqual({ page: 'host-trust' });
    expect(matchRoute(path(paths.agents()))).toEqual({ page: 'agents' });
    expect(matchRoute(path(paths.agent(7)))).toEqual({ page: 'agent', id: 7 });
    expect(matchRoute(path(paths.credentials()))).toEqual({ page: 'credentials' });
    expect(matchRoute(path(paths.categories()))).toEqual({ page: 'categories' });
    expect(matchRoute(path(paths.files()))).toEqual({ page: 'files' });
    expect(matchRoute(path(paths.people({ kind: 'service' })))).toEqual({ page: 'people' });
    expect(matchRoute(path(paths.user(4)))).toEqual({ page: 'user', id: 4 });
    expect(matchRoute(path(paths.userGroups()))).toEqual({ page: 'user-groups' });
    expect(matchRoute(path(paths.userGroup(5)))).toEqual({ page: 'user-group', id: 5 });
    expect(matchRoute(path(paths.permissions()))).toEqual({ page: 'permissions' });
    expect(matchRoute(path(paths.audit({ actor: 'ada' })))).toEqual({ page: 'audit' });
    expect(matchRoute(path(paths.account()))).toEqual({ page: 'account' });
    expect(matchRoute(path(paths.signIn('/runs')))).toEqual({ page: 'sign-in' });
  });

  it('accepts a trailing slash, and rejects invalid ids', () => {
    expect(matchRoute('/runs/7/')).toEqual({ page: 'run', id: 7 });
    expect(matchRoute('/')).toEqual({ page: 'jobs' });
    for (const path of ['/runs/0', '/runs/07', '/runs/x', '/runs/7/steps', '/nothing']) {
      expect(matchRoute(path)).toEqual({ page: 'not-found' });
    }
  });

  it.each([
    ['/targets/2', '/targets?open=2'],
    ['/targets/2/?search=web&open=9#x', '/targets?search=web&open=2#x'],
    ['/people/4', '/people/users/4'],
    ['/people/users?search=ada', '/people?search=ada'],
    ['/targets', undefined],
    ['/targets/groups/2', undefined],
    ['/targets/0', undefined],
    ['/runs/2', undefined],
  ])('leads from %s, as it may be typed, to %s', (typed, meant) => {
    expect(meantPlace(new URL(typed, 'https://console.example'))).toBe(meant);
    if (meant !== undefined) expect(matchRoute(new URL(typed, 'https://x').pathname).page).toBe('not-found');
  });
});

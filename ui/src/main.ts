import { mount } from 'svelte';
import App from './App.svelte';
import { watchApi } from './api/client.ts';
import { connection } from './state/connection.svelte.ts';
import { session } from './state/session.svelte.ts';
import { theme } from './state/theme.svelte.ts';
import './styles/tokens.css';
import './styles/base.css';

theme.apply();
watchApi({
  onUnauthenticated: () => session.lost(),
  whenBack: () => session.whenBack(),
  onForbidden: () => session.refused(),
  onReachable: (reachable) => connection.answered(reachable),
});

const target = document.getElementById('app');
if (target === null) throw new Error('index.html has no #app');
mount(App, { target });

// How much is tried, and with which seed: a little in the suite, more with `npm run fuzz`.
export interface FuzzSettings {
  seed: string;
  /** Mutations of each route and of each frame type. */
  mutations: number;
}

export function fuzzSettings(env: Readonly<Record<string, string | undefined>>): FuzzSettings {
  return {
    seed: env.OPSCONDUCTOR_FUZZ_SEED ?? '1',
    mutations: Number(env.OPSCONDUCTOR_FUZZ_MUTATIONS ?? 1),
  };
}

// How much is tried, and by which seed: a little in the suite, more by `npm run fuzz`.
export interface FuzzSettings {
  seed: string;
  /** Mutations of each route, and of each type of frame. */
  mutations: number;
}

export function fuzzSettings(env: Readonly<Record<string, string | undefined>>): FuzzSettings {
  return {
    seed: env.OPSCONDUCTOR_FUZZ_SEED ?? '1',
    mutations: Number(env.OPSCONDUCTOR_FUZZ_MUTATIONS ?? 1),
  };
}

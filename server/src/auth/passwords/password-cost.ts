/** What hashing a new password, and so guessing it, costs: 32 MiB and about a quarter of a second. */
export const passwordCost = { N: 2 ** 15, r: 8, p: 3 };

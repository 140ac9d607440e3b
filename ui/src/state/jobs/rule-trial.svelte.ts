// Which jobs would break a rule as it is written now. It is looked up while someone types; further jobs are checked on
// request.
import type { CreateSiteRuleRequest, SiteRuleViolationPage } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';
import type { PageQuery } from '../../api/page.ts';

const quietMs = 400;
const pageItems = 50;

type Try = (
  rule: CreateSiteRuleRequest,
  page: PageQuery,
  signal: AbortSignal,
) => Promise<SiteRuleViolationPage>;

export class RuleTrial {
  items: SiteRuleViolationPage['items'] = $state.raw([]);
  looked = $state(0);
  inScope = $state(0);
  /** Whether the result shown is for the rule as it is now. */
  settled = $state(false);
  error = $state.raw<ApiError>();
  loading = $state(false);
  #next = $state.raw<string | undefined>();
  readonly more: boolean = $derived(this.settled && this.#next !== undefined);
  readonly #try: Try;
  #rule: CreateSiteRuleRequest | undefined;
  #owner = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(tryRule: Try) {
    this.#try = tryRule;
  }

  /** Tries the rule once nothing has been typed for a moment. `undefined` stands for an incomplete rule. */
  follow(rule: CreateSiteRuleRequest | undefined): void {
    this.stop();
    this.#rule = rule;
    this.settled = false;
    if (rule === undefined) {
      this.error = undefined;
      return;
    }
    this.#timer = setTimeout(() => void this.#page(rule, undefined), quietMs);
  }

  async lookOn(): Promise<void> {
    if (this.#rule !== undefined && this.more && !this.loading) await this.#page(this.#rule, this.#next);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#owner.abort();
    this.#owner = new AbortController();
    this.loading = false;
  }

  async #page(rule: CreateSiteRuleRequest, cursor: string | undefined): Promise<void> {
    const { signal } = this.#owner;
    this.loading = true;
    try {
      const page = await this.#try(
        rule,
        { limit: pageItems, ...(cursor === undefined ? {} : { cursor }) },
        signal,
      );
      if (signal.aborted) return;
      const isFirst = cursor === undefined;
      this.items = isFirst ? page.items : [...this.items, ...page.items];
      this.looked = page.looked + (isFirst ? 0 : this.looked);
      this.inScope = page.inScope + (isFirst ? 0 : this.inScope);
      this.#next = page.nextCursor ?? undefined;
      this.error = undefined;
      this.settled = true;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
    }
    this.loading = false;
  }
}

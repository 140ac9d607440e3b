// All limits that server and agent hold each other to. Names of sizes and durations contain the unit (S for seconds).

export const limits = {
  /** Largest raw output chunk, before compression. */
  maxChunkRawBytes: 256 * 1024,
  /** Largest stored (compressed) chunk: incompressible input grows a little under gzip. */
  maxChunkStoredBytes: 260 * 1024,
  /** A binary frame: header and chunk. */
  maxOutputFrameBytes: 264 * 1024,
  /** A JSON control frame after the handshake. */
  maxControlFrameBytes: 4 * 1024 * 1024,
  /** Any frame before the handshake is complete. */
  maxHandshakeFrameBytes: 4 * 1024,
  handshakeTimeoutMs: 5_000,
  /** All agents of a site may share one address and reconnect at the same time. */
  maxUnauthenticatedPerAddress: 1_024,
  /** Handshakes that a server verifies at the same time; others wait for their turn. */
  maxHandshakesAtATime: 32,
  /** How long an agent waits for its turn. Meanwhile the server only keeps it in its queue and does no work for it. */
  handshakePatienceMs: 30_000,
  /** When a server is gone, its agents reconnect spread over this much time per agent, up to `maxReconnectWithinMs`. */
  reconnectPerAgentMs: 30,
  /** The same for each segment's first agents, as it has none until they are back: about what one costs a server. */
  reconnectPerFirstAgentMs: 10,
  maxReconnectWithinMs: 30_000,
  /** Unacknowledged output that an agent may have on the wire, per connection. */
  outputWindowBytes: 8 * 1024 * 1024,
  /** Raw output of one attempt that may wait in the agent's memory before its target is paused. */
  maxGatheredBytes: 2 * 1024 * 1024,
  /** Unacknowledged output that one attempt may hold on the agent's disk before its target is paused. */
  maxSpoolBytesPerAttempt: 256 * 1024 * 1024,
  /** Raw output that is kept of one attempt; the rest is cut off, visibly. */
  maxOutputBytesPerAttempt: 4 * 1024 * 1024 * 1024,
  heartbeatIntervalMs: 5_000,
  /** A session not heard from for this long is silent: it gets no new steps and may start none. */
  leaseTtlMs: 20_000,
  unknownAfterMs: 300_000,
  startWithinS: 3_600,
  /** How long a held step waits for a decision, in seconds: by default, and at most. */
  holdForS: 24 * 3_600,
  maxHoldForS: 30 * 86_400,
  /** Tries of a step, including the first. */
  maxTries: 20,
  maxRetryDelayS: 86_400,
  /** How long a command whose agent is gone waits for another agent to take it over. */
  takeOverWithinMs: 60_000,
  /** How many agents may take over one command, one after another. */
  maxTakeOvers: 5,
  /** Attempts in one request to an agent to clean up. */
  maxCleanUpsPerMessage: 32,
  maxSlots: 512,
  maxAgentCapabilities: 64,
  maxStepReasons: 256,
  defaultSlots: 16,
  /** Most steps of a target run that are leased to an agent ahead of their turn, beside the one whose turn it is. */
  maxStepsAhead: 12,
  /** How long an agent keeps a step that was leased ahead of its turn. */
  stepsAheadMs: 1_000,
  /** Steps are leased ahead while those before them take no longer than this. */
  shortStepMs: 250,
  /** Most steps leased by one claim statement. */
  maxClaimBatch: 256,
  maxStepsPerJob: 100,
  /** Labels of one job, target or agent. */
  maxLabels: 64,
  /** Tags and channels of one job together. */
  maxNamesPerJob: 500,
  /** Jobs changed by one bulk action. */
  maxJobsPerBulk: 10_000,
  /** Jobs in one exported or imported file; bytes of an imported file; bytes of a file that is only converted. */
  maxJobsPerBundle: 20_000,
  maxBundleBytes: 64_000_000,
  maxConvertedBytes: 8 * 1024 * 1024,
  /** Ids in one export; for more, use filters. */
  maxExportedIds: 1_000,
  /** Problems and findings of an import that are listed; all are counted. */
  maxImportProblems: 200,
  maxImportFindings: 1_000,
  /** Depth of nested categories. */
  maxCategoryDepth: 8,
  /** Statistics of a job look at its newest runs, up to this many. */
  maxRunsForStatistics: 10_000,
  maxParametersPerJob: 100,
  maxParameterRules: 100,
  /** Depth of nested arrays and objects, including the parameter itself. */
  maxParameterDepth: 4,
  maxParameterItems: 10_000,
  maxParameterCharacters: 131_072,
  maxEnumValues: 1_000,
  /** All parameter values of a run together, as JSON. */
  maxParameterBytes: 256 * 1024,
  /** Size of a pattern's compiled program, with repetitions expanded. */
  maxPatternSize: 1_000,
  /** Cost of all patterns in one validation or evaluation: each pattern's size times the length of its text. */
  maxPatternSteps: 1_000_000,
  maxExpressionLength: 2_000,
  maxExpressionNodes: 400,
  /** Depth of nested parentheses, calls and member accesses. */
  maxExpressionDepth: 32,
  maxExpressionListElements: 200,
  /** Cost of evaluating one expression: nodes, plus the lengths of the values they handle. */
  maxExpressionSteps: 100_000,
  /** Cost of all rules of a job together for one run; and of all patterns of its definition when it is saved. */
  maxRuleSteps: 300_000,
  maxDefinitionPatternSteps: 2_000_000,
  /**
   * The next six bound what it takes to check one definition, whatever its parts may have each. They apply separately,
   * and their used shares also add up to at most one (definition/checks/definition-size.ts). Values in lists and
   * objects.
   */
  maxDefinitionValues: 12_000,
  /** Characters of conditions and checks. */
  maxDefinitionExpressionLength: 30_000,
  /** Total size of the patterns. */
  maxDefinitionPatternSize: 30_000,
  /** Placeholders in steps. */
  maxDefinitionPlaceholders: 3_000,
  /** Characters of scripts with placeholders. */
  maxDefinitionScriptLength: 131_072,
  /** Characters of one text of a step with the values in it, and of all texts of a preview. */
  maxFilledInCharacters: 4 * 1024 * 1024,
  /** Outputs of all steps. */
  maxOutputsPerJob: 400,
  maxSiteRules: 200,
  /** Cost of checking one definition against all site rules, in expression steps. */
  maxSiteRuleSteps: 400_000,
  /** Jobs that are examined for one page of site rule violations. */
  maxJobsLookedAt: 2_000,
  maxOutputsPerStep: 32,
  maxStepOutputCharacters: 16_384,
  /** All outputs of the steps of one target run together, as JSON. */
  maxStepOutputBytes: 128 * 1024,
  /** Secret parameters and secret outputs given to one step. */
  maxSecretsPerLease: 256,
  /** Shortest secret that is masked in output, in bytes: anything shorter would match by chance. */
  minMaskedBytes: 4,
  /** Size of one secret value. */
  maxSecretBytes: 64 * 1024,
  /** How much of the end of a stream is searched for an output's pattern. */
  maxOutputSearchBytes: 256 * 1024,
  /** Largest standard output that is read as one JSON value, and largest file of outputs. */
  maxOutputDocumentBytes: 1024 * 1024,
  /** Files of one transfer that are listed one by one; all are counted. */
  maxTransferRows: 500,
  /** A piece of a file or artifact, as it is stored, and as it is sent between server and agent. */
  contentPartBytes: 256 * 1024,
  /** Bytes of a file in one upload request: whole pieces, except at the end of the file. */
  maxUploadBytes: 4 * 1024 * 1024,
  maxFileBytes: 4 * 1024 * 1024 * 1024,
  maxFiles: 10_000,
  /** Uploads of one user that have begun and are not complete. */
  maxUnfinishedUploads: 1_000,
  /** An upload that nobody has continued for this long is discarded. */
  unfinishedContentMs: 24 * 3_600_000,
  /** Artifacts of one attempt, and their total size. */
  maxArtifactsPerAttempt: 1_000,
  maxArtifactBytesPerAttempt: 4 * 1024 * 1024 * 1024,
  /** Characters of an artifact's name, which is its path relative to what was downloaded. */
  maxArtifactNameLength: 1_000,
  /** Artifacts that an attempt sends at the same time. */
  maxArtifactsAtATime: 4,
  /** Pieces that an agent requests or sends before the first one is answered. */
  maxContentRequests: 8,
  /**
   * Shortest time between progress reports of an agent's transfers, and between those from one server to the others.
   */
  transferProgressMs: 1_000,
  maxTargetsPerRun: 12_000,
  /** Targets of a signed run, because each target is signed separately; and characters signed for one target. */
  maxSignedTargets: 1_000,
  maxGrantedTargetLength: 131_072,
  maxSignedRunBytes: 4 * 1024 * 1024,
  /** Batch sizes in a strategy; the last one repeats. */
  maxBatches: 50,
  maxLocksPerJob: 10,
  /** The highest limit that a job may set for its open runs. */
  maxOpenRuns: 1_000,
  /** Slots of a shared lock with limited slots. */
  maxLockSlots: 1_000,
  /** How long a target run keeps its locks after the deadline of an unknown attempt. */
  unknownKeepsLocksMs: 3_600_000,
  /** Targets of a scan that an agent looks at simultaneously, and those it is given ahead of time. */
  maxScansAtATime: 32,
  maxScansGiven: 128,
  /** Timeout for one target of a scan, with all its host keys. */
  scanTimeoutMs: 20_000,
  /** A target of a scan that was given to an agent and not reported after this long goes to another agent. */
  scanGivenForMs: 180_000,
  /** Targets that no agent has looked at by then are given up. */
  scanWithinMs: 3_600_000,
  /** SSH servers between agent and target. */
  maxJumpHosts: 4,
  /** SSH connections of one agent to one target with one credential. */
  maxConnectionsPerTarget: 32,
  maxHostAuthoritiesPerSegment: 8,
  maxRevokedHostKeysPerSegment: 64,
  /** Accepted host keys of one target. */
  maxHostKeysPerTarget: 16,
  maxKnownHostsBytes: 8 * 1024 * 1024,
  maxKnownHostsLines: 50_000,
  /** Hashed names in a known_hosts file, times the targets that each could mean. */
  maxHashedNameChecks: 4_000_000,
  maxSelectorLength: 2_000,
  /** Conditions in a selector; each value of a list counts. */
  maxSelectorTerms: 64,
  maxSelectorDepth: 16,
  /** Depth of target groups whose selectors refer to other groups. */
  maxGroupDepth: 8,
  maxRequestBodyBytes: 1024 * 1024,
  /** Request with the files of an inventory, and each of those files. */
  maxInventoryBytes: 32 * 1024 * 1024,
  maxInventoryFiles: 5_000,
  maxInventoryHosts: 50_000,
  maxHeldAttemptsPerHeartbeat: 1_024,
  maxPageItems: 200,
  defaultPageItems: 50,
  /** A page of a run's target runs without their steps. */
  maxTargetRunsPerPage: 1_000,
  /** A run with more steps than this can't be streamed with `output=all`. */
  maxStepsForWholeOutputStream: 64,
  /** As many as a roster can name. */
  maxKeyGenerations: 1_024,
  enrollmentTokenTtlMs: 3_600_000,
  signInCodeTtlMs: 1_800_000,
  /** A sign-in link that an administrator made for somebody else. */
  signInLinkTtlMs: 24 * 3_600_000,
  apiTokenMaxDays: 365,
  sessionIdleMs: 12 * 3_600_000,
  sessionAbsoluteMs: 7 * 24 * 3_600_000,
} as const;

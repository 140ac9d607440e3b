// Every limit that both sides hold each other to, in one place. Bytes and milliseconds are in the names.

export const limits = {
  /** Largest raw output chunk, before compression. */
  maxChunkRawBytes: 256 * 1024,
  /** Largest stored (compressed) chunk: incompressible input grows a little under gzip. */
  maxChunkStoredBytes: 260 * 1024,
  /** Binary frame: header and chunk. */
  maxOutputFrameBytes: 264 * 1024,
  /** JSON control frame after the handshake. */
  maxControlFrameBytes: 4 * 1024 * 1024,
  /** Any frame before the handshake is done. */
  maxHandshakeFrameBytes: 4 * 1024,
  handshakeTimeoutMs: 5_000,
  /** A site's agents may share one address, and come back together. */
  maxUnauthenticatedPerAddress: 1_024,
  /** Handshakes that a server verifies together; the others wait for their turn. */
  maxHandshakesAtATime: 32,
  /** An agent waits so long for its turn: while it does, the server has it in its line and is at no work for it. */
  handshakePatienceMs: 30_000,
  /** Agents of a server that is gone come back over so much time for each of them, and this at most. */
  reconnectPerAgentMs: 30,
  /** The same of those that come first, as a segment has no agent before: about what one costs a server. */
  reconnectPerFirstAgentMs: 10,
  maxReconnectWithinMs: 30_000,
  /** Unacknowledged output that an agent may have on the wire, per connection. */
  outputWindowBytes: 8 * 1024 * 1024,
  /** Raw output of one attempt that may wait in the agent's memory before its target is paused. */
  maxGatheredBytes: 2 * 1024 * 1024,
  /** Unacknowledged output that one attempt may hold on the agent's disk before its target is paused. */
  maxSpoolBytesPerAttempt: 256 * 1024 * 1024,
  /** Raw output that is kept of one attempt; what comes after is cut, visibly. */
  maxOutputBytesPerAttempt: 4 * 1024 * 1024 * 1024,
  heartbeatIntervalMs: 5_000,
  /** A session that was not heard of for this long is silent: it gets no new steps and may start none. */
  leaseTtlMs: 20_000,
  unknownAfterMs: 300_000,
  startWithinS: 3_600,
  /** How long a held step waits for a decision, in seconds: unless told, and at most. */
  holdForS: 24 * 3_600,
  maxHoldForS: 30 * 86_400,
  /** Tries of a step, the first one included. */
  maxTries: 20,
  maxRetryDelayS: 86_400,
  /** A command whose agent is gone waits so long for another to take it up. */
  takeOverWithinMs: 60_000,
  /** Agents that take one command up, one after the other. */
  maxTakeOvers: 5,
  /** Attempts that one message asks an agent to clean up after. */
  maxCleanUpsPerMessage: 32,
  maxSlots: 512,
  maxAgentCapabilities: 64,
  maxStepReasons: 256,
  defaultSlots: 16,
  /** Steps one claim statement leases at most. */
  maxClaimBatch: 256,
  maxStepsPerJob: 100,
  /** Labels of one job, target or agent. */
  maxLabels: 64,
  /** Tags and channels of one job together. */
  maxNamesPerJob: 500,
  /** Jobs that one bulk action changes. */
  maxJobsPerBulk: 10_000,
  /** Jobs of one file that is exported or imported; bytes of one that is imported; of one that is only converted. */
  maxJobsPerBundle: 20_000,
  maxBundleBytes: 64_000_000,
  maxConvertedBytes: 8 * 1024 * 1024,
  /** Ids that an export takes; for more there are filters. */
  maxExportedIds: 1_000,
  /** Problems and findings of an import that are told; all are counted. */
  maxImportProblems: 200,
  maxImportFindings: 1_000,
  /** Categories inside one another. */
  maxCategoryDepth: 8,
  /** Of a job's runs, the newest ones that its statistics look at. */
  maxRunsForStatistics: 10_000,
  maxParametersPerJob: 100,
  maxParameterRules: 100,
  /** Arrays and objects inside one another, the parameter itself included. */
  maxParameterDepth: 4,
  maxParameterItems: 10_000,
  maxParameterCharacters: 131_072,
  maxEnumValues: 1_000,
  /** All parameters of a run together, as JSON. */
  maxParameterBytes: 256 * 1024,
  /** A pattern's program with its repetitions written out. */
  maxPatternSize: 1_000,
  /** What all patterns of one validation or evaluation may cost: a pattern's size times the length of its text. */
  maxPatternSteps: 1_000_000,
  maxExpressionLength: 2_000,
  maxExpressionNodes: 400,
  /** Parentheses, calls and members inside one another. */
  maxExpressionDepth: 32,
  maxExpressionListElements: 200,
  /** What evaluating an expression may cost: nodes, and the lengths of what they handle. */
  maxExpressionSteps: 100_000,
  /** What all rules of a job together may cost for one run, and all patterns of its definition when it is saved. */
  maxRuleSteps: 300_000,
  maxDefinitionPatternSteps: 2_000_000,
  /**
   * What checking one definition may take in all, whatever its parts may have each: each of these alone, and all of them
   * together by their shares (definition/definition-size.ts). Values of lists and objects,
   */
  maxDefinitionValues: 12_000,
  /** characters of conditions and checks, */
  maxDefinitionExpressionLength: 30_000,
  /** the sizes of its patterns, */
  maxDefinitionPatternSize: 30_000,
  /** placeholders in its steps, */
  maxDefinitionPlaceholders: 3_000,
  /** characters of scripts into which values go, */
  maxDefinitionScriptLength: 131_072,
  /** and what its steps hand on. */
  maxOutputsPerJob: 400,
  maxSiteRules: 200,
  /** What holding one definition against all site rules may cost, in steps of expressions. */
  maxSiteRuleSteps: 400_000,
  /** Jobs that one page of what breaks a site rule looks at. */
  maxJobsLookedAt: 2_000,
  maxOutputsPerStep: 32,
  maxStepOutputCharacters: 16_384,
  /** All outputs of the steps of one target run together, as JSON. */
  maxStepOutputBytes: 128 * 1024,
  /** Secret parameters and secret outputs that one step is given. */
  maxSecretsPerLease: 256,
  /** Bytes of the shortest secret that is masked in output: shorter ones occur by chance. */
  minMaskedBytes: 4,
  /** Bytes of one secret value. */
  maxSecretBytes: 64 * 1024,
  /** The end of a stream that is looked through for an output by its pattern. */
  maxOutputSearchBytes: 256 * 1024,
  /** Standard output that is read as one JSON value; and the file of outputs. */
  maxOutputDocumentBytes: 1024 * 1024,
  /** Files of one transfer that are told of one by one; all are counted. */
  maxTransferRows: 500,
  /** A piece of a file or an artifact, as it is stored and sent between server and agent. */
  contentPartBytes: 256 * 1024,
  /** Bytes of a file that one request of an upload brings: whole pieces, but for its end. */
  maxUploadBytes: 4 * 1024 * 1024,
  maxFileBytes: 4 * 1024 * 1024 * 1024,
  maxFiles: 10_000,
  /** An upload that nobody went on with for so long is given up. */
  unfinishedContentMs: 24 * 3_600_000,
  /** Of one attempt: artifacts, and their bytes together. */
  maxArtifactsPerAttempt: 1_000,
  maxArtifactBytesPerAttempt: 4 * 1024 * 1024 * 1024,
  /** Characters of an artifact's name, which is its path below what was downloaded. */
  maxArtifactNameLength: 1_000,
  /** Artifacts that an attempt hands over side by side. */
  maxArtifactsAtATime: 4,
  /** Pieces that an agent asks for, or sends, before the first of them is answered. */
  maxContentRequests: 8,
  /** How often an agent tells how far its transfers are, at most; and a server the other servers. */
  transferProgressMs: 1_000,
  maxTargetsPerRun: 12_000,
  /** Of a run that is signed, each target being signed by itself; and characters of what is signed of one. */
  maxSignedTargets: 1_000,
  maxGrantedTargetLength: 131_072,
  maxSignedRunBytes: 4 * 1024 * 1024,
  /** Sizes of batches that a strategy may name; the last repeats. */
  maxBatches: 50,
  maxLocksPerJob: 10,
  /** Target runs that may share a lock of limited slots. */
  maxLockSlots: 1_000,
  /** After the deadline of an unknown attempt, its target run keeps its locks so much longer. */
  unknownKeepsLocksMs: 3_600_000,
  /** Targets of a scan that an agent looks at, at a time; and that it is given ahead. */
  maxScansAtATime: 32,
  maxScansGiven: 128,
  /** For one target of a scan, all its host keys together. */
  scanTimeoutMs: 20_000,
  /** A scan's target that an agent was given and never told of is given to another after this. */
  scanGivenForMs: 180_000,
  /** What no agent has looked at by then is given up. */
  scanWithinMs: 3_600_000,
  /** SSH servers on the way to a target. */
  maxJumpHosts: 4,
  /** SSH connections of one agent to one target with one credential. */
  maxConnectionsPerTarget: 32,
  maxHostAuthoritiesPerSegment: 8,
  maxRevokedHostKeysPerSegment: 64,
  /** Accepted host keys of one target. */
  maxHostKeysPerTarget: 16,
  maxKnownHostsBytes: 8 * 1024 * 1024,
  maxKnownHostsLines: 50_000,
  /** Hashed names of a known_hosts file times the targets that each may mean. */
  maxHashedNameChecks: 4_000_000,
  maxSelectorLength: 2_000,
  /** Tests of one thing in a selector; each value of a list counts. */
  maxSelectorTerms: 64,
  maxSelectorDepth: 16,
  /** Target groups that select each other's members, one inside the other. */
  maxGroupDepth: 8,
  maxRequestBodyBytes: 1024 * 1024,
  /** Request with the files of an inventory; and each of its files. */
  maxInventoryBytes: 32 * 1024 * 1024,
  maxInventoryFiles: 5_000,
  maxInventoryHosts: 50_000,
  maxHeldAttemptsPerHeartbeat: 1_024,
  maxPageItems: 200,
  defaultPageItems: 50,
  /** Of a run, without their steps. */
  maxTargetRunsPerPage: 1_000,
  /** A run whose steps number more than this is not streamed with `output=all`. */
  maxStepsForWholeOutputStream: 64,
  /** As many as a roster names. */
  maxKeyGenerations: 1_024,
  enrollmentTokenTtlMs: 3_600_000,
  signInCodeTtlMs: 1_800_000,
  /** A sign-in link that an administrator made for someone. */
  signInLinkTtlMs: 24 * 3_600_000,
  apiTokenMaxDays: 365,
  sessionIdleMs: 12 * 3_600_000,
  sessionAbsoluteMs: 7 * 24 * 3_600_000,
} as const;

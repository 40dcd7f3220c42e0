// graphile-worker, in the settings of its documentation (docs/performance) and of its own perfTest.

import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { Logger, run, runMigrations } from 'graphile-worker'
import { bell, fail, rate, starts, told, version, work } from './measure.mjs'

const TASK = 'noop'

/** What is said of single jobs would be most of what there is to do. */
process.env.NO_LOG_SUCCESS = '1'
const logger = new Logger(() => (level, message) => {
  if (level === 'error') fail(message)
})

/** 24 jobs at once, and a connection more than that, in both modes. */
const JOBS_AT_ONCE = 24
const MODES = {
  per_job: { localQueue: { size: -1 }, completeJobBatchDelay: -1, failJobBatchDelay: -1 },
  batched: {
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0
  }
}

const { url, mode, effort } = told()

function start(worker, handler) {
  return run({
    connectionString: url,
    noHandleSignals: true,
    logger,
    taskList: { [TASK]: handler },
    preset: { worker }
  })
}

async function measure() {
  await runMigrations({ connectionString: url, logger })
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  const rival = {
    url,
    file: fileURLToPath(import.meta.url),
    add: (jobs) => pool.query(
      `SELECT graphile_worker.add_jobs(array(
         SELECT json_populate_record(null::graphile_worker.job_spec,
           json_build_object('identifier', '${TASK}', 'payload', json_build_object('id', i)))
         FROM generate_series(1, $1::int) i))`,
      [jobs]
    ),
    isEmpty: 'SELECT NOT EXISTS (SELECT 1 FROM graphile_worker._private_jobs) AS empty',
    // It keeps nothing of what is done.
    clean: async () => {}
  }
  const per_job = await rate(rival, 'per_job', effort)
  const batched = await rate(rival, 'batched', effort)

  const { called, next } = bell()
  const runner = await start({ ...MODES.per_job, concurrentJobs: 1, maxPoolSize: 4 }, called)
  const ask = () => pool.query(`SELECT graphile_worker.add_job('${TASK}', '{}')`)
  const start_ms = await starts(effort.samples, ask, next)
  await runner.stop()
  await pool.end()
  console.log(JSON.stringify({ version: version('graphile-worker'), per_job, batched, start_ms }))
}

if (mode) {
  const settings = { ...MODES[mode], concurrentJobs: JOBS_AT_ONCE, maxPoolSize: JOBS_AT_ONCE + 1 }
  work(async (count) => async () => {
    const runner = await start(settings, () => count())
    return () => runner.stop()
  }).catch(fail)
} else {
  measure().catch(fail)
}

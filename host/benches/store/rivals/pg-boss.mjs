// pg-boss, in the settings of its documentation (docs/api: workers, queues, jobs, constructor): woken by NOTIFY, and taking
// full batches without a pause.

import { fileURLToPath } from 'node:url'
import { PgBoss } from 'pg-boss'
import { BATCH, bell, fail, rate, sleep, starts, told, version, work } from './measure.mjs'

const QUEUE = 'noop'

/** Loops that each take one job, and finish it. */
const JOBS_AT_ONCE = 24

/** Jobs that are taken, and finished, together; and how many workers of a process do so. */
const BATCH_SIZE = 1000
const BATCHES_AT_ONCE = 4

const { url, mode, effort } = told()

async function open(settings) {
  const boss = new PgBoss({ connectionString: url, useListenNotify: true, schedule: false, ...settings })
  boss.on('error', fail)
  await boss.start()
  return boss
}

/** `work` waits between two jobs that it takes singly; `fetch` and `complete` do not. */
function oneByOne(boss, count) {
  let going = true
  const loop = async () => {
    while (going) {
      const [job] = await boss.fetch(QUEUE)
      if (!job) {
        await sleep(5)
        continue
      }
      await boss.complete(QUEUE, job.id)
      count()
    }
  }
  const loops = Array.from({ length: JOBS_AT_ONCE }, loop)
  return async () => {
    going = false
    await Promise.all(loops)
  }
}

async function inBatches(boss, count) {
  const options = {
    batchSize: BATCH_SIZE,
    burstWhenBatchFull: true,
    localConcurrency: BATCHES_AT_ONCE,
    pollingIntervalSeconds: 0.5,
    notifyPollingIntervalSeconds: 0.5
  }
  await boss.work(QUEUE, options, async (jobs) => count(jobs.length))
  return () => boss.offWork(QUEUE, { wait: true })
}

async function measure() {
  const boss = await open({ max: 4 })
  await boss.createQueue(QUEUE, { notify: true })
  const jobs = Array.from({ length: BATCH }, (_, id) => ({ data: { id } }))
  const rival = {
    url,
    file: fileURLToPath(import.meta.url),
    add: (many) => boss.insert(QUEUE, jobs.slice(0, many)),
    isEmpty: `SELECT NOT EXISTS (SELECT 1 FROM pgboss.job WHERE name = '${QUEUE}' AND state < 'completed') AS empty`,
    clean: () => boss.deleteAllJobs(QUEUE)
  }
  const per_job = await rate(rival, 'per_job', effort)
  const batched = await rate(rival, 'batched', effort)

  const { called, next } = bell()
  await boss.work(QUEUE, { pollingIntervalSeconds: 0.5 }, async () => called())
  const start_ms = await starts(effort.samples, () => boss.send(QUEUE, {}), next)
  await boss.stop({ graceful: false })
  console.log(JSON.stringify({ version: version('pg-boss'), per_job, batched, start_ms }))
  process.exit(0)
}

if (mode) {
  work(async (count) => {
    const boss = await open({ max: JOBS_AT_ONCE + 1, supervise: false, migrate: false })
    return () => (mode === 'batched' ? inBatches(boss, count) : oneByOne(boss, count))
  }).catch(fail)
} else {
  measure().catch(fail)
}

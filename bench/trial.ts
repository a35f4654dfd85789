import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { type Children, nextMessage, within } from './children.ts'
import { type LoadOrder, loadResultSchema } from './load.ts'
import { cpuMicroseconds, residentMegabytes } from './process-usage.ts'

export interface Target {
  name: string
  pid: number
  port: number
  path: string
  token: string
  /** The name of the tool to call. */
  tool: string
  /** 2025-11-25 unless told. */
  revision?: LoadOrder['revision']
  /** The program that makes the load, where it is not `load.ts`. */
  generator?: string
}

export interface Trial {
  target: string
  round: number
  load: string
  concurrency: number
  requestsPerSecond: number
  p50us: number
  p99us: number
  cpuUsPerCall: number
  settledCpuUsPerCall: number
  settleMs: number
  residentMb: number
}

const READY_MS = 60_000
const SETTLE_STEP_MS = 250
const MAX_SETTLE_MS = 60_000
/** A process that uses less than this share of a core is at rest. */
const AT_REST = 0.05

/** One target under load for a while; then waits until the target has nothing more to do, so that the next one has the machine to itself. */
export async function runTrial(
  children: Children,
  target: Target,
  round: number,
  name: string,
  order: Pick<LoadOrder, 'connections' | 'bytes' | 'warmupMs' | 'measureMs'>,
): Promise<Trial> {
  const load = children.fork(target.generator ?? 'load.ts')
  const { port, path, token, tool, revision = '2025-11-25', pid } = target
  load.send({ port, path, token, tool, revision, ...order } satisfies LoadOrder)
  await within(READY_MS, `${target.name}: opening sessions`, nextMessage(load))
  const before = cpuMicroseconds(pid)
  const answered = nextMessage(load)
  load.send({ go: true })
  const { result } = z
    .object({ result: loadResultSchema })
    .parse(await within(order.warmupMs + order.measureMs + READY_MS, `${target.name}: load`, answered))
  const atEnd = cpuMicroseconds(pid)
  const residentMb = residentMegabytes(pid)
  await new Promise((resolve) => (load.exitCode === null ? load.once('exit', resolve) : resolve(undefined)))
  const { settleMs, cpu } = await settle(pid)
  return {
    target: target.name,
    round,
    load: name,
    concurrency: order.connections,
    requestsPerSecond: (result.calls / result.elapsedMs) * 1000,
    p50us: result.p50,
    p99us: result.p99,
    cpuUsPerCall: (atEnd - before + (result.cpuUs ?? 0)) / result.allCalls,
    settledCpuUsPerCall: (cpu - before + (result.cpuUs ?? 0)) / result.allCalls,
    settleMs,
    residentMb,
  }
}

async function settle(pid: number): Promise<{ settleMs: number; cpu: number }> {
  const start = performance.now()
  let last = cpuMicroseconds(pid)
  for (let busyMs = 0; busyMs < MAX_SETTLE_MS; busyMs = performance.now() - start) {
    await sleep(SETTLE_STEP_MS)
    const cpu = cpuMicroseconds(pid)
    if (cpu - last < AT_REST * SETTLE_STEP_MS * 1000) return { settleMs: busyMs, cpu }
    last = cpu
  }
  return { settleMs: MAX_SETTLE_MS, cpu: last }
}

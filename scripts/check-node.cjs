'use strict'
// First in every npm script that needs a newer Node, and so written for every Node since 18.

const OLDEST = 24

if (Number(process.versions.node.split('.')[0]) < OLDEST) {
  process.stderr.write(
    `This needs Node ${OLDEST} or newer and runs under ${process.version} (${process.execPath}).\n` +
      `"npm ci" brings Node 26 along for Linux and macOS as an optional dependency; it seems to be missing here.\n` +
      'Run "npm ci" again without --omit=optional, or install a newer Node, and start this through npm.\n',
  )
  process.exitCode = 1
}

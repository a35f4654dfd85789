// Preloaded (--import) into the demo's HTTP server: the pipe from its parent closes however the parent ends, kill -9 included.
process.stdin.on('close', () => process.exit(0))
process.stdin.on('error', () => process.exit(0))
process.stdin.resume()

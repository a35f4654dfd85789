import { Server } from 'node:net'

// Preloaded (--import) into the demo's HTTP server, which would otherwise listen on every interface of the machine.
const listen = Server.prototype.listen
Server.prototype.listen = function listenOnLoopback(this: Server, port: unknown, ...rest: unknown[]): Server {
  const callback = rest.find((argument): argument is () => void => typeof argument === 'function')
  if (callback) this.once('listening', () => callback())
  return listen.call(this, { port: Number(port), host: '127.0.0.1' })
}

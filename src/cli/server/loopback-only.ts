import { Server } from 'node:net'

// Preloaded (--import) into the demo's HTTP server, which would otherwise listen on every interface of the machine.
const listen = Server.prototype.listen
Server.prototype.listen = function listenOnLoopback(this: Server, port: unknown, ...rest: unknown[]): Server {
  const callback = rest.find((argument) => typeof argument === 'function')
  return Reflect.apply(listen, this, [{ port: Number(port), host: '127.0.0.1' }, ...(callback ? [callback] : [])])
}

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { cpus, userInfo } from 'node:os'
import { delimiter, join } from 'node:path'
import { type Children, freePort } from './children.ts'

/** nginx as Debian has it, with a worker a core and kept connections; undefined when it is not installed. */
export async function startNginx(
  children: Children,
  directory: string,
  upstreamPort: number,
): Promise<{ pid: number; port: number } | undefined> {
  const program = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']
    .map((folder) => join(folder, 'nginx'))
    .find((path) => existsSync(path))
  if (program === undefined) return undefined
  const own = join(directory, 'nginx')
  mkdirSync(own, { recursive: true })
  const port = await freePort()
  const config = join(own, 'nginx.conf')
  writeFileSync(config, render(own, port, upstreamPort))
  const child = await children.spawnListening(program, ['-p', own, '-c', config], { port, logFile: join(own, 'log') })
  return { pid: child.pid ?? 0, port }
}

function render(directory: string, port: number, upstreamPort: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${directory}/${name};`)
  return `daemon off;
worker_processes ${cpus().length};
${userInfo().uid === 0 ? `user ${userInfo().username};\n` : ''}pid ${directory}/pid;
error_log ${directory}/log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_timeout 600;
  keepalive_requests 1000000000;
  client_max_body_size 16m;
${temporary.join('\n')}
  upstream mcp { server 127.0.0.1:${upstreamPort}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 600; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://mcp; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 16 64k; }
  }
}
`
}

import { expect, it } from 'vitest'
import { configDirectory, stateDirectory } from './paths.ts'

it('refuses to guess without a home', () => {
  expect(() => stateDirectory({}, 'x')).toThrow('neither HOME nor XDG_STATE_HOME is set to an absolute path')
  expect(() => configDirectory({ HOME: '', XDG_CONFIG_HOME: 'relative' }, 'x')).toThrow(
    'neither HOME nor XDG_CONFIG_HOME is set to an absolute path',
  )
})

it('follows the XDG specification: absolute variable, else under the home', () => {
  expect(stateDirectory({ HOME: '/home/ann', XDG_STATE_HOME: '/var/ann' }, 'sallyport')).toBe('/var/ann/sallyport')
  expect(stateDirectory({ HOME: '/home/ann', XDG_STATE_HOME: 'var' }, 'sallyport')).toBe('/home/ann/.local/state/sallyport')
  expect(configDirectory({ HOME: '/home/ann' }, 'sallyport')).toBe('/home/ann/.config/sallyport')
  expect(configDirectory({ XDG_CONFIG_HOME: '/etc/ann' }, 'sallyport')).toBe('/etc/ann/sallyport')
})

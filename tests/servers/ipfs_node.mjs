// js-ipfs with its RPC on a port of 127.0.0.1 and its swarm on another: `node ipfs_node.mjs <repo> <port>`.
// It knows no other peer, and ends with its standard input.
Promise.withResolvers ??= () => {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}
const { create } = await import('ipfs-core')
const { HttpApi } = await import('ipfs-http-server')

const [repo, port] = process.argv.slice(2)
const ipfs = await create({
  repo,
  silent: true,
  relay: { enabled: false, hop: { enabled: false } },
  init: { emptyRepo: true, algorithm: 'Ed25519' },
  config: {
    Addresses: {
      Swarm: ['/ip4/127.0.0.1/tcp/0'], API: `/ip4/127.0.0.1/tcp/${port}`, Gateway: [], RPC: [], Delegates: []
    },
    Bootstrap: [],
    Discovery: { MDNS: { Enabled: false }, webRTCStar: { Enabled: false } },
    Pubsub: { Enabled: false }
  }
})
const api = new HttpApi(ipfs)
await api.start()
const end = async () => {
  await api.stop()
  await ipfs.stop()
  process.exit(0)
}
process.on('SIGTERM', end)
process.stdin.on('end', end).resume()
console.log('listening at', String((await ipfs.id()).addresses[0]))

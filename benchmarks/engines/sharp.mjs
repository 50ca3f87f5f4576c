// The same ladders by sharp: one order a line on stdin, one answer a line on stdout. argv: the folder with node_modules.
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const sharp = createRequire(`${process.argv[2]}/`)('sharp')
const SIDES = [10, 40, 160, 320, 640, 1080]
const MOVING_FROM = 3
sharp.cache(false)
if (process.argv[3] === 'one') sharp.concurrency(1)

const fitted = (image, side) => image.resize(side, side, { fit: 'inside', withoutEnlargement: true })
const target = (order, number) => `${order.out}/${number + 1}.webp`
const options = (order, number) => ({
  quality: order.qualities[number],
  effort: order.efforts[number],
  alphaQuality: Math.max(order.qualities[number], 20),
})

const ways = {
  // every rung from the file, with what shrinking on load its loader can do
  async each(order) {
    for (const [number, side] of SIDES.entries()) {
      const animated = order.animated && number + 1 >= MOVING_FROM
      const image = fitted(sharp(order.path, { animated }).autoOrient(), side)
      await image.webp(options(order, number)).toFile(target(order, number))
    }
  },
  // the top rung from the file, each other from the one above
  async cascade(order) {
    let above = sharp(order.path).autoOrient()
    for (let number = SIDES.length - 1; number >= 0; number--) {
      const { data, info } = await fitted(above, SIDES[number]).raw().toBuffer({ resolveWithObject: true })
      const raw = { raw: { width: info.width, height: info.height, channels: info.channels } }
      await sharp(data, raw).webp(options(order, number)).toFile(target(order, number))
      above = sharp(data, raw)
    }
  },
  // as its documentation does it: one input, a clone for each rung, nothing set
  async defaults(order) {
    const input = sharp(order.path, { animated: order.animated }).autoOrient()
    await Promise.all(SIDES.map((side, number) => fitted(input.clone(), side).webp().toFile(target(order, number))))
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line)
  let spent = 0
  for (let n = 0; n < order.times; n++) {
    for (const number of SIDES.keys()) rmSync(target(order, number), { force: true })
    const began = performance.now()
    await ways[order.way](order)
    spent += performance.now() - began
  }
  console.log(JSON.stringify({ seconds: spent / 1000 }))
}

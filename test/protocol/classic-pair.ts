// Two hosts of the classic protocol in virtual time, and a network that a test switches off and on.

import { type Host, World } from "../simulator/world.js";

export const A = "192.0.2.1";
export const B = "192.0.2.2";

/** A world with a host at A and one at B, both past their start. */
export function makePair(): { readonly world: World; readonly a: Host; readonly b: Host } {
  const world = new World();
  const a = world.host({ address: A });
  const b = world.host({ address: B });
  world.run(1);
  return { world, a, b };
}

/** Lets nothing through, and keeps what was sent. */
export function silence(world: World): void {
  world.route = () => [];
}

/** Delivers everything again. */
export function connect(world: World): void {
  world.route = (datagram) => [datagram];
}

/** An invariant that does not hold. `name` stays the same while a run is cut shorter. */
export class Violation extends Error {
  override readonly name: string;

  constructor(name: string, message: string) {
    super(`${name}: ${message}`);
    this.name = name;
  }
}

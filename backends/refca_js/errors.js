/** Input that cannot be used: the message is one sentence that names the argument and what is allowed. */
export class InvalidInput extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "InvalidInput";
  }
}

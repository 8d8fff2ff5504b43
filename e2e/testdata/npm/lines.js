'use strict';
// What the clients here share: a question a line on standard input, an answer
// a line on standard output.
//
//   {"kind": "call" | "pages" | "wait", "name": "RunInstances", "params": {…}}
//   {"result": …}, or {"error": {"code": …, "status": …, "message": …}}

const readline = require('node:readline');

// The connection: {"endpoint", "key", "secret", "region"}.
exports.connection = JSON.parse(process.argv[2]);

// slow sets the clock of this process back.
exports.slow = () => {
  const back = (exports.connection.slow || 0) * 1000;
  if (!back) return;
  const True = globalThis.Date;
  globalThis.Date = class extends True {
    constructor(...args) {
      if (args.length === 0) super(True.now() - back);
      else super(...args);
    }

    static now() {
      return True.now() - back;
    }
  };
};

// serve answers each question with answer(question), which may throw; refusal
// turns what it throws into an error, or into nothing where it is a defect.
exports.serve = async (answer, refusal) => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let reply;
    try {
      reply = { result: await answer(JSON.parse(line)) };
    } catch (e) {
      reply = { error: refusal(e) };
      if (!reply.error.code) {
        console.error(e);
        process.exit(1);
      }
    }
    process.stdout.write(JSON.stringify(reply) + '\n');
  }
};

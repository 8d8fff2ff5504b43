'use strict';
// @aws-sdk/client-ec2.

const { connection, serve, slow } = require('./lines.js');
slow();
const ec2 = require('@aws-sdk/client-ec2');

const client = new ec2.EC2Client({
  endpoint: connection.endpoint,
  region: connection.region,
  credentials: { accessKeyId: connection.key, secretAccessKey: connection.secret },
});

const kinds = {
  call: (name, params) => client.send(new ec2[name + 'Command'](params)),
  pages: async (name, params) => {
    const pages = [];
    for await (const page of ec2['paginate' + name]({ client, pageSize: params.MaxResults }, params)) pages.push(page);
    return pages;
  },
  wait: async (name, params) => {
    await ec2['waitUntil' + name]({ client, maxWaitTime: 30 }, params);
    return {};
  },
};

serve(
  ({ kind, name, params }) => kinds[kind](name, params),
  (e) => ({ code: e.Code || e.code, status: e.$metadata && e.$metadata.httpStatusCode, message: e.message }),
);

'use strict';
// @alicloud/pop-core, which signs with V1.

const { connection, serve, slow } = require('./lines.js');
slow();
const { RPCClient } = require('@alicloud/pop-core');

const client = new RPCClient({
  endpoint: connection.endpoint,
  apiVersion: '2014-05-26',
  accessKeyId: connection.key,
  accessKeySecret: connection.secret,
});

serve(
  ({ name, params }) => client.request(name, { RegionId: connection.region, ...params }, { method: 'POST' }),
  (e) => ({ code: e.code, status: e.entry && e.entry.response.statusCode, message: e.message }),
);

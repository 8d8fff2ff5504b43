'use strict';
// @alicloud/ecs20140526, which signs with V3.

const { connection, serve, slow } = require('./lines.js');
slow();
const ecs = require('@alicloud/ecs20140526');
const { $OpenApiUtil } = require('@alicloud/openapi-core');
const $dara = require('@darabonba/typescript');

const client = new ecs.default(new $OpenApiUtil.Config({
  endpoint: new URL(connection.endpoint).host,
  protocol: 'HTTP',
  regionId: connection.region,
  accessKeyId: connection.key,
  accessKeySecret: connection.secret,
}));

serve(
  async ({ name, params }) => {
    const request = $dara.cast({ RegionId: connection.region, ...params }, new ecs[name + 'Request']({}));
    const response = await client[name[0].toLowerCase() + name.slice(1)](request);
    return response.body.toMap();
  },
  (e) => ({ code: e.code, status: e.statusCode, message: e.message }),
);

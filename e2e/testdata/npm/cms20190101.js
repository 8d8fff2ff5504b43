'use strict';
// @alicloud/cms20190101, which signs with V3.

const { connection, serve } = require('./lines.js');
const cms = require('@alicloud/cms20190101');
const { $OpenApiUtil } = require('@alicloud/openapi-core');
const $dara = require('@darabonba/typescript');

const client = new cms.default(new $OpenApiUtil.Config({
  endpoint: new URL(connection.endpoint).host,
  protocol: 'HTTP',
  regionId: connection.region,
  accessKeyId: connection.key,
  accessKeySecret: connection.secret,
}));

serve(
  async ({ name, params }) => {
    const request = $dara.cast(params, new cms[name + 'Request']({}));
    const response = await client[name[0].toLowerCase() + name.slice(1)](request);
    return response.body.toMap();
  },
  (e) => ({ code: e.code, status: e.statusCode, message: e.message }),
);
